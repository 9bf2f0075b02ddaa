//! Stories told by a client over a real socket.

mod amplification;
mod corpus;
mod hostile;
mod logins;
mod pipelines;
mod quotas;
mod tls;

use std::time::Duration;

use bytes::Bytes;
use carrick_protocol::error_code::ErrorCode;
use kafka_protocol::messages::fetch_request::{FetchPartition, FetchTopic};
use kafka_protocol::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use kafka_protocol::messages::metadata_request::MetadataRequestTopic;
use kafka_protocol::messages::*;
use kafka_protocol::protocol::StrBytes;

use super::dispatch::{Refused, route};
use crate::api::Encoded;
use crate::api::{Context, Reply};
use crate::testing::{TestBroker, batch, produce, until, wire};

/// Handles a frame outside of any connection.
fn handle(context: &mut Context, frame: Bytes) -> Result<Reply<Encoded>, Refused> {
    route(context, frame)?.handle(context)
}

fn fetch(topic: &str, offset: i64, max_wait_ms: i32) -> FetchRequest {
    let partition = FetchPartition::default()
        .with_partition(0)
        .with_fetch_offset(offset)
        .with_partition_max_bytes(1 << 20);
    let topic = FetchTopic::default()
        .with_topic(wire(topic))
        .with_partitions(vec![partition]);
    FetchRequest::default()
        .with_max_wait_ms(max_wait_ms)
        .with_min_bytes(1)
        .with_max_bytes(1 << 20)
        .with_session_epoch(-1)
        .with_topics(vec![topic])
}

fn data(response: &FetchResponse) -> &fetch_response::PartitionData {
    &response.responses[0].partitions[0]
}

fn metadata(name: &str) -> MetadataRequest {
    let topic = MetadataRequestTopic::default().with_name(Some(wire(name)));
    MetadataRequest::default()
        .with_topics(Some(vec![topic]))
        .with_allow_auto_topic_creation(true)
}

#[tokio::test(flavor = "multi_thread")]
async fn an_api_versions_request_from_the_future_is_answered_in_version_0() {
    let it = TestBroker::start(&[]).await;
    let mut client = it.client().await;
    // Header of ApiVersions version 99, correlation id 7, no client id, and an unreadable body.
    let head = [0, 18, 0, 99, 0, 0, 0, 7, 255, 255, 0, 1, 2, 3];
    client.send_bytes(&14_u32.to_be_bytes()).await;
    client.send_bytes(&head).await;
    let (id, response) = client.receive::<ApiVersionsRequest>(0).await;
    assert_eq!(
        (id, response.error_code),
        (7, ErrorCode::UNSUPPORTED_VERSION.0)
    );
    assert_eq!(response.api_keys[0].api_key, 18);
    // The connection continues.
    let request = ApiVersionsRequest::default()
        .with_client_software_name(StrBytes::from_static_str("test"))
        .with_client_software_version(StrBytes::from_static_str("1"));
    let response = client.call(4, &request).await;
    let produce = response
        .api_keys
        .iter()
        .find(|api| api.api_key == 0)
        .unwrap();
    assert_eq!((produce.min_version, produce.max_version), (0, 13));
}

#[tokio::test(flavor = "multi_thread")]
async fn malformed_frames_close_their_connection_and_no_other() {
    let it = TestBroker::start(&["socket.request.max.bytes=10000"]).await;
    let mut good = it.client().await;
    let oversized = 10_001_i32.to_be_bytes().to_vec();
    let negative = (-5_i32).to_be_bytes().to_vec();
    let unknown_api = [
        &12_u32.to_be_bytes()[..],
        &[3, 231, 0, 0, 0, 0, 0, 1, 255, 255, 0, 0],
    ]
    .concat();
    let produce_v2 = [
        &12_u32.to_be_bytes()[..],
        &[0, 0, 0, 2, 0, 0, 0, 1, 255, 255, 0, 0],
    ]
    .concat();
    // Metadata that claims two billion topics.
    let lying = [
        &14_u32.to_be_bytes()[..],
        &[0, 3, 0, 1, 0, 0, 0, 1, 255, 255, 127, 255, 255, 255],
    ]
    .concat();
    for bad in [oversized, negative, unknown_api, produce_v2, lying] {
        let mut client = it.client().await;
        client.send_bytes(&bad).await;
        assert!(client.frame().await.is_none(), "{bad:?}");
    }
    good.call(1, &MetadataRequest::default()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_leave_in_request_order_and_a_long_poll_ends_before_later_requests() {
    let it = TestBroker::start(&[]).await;
    it.create("t", 1);
    let mut client = it.client().await;
    let slow = client.send(12, &fetch("t", 0, 300)).await;
    let quick = client.send(12, &metadata("t")).await;
    let appended = client.send(9, &produce("t", 0, -1, batch(&["x"]))).await;
    let again = client.send(12, &fetch("t", 0, 0)).await;
    let (first, before) = client.receive::<FetchRequest>(12).await;
    let (second, _) = client.receive::<MetadataRequest>(12).await;
    let (third, _) = client.receive::<ProduceRequest>(9).await;
    let (fourth, after) = client.receive::<FetchRequest>(12).await;
    assert_eq!(
        (first, second, third, fourth),
        (slow, quick, appended, again)
    );
    assert_eq!(data(&before).high_watermark, 0);
    assert_eq!(data(&after).high_watermark, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn acks_0_is_never_answered_and_an_error_closes_the_connection() {
    let it = TestBroker::start(&[]).await;
    it.create("t", 1);
    let mut client = it.client().await;
    client.send(9, &produce("t", 0, 0, batch(&["x"]))).await;
    let response = client.call(12, &metadata("t")).await;
    assert_eq!(response.topics[0].error_code, 0);
    client
        .send(9, &produce("nowhere", 0, 0, batch(&["x"])))
        .await;
    assert!(client.frame().await.is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_long_poll_is_woken_by_data_and_ends_in_time_without() {
    let it = TestBroker::start(&[]).await;
    it.create("t", 1);
    let (mut consumer, mut producer) = (it.client().await, it.client().await);
    let started = std::time::Instant::now();
    let response = consumer.call(12, &fetch("t", 0, 100)).await;
    assert!(started.elapsed() >= Duration::from_millis(100));
    assert!(data(&response).records.as_ref().unwrap().is_empty());
    consumer.send(12, &fetch("t", 0, 600_000)).await;
    producer.produce("t", 0, -1, batch(&["x"])).await;
    let (_, response) = consumer.receive::<FetchRequest>(12).await;
    assert_eq!(data(&response).high_watermark, 1);
    assert!(started.elapsed() < Duration::from_secs(300));
}

#[tokio::test(flavor = "multi_thread")]
async fn every_fetch_version_gives_the_same_batches() {
    let it = TestBroker::start(&[]).await;
    let id = it.create("t", 1).id().0;
    let mut client = it.client().await;
    let large = "x".repeat(5000);
    client.produce("t", 0, -1, batch(&["a", &large])).await;
    client.produce("t", 0, 1, batch(&["b"])).await;
    let mut seen: Vec<Bytes> = Vec::new();
    for version in 4..=18 {
        let mut request = fetch("t", 0, 500).with_min_bytes(5200);
        if version < 7 {
            request.session_epoch = 0;
        }
        if version >= 13 {
            request.topics[0].topic = wire("");
            request.topics[0].topic_id = id;
        }
        if version < 7 {
            request.session_epoch = -1;
        }
        let response = client.call(version, &request).await;
        assert_eq!(data(&response).error_code, 0, "version {version}");
        seen.push(data(&response).records.clone().unwrap());
    }
    assert!(seen.windows(2).all(|two| two[0] == two[1]));
    assert!(seen[0].len() > 5000);
}

#[tokio::test(flavor = "multi_thread")]
async fn fetch_errors_are_told_by_partition() {
    let it = TestBroker::start(&[]).await;
    let id = it.create("t", 1).id().0;
    let mut client = it.client().await;
    client.produce("t", 0, -1, batch(&["a"])).await;
    let code = |response: FetchResponse| ErrorCode(data(&response).error_code);
    let beyond = client.call(12, &fetch("t", 9, 60_000)).await;
    assert_eq!(code(beyond), ErrorCode::OFFSET_OUT_OF_RANGE);
    let nowhere = client.call(12, &fetch("nowhere", 0, 60_000)).await;
    assert_eq!(code(nowhere), ErrorCode::UNKNOWN_TOPIC_OR_PARTITION);
    let mut request = fetch("t", 0, 60_000);
    request.topics[0].partitions[0].current_leader_epoch = 7;
    let unknown = client.call(12, &request).await;
    assert_eq!(code(unknown), ErrorCode::UNKNOWN_LEADER_EPOCH);
    let mut by_id = fetch("", 0, 60_000);
    by_id.topics[0].topic_id = uuid::Uuid::from_u128(id.as_u128() ^ 1);
    assert_eq!(
        code(client.call(13, &by_id).await),
        ErrorCode::UNKNOWN_TOPIC_ID
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_tells_only_what_changed() {
    let it = TestBroker::start(&[]).await;
    it.create("t", 1);
    let mut client = it.client().await;
    let opened = client
        .call(12, &fetch("t", 0, 0).with_session_epoch(0))
        .await;
    assert!(opened.session_id > 0 && opened.responses.len() == 1);
    let next = |epoch, wait| {
        FetchRequest::default()
            .with_session_id(opened.session_id)
            .with_session_epoch(epoch)
            .with_max_wait_ms(wait)
            .with_min_bytes(1)
            .with_max_bytes(1 << 20)
    };
    let quiet = client.call(12, &next(1, 10)).await;
    assert_eq!((quiet.error_code, quiet.responses.len()), (0, 0));
    it.client().await.produce("t", 0, -1, batch(&["a"])).await;
    let news = client.call(12, &next(2, 60_000)).await;
    assert_eq!(data(&news).high_watermark, 1);
    let wrong = client.call(12, &next(2, 0)).await;
    assert_eq!(wrong.error_code, ErrorCode::INVALID_FETCH_SESSION_EPOCH.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_batch_is_given_whole_and_the_limit_holds_for_the_rest() {
    let it = TestBroker::start(&[]).await;
    it.create("t", 1);
    let mut client = it.client().await;
    let large = "x".repeat(10_000);
    for _ in 0..3 {
        client.produce("t", 0, -1, batch(&[&large])).await;
    }
    let one = client
        .call(12, &fetch("t", 0, 60_000).with_max_bytes(100))
        .await;
    let size = data(&one).records.as_ref().unwrap().len();
    assert!((10_000..11_000).contains(&size));
    let two = fetch("t", 0, 60_000)
        .with_max_bytes(25_000)
        .with_min_bytes(25_000);
    let two = client.call(12, &two).await;
    assert_eq!(data(&two).records.as_ref().unwrap().len(), 2 * size);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_is_created_on_demand_only_where_that_is_allowed() {
    let it = TestBroker::start(&["num.partitions=3"]).await;
    let mut client = it.client().await;
    let wary = metadata("on-demand").with_allow_auto_topic_creation(false);
    let response = client.call(12, &wary).await;
    assert_eq!(
        response.topics[0].error_code,
        ErrorCode::UNKNOWN_TOPIC_OR_PARTITION.0
    );
    let response = client.call(12, &metadata("on-demand")).await;
    assert_eq!(response.topics[0].error_code, 0);
    assert_eq!(response.topics[0].partitions.len(), 3);
    assert!(!response.topics[0].topic_id.is_nil());
    let response = client.call(12, &metadata("no spaces")).await;
    assert_eq!(
        response.topics[0].error_code,
        ErrorCode::INVALID_TOPIC_EXCEPTION.0
    );
    let response = client.call(12, &metadata("on.demand_1")).await;
    assert_eq!(response.topics[0].error_code, 0);
    let response = client.call(12, &metadata("on_demand.1")).await;
    assert_eq!(
        response.topics[0].error_code,
        ErrorCode::INVALID_TOPIC_EXCEPTION.0
    );

    for name in carrick_protocol::ids::INTERNAL_TOPICS {
        let response = client.call(12, &metadata(name)).await;
        let code = ErrorCode(response.topics[0].error_code);
        assert_eq!(code, ErrorCode::UNKNOWN_TOPIC_OR_PARTITION, "{name}");
    }
    assert_eq!(it.broker().topics.list().len(), 2);

    let it = it.restart(&["auto.create.topics.enable=false"]).await;
    let mut client = it.client().await;
    let response = client.call(12, &metadata("another")).await;
    assert_eq!(
        response.topics[0].error_code,
        ErrorCode::UNKNOWN_TOPIC_OR_PARTITION.0
    );
    let response = client.call(0, &metadata("on-demand")).await;
    assert_eq!(response.topics[0].partitions.len(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn metadata_in_every_version_names_this_broker() {
    let it = TestBroker::start(&["broker.rack=r1"]).await;
    let id = it.create("t", 2).id().0;
    let mut client = it.client().await;
    let port = i32::from(it.broker().endpoints[0].bound.port());
    for version in 0..=13 {
        let mut request = metadata("t");
        if version < 4 {
            request.allow_auto_topic_creation = true;
        }
        let response = client.call(version, &request).await;
        assert_eq!(response.brokers[0].port, port, "version {version}");
        assert_eq!(
            response.topics[0].partitions[1].leader_id,
            response.brokers[0].node_id
        );
    }
    // Next to an id the name means nothing: clients leave it empty, or null.
    for name in [None, Some(wire(""))] {
        let by_id = MetadataRequestTopic::default()
            .with_topic_id(id)
            .with_name(name);
        let request = MetadataRequest::default().with_topics(Some(vec![by_id]));
        let response = client.call(12, &request).await;
        assert_eq!(response.topics[0].name, Some(wire("t")));
    }
    let none = MetadataRequest::default().with_topics(Some(vec![]));
    assert!(client.call(1, &none).await.topics.is_empty());
    let all = MetadataRequest::default().with_topics(None);
    assert_eq!(client.call(1, &all).await.topics.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn offsets_are_found_by_time_and_by_name() {
    let it = TestBroker::start(&[]).await;
    it.create("t", 1);
    let mut client = it.client().await;
    let base = crate::clock::now_ms() - 10_000;
    for i in 0..5 {
        let one = carrick_protocol::batch::BatchBuilder::new().record(base + i * 100, None, None);
        client.produce("t", 0, -1, one.build().freeze()).await;
    }
    let mut find = async |timestamp: i64| {
        let partition = ListOffsetsPartition::default()
            .with_partition_index(0)
            .with_timestamp(timestamp);
        let topic = ListOffsetsTopic::default()
            .with_name(wire("t"))
            .with_partitions(vec![partition]);
        let request = ListOffsetsRequest::default().with_topics(vec![topic]);
        let response = client.call(9, &request).await;
        let found = &response.topics[0].partitions[0];
        assert_eq!(found.error_code, 0);
        (found.offset, found.timestamp)
    };
    assert_eq!(find(-1).await, (5, -1));
    assert_eq!(find(-2).await, (0, -1));
    assert_eq!(find(-3).await, (4, base + 400));
    assert_eq!(find(-4).await, (0, -1));
    assert_eq!(find(-5).await, (-1, -1));
    assert_eq!(find(base + 150).await, (2, base + 200));
    assert_eq!(find(base + 500).await, (-1, -1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_producer_id_is_given_out_once() {
    let it = TestBroker::start(&[]).await;
    let mut client = it.client().await;
    let request = InitProducerIdRequest::default().with_transactional_id(None);
    let first = client.call(4, &request).await;
    let second = client.call(4, &request).await;
    assert_eq!(second.producer_id.0, first.producer_id.0 + 1);
    assert_eq!((first.error_code, first.producer_epoch), (0, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn everything_acked_is_there_after_a_restart_under_the_same_ids() {
    let it = TestBroker::start(&[]).await;
    let topic = it.create_with("t", 2, &[("retention.ms", "123456")]);
    let mut client = it.client().await;
    client.produce("t", 1, -1, batch(&["a", "b"])).await;
    let (id, cluster) = (topic.id(), it.broker().cluster_id.clone());
    drop(topic);
    let it = it.restart(&[]).await;
    assert_eq!(it.broker().cluster_id, cluster);
    let topic = it.broker().topic("t").unwrap();
    assert_eq!(topic.id(), id);
    assert_eq!(topic.state().overrides["retention.ms"], "123456");
    assert_eq!(topic.partition(1).unwrap().snapshot().high_watermark().0, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stopping_broker_answers_what_it_has_read() {
    let it = TestBroker::start(&[]).await;
    it.create("t", 1);
    let mut client = it.client().await;
    client.send(12, &fetch("t", 0, 600_000)).await;
    let partition = it.broker().topic("t").unwrap().partition(0).unwrap();
    let is_watched = || partition.watchers().count() > 0;
    until("the fetch waits", is_watched).await;
    let started = std::time::Instant::now();
    it.running.shutdown().await;
    let (_, response) = client.receive::<FetchRequest>(12).await;
    assert_eq!(data(&response).error_code, 0);
    assert!(started.elapsed() < Duration::from_secs(300));
}

#[tokio::test(flavor = "multi_thread")]
async fn more_connections_than_allowed_are_turned_away() {
    let it = TestBroker::start(&["max.connections=1"]).await;
    let mut first = it.client().await;
    first.call(1, &MetadataRequest::default()).await;
    let mut second = it.client().await;
    assert!(second.frame().await.is_none());
    first.call(1, &MetadataRequest::default()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn retention_goes_on_by_itself() {
    let it = TestBroker::start(&["log.retention.check.interval.ms=10"]).await;
    let small = [
        ("internal.segment.bytes", "4096"),
        ("retention.bytes", "5000"),
    ];
    let partition = it.create_with("t", 1, &small).partition(0).unwrap();
    let mut client = it.client().await;
    let large = "x".repeat(1500);
    for _ in 0..10 {
        client.produce("t", 0, -1, batch(&[&large])).await;
    }
    while partition.snapshot().log_start().0 == 0 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let old = client.call(12, &fetch("t", 0, 0)).await;
    assert_eq!(data(&old).error_code, ErrorCode::OFFSET_OUT_OF_RANGE.0);
}

// Follows KafkaApisTest.testFetchResponseContainsNewLeaderOnFencedLeaderEpoch (KIP-951).
#[tokio::test(flavor = "multi_thread")]
async fn a_consumer_with_an_old_leader_epoch_is_told_who_leads() {
    let it = TestBroker::start(&[]).await;
    let topic = it.create("t", 1);
    let partition = topic.partition(0).unwrap();
    partition.raise_leader_epoch(carrick_protocol::ids::LeaderEpoch(5));
    let mut client = it.client().await;
    for version in [12, 16, 18] {
        let mut request = fetch("t", 0, 0);
        if version >= 13 {
            request.topics[0].topic_id = topic.id().0;
            request.topics[0].topic = Default::default();
        }
        request.topics[0].partitions[0].current_leader_epoch = 3;
        let response = client.call(version, &request).await;
        let answer = data(&response);
        assert_eq!(answer.error_code, ErrorCode::FENCED_LEADER_EPOCH.0);
        let leader = &answer.current_leader;
        let told = (
            leader.leader_id.0,
            leader.leader_epoch,
            response.node_endpoints.len(),
        );
        let expected = if version >= 16 {
            (1, 5, 1)
        } else {
            (-1, -1, 0)
        };
        assert_eq!(told, expected);
        if let Some(endpoint) = response.node_endpoints.first() {
            let port = i32::from(it.broker().endpoints[0].bound.port());
            assert_eq!((endpoint.node_id.0, endpoint.port), (1, port));
        }
    }
}
