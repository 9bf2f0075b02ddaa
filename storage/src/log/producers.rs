//! The state of the idempotent and transactional producers that wrote to a log
//! (`ProducerStateManager`, `ProducerAppendInfo`, `ProducerStateEntry`; KIP-98, KIP-360).
//!
//! There are two ways in, as for the log: a client's batch is first [checked](Producers::check),
//! then [applied](Producers::apply). A batch that is stored as it is, or read back from the log, is
//! only applied, and never refused, whatever it contains: it is already part of the log.
//!
//! Invariants:
//! - The last five batches of each producer **in its current epoch** are known; applying a batch or
//!   marker of another epoch forgets them.
//! - `open` holds exactly the first offsets of the entries' open transactions.
//! - A producer with an open transaction never expires, nor is it removed to make room for another.
//! - A producer's silence begins when its last batch was appended here, whatever that batch's
//!   timestamp: replaying old records is not silence.
//! - The largest producer id ever applied is kept for good: through expiry, truncation, snapshots.
//!
//! None of these is asserted: whatever the log holds is applied, and it may be damaged. Tests
//! compare with a model and with a replay.
//!
//! Whether a batch belongs to a transaction that its coordinator knows (KIP-890) is decided by the
//! caller that appends it.

mod entry;
mod snapshot;

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};

use carrick_protocol::batch::{BatchHeader, ControlKind, ControlMarker};
use carrick_protocol::ids::{Offset, ProducerId};
pub use entry::{KeptBatch, ProducerEntry};
pub(crate) use snapshot::{delete_snapshots_outside, remove_stray_snapshots};

use super::LogError;
use super::aborted::AbortedTxn;

/// How a client's batch relates to what its producer wrote before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sequence {
    /// To be appended.
    New,
    /// Appended before: answer as if it were appended now, with the offsets it got then.
    Duplicate {
        /// Offset of its first record.
        first_offset: Offset,
        /// Offset of its last record.
        last_offset: Offset,
        /// Its largest timestamp.
        timestamp_ms: i64,
    },
}

/// Why a client's batch must not be appended.
///
/// There is no "unknown producer" any more: since Kafka 2.5 a producer that the log doesn't know
/// may begin with any sequence.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SequenceError {
    /// Records before it are missing (OUT_OF_ORDER_SEQUENCE_NUMBER).
    #[error("producer {producer_id} sent sequence {found} instead of {expected}")]
    OutOfOrder {
        producer_id: ProducerId,
        /// The batch's first sequence.
        found: i32,
        /// The sequence that may come next.
        expected: i32,
    },
    /// A newer instance of the producer has written (INVALID_PRODUCER_EPOCH).
    #[error("epoch {found} of producer {producer_id} is older than {current}")]
    Fenced {
        producer_id: ProducerId,
        /// The batch's epoch.
        found: i16,
        /// The newest epoch seen.
        current: i16,
    },
    /// A newer coordinator has written a marker (TRANSACTION_COORDINATOR_FENCED).
    #[error("coordinator epoch {found} for producer {producer_id} is older than {current}")]
    CoordinatorFenced {
        producer_id: ProducerId,
        /// The marker's coordinator epoch.
        found: i32,
        /// The newest one seen.
        current: i32,
    },
    /// Appended before, but so long ago that its offset is forgotten (DUPLICATE_SEQUENCE_NUMBER).
    #[error(
        "producer {producer_id} sent sequences up to {last} again, but those before {oldest} are \
         no longer known"
    )]
    DuplicateOutsideWindow {
        producer_id: ProducerId,
        /// The batch's last sequence.
        last: i32,
        /// First sequence of the oldest batch still known.
        oldest: i32,
    },
    /// A batch outside of the transaction that its producer has open (INVALID_TXN_STATE).
    #[error("producer {producer_id} has a transaction open since offset {first_offset}")]
    TransactionOpen {
        producer_id: ProducerId,
        /// First offset of the transaction.
        first_offset: Offset,
    },
}

/// A transaction that has neither a COMMIT nor an ABORT marker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OpenTransaction {
    pub producer_id: ProducerId,
    /// Its newest epoch.
    pub producer_epoch: i16,
    /// First offset of the transaction.
    pub first_offset: Offset,
    /// Epoch of the coordinator that wrote the producer's last marker; -1 if none did.
    pub coordinator_epoch: i32,
}

/// The producers of one log.
#[derive(Clone, Debug)]
pub struct Producers {
    entries: HashMap<ProducerId, ProducerEntry>,
    /// Open transactions by first offset.
    open: BTreeMap<Offset, ProducerId>,
    /// Ended transactions whose marker may lie above the high watermark: first offset → marker.
    ended: BTreeMap<Offset, Offset>,
    max_producer_id: ProducerId,
    /// How many entries there may be.
    limit: usize,
}

impl Default for Producers {
    fn default() -> Self {
        Self {
            entries: HashMap::new(),
            open: BTreeMap::new(),
            ended: BTreeMap::new(),
            max_producer_id: ProducerId::NONE,
            limit: usize::MAX,
        }
    }
}

impl Producers {
    /// No producers: the state of an empty log.
    pub fn new() -> Self {
        Self::default()
    }

    /// Decides on a client's batch, whose producer fields must be those that it will be appended
    /// with. A batch without a producer is always new.
    ///
    /// Epoch, then sequence, as `ProducerAppendInfo` does; a control batch (of a coordinator) is
    /// checked for its epoch only. Unlike Kafka 4 (which answers out of order), a batch from before
    /// the five known ones is recognized as a duplicate while all five are known: then no batch in
    /// flight can be missing, and clients treat this error as success.
    pub fn check(&self, header: &BatchHeader) -> Result<Sequence, SequenceError> {
        if !header.has_producer() {
            return Ok(Sequence::New);
        }
        let Some(entry) = self.entries.get(&header.producer_id) else {
            return Ok(Sequence::New);
        };
        if header.is_control() {
            entry.check_epoch(header)?;
            return Ok(Sequence::New);
        }
        if let Some(batch) = entry.find_duplicate(header) {
            return Ok(Sequence::Duplicate {
                first_offset: batch.first_offset,
                last_offset: batch.last_offset,
                timestamp_ms: batch.timestamp_ms,
            });
        }
        entry.check_epoch(header)?;
        entry.check_sequence(header)?;
        match entry.transaction_first_offset {
            Some(first_offset) if !header.is_transactional() => {
                let producer_id = header.producer_id;
                Err(SequenceError::TransactionOpen {
                    producer_id,
                    first_offset,
                })
            }
            _ => Ok(Sequence::New),
        }
    }

    /// Decides on a batch of a producer that promises to begin with sequence 0 in every epoch
    /// (KIP-890 part 2), so that a lost first batch is noticed even if nothing is known about the
    /// producer.
    pub fn check_begin(&self, header: &BatchHeader) -> Result<(), SequenceError> {
        let producer_id = header.producer_id;
        let is_known = self
            .entries
            .get(&producer_id)
            .is_some_and(|entry| entry.batches().len() > 0);
        match header.base_sequence {
            found if found != 0 && !is_known => Err(SequenceError::OutOfOrder {
                producer_id,
                found,
                expected: 0,
            }),
            _ => Ok(()),
        }
    }

    /// Decides on a marker that a coordinator is about to write.
    ///
    /// With `raised` (KIP-890 part 2) a marker carries an epoch above the transaction's, so that a
    /// late one can't end the next transaction; the same marker once more, after the transaction
    /// has ended, is accepted.
    pub fn check_marker(
        &self,
        producer_id: ProducerId,
        epoch: i16,
        coordinator_epoch: i32,
        raised: bool,
    ) -> Result<(), SequenceError> {
        let Some(entry) = self.entries.get(&producer_id) else {
            return Ok(());
        };
        let is_again = epoch == entry.producer_epoch
            && (!raised || entry.transaction_first_offset.is_none() || epoch == i16::MAX);
        if epoch <= entry.producer_epoch && !is_again {
            return Err(SequenceError::Fenced {
                producer_id,
                found: epoch,
                current: entry.producer_epoch,
            });
        }
        if coordinator_epoch < entry.coordinator_epoch {
            return Err(SequenceError::CoordinatorFenced {
                producer_id,
                found: coordinator_epoch,
                current: entry.coordinator_epoch,
            });
        }
        Ok(())
    }

    /// Notes a batch that was appended, with the offsets and times that it has in the log.
    ///
    /// `appended_ms` is when it was appended, or later. `marker` is what [`ControlMarker::read`]
    /// gives: `None` for data, and for a control batch that compaction emptied, which changes
    /// nothing. Returns the transaction if this aborted one
    /// that has records, for the segment's index.
    pub fn apply(
        &mut self,
        header: &BatchHeader,
        marker: Option<ControlMarker>,
        appended_ms: i64,
    ) -> Option<AbortedTxn> {
        if !header.has_producer() {
            return None;
        }
        if !header.is_control() {
            self.apply_data(header, appended_ms);
            return None;
        }
        match marker {
            Some(marker) if matches!(marker.kind, ControlKind::Abort | ControlKind::Commit) => {
                self.apply_marker(header, marker, appended_ms)
            }
            _ => None,
        }
    }

    fn apply_data(&mut self, header: &BatchHeader, appended_ms: i64) {
        let entry = self.entry(header.producer_id);
        entry.add_batch(header, appended_ms);
        if header.is_transactional() && entry.transaction_first_offset.is_none() {
            entry.transaction_first_offset = Some(header.base_offset);
            self.open.insert(header.base_offset, header.producer_id);
        }
    }

    fn apply_marker(
        &mut self,
        header: &BatchHeader,
        marker: ControlMarker,
        appended_ms: i64,
    ) -> Option<AbortedTxn> {
        let entry = self.entry(header.producer_id);
        let first_offset = entry.end_transaction(header, marker.coordinator_epoch, appended_ms)?;
        self.open.remove(&first_offset);
        let last_offset = header.base_offset;
        self.ended.insert(first_offset, last_offset);
        let last_stable = self.first_undecided().unwrap_or(last_offset.next());
        (marker.kind == ControlKind::Abort).then_some(AbortedTxn {
            producer_id: header.producer_id,
            first_offset,
            last_offset,
            last_stable,
        })
    }

    fn entry(&mut self, producer_id: ProducerId) -> &mut ProducerEntry {
        self.max_producer_id = self.max_producer_id.max(producer_id);
        if self.entries.len() >= self.limit && !self.entries.contains_key(&producer_id) {
            self.make_room();
        }
        self.entries
            .entry(producer_id)
            .or_insert_with(|| ProducerEntry::new(producer_id))
    }

    /// From now on at most this many producers are known, and those with open transactions.
    pub fn set_limit(&mut self, limit: usize) {
        self.limit = limit.max(1);
        if self.entries.len() > self.limit {
            self.make_room();
        }
    }

    /// Forgets those that were silent the longest: more than one, so that the search for them is
    /// not made for every newcomer.
    fn make_room(&mut self) {
        let room = (self.limit / 8).max(1);
        let surplus = (self.entries.len() + room).saturating_sub(self.limit);
        let idle = |entry: &&ProducerEntry| entry.transaction_first_offset.is_none();
        let age = |entry: &ProducerEntry| (entry.appended_ms, entry.producer_id);
        let mut oldest: Vec<_> = self.entries.values().filter(idle).map(age).collect();
        if oldest.len() > surplus {
            oldest.select_nth_unstable(surplus);
            oldest.truncate(surplus);
        }
        for (_, producer_id) in oldest {
            self.entries.remove(&producer_id);
        }
    }

    /// The largest producer id ever applied; [`ProducerId::NONE`] if there was none.
    pub fn max_producer_id(&self) -> ProducerId {
        self.max_producer_id
    }

    /// Raises [`Producers::max_producer_id`], if a larger id is known from elsewhere.
    pub fn note_producer_id(&mut self, producer_id: ProducerId) {
        self.max_producer_id = self.max_producer_id.max(producer_id);
    }

    /// The producers known, in no order.
    pub fn entries(&self) -> impl Iterator<Item = &ProducerEntry> {
        self.entries.values()
    }

    /// The state of one producer.
    pub fn get(&self, producer_id: ProducerId) -> Option<&ProducerEntry> {
        self.entries.get(&producer_id)
    }

    /// Number of producers known.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there are no producers.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Transactions without an end, in order of their first offset.
    pub fn open_transactions(&self) -> Vec<OpenTransaction> {
        let open = self.open.iter().filter_map(|(&first_offset, producer_id)| {
            let entry = self.entries.get(producer_id)?;
            Some(OpenTransaction {
                producer_id: entry.producer_id,
                producer_epoch: entry.producer_epoch,
                first_offset,
                coordinator_epoch: entry.coordinator_epoch,
            })
        });
        open.collect()
    }

    /// First offset of the oldest transaction without an end.
    pub fn first_undecided(&self) -> Option<Offset> {
        self.open.keys().next().copied()
    }

    /// First offset of the oldest transaction that has no end, or one at or above the high
    /// watermark. The last stable offset is the smaller one of this and the high watermark (and
    /// not below the log start: the records of an open transaction may have been deleted).
    pub fn first_unstable(&self) -> Option<Offset> {
        let ended = self.ended.keys().next().copied();
        [self.first_undecided(), ended].into_iter().flatten().min()
    }

    /// The high watermark is now `to`: transactions with their marker below are stable.
    pub fn high_watermark_moved(&mut self, to: Offset) {
        self.ended.retain(|_, marker| *marker >= to);
    }

    /// Forgets producers without an open transaction whose last batch was appended `expiration_ms`
    /// ago or earlier (`producer.id.expiration.ms`). Returns how many.
    pub fn expire(&mut self, now_ms: i64, expiration_ms: i64) -> usize {
        let before = self.entries.len();
        self.entries.retain(|_, entry| {
            entry.transaction_first_offset.is_some()
                || now_ms.saturating_sub(entry.appended_ms) < expiration_ms
        });
        before - self.entries.len()
    }

    /// Forgets all producers and transactions, for a log that was emptied. Snapshot files stay;
    /// see [`delete_snapshots_outside`].
    pub fn clear(&mut self) {
        *self = Self {
            max_producer_id: self.max_producer_id,
            limit: self.limit,
            ..Self::default()
        };
    }

    /// Writes the state, which must be the state after all batches below `at`, to a file in `dir`,
    /// which is returned. It is not synced: a torn file is detected, and an older one is used
    /// instead.
    pub fn write_snapshot(&self, dir: &Path, at: Offset) -> Result<PathBuf, LogError> {
        snapshot::write(self, dir, at)
    }

    /// Replaces the state with the newest usable snapshot in `dir`, after opening or truncating a
    /// log, and returns the offset from which batches must be applied again.
    ///
    /// Usable are those within `replay_from..=end`, where `replay_from` is the first offset whose
    /// batches are still there: from an older one a hole would remain, and what a producer wrote
    /// in it would seem to be missing. Without any the state is empty and `replay_from` is
    /// returned. Snapshots past `end`, and damaged ones, are deleted. Call
    /// [`Producers::expire`] once the batches are applied.
    pub fn reload(
        &mut self,
        dir: &Path,
        replay_from: Offset,
        end: Offset,
    ) -> Result<Offset, LogError> {
        let (max_producer_id, limit) = (self.max_producer_id, self.limit);
        let (state, from) = snapshot::load_newest(dir, replay_from, end)?;
        *self = state;
        self.set_limit(limit);
        self.note_producer_id(max_producer_id);
        Ok(from)
    }

    /// Batches that were applied again were appended no later than `known` says of their producers,
    /// which wrote no earlier ones after them.
    pub fn appended_by(&mut self, known: &HashMap<ProducerId, i64>) {
        for (producer_id, entry) in &mut self.entries {
            if let Some(appended_ms) = known.get(producer_id) {
                entry.appended_ms = entry.appended_ms.min(*appended_ms);
            }
        }
    }

    /// As [`Producers::apply`], at the time that the batch bears.
    #[cfg(test)]
    pub(crate) fn apply_in_time(
        &mut self,
        header: &BatchHeader,
        marker: Option<ControlMarker>,
    ) -> Option<AbortedTxn> {
        self.apply(header, marker, header.max_timestamp_ms)
    }

    /// State from stored entries; `None` if two of them claim the same producer or transaction.
    fn from_entries(max_producer_id: ProducerId, entries: Vec<ProducerEntry>) -> Option<Self> {
        let mut state = Self {
            max_producer_id,
            ..Self::default()
        };
        for entry in entries {
            state.note_producer_id(entry.producer_id);
            if let Some(first) = entry.transaction_first_offset
                && state.open.insert(first, entry.producer_id).is_some()
            {
                return None;
            }
            if state.entries.insert(entry.producer_id, entry).is_some() {
                return None;
            }
        }
        Some(state)
    }
}

#[cfg(test)]
mod tests;
