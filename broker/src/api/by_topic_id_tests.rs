//! Offsets of topics that are named by their ids (KIP-848): OffsetCommit and OffsetFetch 10, whose
//! requests the codec cannot write.

use bytes::{BufMut, BytesMut};
use carrick_protocol::error_code::ErrorCode;
use carrick_protocol::ids::TopicId;
use kafka_protocol::messages::{OffsetCommitRequest, OffsetFetchRequest, OffsetFetchResponse};
use kafka_protocol::protocol::Request;

use crate::testing::{TestBroker, TestClient};

const VERSION: i16 = 10;

/// A request with that body, as a flexible version has it.
async fn ask<R: Request>(client: &mut TestClient, body: &[u8]) -> R::Response {
    let mut frame = BytesMut::new();
    frame.put_i16(R::KEY);
    frame.put_i16(VERSION);
    frame.put_i32(7);
    // Nobody's client id, and no tagged fields.
    frame.put_i16(-1);
    frame.put_u8(0);
    frame.put_slice(body);
    let length = i32::try_from(frame.len()).unwrap();
    client.send_bytes(&length.to_be_bytes()).await;
    client.send_bytes(&frame).await;
    client.receive::<R>(VERSION).await.1
}

/// A group of offsets alone commits offset 5 of partitions 0 and 9 of each topic.
fn commit(topics: &[TopicId]) -> Vec<u8> {
    let mut body = b"\x08readers\xff\xff\xff\xff\x01\x00".to_vec();
    body.push(topics.len() as u8 + 1);
    for topic in topics {
        body.extend(topic.0.as_bytes());
        body.push(3);
        for partition in [0, 9_i32] {
            body.extend(partition.to_be_bytes());
            body.extend(5_i64.to_be_bytes());
            body.extend((-1_i32).to_be_bytes());
            body.extend([0, 0]);
        }
        body.push(0);
    }
    body.push(0);
    body
}

/// Asks for partition 0 of each topic, or for all there is.
fn fetch(topics: Option<&[TopicId]>) -> Vec<u8> {
    let mut body = b"\x02\x08readers\x00\xff\xff\xff\xff".to_vec();
    body.push(topics.map_or(0, |topics| topics.len() as u8 + 1));
    for topic in topics.into_iter().flatten() {
        body.extend(topic.0.as_bytes());
        body.extend([2, 0, 0, 0, 0, 0]);
    }
    body.extend([0, 0, 0]);
    body
}

/// Topic, offset and code of each partition.
fn told(response: &OffsetFetchResponse) -> Vec<(TopicId, i64, ErrorCode)> {
    let topics = response.groups[0].topics.iter();
    let told = topics.map(|topic| {
        let partition = &topic.partitions[0];
        let code = ErrorCode(partition.error_code);
        (TopicId(topic.topic_id), partition.committed_offset, code)
    });
    told.collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn offsets_are_committed_and_fetched_by_topic_id() {
    let it = TestBroker::start(&[]).await;
    let there = it.create("orders", 1).id();
    let unknown = TopicId::random();
    let mut client = it.client().await;
    let response = ask::<OffsetCommitRequest>(&mut client, &commit(&[unknown, there])).await;
    let codes = response.topics.iter().map(|topic| {
        let codes = topic
            .partitions
            .iter()
            .map(|part| ErrorCode(part.error_code));
        (TopicId(topic.topic_id), codes.collect::<Vec<_>>())
    });
    let unknown_id = ErrorCode::UNKNOWN_TOPIC_ID;
    assert_eq!(
        codes.collect::<Vec<_>>(),
        [
            (unknown, vec![unknown_id, unknown_id]),
            (
                there,
                vec![ErrorCode::NONE, ErrorCode::UNKNOWN_TOPIC_OR_PARTITION]
            ),
        ]
    );
    let asked = [unknown, there];
    let some = ask::<OffsetFetchRequest>(&mut client, &fetch(Some(&asked))).await;
    assert_eq!(
        told(&some),
        [(there, 5, ErrorCode::NONE), (unknown, -1, unknown_id)]
    );
    let all = ask::<OffsetFetchRequest>(&mut client, &fetch(None)).await;
    assert_eq!(told(&all), [(there, 5, ErrorCode::NONE)]);
}
