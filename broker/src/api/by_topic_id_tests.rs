//! Offsets of topics that are named by their ids (KIP-848, KIP-1319): OffsetCommit and OffsetFetch 10,
//! TxnOffsetCommit 6, which the codec cannot write.

use bytes::{BufMut, BytesMut};
use carrick_protocol::error_code::ErrorCode;
use carrick_protocol::ids::TopicId;
use kafka_protocol::messages::{
    InitProducerIdRequest, OffsetCommitRequest, OffsetFetchRequest, OffsetFetchResponse,
    TransactionalId, TxnOffsetCommitRequest,
};
use kafka_protocol::protocol::Request;

use crate::testing::{TestBroker, TestClient};

const VERSION: i16 = 10;

/// A request with that body, as a flexible version has it.
async fn ask<R: Request>(client: &mut TestClient, body: &[u8]) -> R::Response {
    send::<R>(client, VERSION, body).await;
    client.receive::<R>(VERSION).await.1
}

async fn send<R: Request>(client: &mut TestClient, version: i16, body: &[u8]) {
    let mut frame = BytesMut::new();
    frame.put_i16(R::KEY);
    frame.put_i16(version);
    frame.put_i32(7);
    // Nobody's client id, and no tagged fields.
    frame.put_i16(-1);
    frame.put_u8(0);
    frame.put_slice(body);
    let length = i32::try_from(frame.len()).unwrap();
    client.send_bytes(&length.to_be_bytes()).await;
    client.send_bytes(&frame).await;
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

/// Offset 5 of partition 0 of each topic, in a transaction of `x`.
fn commit_in_transaction(producer: (i64, i16), topics: &[TopicId]) -> Vec<u8> {
    let mut body = b"\x02x\x08readers".to_vec();
    body.extend(producer.0.to_be_bytes());
    body.extend(producer.1.to_be_bytes());
    body.extend(b"\xff\xff\xff\xff\x01\x00");
    body.push(topics.len() as u8 + 1);
    for topic in topics {
        body.extend(topic.0.as_bytes());
        body.extend([2, 0, 0, 0, 0]);
        body.extend(5_i64.to_be_bytes());
        body.extend((-1_i32).to_be_bytes());
        body.extend([0, 0, 0]);
    }
    body.push(0);
    body
}

#[tokio::test(flavor = "multi_thread")]
async fn offsets_are_committed_in_a_transaction_by_topic_id() {
    let it = TestBroker::start(&[]).await;
    let (there, unknown) = (it.create("orders", 1).id(), TopicId::random());
    let mut client = it.client().await;
    let request = InitProducerIdRequest::default()
        .with_transactional_id(Some(TransactionalId("x".into())))
        .with_transaction_timeout_ms(60_000);
    let producer = client.call(4, &request).await;
    let producer = (producer.producer_id.0, producer.producer_epoch);
    let body = commit_in_transaction(producer, &[unknown, there]);
    send::<TxnOffsetCommitRequest>(&mut client, 6, &body).await;
    let answer = client.frame().await.expect("an answer");
    let mut expected = vec![0, 0, 0, 7, 0, 0, 0, 0, 0, 3];
    for (topic, code) in [
        (unknown, ErrorCode::UNKNOWN_TOPIC_ID),
        (there, ErrorCode::NONE),
    ] {
        expected.extend(topic.0.as_bytes());
        expected.extend([2, 0, 0, 0, 0]);
        expected.extend(code.0.to_be_bytes());
        expected.extend([0, 0]);
    }
    expected.push(0);
    assert_eq!(answer, expected);
}
