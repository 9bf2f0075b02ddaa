//! What becomes checked batches, and what does not.

use super::*;

fn run(batches: &[&[u8]]) -> Bytes {
    batches.concat().into()
}

#[test]
fn a_run_is_checked_with_its_headers() {
    let batches = [batch(10, 3, 2), batch(20, 5, 1), batch(21, 4, 4)];
    let whole = run(&[&batches[0], &batches[1], &batches[2]]);
    let checked = CheckedBatches::check(&whole).unwrap();
    assert_eq!(checked.bytes(), &whole);
    let stored: Vec<_> = checked.iter().collect();
    let expected: Vec<_> = batches.iter().map(|batch| parsed(batch)).collect();
    assert_eq!(stored, expected);
    let (first, last) = (checked.first(), checked.last());
    assert_eq!(first.base_offset, Offset(10));
    assert_eq!(last.next_offset(), Offset(25));
    assert_eq!(last.leader_epoch, LeaderEpoch(4));
    let one = Bytes::from(batches[0].to_vec());
    assert_eq!(
        CheckedBatches::check(&one).unwrap().only(),
        parsed(&batches[0])
    );
}

#[test]
fn what_is_no_run_of_whole_batches_is_not_checked() {
    let good = batch(10, 3, 2);
    for bytes in [
        Bytes::new(),
        run(&[&good, b"cut"]),
        run(&[&good, &good[..good.len() - 1]]),
    ] {
        let found = CheckedBatches::check(&bytes);
        assert!(matches!(found, Err(BatchError::TooShort { .. })));
    }
    let mut old = good.to_vec();
    old[header::MAGIC_AT] = 1;
    assert_eq!(
        CheckedBatches::check(&old.into()),
        Err(BatchError::Magic(1))
    );
}

#[test]
fn a_run_that_goes_back_is_refused() {
    let back = run(&[&batch(10, 3, 2), &batch(11, 3, 1)]);
    assert_eq!(
        CheckedBatches::check(&back),
        Err(BatchError::NonMonotonic {
            expected: Offset(12),
            found: Offset(11)
        })
    );
}

#[test]
fn what_lies_before_the_damage_is_good() {
    let mut damaged = batch(3, 0, 2);
    *damaged.last_mut().unwrap() ^= 1;
    let (first, second, last) = (batch(0, 0, 2), batch(2, 0, 1), batch(5, 0, 1));
    let whole = run(&[&first, &second, &damaged, &last, b"cut"]);
    let parsed = ParsedBatches::parse(&whole);
    assert_eq!((parsed.headers().len(), parsed.error()), (4, None));
    let good = |numbers| {
        let verified = parsed.clone().verify(numbers);
        (
            verified.good.map(|good| good.bytes().to_vec()),
            verified.error,
        )
    };
    assert_eq!(good(0..2), (Some([&first[..], &second].concat()), None));
    let (before, error) = good(1..4);
    assert_eq!(before, Some(second.to_vec()));
    assert!(matches!(error, Some(BatchError::Crc { .. })));
    let (before, error) = good(2..4);
    assert_eq!(before, None);
    assert!(matches!(error, Some(BatchError::Crc { .. })));
    assert_eq!(good(3..4), (Some(last.to_vec()), None));
    assert_eq!(good(1..1), (None, None));
}

#[test]
fn another_largest_timestamp_keeps_a_batch_checked() {
    let sent = Bytes::from(batch(0, 0, 3).to_vec());
    let copy = sent.clone();
    let checked = CheckedBatches::check(&sent).unwrap();
    let changed = checked.with_max_timestamp(TimestampType::LogAppendTime, 77);
    assert_eq!(sent, copy, "what somebody else holds is copied");
    assert_eq!(changed.only(), parsed(changed.bytes()));
    changed.only().verify_crc().unwrap();
    assert_eq!(changed.first().max_timestamp_ms, 77);
}
