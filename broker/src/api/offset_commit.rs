//! OffsetCommit (key 8), versions 2–10.
//!
//! Commits a group's offsets; answered when they are on disk. Unknown topics and partitions are
//! UNKNOWN_TOPIC_OR_PARTITION individually. Committing for mirror topics is allowed.
//!
//! - v2–4: a retention time, which is honoured. v6 (KIP-320): leader epochs. v7 (KIP-345): static
//!   members.
//! - v9 (KIP-848): a generation of a group that doesn't exist is GROUP_ID_NOT_FOUND, and no longer
//!   ILLEGAL_GENERATION.
//! - v10 (KIP-848): topics by id; one that doesn't exist is UNKNOWN_TOPIC_ID.

use std::ops::RangeInclusive;

use carrick_protocol::error_code::ErrorCode;
use carrick_protocol::ids::TopicId;
use kafka_protocol::messages::offset_commit_request::OffsetCommitRequestTopic;
use kafka_protocol::messages::offset_commit_response::{
    OffsetCommitResponsePartition, OffsetCommitResponseTopic,
};
use kafka_protocol::messages::{ApiKey, OffsetCommitRequest, OffsetCommitResponse};

use super::error::{door_code, group_code};
use super::groups::{group_id, instance_id, new_offset};
use super::{Api, Context, Reply, ResponseOf};
use crate::access::Operation;
use crate::group::GroupError;
use crate::group::classic::CommitFence;
use crate::group::{CommitRequest, NewOffset};

pub struct OffsetCommit;

impl Api for OffsetCommit {
    const KEY: ApiKey = ApiKey::OffsetCommit;
    const VERSIONS: RangeInclusive<i16> = 2..=10;
    type Request = OffsetCommitRequest;

    fn handle(ctx: &Context, version: i16, request: Self::Request) -> Reply<ResponseOf<Self>> {
        let group = group_id(&request.group_id);
        let groups = match ctx.group(&group, Operation::Read) {
            Ok(groups) => groups,
            Err(error) => {
                let topics = request.topics.into_iter();
                let refused = topics.map(|topic| refused(topic, door_code(error)));
                return Reply::Now(OffsetCommitResponse::default().with_topics(refused.collect()));
            }
        };
        let (mut answered, offsets) = resolve(ctx, version, request.topics);
        if offsets.is_empty() {
            return Reply::Now(OffsetCommitResponse::default().with_topics(answered));
        }
        let commit = CommitRequest {
            fence: CommitFence {
                member_id: request.member_id.as_str().into(),
                instance_id: instance_id(request.group_instance_id.as_ref()),
                generation: request.generation_id_or_member_epoch,
                knows_epochs: version >= 9,
            },
            retention_ms: Some(request.retention_time_ms).filter(|ms| version <= 4 && *ms >= 0),
            knows_group_not_found: version >= 9,
            offsets,
        };
        let committed = groups.commit(&group, commit);
        Reply::Later(Box::pin(async move {
            fill_in(&mut answered, committed.await);
            OffsetCommitResponse::default().with_topics(answered)
        }))
    }
}

/// The same code for all partitions of a topic.
fn refused(topic: OffsetCommitRequestTopic, code: ErrorCode) -> OffsetCommitResponseTopic {
    let partitions = topic.partitions.iter().map(|asked| {
        OffsetCommitResponsePartition::default()
            .with_partition_index(asked.partition_index)
            .with_error_code(code.0)
    });
    let partitions = partitions.collect();
    OffsetCommitResponseTopic::default()
        .with_name(topic.name)
        .with_topic_id(topic.topic_id)
        .with_partitions(partitions)
}

/// The answer as far as it is known, without errors where offsets can be committed; and those
/// offsets, in the same order.
fn resolve(
    ctx: &Context,
    version: i16,
    topics: Vec<OffsetCommitRequestTopic>,
) -> (Vec<OffsetCommitResponseTopic>, Vec<NewOffset>) {
    let (mut answered, mut offsets) = (Vec::with_capacity(topics.len()), Vec::new());
    for topic in topics {
        let found = match version {
            10.. => ctx.topic(TopicId(topic.topic_id), Operation::Read),
            _ => ctx.topic(&topic.name, Operation::Read),
        };
        let mut partitions = Vec::with_capacity(topic.partitions.len());
        for asked in topic.partitions {
            let at = asked.partition_index;
            let code = match ctx.has(&found, at) {
                Ok(found) => {
                    let place = (asked.committed_offset, asked.committed_leader_epoch);
                    offsets.push(new_offset(found, at, place, asked.committed_metadata));
                    ErrorCode::NONE
                }
                Err(error) => door_code(error),
            };
            let partition = OffsetCommitResponsePartition::default()
                .with_partition_index(at)
                .with_error_code(code.0);
            partitions.push(partition);
        }
        let topic = OffsetCommitResponseTopic::default()
            .with_name(topic.name)
            .with_topic_id(topic.topic_id);
        answered.push(topic.with_partitions(partitions));
    }
    (answered, offsets)
}

/// Puts the group's verdict where no error stands yet.
fn fill_in(
    answered: &mut [OffsetCommitResponseTopic],
    committed: Result<Vec<Result<(), GroupError>>, GroupError>,
) {
    let open = answered
        .iter_mut()
        .flat_map(|topic| &mut topic.partitions)
        .filter(|partition| partition.error_code == 0);
    match committed {
        Ok(results) => {
            for (partition, result) in open.zip(results) {
                partition.error_code = result.map_or_else(|error| group_code(error).0, |()| 0);
            }
        }
        Err(error) => open.for_each(|partition| partition.error_code = group_code(error).0),
    }
}

#[cfg(test)]
mod tests {
    use super::super::groups::assert_encodes;
    use super::*;

    fn answered(codes: &[i16]) -> Vec<OffsetCommitResponseTopic> {
        let partition =
            |code: &i16| OffsetCommitResponsePartition::default().with_error_code(*code);
        let partitions = codes.iter().map(partition).collect();
        vec![OffsetCommitResponseTopic::default().with_partitions(partitions)]
    }

    fn codes(answered: &[OffsetCommitResponseTopic]) -> Vec<i16> {
        answered[0]
            .partitions
            .iter()
            .map(|partition| partition.error_code)
            .collect()
    }

    #[test]
    fn the_verdict_of_the_group_stands_where_no_other_error_does() {
        let mut some = answered(&[0, 3, 0]);
        fill_in(
            &mut some,
            Ok(vec![Ok(()), Err(GroupError::MetadataTooLarge)]),
        );
        assert_eq!(codes(&some), [0, 3, 12]);
        let mut all = answered(&[0, 3, 0]);
        fill_in(&mut all, Err(GroupError::IllegalGeneration));
        assert_eq!(codes(&all), [22, 3, 22]);
    }

    #[test]
    fn every_version_can_be_answered() {
        assert_encodes::<OffsetCommit>(OffsetCommit::VERSIONS, |_| {
            OffsetCommitResponse::default().with_topics(answered(&[0, 25]))
        });
    }
}
