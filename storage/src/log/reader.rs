//! Reading a log without its writer's lock.

use std::sync::Arc;

use arc_swap::ArcSwap;
use bytes::Bytes;
use carrick_protocol::ids::{LeaderEpoch, Offset};

use super::{AbortedTxn, LogError};

/// Hands out snapshots of one log. Cheap to clone; never blocks, never blocks the writer.
#[derive(Clone, Debug)]
pub struct LogReader {
    current: Arc<ArcSwap<Snapshot>>,
}

impl LogReader {
    /// The log as of now.
    pub fn snapshot(&self) -> Arc<Snapshot> {
        self.current.load_full()
    }
}

/// A log as it was at one moment: its segments, bounds and watermarks do not change any more,
/// and its bytes stay readable even if they are deleted or truncated meanwhile.
#[derive(Debug)]
pub struct Snapshot {}

/// Timestamp, offset and leader epoch of one record (the answer to ListOffsets).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimestampOffset {
    /// Timestamp of the record, in ms.
    pub timestamp_ms: i64,
    /// Its offset.
    pub offset: Offset,
    /// Leader epoch of its batch.
    pub leader_epoch: LeaderEpoch,
}

/// One segment, for descriptions and verification.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SegmentInfo {
    /// The first offset it can hold; its file's name.
    pub base_offset: Offset,
    /// Offset after its last one (the next segment's base, or the log's end).
    pub end: Offset,
    /// Bytes of whole batches.
    pub size_bytes: u64,
    /// Largest timestamp, -1 if none.
    pub max_timestamp_ms: i64,
    /// The `.log` file.
    pub path: std::path::PathBuf,
}

impl Snapshot {
    /// First offset that may be read.
    pub fn log_start(&self) -> Offset {
        unimplemented!()
    }
    /// Offset after the last one appended.
    pub fn end(&self) -> Offset {
        unimplemented!()
    }
    /// What readers may see.
    pub fn high_watermark(&self) -> Offset {
        unimplemented!()
    }
    /// What `read_committed` readers may see: the smaller of high watermark and the first offset
    /// of a transaction that is not known to have ended below the high watermark.
    pub fn last_stable(&self) -> Offset {
        unimplemented!()
    }
    /// Bytes of all segments.
    pub fn size_bytes(&self) -> u64 {
        unimplemented!()
    }
    /// Whole batches from the one that holds `from` (or the first after it) on, of one segment:
    /// as many as fit `max_bytes`, none that begins at or past `upto`; the first one even if it
    /// is larger when `at_least_one`. Empty at the end. No copy: the bytes are the mapping's.
    ///
    /// Errors: `OutOfRange` below the log start or past the end, `Corrupt`, `Io`.
    pub fn read(
        &self,
        _from: Offset,
        _upto: Offset,
        _max_bytes: usize,
        _at_least_one: bool,
    ) -> Result<Bytes, LogError> {
        unimplemented!()
    }
    /// The first record, in offset order and below `upto`, with a timestamp of at least
    /// `timestamp_ms` (`UnifiedLog.fetchOffsetByTimestamp`).
    pub fn offset_for_timestamp(
        &self,
        _timestamp_ms: i64,
        _upto: Offset,
    ) -> Result<Option<TimestampOffset>, LogError> {
        unimplemented!()
    }
    /// The first record with the largest timestamp of the log (ListOffsets -3).
    pub fn max_timestamp(&self) -> Result<Option<TimestampOffset>, LogError> {
        unimplemented!()
    }
    /// Largest epoch not above the one asked for, and where it ends
    /// (`LeaderEpochFileCache.endOffsetFor`).
    pub fn epoch_end(&self, _epoch: LeaderEpoch) -> Option<(LeaderEpoch, Offset)> {
        unimplemented!()
    }
    /// The epoch of the last batch.
    pub fn last_epoch(&self) -> Option<LeaderEpoch> {
        unimplemented!()
    }
    /// Aborted transactions that overlap `from..upto`.
    pub fn aborted(&self, _from: Offset, _upto: Offset) -> Result<Vec<AbortedTxn>, LogError> {
        unimplemented!()
    }
    /// All segments, oldest first.
    pub fn segments(&self) -> Vec<SegmentInfo> {
        unimplemented!()
    }
}
