//! Which bytes of a fetched run should be stored, and whether they may be.
//!
//! Pure: calls no port. Returns [`CheckedBatches`] whose leader epochs don't go down and are not
//! above the fetched one.

use std::ops::Range;

use bytes::Bytes;
use carrick_protocol::batch::{BatchError, BatchHeader, CheckedBatches, ParsedBatches, Verified};
use carrick_protocol::ids::{LeaderEpoch, Offset};

/// What the run is judged by.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Expected {
    /// Batches that end at or below it are stored already.
    pub(crate) next_offset: Offset,
    /// Epoch of the last stored batch.
    pub(crate) last_epoch: LeaderEpoch,
    /// The leader epoch in the request; `NONE` if it had none.
    pub(crate) fetched_epoch: LeaderEpoch,
}

/// What to do with a fetched run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Intake {
    Append(CheckedBatches),
    /// All of it is stored already.
    NothingNew,
    /// Not even the first batch is whole: ask for more bytes.
    Incomplete,
    /// Message format v0 or v1.
    OldFormat(i8),
    /// Damaged on the way or at the source: ask again.
    Corrupt {
        /// The batches before the damage, if there are any to be stored.
        good: Option<CheckedBatches>,
        /// The offset of the damaged batch, as far as it is known.
        at: Offset,
        error: BatchError,
    },
    /// A batch of a newer leader than the one that was asked (KAFKA-18723): ask the new one.
    EpochAbove(LeaderEpoch),
    /// A batch with an older leader epoch than the one before it.
    EpochBelow {
        at: Offset,
        epoch: LeaderEpoch,
        /// The one before it.
        last: LeaderEpoch,
    },
    /// A batch that begins below the end and extends above it.
    Straddles {
        base: Offset,
    },
}

/// Judges a fetched run. One pass over the headers, one over the bytes to be stored for their CRC.
pub(crate) fn judge(records: &Bytes, expected: Expected) -> Intake {
    let parsed = ParsedBatches::parse(records);
    let mut run = Run::new(expected);
    for header in parsed.headers() {
        if let Some(refused) = run.take(header) {
            return refused;
        }
    }
    let broken = parsed.error().cloned();
    if let Some(BatchError::Magic(magic @ (0 | 1))) = broken {
        return Intake::OldFormat(magic);
    }
    let Verified { good, error } = parsed.verify(run.taken.clone());
    match (broken, error) {
        (Some(error), damage) => Intake::Corrupt {
            good: good.filter(|_| damage.is_none()),
            at: run.next_offset,
            error,
        },
        (None, Some(error)) => Intake::Corrupt {
            at: good.as_ref().map_or(expected.next_offset, end_of),
            good,
            error,
        },
        (None, None) => match good {
            Some(batches) => Intake::Append(batches),
            None if run.taken.start > 0 => Intake::NothingNew,
            None => Intake::Incomplete,
        },
    }
}

/// The offset after the last.
fn end_of(batches: &CheckedBatches) -> Offset {
    batches.last().next_offset()
}

/// The batches taken so far, by their headers.
struct Run {
    expected: Expected,
    /// The numbers of the batches to be stored; those before are stored already.
    taken: Range<usize>,
    next_offset: Offset,
    last_epoch: LeaderEpoch,
}

impl Run {
    fn new(expected: Expected) -> Self {
        Self {
            expected,
            taken: 0..0,
            next_offset: expected.next_offset,
            last_epoch: expected.last_epoch,
        }
    }

    /// Takes or skips the next batch; an answer means that it can't be taken.
    fn take(&mut self, header: &BatchHeader) -> Option<Intake> {
        if self.taken.is_empty() {
            if header.next_offset() <= self.expected.next_offset {
                self.taken = self.taken.end + 1..self.taken.end + 1;
                return None;
            }
            if header.base_offset < self.expected.next_offset {
                return Some(Intake::Straddles {
                    base: header.base_offset,
                });
            }
        }
        let epoch = header.leader_epoch;
        let fetched_epoch = self.expected.fetched_epoch;
        if fetched_epoch != LeaderEpoch::NONE && epoch > fetched_epoch {
            return Some(Intake::EpochAbove(epoch));
        }
        if epoch < self.last_epoch {
            let (at, last) = (header.base_offset, self.last_epoch);
            return Some(Intake::EpochBelow { at, epoch, last });
        }
        self.taken.end += 1;
        self.next_offset = header.next_offset();
        self.last_epoch = epoch;
        None
    }
}
