//! One partition's log: segments of record batches, mapped into memory.
//!
//! One writer ([`Log`], `&mut self`), any number of readers ([`LogReader`]) and flushes
//! ([`FlushHandle`]) on other threads; none of them waits for another. Invariants, in offsets:
//!
//! log start ≤ last stable ≤ high watermark ≤ end, and recovery point ≤ durable end ≤ end, asserted
//! in `reader.rs` and `durability.rs`.
//!
//! - Bytes are stored as given, except for what [`Placement::Next`] sets. Offsets of batches
//!   increase; gaps between batches, and between segments, are allowed.
//! - A published byte never changes and never moves: readers hold its mapping. Truncation copies
//!   the part that is kept into a new file instead of cutting the old one.
//! - After a crash, the disk has a prefix of what was appended, and at least everything below the
//!   durable end. Opening cuts off everything from the first batch that is incomplete or has a
//!   wrong CRC.
//!
//! Files: see `files.rs` (segments and indexes, Kafka's names and formats), `checkpoint.rs`,
//! `epochs.rs`. The active `.log` file may end in zeros, a sealed one has its real size.

mod aborted;
mod active;
mod append;
mod checkpoint;
mod compaction;
mod config;
mod durability;
mod epochs;
mod error;
mod files;
mod indexes;
mod mapped;
mod offset_index;
mod opening;
mod producers;
mod reader;
mod recovery;
mod retention;
mod segment;
mod state;
#[cfg(test)]
mod tests;
mod time_index;
mod timestamps;
mod transactions;
mod truncation;

use std::path::Path;
use std::sync::Arc;

use carrick_protocol::ids::{LeaderEpoch, Offset};

use active::Active;
use durability::Durability;
use reader::{Extent, Shape};
use segment::Sealed;
use transactions::AbortedIndex;

pub use aborted::AbortedTxn;
pub use compaction::{
    CleanError, CleanLimits, CleanRules, CleanStats, Cleanable, LastRecords, Pace, Pass, Rewritten,
    Setting, ToClean,
};
pub use config::LogConfig;
pub use durability::FlushHandle;
pub use epochs::{EpochHistory, EpochStart};
pub use error::LogError;
pub use producers::{
    KeptBatch, OpenTransaction, ProducerEntry, Producers, Sequence, SequenceError,
};
pub use reader::{LogReader, SegmentInfo, Snapshot};
pub use retention::Deleted;
pub use timestamps::TimestampOffset;

/// The writer of one log.
///
/// Dropping it without [`Log::close`] loses nothing that was flushed; the next open recovers.
#[derive(Debug)]
pub struct Log {
    dir: Arc<Path>,
    config: LogConfig,
    /// Sealed segments, oldest first.
    sealed: Arc<[Arc<Sealed>]>,
    active: Active,
    /// Aborted transactions of the active segment.
    aborted: AbortedIndex,
    producers: Producers,
    epochs: EpochHistory,
    log_start: Offset,
    end: Offset,
    high_watermark: Offset,
    /// The time of the last call: the age of new segments counts from it.
    now_ms: i64,
    /// Whether the disk still says that the log was closed cleanly.
    marked_clean: bool,
    shape: Arc<Shape>,
    reader: LogReader,
    durability: Arc<Durability>,
    /// Deleted, and still mapped.
    deleted: Deleted,
    /// Below, all was compacted; [`Offset::NONE`] if it never was.
    cleaned: Offset,
    /// Counts truncations: what was read before one may no longer be true.
    history: u64,
}

/// Where appended batches go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Placement {
    /// A client's batches: offsets are assigned from the log's end on, the epoch is set and, if
    /// asked for, the time. The header is patched in the log, not in the caller's bytes.
    Next {
        /// Epoch in which they are appended.
        leader_epoch: LeaderEpoch,
        /// `message.timestamp.type=LogAppendTime`: the time to stamp.
        log_append_time_ms: Option<i64>,
    },
    /// Bytes are kept as they are. Gaps are allowed, going back is `NonMonotonic`.
    Exact,
}

/// The outcome of an append.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Appended {
    /// Base offset of the first batch.
    pub first_offset: Offset,
    /// Last offset of the last batch.
    pub last_offset: Offset,
    /// The log's new end.
    pub next_offset: Offset,
    /// Largest timestamp of the batches, -1 if none.
    pub max_timestamp_ms: i64,
    pub bytes: usize,
    /// Whether a segment was full, or too old, and another one was begun.
    pub has_rolled: bool,
}

/// What opening a log found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Recovered {
    /// The log was closed cleanly: nothing was scanned.
    pub clean: bool,
    /// Bytes whose checksums were verified.
    pub scanned_bytes: u64,
    /// Bytes cut off: a torn tail and everything after it. Only the first MiB of a tail is checked,
    /// and zeros at its end do not count.
    pub cut_bytes: u64,
    /// Segments whose index files were rebuilt.
    pub rebuilt_indexes: u32,
}

impl Log {
    /// For reads on any thread.
    pub fn reader(&self) -> LogReader {
        self.reader.clone()
    }

    /// For flushes on any thread.
    pub fn flush_handle(&self) -> FlushHandle {
        FlushHandle::new(Arc::clone(&self.durability))
    }

    /// First offset that may be read.
    pub fn start(&self) -> Offset {
        self.log_start
    }

    /// Offset after the last one appended.
    pub fn end(&self) -> Offset {
        self.end
    }

    /// Readers see everything below. After opening it is the log start, until it is set.
    pub fn high_watermark(&self) -> Offset {
        self.high_watermark
    }

    /// Bytes of all segments.
    pub fn size_bytes(&self) -> u64 {
        self.shape.sealed_bytes + self.active.size() as u64
    }

    /// The limits in force.
    pub fn config(&self) -> &LogConfig {
        &self.config
    }

    /// Replaces the limits.
    pub fn set_config(&mut self, config: LogConfig) {
        self.config = config;
        self.producers.set_limit(config.producers_max);
    }

    /// Producers that wrote to the log.
    pub fn producers(&self) -> &Producers {
        &self.producers
    }

    /// Leader epochs of the log.
    pub fn epochs(&self) -> &EpochHistory {
        &self.epochs
    }

    /// Transactions without an end, in order of their first offset.
    pub fn open_transactions(&self) -> Vec<OpenTransaction> {
        self.producers.open_transactions()
    }

    /// Forgets producers that were idle for longer than the configured time; how many.
    pub fn expire_producers(&mut self, now_ms: i64) -> usize {
        self.producers
            .expire(now_ms, self.config.producer_expiration_ms)
    }

    /// Moves the high watermark up (at most to the end; back only by truncation). Returns it.
    pub fn set_high_watermark(&mut self, to: Offset) -> Offset {
        let to = to.min(self.end);
        if to > self.high_watermark {
            self.high_watermark = to;
            self.producers.high_watermark_moved(to);
            self.publish();
        }
        self.high_watermark
    }

    /// Flushes, writes indexes and a producer snapshot, and marks the log as closed cleanly.
    /// Snapshots taken before stay readable.
    pub fn close(mut self) -> Result<(), LogError> {
        self.durability.check()?;
        if self.marked_clean {
            return Ok(());
        }
        let mut written = self.active.settle(&self.durability)?;
        written.push(self.producers.write_snapshot(&self.dir, self.end)?);
        self.durability.written(written);
        let durable_end = self.durability.flush()?;
        assert_eq!(
            durable_end, self.end,
            "a flush covers all that was appended"
        );
        self.durability.note_clean_end(self.end)?;
        self.durability.sync_marks()
    }

    /// Closes the file of a log that was not written to since it was flushed. It is opened again
    /// when it is needed.
    pub fn close_idle_file(&mut self) {
        if self.durability.close_idle(self.end) {
            self.active.close_file();
            self.aborted.close_file();
        }
    }

    /// Whether the next open will know that the log was written to, even if the machine goes down
    /// now. Until the first flush it may believe that the log was closed cleanly with what it held
    /// then, so readers should not see more before that.
    pub fn crash_would_show(&self) -> bool {
        self.durability.marks_are_synced()
    }

    /// Removes the mark of a clean close, before the first write after opening. The next flush
    /// brings that to the disk.
    fn begin_write(&mut self) -> Result<(), LogError> {
        self.durability.check()?;
        if self.marked_clean {
            self.durability.note_clean_end(Offset::NONE)?;
            self.marked_clean = false;
        }
        Ok(())
    }

    /// Whether readers have the current mappings; an index that grew has a new one.
    fn shape_is_current(&self) -> bool {
        Arc::ptr_eq(&self.shape.log, self.active.log.region())
            && Arc::ptr_eq(&self.shape.offsets, self.active.indexes.offsets.region())
            && Arc::ptr_eq(&self.shape.times, self.active.indexes.times.region())
    }

    /// Shows readers the current bounds.
    fn publish(&self) {
        self.reader
            .publish(Snapshot::new(Arc::clone(&self.shape), self.extent()));
    }

    /// Shows readers the current segments, mappings, epochs and aborted transactions.
    fn publish_shape(&mut self) {
        let (sealed, active) = (&self.sealed, &self.active);
        let shape = Shape::new(&self.dir, sealed, active, &self.aborted, &self.epochs);
        self.shape = Arc::new(shape);
        self.publish();
    }

    fn extent(&self) -> Extent {
        let unstable = self
            .producers
            .first_unstable()
            .unwrap_or(self.high_watermark);
        Extent {
            log_start: self.log_start,
            end: self.end,
            high_watermark: self.high_watermark,
            last_stable: unstable.min(self.high_watermark).max(self.log_start),
            log_bytes: self.active.log.len(),
            offsets_bytes: self.active.indexes.offsets.len(),
            times_bytes: self.active.indexes.times.len(),
            max_time: self.active.indexes.max_time,
            history: self.history,
        }
    }
}

impl Drop for Log {
    fn drop(&mut self) {
        self.durability.writer_is_gone();
    }
}
