//! ListOffsets (API key 2): log start, high watermark, offset by timestamp, at the leader.
//!
//! Versions 1 to 10, as a consumer (replica id −1), READ_UNCOMMITTED (v2+). v4 adds the leader
//! epoch of the result; v10 a time limit that only tiered storage uses.

use std::ops::RangeInclusive;

use carrick_protocol::error_code::ErrorCode;
use carrick_protocol::ids::{LeaderEpoch, Offset, TopicPartition};
use kafka_protocol::messages as wire;
use kafka_protocol::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};

use super::api::wire_topic;
use super::by_topic::{Answers, by_topic};
use super::connection::Connection;
use super::{ListedOffset, OffsetSpec, SourceError};

pub(super) const VERSIONS: RangeInclusive<i16> = 1..=10;
const LATEST: i64 = -1;
const EARLIEST: i64 = -2;

/// Asks one broker; the answers are in the order of the questions.
pub(super) async fn list_offsets(
    connection: &Connection,
    queries: &[(TopicPartition, OffsetSpec)],
) -> Result<Vec<ListedOffset>, SourceError> {
    let response = connection.call(|_| request(queries)).await?;
    from_wire(response, queries).map_err(|detail| connection.broken("ListOffsets", detail))
}

fn request(queries: &[(TopicPartition, OffsetSpec)]) -> wire::ListOffsetsRequest {
    let topics = by_topic(queries, |(tp, _)| tp)
        .into_iter()
        .map(|(topic, asked)| {
            let partition = |(tp, spec): &&(TopicPartition, OffsetSpec)| {
                ListOffsetsPartition::default()
                    .with_partition_index(tp.partition)
                    .with_timestamp(match spec {
                        OffsetSpec::Latest => LATEST,
                        OffsetSpec::Earliest => EARLIEST,
                        OffsetSpec::Timestamp(ms) => (*ms).max(0),
                    })
            };
            ListOffsetsTopic::default()
                .with_name(wire_topic(topic))
                .with_partitions(asked.iter().map(partition).collect())
        });
    wire::ListOffsetsRequest::default()
        .with_replica_id(wire::BrokerId(-1))
        .with_topics(topics.collect())
}

fn from_wire(
    response: wire::ListOffsetsResponse,
    queries: &[(TopicPartition, OffsetSpec)],
) -> Result<Vec<ListedOffset>, String> {
    let mut answers = Answers::default();
    for topic in &response.topics {
        for partition in &topic.partitions {
            answers.insert(&topic.name.0, partition.partition_index, partition)?;
        }
    }
    let listed = |(tp, _): &(TopicPartition, OffsetSpec)| {
        let answer = answers.of(tp)?;
        Ok(ListedOffset {
            partition: tp.clone(),
            error: ErrorCode(answer.error_code),
            offset: (answer.error_code == 0 && answer.offset >= 0).then_some(Offset(answer.offset)),
            timestamp_ms: answer.timestamp,
            leader_epoch: LeaderEpoch(answer.leader_epoch),
        })
    };
    queries.iter().map(listed).collect()
}

#[cfg(test)]
mod tests {
    use carrick_protocol::client::encode_request;
    use carrick_protocol::ids::TopicName;
    use kafka_protocol::messages::list_offsets_response::{
        ListOffsetsPartitionResponse, ListOffsetsTopicResponse,
    };

    use super::*;

    fn tp(topic: &str, partition: i32) -> TopicPartition {
        TopicPartition::new(TopicName::new(topic).unwrap(), partition)
    }

    #[test]
    fn every_version_can_be_written() {
        let queries = [
            (tp("a", 0), OffsetSpec::Latest),
            (tp("a", 1), OffsetSpec::Timestamp(5)),
        ];
        for version in VERSIONS {
            encode_request(1, "c", &request(&queries), version).unwrap();
        }
        assert_eq!(request(&queries).topics.len(), 1);
    }

    #[test]
    fn answers_come_in_the_order_of_the_questions() {
        let queries = [
            (tp("a", 1), OffsetSpec::Latest),
            (tp("a", 0), OffsetSpec::Timestamp(5)),
        ];
        let answer = |index, offset| {
            ListOffsetsPartitionResponse::default()
                .with_partition_index(index)
                .with_offset(offset)
                .with_leader_epoch(3)
        };
        let topic = ListOffsetsTopicResponse::default()
            .with_name(wire_topic(&tp("a", 0).topic))
            .with_partitions(vec![answer(0, -1), answer(1, 9)]);
        let response = wire::ListOffsetsResponse::default().with_topics(vec![topic]);
        let listed = from_wire(response.clone(), &queries).unwrap();
        assert_eq!(listed[0].offset, Some(Offset(9)));
        assert_eq!(listed[0].leader_epoch, LeaderEpoch(3));
        assert_eq!(listed[1].offset, None);
        let other = [(tp("b", 0), OffsetSpec::Latest)];
        assert!(from_wire(response, &other).is_err());
    }
}
