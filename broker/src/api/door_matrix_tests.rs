//! Which operations on which resources each API asks for, as in Kafka 4.3 (`KafkaApis`,
//! `ControllerApis`, `AuthHelper`), and what it answers when one of them is refused.
//!
//! Every API of the table has at least one [`Row`]. A row is run on a broker of its own, once with
//! everything allowed and once for each operation that is refused.

mod admin;
mod audited;
mod data;
mod groups;
mod transactions;
mod written;

use std::collections::BTreeSet;
use std::future::Future;
use std::pin::Pin;

use carrick_protocol::error_code::ErrorCode;
use kafka_protocol::messages::add_partitions_to_txn_request::AddPartitionsToTxnTopic;
use kafka_protocol::messages::offset_commit_request::{
    OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use kafka_protocol::messages::{
    self, AddPartitionsToTxnRequest, ApiKey, ConsumerGroupHeartbeatRequest, InitProducerIdRequest,
    OffsetCommitRequest, ProducerId, TransactionalId,
};

use super::Reply;
use super::table::{APIS, Api, ResponseOf};
use crate::access::{Operation, Resource};
use crate::broker::Broker;
use crate::testing::{TestBroker, TestClient, batch, wire};
use crate::transaction::coordinator::ListFilter;

/// An operation, and what it is done with.
type Ask = (Operation, Resource<'static>);

const CLUSTER: Resource<'static> = Resource::Cluster;
/// A topic of one partition with one record; the partition is in the transaction of `x`.
const T: Resource<'static> = Resource::Topic("t");
/// A topic of one empty partition.
const U: Resource<'static> = Resource::Topic("u");
/// A topic that does not exist.
const NEW: Resource<'static> = Resource::Topic("new");
/// The topic whose rights are those of all topics.
const ANY: Resource<'static> = Resource::Topic("hardcode");
/// A group that has committed an offset of `t`.
const G: Resource<'static> = Resource::Group("g");
/// A group of the consumer protocol, with a member that has `t`.
const C: Resource<'static> = Resource::Group("c");
/// A transactional id with a transaction.
const X: Resource<'static> = Resource::TransactionalId("x");

/// A transactional id that does not exist.
const Y: Resource<'static> = Resource::TransactionalId("y");
/// A group that does not exist.
const N: Resource<'static> = Resource::Group("n");

const NO_TOPIC: Outcome = Outcome::Code(ErrorCode::TOPIC_AUTHORIZATION_FAILED);
const NO_GROUP: Outcome = Outcome::Code(ErrorCode::GROUP_AUTHORIZATION_FAILED);
const NO_CLUSTER: Outcome = Outcome::Code(ErrorCode::CLUSTER_AUTHORIZATION_FAILED);
const NO_ID: Outcome = Outcome::Code(ErrorCode::TRANSACTIONAL_ID_AUTHORIZATION_FAILED);

/// What an answer comes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outcome {
    /// An error for what was asked for, or none.
    Code(ErrorCode),
    /// No error, but it is left out.
    LeftOut,
}

fn code(code: i16) -> Outcome {
    Outcome::Code(ErrorCode(code))
}

fn shown(is_shown: bool) -> Outcome {
    match is_shown {
        true => code(0),
        false => Outcome::LeftOut,
    }
}

/// One of these must be allowed; they are asked for in this order until one is.
struct Need {
    one_of: Vec<Ask>,
    /// What the answer comes to with all of them refused.
    refused: Outcome,
}

/// A request, and what Kafka asks the authorizer for it.
struct Row {
    key: ApiKey,
    what: &'static str,
    needs: Vec<Need>,
    /// Asked for to say what is allowed: a refusal changes nothing but that.
    also: Vec<Ask>,
    /// What the answer comes to with everything allowed.
    allowed: Outcome,
    /// Whether the broker's state is another one afterwards.
    changes: bool,
    request: Box<dyn Asking>,
}

/// A row of an API without needs.
fn row<A: Api>(
    what: &'static str,
    version: i16,
    request: impl Fn(&Broker) -> A::Request + 'static,
    outcome: fn(&ResponseOf<A>) -> Outcome,
) -> Row {
    through::<A>(Way::Socket, what, version, request, outcome)
}

/// The same in a version that the client's codec cannot write.
fn handled<A: Api>(
    what: &'static str,
    version: i16,
    request: impl Fn(&Broker) -> A::Request + 'static,
    outcome: fn(&ResponseOf<A>) -> Outcome,
) -> Row {
    through::<A>(Way::Handler, what, version, request, outcome)
}

fn through<A: Api>(
    way: Way,
    what: &'static str,
    version: i16,
    request: impl Fn(&Broker) -> A::Request + 'static,
    outcome: fn(&ResponseOf<A>) -> Outcome,
) -> Row {
    assert!(A::VERSIONS.contains(&version), "{what}");
    Row {
        key: A::KEY,
        what,
        needs: Vec::new(),
        also: Vec::new(),
        allowed: code(0),
        changes: false,
        request: Box::new(Typed::<A, _> {
            way,
            version,
            request,
            outcome,
        }),
    }
}

impl Row {
    fn needs(self, operation: Operation, resource: Resource<'static>, refused: Outcome) -> Self {
        self.needs_one_of(vec![(operation, resource)], refused)
    }

    fn needs_one_of(mut self, one_of: Vec<Ask>, refused: Outcome) -> Self {
        self.needs.push(Need { one_of, refused });
        self
    }

    /// All operations on the resource are asked for, to name those that are allowed.
    fn tells_operations(mut self, resource: Resource<'static>) -> Self {
        let all = resource.kind().operations().iter();
        self.also
            .extend(all.map(|operation| (*operation, resource)));
        self
    }

    fn also(mut self, operation: Operation, resource: Resource<'static>) -> Self {
        self.also.push((operation, resource));
        self
    }

    fn changes(mut self) -> Self {
        self.changes = true;
        self
    }

    fn answers(mut self, allowed: ErrorCode) -> Self {
        self.allowed = Outcome::Code(allowed);
        self
    }

    /// What is not asked for once this need is refused, if that is an error.
    fn asked_after(&self, at: usize) -> impl Iterator<Item = String> {
        let (before, later) = self.needs.split_at(at + 1);
        let is_error = |need: &Need| matches!(need.refused, Outcome::Code(_));
        let asks = |need: &Need| names(&need.one_of);
        let before: BTreeSet<_> = before.iter().flat_map(asks).collect();
        let later = later.iter().filter(|it| is_error(it)).flat_map(asks);
        let ends = is_error(&self.needs[at]);
        let later: BTreeSet<_> = later.filter(|_| ends).collect();
        later.into_iter().filter(move |it| !before.contains(it))
    }

    /// What is asked for while everything is allowed.
    fn asks(&self) -> BTreeSet<String> {
        let first = self.needs.iter().map(|need| need.one_of[0]);
        first.chain(self.also.iter().copied()).map(name).collect()
    }
}

type Answered<'a> = Pin<Box<dyn Future<Output = Outcome> + 'a>>;

/// A request whose type is erased.
trait Asking {
    /// Whether it goes through a socket.
    fn is_sent(&self) -> bool;
    fn ask<'a>(&'a self, client: &'a mut TestClient, it: &'a TestBroker) -> Answered<'a>;
}

/// How a request reaches its handler.
#[derive(Clone, Copy)]
enum Way {
    Socket,
    Handler,
}

struct Typed<A: Api, F> {
    way: Way,
    version: i16,
    request: F,
    outcome: fn(&ResponseOf<A>) -> Outcome,
}

impl<A: Api, F: Fn(&Broker) -> A::Request> Asking for Typed<A, F> {
    fn is_sent(&self) -> bool {
        matches!(self.way, Way::Socket)
    }

    fn ask<'a>(&'a self, client: &'a mut TestClient, it: &'a TestBroker) -> Answered<'a> {
        Box::pin(async move {
            let request = (self.request)(it.broker());
            let answer = match self.way {
                Way::Socket => client.call(self.version, &request).await,
                Way::Handler => match A::handle(&it.context(), self.version, request) {
                    Reply::Now(answer) => answer,
                    Reply::Later(answer) => answer.await,
                    _ => panic!("no answer"),
                },
            };
            (self.outcome)(&answer)
        })
    }
}

fn name((operation, resource): Ask) -> String {
    format!("{operation:?} {resource:?}")
}

fn names(asks: &[Ask]) -> Vec<String> {
    asks.iter().copied().map(name).collect()
}

fn group(name: &'static str) -> messages::GroupId {
    messages::GroupId(name.into())
}

fn id(name: &'static str) -> TransactionalId {
    TransactionalId(name.into())
}

fn init(id: Option<TransactionalId>) -> InitProducerIdRequest {
    InitProducerIdRequest::default()
        .with_transactional_id(id)
        .with_producer_id(ProducerId(-1))
        .with_producer_epoch(-1)
        .with_transaction_timeout_ms(10_000)
}

fn commit(topic: OffsetCommitRequestTopic) -> OffsetCommitRequest {
    let partition = OffsetCommitRequestPartition::default().with_committed_offset(1);
    OffsetCommitRequest::default()
        .with_group_id(group("g"))
        .with_generation_id_or_member_epoch(-1)
        .with_topics(vec![topic.with_partitions(vec![partition])])
}

fn subscribe(group_id: &'static str) -> ConsumerGroupHeartbeatRequest {
    ConsumerGroupHeartbeatRequest::default()
        .with_group_id(group(group_id))
        .with_member_id("m".into())
        .with_rebalance_timeout_ms(60_000)
        .with_subscribed_topic_names(Some(vec![wire("t")]))
        .with_topic_partitions(Some(Vec::new()))
}

/// Who writes with the transactional id `x`.
fn writer(broker: &Broker) -> (ProducerId, i16) {
    let known = broker.transactions.describe("x").unwrap();
    (ProducerId(known.producer_id.0), known.epoch)
}

/// Adds the partition of a topic to the transaction of `x`.
fn add(broker: &Broker, topic: &str) -> AddPartitionsToTxnRequest {
    let (producer, epoch) = writer(broker);
    let topic = AddPartitionsToTxnTopic::default()
        .with_name(wire(topic))
        .with_partitions(vec![0]);
    AddPartitionsToTxnRequest::default()
        .with_v3_and_below_transactional_id(id("x"))
        .with_v3_and_below_producer_id(producer)
        .with_v3_and_below_producer_epoch(epoch)
        .with_v3_and_below_topics(vec![topic])
}

/// A broker with the resources that the rows name.
struct Stage {
    it: TestBroker,
    client: TestClient,
}

/// What a request led to.
struct Run {
    outcome: Outcome,
    asked: BTreeSet<String>,
    is_changed: bool,
}

impl Stage {
    async fn start() -> Self {
        let set = [
            "auto.create.topics.enable=true",
            "group.initial.rebalance.delay.ms=0",
        ];
        let it = TestBroker::start(&set).await;
        it.create("t", 1);
        it.create("u", 1);
        let mut client = it.client().await;
        let produced = client.produce("t", 0, -1, batch(&["a"])).await;
        assert_eq!(produced.error_code, 0);
        let topic = OffsetCommitRequestTopic::default().with_name(wire("t"));
        let committed = client.call(8, &commit(topic)).await;
        assert_eq!(committed.topics[0].partitions[0].error_code, 0);
        let joined = client.call(1, &subscribe("c")).await;
        assert_eq!(joined.error_code, 0);
        assert_eq!(client.call(4, &init(Some(id("x")))).await.error_code, 0);
        let added = client.call(3, &add(it.broker(), "t")).await;
        let added = &added.results_by_topic_v3_and_below[0].results_by_partition[0];
        assert_eq!(added.partition_error_code, 0);
        Self { it, client }
    }

    async fn run(&mut self, row: &Row, refused: &[Ask]) -> Run {
        let broker = self.it.broker();
        let access = &broker.access;
        for (operation, resource) in refused {
            access.refuse(*operation, *resource);
        }
        let before = state(broker);
        access.watch();
        let outcome = row.request.ask(&mut self.client, &self.it).await;
        let asked = access.seen();
        let is_changed = state(broker) != before;
        access.refuse_nothing();
        let asked = asked.iter().map(|(operation, kind, name)| {
            let all = [CLUSTER, T, U, NEW, ANY, G, C, X, Y, N];
            let known = all
                .iter()
                .find(|it| it.kind() == *kind && it.name() == name);
            let resource = known.unwrap_or_else(|| panic!("{operation:?} {kind:?} {name}"));
            format!("{operation:?} {resource:?}")
        });
        Run {
            outcome,
            asked: asked.collect(),
            is_changed,
        }
    }
}

/// All that a request of the rows may change.
fn state(broker: &Broker) -> String {
    let topics = broker.topics.list();
    let logs = topics.iter().flat_map(|topic| {
        let partitions = broker.hosted.of(topic.id());
        let logs = partitions.iter().map(|partition| {
            let log = partition.snapshot();
            let (start, end) = (log.log_start(), log.high_watermark());
            (partition.id().clone(), start, end)
        });
        logs.collect::<Vec<_>>()
    });
    let logs: Vec<_> = logs.collect();
    let groups = broker.groups.list();
    let committed = groups
        .iter()
        .map(|it| broker.groups.committed(&it.group_id));
    let committed: Vec<_> = committed.collect();
    let transactions = broker.transactions.list(&ListFilter::default()).unwrap();
    let transactions = transactions.iter();
    let transactions = transactions.map(|it| broker.transactions.describe(it.id.as_str()));
    let transactions: Vec<_> = transactions.collect();
    let changes = broker.metadata_changes();
    format!("{changes} {logs:?} {groups:?} {committed:?} {transactions:?}")
}

/// Runs of one row; a broker that a run has changed is not used again.
struct Runs<'a> {
    row: &'a Row,
    stage: Option<Stage>,
    wrong: Vec<String>,
}

impl Runs<'_> {
    async fn run(&mut self, refused: &[Ask]) -> Run {
        let mut stage = match self.stage.take() {
            Some(stage) => stage,
            None => Stage::start().await,
        };
        let run = stage.run(self.row, refused).await;
        if run.is_changed {
            stage.it.running.shutdown().await;
        } else {
            self.stage = Some(stage);
        }
        run
    }

    fn expect<T: std::fmt::Debug + PartialEq>(&mut self, refused: &[Ask], is: &T, expected: &T) {
        if is != expected {
            let (key, what, refused) = (self.row.key, self.row.what, names(refused));
            self.wrong.push(format!(
                "{key:?} ({what}) without {refused:?}: {is:?} instead of {expected:?}"
            ));
        }
    }

    /// As with everything allowed.
    async fn is_allowed_without(&mut self, refused: &[Ask]) {
        let (allowed, changes) = (self.row.allowed, self.row.changes);
        let run = self.run(refused).await;
        self.expect(refused, &run.outcome, &allowed);
        self.expect(refused, &run.is_changed, &changes);
        if refused.is_empty() {
            let asks = self.row.asks();
            self.expect(refused, &run.asked, &asks);
        }
    }

    async fn all(mut self) -> Vec<String> {
        let row = self.row;
        for (at, need) in row.needs.iter().enumerate() {
            let run = self.run(&need.one_of).await;
            let early = row.asked_after(at);
            let early: Vec<_> = early.filter(|it| run.asked.contains(it)).collect();
            self.expect(&need.one_of, &early, &Vec::new());
            self.expect(&need.one_of, &run.outcome, &need.refused);
            let all = names(&need.one_of);
            let asked: Vec<_> = all.iter().filter(|it| run.asked.contains(*it)).collect();
            self.expect(&need.one_of, &asked, &all.iter().collect());
            self.expect(&need.one_of, &run.is_changed, &false);
        }
        for need in row.needs.iter().filter(|need| need.one_of.len() > 1) {
            for ask in &need.one_of {
                self.is_allowed_without(&[*ask]).await;
            }
        }
        for ask in &row.also {
            let is_needed = row.needs.iter().any(|need| need.one_of.contains(ask));
            if !is_needed {
                self.is_allowed_without(&[*ask]).await;
            }
        }
        self.is_allowed_without(&[]).await;
        if let Some(stage) = self.stage {
            stage.it.running.shutdown().await;
        }
        self.wrong
    }
}

async fn check(rows: Vec<Row>) {
    let mut wrong = Vec::new();
    for row in &rows {
        let runs = Runs {
            row,
            stage: None,
            wrong: Vec::new(),
        };
        wrong.extend(runs.all().await);
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn data_is_reached_as_in_kafka() {
    check(data::rows()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn groups_are_reached_as_in_kafka() {
    check(groups::rows()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn transactions_are_reached_as_in_kafka() {
    check(transactions::rows()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn topics_and_configs_are_reached_as_in_kafka() {
    check(admin::topics_and_configs()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_cluster_is_reached_as_in_kafka() {
    check(admin::cluster()).await;
}

fn all_rows() -> Vec<Row> {
    let rows = [
        data::rows(),
        groups::rows(),
        transactions::rows(),
        admin::topics_and_configs(),
        admin::cluster(),
    ];
    rows.into_iter().flatten().collect()
}

#[test]
fn every_api_has_a_row() {
    let keys: BTreeSet<i16> = all_rows().iter().map(|row| row.key as i16).collect();
    let missing = APIS
        .iter()
        .filter(|entry| !keys.contains(&(entry.key as i16)));
    let missing: Vec<_> = missing.map(|entry| entry.name).collect();
    assert!(missing.is_empty(), "{missing:?}");
}
