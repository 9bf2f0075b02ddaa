//! One partition's log: segments of record batches, mapped into memory.

mod config;
mod durability;
mod epochs;
mod error;
mod producers;
mod reader;
mod transactions;

use std::path::Path;

use carrick_protocol::ids::{LeaderEpoch, Offset};

pub use config::LogConfig;
pub use durability::FlushHandle;
pub use epochs::{EpochHistory, EpochStart};
pub use error::LogError;
pub use producers::{
    KeptBatch, OpenTransaction, ProducerEntry, Producers, Sequence, SequenceError,
};
pub use reader::{LogReader, SegmentInfo, Snapshot, TimestampOffset};
pub use transactions::AbortedTxn;

/// The writer of one log.
#[derive(Debug)]
pub struct Log {}

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

/// What an append did. With no batches, offsets are the end of the log.
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
    /// Bytes appended.
    pub bytes: usize,
}

/// What opening a log found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Recovered {
    /// The log was closed cleanly: nothing was scanned.
    pub clean: bool,
    /// Bytes whose checksums were verified.
    pub scanned_bytes: u64,
    /// Bytes cut off: a torn tail and all after it, zeros of the preallocation not counted.
    pub cut_bytes: u64,
    /// Index files written anew.
    pub rebuilt_indexes: u32,
}

impl Log {
    /// Opens the log in `dir`, created when missing, and recovers it if it was not closed.
    pub fn open(_dir: &Path, _config: LogConfig, _now_ms: i64) -> Result<(Log, Recovered), LogError> {
        unimplemented!()
    }
    /// Appends whole batches. The CRC is not verified here: whoever took them from a peer did.
    ///
    /// Errors: `NonMonotonic`, `Batch`, `PartialBatch`, `BatchTooLarge`, `OffsetOverflow` leave
    /// the log as it was. `DiskFull` and `Io` may leave the first batches of a run that spans
    /// segments appended: the end says how far it got.
    pub fn append(
        &mut self,
        _batches: &[u8],
        _placement: Placement,
        _now_ms: i64,
    ) -> Result<Appended, LogError> {
        unimplemented!()
    }
    /// Moves the end to `to` without bytes: the next segment begins there.
    pub fn advance_end(&mut self, _to: Offset) -> Result<(), LogError> {
        unimplemented!()
    }
    /// Drops every batch that ends past `offset`; returns the new end, which is smaller than
    /// `offset` where that lies inside a batch or a gap. Durable on return.
    pub fn truncate_to(&mut self, _offset: Offset) -> Result<Offset, LogError> {
        unimplemented!()
    }
    /// Drops everything; the log starts and ends at `offset`. Durable on return.
    pub fn truncate_fully_and_start_at(&mut self, _offset: Offset) -> Result<(), LogError> {
        unimplemented!()
    }
    /// Moves the log start up to `to` (at most the end; never back) and deletes the segments that
    /// lie wholly below. Durable on return.
    pub fn advance_log_start(&mut self, _to: Offset) -> Result<Offset, LogError> {
        unimplemented!()
    }
    /// Moves the high watermark up (at most to the end; back only by truncation).
    pub fn set_high_watermark(&mut self, _to: Offset) -> Offset {
        unimplemented!()
    }
    /// Deletes old segments by time, size and log start; returns the log start.
    pub fn apply_retention(&mut self, _now_ms: i64) -> Result<Offset, LogError> {
        unimplemented!()
    }
    /// Replaces the limits.
    pub fn set_config(&mut self, _config: LogConfig) {
        unimplemented!()
    }
    /// For reads on any thread.
    pub fn reader(&self) -> LogReader {
        unimplemented!()
    }
    /// For flushes on any thread.
    pub fn flush_handle(&self) -> FlushHandle {
        unimplemented!()
    }
    /// First offset that may be read.
    pub fn start(&self) -> Offset {
        unimplemented!()
    }
    /// Offset after the last one appended.
    pub fn end(&self) -> Offset {
        unimplemented!()
    }
    /// Bytes of all segments.
    pub fn size_bytes(&self) -> u64 {
        unimplemented!()
    }
    /// Flushes, writes indexes and a producer snapshot, gives reserved space back and marks the
    /// log as closed cleanly.
    pub fn close(self) -> Result<(), LogError> {
        unimplemented!()
    }
}
