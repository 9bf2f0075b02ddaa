//! OffsetForLeaderEpoch (API key 23): where leader epochs end (KIP-320), at the leader.
//!
//! Versions 2 to 4: v2 fences by the current leader epoch; v3 names the replica (−1: a consumer); v4 is flexible.

use std::ops::RangeInclusive;

use carrick_protocol::error_code::ErrorCode;
use carrick_protocol::ids::{LeaderEpoch, Offset};
use kafka_protocol::messages as wire;
use kafka_protocol::messages::offset_for_leader_epoch_request::{
    OffsetForLeaderPartition, OffsetForLeaderTopic,
};

use super::api::wire_topic;
use super::by_topic::{Answers, by_topic};
use super::connection::Connection;
use super::{EpochEnd, EpochQuery, SourceError};

pub(super) const VERSIONS: RangeInclusive<i16> = 2..=4;
/// The first version with a replica id; a consumer's is −1.
const FIRST_WITH_REPLICA_ID: i16 = 3;

/// Asks one broker; the answers are in the order of the questions.
pub(super) async fn epoch_ends(
    connection: &Connection,
    queries: &[EpochQuery],
) -> Result<Vec<EpochEnd>, SourceError> {
    let response = connection.call(|version| request(queries, version)).await?;
    from_wire(response, queries).map_err(|detail| connection.broken("OffsetForLeaderEpoch", detail))
}

fn request(queries: &[EpochQuery], version: i16) -> wire::OffsetForLeaderEpochRequest {
    let topics = by_topic(queries, |query| &query.partition)
        .into_iter()
        .map(|(topic, asked)| {
            let partition = |query: &&EpochQuery| {
                OffsetForLeaderPartition::default()
                    .with_partition(query.partition.partition)
                    .with_current_leader_epoch(query.current_leader_epoch.0)
                    .with_leader_epoch(query.leader_epoch.0)
            };
            OffsetForLeaderTopic::default()
                .with_topic(wire_topic(topic))
                .with_partitions(asked.iter().map(partition).collect())
        });
    let request = wire::OffsetForLeaderEpochRequest::default().with_topics(topics.collect());
    match version >= FIRST_WITH_REPLICA_ID {
        true => request.with_replica_id(wire::BrokerId(-1)),
        false => request,
    }
}

fn from_wire(
    response: wire::OffsetForLeaderEpochResponse,
    queries: &[EpochQuery],
) -> Result<Vec<EpochEnd>, String> {
    let mut answers = Answers::default();
    for topic in &response.topics {
        for partition in &topic.partitions {
            answers.insert(&topic.topic.0, partition.partition, partition)?;
        }
    }
    let end = |query: &EpochQuery| {
        let answer = answers.of(&query.partition)?;
        let is_known = answer.error_code == 0 && answer.leader_epoch >= 0 && answer.end_offset >= 0;
        Ok(EpochEnd {
            partition: query.partition.clone(),
            error: ErrorCode(answer.error_code),
            end: is_known.then_some((LeaderEpoch(answer.leader_epoch), Offset(answer.end_offset))),
        })
    };
    queries.iter().map(end).collect()
}

#[cfg(test)]
mod tests {
    use carrick_protocol::client::encode_request;
    use carrick_protocol::ids::{TopicName, TopicPartition};
    use kafka_protocol::messages::offset_for_leader_epoch_response::{
        EpochEndOffset, OffsetForLeaderTopicResult,
    };

    use super::*;

    fn query(partition: i32) -> EpochQuery {
        EpochQuery {
            partition: TopicPartition::new(TopicName::new("a").unwrap(), partition),
            current_leader_epoch: LeaderEpoch(5),
            leader_epoch: LeaderEpoch(4),
        }
    }

    #[test]
    fn every_version_can_be_written() {
        for version in VERSIONS {
            let request = request(&[query(0), query(1)], version);
            encode_request(1, "c", &request, version).unwrap();
        }
    }

    #[test]
    fn an_epoch_that_the_source_does_not_know_has_no_end() {
        let answer = |partition, epoch, end, error| {
            EpochEndOffset::default()
                .with_partition(partition)
                .with_leader_epoch(epoch)
                .with_end_offset(end)
                .with_error_code(error)
        };
        let topic = OffsetForLeaderTopicResult::default()
            .with_topic(wire_topic(&query(0).partition.topic))
            .with_partitions(vec![
                answer(2, -1, -1, 74),
                answer(1, -1, -1, 0),
                answer(0, 3, 8, 0),
            ]);
        let response = wire::OffsetForLeaderEpochResponse::default().with_topics(vec![topic]);
        let ends = from_wire(response, &[query(0), query(1), query(2)]).unwrap();
        assert_eq!(ends[0].end, Some((LeaderEpoch(3), Offset(8))));
        assert_eq!((ends[1].error, ends[1].end), (ErrorCode::NONE, None));
        assert_eq!(ends[2].error, ErrorCode::FENCED_LEADER_EPOCH);
    }
}
