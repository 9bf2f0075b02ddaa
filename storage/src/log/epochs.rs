//! Which leader epoch began at which offset (`LeaderEpochFileCache`).
//!
//! The file is Kafka's `leader-epoch-checkpoint`, as text:
//!
//! ```text
//! 0          <- version
//! 2          <- number of entries
//! 3 0        <- epoch, start offset
//! 5 120
//! ```
//!
//! Invariants: epochs and start offsets both increase strictly from entry to entry (asserted at
//! every change; in a file it is an error). The history is written before batches of a new epoch
//! count as durable, so the file never lacks an epoch. After a crash it may have too many, which
//! truncation to the log's real bounds removes.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use carrick_protocol::ids::{LeaderEpoch, Offset};

use super::LogError;
use crate::disk::atomic_write;

const FILE_NAME: &str = "leader-epoch-checkpoint";
const FILE_VERSION: &str = "0";

/// One epoch and the offset of its first batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EpochStart {
    pub epoch: LeaderEpoch,
    pub start: Offset,
}

/// The leader epochs of a log. Cheap to clone: readers keep one in their snapshot.
///
/// Changes are in memory only until [`EpochHistory::save`]. Methods that change something say
/// whether they did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EpochHistory {
    entries: Arc<Vec<EpochStart>>,
}

impl EpochHistory {
    /// Reads the history of the log in the folder `dir`; empty without a file.
    ///
    /// Fails with [`LogError::Corrupt`] when the file can't be understood: then start from an
    /// empty history and assign the epochs of the log's batches.
    pub fn load(dir: &Path) -> Result<Self, LogError> {
        let path = Self::path(dir);
        let bytes = match fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Self::default()),
            Err(error) => return Err(LogError::io(&path, error)),
        };
        let entries = parse(&bytes).map_err(|problem| LogError::corrupt(&path, problem))?;
        Ok(Self {
            entries: Arc::new(entries),
        })
    }

    /// Replaces the file of the log in the folder `dir`, durably.
    pub fn save(&self, dir: &Path) -> Result<(), LogError> {
        let mut text = format!("{FILE_VERSION}\n{}\n", self.entries.len());
        for entry in self.entries.iter() {
            text += &format!("{} {}\n", entry.epoch.0, entry.start.0);
        }
        Ok(atomic_write(&Self::path(dir), text.as_bytes())?)
    }

    fn path(dir: &Path) -> PathBuf {
        dir.join(FILE_NAME)
    }

    /// Notes that a batch of `epoch` begins at `start`. Call it for every appended batch: it does
    /// nothing within one epoch, nor for a batch without an epoch (negative).
    ///
    /// Earlier entries that contradict the new one (same or higher epoch, same or higher start) are
    /// removed: the newest batch is right.
    pub fn assign(&mut self, epoch: LeaderEpoch, start: Offset) -> bool {
        if epoch.0 < 0 || start.0 < 0 {
            return false;
        }
        if let Some(last) = self.entries.last()
            && last.epoch == epoch
            && last.start <= start
        {
            return false;
        }
        let entries = Arc::make_mut(&mut self.entries);
        while entries
            .last()
            .is_some_and(|last| last.epoch >= epoch || last.start >= start)
        {
            entries.pop();
        }
        entries.push(EpochStart { epoch, start });
        self.check_around(self.entries.len() - 1);
        true
    }

    /// The epoch of the newest batch.
    pub fn latest(&self) -> Option<LeaderEpoch> {
        self.entries.last().map(|entry| entry.epoch)
    }

    /// All entries, oldest first.
    pub fn entries(&self) -> &[EpochStart] {
        &self.entries
    }

    /// Where `epoch` ends, for OffsetForLeaderEpoch: the largest known epoch up to it, and the
    /// start of the next one (`log_end` for the newest).
    ///
    /// An epoch older than all known is answered with itself and the start of the oldest. `None`
    /// for one that is negative or newer than all known.
    pub fn end_offset_for(
        &self,
        epoch: LeaderEpoch,
        log_end: Offset,
    ) -> Option<(LeaderEpoch, Offset)> {
        if epoch.0 < 0 {
            return None;
        }
        if self.latest() == Some(epoch) {
            return Some((epoch, log_end));
        }
        let above = self.entries.partition_point(|entry| entry.epoch <= epoch);
        let next = self.entries.get(above)?;
        let found = match above {
            0 => epoch,
            _ => self.entries[above - 1].epoch,
        };
        Some((found, next.start))
    }

    /// The epoch of the batch at `offset`; `None` before the first entry.
    pub fn epoch_at(&self, offset: Offset) -> Option<LeaderEpoch> {
        let above = self.entries.partition_point(|entry| entry.start <= offset);
        above.checked_sub(1).map(|index| self.entries[index].epoch)
    }

    /// The log now ends at `end`: entries that start at or past it go.
    pub fn truncate_from_end(&mut self, end: Offset) -> bool {
        let kept = self.entries.partition_point(|entry| entry.start < end);
        if end.0 < 0 || kept == self.entries.len() {
            return false;
        }
        Arc::make_mut(&mut self.entries).truncate(kept);
        true
    }

    /// The log now starts at `start`: of the entries up to it only the last stays, moved there.
    pub fn truncate_from_start(&mut self, start: Offset) -> bool {
        let up_to = self.entries.partition_point(|entry| entry.start <= start);
        let Some(last) = up_to.checked_sub(1) else {
            return false;
        };
        if last == 0 && self.entries[0].start == start {
            return false;
        }
        let entries = Arc::make_mut(&mut self.entries);
        entries.drain(..last);
        entries[0].start = start;
        self.check_around(0);
        true
    }

    /// The entry that changed still fits its neighbours. The others were checked before.
    fn check_around(&self, at: usize) {
        let near = &self.entries[at.saturating_sub(1)..self.entries.len().min(at + 2)];
        assert!(
            near.is_sorted_by(|a, b| a.epoch < b.epoch && a.start < b.start),
            "epochs and their starts increase: {near:?}"
        );
    }

    /// Forgets everything: the log is empty.
    pub fn clear(&mut self) -> bool {
        let changed = !self.entries.is_empty();
        self.entries = Arc::default();
        changed
    }
}

fn parse(bytes: &[u8]) -> Result<Vec<EpochStart>, String> {
    let text = std::str::from_utf8(bytes).map_err(|error| error.to_string())?;
    let mut lines = text.lines();
    let version = lines.next().unwrap_or_default();
    if version.trim() != FILE_VERSION {
        return Err(format!("version {version:?}, known is {FILE_VERSION}"));
    }
    let count = lines.next().unwrap_or_default();
    let count: usize = count
        .trim()
        .parse()
        .map_err(|_| format!("{count:?} is not a count"))?;
    let mut entries: Vec<EpochStart> = Vec::new();
    for line in lines {
        let entry = parse_entry(line).ok_or_else(|| format!("{line:?} is not an entry"))?;
        if entries
            .last()
            .is_some_and(|last| last.epoch >= entry.epoch || last.start >= entry.start)
        {
            return Err(format!("{line:?} does not increase"));
        }
        entries.push(entry);
    }
    if entries.len() != count {
        return Err(format!("{} entries instead of {count}", entries.len()));
    }
    Ok(entries)
}

fn parse_entry(line: &str) -> Option<EpochStart> {
    let (epoch, start) = line.trim().split_once(char::is_whitespace)?;
    let (epoch, start) = (epoch.parse().ok()?, start.trim_start().parse().ok()?);
    (epoch >= 0 && start >= 0).then_some(EpochStart {
        epoch: LeaderEpoch(epoch),
        start: Offset(start),
    })
}

#[cfg(test)]
mod tests;
