//! Transactions on a real broker: partitions, groups, RocksDB, restarts.

mod failures;
mod limits;
mod model;
mod restarts;
mod wire;

use std::collections::{BTreeSet, HashSet};
use std::time::{Duration, Instant};

use bytes::Bytes;
use carrick_protocol::batch::{BatchBuilder, Batches, ControlKind, ControlMarker, records};
use carrick_protocol::ids::{GroupId, LeaderEpoch, Offset, TopicName, TopicPartition};

use super::*;
use crate::group::classic::CommitFence;
use crate::group::offsets::FetchedOffset;
use crate::group::{CommitRequest, NewOffset};
use crate::partition::{Admission, Partition, PartitionError, Produced};
use crate::testing::{LIMIT, TestBroker, append};
use crate::transaction::completion::write_completion;
use crate::transaction::{State, TxnError};

/// Intervals long enough never to elapse.
const QUIET: &[&str] = &[
    "transaction.abort.timed.out.transaction.cleanup.interval.ms=2000000000",
    "transaction.remove.expired.transaction.cleanup.interval.ms=2000000000",
];

const TOPIC: &str = "orders";

fn partition(number: i32) -> TopicPartition {
    TopicPartition::new(TopicName::new(TOPIC).unwrap(), number)
}

/// A batch of one record in a transaction.
fn in_transaction(producer: Producer, sequence: i32, value: &str) -> Bytes {
    BatchBuilder::new()
        .producer(producer.id, producer.epoch, sequence)
        .transactional(true)
        .record(clock::now_ms(), None, Some(value.as_bytes()))
        .build()
        .freeze()
}

/// Commits partition 0 for a group without members.
fn commit_request(broker: &TestBroker, offset: i64) -> CommitRequest {
    let topic = broker.broker().topic(TOPIC).unwrap();
    CommitRequest {
        fence: CommitFence {
            member_id: "".into(),
            instance_id: None,
            generation: -1,
            knows_epochs: true,
        },
        retention_ms: None,
        knows_group_not_found: true,
        offsets: vec![NewOffset {
            topic: topic.name().clone(),
            topic_id: topic.id(),
            partition: 0,
            offset: Offset(offset),
            leader_epoch: LeaderEpoch::NONE,
            metadata: String::new(),
        }],
    }
}

/// A broker with a topic of two partitions, as a producer sees it.
struct World {
    broker: TestBroker,
}

impl World {
    async fn start() -> Self {
        let broker = TestBroker::start(QUIET).await;
        broker.create(TOPIC, 2);
        Self { broker }
    }

    async fn restart(self) -> Self {
        let broker = self.broker.restart(QUIET).await;
        Self { broker }
    }

    fn transactions(&self) -> &Coordinator {
        &self.broker.broker().transactions
    }

    fn partition(&self, number: i32) -> Arc<Partition> {
        self.broker.broker().partition(TOPIC, number).unwrap()
    }

    /// Initializes, again and again while a transaction before it is being aborted.
    async fn init(&self, id: &str) -> Producer {
        self.init_as(id, None).await.unwrap()
    }

    async fn init_as(&self, id: &str, expected: Option<Producer>) -> Result<Producer, TxnError> {
        let begun = Instant::now();
        loop {
            assert!(begun.elapsed() < LIMIT, "the abort does not end");
            let request = InitRequest {
                timeout_ms: 60_000,
                expected,
            };
            let id = TransactionalId::new(id);
            match self.transactions().init(id, request).await {
                Err(TxnError::Concurrent) => tokio::time::sleep(Duration::from_millis(2)).await,
                other => return other,
            }
        }
    }

    /// Writes one record to a partition in the transaction, as Produce does.
    async fn write(
        &self,
        id: &str,
        producer: Producer,
        version: Version,
        number: i32,
        (sequence, value): (i32, &str),
    ) -> Result<Offset, String> {
        let from_zero = version == Version::V2;
        let batch = in_transaction(producer, sequence, value);
        let target = self.partition(number);
        let partitions = [partition(number)];
        let admitted = self
            .transactions()
            .admit(id, producer, &partitions, version);
        let written = admitted.write(0, &partitions[0], |verdict| {
            verdict.map_err(|error| error.to_string())?;
            let admission = Admission::InTransaction { from_zero };
            let done = target.append_prepared(target.prepare(&batch, clock::now_ms()), admission);
            done.map_err(|error| error.to_string())
        });
        let appended = match written? {
            Produced::Done(appended) => appended,
            Produced::Flushing(pending) => pending.durable().await.unwrap(),
        };
        let added = admitted.addition.durable().await;
        added.map_err(|error| error.to_string())?;
        Ok(appended.base_offset)
    }

    /// Waits until nothing is on its way to its end.
    async fn settle(&self) {
        let listed = || {
            let listed = self.transactions().list(&ListFilter::default()).unwrap();
            listed.into_iter().any(|txn| txn.state.is_prepared())
        };
        while listed() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }

    /// What a consumer with `read_committed` gets of a partition, by Kafka's own algorithm.
    fn committed(&self, number: i32) -> Vec<String> {
        let log = self.partition(number).snapshot();
        let (from, upto) = (log.log_start(), log.last_stable());
        let read = log.read(from, upto, 1 << 20, true).unwrap();
        let mut starting = log.aborted(from, upto).unwrap();
        starting.sort_by_key(|aborted| aborted.first_offset);
        let (mut aborted, mut values) = (HashSet::new(), Vec::new());
        for batch in Batches::new(&read) {
            let batch = batch.unwrap();
            let header = &batch.header;
            starting.retain(|txn| {
                let has_begun = txn.first_offset <= header.last_offset();
                if has_begun {
                    aborted.insert(txn.producer_id);
                }
                !has_begun
            });
            if header.is_control() {
                let marker = ControlMarker::read(&batch.header, batch.body())
                    .unwrap()
                    .unwrap();
                if marker.kind == ControlKind::Abort {
                    aborted.remove(&header.producer_id);
                }
                continue;
            }
            if header.is_transactional() && aborted.contains(&header.producer_id) {
                continue;
            }
            for record in records(&batch, 1 << 20).unwrap() {
                let value = record.unwrap().value.unwrap();
                values.push(String::from_utf8(value.to_vec()).unwrap());
            }
        }
        values
    }

    fn has_open_transactions(&self) -> bool {
        let open = |number| {
            let partition = self.partition(number);
            let open = partition.with_log(|log| log.producers().open_transactions().len());
            open.unwrap() > 0
        };
        open(0) || open(1)
    }

    /// Commits the group's offset of partition 0 in the transaction.
    async fn commit_offset(
        &self,
        id: &str,
        producer: Producer,
        group: &str,
        offset: i64,
    ) -> Result<(), String> {
        let request = commit_request(&self.broker, offset);
        let begun = self.transactions().commit_offsets(
            id,
            producer,
            Version::V2,
            &GroupId::new(group),
            request,
        );
        let commit = begun.map_err(|error| error.to_string())?;
        commit.results[0].unwrap();
        commit.stored.unwrap().result().await.unwrap();
        Ok(())
    }

    /// The group's offset of partition 0.
    fn offset(&self, group: &str, require_stable: bool) -> FetchedOffset {
        let groups = &self.broker.broker().groups;
        let wanted: &[(&str, &[i32])] = &[(TOPIC, &[0])];
        let fetched = groups.fetch_some(&GroupId::new(group), wanted, require_stable);
        fetched.unwrap().remove(0).remove(0)
    }

    fn committed_offset(&self, group: &str) -> Option<i64> {
        let fetched = self.offset(group, false);
        fetched.committed().map(|offset| offset.offset.0)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_commit_makes_records_and_offsets_visible_and_an_abort_neither() {
    let world = World::start().await;
    let mut producer = world.init("t").await;
    for (round, outcome) in [Outcome::Commit, Outcome::Abort, Outcome::Commit]
        .into_iter()
        .enumerate()
    {
        let value = format!("r{round}");
        for number in 0..2 {
            let written = world.write("t", producer, Version::V2, number, (0, &value));
            written.await.unwrap();
        }
        let before = world.committed_offset("g");
        let at = round as i64 + 1;
        world.commit_offset("t", producer, "g", at).await.unwrap();
        assert_eq!(world.committed_offset("g"), before, "not before the commit");
        assert_eq!(world.offset("g", true), FetchedOffset::Unstable);
        assert_eq!(world.transactions().open(), 1);
        let ended = world
            .transactions()
            .end("t", producer, outcome, Version::V2);
        let next = ended.await.unwrap();
        assert_eq!((next.id, next.epoch), (producer.id, producer.epoch + 1));
        world.settle().await;
        producer = next;
    }
    assert_eq!(world.transactions().open(), 0);
    let metrics = crate::http::metrics::recorder().render();
    for outcome in ["commit", "abort"] {
        let counted = format!("carrick_transactions_total{{outcome=\"{outcome}\"}}");
        assert!(metrics.contains(&counted), "{metrics}");
    }
    for number in 0..2 {
        assert_eq!(world.committed(number), ["r0", "r2"]);
    }
    assert_eq!(world.committed_offset("g"), Some(3));
    assert!(
        world.offset("g", true).committed().is_some(),
        "stable again"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_group_keeps_its_own_commit_if_that_is_newer() {
    let world = World::start().await;
    let producer = world.init("t").await;
    world.commit_offset("t", producer, "g", 5).await.unwrap();
    // Time is given in milliseconds.
    tokio::time::sleep(Duration::from_millis(5)).await;
    let own = commit_request(&world.broker, 9);
    let groups = &world.broker.broker().groups;
    groups.commit(&GroupId::new("g"), own).await.unwrap();
    let ended = world
        .transactions()
        .end("t", producer, Outcome::Commit, Version::V2);
    ended.await.unwrap();
    world.settle().await;
    assert_eq!(world.committed_offset("g"), Some(9));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_not_added_may_not_be_written() {
    let world = World::start().await;
    let producer = world.init("t").await;
    let refused = world.write("t", producer, Version::V1, 0, (0, "a")).await;
    assert_eq!(refused, Err(TxnError::NotInTransaction.to_string()));
    let added = [partition(0)];
    let transactions = world.transactions();
    let add = transactions.add("t", producer, &added, &[], Version::V1);
    add.await.unwrap();
    let written = world.write("t", producer, Version::V1, 0, (0, "a")).await;
    assert!(written.is_ok());
    let refused = world.write("t", producer, Version::V1, 1, (0, "a")).await;
    assert_eq!(refused, Err(TxnError::NotInTransaction.to_string()));
    let plain = append(
        &world.partition(0),
        &in_transaction(producer, 1, "b"),
        clock::now_ms(),
    );
    assert!(matches!(plain, Err(PartitionError::Transactional)));
}

/// The lock of a transaction is held for one append at a time: batches are decompressed without it, and
/// the thread that makes changes durable never waits for that.
#[tokio::test(flavor = "multi_thread")]
async fn between_two_appends_a_transaction_may_end_and_takes_no_more() {
    let world = World::start().await;
    let producer = world.init("t").await;
    let partitions = [partition(0), partition(1)];
    let admitted = world
        .transactions()
        .admit("t", producer, &partitions, Version::V2);
    let write = |at: usize| admitted.write(at, &partitions[at], |verdict| verdict);
    assert_eq!(write(0), Ok(()));
    // The addition is on its way to the disk, and its end needs the transaction's lock.
    let ended = world
        .transactions()
        .end("t", producer, Outcome::Commit, Version::V2);
    ended.await.unwrap();
    assert!(write(1).is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_instance_fences_the_first_and_aborts_what_it_left_open() {
    let world = World::start().await;
    let first = world.init("t").await;
    let written = world.write("t", first, Version::V2, 0, (0, "lost")).await;
    written.unwrap();
    let request = InitRequest {
        timeout_ms: 60_000,
        expected: None,
    };
    let transactions = world.transactions();
    let id = TransactionalId::new("t");
    let meanwhile = transactions.init(id, request).await;
    assert_eq!(meanwhile, Err(TxnError::Concurrent));
    let second = world.init("t").await;
    assert_eq!((second.id, second.epoch), (first.id, first.epoch + 2));
    let late = world.write("t", first, Version::V2, 0, (1, "late")).await;
    assert_eq!(late, Err(TxnError::Fenced.to_string()));
    let late = transactions.end("t", first, Outcome::Commit, Version::V2);
    assert_eq!(late.await, Err(TxnError::Fenced));
    let written = world.write("t", second, Version::V2, 0, (0, "kept")).await;
    written.unwrap();
    let ended = transactions.end("t", second, Outcome::Commit, Version::V2);
    ended.await.unwrap();
    world.settle().await;
    assert_eq!(world.committed(0), ["kept"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transaction_ends_when_its_time_is_over() {
    let world = World::start().await;
    let producer = world.init("t").await;
    let written = world.write("t", producer, Version::V2, 0, (0, "a")).await;
    written.unwrap();
    let ids = &world.transactions().ids;
    let start_ms = world.transactions().describe("t").unwrap().start_ms;
    sweep::abort_timed_out(ids, start_ms + 60_000).await;
    assert!(world.has_open_transactions(), "not yet");
    sweep::abort_timed_out(ids, start_ms + 60_001).await;
    world.settle().await;
    assert!(!world.has_open_transactions());
    let late = world
        .transactions()
        .end("t", producer, Outcome::Commit, Version::V1);
    assert_eq!(late.await, Err(TxnError::Fenced));
    assert_eq!(world.committed(0), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_id_that_nobody_uses_is_forgotten_and_its_producer_unknown() {
    let world = World::start().await;
    let idle = world.init("idle").await;
    let busy = world.init("busy").await;
    let written = world.write("busy", busy, Version::V2, 0, (0, "a")).await;
    written.unwrap();
    let ids = &world.transactions().ids;
    let week_ms = 7 * 24 * 3_600_000;
    sweep::forget_expired(ids, clock::now_ms() + week_ms + 1);
    let known = |name| world.transactions().describe(name).map(|txn| txn.state);
    assert_eq!(known("idle"), Err(TxnError::NotFound));
    assert_eq!(known("busy"), Ok(State::Ongoing));
    let refused = world.write("idle", idle, Version::V2, 0, (0, "a")).await;
    assert_eq!(refused, Err(TxnError::NotMapped.to_string()));
    assert_ne!(world.init("idle").await.id, idle.id);
    let world = world.restart().await;
    assert_eq!(
        world.transactions().describe("busy").unwrap().epoch,
        busy.epoch
    );
}

/// Were the second transaction taken for complete without its markers, its records would stay open
/// in the partitions, and the third would commit them.
#[tokio::test(flavor = "multi_thread")]
async fn a_driver_that_is_late_does_not_end_the_next_transaction() {
    let world = World::start().await;
    let transactions = world.transactions();
    let ids = &transactions.ids;
    let commit = |producer| transactions.end("t", producer, Outcome::Commit, Version::V2);
    let first = world.init("t").await;
    let written = world.write("t", first, Version::V2, 0, (0, "a")).await;
    written.unwrap();
    let cell = ids.find("t").unwrap();
    let plan = |producer, outcome| {
        let state = cell.lock().unwrap();
        let now_ms = clock::now_ms();
        match state
            .machine
            .plan_end(producer, outcome, Version::V2, None, now_ms)
        {
            Ok(End::Prepare(next)) => next,
            other => panic!("{other:?}"),
        }
    };
    let first_prepared = plan(first, Outcome::Commit);
    let second = commit(first).await.unwrap();
    world.settle().await;
    let written = world.write("t", second, Version::V2, 0, (0, "b")).await;
    written.unwrap();
    let second_prepared = plan(second, Outcome::Abort);
    {
        let mut state = cell.lock().unwrap();
        state.machine.begin(second_prepared.clone());
        state.machine.stored(true);
    }
    // The first one's driver has written its markers, and gets no further until now.
    assert!(write_completion(&cell, &first_prepared).await);
    complete(&cell, second_prepared.clone());
    world.settle().await;
    let third = second_prepared.producer();
    let written = world.write("t", third, Version::V2, 0, (0, "c")).await;
    written.unwrap();
    commit(third).await.unwrap();
    world.settle().await;
    assert_eq!(world.committed(0), ["a", "c"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_that_is_deleted_meanwhile_does_not_hold_up_the_end() {
    let world = World::start().await;
    world.broker.create("gone", 1);
    let producer = world.init("t").await;
    let gone = TopicPartition::new(TopicName::new("gone").unwrap(), 0);
    let transactions = world.transactions();
    let added = transactions.add("t", producer, &[gone], &[], Version::V2);
    added.await.unwrap();
    let written = world.write("t", producer, Version::V2, 1, (0, "a")).await;
    written.unwrap();
    let catalog = &world.broker.broker().topics;
    let topic = catalog.topic("gone").unwrap();
    tokio::task::block_in_place(|| catalog.delete(&topic, Default::default())).unwrap();
    let ended = transactions.end("t", producer, Outcome::Commit, Version::V2);
    ended.await.unwrap();
    world.settle().await;
    assert_eq!(world.committed(1), ["a"]);
    let described = transactions.describe("t").unwrap();
    assert_eq!(described.partitions, BTreeSet::new());
}
