//! What bounds the memory of transactional ids.

use super::*;

async fn limited(limits: &[&str]) -> World {
    let broker = TestBroker::start(&[QUIET, limits].concat()).await;
    broker.create(TOPIC, 2);
    World { broker }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transactional_id_too_many_is_refused_and_those_there_go_on() {
    let world = limited(&["transaction.coordinator.max.ids=2"]).await;
    let first = world.init("first").await;
    world.init("second").await;
    assert_eq!(world.init_as("third", None).await, Err(TxnError::TooMany));
    let again = world.init("first").await;
    assert!(again.id == first.id && again.epoch > first.epoch);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_transactions_hold_is_counted_given_back_and_bounded() {
    let world = limited(&["transaction.coordinator.max.bytes=1048576"]).await;
    let producer = world.init("writer").await;
    let used = || world.transactions().ids.services().budget.used_bytes();
    let idle_bytes = used();
    let groups: Vec<GroupId> = (0..30)
        .map(|n| GroupId::new(format!("{n}{}", "g".repeat(30_000))))
        .collect();
    let add = |groups: &[GroupId]| {
        let transactions = world.transactions();
        transactions.add("writer", producer, &[], groups, Version::V1)
    };
    assert_eq!(add(&groups).await, Ok(()));
    assert!(used() > idle_bytes + 900_000);
    let more: Vec<GroupId> = (0..9)
        .map(|n| GroupId::new(format!("{n}{}", "h".repeat(30_000))))
        .collect();
    assert_eq!(add(&more).await, Err(TxnError::TooMany));
    assert_eq!(add(&groups).await, Ok(()), "they are in it already");
    let ended = world
        .transactions()
        .end("writer", producer, Outcome::Abort, Version::V1)
        .await;
    assert_eq!(ended, Ok(producer));
    world.settle().await;
    assert_eq!(used(), idle_bytes);
}
