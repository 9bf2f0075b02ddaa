//! Deleting from the front: by time, by size, and below the log start.
//!
//! The log start is made durable first, then the segments below it leave the snapshot, then their
//! files are removed. Readers of older snapshots keep the mappings. Kafka's rules
//! (`UnifiedLog.deleteOldSegments`): oldest first, never past the high watermark.

use std::sync::Arc;

use carrick_protocol::ids::Offset;
use tracing::warn;

use super::files::{Kind, modified_ms, path_of, remove_segment};
use super::segment::{Sealed, keep_readable};
use super::{Log, LogError};

/// The properties of a segment that retention goes by.
#[derive(Clone, Copy, Debug)]
struct Candidate {
    base: Offset,
    next: Offset,
    bytes: u64,
    max_timestamp_ms: i64,
}

impl Log {
    /// Moves the log start up to `to` (at most the end; never back) and deletes the segments that
    /// lie wholly below. The high watermark follows where it was below. Durable on return.
    /// Returns the log start.
    ///
    /// Errors: `Io`, `Faulted`.
    pub fn advance_log_start(&mut self, to: Offset) -> Result<Offset, LogError> {
        self.durability.check()?;
        let to = to.min(self.end);
        if to > self.log_start {
            self.move_log_start(to)?;
            self.durability.sync_marks()?;
            self.delete_below_start();
        }
        Ok(self.log_start)
    }

    /// As [`Log::advance_log_start`], without waiting for the disk: the new start is durable after
    /// the next flush. Then [`Log::delete_below_start`].
    ///
    /// Errors: `DiskFull`, `Exhausted`, `Faulted`.
    pub fn move_log_start(&mut self, to: Offset) -> Result<Offset, LogError> {
        self.durability.check()?;
        let to = to.min(self.end);
        if to > self.log_start {
            self.begin_write()?;
            self.durability.note_log_start(to)?;
            self.log_start = to;
            self.high_watermark = self.high_watermark.max(to);
            self.producers.high_watermark_moved(self.high_watermark);
            if self.epochs.truncate_from_start(to) {
                self.durability.epochs_changed(&self.epochs);
            }
            self.publish_shape();
        }
        Ok(self.log_start)
    }

    /// Moves the log start past old segments, by size and by time; returns it. An active segment
    /// that is too old is rolled first. Does not wait for the disk: see [`Log::move_log_start`].
    ///
    /// Errors: `DiskFull` (of a roll), `Io`, `Faulted`. The log start may still have moved.
    pub fn apply_retention(&mut self, now_ms: i64) -> Result<Offset, LogError> {
        self.durability.check()?;
        self.now_ms = now_ms;
        let by_size = self.deletable_by_size()?;
        self.move_up_to(by_size)?;
        let by_time = self.deletable_by_time(now_ms)?;
        self.move_up_to(by_time)?;
        Ok(self.log_start)
    }

    /// Where the log may start for `retention.bytes`.
    fn deletable_by_size(&self) -> Result<Offset, LogError> {
        let limit = self
            .config
            .retention_bytes
            .and_then(|bytes| u64::try_from(bytes).ok());
        let Some(mut excess) = limit.and_then(|limit| self.size_bytes().checked_sub(limit)) else {
            return Ok(self.log_start);
        };
        self.deletable(|candidate| match excess.checked_sub(candidate.bytes) {
            Some(rest) => {
                excess = rest;
                true
            }
            None => false,
        })
    }

    /// Where the log may start for `retention.ms`.
    fn deletable_by_time(&self, now_ms: i64) -> Result<Offset, LogError> {
        let Some(retention_ms) = self.config.retention_ms.filter(|ms| *ms >= 0) else {
            return Ok(self.log_start);
        };
        self.deletable(|candidate| {
            let newest_ms = match candidate.max_timestamp_ms {
                known if known >= 0 => known,
                _ => modified_ms(&path_of(&self.dir, candidate.base, Kind::Log)).unwrap_or(now_ms),
            };
            now_ms.saturating_sub(newest_ms) > retention_ms
        })
    }

    /// The end of the oldest segments that all satisfy `old` and lie below the high watermark.
    fn deletable(&self, mut old: impl FnMut(&Candidate) -> bool) -> Result<Offset, LogError> {
        let mut start = self.log_start;
        let nexts = self
            .sealed
            .iter()
            .skip(1)
            .map(|s| s.base)
            .chain([self.active.base]);
        for (segment, next) in self.sealed.iter().zip(nexts) {
            let candidate = Candidate {
                base: segment.base,
                next,
                bytes: segment.size as u64,
                max_timestamp_ms: segment.max_time()?.timestamp_ms,
            };
            if candidate.next > self.high_watermark || !old(&candidate) {
                return Ok(start);
            }
            start = start.max(next);
        }
        let active = Candidate {
            base: self.active.base,
            next: self.end,
            bytes: self.active.size() as u64,
            max_timestamp_ms: self.active.indexes.max_time.timestamp_ms,
        };
        let deletable = active.bytes > 0 && active.next <= self.high_watermark && old(&active);
        Ok(if deletable { self.end } else { start })
    }

    fn move_up_to(&mut self, start: Offset) -> Result<(), LogError> {
        if start <= self.log_start {
            return Ok(());
        }
        if start == self.end && self.active.size() > 0 {
            // First what needs no room: the disk may be full.
            self.move_log_start(self.active.base)?;
            self.begin_write()?;
            self.roll(self.end)?;
        }
        self.move_log_start(start).map(drop)
    }

    /// Deletes the sealed segments that lie wholly below the log start. False, and nothing done,
    /// if that is not durable yet.
    pub fn delete_below_start(&mut self) -> bool {
        if !self.durability.marks_are_synced() {
            return false;
        }
        let nexts = self
            .sealed
            .iter()
            .skip(1)
            .map(|s| s.base)
            .chain([self.active.base]);
        let below = nexts.take_while(|next| *next <= self.log_start).count();
        if below == 0 {
            return true;
        }
        let deleted: Vec<_> = self.sealed.iter().take(below).cloned().collect();
        keep_readable(&deleted);
        self.sealed = self.sealed.iter().skip(below).cloned().collect();
        self.publish_shape();
        for segment in &deleted {
            // A file that stays is below the log start: the next open removes it.
            if let Err(error) = remove_segment(&self.dir, segment.base) {
                warn!(base = %segment.base, %error, "segment file not removed");
            }
        }
        let first = self
            .sealed
            .first()
            .map_or(self.active.base, |segment| segment.base);
        self.durability.forget(|base| base < first);
        self.deleted.extend(deleted);
        true
    }

    /// The segments deleted since this was asked last: see [`Deleted`].
    pub fn take_deleted(&mut self) -> Deleted {
        std::mem::take(&mut self.deleted)
    }
}

/// Segments whose files have been unlinked. The file system frees their space when the last mapping
/// ends, which takes about 200 ms per GiB: drop them where that does no harm, for example outside a
/// lock.
#[derive(Debug, Default)]
#[must_use = "dropping them takes a while"]
pub struct Deleted(Vec<Arc<Sealed>>);

impl Deleted {
    pub(super) fn extend(&mut self, segments: Vec<Arc<Sealed>>) {
        self.0.extend(segments);
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}
