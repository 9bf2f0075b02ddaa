//! The two indexes of a segment that is being written, in memory (Kafka's `LogSegment.append`).

use std::path::Path;

use carrick_protocol::batch::BatchHeader;
use carrick_protocol::ids::Offset;

use super::LogConfig;
use super::files::Kind;
use super::mapped::Tail;
use super::offset_index::{self, OffsetIndex};
use super::time_index::{self, TimeEntry, TimeIndex};
use super::{LogError, files};

/// Room of an index at first; it doubles.
const FIRST_INDEX_BYTES: usize = 12 * 40;

/// Offset index and time index of the batches so far.
#[derive(Debug)]
pub(super) struct Indexes {
    base: Offset,
    pub offsets: Tail,
    pub times: Tail,
    bytes_since_entry: usize,
    pub max_time: TimeEntry,
}

impl Indexes {
    /// Those of a segment without batches.
    pub fn new(base: Offset) -> Indexes {
        Indexes {
            base,
            offsets: Tail::heap(0),
            times: Tail::heap(0),
            bytes_since_entry: 0,
            max_time: TimeEntry::none(base),
        }
    }

    /// Takes the bytes of index files; whether they can be those of `log_bytes` of batches. If
    /// not, nothing changed.
    pub fn load(&mut self, offsets: &[u8], times: &[u8], log_bytes: usize) -> bool {
        let index = OffsetIndex::new(self.base, offsets);
        let time_index = TimeIndex::new(self.base, times);
        let sane = index.is_sane(offsets.len() as u64, log_bytes as u64)
            && time_index.is_sane(times.len() as u64);
        if sane {
            let indexed = index.last().map_or(0, |e| e.position);
            self.bytes_since_entry = log_bytes - indexed;
            self.max_time = time_index.last().unwrap_or(TimeEntry::none(self.base));
            push(&mut self.offsets, offsets);
            push(&mut self.times, times);
        }
        sane
    }

    /// Takes in a batch at `position`.
    pub fn note(&mut self, header: &BatchHeader, position: usize, config: &LogConfig) {
        let last_offset = header.last_offset();
        if header.max_timestamp_ms > self.max_time.timestamp_ms {
            self.max_time = TimeEntry {
                timestamp_ms: header.max_timestamp_ms,
                offset: last_offset,
            };
        }
        if self.bytes_since_entry > config.index_interval_bytes as usize {
            let before = self.offset_index().last();
            assert!(
                before.is_none_or(|before| before.position < position),
                "an index entry for byte {position} after {before:?}"
            );
            if let Some(entry) = offset_index::encode(self.base, last_offset, position) {
                push(&mut self.offsets, &entry);
            }
            self.note_time();
            self.bytes_since_entry = 0;
        }
        self.bytes_since_entry += header.size_bytes();
    }

    /// Adds the largest timestamp so far, if it grew since the last entry.
    pub fn note_time(&mut self) {
        let times = bytes_of(&self.times);
        let last = TimeIndex::new(self.base, times)
            .last()
            .map_or(-1, |entry| entry.timestamp_ms);
        if self.max_time.timestamp_ms > last
            && let Some(entry) = time_index::encode(self.base, self.max_time)
        {
            push(&mut self.times, &entry);
        }
    }

    /// Writes both where `place` says: new files, for readers may have older ones mapped.
    pub fn write(&self, place: impl Fn(Kind) -> std::path::PathBuf) -> Result<(), LogError> {
        for (kind, index) in [(Kind::Offsets, &self.offsets), (Kind::Times, &self.times)] {
            let path = place(kind);
            files::remove_if_there(&path)?;
            write_new(&path, bytes_of(index))?;
        }
        Ok(())
    }

    /// The offset index so far.
    pub fn offset_index(&self) -> OffsetIndex<'_> {
        OffsetIndex::new(self.base, bytes_of(&self.offsets))
    }

    /// The time index so far.
    pub fn time_index(&self) -> TimeIndex<'_> {
        TimeIndex::new(self.base, bytes_of(&self.times))
    }
}

fn write_new(path: &Path, bytes: &[u8]) -> Result<(), LogError> {
    std::fs::write(path, bytes).map_err(|e| LogError::io(path, e))
}

fn bytes_of(index: &Tail) -> &[u8] {
    index.region().slice(0..index.len()).unwrap_or_default()
}

/// Appends to an index in memory, which doubles when it is full.
fn push(index: &mut Tail, bytes: &[u8]) {
    if bytes.len() > index.spare_bytes() {
        let needed = index.len() + bytes.len();
        *index = index.grown_heap(needed.max(2 * index.len()).max(FIRST_INDEX_BYTES));
    }
    if let Some(spare) = index.spare(bytes.len()) {
        spare.copy_from_slice(bytes);
        index.publish(bytes.len());
    }
}
