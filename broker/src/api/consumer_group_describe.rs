//! ConsumerGroupDescribe (key 69), versions 0–1 (KIP-848).
//!
//! - A group that doesn't exist, or follows the classic protocol, is GROUP_ID_NOT_FOUND.
//! - A group that is requested twice is answered once: a short request must not get an unbounded
//!   answer.
//! - v1 (KIP-1099): which protocol each member follows.

use std::collections::HashSet;
use std::ops::RangeInclusive;

use carrick_protocol::ids::GroupId;
use kafka_protocol::messages::consumer_group_describe_response::{
    Assignment, DescribedGroup, Member, TopicPartitions,
};
use kafka_protocol::messages::{
    ApiKey, ConsumerGroupDescribeRequest, ConsumerGroupDescribeResponse, TopicName,
};

use super::admin::Refusal;
use super::door::DoorError;
use super::error::{door_code, group_code};
use super::groups::{group_id, text, wire_group_id};
use super::{Api, Context, Reply, ResponseOf};
use crate::access::{Operation, Resource};
use crate::group::GroupError;
use crate::group::consumer::{self, Partitions};
use crate::topic::TopicImage;

pub struct ConsumerGroupDescribe;

impl Api for ConsumerGroupDescribe {
    const KEY: ApiKey = ApiKey::ConsumerGroupDescribe;
    const VERSIONS: RangeInclusive<i16> = 0..=1;
    const LISTS: bool = true;
    type Request = ConsumerGroupDescribeRequest;

    fn handle(ctx: &Context, version: i16, request: Self::Request) -> Reply<ResponseOf<Self>> {
        let topics = ctx.topics_of_groups();
        let mut seen = HashSet::new();
        let asked = request.group_ids.iter().filter(|name| seen.insert(*name));
        let described = asked.map(|name| {
            let group = group_id(name);
            let describe = || {
                let groups = match ctx.group(&group, Operation::Describe) {
                    Ok(groups) => groups,
                    Err(error) => return refused(&group, &error.into()),
                };
                let found = match ctx.offers_consumer_protocol() {
                    true => groups.describe_consumer(&group),
                    false => Err(GroupError::UnsupportedVersion),
                };
                let mut described = described(version, &group, found, &topics);
                if let Some(error) = hidden(ctx, &described) {
                    let reason = "The group has described topic(s) that the client is not \
                                  authorized to describe.";
                    return refused(&group, &Refusal::new(door_code(error), reason));
                }
                if request.include_authorized_operations && described.error_code == 0 {
                    let operations = ctx.operations(Resource::Group(group.as_str()));
                    described.authorized_operations = operations;
                }
                described
            };
            let no_room = |refusal| refused(&group, &refusal);
            ctx.room.item(version, describe, no_room)
        });
        Reply::Now(ConsumerGroupDescribeResponse::default().with_groups(described.collect()))
    }
}

/// Why the client may not see the topics that the group's members have: it sees none of its members.
fn hidden(ctx: &Context, group: &DescribedGroup) -> Option<DoorError> {
    let members = group.members.iter();
    let assignments = members.flat_map(|it| [&it.assignment, &it.target_assignment]);
    let mut topics = assignments.flat_map(|it| &it.topic_partitions);
    topics.find_map(|topic| ctx.hides_topic(&topic.topic_name))
}

fn refused(group: &GroupId, refusal: &Refusal) -> DescribedGroup {
    DescribedGroup::default()
        .with_group_id(wire_group_id(group))
        .with_error_code(refusal.code.0)
        .with_error_message(refusal.wire_message())
}

fn described(
    version: i16,
    group: &GroupId,
    found: Result<consumer::DescribedGroup, GroupError>,
    topics: &TopicImage,
) -> DescribedGroup {
    let described = DescribedGroup::default().with_group_id(wire_group_id(group));
    match found {
        Ok(found) => described
            .with_group_state(text(found.state.name()))
            .with_group_epoch(found.group_epoch)
            .with_assignment_epoch(found.assignment_epoch)
            .with_assignor_name(text(found.assignor))
            .with_members(
                found
                    .members
                    .into_iter()
                    .map(|described| member(version, described, topics))
                    .collect(),
            ),
        Err(error) => {
            let name = group.as_str();
            let message = match error {
                GroupError::GroupNotFound => Some(format!("Group {name} not found.")),
                GroupError::NotConsumerGroup => {
                    Some(format!("Group {name} is not a consumer group."))
                }
                // The protocol is switched off: Kafka gives no reason.
                GroupError::UnsupportedVersion => None,
                other => Some(other.to_string()),
            };
            described
                .with_error_code(group_code(error).0)
                .with_error_message(message.as_deref().map(text))
        }
    }
}

fn member(version: i16, described: consumer::DescribedMember, topics: &TopicImage) -> Member {
    let is_classic = described.member.classic.is_some();
    let consumer::DescribedMember {
        member_id,
        member,
        assigned,
        target,
    } = described;
    let names = member.topics.iter().map(|name| TopicName(text(name)));
    let mut answered = Member::default()
        .with_member_id(text(member_id.as_str()))
        .with_instance_id(member.instance_id.map(|instance| text(instance.as_str())))
        .with_rack_id(member.rack_id.map(|rack| text(&rack)))
        .with_member_epoch(member.member_epoch)
        .with_client_id(text(&member.client_id))
        .with_client_host(text(&member.client_host))
        .with_subscribed_topic_names(names.collect())
        .with_subscribed_topic_regex(Some(text(&member.regex)))
        .with_assignment(assignment(assigned, topics))
        .with_target_assignment(assignment(target, topics));
    if version >= 1 {
        answered.member_type = i8::from(!is_classic);
    }
    answered
}

/// Partitions by topics that exist; the names of deleted topics are no longer known.
fn assignment(partitions: Partitions, topics: &TopicImage) -> Assignment {
    let topics = partitions.into_iter().filter_map(|(id, partitions)| {
        let topic = TopicPartitions::default()
            .with_topic_id(id.0)
            .with_topic_name(TopicName(text(topics.name(id)?.as_str())))
            .with_partitions(partitions.into_iter().collect());
        Some(topic)
    });
    Assignment::default().with_topic_partitions(topics.collect())
}

#[cfg(test)]
mod tests {
    use carrick_protocol::ids::TopicId;

    use super::super::groups::assert_encodes;
    use super::*;

    #[test]
    fn every_version_can_be_answered() {
        let (group, id) = (GroupId::new("g"), TopicId::random());
        let name = carrick_protocol::ids::TopicName::new("t").unwrap();
        let topics = TopicImage::new(1, [(name, id, 1)]);
        let partitions = Partitions::from([(id, [0].into())]);
        let found = consumer::DescribedGroup {
            state: consumer::ConsumerGroupState::Stable,
            group_epoch: 3,
            assignment_epoch: 3,
            assignor: "uniform",
            members: vec![consumer::DescribedMember {
                member_id: "m".into(),
                member: consumer::Member::default(),
                assigned: partitions.clone(),
                target: partitions,
            }],
        };
        assert_encodes::<ConsumerGroupDescribe>(ConsumerGroupDescribe::VERSIONS, |version| {
            let missing = described(version, &group, Err(GroupError::GroupNotFound), &topics);
            assert_eq!(missing.error_code, 69);
            let found = described(version, &group, Ok(found.clone()), &topics);
            assert_eq!(found.members[0].assignment.topic_partitions.len(), 1);
            ConsumerGroupDescribeResponse::default().with_groups(vec![missing, found])
        });
    }
}
