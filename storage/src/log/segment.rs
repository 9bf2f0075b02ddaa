//! One segment as readers see it: a [`View`] over its bytes and indexes, of a sealed file or of
//! the active segment up to a snapshot's end.
//!
//! Invariants of a sealed segment: its file has exactly `size` bytes, all whole batches, and never
//! changes; it is only ever deleted. A file that is shorter, or holds no batch where one should be,
//! is an error: the disk may have lost it. Its mappings are opened when first needed, and before
//! the file is unlinked, so that a snapshot stays readable whatever happens to the files.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use carrick_protocol::batch::{Batch, BatchError, BatchHeader};
use carrick_protocol::ids::Offset;
use tracing::warn;

use super::LogError;
use super::files::{Kind, path_of};
use super::mapped::Region;
use super::offset_index::OffsetIndex;
use super::time_index::{TimeEntry, TimeIndex};
use super::transactions::{AbortedIndex, AbortedView};

/// A segment that takes no more appends.
#[derive(Debug)]
pub(super) struct Sealed {
    dir: Arc<Path>,
    pub base: Offset,
    /// Bytes of whole batches: the file's length.
    pub size: usize,
    log: OnceLock<Arc<Region>>,
    offsets: OnceLock<Arc<Region>>,
    times: OnceLock<Arc<Region>>,
    aborted: OnceLock<AbortedView>,
}

impl Sealed {
    /// A segment whose files are opened when needed.
    pub fn new(dir: &Arc<Path>, base: Offset, size: usize) -> Sealed {
        Sealed {
            dir: Arc::clone(dir),
            base,
            size,
            log: OnceLock::new(),
            offsets: OnceLock::new(),
            times: OnceLock::new(),
            aborted: OnceLock::new(),
        }
    }

    /// Opens all mappings now: the files are about to be unlinked.
    pub fn open_all(&self) -> Result<(), LogError> {
        self.log()?;
        self.offsets()?;
        self.times()?;
        self.aborted()?;
        Ok(())
    }

    fn log(&self) -> Result<&Arc<Region>, LogError> {
        self.map(&self.log, Kind::Log, Some(self.size))
    }

    fn offsets(&self) -> Result<&Arc<Region>, LogError> {
        self.map(&self.offsets, Kind::Offsets, None)
    }

    fn times(&self) -> Result<&Arc<Region>, LogError> {
        self.map(&self.times, Kind::Times, None)
    }

    pub fn aborted(&self) -> Result<&AbortedView, LogError> {
        if let Some(view) = self.aborted.get() {
            return Ok(view);
        }
        let view = AbortedIndex::open(&self.dir, self.base)?.view();
        Ok(self.aborted.get_or_init(|| view))
    }

    /// The mapping of one file, created by the first caller that needs it (two concurrent callers
    /// map twice, and one mapping is kept).
    fn map<'a>(
        &self,
        cell: &'a OnceLock<Arc<Region>>,
        kind: Kind,
        expected_bytes: Option<usize>,
    ) -> Result<&'a Arc<Region>, LogError> {
        if let Some(region) = cell.get() {
            return Ok(region);
        }
        let path = path_of(&self.dir, self.base, kind);
        let failed = |e| LogError::io(&path, e);
        let file = File::open(&path).map_err(failed)?;
        let found = usize::try_from(file.metadata().map_err(failed)?.len()).unwrap_or(usize::MAX);
        let len = expected_bytes.unwrap_or(found);
        if found < len {
            return Err(LogError::corrupt(
                &path,
                format!("{found} bytes instead of {len}"),
            ));
        }
        let region = Region::read_only(&file, len).map_err(failed)?;
        Ok(cell.get_or_init(|| region))
    }

    /// Largest timestamp, from the last entry of the time index.
    pub fn max_time(&self) -> Result<TimeEntry, LogError> {
        let times = self.times()?;
        let index = TimeIndex::new(
            self.base,
            times.slice(0..times.published()).unwrap_or_default(),
        );
        Ok(index.last().unwrap_or(TimeEntry::none(self.base)))
    }

    /// Whether the index files look like indexes of this segment.
    pub fn has_sane_indexes(&self) -> Result<bool, LogError> {
        let (offsets, times) = (self.offsets()?, self.times()?);
        let offsets = offsets.slice(0..offsets.published()).unwrap_or_default();
        let times = times.slice(0..times.published()).unwrap_or_default();
        let index = OffsetIndex::new(self.base, offsets);
        Ok(index.is_sane(offsets.len() as u64, self.size as u64)
            && TimeIndex::new(self.base, times).is_sane(times.len() as u64))
    }

    /// As readers see it.
    pub fn view(&self, next: Offset) -> Result<View<'_>, LogError> {
        let (offsets, times) = (self.offsets()?, self.times()?);
        Ok(View {
            dir: &self.dir,
            base: self.base,
            next,
            log: self.log()?,
            size: self.size,
            offsets: OffsetIndex::new(
                self.base,
                offsets.slice(0..offsets.published()).unwrap_or_default(),
            ),
            times: TimeIndex::new(
                self.base,
                times.slice(0..times.published()).unwrap_or_default(),
            ),
        })
    }
}

/// Opens the mappings of segments whose files are about to go, for the snapshots that have them.
pub(super) fn keep_readable(segments: &[Arc<Sealed>]) {
    for segment in segments {
        if let Err(error) = segment.open_all() {
            warn!(base = %segment.base, %error, "removed segment is not readable to the end");
        }
    }
}

/// A segment to read from.
#[derive(Clone, Copy, Debug)]
pub(super) struct View<'a> {
    pub dir: &'a Path,
    pub base: Offset,
    /// Where the next segment begins, or the log ends.
    pub next: Offset,
    pub log: &'a Arc<Region>,
    /// Bytes of whole batches that belong to the view.
    pub size: usize,
    pub offsets: OffsetIndex<'a>,
    pub times: TimeIndex<'a>,
}

impl<'a> View<'a> {
    /// The segment's file, for errors and descriptions.
    pub fn path(&self) -> PathBuf {
        path_of(self.dir, self.base, Kind::Log)
    }

    pub fn corrupt(&self, position: usize, error: &BatchError) -> LogError {
        LogError::corrupt(&self.path(), format!("batch at byte {position}: {error}"))
    }

    /// The bytes from `position` to the end of the view.
    fn rest(&self, position: usize) -> Result<&'a [u8], LogError> {
        self.log.slice(position..self.size).ok_or_else(|| {
            LogError::corrupt(
                &self.path(),
                format!("no batch at byte {position} of {}", self.size),
            )
        })
    }

    /// All bytes of the view, without a copy.
    pub fn bytes(&self) -> Result<Bytes, LogError> {
        self.log
            .bytes(0..self.size)
            .ok_or_else(|| LogError::corrupt(&self.path(), format!("no bytes 0 to {}", self.size)))
    }

    /// The batch at `position`, whole.
    pub fn batch(&self, position: usize) -> Result<Batch<'a>, LogError> {
        Batch::parse(self.rest(position)?).map_err(|error| self.corrupt(position, &error))
    }

    /// Headers of the batches from `position` on.
    pub fn headers(&self, position: usize) -> Headers<'a> {
        Headers {
            view: *self,
            position,
        }
    }

    /// A position at or before the first batch that ends at or past `offset`, by the index. An
    /// entry that does not point at its batch is ignored: the search then begins at the start.
    pub fn position_before(&self, offset: Offset) -> usize {
        let Some(entry) = self.offsets.floor(offset) else {
            return 0;
        };
        if self.begins_batch(entry.position, entry.last_offset) {
            return entry.position;
        }
        warn!(segment = %self.path().display(), %offset, "offset index is wrong, scanning");
        0
    }

    fn begins_batch(&self, position: usize, last_offset: Offset) -> bool {
        let bytes = self.log.slice(position..self.size).unwrap_or_default();
        BatchHeader::parse(bytes).is_ok_and(|header| header.last_offset() == last_offset)
    }

    /// The first batch that ends at or past `offset`.
    pub fn find(&self, offset: Offset) -> Result<Option<(usize, BatchHeader)>, LogError> {
        for found in self.headers(self.position_before(offset)) {
            let (position, header) = found?;
            if header.last_offset() >= offset {
                return Ok(Some((position, header)));
            }
        }
        Ok(None)
    }

    /// Where a read ends that begins with the batch at `start`: whole batches up to the byte
    /// `limit`, none that begins at or past `upto`.
    pub fn read_end(&self, start: usize, limit: usize, upto: Offset) -> Result<usize, LogError> {
        if limit >= self.size && upto >= self.next {
            return Ok(self.size);
        }
        let near = self.offsets.floor_position(limit, upto);
        let mut end = match near {
            Some(e) if e.position > start && self.begins_batch(e.position, e.last_offset) => {
                e.position
            }
            _ => start,
        };
        for found in self.headers(end) {
            let (position, header) = found?;
            let next = position + header.size_bytes();
            if next > limit || header.base_offset >= upto {
                break;
            }
            end = next;
        }
        Ok(end)
    }
}

/// Walks the headers of a segment; see [`View::headers`].
#[derive(Debug)]
pub(super) struct Headers<'a> {
    view: View<'a>,
    position: usize,
}

impl Iterator for Headers<'_> {
    type Item = Result<(usize, BatchHeader), LogError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.position >= self.view.size {
            return None;
        }
        let position = self.position;
        Some(match self.view.batch(position) {
            Ok(batch) => {
                self.position += batch.bytes.len();
                Ok((position, batch.header))
            }
            Err(error) => {
                self.position = self.view.size;
                Err(error)
            }
        })
    }
}
