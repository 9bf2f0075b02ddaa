//! The aborted transactions of one segment in memory, in order of their markers. The cost of a
//! look-up depends on what it finds, not on how many there are.
//!
//! While a transaction stays open for long, the ones that begin and end meanwhile have the same last
//! stable offset: a reader would visit all of them with every fetch. So the smallest first offset of
//! each run of [`RUN`] entries is kept, of each run of runs, and so on; a run that as a whole begins
//! too late is skipped.

use carrick_protocol::ids::{Offset, ProducerId};

/// An aborted transaction of one producer in one partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AbortedTxn {
    pub producer_id: ProducerId,
    /// First offset of the transaction.
    pub first_offset: Offset,
    /// Offset of its ABORT marker.
    pub last_offset: Offset,
    /// Where the oldest transaction of another producer that was still open began, or the offset
    /// after the marker: transactions that end later begin at or after it.
    pub last_stable: Offset,
}

/// Entries in a run, and runs in a run of the next level.
const RUN: usize = 32;
/// Levels of runs: the largest run has a million entries.
const LEVELS: usize = 4;

/// Entries, only ever added to.
#[derive(Debug, Default)]
pub(super) struct Aborted {
    entries: Vec<AbortedTxn>,
    /// The smallest first offset of each run, by level: runs of 32 entries first.
    firsts: [Vec<Offset>; LEVELS],
}

impl Aborted {
    pub(super) fn of(entries: impl IntoIterator<Item = AbortedTxn>) -> Self {
        let mut aborted = Self::default();
        for entry in entries {
            aborted.push(entry);
        }
        aborted
    }

    /// Adds an entry, whose marker comes after all the others'.
    pub(super) fn push(&mut self, entry: AbortedTxn) {
        let mut run = self.entries.len();
        for firsts in &mut self.firsts {
            run /= RUN;
            match firsts.get_mut(run) {
                Some(first) => *first = (*first).min(entry.first_offset),
                None => firsts.push(entry.first_offset),
            }
        }
        self.entries.push(entry);
    }

    pub(super) fn entries(&self) -> &[AbortedTxn] {
        &self.entries
    }

    /// Adds to `found` those of the first `len` entries that overlap `from..upto`; gives how many
    /// entries and runs it visited.
    pub(super) fn collect(
        &self,
        len: usize,
        from: Offset,
        upto: Offset,
        found: &mut Vec<AbortedTxn>,
    ) -> usize {
        let entries = &self.entries[..len];
        let mut at = entries.partition_point(|entry| entry.last_offset < from);
        let mut steps = 0;
        while let Some(entry) = entries.get(at) {
            steps += 1;
            at = match self.end_of_late_run(at, upto) {
                Some(end) => end,
                None => {
                    if entry.first_offset < upto {
                        found.push(*entry);
                    }
                    at + 1
                }
            };
        }
        steps
    }

    /// Where the largest run ends that begins with entry `at`, and whose transactions all begin at
    /// or after `upto`.
    fn end_of_late_run(&self, at: usize, upto: Offset) -> Option<usize> {
        let mut size = RUN;
        let mut end = None;
        for firsts in &self.firsts {
            let is_late = at.is_multiple_of(size) && firsts.get(at / size)? >= &upto;
            if !is_late {
                return end;
            }
            end = Some(at + size);
            size *= RUN;
        }
        end
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn aborted(first: i64, last: i64, stable: i64) -> AbortedTxn {
        AbortedTxn {
            producer_id: ProducerId(1),
            first_offset: Offset(first),
            last_offset: Offset(last),
            last_stable: Offset(stable),
        }
    }

    proptest! {
        #[test]
        fn a_look_up_finds_what_a_scan_finds(
            spans in prop::collection::vec(0..4_000_i64, 0..3_000),
            bounds in (0..3_500_i64, 0..500_i64),
            cut in 0..3_000_usize,
        ) {
            let entries = (0..).zip(&spans).map(|(last, span)| aborted((last - span).max(0), last, 0));
            let aborted = Aborted::of(entries);
            let len = aborted.entries().len().saturating_sub(cut);
            let (from, upto) = (Offset(bounds.0), Offset(bounds.0 + bounds.1));
            let mut found = Vec::new();
            aborted.collect(len, from, upto, &mut found);
            let overlaps = |it: &&AbortedTxn| it.last_offset >= from && it.first_offset < upto;
            let expected: Vec<_> = aborted.entries()[..len].iter().filter(overlaps).copied().collect();
            prop_assert_eq!(found, expected);
        }
    }

    #[test]
    fn a_look_up_costs_the_same_however_many_transactions_were_aborted() {
        for count in [1_000, 10_000, 100_000] {
            // Another transaction has been open since offset 0: no last stable offset ends a scan.
            let all = Aborted::of((0..count).map(|n| aborted(2 * n + 1, 2 * n + 2, 0)));
            for from in [1, count / 2, count, 2 * count - 40] {
                let mut found = Vec::new();
                let upto = Offset(from + 20);
                let steps = all.collect(all.entries().len(), Offset(from), upto, &mut found);
                assert!(found.len() <= 11, "{found:?}");
                let most = 11 + 2 * RUN * LEVELS;
                assert!(steps <= most, "{steps} steps among {count} from {from}");
            }
        }
    }
}
