//! Compaction: keeps only the last record of every key (Kafka's `LogCleaner`, `Cleaner`).
//!
//! A cleaning works on a log as it was at one moment, without its lock: [`ToClean`] (the cleanable
//! part) → [`Pass`] (the last offset of every dirty key is in memory) → [`Pass::next`] writes
//! one segment from several, next to them → [`Log::swap_in`] puts it in their place, under the
//! log's lock → [`Log::finish_cleaning`] remembers how far all is clean.
//!
//! Invariants:
//! - the active segment, and data that is not stable or not guaranteed to be on disk, is never
//!   touched;
//! - offsets never change: a batch that stays keeps its first and last offset (asserted);
//! - readers continue in the mappings they have; a segment is swapped whole, or not at all
//!   (`swap.rs`), and not if the log has lost any of its segments in the meantime;
//! - memory is limited: 24 bytes per key within the given limit, and one batch at a time,
//!   decompressed. Keys that do not fit the map are left for the next cleaning.

mod checkpoint;
mod filter;
mod map;
mod output;
mod range;
mod swap;
#[cfg(test)]
pub(super) mod tests;
mod transactions;

use std::collections::VecDeque;
use std::io;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use carrick_protocol::batch::{Batch, CheckedBatches, Unpacked};
use carrick_protocol::ids::Offset;
use thiserror::Error;

use super::reader::Snapshot;
use super::segment::{Sealed, View};
use super::{Log, LogConfig, LogError};
use filter::{Filter, UNPACKED_MAX_BYTES};
use map::OffsetMap;
use output::Output;
use swap::{Swap, remove_cleaned};
use transactions::Walked;

pub use filter::LastRecords;
pub use range::{CleanRules, Cleanable, ToClean};
pub(super) use swap::repair;

/// Receives the bytes that were read or written, before the work continues: may wait, to limit
/// them. `false` ends the cleaning.
pub type Pace<'a> = dyn FnMut(usize) -> bool + 'a;

/// Why a cleaning ended early. The log is as good as before.
#[derive(Debug, Error)]
pub enum CleanError {
    /// [`Pace`] said so, or the log has lost segments in the meantime.
    #[error("the cleaning was stopped")]
    Stopped,
    #[error(transparent)]
    Log(#[from] LogError),
}

/// Limits of a cleaning.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct CleanLimits {
    /// `log.cleaner.dedupe.buffer.size`, of one cleaner: memory for keys.
    pub map_bytes: usize,
    /// `log.cleaner.io.buffer.load.factor`: how full that may get.
    pub load_factor: f64,
}

/// Figures of a cleaning.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CleanStats {
    /// Keys in the map.
    pub keys: usize,
    /// Bytes of batches that were read to be cleaned.
    pub bytes_read: u64,
    /// Bytes of them that stay.
    pub bytes_kept: u64,
}

/// A cleaning in progress.
#[derive(Debug)]
pub struct Pass {
    snapshot: Arc<Snapshot>,
    config: LogConfig,
    rules: CleanRules,
    now_ms: i64,
    upto: Offset,
    history: u64,
    last_records: LastRecords,
    map: OffsetMap,
    walked: Walked,
    /// Numbers of segments that become one, the oldest first.
    merges: VecDeque<std::ops::Range<usize>>,
    stats: CleanStats,
}

/// A segment that was written and not yet swapped in.
#[derive(Debug)]
pub struct Rewritten {
    swap: Swap,
    dir: Arc<Path>,
    /// What it replaces.
    replaced: Vec<Arc<Sealed>>,
    size: usize,
    history: u64,
}

impl ToClean {
    /// Begins to clean: reads all keys between `cleanable.first_dirty` and `cleanable.upto`, or
    /// as many as fit the map.
    ///
    /// Errors: `Stopped`; `Corrupt` for batches that cannot be read, `Io`, `Exhausted`.
    pub fn begin(
        self,
        cleanable: Cleanable,
        setting: Setting,
        pace: &mut Pace<'_>,
    ) -> Result<Pass, CleanError> {
        let snapshot = self.snapshot;
        let map = read_keys(&snapshot, cleanable, setting.limits, pace)?;
        let end = map.latest().next();
        let merges = merges(&snapshot, end, cleanable.upto, &setting.config)?;
        let stats = CleanStats {
            keys: map.len(),
            ..CleanStats::default()
        };
        Ok(Pass {
            snapshot,
            config: setting.config,
            rules: setting.rules,
            now_ms: setting.now_ms,
            upto: cleanable.upto,
            history: self.history,
            last_records: setting.last_records,
            map,
            walked: Walked::default(),
            merges,
            stats,
        })
    }
}

/// The inputs of a cleaning.
#[derive(Debug)]
pub struct Setting {
    /// The log's limits.
    pub config: LogConfig,
    /// When and what to clean.
    pub rules: CleanRules,
    pub limits: CleanLimits,
    /// Of [`Log::last_records`], asked for after [`Log::to_clean`].
    pub last_records: LastRecords,
    pub now_ms: i64,
}

impl Pass {
    /// Writes the next segment; `None` when all are done. [`Log::swap_in`] it before the next.
    ///
    /// Errors: as [`ToClean::begin`], `DiskFull`. Nothing is left of the segment then.
    pub fn next(&mut self, pace: &mut Pace<'_>) -> Result<Option<Rewritten>, CleanError> {
        let Some(merge) = self.merges.pop_front() else {
            return Ok(None);
        };
        let snapshot = Arc::clone(&self.snapshot);
        let swap = Swap {
            base: snapshot.base_of(merge.start),
            end: snapshot.base_of(merge.end),
        };
        let dir = Arc::clone(snapshot.dir());
        let size = self.rewrite(&snapshot, merge.clone(), pace);
        let size = size.inspect_err(|_| remove_cleaned(&dir, swap.base))?;
        Ok(Some(Rewritten {
            swap,
            dir,
            replaced: snapshot.sealed(merge),
            size,
            history: self.history,
        }))
    }

    /// Figures so far.
    pub fn stats(&self) -> CleanStats {
        self.stats
    }

    fn rewrite(
        &mut self,
        snapshot: &Snapshot,
        merge: std::ops::Range<usize>,
        pace: &mut Pace<'_>,
    ) -> Result<usize, CleanError> {
        let mut output = Output::create(snapshot.dir(), snapshot.base_of(merge.start))?;
        let last = snapshot.base_of(merge.end - 1);
        for at in merge {
            let view = snapshot.view(at)?;
            self.walked.expect(snapshot.aborted(view.base, view.next)?);
            let whole = view.bytes()?;
            let mut position = 0;
            while position < view.size {
                let batch = sound(&view, &whole, position)?;
                let read = batch.bytes().len();
                let kept = self.pass(&view, position, &batch, &mut output)?;
                self.stats.bytes_read += read as u64;
                self.stats.bytes_kept += kept as u64;
                position += read;
                if !pace(read + kept) {
                    return Err(CleanError::Stopped);
                }
            }
        }
        Ok(output.finish(last)?)
    }

    /// Writes what stays of a batch to the output, and returns the number of bytes written.
    fn pass(
        &mut self,
        view: &View<'_>,
        position: usize,
        batch: &CheckedBatches,
        output: &mut Output,
    ) -> Result<usize, LogError> {
        let filter = Filter {
            map: &self.map,
            last_records: &self.last_records,
            delete_retention_ms: self.rules.delete_retention_ms,
            now_ms: self.now_ms,
            upto: self.upto,
        };
        let outcome = filter
            .apply(&mut self.walked, batch)
            .map_err(|error| view.corrupt(position, &error))?;
        if let Some(aborted) = outcome.aborted {
            output.push_aborted(aborted);
        }
        let Some(kept) = outcome.batch else {
            return Ok(0);
        };
        let (before, after) = (batch.first(), kept.first());
        assert_eq!(
            (before.base_offset, before.last_offset()),
            (after.base_offset, after.last_offset()),
            "offsets never change"
        );
        output.push(&kept, &self.config)?;
        Ok(kept.bytes().len())
    }
}

/// The batch at `position` of a view's `whole` bytes, its checksum verified: what is damaged must
/// not get a new one.
fn sound(view: &View<'_>, whole: &Bytes, position: usize) -> Result<CheckedBatches, LogError> {
    let batch = view.batch(position)?;
    let checked = batch.checked(whole);
    checked.map_err(|error| view.corrupt(position, &error))
}

/// Reads the keys of the dirty part (Kafka's `buildOffsetMap`).
fn read_keys(
    snapshot: &Snapshot,
    cleanable: Cleanable,
    limits: CleanLimits,
    pace: &mut Pace<'_>,
) -> Result<OffsetMap, CleanError> {
    let (start, upto) = (cleanable.first_dirty, cleanable.upto);
    let dirty = snapshot.segment_of(start)..snapshot.segment_of(upto);
    let mut records = 0;
    for at in dirty.clone() {
        let view = snapshot.view(at)?;
        for found in view.headers(view.position_before(start)) {
            records += u64::try_from(found?.1.record_count).unwrap_or(0);
        }
        if !pace(0) {
            return Err(CleanError::Stopped);
        }
    }
    let mut map = OffsetMap::new(limits.map_bytes, limits.load_factor, records);
    let mut walked = Walked::default();
    for at in dirty {
        let view = snapshot.view(at)?;
        walked.expect(snapshot.aborted(view.base.max(start), view.next)?);
        let whole = view.bytes()?;
        let mut position = view.position_before(start);
        while position < view.size {
            let checked = sound(&view, &whole, position)?;
            let batch = checked.only();
            if batch.header.is_control() {
                walked.pass_control(&batch);
            } else if !walked.pass_data(&batch.header)
                && !put_keys(&batch, start, &mut map).map_err(|e| view.corrupt(position, &e))?
            {
                return Ok(map);
            }
            if batch.header.last_offset() >= start {
                map.set_latest(batch.header.last_offset());
            }
            position += batch.bytes.len();
            if !pace(batch.bytes.len()) {
                return Err(CleanError::Stopped);
            }
        }
        map.set_latest(view.next.prev());
    }
    Ok(map)
}

/// Puts the keys of a batch; false when the map is full before its end.
fn put_keys(
    batch: &Batch<'_>,
    start: Offset,
    map: &mut OffsetMap,
) -> Result<bool, carrick_protocol::batch::BatchError> {
    let mut fits = true;
    Unpacked::new(*batch, UNPACKED_MAX_BYTES)?.for_each(|record| {
        if let Some(key) = record.key
            && record.offset >= start
        {
            fits = !map.is_full();
            if fits {
                map.put(key, record.offset);
            }
        }
        fits
    })?;
    Ok(fits)
}

/// Which segments become one: as many as fit one by size, indexes and offsets (Kafka's
/// `Cleaner` does the same). All that begin below `end`.
fn merges(
    snapshot: &Snapshot,
    end: Offset,
    upto: Offset,
    config: &LogConfig,
) -> Result<VecDeque<std::ops::Range<usize>>, LogError> {
    let count = snapshot.segment_of(upto);
    let count = (0..count)
        .take_while(|at| snapshot.base_of(*at) < end)
        .count();
    let limits = [
        u64::from(config.segment_max_bytes),
        u64::from(config.index_max_bytes),
        u64::from(config.index_max_bytes),
    ];
    let mut merges: VecDeque<std::ops::Range<usize>> = VecDeque::new();
    let mut sizes = [0; 3];
    for at in 0..count {
        let own = snapshot.sizes_of(at)?;
        let sum: Vec<u64> = sizes.iter().zip(own).map(|(a, b)| a + b).collect();
        let fits = sum.iter().zip(limits).all(|(size, limit)| *size <= limit);
        match merges.back_mut() {
            Some(merge)
                if fits
                    && snapshot.base_of(at + 1) - snapshot.base_of(merge.start)
                        <= i64::from(i32::MAX) =>
            {
                merge.end = at + 1;
                sizes = [sum[0], sum[1], sum[2]];
            }
            _ => {
                merges.push_back(at..at + 1);
                sizes = own;
            }
        }
    }
    Ok(merges)
}

impl Log {
    /// The last records of its producers: see [`Setting`].
    pub fn last_records(&self) -> LastRecords {
        LastRecords::of(&self.producers)
    }

    /// Replaces segments with the cleaned segment that was made from them. False, and nothing
    /// changed, if the log has lost any of them in the meantime.
    ///
    /// Errors: `DiskFull`, `Exhausted` and `Io` before anything changed; `Faulted` otherwise.
    pub fn swap_in(&mut self, new: Rewritten) -> Result<bool, LogError> {
        self.durability.check()?;
        let first = new.replaced.first();
        let at = first.and_then(|first| self.sealed.iter().position(|s| Arc::ptr_eq(s, first)));
        let there = at.and_then(|at| self.sealed.get(at..at + new.replaced.len()));
        let is_same = there.is_some_and(|there| {
            there
                .iter()
                .zip(&new.replaced)
                .all(|(a, b)| Arc::ptr_eq(a, b))
        });
        let Some(at) = at.filter(|_| is_same && new.history == self.history) else {
            remove_cleaned(&new.dir, new.swap.base);
            return Ok(false);
        };
        let prepared = self.prepare_swap(&new);
        prepared.inspect_err(|_| remove_cleaned(&new.dir, new.swap.base))?;
        new.swap
            .commit(&self.dir)
            .and_then(|()| new.swap.finish(&self.dir))
            .map_err(|error| self.durability.fault(io::Error::other(error)))?;
        let Swap { base, end } = new.swap;
        assert!(
            end <= self.active.base,
            "the active segment is never cleaned"
        );
        let cleaned = (new.size > 0).then(|| Arc::new(Sealed::new(&self.dir, base, new.size)));
        let (before, after) = (&self.sealed[..at], &self.sealed[at + new.replaced.len()..]);
        let sealed = before
            .iter()
            .cloned()
            .chain(cleaned)
            .chain(after.iter().cloned());
        self.sealed = sealed.collect();
        self.publish_shape();
        self.durability
            .forget(|segment| base <= segment && segment < end);
        self.deleted.extend(new.replaced);
        Ok(true)
    }

    /// The steps that may fail before anything is changed. Readers of older snapshots need the old
    /// files' mappings: their names are about to refer to other files.
    fn prepare_swap(&mut self, new: &Rewritten) -> Result<(), LogError> {
        for segment in &new.replaced {
            segment.open_all()?;
        }
        self.begin_write()
    }

    /// Remembers how far all is clean now, unless the log was truncated meanwhile.
    ///
    /// Errors: `DiskFull`, `Io`: it is cleaned again then.
    pub fn finish_cleaning(&mut self, pass: &Pass) -> Result<(), LogError> {
        let to = pass.map.latest().next();
        if pass.history == self.history && to > self.cleaned {
            checkpoint::save(&self.dir, to)?;
            self.cleaned = to;
        }
        Ok(())
    }

    /// Everything from `offset` on is about to be removed: first forgets, durably, that it was
    /// clean.
    pub(super) fn begin_dirtying(&mut self, offset: Offset) -> Result<(), LogError> {
        self.history += 1;
        if self.cleaned > offset {
            checkpoint::save(&self.dir, offset)?;
            self.cleaned = offset;
        }
        Ok(())
    }
}

/// How far the log in `dir` was cleaned, if it ends at `end`; what recovery lost was not.
pub(super) fn cleaned_up_to(dir: &Path, end: Offset) -> Result<Offset, LogError> {
    let cleaned = checkpoint::load(dir)?;
    if cleaned <= end {
        return Ok(cleaned);
    }
    checkpoint::save(dir, Offset::ZERO)?;
    Ok(Offset::ZERO)
}
