//! Both versions of the protocol, as clients speak them.

use carrick_protocol::error_code::ErrorCode;
use kafka_protocol::messages::add_partitions_to_txn_request::AddPartitionsToTxnTopic;
use kafka_protocol::messages::write_txn_markers_request::{
    WritableTxnMarker, WritableTxnMarkerTopic,
};
use kafka_protocol::messages::{
    AddPartitionsToTxnRequest, DescribeTransactionsRequest, EndTxnRequest, InitProducerIdRequest,
    ListTransactionsRequest, ProduceRequest, WriteTxnMarkersRequest,
};
use kafka_protocol::messages::{ProducerId as WireId, TransactionalId as WireTxn};

use super::*;
use crate::testing::{TestClient, produce, wire};

fn txn(id: &str) -> WireTxn {
    WireTxn(id.to_owned().into())
}

async fn init(client: &mut TestClient, version: i16, id: &str) -> Producer {
    let request = InitProducerIdRequest::default()
        .with_transactional_id(Some(txn(id)))
        .with_transaction_timeout_ms(60_000);
    let answer = client.call(version, &request).await;
    assert_eq!(answer.error_code, 0);
    Producer {
        id: ProducerId(answer.producer_id.0),
        epoch: answer.producer_epoch,
    }
}

async fn end(client: &mut TestClient, version: i16, producer: Producer, commit: bool) -> i16 {
    let request = EndTxnRequest::default()
        .with_transactional_id(txn("t"))
        .with_producer_id(WireId(producer.id.0))
        .with_producer_epoch(producer.epoch)
        .with_committed(commit);
    client.call(version, &request).await.error_code
}

fn transactional(producer: Producer, sequence: i32, value: &str) -> ProduceRequest {
    produce(TOPIC, 0, -1, in_transaction(producer, sequence, value))
        .with_transactional_id(Some(txn("t")))
}

async fn produced(client: &mut TestClient, version: i16, request: ProduceRequest) -> ErrorCode {
    let mut answer = client.call(version, &request).await;
    let partition = &answer.responses.remove(0).partition_responses[0];
    ErrorCode(partition.error_code)
}

fn add_partitions(producer: Producer, topic: &str) -> AddPartitionsToTxnRequest {
    let topic = AddPartitionsToTxnTopic::default()
        .with_name(wire(topic))
        .with_partitions(vec![0]);
    AddPartitionsToTxnRequest::default()
        .with_v3_and_below_transactional_id(txn("t"))
        .with_v3_and_below_producer_id(WireId(producer.id.0))
        .with_v3_and_below_producer_epoch(producer.epoch)
        .with_v3_and_below_topics(vec![topic])
}

#[tokio::test(flavor = "multi_thread")]
async fn older_clients_add_partitions_and_keep_their_epoch() {
    let world = World::start().await;
    let mut client = world.broker.client().await;
    let producer = init(&mut client, 2, "t").await;
    let early = produced(&mut client, 9, transactional(producer, 0, "early")).await;
    assert_eq!(early, ErrorCode::INVALID_TXN_STATE);
    let early = produced(&mut client, 11, transactional(producer, 0, "early")).await;
    assert_eq!(early, ErrorCode::TRANSACTION_ABORTABLE);
    for (round, commit) in [true, false, true].into_iter().enumerate() {
        let added = client.call(3, &add_partitions(producer, TOPIC)).await;
        let added = &added.results_by_topic_v3_and_below[0].results_by_partition[0];
        assert_eq!(added.partition_error_code, 0);
        let value = format!("r{round}");
        let request = transactional(producer, round as i32, &value);
        assert_eq!(produced(&mut client, 9, request).await, ErrorCode::NONE);
        assert_eq!(end(&mut client, 3, producer, commit).await, 0);
        assert_eq!(
            end(&mut client, 3, producer, commit).await,
            0,
            "asked again"
        );
        world.settle().await;
    }
    assert_eq!(world.committed(0), ["r0", "r2"]);
    let fenced = init(&mut client, 2, "t").await;
    assert_eq!(fenced.epoch, producer.epoch + 1);
    let codes = [
        ErrorCode::INVALID_PRODUCER_EPOCH,
        ErrorCode::PRODUCER_FENCED,
    ];
    for (version, code) in [(1, codes[0]), (2, codes[1])] {
        let answer = client.call(version, &add_partitions(producer, TOPIC)).await;
        let result = &answer.results_by_topic_v3_and_below[0].results_by_partition[0];
        assert_eq!(ErrorCode(result.partition_error_code), code);
        assert_eq!(
            ErrorCode(end(&mut client, version, producer, true).await),
            code
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn newer_clients_only_write_and_begin_each_epoch_with_sequence_0() {
    let world = World::start().await;
    let mut client = world.broker.client().await;
    let mut producer = init(&mut client, 5, "t").await;
    let gap = produced(&mut client, 12, transactional(producer, 3, "gap")).await;
    assert_eq!(gap, ErrorCode::OUT_OF_ORDER_SEQUENCE_NUMBER);
    for round in 0..3 {
        let value = format!("r{round}");
        let request = transactional(producer, 0, &value);
        assert_eq!(
            produced(&mut client, 12, request.clone()).await,
            ErrorCode::NONE
        );
        assert_eq!(
            produced(&mut client, 12, request).await,
            ErrorCode::NONE,
            "again"
        );
        assert_eq!(end(&mut client, 5, producer, true).await, 0);
        world.settle().await;
        let late = produced(&mut client, 12, transactional(producer, 1, "late")).await;
        assert_eq!(late, ErrorCode::INVALID_PRODUCER_EPOCH);
        producer.epoch += 1;
    }
    assert_eq!(world.committed(0), ["r0", "r1", "r2"]);
    assert_eq!(
        end(&mut client, 5, producer, false).await,
        0,
        "nothing to abort"
    );
    let plain = produce(TOPIC, 0, -1, in_transaction(producer, 0, "a"));
    let refused = produced(&mut client, 12, plain).await;
    assert_eq!(refused, ErrorCode::TRANSACTIONAL_ID_AUTHORIZATION_FAILED);
}

#[tokio::test(flavor = "multi_thread")]
async fn mirrors_are_in_no_transaction() {
    let world = World::start().await;
    world.broker.create_mirror("copy", 1);
    let mut client = world.broker.client().await;
    let producer = init(&mut client, 5, "t").await;
    let answer = client.call(3, &add_partitions(producer, "copy")).await;
    let result = &answer.results_by_topic_v3_and_below[0].results_by_partition[0];
    let code = ErrorCode(result.partition_error_code);
    assert_eq!(code, ErrorCode::INVALID_REQUEST);
    let request = produce("copy", 0, -1, in_transaction(producer, 0, "a"))
        .with_transactional_id(Some(txn("t")));
    assert_eq!(produced(&mut client, 12, request).await, code);
    let marker = WritableTxnMarker::default()
        .with_producer_id(WireId(producer.id.0))
        .with_topics(vec![
            WritableTxnMarkerTopic::default()
                .with_name(wire("copy"))
                .with_partition_indexes(vec![0]),
        ]);
    let request = WriteTxnMarkersRequest::default().with_markers(vec![marker]);
    let answer = client.call(1, &request).await;
    let result = &answer.markers[0].topics[0].partitions[0];
    assert_eq!(ErrorCode(result.error_code), code);
    let described = world.transactions().describe("t").unwrap();
    assert_eq!(described.state, State::Empty);
}

#[tokio::test(flavor = "multi_thread")]
async fn administrators_see_transactions_and_end_one_that_hangs() {
    let world = World::start().await;
    let mut client = world.broker.client().await;
    let producer = init(&mut client, 5, "t").await;
    let written = produced(&mut client, 12, transactional(producer, 0, "a")).await;
    assert_eq!(written, ErrorCode::NONE);
    init(&mut client, 5, "other").await;
    let listed = |request: ListTransactionsRequest| {
        let address = world.broker.broker().endpoints[0].bound;
        async move {
            let mut client = TestClient::connect(address).await;
            client.call(2, &request).await
        }
    };
    let request = ListTransactionsRequest::default().with_duration_filter(-1);
    let states = vec!["Ongoing".into(), "Nowhere".into()];
    let answer = listed(request.clone().with_state_filters(states)).await;
    assert_eq!(&*answer.unknown_state_filters[0], "Nowhere");
    assert_eq!(answer.transaction_states.len(), 1);
    assert_eq!(&*answer.transaction_states[0].transactional_id, "t");
    let pattern = request
        .clone()
        .with_transactional_id_pattern(Some("o.*r".into()));
    assert_eq!(listed(pattern).await.transaction_states.len(), 1);
    let broken = request.with_transactional_id_pattern(Some("(".into()));
    let code = ErrorCode(listed(broken).await.error_code);
    assert_eq!(code, ErrorCode::INVALID_REGULAR_EXPRESSION);
    let asked = vec![txn("t"), txn("nobody")];
    let request = DescribeTransactionsRequest::default().with_transactional_ids(asked);
    let described = client.call(0, &request).await.transaction_states;
    assert_eq!(&*described[0].transaction_state, "Ongoing");
    assert_eq!(described[0].topics[0].partitions, [0]);
    let unknown = ErrorCode(described[1].error_code);
    assert_eq!(unknown, ErrorCode::TRANSACTIONAL_ID_NOT_FOUND);
    let marker = WritableTxnMarker::default()
        .with_producer_id(WireId(producer.id.0))
        .with_producer_epoch(producer.epoch)
        .with_topics(vec![
            WritableTxnMarkerTopic::default()
                .with_name(wire(TOPIC))
                .with_partition_indexes(vec![0]),
        ]);
    let request = WriteTxnMarkersRequest::default().with_markers(vec![marker]);
    let answer = client.call(1, &request).await;
    assert_eq!(answer.markers[0].topics[0].partitions[0].error_code, 0);
    assert!(!world.has_open_transactions());
    assert_eq!(world.committed(0), Vec::<String>::new());
}
