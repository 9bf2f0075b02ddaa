//! The segment that is appended to.
//!
//! Batches are written to the end of its `.log` file, which readers have mapped. The mapping is
//! longer than the file, so that not every batch needs a new one. Small batches would each pay for
//! a call, so the first one also writes some zeros, and the next ones are copied over the zeros.
//! The file is opened with the first write, so that a quiet log has a mapping and no open file. Its
//! indexes are in memory until the segment is sealed. File and mapping follow the rules of
//! `mapped.rs`.

use std::fs::{self, File};
use std::hash::{BuildHasher, RandomState};
use std::io::{self, IoSlice};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use carrick_protocol::batch::{Batch, BatchHeader};
use carrick_protocol::ids::Offset;

use super::durability::Durability;
use super::files::{Kind, open_rw, path_of, remove_if_there};
use super::indexes::Indexes;
use super::mapped::FileTail;
use super::segment::{Sealed, View};
use super::{LogConfig, LogError, offset_index, time_index};
use crate::disk;

/// The least that is mapped of a segment that is written to.
const LEAST_MAPPED_BYTES: usize = 64 << 10;
/// Appends of up to this many bytes are small.
const SMALL_BYTES: usize = 4 << 10;
/// The most zeros that are written for small appends to come.
const MOST_ZEROS: usize = 16 << 10;
static ZEROS: [u8; MOST_ZEROS] = [0; MOST_ZEROS];
/// Positions in an index are i32.
pub(super) const SEGMENT_LIMIT_BYTES: usize = i32::MAX as usize;
const PAGE_BYTES: usize = 4096;

/// The properties of a run of batches that decide whether its last batch needs a new segment.
#[derive(Clone, Copy, Debug)]
pub(super) struct Incoming {
    pub bytes: usize,
    pub last_offset: Offset,
    pub max_timestamp_ms: i64,
    pub batches: usize,
}

/// The writer's side of the active segment.
#[derive(Debug)]
pub(super) struct Active {
    dir: Arc<Path>,
    pub base: Offset,
    /// Open once it was written to.
    file: Option<Arc<File>>,
    /// Whether small batches are copied. They are where a page that was written once needs no more
    /// space to be written again, so that a full disk is an error and not a signal.
    copies: bool,
    pub log: FileTail,
    pub indexes: Indexes,
    first_timestamp_ms: Option<i64>,
    created_ms: i64,
    /// Where in `segment.jitter.ms` this segment is rolled.
    jitter_draw: u64,
}

impl Active {
    /// A new, empty segment. If recovery did not know a file of that name, it is emptied: no reader
    /// can hold it.
    pub fn create(dir: &Arc<Path>, base: Offset, now_ms: i64) -> Result<Active, LogError> {
        let path = path_of(dir, base, Kind::Log);
        remove_if_there(&path)?;
        open_rw(&path)?;
        Ok(Active::over(dir, base, FileTail::empty(), now_ms))
    }

    /// Continues a segment of `size` good bytes, whose file has the same length. The batches must
    /// still be noted ([`Active::note`]) or the indexes loaded ([`Active::load_indexes`]).
    pub fn resume(
        dir: &Arc<Path>,
        base: Offset,
        size: usize,
        now_ms: i64,
    ) -> Result<Active, LogError> {
        let path = path_of(dir, base, Kind::Log);
        let file = open_rw(&path)?;
        let log = FileTail::open(&file, size).map_err(|e| LogError::io(&path, e))?;
        Ok(Active::over(dir, base, log, now_ms))
    }

    fn over(dir: &Arc<Path>, base: Offset, log: FileTail, created_ms: i64) -> Active {
        Active {
            dir: Arc::clone(dir),
            base,
            file: None,
            copies: false,
            log,
            indexes: Indexes::new(base),
            first_timestamp_ms: None,
            created_ms,
            jitter_draw: RandomState::new().hash_one(base.0),
        }
    }

    /// Takes the index files of a cleanly closed segment into memory; whether they are sane.
    pub fn load_indexes(&mut self) -> Result<bool, LogError> {
        let offsets = read_if_there(&path_of(&self.dir, self.base, Kind::Offsets))?;
        let times = read_if_there(&path_of(&self.dir, self.base, Kind::Times))?;
        let (Some(offsets), Some(times)) = (offsets, times) else {
            return Ok(false);
        };
        let sane = self.indexes.load(&offsets, &times, self.log.len());
        if sane {
            let first = self
                .log
                .region()
                .slice(0..self.log.len())
                .unwrap_or_default();
            self.first_timestamp_ms = BatchHeader::parse(first).ok().map(|h| h.max_timestamp_ms);
        }
        Ok(sane)
    }

    pub fn path(&self) -> PathBuf {
        path_of(&self.dir, self.base, Kind::Log)
    }

    /// Bytes of whole batches.
    pub fn size(&self) -> usize {
        self.log.len()
    }

    /// Whether a batch must go to a new segment (`LogSegment.shouldRoll`). A segment without
    /// batches takes anything but offsets out of its reach.
    pub fn should_roll(&self, incoming: Incoming, config: &LogConfig, now_ms: i64) -> bool {
        if i32::try_from(incoming.last_offset - self.base).is_err() {
            return true;
        }
        let waited_ms = match self.first_timestamp_ms {
            Some(first) if first >= 0 => incoming.max_timestamp_ms.saturating_sub(first),
            _ => now_ms.saturating_sub(self.created_ms),
        };
        // A batch that would be the first goes in whatever its size.
        let follows = self.size() > 0 || incoming.batches > 1;
        follows
            && (self.size() + incoming.bytes > config.segment_max_bytes as usize
                || waited_ms > config.segment_max_age_ms - self.jitter_ms(config)
                || self.indexes_are_full(incoming, config))
    }

    /// How much earlier than others this segment is rolled (`LogConfig.randomSegmentJitter`).
    fn jitter_ms(&self, config: &LogConfig) -> i64 {
        let most_ms = config.segment_jitter_ms.min(config.segment_max_age_ms);
        match u64::try_from(most_ms) {
            Ok(most_ms) if most_ms > 0 => (self.jitter_draw % most_ms) as i64,
            _ => 0,
        }
    }

    /// Whether the batches might add more entries than the index files may hold.
    fn indexes_are_full(&self, incoming: Incoming, config: &LogConfig) -> bool {
        let interval_bytes = (config.index_interval_bytes as usize).max(1);
        let coming = incoming.batches.min(incoming.bytes / interval_bytes + 1);
        let index_bytes = config.index_max_bytes as usize;
        let offsets = self.indexes.offsets.len() / offset_index::ENTRY_BYTES;
        // The last entry of the time index is kept for the seal.
        let times = self.indexes.times.len() / time_index::ENTRY_BYTES + 1;
        offsets + coming > index_bytes / offset_index::ENTRY_BYTES
            || times + coming > index_bytes / time_index::ENTRY_BYTES
    }

    /// Writes `parts`, `bytes` in all, behind the published ones; see [`FileTail::publish`].
    ///
    /// On an error the file is cut back to the published bytes; `Faulted` if that fails.
    pub fn write(
        &mut self,
        parts: &[IoSlice<'_>],
        bytes: usize,
        config: &LogConfig,
        durability: &Durability,
    ) -> Result<(), LogError> {
        let needed = self.size().saturating_add(bytes);
        if needed > SEGMENT_LIMIT_BYTES {
            return Err(LogError::BatchTooLarge { bytes });
        }
        let file = self.file(durability)?;
        if needed > self.log.capacity() {
            let mapped = self.log.map(&file, room(needed, config));
            mapped.map_err(|e| LogError::io(&self.path(), e))?;
        }
        let is_small = self.copies && bytes <= SMALL_BYTES;
        if is_small && self.log.copy(parts) {
            return Ok(());
        }
        let zeros = match is_small {
            true => zeros_after(needed),
            false => 0,
        };
        let mut written = self.write_out(&file, parts, zeros);
        if written.is_err() && zeros > 0 {
            // There may be room without them.
            self.cut_back(durability)?;
            written = self.write_out(&file, parts, 0);
        }
        written.map_err(|error| match self.cut_back(durability) {
            Ok(()) => LogError::io(&self.path(), error),
            Err(worse) => worse,
        })
    }

    fn write_out(&mut self, file: &File, parts: &[IoSlice<'_>], zeros: usize) -> io::Result<()> {
        let mut parts = parts.to_vec();
        if zeros > 0 {
            parts.push(IoSlice::new(&ZEROS[..zeros]));
        }
        #[cfg(test)]
        tests::write_what_fits(&mut self.log, file, &parts)?;
        self.log.write(file, &mut parts, zeros)
    }

    /// Cuts off bytes that were written but not published.
    pub fn cut_back(&mut self, durability: &Durability) -> Result<(), LogError> {
        let file = self.file(durability)?;
        // Recovery would find there what was refused.
        let cut = self.log.cut(&file);
        cut.map_err(|error| durability.fault(error))
    }

    /// The file, opened when it is first written to.
    fn file(&mut self, durability: &Durability) -> Result<Arc<File>, LogError> {
        if let Some(file) = &self.file {
            return Ok(Arc::clone(file));
        }
        let file = Arc::new(open_rw(&self.path())?);
        self.copies = disk::writes_in_place(&file);
        durability.opened(&file);
        Ok(Arc::clone(self.file.insert(file)))
    }

    /// Closes the file until the next write.
    pub fn close_file(&mut self) {
        self.file = None;
    }

    /// Takes a batch at `position` into the indexes (Kafka's `LogSegment.append`).
    pub fn note(&mut self, header: &BatchHeader, position: usize, config: &LogConfig) {
        if self.first_timestamp_ms.is_none() {
            self.first_timestamp_ms = Some(header.max_timestamp_ms);
        }
        self.indexes.note(header, position, config);
    }

    /// Takes all batches of a resumed segment into the indexes; passes each one's header to the
    /// caller.
    pub fn note_all(
        &mut self,
        config: &LogConfig,
        mut each: impl FnMut(&BatchHeader),
    ) -> Result<(), LogError> {
        let region = Arc::clone(self.log.region());
        let mut position = 0;
        while position < self.size() {
            let bytes = region.slice(position..self.size()).unwrap_or_default();
            let batch = Batch::parse(bytes).map_err(|error| {
                LogError::corrupt(&self.path(), format!("batch at byte {position}: {error}"))
            })?;
            each(&batch.header);
            self.note(&batch.header, position, config);
            position += batch.bytes.len();
        }
        Ok(())
    }

    /// As readers see it, up to all that was published.
    pub fn view(&self, next: Offset) -> View<'_> {
        View {
            dir: &self.dir,
            base: self.base,
            next,
            log: self.log.region(),
            size: self.size(),
            offsets: self.indexes.offset_index(),
            times: self.indexes.time_index(),
        }
    }

    /// Cuts the zeros off and writes the index files. The segment can still be appended to
    /// afterwards. Returns the files written besides the log.
    pub fn settle(&mut self, durability: &Durability) -> Result<Vec<PathBuf>, LogError> {
        if self.log.zeros() > 0 {
            let file = self.file(durability)?;
            let cut = self.log.cut(&file);
            cut.map_err(|e| LogError::io(&self.path(), e))?;
        }
        self.settle_indexes()
    }

    /// As [`Active::settle`], for a segment that was not written to since it was opened.
    pub fn settle_indexes(&mut self) -> Result<Vec<PathBuf>, LogError> {
        self.indexes.note_time();
        let place = |kind| path_of(&self.dir, self.base, kind);
        self.indexes.write(place)?;
        Ok([Kind::Offsets, Kind::Times].map(place).to_vec())
    }

    /// The settled segment as a sealed one.
    pub fn sealed(&self) -> Sealed {
        Sealed::new(&self.dir, self.base, self.size())
    }

    /// Where its batches end: the offset after the last of them, or its base.
    pub fn end(&self) -> Result<Offset, LogError> {
        let view = self.view(Offset::MAX);
        let mut end = self.base;
        for found in view.headers(view.position_before(Offset::MAX)) {
            end = found?.1.next_offset();
        }
        Ok(end)
    }
}

/// How much to map of a segment that needs `needed` bytes: twice that, so that a growing segment
/// is rarely mapped again.
fn room(needed: usize, config: &LogConfig) -> usize {
    let limit = needed.max(config.segment_max_bytes as usize);
    let room = needed
        .saturating_mul(2)
        .clamp(LEAST_MAPPED_BYTES, SEGMENT_LIMIT_BYTES);
    room.min(limit).next_multiple_of(PAGE_BYTES)
}

/// How many zeros are written behind `len` bytes: as many as there are bytes, up to the end of a
/// page, so that a log with few records takes no more than it needs.
fn zeros_after(len: usize) -> usize {
    let end = (len + len.min(MOST_ZEROS - PAGE_BYTES)).next_multiple_of(PAGE_BYTES);
    (end - len).min(MOST_ZEROS)
}

fn read_if_there(path: &Path) -> Result<Option<Vec<u8>>, LogError> {
    match fs::read(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(LogError::io(path, error)),
    }
}

#[cfg(test)]
pub(super) mod tests {
    use std::cell::Cell;

    use rustix::io::Errno;

    use super::*;

    thread_local! {
        /// What this thread's segments may take on the disk.
        static ROOM_BYTES: Cell<usize> = const { Cell::new(usize::MAX) };
    }

    /// Makes the disk full for segments of more than `bytes`.
    pub(crate) fn set_room(bytes: usize) {
        ROOM_BYTES.set(bytes);
    }

    /// Writes as much of `parts` as a full disk takes, and fails, if they don't fit.
    pub(super) fn write_what_fits(
        log: &mut FileTail,
        file: &File,
        parts: &[IoSlice<'_>],
    ) -> io::Result<()> {
        let bytes = parts.iter().flat_map(|part| part.iter().copied());
        let mut bytes: Vec<u8> = bytes.collect();
        let room = ROOM_BYTES.get().saturating_sub(log.len());
        if bytes.len() <= room {
            return Ok(());
        }
        bytes.truncate(room);
        if !bytes.is_empty() {
            log.write(file, &mut [IoSlice::new(&bytes)], 0)?;
        }
        Err(Errno::NOSPC.into())
    }
}
