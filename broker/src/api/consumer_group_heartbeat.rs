//! ConsumerGroupHeartbeat (key 68), versions 0–1 (KIP-848).
//!
//! Members of consumer groups join, continue and leave; the answer waits until the resulting
//! changes are on disk.
//!
//! - v1: the member chooses its own id, and may subscribe by regular expression.
//! - Without `consumer` in `group.coordinator.rebalance.protocols`: UNSUPPORTED_VERSION.

use std::ops::RangeInclusive;

use carrick_protocol::error_code::ErrorCode;
use carrick_protocol::ids::{GroupId, TopicId};
use kafka_protocol::messages::consumer_group_heartbeat_response::{Assignment, TopicPartitions};
use kafka_protocol::messages::{
    ApiKey, ConsumerGroupHeartbeatRequest, ConsumerGroupHeartbeatResponse,
};
use kafka_protocol::protocol::StrBytes;
use uuid::Uuid;

use super::error::{door_code, group_code};
use super::groups::{group_id, instance_id, text};
use super::{Api, Context, Reply, ResponseOf};
use crate::access::Operation;
use crate::group::GroupError;
use crate::group::consumer::{
    HeartbeatAnswer, HeartbeatRequest, JOIN_EPOCH, LEAVE_EPOCH, Partitions, STATIC_LEAVE_EPOCH,
};

pub struct ConsumerGroupHeartbeat;

/// A code and its message.
type Refusal = (ErrorCode, String);

impl Api for ConsumerGroupHeartbeat {
    const KEY: ApiKey = ApiKey::ConsumerGroupHeartbeat;
    const VERSIONS: RangeInclusive<i16> = 0..=1;
    type Request = ConsumerGroupHeartbeatRequest;

    fn handle(ctx: &Context, version: i16, request: Self::Request) -> Reply<ResponseOf<Self>> {
        if !ctx.offers_consumer_protocol() {
            return Reply::Now(refused(ErrorCode::UNSUPPORTED_VERSION, None));
        }
        let group = group_id(&request.group_id);
        let groups = match ctx.group(&group, Operation::Read) {
            Ok(groups) => groups,
            Err(error) => return Reply::Now(refused(door_code(error), None)),
        };
        let mut names = request.subscribed_topic_names.iter().flatten();
        let hidden = names.find_map(|name| ctx.hides_topic(name));
        if let Some(error) = hidden {
            return Reply::Now(refused(door_code(error), None));
        }
        if let Err((code, message)) = check(version, &request, &groups.assignors()) {
            return Reply::Now(refused(code, Some(&message)));
        }
        let answer = groups.consumer_heartbeat(&group, heartbeat(ctx, request));
        Reply::Later(Box::pin(async move { response(&group, answer.await) }))
    }
}

/// What holds for every heartbeat, whatever the group
/// (`throwIfConsumerGroupHeartbeatRequestIsInvalid`).
fn check(
    version: i16,
    request: &ConsumerGroupHeartbeatRequest,
    assignors: &[&str],
) -> Result<(), Refusal> {
    let invalid = |message: &str| Err((ErrorCode::INVALID_REQUEST, message.to_owned()));
    let blank = |text: &Option<StrBytes>| text.as_ref().is_some_and(|text| text.trim().is_empty());
    let epoch = request.member_epoch;
    let brings_id = version >= 1 || epoch > 0 || epoch == LEAVE_EPOCH;
    if brings_id && request.member_id.trim().is_empty() {
        return invalid("MemberId can't be empty.");
    }
    if request.group_id.trim().is_empty() {
        return invalid("GroupId can't be empty.");
    }
    if blank(&request.instance_id) {
        return invalid("InstanceId can't be empty.");
    }
    if blank(&request.rack_id) {
        return invalid("RackId can't be empty.");
    }
    match epoch {
        JOIN_EPOCH => check_join(request)?,
        STATIC_LEAVE_EPOCH if request.instance_id.is_none() => {
            return invalid("InstanceId can't be null.");
        }
        ..STATIC_LEAVE_EPOCH => return invalid("MemberEpoch is invalid."),
        _ => {}
    }
    match &request.server_assignor {
        Some(name) if !assignors.contains(&name.as_str()) => Err((
            ErrorCode::UNSUPPORTED_ASSIGNOR,
            format!(
                "ServerAssignor {name} is not supported. Supported assignors: {}.",
                assignors.join(", ")
            ),
        )),
        _ => Ok(()),
    }
}

fn check_join(request: &ConsumerGroupHeartbeatRequest) -> Result<(), Refusal> {
    let wrong = if request.rebalance_timeout_ms == -1 {
        "RebalanceTimeoutMs must be provided in first request."
    } else if request
        .topic_partitions
        .as_ref()
        .is_none_or(|owned| !owned.is_empty())
    {
        "TopicPartitions must be empty when (re-)joining."
    } else if request.subscribed_topic_names.is_none() && request.subscribed_topic_regex.is_none() {
        "Either SubscribedTopicNames or SubscribedTopicRegex must be non-null when (re-)joining."
    } else {
        return Ok(());
    };
    Err((ErrorCode::INVALID_REQUEST, wrong.to_owned()))
}

fn heartbeat(ctx: &Context, request: ConsumerGroupHeartbeatRequest) -> HeartbeatRequest {
    let owned = |text: Option<StrBytes>| text.map(|text| text.to_string());
    let names = request
        .subscribed_topic_names
        .map(|names| names.iter().map(|name| name.to_string()).collect());
    let partitions = request.topic_partitions.map(|topics| {
        let topics = topics.into_iter();
        topics
            .map(|topic| (TopicId(topic.topic_id), topic.partitions))
            .collect()
    });
    let member_id = match request.member_id.is_empty() {
        true => TopicId(Uuid::new_v4()).to_string().into(),
        false => request.member_id.as_str().into(),
    };
    HeartbeatRequest {
        member_id,
        member_epoch: request.member_epoch,
        instance_id: instance_id(request.instance_id.as_ref()),
        rack_id: owned(request.rack_id),
        rebalance_timeout_ms: request.rebalance_timeout_ms,
        topics: names,
        regex: owned(request.subscribed_topic_regex),
        assignor: owned(request.server_assignor),
        owned: partitions,
        client_id: ctx.client_id().into(),
        client_host: ctx.client_host().into(),
        may_see: ctx.may_see(),
    }
}

fn response(
    group: &GroupId,
    answer: Result<HeartbeatAnswer, GroupError>,
) -> ConsumerGroupHeartbeatResponse {
    match answer {
        Ok(answer) => ConsumerGroupHeartbeatResponse::default()
            .with_member_id(Some(text(answer.member_id.as_str())))
            .with_member_epoch(answer.member_epoch)
            .with_heartbeat_interval_ms(answer.heartbeat_interval_ms)
            .with_assignment(answer.assignment.map(assignment)),
        Err(error) => refused(group_code(error), Some(&reason(group, error))),
    }
}

/// What is wrong, with the group's name where that helps.
fn reason(group: &GroupId, error: GroupError) -> String {
    let group = group.as_str();
    match error {
        GroupError::GroupNotFound => format!("Consumer group {group} not found."),
        GroupError::NotConsumerGroup => format!("Group {group} is not a consumer group."),
        GroupError::NotUpgradable(obstacle) => {
            format!("Cannot upgrade classic group {group} to consumer group because {obstacle}")
        }
        other => other.to_string(),
    }
}

fn assignment(partitions: Partitions) -> Assignment {
    let topics = partitions.into_iter().map(|(topic, partitions)| {
        TopicPartitions::default()
            .with_topic_id(topic.0)
            .with_partitions(partitions.into_iter().collect())
    });
    Assignment::default().with_topic_partitions(topics.collect())
}

fn refused(code: ErrorCode, message: Option<&str>) -> ConsumerGroupHeartbeatResponse {
    ConsumerGroupHeartbeatResponse::default()
        .with_error_code(code.0)
        .with_error_message(message.map(text))
}

#[cfg(test)]
mod tests {
    use super::super::groups::assert_encodes;
    use super::*;
    use crate::group::error::Obstacle;

    fn join() -> ConsumerGroupHeartbeatRequest {
        ConsumerGroupHeartbeatRequest::default()
            .with_group_id(kafka_protocol::messages::GroupId("g".into()))
            .with_member_id("m".into())
            .with_rebalance_timeout_ms(1_000)
            .with_subscribed_topic_names(Some(Vec::new()))
            .with_topic_partitions(Some(Vec::new()))
    }

    fn code(version: i16, request: &ConsumerGroupHeartbeatRequest) -> i16 {
        check(version, request, &["uniform"]).map_or_else(|(code, _)| code.0, |()| 0)
    }

    /// `GroupCoordinatorServiceTest.testConsumerHeartbeatRequestValidation`.
    #[test]
    fn requests_that_make_no_sense_are_refused() {
        assert_eq!(code(1, &join()), 0);
        assert_eq!(code(0, &join().with_member_id("".into())), 0);
        let invalid = ErrorCode::INVALID_REQUEST.0;
        for request in [
            join().with_member_id("".into()),
            join().with_group_id(Default::default()),
            join().with_instance_id(Some("".into())),
            join().with_rack_id(Some(" ".into())),
            join().with_rebalance_timeout_ms(-1),
            join().with_topic_partitions(None),
            join().with_topic_partitions(Some(vec![Default::default()])),
            join().with_subscribed_topic_names(None),
            join().with_member_epoch(-2),
            join().with_member_epoch(-3),
        ] {
            assert_eq!(code(1, &request), invalid, "{request:?}");
        }
        let strange = join().with_server_assignor(Some("bar".into()));
        assert_eq!(code(1, &strange), ErrorCode::UNSUPPORTED_ASSIGNOR.0);
        let usual = join().with_server_assignor(Some("uniform".into()));
        assert_eq!(code(1, &usual), 0);
    }

    #[test]
    fn a_refusal_says_why_with_the_groups_name() {
        let told = |error| {
            let told = response(&GroupId::new("g"), Err(error));
            (told.error_code, told.error_message.unwrap().to_string())
        };
        let (code, why) = told(GroupError::NotUpgradable(Obstacle::CustomAssignor));
        assert_eq!(code, ErrorCode::GROUP_ID_NOT_FOUND.0);
        assert_eq!(
            why,
            "Cannot upgrade classic group g to consumer group because an unsupported custom \
             assignor is in use. Please refer to the documentation or switch to a default \
             assignor before re-attempting the upgrade."
        );
        let (code, why) = told(GroupError::NotConsumerGroup);
        assert_eq!(code, ErrorCode::GROUP_ID_NOT_FOUND.0);
        assert_eq!(why, "Group g is not a consumer group.");
    }

    #[test]
    fn every_version_can_be_answered() {
        assert_encodes::<ConsumerGroupHeartbeat>(ConsumerGroupHeartbeat::VERSIONS, |_| {
            response(&GroupId::new("g"), Err(GroupError::FencedMemberEpoch))
        });
        assert_encodes::<ConsumerGroupHeartbeat>(ConsumerGroupHeartbeat::VERSIONS, |_| {
            response(
                &GroupId::new("g"),
                Ok(HeartbeatAnswer {
                    member_id: "m".into(),
                    member_epoch: 3,
                    heartbeat_interval_ms: 5,
                    assignment: Some(Partitions::from([(TopicId::random(), [0].into())])),
                }),
            )
        });
    }
}
