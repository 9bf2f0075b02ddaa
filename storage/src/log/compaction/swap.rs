//! Replacing segments with the cleaned segment that was made from them, so that a crash at any
//! moment leaves one or the other.
//!
//! Names, from Kafka: files being written end in `.cleaned`, and in `.swap` once they are whole.
//! The `.log` file's second name says what it replaces: `<base>.<end>.log.swap` replaces all
//! segments that begin at or past `base` and before `end`.
//!
//! Order: all files are on disk as `.cleaned` · the three indexes become `.swap` · the log becomes
//! `.swap`: from here on the new segment counts · the old segments are removed, except the first ·
//! the indexes take the first one's names · so does the log. After a crash before the log is
//! `.swap`, opening removes the files; after a later crash, it finishes the work. An empty log file
//! means that nothing is left: then the first segment is removed, too.

use std::fs;
use std::path::{Path, PathBuf};

use carrick_protocol::ids::Offset;

use super::super::LogError;
use super::super::files::{Kind, entries, list_segments, path_of, remove_if_there, remove_segment};
use crate::disk::fsync_dir;

const CLEANED: &str = "cleaned";
const SWAP: &str = "swap";

/// The files of a cleaned segment besides its log.
pub(super) const INDEX_KINDS: [Kind; 3] = [Kind::Offsets, Kind::Times, Kind::Aborted];

fn with_ending(path: PathBuf, ending: &str) -> PathBuf {
    let mut name = path.into_os_string();
    name.push(".");
    name.push(ending);
    PathBuf::from(name)
}

/// A file of a cleaned segment while it is written.
pub(super) fn cleaned_path(dir: &Path, base: Offset, kind: Kind) -> PathBuf {
    with_ending(path_of(dir, base, kind), CLEANED)
}

fn swap_path(dir: &Path, swap: Swap, kind: Kind) -> PathBuf {
    match kind {
        Kind::Log => dir.join(format!("{:020}.{:020}.log.{SWAP}", swap.base.0, swap.end.0)),
        _ => with_ending(path_of(dir, swap.base, kind), SWAP),
    }
}

/// The segments that a cleaned one replaces: those that begin in `base..end`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Swap {
    pub base: Offset,
    pub end: Offset,
}

impl Swap {
    /// Of the name of a `.log.swap` file.
    fn parse(name: &str) -> Option<Swap> {
        let name = name.strip_suffix(".log.swap")?;
        let (base, end) = name.split_once('.')?;
        let offset = |digits: &str| {
            let is_whole = digits.len() == 20 && digits.bytes().all(|b| b.is_ascii_digit());
            is_whole.then(|| digits.parse().ok()).flatten().map(Offset)
        };
        let (base, end) = (offset(base)?, offset(end)?);
        (base < end).then_some(Swap { base, end })
    }

    /// Renames whole `.cleaned` files to `.swap`, the log last: then the swap counts.
    ///
    /// An error leaves the old segments in force.
    pub fn commit(self, dir: &Path) -> Result<(), LogError> {
        for kind in INDEX_KINDS.into_iter().chain([Kind::Log]) {
            rename(
                &cleaned_path(dir, self.base, kind),
                &swap_path(dir, self, kind),
            )?;
        }
        Ok(())
    }

    /// Removes the old segments and gives the new files their names. May be done again.
    pub fn finish(self, dir: &Path) -> Result<(), LogError> {
        let log = swap_path(dir, self, Kind::Log);
        let is_empty = fs::metadata(&log).map_err(|e| LogError::io(&log, e))?.len() == 0;
        // Oldest first: a tombstone outlives what it deletes.
        for found in list_segments(dir)? {
            let is_replaced = found.base > self.base && found.base < self.end;
            if is_replaced || (is_empty && found.base == self.base) {
                step(&path_of(dir, found.base, Kind::Log))?;
                remove_segment(dir, found.base)?;
            }
        }
        for kind in INDEX_KINDS {
            let swapped = swap_path(dir, self, kind);
            if is_empty {
                step(&swapped)?;
                remove_if_there(&swapped)?;
            } else if swapped.exists() {
                rename(&swapped, &path_of(dir, self.base, kind))?;
            }
        }
        if is_empty {
            step(&log)?;
            return remove_if_there(&log);
        }
        rename(&log, &path_of(dir, self.base, Kind::Log))
    }
}

fn rename(from: &Path, to: &Path) -> Result<(), LogError> {
    step(to)?;
    fs::rename(from, to).map_err(|e| LogError::io(to, e))
}

/// Removes what a cancelled cleaning wrote.
pub(super) fn remove_cleaned(dir: &Path, base: Offset) {
    for kind in INDEX_KINDS.into_iter().chain([Kind::Log]) {
        // Best effort: the next open removes them as well.
        let _ = remove_if_there(&cleaned_path(dir, base, kind));
    }
}

/// Finishes or undoes what a crash interrupted, before the log in `dir` is opened.
pub(in super::super) fn repair(dir: &Path) -> Result<(), LogError> {
    let mut changed = false;
    for (_, name) in entries(dir)? {
        if let Some(swap) = Swap::parse(&name) {
            tracing::info!(dir = %dir.display(), file = name, "finishing a cleaning");
            swap.finish(dir)?;
            changed = true;
        }
    }
    for (path, name) in entries(dir)? {
        let is_ours = |ending: &str| {
            let kept = name.strip_suffix(ending).and_then(|n| n.strip_suffix('.'));
            kept.is_some_and(|n| n.starts_with(|c: char| c.is_ascii_digit()))
        };
        if is_ours(CLEANED) || is_ours(SWAP) {
            remove_if_there(&path)?;
            changed = true;
        }
    }
    if changed {
        fsync_dir(dir)?;
    }
    Ok(())
}

/// Where tests let the process die.
fn step(path: &Path) -> Result<(), LogError> {
    #[cfg(test)]
    super::tests::step().map_err(|e| LogError::io(path, e))?;
    #[cfg(not(test))]
    let _ = path;
    Ok(())
}
