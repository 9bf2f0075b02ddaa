//! One producer: its epoch, its last batches, its open transaction (`ProducerStateEntry`).

use std::collections::VecDeque;

use carrick_protocol::batch::{BatchHeader, NO_PRODUCER_EPOCH, NO_SEQUENCE, NO_TIMESTAMP};
use carrick_protocol::ids::{Offset, ProducerId};

use super::SequenceError;

/// How many batches of a producer are known (`ProducerStateEntry.NUM_BATCHES_TO_RETAIN`): as many
/// as an idempotent producer may have in flight.
pub const BATCHES_KEPT: usize = 5;

/// How far back, in sequences, a batch may lie to count as from the past: half of the circle.
const PAST_SEQUENCES: i32 = 1 << 30;

/// A batch of which the log remembers where it went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeptBatch {
    /// Sequence of the first record.
    pub first_sequence: i32,
    /// Sequence of the last record.
    pub last_sequence: i32,
    /// Offset of the first record.
    pub first_offset: Offset,
    /// Offset of the last record.
    pub last_offset: Offset,
    /// Largest timestamp.
    pub timestamp_ms: i64,
}

/// The state of one producer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProducerEntry {
    pub producer_id: ProducerId,
    /// Epoch of its newest batch or marker.
    pub producer_epoch: i16,
    /// Epoch of the coordinator that wrote its newest marker; -1 if none did.
    pub coordinator_epoch: i32,
    /// Timestamp of its newest batch or marker.
    pub last_timestamp_ms: i64,
    /// When its newest batch or marker was appended here, or at the latest: it expires from then.
    pub appended_ms: i64,
    /// First offset of its open transaction.
    pub transaction_first_offset: Option<Offset>,
    /// Batches of the current epoch, oldest first, at most [`BATCHES_KEPT`].
    pub(super) batches: VecDeque<KeptBatch>,
}

impl ProducerEntry {
    pub(super) fn new(producer_id: ProducerId) -> Self {
        Self {
            producer_id,
            producer_epoch: NO_PRODUCER_EPOCH,
            coordinator_epoch: -1,
            last_timestamp_ms: NO_TIMESTAMP,
            appended_ms: NO_TIMESTAMP,
            transaction_first_offset: None,
            batches: VecDeque::new(),
        }
    }

    /// The batches known, oldest first.
    pub fn batches(&self) -> impl ExactSizeIterator<Item = &KeptBatch> {
        self.batches.iter()
    }

    /// Sequence of the newest record of this epoch; -1 if there is none.
    pub fn last_sequence(&self) -> i32 {
        self.batches
            .back()
            .map_or(NO_SEQUENCE, |batch| batch.last_sequence)
    }

    /// The sequence that may come next: after 2^31-1 comes 0, and a new epoch begins at 0.
    fn next_sequence(&self) -> i32 {
        self.last_sequence().checked_add(1).unwrap_or(0)
    }

    pub(super) fn find_duplicate(&self, header: &BatchHeader) -> Option<&KeptBatch> {
        if header.producer_epoch != self.producer_epoch {
            return None;
        }
        let (first, last) = (header.base_sequence, header.last_sequence());
        self.batches
            .iter()
            .find(|batch| batch.first_sequence == first && batch.last_sequence == last)
    }

    pub(super) fn check_epoch(&self, header: &BatchHeader) -> Result<(), SequenceError> {
        if header.producer_epoch >= self.producer_epoch {
            return Ok(());
        }
        Err(SequenceError::Fenced {
            producer_id: self.producer_id,
            found: header.producer_epoch,
            current: self.producer_epoch,
        })
    }

    pub(super) fn check_sequence(&self, header: &BatchHeader) -> Result<(), SequenceError> {
        let found = header.base_sequence;
        let producer_id = self.producer_id;
        if self.producer_epoch == NO_PRODUCER_EPOCH {
            return Ok(());
        }
        if header.producer_epoch != self.producer_epoch {
            return match found {
                0 => Ok(()),
                _ => Err(SequenceError::OutOfOrder {
                    producer_id,
                    found,
                    expected: 0,
                }),
            };
        }
        let expected = self.next_sequence();
        if found == expected {
            return Ok(());
        }
        match self.forgotten_before() {
            Some(oldest) if found >= 0 && is_past(header.last_sequence(), oldest) => {
                let last = header.last_sequence();
                Err(SequenceError::DuplicateOutsideWindow {
                    producer_id,
                    last,
                    oldest,
                })
            }
            _ => Err(SequenceError::OutOfOrder {
                producer_id,
                found,
                expected,
            }),
        }
    }

    /// First sequence of the oldest batch, if there were batches before it that are forgotten.
    fn forgotten_before(&self) -> Option<i32> {
        let oldest = self.batches.front()?;
        (self.batches.len() == BATCHES_KEPT).then_some(oldest.first_sequence)
    }

    pub(super) fn add_batch(&mut self, header: &BatchHeader, appended_ms: i64) {
        self.set_epoch(header.producer_epoch);
        if self.batches.len() == BATCHES_KEPT {
            self.batches.pop_front();
        }
        self.batches.push_back(KeptBatch {
            first_sequence: header.base_sequence,
            last_sequence: header.last_sequence(),
            first_offset: header.base_offset,
            last_offset: header.last_offset(),
            timestamp_ms: header.max_timestamp_ms,
        });
        self.last_timestamp_ms = header.max_timestamp_ms;
        self.appended_ms = appended_ms;
    }

    /// Applies a marker; returns the first offset of the transaction that it ended, if any.
    pub(super) fn end_transaction(
        &mut self,
        header: &BatchHeader,
        coordinator_epoch: i32,
        appended_ms: i64,
    ) -> Option<Offset> {
        self.set_epoch(header.producer_epoch);
        self.coordinator_epoch = coordinator_epoch;
        self.last_timestamp_ms = header.max_timestamp_ms;
        self.appended_ms = appended_ms;
        self.transaction_first_offset.take()
    }

    fn set_epoch(&mut self, epoch: i16) {
        if self.producer_epoch != epoch {
            self.batches.clear();
            self.producer_epoch = epoch;
        }
    }
}

/// Whether `sequence` lies before `reference` on the circle of 2^31 sequences.
fn is_past(sequence: i32, reference: i32) -> bool {
    let distance = reference.wrapping_sub(sequence) & i32::MAX;
    (1..=PAST_SEQUENCES).contains(&distance)
}
