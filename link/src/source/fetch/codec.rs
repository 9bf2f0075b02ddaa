//! Between this module's types and the wire's, by version.

use carrick_protocol::error_code::ErrorCode;
use carrick_protocol::ids::{LeaderEpoch, NodeId, Offset, TopicId, TopicName};
use kafka_protocol::messages as wire;
use kafka_protocol::messages::fetch_request::{FetchPartition, FetchTopic, ForgottenTopic};
use kafka_protocol::messages::fetch_response::PartitionData;
use kafka_protocol::protocol::StrBytes;

use super::super::api::{topic_name, wire_topic};
use super::{
    FetchPosition, FetchRequest, FetchResponse, FetchedData, LAST_BY_NAME, RawFetchedPartition,
};
use crate::source::SourceBroker;

/// `last_fetched_epoch` (KIP-595).
const FIRST_WITH_LAST_FETCHED_EPOCH: i16 = 12;
/// `rack_id` (KIP-392).
const FIRST_WITH_RACK: i16 = 11;
/// `current_leader_epoch` (KIP-320).
const FIRST_WITH_LEADER_EPOCH: i16 = 9;
/// Followers' fields aside, a consumer is replica −1.
const CONSUMER: i32 = -1;
/// READ_UNCOMMITTED: everything up to the high watermark.
const READ_UNCOMMITTED: i8 = 0;

/// Limits are `u32` for us; the wire has no more than this.
fn wire_u31(value: u32) -> i32 {
    i32::try_from(value).unwrap_or(i32::MAX)
}

/// The request as the codec wants it for `request.version`.
pub(in crate::source) fn to_wire(request: &FetchRequest) -> wire::FetchRequest {
    let by_id = request.version > LAST_BY_NAME;
    let mut topics: Vec<FetchTopic> = Vec::new();
    let mut last: Option<(&TopicName, TopicId)> = None;
    for (tp, position) in &request.partitions {
        let this = (&tp.topic, position.topic_id);
        if last != Some(this) {
            last = Some(this);
            topics.push(match by_id {
                true => FetchTopic::default().with_topic_id(position.topic_id.0),
                false => FetchTopic::default().with_topic(wire_topic(&tp.topic)),
            });
        }
        if let Some(topic) = topics.last_mut() {
            topic
                .partitions
                .push(wire_partition(tp.partition, position, request.version));
        }
    }
    let forgotten = request.forgotten.iter().map(|(tp, id)| {
        let forgotten = ForgottenTopic::default().with_partitions(vec![tp.partition]);
        match by_id {
            true => forgotten.with_topic_id(id.0),
            false => forgotten.with_topic(wire_topic(&tp.topic)),
        }
    });
    let rack = match request.version >= FIRST_WITH_RACK {
        true => StrBytes::from_string(request.rack.to_string()),
        false => StrBytes::default(),
    };
    wire::FetchRequest::default()
        .with_replica_id(wire::BrokerId(CONSUMER))
        .with_max_wait_ms(wire_u31(request.limits.max_wait_ms))
        .with_min_bytes(wire_u31(request.limits.min_bytes))
        .with_max_bytes(wire_u31(request.limits.max_bytes))
        .with_isolation_level(READ_UNCOMMITTED)
        .with_session_id(request.session_id)
        .with_session_epoch(request.session_epoch)
        .with_forgotten_topics_data(forgotten.collect())
        .with_topics(topics)
        .with_rack_id(rack)
}

fn wire_partition(partition: i32, position: &FetchPosition, version: i16) -> FetchPartition {
    let since = |first: i16, epoch: LeaderEpoch| if version >= first { epoch.0 } else { -1 };
    FetchPartition::default()
        .with_partition(partition)
        .with_fetch_offset(position.fetch_offset.0)
        .with_current_leader_epoch(since(
            FIRST_WITH_LEADER_EPOCH,
            position.current_leader_epoch,
        ))
        .with_last_fetched_epoch(since(
            FIRST_WITH_LAST_FETCHED_EPOCH,
            position.last_fetched_epoch,
        ))
        .with_partition_max_bytes(wire_u31(position.max_bytes))
}

/// The response in our words; `Err` says what is wrong with it.
pub(in crate::source) fn from_wire(
    response: wire::FetchResponse,
    version: i16,
) -> Result<FetchResponse, String> {
    let by_id = version > LAST_BY_NAME;
    let mut partitions = Vec::new();
    for topic in response.responses {
        let name = if by_id {
            None
        } else {
            Some(topic_name(&topic.topic.0)?)
        };
        partitions.extend(
            topic
                .partitions
                .into_iter()
                .map(|data| RawFetchedPartition {
                    topic: name.clone(),
                    topic_id: TopicId(topic.topic_id),
                    partition: data.partition_index,
                    data: fetched(data),
                }),
        );
    }
    let endpoints = response.node_endpoints.into_iter().filter_map(|node| {
        Some(SourceBroker {
            id: NodeId(node.node_id.0),
            host: node.host.to_string(),
            port: u16::try_from(node.port).ok()?,
            rack: node.rack.map(|rack| rack.to_string()),
        })
    });
    Ok(FetchResponse {
        error: ErrorCode(response.error_code),
        session_id: response.session_id,
        throttle_time_ms: response.throttle_time_ms,
        partitions,
        endpoints: endpoints.collect(),
    })
}

fn fetched(data: PartitionData) -> FetchedData {
    let diverging = data.diverging_epoch;
    let leader = data.current_leader;
    FetchedData {
        error: ErrorCode(data.error_code),
        high_watermark: Offset(data.high_watermark),
        last_stable_offset: Offset(data.last_stable_offset),
        log_start_offset: Offset(data.log_start_offset),
        diverging_epoch: (diverging.end_offset >= 0)
            .then_some((LeaderEpoch(diverging.epoch), Offset(diverging.end_offset))),
        current_leader: (leader.leader_id.0 >= 0)
            .then_some((NodeId(leader.leader_id.0), LeaderEpoch(leader.leader_epoch))),
        preferred_read_replica: (data.preferred_read_replica.0 >= 0)
            .then_some(NodeId(data.preferred_read_replica.0)),
        records: data.records.unwrap_or_default(),
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use carrick_protocol::client::{decode_response, encode_request};
    use carrick_protocol::frame::encode_response;
    use kafka_protocol::messages::fetch_response::{EpochEndOffset, FetchableTopicResponse};

    use super::super::session_model::{at, limits, tp};
    use super::super::{FetchSession, VERSIONS};
    use super::*;

    #[test]
    fn every_version_can_be_written() {
        for version in VERSIONS {
            for id in [0, 1] {
                let mut session = FetchSession::new(version);
                let position = FetchPosition {
                    last_fetched_epoch: LeaderEpoch(2),
                    ..at(id, 5)
                };
                let wanted = [(tp("a"), position), (tp("b"), position)].into();
                let mut request = session.next_request(&wanted, limits());
                encode_request(1, "c", &to_wire(&request), request.version).unwrap();
                if request.version >= 7 {
                    request.forgotten.push((tp("a"), position.topic_id));
                    encode_request(1, "c", &to_wire(&request), request.version).unwrap();
                }
            }
        }
    }

    #[test]
    fn partitions_of_one_topic_share_an_entry() {
        let mut session = FetchSession::new(17);
        let mut second = tp("a");
        second.partition = 1;
        let wanted = [(tp("a"), at(1, 0)), (second, at(1, 3)), (tp("b"), at(2, 0))].into();
        let request = to_wire(&session.next_request(&wanted, limits()));
        let counts: Vec<_> = request
            .topics
            .iter()
            .map(|topic| topic.partitions.len())
            .collect();
        assert_eq!(counts, [2, 1]);
        assert!(request.topics[0].topic.is_empty());
    }

    fn answer(version: i16) -> wire::FetchResponse {
        let mut data = PartitionData::default()
            .with_partition_index(4)
            .with_high_watermark(9)
            .with_last_stable_offset(8)
            .with_log_start_offset(1)
            .with_preferred_read_replica(wire::BrokerId(-1))
            .with_records(Some(Bytes::from_static(b"batch")));
        if version >= 12 {
            data.diverging_epoch = EpochEndOffset::default().with_epoch(2).with_end_offset(7);
        }
        let mut topic = FetchableTopicResponse::default().with_partitions(vec![data]);
        match version > LAST_BY_NAME {
            true => topic.topic_id = at(5, 0).topic_id.0,
            false => topic.topic = wire_topic(&tp("a").topic),
        }
        wire::FetchResponse::default().with_responses(vec![topic])
    }

    #[test]
    fn every_version_can_be_read_and_records_are_slices_of_the_frame() {
        for version in VERSIONS {
            let header = if version >= 12 { 1 } else { 0 };
            let frame = encode_response(7, header, &answer(version), version)
                .unwrap()
                .slice(4..);
            let (id, response) =
                decode_response::<wire::FetchRequest>(frame.clone(), version).unwrap();
            assert_eq!(id, 7);
            let response = from_wire(response, version).unwrap();
            let partition = &response.partitions[0];
            assert_eq!(partition.topic.is_some(), version <= LAST_BY_NAME);
            assert_eq!(partition.partition, 4);
            assert_eq!(partition.data.high_watermark, Offset(9));
            assert_eq!(partition.data.preferred_read_replica, None);
            assert_eq!(partition.data.current_leader, None);
            let diverging = (version >= 12).then_some((LeaderEpoch(2), Offset(7)));
            assert_eq!(partition.data.diverging_epoch, diverging);
            assert_eq!(partition.data.records, "batch");
            assert!(
                frame
                    .as_ptr_range()
                    .contains(&partition.data.records.as_ptr())
            );
        }
    }

    #[test]
    fn a_name_that_no_topic_can_have_is_refused() {
        let mut response = answer(12);
        response.responses[0].topic = wire::TopicName(StrBytes::from_static_str("a/b"));
        assert!(from_wire(response, 12).is_err());
    }
}
