//! Reading a log without its writer's lock.
//!
//! Invariants of a snapshot, asserted when it is made: log start ≤ last stable ≤ high watermark ≤
//! end; the sealed segments and the active one follow each other by base offset. Every byte and
//! index entry it covers is published: slices past a region's mark are refused. A snapshot never
//! changes, whatever happens to the log. From one snapshot to the next, log start, high watermark
//! and end never fall, except by truncation: asserted when it is published.

use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arc_swap::ArcSwap;
use bytes::Bytes;
use carrick_protocol::ids::{LeaderEpoch, Offset};

use super::LogError;
use super::aborted::AbortedTxn;
use super::active::Active;
use super::epochs::EpochHistory;
use super::files::{Kind, path_of};
use super::mapped::{Region, Tail};
use super::offset_index::{self, OffsetIndex};
use super::segment::{Sealed, View};
use super::time_index::{self, TimeEntry, TimeIndex};
use super::transactions::{AbortedIndex, AbortedView, collect_aborted};

/// Hands out snapshots of one log. Cheap to clone; never blocks, never blocks the writer.
#[derive(Clone, Debug)]
pub struct LogReader {
    current: Arc<ArcSwap<Snapshot>>,
}

impl LogReader {
    pub(super) fn new(snapshot: Snapshot) -> LogReader {
        LogReader {
            current: Arc::new(ArcSwap::from_pointee(snapshot)),
        }
    }

    /// The log as of now.
    pub fn snapshot(&self) -> Arc<Snapshot> {
        self.current.load_full()
    }

    /// The reader of a log that could not be opened: always empty.
    pub fn of_nothing(dir: &Path) -> LogReader {
        let nothing = Tail::heap(0);
        let shape = Shape {
            dir: Arc::from(dir),
            sealed: Arc::default(),
            sealed_bytes: 0,
            base: Offset::ZERO,
            log: Arc::clone(nothing.region()),
            offsets: Arc::clone(nothing.region()),
            times: Arc::clone(nothing.region()),
            aborted: AbortedView::default(),
            epochs: EpochHistory::default(),
        };
        let extent = Extent::empty(Offset::ZERO);
        LogReader::new(Snapshot::new(Arc::new(shape), extent))
    }

    /// Shows readers the log as it is now. There is one writer.
    pub(super) fn publish(&self, snapshot: Snapshot) {
        let (before, now) = (self.current.load().extent, snapshot.extent);
        assert!(
            now.follows(&before),
            "bounds go back by truncation only: {before:?}, then {now:?}"
        );
        self.current.store(Arc::new(snapshot));
    }
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
    /// The `.log` file.
    pub path: PathBuf,
}

/// The slowly changing part of a snapshot, shared between successive ones.
#[derive(Debug)]
pub(super) struct Shape {
    pub dir: Arc<Path>,
    /// Sealed segments, oldest first.
    pub sealed: Arc<[Arc<Sealed>]>,
    /// Bytes of the sealed segments.
    pub sealed_bytes: u64,
    /// Base offset of the active segment.
    pub base: Offset,
    pub log: Arc<Region>,
    pub offsets: Arc<Region>,
    pub times: Arc<Region>,
    pub aborted: AbortedView,
    pub epochs: EpochHistory,
}

impl Shape {
    /// The shape of a log as its writer has it now.
    pub fn new(
        dir: &Arc<Path>,
        sealed: &Arc<[Arc<Sealed>]>,
        active: &Active,
        aborted: &AbortedIndex,
        epochs: &EpochHistory,
    ) -> Shape {
        let bases = sealed.iter().map(|segment| segment.base);
        assert!(
            bases.chain([active.base]).is_sorted_by(|a, b| a < b),
            "segments follow each other"
        );
        Shape {
            dir: Arc::clone(dir),
            sealed: Arc::clone(sealed),
            sealed_bytes: sealed.iter().map(|segment| segment.size as u64).sum(),
            base: active.base,
            log: Arc::clone(active.log.region()),
            offsets: Arc::clone(active.indexes.offsets.region()),
            times: Arc::clone(active.indexes.times.region()),
            aborted: aborted.view(),
            epochs: epochs.clone(),
        }
    }
}

/// The part of a snapshot that changes with every append or move of a bound.
#[derive(Clone, Copy, Debug)]
pub(super) struct Extent {
    pub log_start: Offset,
    pub end: Offset,
    pub high_watermark: Offset,
    pub last_stable: Offset,
    /// Published bytes of the active segment and of its indexes.
    pub log_bytes: usize,
    pub offsets_bytes: usize,
    pub times_bytes: usize,
    /// Largest timestamp in the active segment.
    pub max_time: TimeEntry,
    /// How often the log was truncated.
    pub history: u64,
}

impl Extent {
    /// Of an empty log at `start`.
    pub fn empty(start: Offset) -> Extent {
        Extent {
            log_start: start,
            end: start,
            high_watermark: start,
            last_stable: start,
            log_bytes: 0,
            offsets_bytes: 0,
            times_bytes: 0,
            max_time: TimeEntry::none(start),
            history: 0,
        }
    }

    fn is_ordered(&self) -> bool {
        [
            self.log_start,
            self.last_stable,
            self.high_watermark,
            self.end,
        ]
        .is_sorted()
    }

    /// Whether the log may be like this after `before`.
    fn follows(&self, before: &Extent) -> bool {
        let goes_on = self.log_start >= before.log_start
            && self.high_watermark >= before.high_watermark
            && self.end >= before.end;
        goes_on || self.history > before.history
    }
}

/// A log as it was at one moment: its segments, bounds and watermarks do not change any more,
/// and its bytes stay readable even if they are deleted or truncated meanwhile.
#[derive(Debug)]
pub struct Snapshot {
    shape: Arc<Shape>,
    extent: Extent,
}

impl Snapshot {
    pub(super) fn new(shape: Arc<Shape>, extent: Extent) -> Snapshot {
        assert!(extent.is_ordered(), "bounds are in order: {extent:?}");
        Snapshot { shape, extent }
    }

    /// First offset that may be read.
    pub fn log_start(&self) -> Offset {
        self.extent.log_start
    }

    /// Offset after the last one appended.
    pub fn end(&self) -> Offset {
        self.extent.end
    }

    /// Readers see everything below.
    pub fn high_watermark(&self) -> Offset {
        self.extent.high_watermark
    }

    /// `read_committed` readers see everything below: the smaller of high watermark and the first
    /// offset of a transaction that is not known to have ended below the high watermark.
    pub fn last_stable(&self) -> Offset {
        self.extent.last_stable
    }

    /// Bytes of all segments.
    pub fn size_bytes(&self) -> u64 {
        self.shape.sealed_bytes + self.extent.log_bytes as u64
    }

    /// Whole batches from the one that holds `from` (or the first after it) on, of one segment:
    /// as many as fit `max_bytes`, none that begins at or past `upto`; the first one even if it
    /// is larger when `at_least_one`. Empty at the end. No copy: the bytes are the mapping's.
    ///
    /// Errors: `OutOfRange` below the log start or past the end, `Corrupt`, `Io`.
    pub fn read(
        &self,
        from: Offset,
        upto: Offset,
        max_bytes: usize,
        at_least_one: bool,
    ) -> Result<Bytes, LogError> {
        let (log_start, end) = (self.log_start(), self.end());
        if from < log_start || from > end {
            return Err(LogError::OutOfRange {
                offset: from,
                log_start,
                end,
            });
        }
        let upto = upto.min(end);
        for at in self.segment_of(from)..=self.shape.sealed.len() {
            if from >= upto || self.base_of(at) >= upto {
                break;
            }
            let view = self.view(at)?;
            if let Some((start, header)) = view.find(from)? {
                if header.base_offset >= upto {
                    break;
                }
                let first_bytes = header.size_bytes();
                if first_bytes > max_bytes && !at_least_one {
                    break;
                }
                let limit = start.saturating_add(max_bytes.max(first_bytes));
                let stop = view.read_end(start, limit, upto)?;
                return view.log.bytes(start..stop).ok_or_else(|| {
                    LogError::corrupt(&view.path(), format!("no bytes {start} to {stop}"))
                });
            }
        }
        Ok(Bytes::new())
    }

    /// Largest epoch not above the one asked for, and where it ends
    /// (`LeaderEpochFileCache.endOffsetFor`).
    pub fn epoch_end(&self, epoch: LeaderEpoch) -> Option<(LeaderEpoch, Offset)> {
        self.shape.epochs.end_offset_for(epoch, self.end())
    }

    /// The epoch of the last batch.
    pub fn last_epoch(&self) -> Option<LeaderEpoch> {
        self.shape.epochs.latest()
    }

    /// The epochs of the log.
    pub fn epochs(&self) -> &EpochHistory {
        &self.shape.epochs
    }

    /// Aborted transactions that overlap `from..upto`, in order of their markers.
    pub fn aborted(&self, from: Offset, upto: Offset) -> Result<Vec<AbortedTxn>, LogError> {
        let later = self
            .shape
            .sealed
            .get(self.segment_of(from)..)
            .unwrap_or_default();
        let views = later.iter().map(|segment| segment.aborted());
        let active = std::iter::once(Ok(&self.shape.aborted));
        collect_aborted(views.chain(active), from, upto)
    }

    /// All segments, oldest first.
    pub fn segments(&self) -> Vec<SegmentInfo> {
        let info = |at: usize| {
            let base_offset = self.base_of(at);
            SegmentInfo {
                base_offset,
                end: self.next_of(at),
                size_bytes: self.size_of(at),
                path: path_of(&self.shape.dir, base_offset, Kind::Log),
            }
        };
        (0..=self.shape.sealed.len()).map(info).collect()
    }

    /// Number of the segment that holds `offset` (or would); the active one comes last.
    pub(super) fn segment_of(&self, offset: Offset) -> usize {
        if offset >= self.shape.base {
            return self.shape.sealed.len();
        }
        self.shape
            .sealed
            .partition_point(|segment| segment.base <= offset)
            .saturating_sub(1)
    }

    /// How many segments there are.
    pub(super) fn segment_count(&self) -> usize {
        self.shape.sealed.len() + 1
    }

    pub(super) fn base_of(&self, at: usize) -> Offset {
        self.shape
            .sealed
            .get(at)
            .map_or(self.shape.base, |segment| segment.base)
    }

    fn next_of(&self, at: usize) -> Offset {
        if at < self.shape.sealed.len() {
            self.base_of(at + 1)
        } else {
            self.end()
        }
    }

    /// Bytes of a segment's batches.
    pub(super) fn size_of(&self, at: usize) -> u64 {
        match self.shape.sealed.get(at) {
            Some(segment) => segment.size as u64,
            None => self.extent.log_bytes as u64,
        }
    }

    /// Bytes of a segment's batches, offset index and time index.
    pub(super) fn sizes_of(&self, at: usize) -> Result<[u64; 3], LogError> {
        let view = self.view(at)?;
        let bytes = |entries: usize, each: usize| (entries * each) as u64;
        Ok([
            view.size as u64,
            bytes(view.offsets.len(), offset_index::ENTRY_BYTES),
            bytes(view.times.len(), time_index::ENTRY_BYTES),
        ])
    }

    /// The sealed segments with those numbers.
    pub(super) fn sealed(&self, numbers: Range<usize>) -> Vec<Arc<Sealed>> {
        let found = self.shape.sealed.get(numbers);
        found.unwrap_or_default().to_vec()
    }

    pub(super) fn dir(&self) -> &Arc<Path> {
        &self.shape.dir
    }

    /// Largest timestamp of a segment.
    pub(super) fn max_time(&self, at: usize) -> Result<TimeEntry, LogError> {
        match self.shape.sealed.get(at) {
            Some(segment) => segment.max_time(),
            None => Ok(self.extent.max_time),
        }
    }

    /// A segment to read from.
    pub(super) fn view(&self, at: usize) -> Result<View<'_>, LogError> {
        let next = self.next_of(at);
        if let Some(segment) = self.shape.sealed.get(at) {
            return segment.view(next);
        }
        let (shape, extent) = (&self.shape, &self.extent);
        let offsets = shape
            .offsets
            .slice(0..extent.offsets_bytes)
            .unwrap_or_default();
        let times = shape.times.slice(0..extent.times_bytes).unwrap_or_default();
        Ok(View {
            dir: &shape.dir,
            base: shape.base,
            next,
            log: &shape.log,
            size: extent.log_bytes,
            offsets: OffsetIndex::new(shape.base, offsets),
            times: TimeIndex::new(shape.base, times),
        })
    }
}
