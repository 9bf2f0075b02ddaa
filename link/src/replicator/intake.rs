//! Which bytes of a fetched run are to be stored, and whether they may be.
//!
//! Pure: no port is called. The bytes that come out have been checked batch by batch: whole, format
//! 2, CRC, offsets that only go up, leader epochs that don't go down and are not above the one that
//! was fetched with.

use bytes::Bytes;
use carrick_protocol::batch::{BatchError, BatchHeader, Batches, check_batches};
use carrick_protocol::ids::{LeaderEpoch, Offset};

/// What the run is judged by.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Expected {
    /// Batches that end at or below it are stored already.
    pub(crate) next_offset: Offset,
    /// Epoch of the last stored batch.
    pub(crate) last_epoch: LeaderEpoch,
    /// The leader epoch that the request was made with; `NONE` if it had none.
    pub(crate) fetched_epoch: LeaderEpoch,
}

/// Batches that may be appended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Accepted {
    /// The batches, a slice of what was fetched.
    pub(crate) bytes: Bytes,
    /// Base offset of the first.
    pub(crate) first_offset: Offset,
    /// The offset after the last.
    pub(crate) next_offset: Offset,
    /// Leader epoch of the last.
    pub(crate) last_epoch: LeaderEpoch,
    /// The largest timestamp in the last, milliseconds since the epoch.
    pub(crate) last_timestamp_ms: i64,
}

/// What to do with a fetched run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Intake {
    /// Append it.
    Append(Accepted),
    /// All of it is stored already.
    NothingNew,
    /// Not even the first batch is whole: ask for more bytes.
    Incomplete,
    /// Message format v0 or v1.
    OldFormat(i8),
    /// Damaged on the way or at the source: ask again.
    Corrupt {
        /// The batches before the damage, if there are any to be stored.
        good: Option<Accepted>,
        /// The offset at which the damaged batch is, as far as can be told.
        at: Offset,
        /// What is wrong.
        error: BatchError,
    },
    /// A batch of a newer leader than the one that was asked (KAFKA-18723): ask the new one.
    EpochAbove(LeaderEpoch),
    /// A batch with an older leader epoch than the one before it.
    EpochBelow {
        /// Where.
        at: Offset,
        /// The batch's.
        epoch: LeaderEpoch,
        /// The one before it.
        last: LeaderEpoch,
    },
    /// A batch that begins below the end and goes on above it.
    Straddles {
        /// Its base offset.
        base: Offset,
    },
}

/// Judges a fetched run. One pass over the headers, one over the bytes to be stored for their CRC.
pub(crate) fn judge(records: &Bytes, expected: Expected) -> Intake {
    let mut run = Run::new(expected);
    let mut batches = Batches::new(records);
    while let Some(batch) = batches.next() {
        let header = match batch {
            Ok(batch) => batch.header,
            Err(BatchError::Magic(magic @ (0 | 1))) => return Intake::OldFormat(magic),
            Err(error) => return run.corrupt(records, error),
        };
        if let Some(refused) = run.take(&header, batches.position()) {
            return refused;
        }
    }
    let Some(accepted) = run.accepted(records) else {
        return if run.skipped_bytes > 0 {
            Intake::NothingNew
        } else {
            Intake::Incomplete
        };
    };
    match check_batches(&accepted.bytes) {
        Ok(_) => Intake::Append(accepted),
        Err(_) => good_prefix(records, expected),
    }
}

/// The slow way, once damage is known of: batch by batch, up to the damaged one.
fn good_prefix(records: &Bytes, expected: Expected) -> Intake {
    let mut run = Run::new(expected);
    let mut batches = Batches::new(records);
    while let Some(batch) = batches.next() {
        let checked = batch.and_then(|batch| {
            let follows = batch.header.base_offset >= run.next_offset || run.first_offset.is_none();
            if !follows {
                return Err(BatchError::NonMonotonic {
                    expected: run.next_offset,
                    found: batch.header.base_offset,
                });
            }
            batch.verify_crc().map(|()| batch.header)
        });
        match checked {
            Ok(header) => {
                if let Some(refused) = run.take(&header, batches.position()) {
                    return refused;
                }
            }
            Err(error) => return run.corrupt(records, error),
        }
    }
    run.accepted(records)
        .map_or(Intake::NothingNew, Intake::Append)
}

/// The batches taken so far.
struct Run {
    expected: Expected,
    skipped_bytes: usize,
    taken_bytes: usize,
    first_offset: Option<Offset>,
    next_offset: Offset,
    last_epoch: LeaderEpoch,
    last_timestamp_ms: i64,
}

impl Run {
    fn new(expected: Expected) -> Self {
        Self {
            expected,
            skipped_bytes: 0,
            taken_bytes: 0,
            first_offset: None,
            next_offset: expected.next_offset,
            last_epoch: expected.last_epoch,
            last_timestamp_ms: -1,
        }
    }

    /// Takes or skips a batch that ends at `position`; an answer means that it can't be taken.
    fn take(&mut self, header: &BatchHeader, position: usize) -> Option<Intake> {
        if self.first_offset.is_none() {
            if header.next_offset() <= self.expected.next_offset {
                self.skipped_bytes = position;
                return None;
            }
            if header.base_offset < self.expected.next_offset {
                return Some(Intake::Straddles {
                    base: header.base_offset,
                });
            }
            self.first_offset = Some(header.base_offset);
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
        self.taken_bytes = position;
        self.next_offset = header.next_offset();
        self.last_epoch = epoch;
        self.last_timestamp_ms = header.max_timestamp_ms;
        None
    }

    fn accepted(&self, records: &Bytes) -> Option<Accepted> {
        let first_offset = self.first_offset?;
        Some(Accepted {
            bytes: records.slice(self.skipped_bytes..self.taken_bytes),
            first_offset,
            next_offset: self.next_offset,
            last_epoch: self.last_epoch,
            last_timestamp_ms: self.last_timestamp_ms,
        })
    }

    /// Damage after what was taken. What was taken by its headers only must be checked before it is
    /// believed.
    fn corrupt(&self, records: &Bytes, error: BatchError) -> Intake {
        let good = self
            .accepted(records)
            .filter(|accepted| check_batches(&accepted.bytes).is_ok());
        Intake::Corrupt {
            good,
            at: self.next_offset,
            error,
        }
    }
}

/// Where a fetched run ends, by its headers alone: the next offset and the last epoch, if its
/// batches look whole. The next request is made with it while the run itself is still to be judged.
pub(crate) fn predict(records: &[u8]) -> Option<(Offset, LeaderEpoch)> {
    let mut end = None;
    for batch in Batches::new(records) {
        let header = batch.ok()?.header;
        if end.is_some_and(|(next, _)| header.base_offset < next) {
            return None;
        }
        end = Some((header.next_offset(), header.leader_epoch));
    }
    end
}
