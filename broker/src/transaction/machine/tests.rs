//! One transactional id, decision by decision. Follows Kafka's `TransactionMetadataTest` and the
//! tables of `TransactionCoordinatorTest`.

use carrick_protocol::ids::TopicName;

use super::*;

const NEVER: Option<ProducerId> = None;

fn partition(number: i32) -> TopicPartition {
    TopicPartition::new(TopicName::new("t").unwrap(), number)
}

fn producer(id: i64, epoch: i16) -> Producer {
    Producer {
        id: ProducerId(id),
        epoch,
    }
}

/// Producer 7, initialized: epoch 0.
fn initialized() -> Transaction {
    let mut txn = Transaction::new(Metadata::new(ProducerId(7), 1_000, 0));
    init(&mut txn, None).unwrap();
    txn
}

fn settle(txn: &mut Transaction, next: Metadata) {
    txn.begin(next);
    txn.stored(true);
}

fn init(txn: &mut Transaction, expected: Option<Producer>) -> Result<Producer, TxnError> {
    match txn.plan_init(1_000, expected, Some(ProducerId(8)), 1)? {
        Init::Ready(next) => {
            let producer = next.producer();
            settle(txn, next);
            Ok(producer)
        }
        Init::Fence(next) => {
            settle(txn, next);
            Err(TxnError::Concurrent)
        }
    }
}

fn add(txn: &mut Transaction, who: Producer, version: Version) -> Result<(), TxnError> {
    if let Some(next) = txn.plan_add(who, &[partition(0)], &[], version, 5)? {
        txn.advance(next);
    }
    Ok(())
}

fn end(
    txn: &mut Transaction,
    who: Producer,
    outcome: Outcome,
    version: Version,
) -> Result<End, TxnError> {
    let ended = txn.plan_end(who, outcome, version, Some(ProducerId(9)), 6)?;
    if let End::Prepare(next) = &ended {
        settle(txn, next.clone());
    }
    Ok(ended)
}

fn complete(txn: &mut Transaction) {
    let next = txn.plan_complete(7).unwrap();
    settle(txn, next);
}

#[test]
fn each_initialization_raises_the_epoch_and_fences_the_one_before() {
    let mut txn = initialized();
    assert_eq!(txn.metadata().producer(), producer(7, 0));
    assert_eq!(init(&mut txn, None), Ok(producer(7, 1)));
    assert_eq!(
        add(&mut txn, producer(7, 0), Version::V1),
        Err(TxnError::Fenced)
    );
    assert_eq!(
        add(&mut txn, producer(6, 1), Version::V1),
        Err(TxnError::NotMapped)
    );
    assert_eq!(add(&mut txn, producer(7, 1), Version::V1), Ok(()));
}

#[test]
fn a_producer_that_goes_on_after_an_error_is_known_when_it_asks_again() {
    let mut txn = initialized();
    assert_eq!(init(&mut txn, Some(producer(7, 0))), Ok(producer(7, 1)));
    assert_eq!(
        init(&mut txn, Some(producer(7, 0))),
        Ok(producer(7, 1)),
        "asks again"
    );
    assert_eq!(init(&mut txn, Some(producer(7, 1))), Ok(producer(7, 2)));
    assert_eq!(init(&mut txn, Some(producer(7, 0))), Err(TxnError::Fenced));
    assert_eq!(init(&mut txn, Some(producer(6, 2))), Err(TxnError::Fenced));
    assert_eq!(init(&mut txn, None), Ok(producer(7, 3)), "a new instance");
    assert_eq!(init(&mut txn, Some(producer(7, 2))), Err(TxnError::Fenced));
}

#[test]
fn epochs_that_run_out_bring_a_new_producer_id() {
    let mut txn = initialized();
    let mut metadata = txn.metadata().clone();
    metadata.epoch = i16::MAX - 2;
    settle(&mut txn, metadata);
    assert_eq!(init(&mut txn, None), Ok(producer(7, i16::MAX - 1)));
    assert_eq!(
        txn.plan_init(1_000, None, NEVER, 1),
        Err(TxnError::NoProducerId)
    );
    let last = producer(7, i16::MAX - 1);
    assert_eq!(init(&mut txn, Some(last)), Ok(producer(8, 0)));
    assert_eq!(init(&mut txn, Some(last)), Ok(producer(8, 0)), "asks again");
    assert_eq!(init(&mut txn, None), Ok(producer(8, 1)));
}

#[test]
fn an_initialization_in_a_transaction_aborts_it_with_a_higher_epoch_first() {
    let mut txn = initialized();
    add(&mut txn, producer(7, 0), Version::V1).unwrap();
    assert_eq!(init(&mut txn, None), Err(TxnError::Concurrent));
    assert_eq!(txn.metadata().state, State::PrepareAbort);
    assert_eq!(txn.metadata().epoch, 1, "markers fence the producer");
    assert_eq!(init(&mut txn, None), Err(TxnError::Concurrent));
    complete(&mut txn);
    assert_eq!(init(&mut txn, None), Ok(producer(7, 2)));
    assert_eq!(
        end(&mut txn, producer(7, 0), Outcome::Commit, Version::V1),
        Err(TxnError::Fenced)
    );
}

#[test]
fn the_first_version_keeps_the_epoch_and_knows_a_repeated_end_by_its_outcome() {
    for (outcome, other) in [
        (Outcome::Commit, Outcome::Abort),
        (Outcome::Abort, Outcome::Commit),
    ] {
        let (mut txn, who) = (initialized(), producer(7, 0));
        let version = Version::V1;
        let refused = Err(TxnError::InvalidState);
        assert_eq!(
            end(&mut txn, who, outcome, version),
            refused,
            "nothing to end"
        );
        add(&mut txn, who, version).unwrap();
        end(&mut txn, who, outcome, version).unwrap();
        assert_eq!(
            end(&mut txn, who, outcome, version),
            Err(TxnError::Concurrent)
        );
        assert_eq!(end(&mut txn, who, other, version), refused);
        assert_eq!(add(&mut txn, who, version), Err(TxnError::Concurrent));
        complete(&mut txn);
        assert_eq!(end(&mut txn, who, outcome, version), Ok(End::Already(who)));
        assert_eq!(end(&mut txn, who, other, version), refused);
        assert_eq!(txn.metadata().epoch, 0);
        assert!(txn.metadata().partitions.is_empty());
        assert_eq!(add(&mut txn, who, version), Ok(()), "the next one begins");
    }
}

/// The table above `endTransaction` in `TransactionCoordinator`.
#[test]
fn the_second_version_raises_the_epoch_with_every_end() {
    let (fenced, refused) = (Err(TxnError::Fenced), Err(TxnError::InvalidState));
    let version = Version::V2;
    let mut empty = initialized();
    init(&mut empty, None).unwrap();
    let (before, now) = (producer(7, 0), producer(7, 1));
    assert_eq!(
        end(&mut empty.clone(), before, Outcome::Abort, version),
        fenced
    );
    assert_eq!(
        end(&mut empty.clone(), before, Outcome::Commit, version),
        fenced
    );
    assert_eq!(
        end(&mut empty.clone(), now, Outcome::Commit, version),
        refused
    );
    end(&mut empty, now, Outcome::Abort, version).unwrap();
    complete(&mut empty);
    assert_eq!(empty.metadata().producer(), producer(7, 2));
    for (outcome, other) in [
        (Outcome::Commit, Outcome::Abort),
        (Outcome::Abort, Outcome::Commit),
    ] {
        let mut txn = initialized();
        add(&mut txn, before, version).unwrap();
        end(&mut txn, before, outcome, version).unwrap();
        // The markers are on their way. The next transaction's own end may be among these: its
        // producer has had its answer.
        for (who, outcome) in [
            (before, outcome),
            (before, other),
            (now, outcome),
            (now, other),
        ] {
            assert_eq!(
                end(&mut txn, who, outcome, version),
                Err(TxnError::Concurrent)
            );
        }
        complete(&mut txn);
        assert_eq!(
            end(&mut txn, before, outcome, version),
            Ok(End::Already(now))
        );
        assert_eq!(end(&mut txn, before, other, version), refused);
        assert_eq!(end(&mut txn, now, Outcome::Commit, version), refused);
        assert!(matches!(
            end(&mut txn, now, Outcome::Abort, version),
            Ok(End::Prepare(next)) if next.epoch == 2
        ));
    }
}

#[test]
fn an_end_at_the_last_epoch_goes_on_with_a_new_producer_id() {
    let mut txn = initialized();
    let mut metadata = txn.metadata().clone();
    metadata.epoch = i16::MAX - 1;
    settle(&mut txn, metadata);
    let last = producer(7, i16::MAX - 1);
    add(&mut txn, last, Version::V2).unwrap();
    assert_eq!(
        txn.plan_end(last, Outcome::Commit, Version::V2, NEVER, 6),
        Err(TxnError::NoProducerId)
    );
    end(&mut txn, last, Outcome::Commit, Version::V2).unwrap();
    assert_eq!(
        txn.metadata().producer(),
        producer(7, i16::MAX),
        "for the markers"
    );
    complete(&mut txn);
    assert_eq!(txn.metadata().producer(), producer(9, 0));
    assert_eq!(
        end(&mut txn, last, Outcome::Commit, Version::V2),
        Ok(End::Already(producer(9, 0)))
    );
}

#[test]
fn only_what_is_in_an_ongoing_transaction_may_be_written() {
    let (mut txn, who) = (initialized(), producer(7, 0));
    let outside = Err(TxnError::NotInTransaction);
    assert_eq!(txn.verify_partition(who, &partition(0)), outside);
    add(&mut txn, who, Version::V1).unwrap();
    assert_eq!(txn.verify_partition(who, &partition(0)), Ok(()));
    assert_eq!(txn.verify_partition(who, &partition(1)), outside);
    assert_eq!(txn.verify_group(who, &GroupId::new("g")), outside);
    let zombie = producer(7, -1);
    assert_eq!(
        txn.verify_partition(zombie, &partition(0)),
        Err(TxnError::Fenced)
    );
    let End::Prepare(next) = txn
        .plan_end(who, Outcome::Commit, Version::V1, NEVER, 6)
        .unwrap()
    else {
        panic!("it is ongoing")
    };
    txn.begin(next);
    assert_eq!(
        txn.verify_partition(who, &partition(0)),
        Err(TxnError::Concurrent),
        "its end is decided, if not durable"
    );
}

#[test]
fn a_change_that_is_not_durable_is_as_if_it_had_not_been_asked_for() {
    let (mut txn, who) = (initialized(), producer(7, 0));
    add(&mut txn, who, Version::V2).unwrap();
    let before = txn.metadata().clone();
    let End::Prepare(next) = txn
        .plan_end(who, Outcome::Commit, Version::V2, NEVER, 6)
        .unwrap()
    else {
        panic!("it is ongoing")
    };
    txn.begin(next);
    assert_eq!(init(&mut txn, None), Err(TxnError::Concurrent));
    txn.stored(false);
    assert_eq!(*txn.metadata(), before);
    assert!(end(&mut txn, who, Outcome::Abort, Version::V2).is_ok());
}

#[test]
fn time_is_over_only_for_ongoing_transactions_and_ids_expire_only_without_one() {
    let (mut txn, who) = (initialized(), producer(7, 0));
    assert!(!txn.has_timed_out(i64::MAX));
    assert!(txn.has_expired(101, 100) && !txn.has_expired(100, 100));
    add(&mut txn, who, Version::V2).unwrap();
    assert!(!txn.has_timed_out(1_005) && txn.has_timed_out(1_006));
    assert!(!txn.has_expired(i64::MAX, 1));
    let next = txn.plan_abort(NEVER, 1_006).unwrap();
    settle(&mut txn, next);
    assert_eq!(txn.metadata().outcome(), Some(Outcome::Abort));
    assert!(!txn.has_expired(i64::MAX, 1));
    complete(&mut txn);
    assert!(txn.has_expired(i64::MAX, 1));
    assert_eq!(add(&mut txn, who, Version::V2), Err(TxnError::Fenced));
}

#[test]
fn an_addition_is_no_larger_than_what_it_adds() {
    for count in [100, 1_000, 10_000] {
        let mut txn = initialized();
        let who = txn.metadata().producer();
        let mut stored = 0;
        for number in 0..count {
            let at = [partition(number), partition(number / 2)];
            let added = txn
                .plan_add(who, &at, &[], Version::V2, 5)
                .unwrap()
                .unwrap();
            stored += added.partitions.len();
            assert_eq!(added.begins, number == 0);
            txn.advance(added);
        }
        assert_eq!(stored, usize::try_from(count).unwrap());
        assert_eq!(txn.metadata().partitions.len(), stored);
        assert_eq!(txn.held_bytes(), txn.metadata().held_bytes());
        let again = txn.plan_add(who, &[partition(0)], &[], Version::V2, 6);
        assert_eq!(again, Ok(None));
    }
}
