//! Stories of clients that mean harm, or are badly written.

use carrick_protocol::batch::BatchBuilder;
use carrick_protocol::client;
use kafka_protocol::messages::offset_fetch_request::OffsetFetchRequestGroup;
use kafka_protocol::protocol::Request;

use super::*;
use crate::api::Connection;
use crate::principal::Principal;

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_asked_for_many_times_is_answered_once() {
    let it = TestBroker::start(&[]).await;
    let id = it.create("t", 2).id().0;
    let mut client = it.client().await;
    let by_name = MetadataRequestTopic::default().with_name(Some(wire("t")));
    let by_id = MetadataRequestTopic::default()
        .with_topic_id(id)
        .with_name(None);
    for (version, asked) in [(1, &by_name), (12, &by_name), (12, &by_id)] {
        let request = MetadataRequest::default()
            .with_topics(Some(vec![asked.clone(); 1000]))
            .with_allow_auto_topic_creation(true);
        let response = client.call(version, &request).await;
        assert_eq!(response.topics.len(), 1, "version {version}");
    }
    let missing = MetadataRequestTopic::default().with_name(Some(wire("on-demand")));
    let request = MetadataRequest::default()
        .with_topics(Some(vec![missing; 1000]))
        .with_allow_auto_topic_creation(true);
    assert_eq!(client.call(12, &request).await.topics.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_request_creates_no_more_than_a_hundred_topics_on_demand() {
    let it = TestBroker::start(&[]).await;
    let mut client = it.client().await;
    let named = |number| {
        let name = wire(&format!("t{number}"));
        MetadataRequestTopic::default().with_name(Some(name))
    };
    let request = MetadataRequest::default()
        .with_topics(Some((0..150).map(named).collect()))
        .with_allow_auto_topic_creation(true);
    let mut created = async || {
        let topics = client.call(12, &request).await.topics;
        topics.iter().filter(|topic| topic.error_code == 0).count()
    };
    assert_eq!(created().await, 100);
    assert_eq!(created().await, 150);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_group_asked_for_many_times_is_answered_once() {
    let it = TestBroker::start(&[]).await;
    let mut client = it.client().await;
    let group = GroupId(StrBytes::from_static_str("g"));
    let describe = DescribeGroupsRequest::default().with_groups(vec![group.clone(); 1000]);
    assert_eq!(client.call(5, &describe).await.groups.len(), 1);
    let all = OffsetFetchRequestGroup::default()
        .with_group_id(group)
        .with_topics(None);
    let offsets = OffsetFetchRequest::default().with_groups(vec![all; 1000]);
    assert_eq!(client.call(8, &offsets).await.groups.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_partition_fetched_many_times_in_one_request_is_answered_once() {
    let it = TestBroker::start(&[]).await;
    it.create("t", 1);
    let mut client = it.client().await;
    client.produce("t", 0, -1, batch(&["a"])).await;
    let mut request = fetch("t", 0, 60_000);
    let one = request.topics[0].partitions[0].clone();
    request.topics[0].partitions = vec![one; 10_000];
    let response = client.call(12, &request).await;
    assert_eq!(response.responses[0].partitions.len(), 1);
    assert!(!data(&response).records.as_ref().unwrap().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fetch_of_very_many_partitions_that_do_not_exist_is_answered() {
    let it = TestBroker::start(&[]).await;
    let mut client = it.client().await;
    let mut request = fetch("nowhere", 0, 60_000);
    let one = request.topics[0].partitions[0].clone();
    let many = (0..200_000).map(|number| one.clone().with_partition(number));
    request.topics[0].partitions = many.collect();
    let response = client.call(12, &request).await;
    assert_eq!(response.responses[0].partitions.len(), 200_000);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_partition_produced_to_twice_in_one_request_gets_two_answers_in_order() {
    let it = TestBroker::start(&[]).await;
    it.create("t", 1);
    let mut client = it.client().await;
    let mut request = produce("t", 0, -1, batch(&["a"]));
    let second = produce("t", 0, -1, batch(&["b", "c"]));
    let partitions = &mut request.topic_data[0].partition_data;
    partitions.extend(second.topic_data[0].partition_data.clone());
    let response = client.call(9, &request).await;
    let answers = &response.responses[0].partition_responses;
    let offsets: Vec<_> = answers
        .iter()
        .map(|a| (a.error_code, a.base_offset))
        .collect();
    assert_eq!(offsets, [(0, 0), (0, 1)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_dies_in_mid_request_gives_its_memory_back() {
    let room = [
        "queued.max.request.bytes=1",
        "socket.request.max.bytes=200000",
    ];
    let it = TestBroker::start(&room).await;
    it.create("t", 1);
    for _ in 0..3 {
        let mut dying = it.client().await;
        dying.send_bytes(&199_999_i32.to_be_bytes()).await;
        dying.send_bytes(&[0; 100]).await;
    }
    let mut client = it.client().await;
    let large = "x".repeat(100_000);
    let answer = client.produce("t", 0, -1, batch(&[&large])).await;
    assert_eq!(answer.error_code, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_sent_before_a_client_closed_its_side_is_appended() {
    let it = TestBroker::start(&[]).await;
    let partition = it.create("t", 1).partition(0).unwrap();
    let mut client = it.client().await;
    for _ in 0..20 {
        client.send(9, &produce("t", 0, -1, batch(&["x"]))).await;
    }
    client.finish_sending().await;
    while partition.snapshot().high_watermark().0 < 20 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_long_poll_hears_that_the_log_start_moved_past_its_offset() {
    let it = TestBroker::start(&[]).await;
    let partition = it.create("t", 1).partition(0).unwrap();
    let (mut consumer, mut producer) = (it.client().await, it.client().await);
    for value in ["a", "b"] {
        producer.produce("t", 0, -1, batch(&[value])).await;
    }
    // More bytes than there are: it waits.
    let request = fetch("t", 0, 60_000).with_min_bytes(1 << 20);
    consumer.send(12, &request).await;
    let is_watched = || partition.watchers().count() > 0;
    until("the fetch waits", is_watched).await;
    let moved = partition.clone();
    tokio::task::spawn_blocking(move || moved.delete_records(None).unwrap())
        .await
        .unwrap();
    let (_, response) = consumer.receive::<FetchRequest>(12).await;
    assert_eq!(data(&response).error_code, ErrorCode::OFFSET_OUT_OF_RANGE.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn hundreds_of_requests_in_flight_are_answered_in_order() {
    let it = TestBroker::start(&[]).await;
    it.create("t", 1);
    let mut client = it.client().await;
    let one = BatchBuilder::new().record(crate::clock::now_ms(), None, None);
    let one = one.build().freeze();
    let mut sent = Vec::new();
    for _ in 0..300 {
        sent.push((
            false,
            client.send(9, &produce("t", 0, -1, one.clone())).await,
        ));
        sent.push((true, client.send(12, &fetch("t", 0, 1)).await));
    }
    for (is_fetch, id) in sent {
        let answered = if is_fetch {
            client.receive::<FetchRequest>(12).await.0
        } else {
            client.receive::<ProduceRequest>(9).await.0
        };
        assert_eq!(answered, id);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_that_have_to_wait_for_room_arrive_in_order() {
    let it = TestBroker::start(&[]).await;
    it.create("t", 1);
    it.create("wide", 1_000);
    let mut client = it.client().await;
    let mut sent = Vec::new();
    for _ in 0..200 {
        sent.push(client.send(12, &metadata("wide")).await);
    }
    let last = client.send(9, &produce("t", 0, 1, batch(&["x"]))).await;
    for id in sent {
        assert_eq!(client.receive::<MetadataRequest>(12).await.0, id);
    }
    assert_eq!(client.receive::<ProduceRequest>(9).await.0, last);
}

/// Hands a frame to dispatch; whether anything still holds its memory, with the reply not yet sent.
fn is_kept<R: Request>(context: &mut Context, version: i16, request: &R) -> bool {
    let frame = client::encode_request(1, "a client", request, version).unwrap();
    let frame = Bytes::from(frame.to_vec());
    let reply = handle(context, frame.slice(4..)).unwrap();
    assert!(!matches!(reply, Reply::Close(_)));
    !frame.is_unique()
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_keeps_a_large_frame_in_memory_once_it_is_handled() {
    let it = TestBroker::start(&[]).await;
    it.create("t", 1);
    let connection = Connection::new(it.broker().endpoints[0].bound, 0, Principal::anonymous());
    let mut context = Context::new(it.broker().clone(), std::sync::Arc::new(connection));
    let quick = MetadataRequest::default();
    assert!(!is_kept(&mut context, 1, &quick), "the client id");
    assert_eq!(context.client_id(), "a client");
    let large = produce("t", 0, -1, batch(&["x"]));
    assert!(!is_kept(&mut context, 9, &large), "a produce that waits");
    let opening = fetch("t", 0, 0).with_session_epoch(0);
    assert!(!is_kept(&mut context, 12, &opening), "a fetch session");
    let polling = fetch("t", 1, 60_000);
    assert!(!is_kept(&mut context, 12, &polling), "a fetch that waits");
}

/// A Metadata request of one topic that is to be created, and of many that cannot be.
fn large_metadata() -> MetadataRequest {
    let named = |name: &str| MetadataRequestTopic::default().with_name(Some(wire(name)));
    let mut topics = vec![named("!"); 30_000];
    topics.push(named("new"));
    MetadataRequest::default()
        .with_topics(Some(topics))
        .with_allow_auto_topic_creation(true)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_takes_its_memory_until_its_answer_is_there() {
    // Room for one of the large ones below, whether by its bytes or by what is made of them.
    let room = [
        "queued.max.request.bytes=1",
        "socket.request.max.bytes=100000",
    ];
    let it = TestBroker::start(&room).await;
    let partition = it.create("t", 1).partition(0).unwrap();
    let (mut waiting, mut other) = (it.client().await, it.client().await);
    let broker = it.broker().clone();
    let turn = broker.on_demand.turn.acquire().await.unwrap();
    waiting.send(4, &large_metadata()).await;
    let is_waiting = || broker.on_demand.is_waited_for();
    until("the creation waits for its turn", is_waiting).await;
    let large = "x".repeat(50_000);
    other.send(9, &produce("t", 0, -1, batch(&[&large]))).await;
    // A small one needs no room.
    it.client().await.call(4, &MetadataRequest::default()).await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(partition.snapshot().end().0, 0, "there is no room for it");
    drop(turn);
    let (_, answer) = waiting.receive::<MetadataRequest>(4).await;
    assert_eq!(answer.topics.len(), 2);
    other.receive::<ProduceRequest>(9).await;
    assert_eq!(partition.snapshot().end().0, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fetch_that_finds_no_room_to_wait_is_asked_to_come_back() {
    let it = TestBroker::start(&["queued.max.request.bytes=400000"]).await;
    let topic = it.create("t", 200);
    let mut request = fetch("t", 0, 600_000);
    let one = request.topics[0].partitions[0].clone();
    let all = (0..200).map(|number| one.clone().with_partition(number));
    request.topics[0].partitions = all.collect();
    let (mut first, mut second) = (it.client().await, it.client().await);
    first.send(12, &request).await;
    let last = topic.partition(199).unwrap();
    until("the fetch waits", || last.watchers().count() > 0).await;
    let answer = second.call(12, &request).await;
    assert_eq!(answer.throttle_time_ms, 1_000);
    assert_eq!(answer.responses[0].partitions.len(), 200);
    let mut producer = it.client().await;
    producer.produce("t", 199, -1, batch(&["a"])).await;
    let (_, answer) = first.receive::<FetchRequest>(12).await;
    assert_eq!(answer.throttle_time_ms, 0);
    // Now there is room, and data.
    let answer = second.call(12, &request).await;
    assert_eq!(answer.throttle_time_ms, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_takes_no_answers_keeps_nothing_from_others() {
    const ROUNDS: usize = 60;
    const LARGE_ANSWERS: usize = 10;
    let limit = Duration::from_secs(30);
    let it = TestBroker::start(&[]).await;
    it.create("wide", 1_000);
    let (mut silent, mut other) = (it.client().await, it.client().await);
    for round in 0..ROUNDS {
        // At last no answer finds room on its way, and creations wait behind it.
        for _ in 0..LARGE_ANSWERS {
            silent.send(12, &metadata("wide")).await;
        }
        silent.send(12, &metadata(&format!("a{round}"))).await;
        let request = metadata(&format!("b{round}"));
        let created = tokio::time::timeout(limit, other.call(12, &request)).await;
        assert!(
            created.is_ok(),
            "round {round}: nobody else can create a topic"
        );
    }
    assert!(it.broker().topic("a0").is_some());
    let last = format!("a{}", ROUNDS - 1);
    assert!(it.broker().topic(&last).is_none(), "all answers found room");
}
