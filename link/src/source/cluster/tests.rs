//! The client against small fake brokers on loopback.

mod groups;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::{BufMut, Bytes, BytesMut};
use carrick_protocol::error_code::ErrorCode;
use carrick_protocol::frame::encode_response;
use carrick_protocol::ids::{LeaderEpoch, Offset};
use kafka_protocol::messages::api_versions_response::ApiVersion;
use kafka_protocol::messages::list_offsets_response::{
    ListOffsetsPartitionResponse, ListOffsetsTopicResponse,
};
use kafka_protocol::messages::metadata_response::{
    MetadataResponseBroker, MetadataResponsePartition, MetadataResponseTopic,
};
use kafka_protocol::protocol::{Decodable, HeaderVersion, Request};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::AbortHandle;

use super::*;
use crate::source::api::wire_text;
use crate::source::{FaultKind, fetch::FetchLimits};

const METADATA: i16 = 12;
const LIST_OFFSETS: i16 = 7;
const FETCH: i16 = 17;

/// What all fake brokers of a test share.
#[derive(Default)]
struct World {
    brokers: Mutex<Vec<(i32, u16)>>,
    /// Leader of partition 0 and 1 of topic `t`.
    leaders: Mutex<[i32; 2]>,
    metadata_asked: AtomicUsize,
    groups: groups::Groups,
}

/// A broker that knows Metadata, ListOffsets and Fetch; it answers offset `id × 100 + partition`, and
/// NOT_LEADER_OR_FOLLOWER for partitions that it doesn't lead.
struct FakeBroker {
    port: u16,
    task: AbortHandle,
}

impl Drop for FakeBroker {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn start(world: &Arc<World>, id: i32) -> FakeBroker {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    world.brokers.lock().push((id, port));
    let world = world.clone();
    let task = tokio::spawn(async move {
        let mut connections = tokio::task::JoinSet::new();
        while let Ok((stream, _)) = listener.accept().await {
            connections.spawn(serve(world.clone(), id, stream));
        }
    });
    FakeBroker {
        port,
        task: task.abort_handle(),
    }
}

async fn serve(world: Arc<World>, id: i32, mut stream: TcpStream) {
    while let Ok(size) = stream.read_i32().await {
        let mut frame = vec![0; size as usize];
        if stream.read_exact(&mut frame).await.is_err() {
            return;
        }
        let answer = world.answer(id, Bytes::from(frame));
        if stream.write_all(&answer).await.is_err() {
            return;
        }
    }
}

impl World {
    fn answer(&self, id: i32, mut frame: Bytes) -> Bytes {
        let head = carrick_protocol::frame::parse_request_head(&mut frame).unwrap();
        let (correlation, version) = (head.correlation_id, head.api_version);
        match head.api_key {
            wire::ApiVersionsRequest::KEY => {
                let api = |key, max| {
                    ApiVersion::default()
                        .with_api_key(key)
                        .with_max_version(max)
                };
                let mut offered = self.groups.apis();
                offered.extend([
                    api(wire::MetadataRequest::KEY, METADATA),
                    api(wire::ListOffsetsRequest::KEY, LIST_OFFSETS),
                    api(wire::FetchRequest::KEY, FETCH),
                ]);
                let response = wire::ApiVersionsResponse::default().with_api_keys(offered);
                encode_response(correlation, 0, &response, version).unwrap()
            }
            wire::MetadataRequest::KEY => {
                self.metadata_asked.fetch_add(1, Ordering::SeqCst);
                let request = wire::MetadataRequest::decode(&mut frame, version).unwrap();
                framed(correlation, &self.metadata(request), version)
            }
            wire::ListOffsetsRequest::KEY => {
                let request = wire::ListOffsetsRequest::decode(&mut frame, version).unwrap();
                framed(correlation, &self.offsets(id, request), version)
            }
            wire::FetchRequest::KEY => {
                let response = wire::FetchResponse::default().with_session_id(id);
                framed(correlation, &response, version)
            }
            wire::ListGroupsRequest::KEY => framed(correlation, &self.groups.list(id), version),
            wire::FindCoordinatorRequest::KEY => {
                let request = wire::FindCoordinatorRequest::decode(&mut frame, version).unwrap();
                let found = self.groups.find(&self.brokers.lock(), &request, version);
                framed(correlation, &found, version)
            }
            wire::OffsetFetchRequest::KEY => {
                let request = wire::OffsetFetchRequest::decode(&mut frame, version).unwrap();
                let fetched = self.groups.fetch(id, request, version);
                framed(correlation, &fetched, version)
            }
            other => panic!("API key {other}"),
        }
    }

    fn metadata(&self, request: wire::MetadataRequest) -> wire::MetadataResponse {
        let brokers = self.brokers.lock();
        let brokers = brokers.iter().map(|(id, port)| {
            MetadataResponseBroker::default()
                .with_node_id(wire::BrokerId(*id))
                .with_host(wire_text("127.0.0.1"))
                .with_port(i32::from(*port))
        });
        let leaders = *self.leaders.lock();
        let partitions = leaders.iter().enumerate().map(|(index, leader)| {
            MetadataResponsePartition::default()
                .with_partition_index(index as i32)
                .with_leader_id(wire::BrokerId(*leader))
        });
        let topic = |name: wire::TopicName| {
            let topic = MetadataResponseTopic::default().with_name(Some(name.clone()));
            match &*name.0 {
                "t" => topic.with_partitions(partitions.clone().collect()),
                _ => topic.with_error_code(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION.0),
            }
        };
        let names = request
            .topics
            .unwrap_or_default()
            .into_iter()
            .filter_map(|topic| topic.name);
        wire::MetadataResponse::default()
            .with_cluster_id(Some(wire_text("fake")))
            .with_brokers(brokers.collect())
            .with_topics(names.map(topic).collect())
    }

    fn offsets(&self, id: i32, request: wire::ListOffsetsRequest) -> wire::ListOffsetsResponse {
        let leaders = *self.leaders.lock();
        let answer = |index: i32| {
            let answer = ListOffsetsPartitionResponse::default().with_partition_index(index);
            match leaders.get(index as usize) == Some(&id) {
                true => answer.with_offset(i64::from(id * 100 + index)),
                false => answer.with_error_code(ErrorCode::NOT_LEADER_OR_FOLLOWER.0),
            }
        };
        let topics = request.topics.into_iter().map(|topic| {
            let asked = topic
                .partitions
                .iter()
                .map(|partition| answer(partition.partition_index));
            ListOffsetsTopicResponse::default()
                .with_name(topic.name.clone())
                .with_partitions(asked.collect())
        });
        wire::ListOffsetsResponse::default().with_topics(topics.collect())
    }
}

fn framed<R>(correlation: i32, response: &R, version: i16) -> Bytes
where
    R: kafka_protocol::protocol::Encodable + HeaderVersion,
{
    let mut body = BytesMut::new();
    response.encode(&mut body, version).unwrap();
    let tags = usize::from(R::header_version(version) >= 1);
    let mut frame = BytesMut::new();
    frame.put_i32((4 + tags + body.len()) as i32);
    frame.put_i32(correlation);
    frame.put_bytes(0, tags);
    frame.put(body);
    frame.freeze()
}

fn config(bootstrap: &str, more: &[(&str, &str)]) -> LinkConfig {
    let mut values = BTreeMap::from([
        ("bootstrap.servers".to_owned(), bootstrap.to_owned()),
        ("reconnect.backoff.ms".to_owned(), "1".to_owned()),
        ("reconnect.backoff.max.ms".to_owned(), "5".to_owned()),
    ]);
    values.extend(
        more.iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned())),
    );
    LinkConfig::parse(&values).unwrap()
}

fn client(broker: &FakeBroker) -> Arc<KafkaCluster> {
    KafkaCluster::new(&config(&format!("127.0.0.1:{}", broker.port), &[]))
}

async fn closed_port() -> u16 {
    TcpListener::bind("127.0.0.1:0")
        .await
        .unwrap()
        .local_addr()
        .unwrap()
        .port()
}

fn topic(name: &str) -> TopicName {
    TopicName::new(name).unwrap()
}

fn latest(partition: i32) -> (TopicPartition, OffsetSpec) {
    (
        TopicPartition::new(topic("t"), partition),
        OffsetSpec::Latest,
    )
}

#[tokio::test]
async fn the_bootstrap_list_is_tried_in_order_until_one_answers() {
    let world = Arc::new(World::default());
    let broker = start(&world, 1).await;
    let list = format!(
        "127.0.0.1:{},127.0.0.1:{}",
        closed_port().await,
        broker.port
    );
    let cluster = KafkaCluster::new(&config(&list, &[]));
    let info = cluster.describe().await.unwrap();
    assert_eq!(info.cluster_id.as_deref(), Some("fake"));
    assert_eq!(info.brokers[0].id, NodeId(1));
}

#[tokio::test]
async fn a_link_to_nowhere_says_why() {
    let port = closed_port().await;
    let refused = KafkaCluster::new(&config(&format!("127.0.0.1:{port}"), &[]));
    let error = refused.describe().await.unwrap_err();
    assert_eq!(error.kind(), FaultKind::BootstrapTcpConnectionFailed);
    assert!(
        error.to_string().contains(&format!("127.0.0.1:{port}")),
        "{error}"
    );

    let unknown = KafkaCluster::new(&config("no-such.invalid:9092", &[]));
    let error = unknown.describe().await.unwrap_err();
    assert_eq!(error.kind(), FaultKind::UnresolvableBootstrap);
    assert!(error.to_string().contains("no-such.invalid"), "{error}");

    let mixed = format!("no-such.invalid:9092,127.0.0.1:{port}");
    let error = KafkaCluster::new(&config(&mixed, &[]))
        .describe()
        .await
        .unwrap_err();
    assert_eq!(error.kind(), FaultKind::BootstrapTcpConnectionFailed);

    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("127.0.0.1:{}", silent.local_addr().unwrap().port());
    for limit in ["request.timeout.ms", "socket.connection.setup.timeout.ms"] {
        let cluster = KafkaCluster::new(&config(&address, &[(limit, "30")]));
        let error = cluster.describe().await.unwrap_err();
        assert_eq!(error.kind(), FaultKind::Timeout);
    }
}

#[tokio::test]
async fn questions_go_to_the_leaders_and_answers_keep_their_order() {
    let world = Arc::new(World::default());
    *world.leaders.lock() = [2, 1];
    let first = start(&world, 1).await;
    let _second = start(&world, 2).await;
    let cluster = client(&first);
    let unknown = (TopicPartition::new(topic("nope"), 0), OffsetSpec::Earliest);
    let beyond = latest(7);
    let listed = cluster
        .list_offsets(vec![latest(1), unknown, latest(0), beyond])
        .await
        .unwrap();
    let offsets: Vec<_> = listed.iter().map(|answer| answer.offset).collect();
    assert_eq!(offsets, [Some(Offset(101)), None, Some(Offset(200)), None]);
    for index in [1, 3] {
        assert_eq!(listed[index].error, ErrorCode::UNKNOWN_TOPIC_OR_PARTITION);
    }
}

#[tokio::test]
async fn metadata_is_cached_until_a_leader_moves() {
    let world = Arc::new(World::default());
    *world.leaders.lock() = [1, 1];
    let broker = start(&world, 1).await;
    let _other = start(&world, 2).await;
    let cluster = client(&broker);
    for _ in 0..3 {
        cluster.list_offsets(vec![latest(0)]).await.unwrap();
    }
    assert_eq!(world.metadata_asked.load(Ordering::SeqCst), 1);
    assert!(cluster.cached_topic(&topic("t")).is_some());

    *world.leaders.lock() = [2, 1];
    let moved = cluster.list_offsets(vec![latest(0)]).await.unwrap();
    assert_eq!(moved[0].error, ErrorCode::NOT_LEADER_OR_FOLLOWER);
    assert!(cluster.cached_topic(&topic("t")).is_none());
    let found = cluster.list_offsets(vec![latest(0)]).await.unwrap();
    assert_eq!(found[0].offset, Some(Offset(200)));
    assert_eq!(world.metadata_asked.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn metadata_that_is_too_old_is_asked_for_again() {
    let world = Arc::new(World::default());
    *world.leaders.lock() = [1, 1];
    let broker = start(&world, 1).await;
    let bootstrap = format!("127.0.0.1:{}", broker.port);
    let cluster = KafkaCluster::new(&config(&bootstrap, &[("metadata.max.age.ms", "0")]));
    for asked in 1..=2 {
        cluster.list_offsets(vec![latest(0)]).await.unwrap();
        assert_eq!(world.metadata_asked.load(Ordering::SeqCst), asked);
    }
    assert!(cluster.cached_topic(&topic("t")).is_none());
}

#[tokio::test]
async fn a_lost_leader_is_an_error_once_and_then_looked_up_again() {
    let world = Arc::new(World::default());
    *world.leaders.lock() = [2, 1];
    let first = start(&world, 1).await;
    let second = start(&world, 2).await;
    let cluster = client(&first);
    cluster
        .list_offsets(vec![latest(0), latest(1)])
        .await
        .unwrap();
    drop(second);
    *world.leaders.lock() = [1, 1];
    assert!(cluster.list_offsets(vec![latest(0)]).await.is_err());
    let found = cluster.list_offsets(vec![latest(0)]).await.unwrap();
    assert_eq!(found[0].offset, Some(Offset(100)));
}

#[tokio::test]
async fn when_every_known_broker_is_gone_the_bootstrap_list_is_tried_again() {
    let world = Arc::new(World::default());
    let front = start(&world, 1).await;
    // What the metadata names is another broker, and it dies.
    world.brokers.lock().clear();
    let back = start(&world, 2).await;
    let cluster = client(&front);
    cluster.describe().await.unwrap();
    drop(back);
    world.brokers.lock().clear();
    let renewed = start(&world, 3).await;
    let info = cluster.describe().await.unwrap();
    assert_eq!(info.brokers[0].port, renewed.port);
    // The control connection went to the bootstrap server; cut it, and 3 is found by the metadata.
    *cluster.inner.control.lock().await = None;
    drop(front);
    assert!(cluster.describe().await.is_ok());
}

#[tokio::test]
async fn fetch_connections_are_their_own_and_end_with_the_client() {
    let world = Arc::new(World::default());
    let broker = start(&world, 1).await;
    let cluster = client(&broker);
    let unknown = cluster.fetch_connection(NodeId(1), 0).await.err().unwrap();
    assert_eq!(unknown, SourceError::UnknownBroker(NodeId(1)));
    cluster.describe().await.unwrap();
    let connection = cluster.fetch_connection(NodeId(1), 0).await.unwrap();
    assert_eq!(
        (connection.broker(), connection.fetch_version()),
        (NodeId(1), 17)
    );
    let request = FetchRequest {
        version: 17,
        limits: FetchLimits {
            max_wait_ms: 0,
            min_bytes: 1,
            max_bytes: 1,
        },
        session_id: 0,
        session_epoch: 0,
        partitions: vec![],
        forgotten: vec![],
        rack: Arc::from(""),
    };
    assert_eq!(
        connection.fetch(request.clone()).await.unwrap().session_id,
        1
    );
    cluster.shutdown();
    assert!(connection.is_closed());
    assert_eq!(connection.fetch(request).await, Err(SourceError::ShutDown));
    assert_eq!(cluster.describe().await, Err(SourceError::ShutDown));
    let again = cluster.fetch_connection(NodeId(1), 0).await;
    assert_eq!(again.err(), Some(SourceError::ShutDown));
}

#[tokio::test]
async fn a_broker_out_of_reach_is_named_with_its_advertised_address() {
    let world = Arc::new(World::default());
    let broker = start(&world, 1).await;
    let port = closed_port().await;
    world.brokers.lock().push((2, port));
    let cluster = client(&broker);
    cluster.describe().await.unwrap();
    let error = cluster.fetch_connection(NodeId(2), 0).await.err().unwrap();
    let text = error.to_string();
    assert!(
        text.contains("broker 2") && text.contains(&format!("127.0.0.1:{port}")),
        "{text}"
    );
    assert!(error.is_retriable());
    let failures = cluster
        .inner
        .state
        .lock()
        .failures(&Endpoint::Broker(NodeId(2)));
    assert_eq!(failures, 1);
}

#[tokio::test]
async fn an_api_that_the_source_lacks_is_named() {
    let queries = vec![EpochQuery {
        partition: TopicPartition::new(topic("t"), 0),
        current_leader_epoch: LeaderEpoch::NONE,
        leader_epoch: LeaderEpoch(0),
    }];
    let world = Arc::new(World::default());
    *world.leaders.lock() = [1, 1];
    let broker = start(&world, 1).await;
    let error = client(&broker)
        .offsets_for_leader_epoch(queries)
        .await
        .unwrap_err();
    let text = error.to_string();
    assert!(
        text.contains("OffsetForLeaderEpoch") && text.contains("none"),
        "{text}"
    );
    assert!(!error.is_retriable());
}

#[tokio::test]
async fn a_silent_bootstrap_server_does_not_hold_up_the_next() {
    let world = Arc::new(World::default());
    let broker = start(&world, 1).await;
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let silent_port = silent.local_addr().unwrap().port();
    let list = format!("127.0.0.1:{silent_port},127.0.0.1:{}", broker.port);
    let later = "600000";
    let limits = [
        ("request.timeout.ms", later),
        ("socket.connection.setup.timeout.ms", later),
        ("socket.connection.setup.timeout.max.ms", later),
    ];
    let cluster = KafkaCluster::new(&config(&list, &limits));
    let patience = Duration::from_secs(120);
    let info = tokio::time::timeout(patience, cluster.describe())
        .await
        .unwrap()
        .unwrap();
    assert_eq!(info.brokers[0].id, NodeId(1));
}

#[tokio::test]
async fn an_attempt_goes_on_when_its_caller_gives_up() {
    let world = Arc::new(World::default());
    let broker = start(&world, 1).await;
    let cluster = client(&broker);
    tokio::select! {
        biased;
        _ = cluster.describe() => panic!("answered without a single round trip"),
        () = std::future::ready(()) => {}
    }
    assert!(cluster.inner.control.lock().await.is_some());
}

#[tokio::test]
async fn during_the_back_off_everyone_gets_the_last_failure() {
    let bootstrap = format!("127.0.0.1:{}", closed_port().await);
    let slow = [
        ("reconnect.backoff.ms", "600000"),
        ("reconnect.backoff.max.ms", "600000"),
    ];
    let cluster = KafkaCluster::new(&config(&bootstrap, &slow));
    let (first, second) = tokio::join!(cluster.describe(), cluster.describe());
    assert_eq!(first, second);
    assert_eq!(cluster.describe().await, first);
    assert_eq!(
        first.unwrap_err().kind(),
        FaultKind::BootstrapTcpConnectionFailed
    );
    assert_eq!(cluster.inner.state.lock().failures(&Endpoint::Bootstrap), 1);
}
