//! Rules of idempotence and transactions, one by one and against a model that keeps everything.

mod coordinated;

use super::*;
use carrick_protocol::batch::{Attributes, MAGIC_V2};
use carrick_protocol::ids::LeaderEpoch;
use proptest::prelude::*;

const TRANSACTIONAL: i16 = 1 << 4;
const CONTROL: i16 = 1 << 5;

/// A batch of `records` records of producer `id` at `offset`; the offset is its time as well.
pub(super) fn batch(id: i64, epoch: i16, sequence: i32, offset: i64, records: i32) -> BatchHeader {
    BatchHeader {
        base_offset: Offset(offset),
        batch_length: 49,
        leader_epoch: LeaderEpoch(0),
        magic: MAGIC_V2,
        crc: 0,
        attributes: Attributes(0),
        last_offset_delta: records - 1,
        base_timestamp_ms: offset,
        max_timestamp_ms: offset,
        producer_id: ProducerId(id),
        producer_epoch: epoch,
        base_sequence: sequence,
        record_count: records,
    }
}

pub(super) fn transactional(mut header: BatchHeader) -> BatchHeader {
    header.attributes = Attributes(header.attributes.0 | TRANSACTIONAL);
    header
}

/// A marker batch and what it says.
pub(super) fn marker(
    kind: ControlKind,
    id: i64,
    epoch: i16,
    offset: i64,
) -> (BatchHeader, Option<ControlMarker>) {
    let mut header = transactional(batch(id, epoch, -1, offset, 1));
    header.attributes = Attributes(header.attributes.0 | CONTROL);
    (
        header,
        Some(ControlMarker {
            kind,
            coordinator_epoch: 7,
        }),
    )
}

fn with(batches: &[BatchHeader]) -> Producers {
    let mut producers = Producers::new();
    for header in batches {
        assert_eq!(producers.apply_in_time(header, None), None);
    }
    producers
}

fn out_of_order(found: i32, expected: i32) -> Result<Sequence, SequenceError> {
    Err(SequenceError::OutOfOrder {
        producer_id: ProducerId(1),
        found,
        expected,
    })
}

#[test]
fn batches_without_a_producer_are_new_and_leave_no_trace() {
    let mut producers = Producers::new();
    let header = batch(-1, -1, -1, 0, 3);
    assert_eq!(producers.check(&header), Ok(Sequence::New));
    assert_eq!(producers.apply_in_time(&header, None), None);
    assert!(producers.is_empty());
    assert_eq!(producers.max_producer_id(), ProducerId::NONE);
}

#[test]
fn an_unknown_producer_may_begin_anywhere_and_goes_on_from_there() {
    let first = batch(1, 0, 40, 0, 3);
    assert_eq!(Producers::new().check(&first), Ok(Sequence::New));
    let producers = with(&[first]);
    assert_eq!(producers.check(&batch(1, 0, 43, 3, 1)), Ok(Sequence::New));
    assert_eq!(
        producers.check(&batch(1, 0, 44, 3, 1)),
        out_of_order(44, 43)
    );
    assert_eq!(
        producers.check(&batch(1, 0, 41, 3, 1)),
        out_of_order(41, 43)
    );
    assert_eq!(
        producers.check(&batch(1, 0, -1, 3, 1)),
        out_of_order(-1, 43)
    );
}

#[test]
fn any_of_the_last_five_batches_is_recognised() {
    let sent: Vec<BatchHeader> = (0..6)
        .map(|i| batch(1, 0, i * 2, 100 + i as i64 * 2, 2))
        .collect();
    let producers = with(&sent);
    for known in &sent[1..] {
        let duplicate = Sequence::Duplicate {
            first_offset: known.base_offset,
            last_offset: known.last_offset(),
            timestamp_ms: known.max_timestamp_ms,
        };
        assert_eq!(
            producers.check(&batch(1, 0, known.base_sequence, 999, 2)),
            Ok(duplicate)
        );
    }
    let forgotten = producers.check(&batch(1, 0, 0, 999, 2));
    let error = SequenceError::DuplicateOutsideWindow {
        producer_id: ProducerId(1),
        last: 1,
        oldest: 2,
    };
    assert_eq!(forgotten, Err(error));
    assert_eq!(
        producers.check(&batch(1, 0, 10, 999, 1)),
        out_of_order(10, 12),
        "a part of one"
    );
}

#[test]
fn an_earlier_batch_is_missing_and_no_duplicate_while_fewer_than_five_are_known() {
    // The producer is unknown here; 95..100 failed, and 100.. came through: it is retried.
    let producers = with(&[batch(1, 0, 100, 0, 5), batch(1, 0, 105, 5, 5)]);
    assert_eq!(
        producers.check(&batch(1, 0, 95, 10, 5)),
        out_of_order(95, 110)
    );
}

#[test]
fn sequences_wrap_to_zero() {
    let producers = with(&[batch(1, 0, i32::MAX - 1, 0, 2)]);
    assert_eq!(producers.check(&batch(1, 0, 0, 2, 1)), Ok(Sequence::New));
    let producers = with(&[batch(1, 0, i32::MAX, 0, 3)]);
    assert_eq!(producers.get(ProducerId(1)).unwrap().last_sequence(), 1);
    assert_eq!(producers.check(&batch(1, 0, 2, 3, 1)), Ok(Sequence::New));
    assert!(matches!(
        producers.check(&batch(1, 0, i32::MAX, 9, 3)),
        Ok(Sequence::Duplicate {
            first_offset: Offset(0),
            ..
        })
    ));
}

#[test]
fn a_new_epoch_begins_at_zero_and_fences_the_old_one() {
    let mut producers = with(&[batch(1, 3, 0, 0, 2)]);
    assert_eq!(producers.check(&batch(1, 4, 2, 2, 1)), out_of_order(2, 0));
    let next = batch(1, 4, 0, 2, 1);
    assert_eq!(producers.check(&next), Ok(Sequence::New));
    producers.apply_in_time(&next, None);
    let fenced = SequenceError::Fenced {
        producer_id: ProducerId(1),
        found: 3,
        current: 4,
    };
    assert_eq!(
        producers.check(&batch(1, 3, 0, 3, 2)),
        Err(fenced),
        "its old batches, too"
    );
    assert_eq!(producers.check(&batch(1, 3, 2, 3, 1)), Err(fenced));
}

#[test]
fn a_marker_with_a_bumped_epoch_makes_the_producer_begin_at_zero() {
    let mut producers = with(&[transactional(batch(1, 3, 0, 0, 2))]);
    let (header, said) = marker(ControlKind::Commit, 1, 4, 2);
    assert_eq!(producers.check(&header), Ok(Sequence::New));
    assert_eq!(producers.apply_in_time(&header, said), None);
    assert_eq!(
        producers.check(&transactional(batch(1, 4, 0, 3, 1))),
        Ok(Sequence::New)
    );
    assert_eq!(
        producers.check(&transactional(batch(1, 4, 2, 3, 1))),
        out_of_order(2, 0)
    );
    let (late, _) = marker(ControlKind::Abort, 1, 3, 3);
    assert!(matches!(
        producers.check(&late),
        Err(SequenceError::Fenced { .. })
    ));
    assert_eq!(producers.get(ProducerId(1)).unwrap().coordinator_epoch, 7);
}

#[test]
fn a_marker_of_the_same_epoch_keeps_the_sequence() {
    let mut producers = with(&[transactional(batch(1, 3, 0, 0, 2))]);
    let (header, said) = marker(ControlKind::Commit, 1, 3, 2);
    producers.apply_in_time(&header, said);
    assert_eq!(
        producers.check(&transactional(batch(1, 3, 2, 3, 1))),
        Ok(Sequence::New)
    );
}

#[test]
fn a_plain_batch_inside_a_transaction_is_refused_from_clients_only() {
    let mut producers = with(&[transactional(batch(1, 0, 0, 5, 2))]);
    let plain = batch(1, 0, 2, 7, 1);
    let error = SequenceError::TransactionOpen {
        producer_id: ProducerId(1),
        first_offset: Offset(5),
    };
    assert_eq!(producers.check(&plain), Err(error));
    producers.apply_in_time(&plain, None);
    assert_eq!(producers.first_undecided(), Some(Offset(5)));
}

#[test]
fn replicated_batches_are_never_refused() {
    let mut producers = with(&[
        batch(1, 5, 10, 0, 1),
        batch(1, 5, 90, 1, 1),
        batch(1, 2, 7, 2, 1),
    ]);
    let entry = producers.get(ProducerId(1)).unwrap();
    assert_eq!((entry.producer_epoch, entry.last_sequence()), (2, 7));
    assert_eq!(entry.batches().len(), 1);
    let (header, said) = marker(ControlKind::Abort, 1, 1, 3);
    assert_eq!(
        producers.apply_in_time(&header, said),
        None,
        "nothing was open"
    );
}

#[test]
fn an_abort_yields_the_transaction_with_the_last_stable_offset() {
    let mut producers = with(&[
        transactional(batch(1, 0, 0, 10, 2)),
        transactional(batch(2, 0, 0, 12, 2)),
        transactional(batch(1, 0, 2, 14, 2)),
    ]);
    let (header, said) = marker(ControlKind::Abort, 2, 0, 16);
    let aborted = AbortedTxn {
        producer_id: ProducerId(2),
        first_offset: Offset(12),
        last_offset: Offset(16),
        last_stable: Offset(10),
    };
    assert_eq!(producers.apply_in_time(&header, said), Some(aborted));
    let (header, said) = marker(ControlKind::Abort, 1, 0, 17);
    assert_eq!(
        producers.apply_in_time(&header, said).unwrap().last_stable,
        Offset(18)
    );
    assert_eq!(
        producers.apply_in_time(&header, said),
        None,
        "the same marker again"
    );
}

#[test]
fn emptied_and_foreign_control_batches_change_nothing() {
    let mut producers = with(&[transactional(batch(1, 0, 0, 10, 2))]);
    let (header, _) = marker(ControlKind::Abort, 1, 0, 12);
    assert_eq!(producers.apply_in_time(&header, None), None);
    let (header, said) = marker(ControlKind::Other(9), 1, 0, 13);
    assert_eq!(producers.apply_in_time(&header, said), None);
    assert_eq!(producers.first_undecided(), Some(Offset(10)));
}

#[test]
fn an_ended_transaction_is_unstable_until_the_high_watermark_passes_its_marker() {
    let mut producers = with(&[transactional(batch(1, 0, 0, 10, 2))]);
    let (header, said) = marker(ControlKind::Commit, 1, 0, 12);
    producers.apply_in_time(&header, said);
    producers.apply_in_time(&transactional(batch(2, 0, 0, 13, 1)), None);
    assert_eq!(producers.first_undecided(), Some(Offset(13)));
    producers.high_watermark_moved(Offset(12));
    assert_eq!(producers.first_unstable(), Some(Offset(10)));
    producers.high_watermark_moved(Offset(13));
    assert_eq!(producers.first_unstable(), Some(Offset(13)));
}

#[test]
fn open_transactions_are_listed_oldest_first() {
    let mut producers = with(&[
        transactional(batch(9, 4, 0, 10, 2)),
        transactional(batch(2, 0, 0, 12, 2)),
        transactional(batch(9, 4, 2, 14, 2)),
    ]);
    let (header, said) = marker(ControlKind::Commit, 9, 5, 16);
    producers.apply_in_time(&header, said);
    producers.apply_in_time(&transactional(batch(9, 5, 0, 17, 1)), None);
    let open = |producer_id, producer_epoch, first_offset, coordinator_epoch| OpenTransaction {
        producer_id: ProducerId(producer_id),
        producer_epoch,
        first_offset: Offset(first_offset),
        coordinator_epoch,
    };
    assert_eq!(
        producers.open_transactions(),
        [open(2, 0, 12, -1), open(9, 5, 17, 7)]
    );
}

#[test]
fn idle_producers_expire_unless_a_transaction_is_open() {
    let mut producers = with(&[
        batch(1, 0, 0, 100, 1),
        transactional(batch(2, 0, 0, 100, 1)),
        batch(3, 0, 0, 200, 1),
        batch(4, 0, 0, i64::MIN, 1),
    ]);
    assert_eq!(producers.expire(199, 100), 1);
    assert_eq!(producers.expire(200, 100), 1);
    let mut left: Vec<i64> = producers
        .entries()
        .map(|entry| entry.producer_id.0)
        .collect();
    left.sort();
    assert_eq!(left, [2, 3]);
    assert_eq!(producers.max_producer_id(), ProducerId(4), "known for good");
    producers.clear();
    assert!(producers.is_empty() && producers.first_unstable().is_none());
    assert_eq!(producers.max_producer_id(), ProducerId(4));
}

/// What a producer or a coordinator tries next.
#[derive(Clone, Copy, Debug)]
pub(super) enum Step {
    /// A batch whose first sequence is off the expected one by `skew`.
    Data {
        id: i64,
        epoch: i16,
        skew: i32,
        records: i32,
        transactional: bool,
    },
    /// The batch that was sent `back` batches ago, again.
    Again {
        id: i64,
        back: usize,
    },
    Marker {
        id: i64,
        abort: bool,
        bump: bool,
    },
    HighWatermark {
        behind: i64,
    },
}

pub(super) fn steps() -> impl Strategy<Value = Vec<Step>> {
    let id = || 0..3_i64;
    let skew = prop_oneof![6 => Just(0), 1 => -12..12];
    let epoch = prop_oneof![8 => Just(0_i16), 1 => 0..3_i16];
    let step = prop_oneof![
        6 => (id(), epoch, skew, 1..4, any::<bool>()).prop_map(
            |(id, epoch, skew, records, transactional)| {
                Step::Data { id, epoch, skew, records, transactional }
            }
        ),
        2 => (id(), 0..8_usize).prop_map(|(id, back)| Step::Again { id, back }),
        2 => (id(), any::<bool>(), any::<bool>())
            .prop_map(|(id, abort, bump)| Step::Marker { id, abort, bump }),
        1 => (0..10_i64).prop_map(|behind| Step::HighWatermark { behind }),
    ];
    proptest::collection::vec(step, 0..80)
}

/// Everything that was ever appended, and questions answered by reading all of it.
#[derive(Default)]
struct Model {
    appended: Vec<(BatchHeader, Option<ControlMarker>)>,
    high_watermark: i64,
}

impl Model {
    fn end(&self) -> i64 {
        self.appended
            .last()
            .map_or(0, |(header, _)| header.next_offset().0)
    }

    fn of(&self, id: i64) -> Vec<&(BatchHeader, Option<ControlMarker>)> {
        self.appended
            .iter()
            .filter(|(header, _)| header.producer_id.0 == id)
            .collect()
    }

    fn epoch(&self, id: i64) -> Option<i16> {
        self.of(id).last().map(|(header, _)| header.producer_epoch)
    }

    /// Data batches since the epoch last changed, oldest first.
    fn current(&self, id: i64) -> Vec<BatchHeader> {
        let mut batches: Vec<BatchHeader> = Vec::new();
        let mut epoch = None;
        for (header, marker) in self.of(id) {
            if epoch != Some(header.producer_epoch) {
                batches.clear();
                epoch = Some(header.producer_epoch);
            }
            if marker.is_none() {
                batches.push(*header);
            }
        }
        batches
    }

    fn expected_sequence(&self, id: i64) -> i32 {
        self.current(id)
            .last()
            .map_or(0, |batch| match batch.last_sequence() {
                i32::MAX => 0,
                last => last + 1,
            })
    }

    /// (first offset, marker offset if ended, producer, aborted) of all transactions.
    fn transactions(&self) -> Vec<(i64, Option<i64>, i64, bool)> {
        let mut all: Vec<(i64, Option<i64>, i64, bool)> = Vec::new();
        for (header, marker) in &self.appended {
            let id = header.producer_id.0;
            let open = all.iter().position(|txn| txn.2 == id && txn.1.is_none());
            match (marker, open) {
                (Some(marker), Some(open)) => {
                    all[open].1 = Some(header.base_offset.0);
                    all[open].3 = marker.kind == ControlKind::Abort;
                }
                (None, None) if header.is_transactional() => {
                    all.push((header.base_offset.0, None, id, false));
                }
                _ => {}
            }
        }
        all
    }

    fn may_append(&self, header: &BatchHeader) -> bool {
        let id = header.producer_id.0;
        let Some(epoch) = self.epoch(id) else {
            return true;
        };
        let open = self
            .transactions()
            .iter()
            .any(|txn| txn.2 == id && txn.1.is_none());
        let due = if header.producer_epoch == epoch {
            self.expected_sequence(id)
        } else {
            0
        };
        header.producer_epoch >= epoch
            && header.base_sequence == due
            && (!open || header.is_transactional())
    }

    fn duplicate_of(&self, header: &BatchHeader) -> Option<BatchHeader> {
        let id = header.producer_id.0;
        let batches = self.current(id);
        let known = &batches[batches.len().saturating_sub(5)..];
        let same = |batch: &&BatchHeader| {
            batch.producer_epoch == header.producer_epoch
                && batch.base_sequence == header.base_sequence
                && batch.last_sequence() == header.last_sequence()
        };
        known.iter().find(same).cloned()
    }
}

/// Turns a step into a batch as its producer would send it now.
fn batch_for(model: &Model, step: Step) -> Option<(BatchHeader, Option<ControlMarker>)> {
    match step {
        Step::Data {
            id,
            epoch,
            skew,
            records,
            transactional: in_transaction,
        } => {
            let current = model.epoch(id).unwrap_or(0);
            // Producer 2 lives where sequences wrap.
            let start = if id == 2 && model.epoch(id).is_none() {
                i32::MAX - 5
            } else {
                0
            };
            let due = if epoch == 0 {
                model.expected_sequence(id).max(start)
            } else {
                0
            };
            let sequence = due.wrapping_add(skew) & i32::MAX;
            let header = batch(id, current + epoch, sequence, model.end(), records);
            Some((
                if in_transaction {
                    transactional(header)
                } else {
                    header
                },
                None,
            ))
        }
        Step::Again { id, back } => {
            let mut all = model
                .of(id)
                .into_iter()
                .rev()
                .filter(|(_, marker)| marker.is_none());
            let (mut again, _) = all.nth(back).cloned()?;
            again.base_offset = Offset(model.end());
            Some((again, None))
        }
        Step::Marker { id, abort, bump } => {
            let kind = if abort {
                ControlKind::Abort
            } else {
                ControlKind::Commit
            };
            let epoch = model.epoch(id).unwrap_or(0) + i16::from(bump);
            Some(marker(kind, id, epoch, model.end()))
        }
        Step::HighWatermark { .. } => None,
    }
}

proptest! {
    #[test]
    fn decisions_are_those_of_a_model_that_keeps_everything(steps in steps()) {
        let (mut producers, mut model) = (Producers::new(), Model::default());
        for step in steps {
            if let Step::HighWatermark { behind } = step {
                model.high_watermark = model.high_watermark.max(model.end() - behind);
                producers.high_watermark_moved(Offset(model.high_watermark));
            }
            let Some((header, marker)) = batch_for(&model, step) else { continue };
            let decision = producers.check(&header);
            if marker.is_none() {
                match model.duplicate_of(&header) {
                    Some(known) => prop_assert_eq!(decision, Ok(Sequence::Duplicate {
                        first_offset: known.base_offset,
                        last_offset: known.last_offset(),
                        timestamp_ms: known.max_timestamp_ms,
                    })),
                    None => {
                        let may = model.may_append(&header);
                        prop_assert_eq!(decision.is_ok(), may, "{:?} {:?}", header, decision);
                    }
                }
            }
            if decision != Ok(Sequence::New) {
                continue;
            }
            let before = model.transactions();
            let aborted = producers.apply_in_time(&header, marker);
            model.appended.push((header, marker));
            let after = model.transactions();
            let newly = after.iter().find(|txn| txn.3 && !before.contains(txn));
            let found = aborted.map(|txn| (txn.first_offset.0, Some(txn.last_offset.0)));
            prop_assert_eq!(found, newly.map(|txn| (txn.0, txn.1)));
            let open = || after.iter().filter(|txn| txn.1.is_none()).map(|txn| txn.0);
            if let Some(aborted) = aborted {
                let stable = open().min().unwrap_or(aborted.last_offset.0 + 1);
                prop_assert_eq!(aborted.last_stable, Offset(stable));
            }
            let listed = producers.open_transactions();
            let mut firsts: Vec<i64> = open().collect();
            firsts.sort();
            let found: Vec<i64> = listed.iter().map(|txn| txn.first_offset.0).collect();
            prop_assert_eq!(found, firsts);
            let unstable = after
                .iter()
                .filter(|txn| txn.1.is_none_or(|marker| marker >= model.high_watermark))
                .map(|txn| Offset(txn.0))
                .min();
            prop_assert_eq!(producers.first_unstable(), unstable);
        }
    }
}

#[test]
fn past_the_limit_the_longest_silent_producers_make_room() {
    let mut producers = Producers::new();
    producers.set_limit(16);
    producers.apply_in_time(&transactional(batch(1, 0, 0, 0, 1)), None);
    for id in 2..=17 {
        producers.apply_in_time(&batch(id, 0, 0, id, 1), None);
    }
    assert_eq!(producers.len(), 15, "two were forgotten for the last one");
    assert!(
        producers.get(ProducerId(1)).is_some(),
        "its transaction is open"
    );
    assert!(producers.get(ProducerId(2)).is_none() && producers.get(ProducerId(3)).is_none());
    assert!(producers.get(ProducerId(4)).is_some() && producers.get(ProducerId(17)).is_some());
    let back = producers.check(&batch(2, 0, 7, 18, 1));
    assert_eq!(back, Ok(Sequence::New), "it may begin with any sequence");
    assert_eq!(producers.max_producer_id(), ProducerId(17));
}

#[test]
fn producers_with_open_transactions_are_kept_past_the_limit() {
    let mut producers = Producers::new();
    producers.set_limit(2);
    for id in 1..=5 {
        producers.apply_in_time(&transactional(batch(id, 0, 0, id, 1)), None);
    }
    assert_eq!(producers.len(), 5);
    assert_eq!(producers.open_transactions().len(), 5);
}

#[test]
fn the_limit_holds_over_a_reload() {
    let dir = tempfile::tempdir().unwrap();
    let headers: Vec<BatchHeader> = (1..=20).map(|id| batch(id, 0, 0, id, 1)).collect();
    let many = with(&headers);
    many.write_snapshot(dir.path(), Offset(21)).unwrap();
    let mut limited = Producers::new();
    limited.set_limit(8);
    limited.reload(dir.path(), Offset(0), Offset(21)).unwrap();
    assert!(limited.len() <= 8, "{} are known", limited.len());
    limited.apply_in_time(&batch(30, 0, 0, 30, 1), None);
    assert!(limited.len() <= 8 && limited.get(ProducerId(30)).is_some());
}
