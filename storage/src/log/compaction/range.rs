//! Which part of a log may be cleaned, and whether it is time (Kafka's `LogCleanerManager` and
//! `LogToClean`).

use std::sync::Arc;

use carrick_protocol::ids::Offset;

use super::super::files::{Kind, modified_ms, path_of};
use super::super::reader::Snapshot;
use super::super::{Log, LogError};

/// When and what to clean, in Kafka's terms.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct CleanRules {
    /// `delete.retention.ms`: how long tombstones and spent markers stay after the first cleaning.
    pub delete_retention_ms: i64,
    /// `min.compaction.lag.ms`: segments with a younger record are left alone.
    pub min_lag_ms: i64,
    /// `max.compaction.lag.ms`: older records are cleaned whatever the ratio.
    pub max_lag_ms: i64,
    /// `min.cleanable.dirty.ratio`.
    pub min_dirty_ratio: f64,
}

impl Default for CleanRules {
    /// Kafka's defaults.
    fn default() -> Self {
        CleanRules {
            delete_retention_ms: 24 * 3_600_000,
            min_lag_ms: 0,
            max_lag_ms: i64::MAX,
            min_dirty_ratio: 0.5,
        }
    }
}

/// A log as it was at one moment, to find its cleanable part.
#[derive(Clone, Debug)]
pub struct ToClean {
    pub(super) snapshot: Arc<Snapshot>,
    pub(super) cleaned: Offset,
    pub(super) durable_end: Offset,
    pub(super) history: u64,
}

/// The cleanable part of a log.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Cleanable {
    /// Everything below has been cleaned.
    pub first_dirty: Offset,
    /// Everything from here on is left alone; the base of a segment.
    pub upto: Offset,
    /// Bytes of segments that begin below `first_dirty`.
    pub clean_bytes: u64,
    /// Bytes of segments with something dirty in them.
    pub dirty_bytes: u64,
    /// Whether something is older than `max.compaction.lag.ms` allows.
    pub is_overdue: bool,
}

impl Cleanable {
    /// The share of dirty bytes.
    pub fn ratio(&self) -> f64 {
        let total = self.clean_bytes + self.dirty_bytes;
        if total == 0 {
            0.0
        } else {
            self.dirty_bytes as f64 / total as f64
        }
    }

    /// Whether it is time to clean.
    pub fn is_due(&self, rules: &CleanRules) -> bool {
        let is_overdue = self.is_overdue && self.dirty_bytes > 0;
        is_overdue || self.ratio() > rules.min_dirty_ratio
    }
}

impl Log {
    /// The log as it is now, to find its cleanable part without the log's lock.
    pub fn to_clean(&self) -> ToClean {
        ToClean {
            snapshot: self.reader.snapshot(),
            cleaned: self.cleaned,
            durable_end: self.durability.durable_end(),
            history: self.history,
        }
    }
}

impl ToClean {
    /// What may be cleaned: not the active segment, nothing past the last stable offset or not
    /// guaranteed to be on disk, and no segment with a record younger than the minimum.
    ///
    /// Errors: `Corrupt`, `Io`, `Exhausted`.
    pub fn cleanable(&self, rules: &CleanRules, now_ms: i64) -> Result<Cleanable, LogError> {
        let snapshot = &*self.snapshot;
        let first_dirty = self.first_dirty();
        let active = snapshot.base_of(snapshot.segment_count() - 1);
        let mut upto = snapshot.last_stable().min(self.durable_end).min(active);
        let dirty = snapshot.segment_of(first_dirty)..snapshot.segment_count() - 1;
        if rules.min_lag_ms > 0 {
            let oldest_ms = now_ms.saturating_sub(rules.min_lag_ms);
            for at in dirty.clone() {
                if self.newest_ms(at)? > oldest_ms {
                    upto = upto.min(snapshot.base_of(at));
                    break;
                }
            }
        }
        let upto = upto.max(first_dirty);
        let end = snapshot.segment_of(upto);
        let upto = snapshot.base_of(end);
        let size = |at: usize| snapshot.size_of(at);
        let clean = (0..end).filter(|at| snapshot.base_of(*at) < first_dirty);
        let first = snapshot.segment_of(first_dirty.min(upto));
        Ok(Cleanable {
            first_dirty,
            upto,
            clean_bytes: clean.map(size).sum(),
            dirty_bytes: (first..end).map(size).sum(),
            is_overdue: self.is_overdue(dirty, rules, now_ms)?,
        })
    }

    /// Where the last cleaning ended, if that can be.
    fn first_dirty(&self) -> Offset {
        let (log_start, end) = (self.snapshot.log_start(), self.snapshot.end());
        if self.cleaned < log_start || self.cleaned > end {
            log_start
        } else {
            self.cleaned
        }
    }

    /// The largest timestamp of a sealed segment; without any, when it was written.
    fn newest_ms(&self, at: usize) -> Result<i64, LogError> {
        match self.snapshot.max_time(at)?.timestamp_ms {
            known if known >= 0 => Ok(known),
            _ => {
                let (dir, base) = (self.snapshot.dir(), self.snapshot.base_of(at));
                modified_ms(&path_of(dir, base, Kind::Log)).map_err(|e| LogError::io(dir, e))
            }
        }
    }

    fn is_overdue(
        &self,
        dirty: std::ops::Range<usize>,
        rules: &CleanRules,
        now_ms: i64,
    ) -> Result<bool, LogError> {
        let clean_until_ms = now_ms.saturating_sub(rules.max_lag_ms.max(0));
        if clean_until_ms <= 0 {
            return Ok(false);
        }
        for at in dirty {
            let view = self.snapshot.view(at)?;
            if let Some(first) = view.headers(0).next() {
                let first_ms = first?.1.max_timestamp_ms;
                if first_ms > 0 && first_ms < clean_until_ms {
                    return Ok(true);
                }
            }
        }
        Ok(false)
    }
}
