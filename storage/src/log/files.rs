//! Names of a log's files, as in Kafka: the base offset in 20 digits, and the kind of file.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use carrick_protocol::ids::Offset;

use super::LogError;

/// The files of a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    Log,
    Offsets,
    Times,
    Aborted,
    /// Producer state before the segment's first batch.
    Producers,
}

impl Kind {
    const ALL: [Kind; 5] = [
        Kind::Log,
        Kind::Offsets,
        Kind::Times,
        Kind::Aborted,
        Kind::Producers,
    ];

    fn extension(self) -> &'static str {
        match self {
            Kind::Log => "log",
            Kind::Offsets => "index",
            Kind::Times => "timeindex",
            Kind::Aborted => "txnindex",
            Kind::Producers => "snapshot",
        }
    }
}

/// Ending of a segment's copy while it is being cut.
const CUT_EXTENSION: &str = "cut";

/// The file of `kind` with that base offset.
pub(super) fn path_of(dir: &Path, base: Offset, kind: Kind) -> PathBuf {
    dir.join(format!("{:020}.{}", base.0, kind.extension()))
}

/// Where a shorter copy of a segment is written before it replaces it.
pub(super) fn cut_path(dir: &Path, base: Offset) -> PathBuf {
    dir.join(format!("{:020}.log.{CUT_EXTENSION}", base.0))
}

/// Base offset and kind of a file name; `None` for files that are no part of a segment.
fn parse_name(name: &str) -> Option<(Offset, Kind)> {
    let (digits, extension) = name.split_once('.')?;
    if digits.len() != 20 || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let kind = Kind::ALL
        .into_iter()
        .find(|kind| kind.extension() == extension)?;
    Some((Offset(digits.parse().ok()?), kind))
}

/// A `.log` file found on the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Found {
    pub base: Offset,
    pub file_bytes: u64,
}

/// Segments in `dir`, oldest first. Copies that a crash left half cut are removed.
pub(super) fn list_segments(dir: &Path) -> Result<Vec<Found>, LogError> {
    let mut found = Vec::new();
    for (path, name) in entries(dir)? {
        if name.ends_with(".log.cut") {
            remove_if_there(&path)?;
        } else if let Some((base, Kind::Log)) = parse_name(&name) {
            let file_bytes = fs::metadata(&path)
                .map_err(|e| LogError::io(&path, e))?
                .len();
            found.push(Found { base, file_bytes });
        }
    }
    found.sort_by_key(|segment| segment.base);
    Ok(found)
}

/// Base offset and kind of every file of a segment in `dir`.
pub(super) fn list_all(dir: &Path) -> Result<Vec<(Offset, Kind)>, LogError> {
    Ok(entries(dir)?
        .iter()
        .filter_map(|(_, name)| parse_name(name))
        .collect())
}

pub(super) fn entries(dir: &Path) -> Result<Vec<(PathBuf, String)>, LogError> {
    let failed = |e| LogError::io(dir, e);
    let mut entries = Vec::new();
    for entry in fs::read_dir(dir).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        if let Ok(name) = entry.file_name().into_string() {
            entries.push((entry.path(), name));
        }
    }
    Ok(entries)
}

/// When a file was last written, in milliseconds since the epoch.
pub(super) fn modified_ms(path: &Path) -> io::Result<i64> {
    let modified = fs::metadata(path)?.modified()?;
    let since = modified
        .duration_since(UNIX_EPOCH)
        .map_err(io::Error::other)?;
    Ok(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}

/// Removes a file that may be gone already.
pub(super) fn remove_if_there(path: &Path) -> Result<(), LogError> {
    match fs::remove_file(path) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => Err(LogError::io(path, e)),
        _ => Ok(()),
    }
}

/// Removes all files of the segment with that base, the `.log` last so that a crash in between
/// leaves a segment whose indexes are rebuilt.
pub(super) fn remove_segment(dir: &Path, base: Offset) -> Result<(), LogError> {
    for kind in [
        Kind::Offsets,
        Kind::Times,
        Kind::Aborted,
        Kind::Producers,
        Kind::Log,
    ] {
        remove_if_there(&path_of(dir, base, kind))?;
    }
    Ok(())
}

/// Opens a file for reading and writing, created when missing.
pub(super) fn open_rw(path: &Path) -> Result<File, LogError> {
    #[cfg(test)]
    tests::check_files().map_err(|e| LogError::io(path, e))?;
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false);
    options.open(path).map_err(|e| LogError::io(path, e))
}

/// Opens an existing file for writing.
pub(super) fn open_to_write(path: &Path) -> Result<File, LogError> {
    #[cfg(test)]
    tests::check_files().map_err(|e| LogError::io(path, e))?;
    let opened = OpenOptions::new().write(true).open(path);
    opened.map_err(|e| LogError::io(path, e))
}

/// Opens a file or folder that is to be synced.
pub(super) fn open_to_sync(path: &Path) -> io::Result<File> {
    #[cfg(test)]
    tests::check_files()?;
    File::open(path)
}

#[cfg(test)]
pub(super) mod tests {
    use std::cell::Cell;

    use rustix::io::Errno;

    use super::*;

    thread_local! {
        /// How many more files this thread may open.
        static FILES_LEFT: Cell<usize> = const { Cell::new(usize::MAX) };
    }

    /// Takes this thread's file descriptors away, or gives them back.
    pub(crate) fn set_files(has: bool) {
        set_files_left(if has { usize::MAX } else { 0 });
    }

    /// Lets this thread open that many files.
    pub(crate) fn set_files_left(left: usize) {
        FILES_LEFT.set(left);
    }

    pub(super) fn check_files() -> io::Result<()> {
        let left = FILES_LEFT.get();
        if left < usize::MAX {
            FILES_LEFT.set(left.checked_sub(1).ok_or(Errno::MFILE)?);
        }
        Ok(())
    }

    #[test]
    fn names_are_kafkas() {
        let dir = Path::new("/d");
        let path = path_of(dir, Offset(4_294_967_296), Kind::Times);
        assert_eq!(path, Path::new("/d/00000000004294967296.timeindex"));
        for kind in Kind::ALL {
            let path = path_of(dir, Offset(7), kind);
            let name = path.file_name().unwrap().to_str().unwrap();
            assert_eq!(parse_name(name), Some((Offset(7), kind)));
        }
    }

    #[test]
    fn foreign_names_are_left_alone() {
        for name in [
            "7.log",
            "0000000000000000000x.log",
            "00000000000000000007.log.cut",
            "x",
            "",
        ] {
            assert_eq!(parse_name(name), None, "{name}");
        }
        assert_eq!(parse_name("99999999999999999999.log"), None);
    }
}
