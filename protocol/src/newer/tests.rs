//! Bytes as kafka-clients 4.3.1 and 4.4.0 write them (both alike; `tests/e2e/wire.rs` asks them again),
//! against what is read and written here.

use kafka_protocol::messages::delete_groups_response::DeletableGroupResult;
use kafka_protocol::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use kafka_protocol::messages::list_offsets_response::{
    ListOffsetsPartitionResponse, ListOffsetsTopicResponse,
};
use kafka_protocol::messages::txn_offset_commit_response::{
    TxnOffsetCommitResponsePartition, TxnOffsetCommitResponseTopic,
};
use kafka_protocol::messages::write_txn_markers_response::{
    WritableTxnMarkerPartitionResult, WritableTxnMarkerResult, WritableTxnMarkerTopicResult,
};
use kafka_protocol::messages::{
    BrokerId, DeleteGroupsResponse, ListOffsetsResponse, TxnOffsetCommitResponse,
    WriteTxnMarkersResponse,
};
use kafka_protocol::protocol::Encodable;

use super::*;
use crate::frame::encode_response;

const COMMIT: &str = "087265616465727300000003046d2d31026902000102030405060708090a0b0c0d0e0f0300\
                      0000010000000000000007ffffffff00000000000200000000000000080000000403c3a40000\
                      00";
const FETCH: &str = "030872656164657273046d2d310000000302000102030405060708090a0b0c0d0e0f0300000000\
                     0000012c000004616c6c00ffffffff00000100";
const MARKERS: &str = "0200000000000000050002010202740300000000000000010000000009020000";
const LIST: &str = "ffffffff01020274020000000000000005fffffffffffffffa00000000753000";
const MARKED: &str = "0200000000000000050202740200000000002a00000000";
const LISTED: &str = "0000000702027402000000000000ffffffffffffffffffffffffffffffffffffffff000000";

fn bytes(hex: &str) -> Bytes {
    let digits: Vec<u32> = hex.chars().filter_map(|c| c.to_digit(16)).collect();
    let bytes = digits.chunks(2).map(|pair| (pair[0] << 4 | pair[1]) as u8);
    bytes.collect()
}

fn parsed<M: Decodable + 'static>(hex: &str, version: i16) -> M {
    let mut body = bytes(hex);
    let message = read(&mut body, version).unwrap();
    assert!(body.is_empty());
    message
}

fn written<M: Encodable + 'static>(response: &M, version: i16) -> Bytes {
    encode_response(1, 1, response, version).unwrap().slice(9..)
}

fn topic_id() -> Uuid {
    Uuid::from_u128(0x0001_0203_0405_0607_0809_0a0b_0c0d_0e0f)
}

#[test]
fn a_commit_by_topic_id_is_read() {
    let partition = |index, offset, epoch, note: Option<&'static str>| {
        OffsetCommitRequestPartition::default()
            .with_partition_index(index)
            .with_committed_offset(offset)
            .with_committed_leader_epoch(epoch)
            .with_committed_metadata(note.map(StrBytes::from_static_str))
    };
    let topic = OffsetCommitRequestTopic::default()
        .with_topic_id(topic_id())
        .with_partitions(vec![
            partition(1, 7, -1, None),
            partition(2, 8, 4, Some("ä")),
        ]);
    let expected = OffsetCommitRequest::default()
        .with_group_id(GroupId("readers".into()))
        .with_generation_id_or_member_epoch(3)
        .with_member_id("m-1".into())
        .with_group_instance_id(Some("i".into()))
        .with_topics(vec![topic]);
    assert_eq!(parsed::<OffsetCommitRequest>(COMMIT, 10), expected);
}

#[test]
fn a_fetch_of_offsets_by_topic_id_is_read() {
    let topic = OffsetFetchRequestTopics::default()
        .with_topic_id(topic_id())
        .with_partition_indexes(vec![0, 300]);
    let some = OffsetFetchRequestGroup::default()
        .with_group_id(GroupId("readers".into()))
        .with_member_id(Some("m-1".into()))
        .with_member_epoch(3)
        .with_topics(Some(vec![topic]));
    let all = OffsetFetchRequestGroup::default()
        .with_group_id(GroupId("all".into()))
        .with_topics(None);
    let expected = OffsetFetchRequest::default()
        .with_groups(vec![some, all])
        .with_require_stable(true);
    assert_eq!(parsed::<OffsetFetchRequest>(FETCH, 10), expected);
}

#[test]
fn a_marker_says_of_which_version_of_transactions_it_is() {
    let request = parsed::<WriteTxnMarkersRequest>(MARKERS, 2);
    let marker = &request.markers[0];
    assert_eq!(transaction_version(marker), 2);
    let said = (marker.producer_id, marker.producer_epoch);
    assert_eq!(said, (ProducerId(5), 2));
    assert!(marker.transaction_result);
    assert_eq!(marker.coordinator_epoch, 9);
    assert_eq!(marker.topics[0].name.as_str(), "t");
    assert_eq!(marker.topics[0].partition_indexes, [0, 1]);
    assert_eq!(transaction_version(&WritableTxnMarker::default()), 0);
    let partition = WritableTxnMarkerPartitionResult::default().with_error_code(42);
    let topic = WritableTxnMarkerTopicResult::default()
        .with_name(TopicName("t".into()))
        .with_partitions(vec![partition]);
    let result = WritableTxnMarkerResult::default()
        .with_producer_id(ProducerId(5))
        .with_topics(vec![topic]);
    let response = WriteTxnMarkersResponse::default().with_markers(vec![result]);
    assert_eq!(written(&response, 2), bytes(MARKED));
}

#[test]
fn the_newest_list_offsets_is_read_and_written_as_the_one_before() {
    let partition = ListOffsetsPartition::default()
        .with_current_leader_epoch(5)
        .with_timestamp(-6);
    let topic = ListOffsetsTopic::default()
        .with_name(TopicName("t".into()))
        .with_partitions(vec![partition]);
    let expected = ListOffsetsRequest::default()
        .with_replica_id(BrokerId(-1))
        .with_isolation_level(1)
        .with_topics(vec![topic])
        .with_timeout_ms(30_000);
    assert_eq!(parsed::<ListOffsetsRequest>(LIST, 11), expected);
    let partition = ListOffsetsPartitionResponse::default()
        .with_timestamp(-1)
        .with_offset(-1)
        .with_leader_epoch(-1);
    let topic = ListOffsetsTopicResponse::default()
        .with_name(TopicName("t".into()))
        .with_partitions(vec![partition]);
    let response = ListOffsetsResponse::default()
        .with_throttle_time_ms(7)
        .with_topics(vec![topic]);
    assert_eq!(written(&response, 11), bytes(LISTED));
}

#[test]
fn a_commit_in_a_transaction_names_topics_by_id() {
    let mut body = Vec::new();
    body.extend(b"\x02x\x08readers");
    body.extend(5_i64.to_be_bytes());
    body.extend(2_i16.to_be_bytes());
    body.extend(3_i32.to_be_bytes());
    body.extend(b"\x04m-1\x00\x02");
    body.extend(topic_id().as_bytes());
    body.extend(b"\x02\x00\x00\x00\x01");
    body.extend(7_i64.to_be_bytes());
    body.extend((-1_i32).to_be_bytes());
    body.extend(b"\x00\x00\x00\x00");
    let mut body = Bytes::from(body);
    let whole = body.clone();
    let request = read::<TxnOffsetCommitRequest>(&mut body, 6).unwrap();
    assert!(body.is_empty());
    assert_eq!(request.transactional_id.as_str(), "x");
    assert_eq!(
        (request.producer_id, request.generation_id),
        (ProducerId(5), 3)
    );
    let topic = &request.topics[0];
    assert_eq!(super::topic_id(topic), topic_id());
    assert_eq!(topic.partitions[0].committed_offset, 7);
    for length in 0..whole.len() {
        let mut cut = whole.slice(..length);
        assert!(read::<TxnOffsetCommitRequest>(&mut cut, 6).is_err());
    }
    let partition = TxnOffsetCommitResponsePartition::default()
        .with_partition_index(1)
        .with_error_code(100);
    let topic = TxnOffsetCommitResponseTopic::default().with_partitions(vec![partition]);
    let response = TxnOffsetCommitResponse::default()
        .with_throttle_time_ms(3)
        .with_topics(vec![with_topic_id(topic, topic_id())]);
    let expected = "00000003020001020304050607 08090a0b0c0d0e0f0200000001006400 0000";
    assert_eq!(written(&response, 6), bytes(expected));
}

#[test]
fn a_group_that_is_not_deleted_says_why() {
    let result = |group: &'static str, code| {
        DeletableGroupResult::default()
            .with_group_id(GroupId(group.into()))
            .with_error_code(code)
    };
    let why = with_error_message(result("b", 68), "busy".to_owned());
    let response = DeleteGroupsResponse::default().with_results(vec![result("a", 0), why]);
    let expected = "00000000030261000000000262004405627573790000";
    assert_eq!(written(&response, 3), bytes(expected));
}

/// The versions of kafka-clients 4.4.0.
#[test]
fn versions_that_are_read_by_hand_are_offered() {
    for (key, newest) in [
        (ListOffsetsRequest::KEY, 11),
        (OffsetCommitRequest::KEY, 10),
        (OffsetFetchRequest::KEY, 10),
        (WriteTxnMarkersRequest::KEY, 2),
        (TxnOffsetCommitRequest::KEY, 6),
        (DeleteGroupsRequest::KEY, 3),
    ] {
        let offered = crate::versions::supported(key).unwrap();
        assert_eq!(*offered.end(), newest, "API {key}");
    }
}

#[test]
fn what_is_cut_is_refused() {
    for length in 0..bytes(COMMIT).len() {
        let mut cut = bytes(COMMIT).slice(..length);
        assert!(read::<OffsetCommitRequest>(&mut cut, 10).is_err());
    }
}
