//! What a crash leaves behind at each step of a transaction's end, and what a start makes of it.
//!
//! The state on disk is made what a crash at that point leaves: RocksDB is changed while the broker
//! is down.

use carrick_protocol::batch::ControlKind;

use super::*;
use crate::journal::Entry;
use crate::partition::Marker;
use crate::records::transaction::Transactions;
use crate::records::transaction_part::TransactionParts;
use crate::testing::{journal_in, noted};
use crate::transaction::limits::COORDINATOR_EPOCH;

impl World {
    /// Stops, changes what is stored of `t`, and starts again.
    async fn restart_with(self, change: impl FnOnce(&mut Metadata)) -> Self {
        let TestBroker { running, dir } = self.broker;
        running.shutdown().await;
        {
            let journal = journal_in(&dir.path().join("data/__carrick_meta"));
            let (id, mut metadata) = noted::<Transactions>(&journal).remove(0);
            let mut entry = Entry::new();
            for (key, part) in noted::<TransactionParts>(&journal) {
                part.added.apply(&mut metadata);
                entry.delete::<TransactionParts>(&key);
            }
            change(&mut metadata);
            entry.put::<Transactions>(&id, &metadata);
            journal.append_now(entry).unwrap();
        }
        let broker = TestBroker::start_in(dir, QUIET).await;
        Self { broker }
    }
}

/// A transaction over both partitions and a group.
async fn ongoing() -> (World, Producer) {
    let world = World::start().await;
    let producer = world.init("t").await;
    for number in 0..2 {
        let written = world.write("t", producer, Version::V2, number, (0, "a"));
        written.await.unwrap();
    }
    world.commit_offset("t", producer, "g", 7).await.unwrap();
    (world, producer)
}

fn prepare(metadata: &mut Metadata, outcome: Outcome) {
    metadata.state = match outcome {
        Outcome::Commit => State::PrepareCommit,
        Outcome::Abort => State::PrepareAbort,
    };
    metadata.last_epoch = metadata.epoch;
    metadata.epoch += 1;
}

async fn assert_ended(world: &World, outcome: Outcome) {
    world.settle().await;
    let (values, offset): (&[&str], _) = match outcome {
        Outcome::Commit => (&["a"], Some(7)),
        Outcome::Abort => (&[], None),
    };
    for number in 0..2 {
        assert_eq!(world.committed(number), values, "partition {number}");
    }
    assert!(!world.has_open_transactions());
    assert_eq!(world.committed_offset("g"), offset);
    assert_ne!(world.offset("g", true), FetchedOffset::Unstable);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_end_that_was_decided_and_no_more_is_driven_through() {
    for outcome in [Outcome::Commit, Outcome::Abort] {
        let (world, _) = ongoing().await;
        let world = world.restart_with(|txn| prepare(txn, outcome)).await;
        assert_ended(&world, outcome).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_end_with_some_of_its_markers_written_is_driven_through() {
    for (outcome, kind) in [
        (Outcome::Commit, ControlKind::Commit),
        (Outcome::Abort, ControlKind::Abort),
    ] {
        for marked in [0..1, 0..2] {
            let (world, producer) = ongoing().await;
            for number in marked {
                let marker = Marker {
                    producer_id: producer.id,
                    producer_epoch: producer.epoch + 1,
                    kind,
                    coordinator_epoch: COORDINATOR_EPOCH,
                    raised: true,
                };
                let target = world.partition(number);
                let written = target.append_marker(&marker, clock::now_ms()).unwrap();
                written.durable().await.unwrap();
            }
            let world = world.restart_with(|txn| prepare(txn, outcome)).await;
            assert_ended(&world, outcome).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn additions_are_kept_one_by_one_until_the_end() {
    let (world, producer) = ongoing().await;
    let stored = |world: &World| noted::<TransactionParts>(&world.broker.broker().journal).len();
    assert_eq!(stored(&world), 2, "the first is in the record of the id");
    let world = world.restart().await;
    let described = world.transactions().describe("t").unwrap();
    assert_eq!(described.partitions.len(), 2);
    assert_eq!(described.groups.len(), 1);
    let commit = Outcome::Commit;
    let ended = world.transactions().end("t", producer, commit, Version::V2);
    let next = ended.await.unwrap();
    assert_ended(&world, commit).await;
    assert_eq!(stored(&world), 0);
    // The next transaction begins with nothing of it.
    let written = world.write("t", next, Version::V2, 1, (0, "b")).await;
    written.unwrap();
    let world = world.restart().await;
    let described = world.transactions().describe("t").unwrap();
    assert_eq!(described.partitions, BTreeSet::from([partition(1)]));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_ongoing_transaction_goes_on() {
    for outcome in [Outcome::Commit, Outcome::Abort] {
        let (world, producer) = ongoing().await;
        let world = world.restart().await;
        assert!(world.has_open_transactions());
        assert_eq!(world.offset("g", true), FetchedOffset::Unstable);
        let ended = world
            .transactions()
            .end("t", producer, outcome, Version::V2);
        ended.await.unwrap();
        assert_ended(&world, outcome).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_end_is_answered_again_after_a_restart_as_it_was_before() {
    let (world, producer) = ongoing().await;
    let end = |world: &World| {
        let transactions = world.transactions();
        transactions.end("t", producer, Outcome::Commit, Version::V2)
    };
    let next = end(&world).await.unwrap();
    world.settle().await;
    let world = world.restart().await;
    assert_eq!(end(&world).await, Ok(next));
    assert_ended(&world, Outcome::Commit).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_addition_that_was_lost_is_made_good_while_its_producer_may_go_on() {
    for begun_before in [true, false] {
        let (world, producer) = ongoing().await;
        let world = world
            .restart_with(|txn| {
                txn.partitions.remove(&partition(1));
                if !begun_before {
                    txn.partitions.clear();
                    txn.state = State::Empty;
                }
            })
            .await;
        let described = world.transactions().describe("t").unwrap();
        assert_eq!(described.state, State::Ongoing);
        assert_eq!(described.partitions.len(), 2);
        let again = world.write("t", producer, Version::V2, 1, (0, "a")).await;
        assert_eq!(again, Ok(Offset(0)), "sent again, found again");
        let ended = world
            .transactions()
            .end("t", producer, Outcome::Commit, Version::V2);
        ended.await.unwrap();
        world.settle().await;
        assert_eq!(world.committed(0), ["a"]);
        assert_eq!(world.committed(1), ["a"]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transaction_that_nobody_can_end_is_aborted() {
    let (world, _) = ongoing().await;
    let world = world
        .restart_with(|txn| {
            txn.partitions.clear();
            txn.groups.clear();
            txn.state = State::Empty;
            txn.epoch += 5;
        })
        .await;
    while world.has_open_transactions() {
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    assert_eq!(world.committed(0), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_group_whose_addition_was_lost_is_added_again() {
    for begun_before in [true, false] {
        let (world, producer) = ongoing().await;
        let world = world
            .restart_with(|txn| {
                txn.groups.clear();
                if !begun_before {
                    txn.partitions.clear();
                    txn.state = State::Empty;
                }
            })
            .await;
        let described = world.transactions().describe("t").unwrap();
        assert_eq!(described.groups, BTreeSet::from([GroupId::new("g")]));
        let ended = world
            .transactions()
            .end("t", producer, Outcome::Commit, Version::V2);
        ended.await.unwrap();
        assert_ended(&world, Outcome::Commit).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn offsets_of_an_earlier_transaction_are_removed() {
    let (world, _) = ongoing().await;
    let later = |txn: &mut Metadata| {
        txn.groups.clear();
        txn.partitions.clear();
        txn.state = State::Empty;
        txn.epoch += 5;
        txn.update_ms += 60_000;
    };
    let world = world.restart_with(later).await;
    let removed = async {
        while world.offset("g", true) == FetchedOffset::Unstable {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    let removed = tokio::time::timeout(Duration::from_secs(10), removed);
    removed.await.expect("they are removed");
    assert_ended(&world, Outcome::Abort).await;
    assert_eq!(
        world.transactions().describe("t").unwrap().state,
        State::Empty
    );
    let world = world.restart().await;
    assert_ended(&world, Outcome::Abort).await;
}

/// A stop ends the groups while the last markers are being written.
#[tokio::test(flavor = "multi_thread")]
async fn an_end_that_meets_closed_groups_waits_for_the_next_start() {
    let (world, producer) = ongoing().await;
    world.broker.broker().groups.shutdown().await;
    let ended = world
        .transactions()
        .end("t", producer, Outcome::Commit, Version::V2);
    ended.await.unwrap();
    let described = world.transactions().describe("t").unwrap();
    assert_eq!(described.state, State::PrepareCommit);
    let world = world.restart().await;
    assert_ended(&world, Outcome::Commit).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_start_drives_only_what_is_prepared() {
    let (world, _) = ongoing().await;
    let world = world.restart().await;
    let drivers = world.transactions().ids.services().completions.lock().len();
    assert_eq!(drivers, 0);
    let world = world.restart_with(|txn| prepare(txn, Outcome::Abort)).await;
    let drivers = world.transactions().ids.services().completions.lock().len();
    assert_eq!(drivers, 1);
    assert_ended(&world, Outcome::Abort).await;
}
