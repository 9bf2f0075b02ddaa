//! DeleteRecords, DescribeProducers, and what else goes with a topic.

use carrick_protocol::error_code::ErrorCode;
use kafka_protocol::messages::delete_records_request::{
    DeleteRecordsPartition, DeleteRecordsTopic,
};
use kafka_protocol::messages::describe_producers_request::TopicRequest;
use kafka_protocol::messages::offset_commit_request::{
    OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use kafka_protocol::messages::offset_fetch_request::OffsetFetchRequestTopic;
use kafka_protocol::messages::{
    DeleteRecordsRequest, DeleteTopicsRequest, DescribeProducersRequest, OffsetCommitRequest,
    OffsetFetchRequest,
};
use kafka_protocol::protocol::StrBytes;

use crate::testing::{TestBroker, TestClient, batch, idempotent, wire};

async fn delete(
    client: &mut TestClient,
    version: i16,
    topic: &str,
    offset: i64,
) -> (ErrorCode, i64) {
    let partition = DeleteRecordsPartition::default()
        .with_partition_index(0)
        .with_offset(offset);
    let topic = DeleteRecordsTopic::default()
        .with_name(wire(topic))
        .with_partitions(vec![partition]);
    let request = DeleteRecordsRequest::default().with_topics(vec![topic]);
    let result = client
        .call(version, &request)
        .await
        .topics
        .remove(0)
        .partitions
        .remove(0);
    (ErrorCode(result.error_code), result.low_watermark)
}

#[tokio::test(flavor = "multi_thread")]
async fn records_are_deleted_up_to_an_offset_and_up_to_the_high_watermark() {
    let it = TestBroker::start(&[]).await;
    let topic = it.create("t", 1);
    let mut client = it.client().await;
    client
        .produce("t", 0, -1, batch(&["a", "b", "c", "d"]))
        .await;
    let log_start = || topic.partitions()[0].snapshot().log_start().0;
    assert_eq!(delete(&mut client, 0, "t", 2).await, (ErrorCode::NONE, 2));
    assert_eq!(log_start(), 2, "inside a batch");
    assert_eq!(delete(&mut client, 1, "t", 1).await, (ErrorCode::NONE, 2));
    assert_eq!(
        delete(&mut client, 2, "t", 5).await,
        (ErrorCode::OFFSET_OUT_OF_RANGE, -1)
    );
    assert_eq!(
        delete(&mut client, 2, "t", -2).await,
        (ErrorCode::OFFSET_OUT_OF_RANGE, -1)
    );
    assert_eq!(delete(&mut client, 2, "t", -1).await, (ErrorCode::NONE, 4));
    let it = it.restart(&[]).await;
    let topic = it.broker().topic("t").unwrap();
    assert_eq!(topic.partitions()[0].snapshot().log_start().0, 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn records_of_mirrors_compacted_and_missing_topics_stay() {
    let it = TestBroker::start(&[]).await;
    it.create_mirror("m", 1);
    it.create_with("c", 1, &[("cleanup.policy", "compact")]);
    it.create_with("cd", 1, &[("cleanup.policy", "compact,delete")]);
    let mut client = it.client().await;
    assert_eq!(
        delete(&mut client, 2, "m", -1).await,
        (ErrorCode::INVALID_REQUEST, -1)
    );
    assert_eq!(
        delete(&mut client, 2, "c", -1).await,
        (ErrorCode::POLICY_VIOLATION, -1)
    );
    assert_eq!(delete(&mut client, 2, "cd", -1).await, (ErrorCode::NONE, 0));
    let unknown = (ErrorCode::UNKNOWN_TOPIC_OR_PARTITION, -1);
    assert_eq!(delete(&mut client, 2, "gone", -1).await, unknown);
}

/// After Kafka's `ProducerFailureHandlingTest.testCannotSendToInternalTopic`.
#[tokio::test(flavor = "multi_thread")]
async fn nobody_writes_to_internal_topics_or_deletes_their_records() {
    let names = ["__consumer_offsets", "__transaction_state"];
    let it = TestBroker::start(&[]).await;
    for name in names {
        it.create(name, 1);
    }
    let mut client = it.client().await;
    for name in names {
        let produced = client.produce(name, 0, -1, batch(&["a"])).await;
        let refused = ErrorCode::INVALID_TOPIC_EXCEPTION;
        assert_eq!(ErrorCode(produced.error_code), refused);
        assert_eq!(delete(&mut client, 2, name, -1).await, (refused, -1));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn producers_are_shown_with_their_last_sequence() {
    let it = TestBroker::start(&[]).await;
    it.create("t", 1);
    let mut client = it.client().await;
    client
        .produce("t", 0, -1, idempotent(4711, 3, 0, &["a", "b"]))
        .await;
    client
        .produce("t", 0, -1, idempotent(4711, 3, 2, &["c"]))
        .await;
    let asked = |topic: &str| {
        TopicRequest::default()
            .with_name(wire(topic))
            .with_partition_indexes(vec![0, 1, 0])
    };
    let topics = vec![asked("t"), asked("no/slash")];
    let request = DescribeProducersRequest::default().with_topics(topics);
    let response = client.call(0, &request).await;
    let [known, unknown] = &response.topics[0].partitions[..] else {
        panic!("{response:?}")
    };
    assert_eq!((known.error_code, known.active_producers.len()), (0, 1));
    let producer = &known.active_producers[0];
    assert_eq!((producer.producer_id.0, producer.producer_epoch), (4711, 3));
    assert_eq!(
        (producer.last_sequence, producer.current_txn_start_offset),
        (2, -1)
    );
    assert_eq!(
        ErrorCode(unknown.error_code),
        ErrorCode::UNKNOWN_TOPIC_OR_PARTITION
    );
    let invalid = &response.topics[1].partitions[0];
    assert_eq!(
        ErrorCode(invalid.error_code),
        ErrorCode::INVALID_TOPIC_EXCEPTION
    );
}

async fn committed(client: &mut TestClient) -> i64 {
    let topic = OffsetFetchRequestTopic::default()
        .with_name(wire("t"))
        .with_partition_indexes(vec![0]);
    let request = OffsetFetchRequest::default()
        .with_group_id(StrBytes::from_static_str("g").into())
        .with_topics(Some(vec![topic]));
    let response = client.call(5, &request).await;
    response.topics[0].partitions[0].committed_offset
}

#[tokio::test(flavor = "multi_thread")]
async fn committed_offsets_go_with_their_topic() {
    let it = TestBroker::start(&[]).await;
    it.create("t", 1);
    let mut client = it.client().await;
    let partition = OffsetCommitRequestPartition::default().with_committed_offset(42);
    let topic = OffsetCommitRequestTopic::default()
        .with_name(wire("t"))
        .with_partitions(vec![partition]);
    let request = OffsetCommitRequest::default()
        .with_group_id(StrBytes::from_static_str("g").into())
        .with_topics(vec![topic]);
    client.call(5, &request).await;
    assert_eq!(committed(&mut client).await, 42);
    let request = DeleteTopicsRequest::default().with_topic_names(vec![wire("t")]);
    assert_eq!(client.call(5, &request).await.responses[0].error_code, 0);
    it.create("t", 1);
    assert_eq!(committed(&mut client).await, -1);
}
