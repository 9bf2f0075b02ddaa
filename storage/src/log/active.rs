//! The segment that is appended to.
//!
//! Its `.log` file is reserved and mapped in growing steps ([`Active::reserve`]), its indexes lie
//! in memory until the segment is sealed. File and mapping follow the rules of `mapped.rs`.

use std::fs::{self, File};
use std::hash::{BuildHasher, RandomState};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use carrick_protocol::batch::{Batch, BatchHeader};
use carrick_protocol::ids::Offset;

use super::files::{Kind, open_rw, path_of, remove_if_there};
use super::indexes::Indexes;
use super::mapped::Tail;
use super::segment::{Sealed, View};
use super::{LogConfig, LogError, offset_index, time_index};
use crate::disk;

/// What a new segment's file gets first.
const FIRST_RESERVE_BYTES: usize = 64 << 10;
/// Reservation doubles up to this step.
const LARGEST_RESERVE_STEP_BYTES: usize = 64 << 20;
/// Positions in an index are i32.
pub(super) const SEGMENT_LIMIT_BYTES: usize = i32::MAX as usize;
const PAGE_BYTES: usize = 4096;

/// What about batches decides whether (the last of) them need a new segment.
#[derive(Clone, Copy, Debug)]
pub(super) struct Incoming {
    pub bytes: usize,
    pub last_offset: Offset,
    pub max_timestamp_ms: i64,
    /// How many batches.
    pub batches: usize,
}

/// The writer's side of the active segment.
#[derive(Debug)]
pub(super) struct Active {
    dir: Arc<Path>,
    pub base: Offset,
    pub file: Arc<File>,
    pub log: Tail,
    pub indexes: Indexes,
    first_timestamp_ms: Option<i64>,
    created_ms: i64,
    /// Where in `segment.jitter.ms` this segment is rolled.
    jitter_draw: u64,
}

impl Active {
    /// A new, empty segment. A file of that name that recovery did not know is emptied: no reader
    /// can hold it.
    pub fn create(dir: &Arc<Path>, base: Offset, now_ms: i64) -> Result<Active, LogError> {
        let path = path_of(dir, base, Kind::Log);
        remove_if_there(&path)?;
        let file = open_rw(&path)?;
        Ok(Active::over(dir, base, file, Tail::heap(0), now_ms))
    }

    /// Goes on with a segment of `size` good bytes, whose file is as long. The batches are still
    /// to be told ([`Active::note`]) or the indexes to be loaded ([`Active::load_indexes`]).
    pub fn resume(
        dir: &Arc<Path>,
        base: Offset,
        size: usize,
        now_ms: i64,
    ) -> Result<Active, LogError> {
        let path = path_of(dir, base, Kind::Log);
        let file = open_rw(&path)?;
        let log = Tail::file(&file, size, size).map_err(|e| LogError::io(&path, e))?;
        Ok(Active::over(dir, base, file, log, now_ms))
    }

    fn over(dir: &Arc<Path>, base: Offset, file: File, log: Tail, created_ms: i64) -> Active {
        Active {
            dir: Arc::clone(dir),
            base,
            file: Arc::new(file),
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

    /// Makes room for `bytes` more: reserves disk space, then maps it. Returns whether readers
    /// need the new mapping. On an error the segment is as it was.
    pub fn reserve(&mut self, bytes: usize, config: &LogConfig) -> Result<bool, LogError> {
        if bytes <= self.log.spare_bytes() {
            return Ok(false);
        }
        let size = self.size();
        let needed = size.saturating_add(bytes);
        if needed > SEGMENT_LIMIT_BYTES {
            return Err(LogError::BatchTooLarge { bytes });
        }
        let reserved = size + self.log.spare_bytes();
        let step = reserved.clamp(FIRST_RESERVE_BYTES, LARGEST_RESERVE_STEP_BYTES);
        let wished = (reserved + step)
            .min(config.segment_max_bytes as usize)
            .max(needed);
        let path = self.path();
        let mut capacity = wished.next_multiple_of(PAGE_BYTES);
        let mut outcome = self.allocate(capacity, &path);
        if let Err(LogError::DiskFull { .. }) = outcome {
            capacity = needed;
            outcome = self.allocate(capacity, &path);
        }
        outcome?;
        self.log = Tail::file(&self.file, size, capacity).map_err(|e| LogError::io(&path, e))?;
        Ok(true)
    }

    /// Reserves the file up to `capacity`. What an attempt that failed took is given back.
    fn allocate(&self, capacity: usize, path: &Path) -> Result<(), LogError> {
        #[cfg(test)]
        tests::check_room(capacity, path)?;
        let size = self.size();
        let outcome = disk::allocate(&self.file, path, size as u64, (capacity - size) as u64);
        outcome.map_err(|error| {
            let kept = size + self.log.spare_bytes();
            // Best effort: a longer file than needed harms nothing.
            let _ = self.file.set_len(kept as u64);
            LogError::from(error)
        })
    }

    /// Takes a batch at `position` into the indexes (Kafka's `LogSegment.append`).
    pub fn note(&mut self, header: &BatchHeader, position: usize, config: &LogConfig) {
        if self.first_timestamp_ms.is_none() {
            self.first_timestamp_ms = Some(header.max_timestamp_ms);
        }
        self.indexes.note(header, position, config);
    }

    /// Takes all batches of a segment that was resumed into the indexes; tells each one's header.
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

    /// Gives the reserved tail back to the disk and writes the index files. The segment can still
    /// be appended to afterwards. Returns the files written besides the log.
    pub fn settle(&mut self) -> Result<Vec<PathBuf>, LogError> {
        let path = self.path();
        self.log.give_up_spare();
        self.file
            .set_len(self.size() as u64)
            .map_err(|e| LogError::io(&path, e))?;
        self.indexes.note_time();
        let place = |kind| path_of(&self.dir, self.base, kind);
        self.indexes.write(place)?;
        Ok([Kind::Offsets, Kind::Times].map(place).to_vec())
    }

    /// The settled segment as a sealed one.
    pub fn sealed(&self) -> Sealed {
        Sealed::new(&self.dir, self.base, self.size())
    }
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

    use super::*;

    thread_local! {
        /// What this thread's segments may take on the disk.
        static ROOM_BYTES: Cell<usize> = const { Cell::new(usize::MAX) };
    }

    /// Makes the disk full for segments of more than `bytes`.
    pub(crate) fn set_room(bytes: usize) {
        ROOM_BYTES.set(bytes);
    }

    pub(super) fn check_room(bytes: usize, path: &Path) -> Result<(), LogError> {
        if bytes <= ROOM_BYTES.get() {
            return Ok(());
        }
        Err(LogError::DiskFull {
            path: path.to_path_buf(),
        })
    }
}
