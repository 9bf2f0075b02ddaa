//! For tests within this crate: a broker of one's own on a free port, and a client that speaks in
//! requests.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use bytes::{Buf, Bytes};
use carrick_protocol::batch::{BatchBuilder, CheckedBatches};
use carrick_protocol::client;
use carrick_protocol::ids::TopicName;
use kafka_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use kafka_protocol::messages::produce_response::PartitionProduceResponse;
use kafka_protocol::messages::{ProduceRequest, TopicName as WireName};
use kafka_protocol::protocol::{Decodable, HeaderVersion, Request, StrBytes};
use tempfile::TempDir;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::watch;

use crate::api::{Connection, Context};
use crate::audit::{Event, Outcome, Via};
use crate::broker::Broker;
use crate::config::{self, Values};
use crate::journal::rocks::RocksJournal;
use crate::journal::{Journal, Table};
use crate::metadata::rocks::RocksMetadata;
use crate::partition::{Admission, Hosted, Partition, PartitionError, Partitions, Produced};
use crate::principal::Principal;
use crate::records::{OfCoordinators, Records};
use crate::run::{self, Config, RunningBroker};
use crate::topic::{NewTopic, Topic};

/// Values by name, as configs are handed about.
pub fn map(set: &[(&str, &str)]) -> BTreeMap<String, String> {
    set.iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
        .collect()
}

/// How long a test waits for anything. A busy machine may need much of it.
pub const LIMIT: Duration = Duration::from_secs(120);

/// Waits for a condition, which must not change anything: not take, lock or consume what it looks at.
/// Other tasks run meanwhile.
///
/// # Panics
/// After [`LIMIT`]: what was waited for.
pub async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !holds() {
        assert!(begun.elapsed() < LIMIT, "not within {LIMIT:?}: {what}");
        tokio::task::yield_now().await;
    }
}

/// As [`until`], where no tasks have to run.
///
/// # Panics
/// As `until`.
pub fn until_here(what: &str, mut holds: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !holds() {
        assert!(begun.elapsed() < LIMIT, "not within {LIMIT:?}: {what}");
        std::thread::yield_now();
    }
}

/// Properties with these set (`name=value`).
pub fn values(overrides: &[&str]) -> Values {
    let overrides: Vec<_> = overrides.iter().map(|item| (*item).to_owned()).collect();
    config::read(None, &overrides).unwrap()
}

/// The journal of a broker that does not run, with its metadata in that folder.
pub fn journal_in(meta_dir: &Path) -> Journal {
    let opened = RocksMetadata::open(meta_dir).unwrap();
    Journal::new(Arc::new(RocksJournal::start(opened.database()).unwrap()))
}

/// What a journal holds of a keyspace.
pub fn noted<K: OfCoordinators>(journal: &Journal) -> Records<K> {
    let mut table = Table::<K>::default();
    journal.replay(&mut [&mut table]).unwrap();
    table.into_records().unwrap()
}

/// A topic, and its partitions on one broker.
pub struct TestTopic {
    topic: Arc<Topic>,
    /// Its owner alone keeps the data folder.
    hosted: Weak<Hosted>,
}

impl std::ops::Deref for TestTopic {
    type Target = Arc<Topic>;

    fn deref(&self) -> &Arc<Topic> {
        &self.topic
    }
}

impl TestTopic {
    pub fn new(topic: Arc<Topic>, hosted: &Arc<Hosted>) -> Self {
        let hosted = Arc::downgrade(hosted);
        Self { topic, hosted }
    }

    pub fn partition(&self, number: i32) -> Option<Arc<Partition>> {
        self.hosted.upgrade()?.get(self.topic.id(), number)
    }

    pub fn partitions(&self) -> Partitions {
        let hosted = self.hosted.upgrade().unwrap();
        hosted.of(self.topic.id())
    }
}

impl Broker {
    pub fn topic(&self, name: &str) -> Option<TestTopic> {
        Some(TestTopic::new(self.topics.topic(name)?, &self.hosted))
    }

    pub fn partition(&self, topic: &str, number: i32) -> Option<Arc<Partition>> {
        self.hosted.named(topic, number)
    }
}

/// A broker on free ports, with its own folder unless one is given.
pub struct TestBroker {
    pub running: RunningBroker,
    pub dir: TempDir,
}

/// The audit log's file in the folder of a test.
const AUDIT_LOG: &str = "audit.log";

/// The lines so far of the audit log of a broker that [`TestBroker`] has started in that folder.
pub async fn audit_lines(broker: &Broker, dir: &Path) -> Vec<serde_json::Value> {
    let end = Event {
        who: Principal::anonymous(),
        from: broker.endpoints[0].bound.ip(),
        via: Via::Kafka,
        action: "TheEnd",
        target: None,
        detail: uuid::Uuid::new_v4().to_string(),
        is_dry_run: false,
        outcome: Outcome::Done,
    };
    broker.audit.note(end.clone());
    let read = || std::fs::read_to_string(dir.join(AUDIT_LOG)).unwrap();
    until("the audit log is written", || read().contains(&end.detail)).await;
    let text = read();
    let lines = text.lines().filter(|line| !line.contains("TheEnd"));
    lines
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

impl TestBroker {
    pub async fn start(overrides: &[&str]) -> Self {
        Self::start_in(tempfile::tempdir().unwrap(), overrides).await
    }

    pub async fn start_in(dir: TempDir, overrides: &[&str]) -> Self {
        let config = config(dir.path(), overrides);
        // Nobody gives the start up.
        let stop = watch::channel(false).1;
        let running = run::start(config, stop).await.unwrap();
        Self { running, dir }
    }

    /// Stops cleanly and starts again on the same folder.
    pub async fn restart(self, overrides: &[&str]) -> Self {
        let Self { running, dir } = self;
        running.shutdown().await;
        Self::start_in(dir, overrides).await
    }

    pub fn broker(&self) -> &Arc<Broker> {
        &self.running.broker
    }

    /// What a handler is given for a connection that has sent nothing yet.
    pub fn context(&self) -> Context {
        let connection =
            Connection::new(self.broker().endpoints[0].bound, 0, Principal::anonymous());
        Context::new(self.broker().clone(), Arc::new(connection))
    }

    pub async fn client(&self) -> TestClient {
        TestClient::connect(self.broker().endpoints[0].bound).await
    }

    pub fn create(&self, name: &str, partitions: i32) -> TestTopic {
        self.create_with(name, partitions, &[])
    }

    pub fn create_mirror(&self, name: &str, partitions: i32) -> TestTopic {
        self.create_as(name, partitions, &[], true)
    }

    pub fn create_mirror_with(
        &self,
        name: &str,
        partitions: i32,
        configs: &[(&str, &str)],
    ) -> TestTopic {
        self.create_as(name, partitions, configs, true)
    }

    pub fn create_with(&self, name: &str, partitions: i32, configs: &[(&str, &str)]) -> TestTopic {
        self.create_as(name, partitions, configs, false)
    }

    fn create_as(
        &self,
        name: &str,
        partitions: i32,
        configs: &[(&str, &str)],
        is_mirror: bool,
    ) -> TestTopic {
        let new = NewTopic {
            name: TopicName::new(name).unwrap(),
            id: None,
            partitions,
            configs: configs
                .iter()
                .map(|(n, v)| (n.to_string(), v.to_string()))
                .collect(),
            is_mirror,
        };
        let created = self.broker().topics.create(new, Default::default());
        TestTopic::new(created.unwrap(), &self.broker().hosted)
    }
}

/// Configuration on free loopback ports.
pub fn config(dir: &Path, overrides: &[&str]) -> Config {
    let mut all = vec![
        "listeners=PLAINTEXT://127.0.0.1:0".to_owned(),
        "rest.listeners=http://127.0.0.1:0".to_owned(),
        // ACLs decide; as long as there is none, everyone may do everything.
        "authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer".to_owned(),
        "allow.everyone.if.no.acl.found=true".to_owned(),
        format!("log.dirs={}", dir.join("data").display()),
        format!("audit.log.file={}", dir.join(AUDIT_LOG).display()),
    ];
    all.extend(overrides.iter().map(|item| (*item).to_owned()));
    Config::load(None, &all).unwrap()
}

/// Both directions of a connection.
pub trait Duplex: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Duplex for T {}

/// A client without any cleverness.
pub struct TestClient {
    stream: Box<dyn Duplex>,
    correlation_id: i32,
}

impl TestClient {
    pub async fn connect(address: std::net::SocketAddr) -> Self {
        Self::over(TcpStream::connect(address).await.unwrap())
    }

    /// On a connection that is there, of TCP or TLS.
    pub fn over(stream: impl Duplex + 'static) -> Self {
        Self {
            stream: Box::new(stream),
            correlation_id: 0,
        }
    }

    /// Sends a request and waits for its response.
    pub async fn call<R: Request>(&mut self, version: i16, request: &R) -> R::Response {
        let id = self.send(version, request).await;
        let (answered, response) = self.receive::<R>(version).await;
        assert_eq!(answered, id, "responses leave in request order");
        response
    }

    /// Sends a request; answers its correlation id.
    pub async fn send<R: Request>(&mut self, version: i16, request: &R) -> i32 {
        self.correlation_id += 1;
        let frame = client::encode_request(self.correlation_id, "test", request, version).unwrap();
        self.send_bytes(&frame).await;
        self.correlation_id
    }

    pub async fn send_bytes(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).await.unwrap();
        self.stream.flush().await.unwrap();
    }

    /// Sends bytes, if the broker has not closed the connection.
    pub async fn try_send_bytes(&mut self, bytes: &[u8]) {
        drop(self.stream.write_all(bytes).await);
    }

    /// Closes this side of the connection.
    pub async fn finish_sending(&mut self) {
        self.stream.shutdown().await.unwrap();
    }

    /// The same, if the broker has not closed the connection.
    pub async fn try_finish_sending(&mut self) {
        drop(self.stream.shutdown().await);
    }

    /// The next response, with its correlation id.
    pub async fn receive<R: Request>(&mut self, version: i16) -> (i32, R::Response) {
        let frame = self.frame().await.expect("a response");
        decode::<R>(frame, version)
    }

    /// The next frame; `None` when the broker has closed the connection.
    pub async fn frame(&mut self) -> Option<Bytes> {
        let frame = tokio::time::timeout(LIMIT, self.endless_frame()).await;
        frame.expect("an answer, or the end of the connection")
    }

    async fn endless_frame(&mut self) -> Option<Bytes> {
        let length = self.stream.read_i32().await.ok()?;
        let mut frame = vec![0; usize::try_from(length).unwrap()];
        self.stream.read_exact(&mut frame).await.ok()?;
        Some(frame.into())
    }

    /// Produces one batch in version 9.
    pub async fn produce(
        &mut self,
        topic: &str,
        partition: i32,
        acks: i16,
        batch: Bytes,
    ) -> PartitionProduceResponse {
        let request = produce(topic, partition, acks, batch);
        let mut response = self.call(9, &request).await;
        response.responses.remove(0).partition_responses.remove(0)
    }
}

/// Decodes any response: the link's decoder knows only those that a link asks for.
fn decode<R: Request>(mut frame: Bytes, version: i16) -> (i32, R::Response) {
    let id = frame.get_i32();
    if R::Response::header_version(version) >= 1 {
        assert_eq!(frame.get_u8(), 0, "no tagged fields in the header");
    }
    let response = R::Response::decode(&mut frame, version).unwrap();
    assert!(frame.is_empty(), "{} bytes after the response", frame.len());
    (id, response)
}

/// A name on the wire.
pub fn wire(name: &str) -> WireName {
    WireName(StrBytes::from_string(name.to_owned()))
}

/// A Produce of one batch.
pub fn produce(topic: &str, partition: i32, acks: i16, batch: Bytes) -> ProduceRequest {
    let data = PartitionProduceData::default()
        .with_index(partition)
        .with_records(Some(batch));
    let topic = TopicProduceData::default()
        .with_name(wire(topic))
        .with_partition_data(vec![data]);
    ProduceRequest::default()
        .with_acks(acks)
        .with_timeout_ms(1000)
        .with_topic_data(vec![topic])
}

/// Appends a produced batch, as Produce does.
///
/// # Errors
/// As [`Partition::append_prepared`].
pub fn append(
    partition: &Arc<Partition>,
    batch: &Bytes,
    now_ms: i64,
) -> Result<Produced, PartitionError> {
    partition.append_prepared(partition.prepare(batch, now_ms), Admission::Plain)
}

/// `run` as a partition takes it from a link.
pub fn checked(run: &Bytes) -> CheckedBatches {
    CheckedBatches::check(run).unwrap()
}

/// A batch of these values, now.
pub fn batch(values: &[&str]) -> Bytes {
    let now_ms = crate::clock::now_ms();
    let mut builder = BatchBuilder::new();
    for value in values {
        builder = builder.record(now_ms, None, Some(value.as_bytes()));
    }
    builder.build().freeze()
}

/// The same, of an idempotent producer.
pub fn idempotent(id: i64, epoch: i16, sequence: i32, values: &[&str]) -> Bytes {
    let now_ms = crate::clock::now_ms();
    let mut builder =
        BatchBuilder::new().producer(carrick_protocol::ids::ProducerId(id), epoch, sequence);
    for value in values {
        builder = builder.record(now_ms, None, Some(value.as_bytes()));
    }
    builder.build().freeze()
}
