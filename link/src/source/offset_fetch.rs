//! OffsetFetch (API key 9): what groups have committed, for all topics, from their coordinator.
//!
//! Versions 2 to 9: with v2 a request can ask for all topics, v5 adds the leader epoch (KIP-320),
//! from v8 on (KIP-709) one request asks for many groups; below that, many requests are in flight
//! together. `require_stable` (v7) isn't set: an offset that a transaction is about to commit is no
//! position to continue from until it has. v10 names topics by their ids, which the codec can't
//! write yet.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::time::Duration;

use carrick_protocol::error_code::ErrorCode;
use carrick_protocol::ids::{GroupId, LeaderEpoch, Offset, TopicPartition};
use kafka_protocol::messages as wire;
use kafka_protocol::messages::offset_fetch_request::OffsetFetchRequestGroup;
use kafka_protocol::messages::offset_fetch_response::OffsetFetchResponseGroup;
use kafka_protocol::protocol::StrBytes;

use super::api::{topic_name, wire_text};
use super::connection::Connection;
use super::{GroupCommits, SourceCommit, SourceError};

pub(super) const VERSIONS: RangeInclusive<i16> = 2..=9;
/// From here on a request names many groups.
const FIRST_BATCHED: i16 = 8;
/// Bounds the size of an answer.
const GROUPS_PER_REQUEST: usize = 50;
/// Requests for one group each that are sent before the first is answered.
const REQUESTS_IN_FLIGHT: usize = 32;

/// Asks a coordinator; the answers are in the order of the questions.
pub(super) async fn offset_fetch(
    connection: &Connection,
    groups: &[GroupId],
) -> Result<Vec<GroupCommits>, SourceError> {
    let version = connection.version::<wire::OffsetFetchRequest>()?;
    let broken = |detail| connection.broken("OffsetFetch", detail);
    let mut fetched = Vec::with_capacity(groups.len());
    if version >= FIRST_BATCHED {
        for chunk in groups.chunks(GROUPS_PER_REQUEST) {
            let response = connection.call(|_| batched(chunk)).await?;
            fetched.extend(from_batched(&response, chunk).map_err(broken)?);
        }
        return Ok(fetched);
    }
    for chunk in groups.chunks(REQUESTS_IN_FLIGHT) {
        let send = |group| connection.send(&single(group), version, Duration::ZERO);
        let replies: Vec<_> = chunk.iter().map(send).collect();
        for (group, reply) in chunk.iter().zip(replies) {
            fetched.push(from_single(&reply.await?, group).map_err(broken)?);
        }
    }
    Ok(fetched)
}

fn wire_group(group: &GroupId) -> wire::GroupId {
    wire::GroupId(wire_text(group.as_str()))
}

fn batched(groups: &[GroupId]) -> wire::OffsetFetchRequest {
    let group = |group: &GroupId| {
        OffsetFetchRequestGroup::default()
            .with_group_id(wire_group(group))
            .with_topics(None)
    };
    wire::OffsetFetchRequest::default().with_groups(groups.iter().map(group).collect())
}

fn single(group: &GroupId) -> wire::OffsetFetchRequest {
    wire::OffsetFetchRequest::default()
        .with_group_id(wire_group(group))
        .with_topics(None)
}

/// One partition, whichever version it comes from.
struct Answer<'a> {
    topic: &'a str,
    partition: i32,
    offset: i64,
    leader_epoch: i32,
    metadata: Option<&'a StrBytes>,
    error: i16,
}

/// How Kafka says that nothing is committed.
const NO_OFFSET: i64 = -1;

impl Answer<'_> {
    /// Takes the commit, or the fact that it isn't reported; nothing if there is none.
    fn add_to(&self, commits: &mut GroupCommits) -> Result<(), String> {
        let partition =
            || topic_name(self.topic).map(|topic| TopicPartition::new(topic, self.partition));
        if self.error != ErrorCode::NONE.0 {
            commits.untold.push((partition()?, ErrorCode(self.error)));
        } else if self.offset != NO_OFFSET {
            commits.commits.push(SourceCommit {
                partition: partition()?,
                offset: Offset(self.offset),
                leader_epoch: LeaderEpoch(self.leader_epoch.max(LeaderEpoch::NONE.0)),
                metadata: self.metadata.map(ToString::to_string).unwrap_or_default(),
            });
        }
        Ok(())
    }
}

fn from_batched(
    response: &wire::OffsetFetchResponse,
    groups: &[GroupId],
) -> Result<Vec<GroupCommits>, String> {
    let answers: BTreeMap<&str, &OffsetFetchResponseGroup> = response
        .groups
        .iter()
        .map(|answer| (&*answer.group_id.0, answer))
        .collect();
    let commits = |group: &GroupId| {
        let answer = answers.get(group.as_str());
        let answer = answer.ok_or_else(|| format!("its answer lacks group '{group}'"))?;
        let all = answer.topics.iter().flat_map(|topic| {
            topic.partitions.iter().map(|partition| Answer {
                topic: &topic.name.0,
                partition: partition.partition_index,
                offset: partition.committed_offset,
                leader_epoch: partition.committed_leader_epoch,
                metadata: partition.metadata.as_ref(),
                error: partition.error_code,
            })
        });
        collected(group, answer.error_code, all)
    };
    groups.iter().map(commits).collect()
}

fn from_single(
    response: &wire::OffsetFetchResponse,
    group: &GroupId,
) -> Result<GroupCommits, String> {
    let all = response.topics.iter().flat_map(|topic| {
        topic.partitions.iter().map(|partition| Answer {
            topic: &topic.name.0,
            partition: partition.partition_index,
            offset: partition.committed_offset,
            leader_epoch: partition.committed_leader_epoch,
            metadata: partition.metadata.as_ref(),
            error: partition.error_code,
        })
    });
    collected(group, response.error_code, all)
}

fn collected<'a>(
    group: &GroupId,
    error: i16,
    answers: impl Iterator<Item = Answer<'a>>,
) -> Result<GroupCommits, String> {
    let mut commits = GroupCommits {
        group: group.clone(),
        error: ErrorCode(error),
        commits: Vec::new(),
        untold: Vec::new(),
    };
    for answer in answers {
        answer.add_to(&mut commits)?;
    }
    Ok(commits)
}

#[cfg(test)]
mod tests {
    use carrick_protocol::client::encode_request;
    use kafka_protocol::messages::offset_fetch_response::{
        OffsetFetchResponsePartition, OffsetFetchResponsePartitions, OffsetFetchResponseTopic,
        OffsetFetchResponseTopics,
    };

    use super::*;

    fn name() -> wire::TopicName {
        wire::TopicName(wire_text("orders"))
    }

    #[test]
    fn every_version_can_be_written() {
        let groups = [GroupId::new("a"), GroupId::new("b")];
        for version in VERSIONS {
            let request = match version >= FIRST_BATCHED {
                true => batched(&groups),
                false => single(&groups[0]),
            };
            encode_request(1, "c", &request, version).unwrap();
        }
    }

    #[test]
    fn commits_come_with_epoch_and_metadata_and_nothing_where_there_is_none() {
        let partition = |index, offset, error| {
            OffsetFetchResponsePartitions::default()
                .with_partition_index(index)
                .with_committed_offset(offset)
                .with_committed_leader_epoch(3)
                .with_metadata(Some(wire_text("text")))
                .with_error_code(error)
        };
        let topic = OffsetFetchResponseTopics::default()
            .with_name(name())
            .with_partitions(vec![
                partition(0, 7, 0),
                partition(1, -1, 0),
                partition(2, 9, 29),
                partition(3, -5, 0),
            ]);
        let answer = OffsetFetchResponseGroup::default()
            .with_group_id(wire_group(&GroupId::new("a")))
            .with_topics(vec![topic]);
        let refused = OffsetFetchResponseGroup::default()
            .with_group_id(wire_group(&GroupId::new("b")))
            .with_error_code(16);
        let response = wire::OffsetFetchResponse::default().with_groups(vec![refused, answer]);
        let groups = [GroupId::new("a"), GroupId::new("b")];
        let fetched = from_batched(&response, &groups).unwrap();
        assert_eq!(fetched[0].commits.len(), 2);
        assert_eq!(fetched[0].commits[1].offset, Offset(-5));
        let untold = (
            TopicPartition::new(topic_name("orders").unwrap(), 2),
            ErrorCode::TOPIC_AUTHORIZATION_FAILED,
        );
        assert_eq!(fetched[0].untold, [untold]);
        let commit = &fetched[0].commits[0];
        assert_eq!(commit.partition.to_string(), "orders-0");
        assert_eq!(commit.offset, Offset(7));
        assert_eq!(commit.leader_epoch, LeaderEpoch(3));
        assert_eq!(commit.metadata, "text");
        assert_eq!(fetched[1].error, ErrorCode::NOT_COORDINATOR);
        assert!(from_batched(&response, &[GroupId::new("c")]).is_err());
    }

    #[test]
    fn old_answers_are_about_one_group() {
        let partition = OffsetFetchResponsePartition::default()
            .with_committed_offset(7)
            .with_committed_leader_epoch(-1);
        let topic = OffsetFetchResponseTopic::default()
            .with_name(name())
            .with_partitions(vec![partition]);
        let response = wire::OffsetFetchResponse::default().with_topics(vec![topic]);
        let fetched = from_single(&response, &GroupId::new("a")).unwrap();
        assert_eq!(fetched.commits[0].offset, Offset(7));
        assert_eq!(fetched.commits[0].leader_epoch, LeaderEpoch::NONE);
        assert_eq!(fetched.commits[0].metadata, "");
    }
}
