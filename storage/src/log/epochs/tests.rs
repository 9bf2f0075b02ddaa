//! The epoch history against a naive list of (offset, epoch) per batch, and its file.

use super::*;
use proptest::prelude::*;

fn history(entries: &[(i32, i64)]) -> EpochHistory {
    let mut history = EpochHistory::default();
    for &(epoch, start) in entries {
        history.assign(LeaderEpoch(epoch), Offset(start));
    }
    history
}

fn pairs(history: &EpochHistory) -> Vec<(i32, i64)> {
    history
        .entries()
        .iter()
        .map(|entry| (entry.epoch.0, entry.start.0))
        .collect()
}

#[test]
fn only_a_new_epoch_is_noted() {
    let mut epochs = EpochHistory::default();
    assert!(epochs.assign(LeaderEpoch(2), Offset(0)));
    assert!(!epochs.assign(LeaderEpoch(2), Offset(5)));
    assert!(epochs.assign(LeaderEpoch(4), Offset(9)));
    assert!(!epochs.assign(LeaderEpoch::NONE, Offset(10)));
    assert_eq!(pairs(&epochs), [(2, 0), (4, 9)]);
    assert_eq!(epochs.latest(), Some(LeaderEpoch(4)));
}

#[test]
fn entries_that_contradict_a_new_one_go() {
    assert_eq!(pairs(&history(&[(1, 0), (2, 5), (3, 5)])), [(1, 0), (3, 5)]);
    assert_eq!(
        pairs(&history(&[(1, 0), (2, 5), (4, 9), (3, 12)])),
        [(1, 0), (2, 5), (3, 12)]
    );
    assert_eq!(pairs(&history(&[(1, 0), (2, 5), (2, 3)])), [(1, 0), (2, 3)]);
    assert_eq!(pairs(&history(&[(1, 4), (2, 5), (0, 0)])), [(0, 0)]);
}

#[test]
fn end_offsets_are_those_of_the_next_known_epoch() {
    let epochs = history(&[(2, 10), (4, 20), (7, 30)]);
    let end = |epoch| {
        epochs
            .end_offset_for(LeaderEpoch(epoch), Offset(40))
            .map(|(epoch, end)| (epoch.0, end.0))
    };
    assert_eq!(end(-1), None);
    assert_eq!(end(1), Some((1, 10)));
    assert_eq!(end(2), Some((2, 20)));
    assert_eq!(end(3), Some((2, 20)));
    assert_eq!(end(6), Some((4, 30)));
    assert_eq!(end(7), Some((7, 40)));
    assert_eq!(end(8), None);
    assert_eq!(
        EpochHistory::default().end_offset_for(LeaderEpoch(0), Offset(40)),
        None
    );
}

#[test]
fn truncating_from_the_start_keeps_the_epoch_of_the_first_batch() {
    for (start, expected) in [
        (5, vec![(2, 10), (4, 20), (7, 30)]),
        (10, vec![(2, 10), (4, 20), (7, 30)]),
        (15, vec![(2, 15), (4, 20), (7, 30)]),
        (20, vec![(4, 20), (7, 30)]),
        (99, vec![(7, 99)]),
    ] {
        let mut epochs = history(&[(2, 10), (4, 20), (7, 30)]);
        let changed = epochs.truncate_from_start(Offset(start));
        assert_eq!(changed, start > 10, "{start}");
        assert_eq!(pairs(&epochs), expected, "{start}");
    }
    assert!(!EpochHistory::default().truncate_from_start(Offset(3)));
}

#[test]
fn truncating_from_the_end_drops_epochs_without_batches() {
    let mut epochs = history(&[(2, 10), (4, 20), (7, 30)]);
    assert!(!epochs.truncate_from_end(Offset(31)));
    assert!(epochs.truncate_from_end(Offset(30)));
    assert_eq!(pairs(&epochs), [(2, 10), (4, 20)]);
    assert!(epochs.truncate_from_end(Offset(5)));
    assert_eq!(epochs.latest(), None);
    assert!(!epochs.clear());
}

#[test]
fn a_clone_does_not_see_later_changes() {
    let mut epochs = history(&[(1, 0)]);
    let before = epochs.clone();
    epochs.assign(LeaderEpoch(2), Offset(3));
    assert_eq!(pairs(&before), [(1, 0)]);
    assert!(epochs.clear());
    assert_eq!(pairs(&before), [(1, 0)]);
}

#[test]
fn the_file_is_kafkas_and_reads_back() {
    let dir = tempfile::tempdir().unwrap();
    assert_eq!(
        EpochHistory::load(dir.path()).unwrap(),
        EpochHistory::default()
    );
    let epochs = history(&[(3, 0), (5, 120)]);
    epochs.save(dir.path()).unwrap();
    let text = fs::read_to_string(dir.path().join("leader-epoch-checkpoint")).unwrap();
    assert_eq!(text, "0\n2\n3 0\n5 120\n");
    assert_eq!(EpochHistory::load(dir.path()).unwrap(), epochs);
}

#[test]
fn damaged_files_are_errors() {
    for text in [
        "",
        "1\n0\n",
        "0\n",
        "0\n-1\n",
        "0\n1\n",
        "0\n1\n3 0\n5 120\n",
        "0\n2\n5 0\n3 120\n",
        "0\n2\n3 120\n5 120\n",
        "0\n1\n3\n",
        "0\n1\n-3 0\n",
        "0\n1\n3 x\n",
        "0\n99999999999999999999\n",
    ] {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join(FILE_NAME), text).unwrap();
        let error = EpochHistory::load(dir.path()).unwrap_err();
        assert!(
            matches!(error, LogError::Corrupt { .. }),
            "{text:?}: {error}"
        );
    }
}

#[derive(Clone, Copy, Debug)]
enum Step {
    Append { epoch_step: i32, records: i64 },
    CutEnd(i64),
    CutStart(i64),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        4 => (0..3, 1..5_i64)
            .prop_map(|(epoch_step, records)| Step::Append { epoch_step, records }),
        1 => (0..12_i64).prop_map(Step::CutEnd),
        1 => (0..12_i64).prop_map(Step::CutStart),
    ];
    proptest::collection::vec(step, 0..40)
}

/// The naive list: the epoch of each offset from `start` on.
struct Naive {
    start: i64,
    epochs: Vec<i32>,
    newest: i32,
}

impl Naive {
    fn end(&self) -> i64 {
        self.start + self.epochs.len() as i64
    }

    fn end_offset_for(&self, epoch: i32) -> Option<(i32, i64)> {
        let at = |index: usize| self.start + index as i64;
        if self.epochs.last() == Some(&epoch) {
            return Some((epoch, self.end()));
        }
        let above = self.epochs.iter().position(|&other| other > epoch)?;
        let found = if above == 0 {
            epoch
        } else {
            self.epochs[above - 1]
        };
        Some((found, at(above)))
    }
}

proptest! {
    #[test]
    fn answers_are_those_of_a_list_of_all_offsets(steps in steps()) {
        let mut naive = Naive { start: 0, epochs: Vec::new(), newest: 0 };
        let mut epochs = EpochHistory::default();
        for step in steps {
            match step {
                Step::Append { epoch_step, records } => {
                    naive.newest += epoch_step;
                    epochs.assign(LeaderEpoch(naive.newest), Offset(naive.end()));
                    naive.epochs.extend((0..records).map(|_| naive.newest));
                }
                Step::CutEnd(by) => {
                    let end = (naive.end() - by).max(naive.start);
                    naive.epochs.truncate((end - naive.start) as usize);
                    epochs.truncate_from_end(Offset(end));
                }
                // An empty log keeps the epoch it had, which the naive list can't express.
                Step::CutStart(by) => {
                    let by = by.min(naive.epochs.len() as i64 - 1).max(0);
                    naive.epochs.drain(..by as usize);
                    naive.start += by;
                    epochs.truncate_from_start(Offset(naive.start));
                }
            }
            for epoch in 0..naive.newest + 2 {
                let found = epochs.end_offset_for(LeaderEpoch(epoch), Offset(naive.end()));
                let found = found.map(|(epoch, end)| (epoch.0, end.0));
                prop_assert_eq!(found, naive.end_offset_for(epoch), "epoch {}", epoch);
            }
            for (offset, epoch) in (naive.start..).zip(&naive.epochs) {
                prop_assert_eq!(epochs.epoch_at(Offset(offset)), Some(LeaderEpoch(*epoch)));
            }
        }
    }

    #[test]
    fn arbitrary_assignments_keep_both_columns_increasing_and_the_last_right(
        entries in proptest::collection::vec((-1..8_i32, -1..20_i64), 0..20),
    ) {
        let mut epochs = EpochHistory::default();
        for (epoch, start) in entries {
            let changed = epochs.assign(LeaderEpoch(epoch), Offset(start));
            let pairs = pairs(&epochs);
            prop_assert!(pairs.windows(2).all(|w| w[0].0 < w[1].0 && w[0].1 < w[1].1));
            if changed {
                prop_assert_eq!(pairs.last(), Some(&(epoch, start)));
            }
        }
    }

    #[test]
    fn arbitrary_files_never_panic(bytes: Vec<u8>, text in "[0-2 \n-]{0,30}") {
        let _ = parse(&bytes);
        let _ = parse(text.as_bytes());
    }
}
