//! The journal fails once, the producer tries again, and the broker dies.

use super::*;
use crate::group::{self, GroupError};
use crate::journal::memory::Disk;
use crate::records::transaction::Transactions;
use crate::records::transaction_part::TransactionParts;
use crate::testing::{config, noted};

/// Coordinators of their own beside a broker's, on a journal that can fail.
struct Failing {
    broker: TestBroker,
    disk: Arc<Disk>,
    journal: Journal,
    transactions: Arc<Coordinator>,
}

impl Failing {
    async fn start() -> Self {
        let broker = TestBroker::start(QUIET).await;
        broker.create(TOPIC, 2);
        let disk = Arc::<Disk>::default();
        let (journal, transactions) = open(&broker, &disk);
        Self {
            broker,
            disk,
            journal,
            transactions,
        }
    }

    /// What is in memory is gone.
    fn crash(&mut self) {
        (self.journal, self.transactions) = open(&self.broker, &self.disk);
    }

    async fn init(&self) -> Producer {
        let request = InitRequest {
            timeout_ms: 60_000,
            expected: None,
        };
        let id = TransactionalId::new("t");
        self.transactions.init(id, request).await.unwrap()
    }

    async fn add_group(&self, producer: Producer) -> Result<(), TxnError> {
        let groups = [GroupId::new("g")];
        let added = self
            .transactions
            .add("t", producer, &[], &groups, Version::V1);
        added.await
    }

    async fn commit_offset(&self, producer: Producer, version: Version) -> Result<(), GroupError> {
        let begun = self.transactions.commit_offsets(
            "t",
            producer,
            version,
            &GroupId::new("g"),
            commit_request(&self.broker, 7),
        );
        begun.unwrap().stored.unwrap().result().await
    }

    /// Whether the group is in the transaction on the disk.
    fn has_stored_the_group(&self) -> bool {
        let (_, mut stored) = noted::<Transactions>(&self.journal).remove(0);
        for (_, part) in noted::<TransactionParts>(&self.journal) {
            part.added.apply(&mut stored);
        }
        stored.state == State::Ongoing && stored.groups.contains(&GroupId::new("g"))
    }

    /// Commits the transaction; the group's offset.
    async fn end(&self, producer: Producer, version: Version) -> FetchedOffset {
        let commit = Outcome::Commit;
        let ended = self.transactions.end("t", producer, commit, version);
        ended.await.unwrap();
        let groups = &self.transactions.ids.services().groups;
        let wanted: &[(&str, &[i32])] = &[(TOPIC, &[0])];
        let fetched = groups.fetch_some(&GroupId::new("g"), wanted, true);
        fetched.unwrap().remove(0).remove(0)
    }
}

fn open(broker: &TestBroker, disk: &Arc<Disk>) -> (Journal, Arc<Coordinator>) {
    let journal = disk.journal();
    let (running, config) = (broker.broker(), config(broker.dir.path(), QUIET));
    let groups = group::Coordinator::start(
        config.groups,
        journal.clone(),
        running.topics.clone(),
        running.heavy.clone(),
    );
    let transactions = Coordinator::start(Parts {
        config: config.transactions,
        journal: journal.clone(),
        hosted: Arc::clone(&running.hosted),
        producer_ids: Arc::clone(&running.producer_ids),
        groups: groups.unwrap(),
    });
    (journal, transactions.unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_offset_commit_that_is_repeated_stores_the_group_that_the_first_did_not() {
    let mut world = Failing::start().await;
    let producer = world.init().await;
    world.disk.fail_next();
    let failed = world.commit_offset(producer, Version::V2).await;
    assert_eq!(failed, Err(GroupError::NotStored));
    world.commit_offset(producer, Version::V2).await.unwrap();
    assert!(world.has_stored_the_group());
    world.crash();
    let fetched = world.end(producer, Version::V2).await;
    assert_eq!(fetched.committed().map(|at| at.offset), Some(Offset(7)));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_addition_that_is_repeated_is_stored_before_it_is_answered() {
    let mut world = Failing::start().await;
    let producer = world.init().await;
    world.disk.fail_next();
    assert_eq!(world.add_group(producer).await, Err(TxnError::NotStored));
    world.add_group(producer).await.unwrap();
    assert!(world.has_stored_the_group());
    world.commit_offset(producer, Version::V1).await.unwrap();
    world.crash();
    let fetched = world.end(producer, Version::V1).await;
    assert_eq!(fetched.committed().map(|at| at.offset), Some(Offset(7)));
}

/// A producer that does not wait for the answer to its addition.
#[tokio::test(flavor = "multi_thread")]
async fn offsets_bring_along_an_addition_that_failed() {
    let world = Failing::start().await;
    let producer = world.init().await;
    world.disk.fail_next();
    assert_eq!(world.add_group(producer).await, Err(TxnError::NotStored));
    world.commit_offset(producer, Version::V1).await.unwrap();
    assert!(world.has_stored_the_group());
}
