//! What a transaction coordinator writes, and what producers promise that trust it (KIP-890). Follows
//! `ProducerStateManagerTest`.

use super::*;

fn fenced(found: i16, current: i16) -> Result<(), SequenceError> {
    Err(SequenceError::Fenced {
        producer_id: ProducerId(1),
        found,
        current,
    })
}

#[test]
fn a_producer_that_promised_to_begin_at_0_is_missed_when_it_does_not() {
    let refused = out_of_order(5, 0).map(|_| ());
    let mut producers = Producers::new();
    assert_eq!(producers.check_begin(&batch(1, 0, 5, 0, 1)), refused);
    assert_eq!(producers.check_begin(&batch(1, 0, 0, 0, 1)), Ok(()));
    producers.apply_in_time(&transactional(batch(1, 0, 0, 0, 1)), None);
    assert_eq!(
        producers.check_begin(&batch(1, 0, 5, 1, 1)),
        Ok(()),
        "it is known"
    );
    let (end, said) = marker(ControlKind::Commit, 1, 1, 1);
    producers.apply_in_time(&end, said);
    assert_eq!(
        producers.check_begin(&batch(1, 1, 5, 2, 1)),
        refused,
        "a new epoch"
    );
}

#[test]
fn a_marker_of_the_first_version_has_the_epoch_of_its_transaction_or_a_newer_one() {
    let producers = with(&[transactional(batch(1, 3, 0, 0, 1))]);
    let check = |epoch| producers.check_marker(ProducerId(1), epoch, 0, false);
    assert_eq!(check(2), fenced(2, 3));
    assert_eq!((check(3), check(4)), (Ok(()), Ok(())));
    assert_eq!(
        producers.check_marker(ProducerId(2), 0, 0, true),
        Ok(()),
        "unknown"
    );
}

#[test]
fn a_marker_of_the_second_version_ends_no_later_transaction() {
    let mut producers = with(&[transactional(batch(1, 3, 0, 0, 1))]);
    let id = ProducerId(1);
    assert_eq!(producers.check_marker(id, 3, 7, true), fenced(3, 3));
    assert_eq!(producers.check_marker(id, 4, 7, true), Ok(()));
    let (end, said) = marker(ControlKind::Abort, 1, 4, 1);
    producers.apply_in_time(&end, said);
    assert_eq!(producers.check_marker(id, 4, 7, true), Ok(()), "once more");
    producers.apply_in_time(&transactional(batch(1, 4, 0, 2, 1)), None);
    assert_eq!(
        producers.check_marker(id, 4, 7, true),
        fenced(4, 4),
        "the next has begun"
    );
}

#[test]
fn a_coordinator_that_was_replaced_ends_nothing() {
    let mut producers = Producers::new();
    let (end, said) = marker(ControlKind::Commit, 1, 0, 0);
    producers.apply_in_time(&end, said);
    let zombie = SequenceError::CoordinatorFenced {
        producer_id: ProducerId(1),
        found: 6,
        current: 7,
    };
    assert_eq!(
        producers.check_marker(ProducerId(1), 1, 6, false),
        Err(zombie)
    );
    assert_eq!(producers.check_marker(ProducerId(1), 1, 7, false), Ok(()));
}
