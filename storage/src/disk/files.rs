//! The few things done to files that the standard library does not do, or not safely.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use rustix::fs::{fstatfs, statvfs};

use super::error::{DiskError, io_error};

/// Brings the bytes of `file` to the disk. May take long: not for a thread that others wait for.
pub fn sync_data(file: &File) -> io::Result<()> {
    #[cfg(test)]
    tests::count();
    file.sync_data()
}

/// Like [`sync_data`], but with the file's metadata.
pub fn sync_all(file: &File) -> io::Result<()> {
    #[cfg(test)]
    tests::count();
    file.sync_all()
}

/// Makes creations, renames and removals in the folder `path` durable.
pub fn fsync_dir(path: &Path) -> Result<(), DiskError> {
    let failed = || io_error("sync folder", path);
    let folder = File::open(path).map_err(failed())?;
    sync_all(&folder).map_err(failed())
}

/// Whether bytes of `file` that were written once can be written again without more space: on ext4,
/// XFS and in memory. A file system that copies on write may run out then.
pub fn writes_in_place(file: &File) -> bool {
    const EXT4: i64 = 0xEF53;
    const XFS: i64 = 0x5846_5342;
    const TMPFS: i64 = 0x0102_1994;
    fstatfs(file).is_ok_and(|stat| [EXT4, XFS, TMPFS].contains(&stat.f_type))
}

/// Replaces the file `path` by one that holds `bytes`, durably: after a crash the file holds
/// either its old content or all of the new.
///
/// The file next to it with `.tmp` appended is used temporarily and may be left by a crash; it is
/// overwritten next time. Two writers of one path must not run in parallel.
pub fn atomic_write(path: &Path, bytes: &[u8]) -> Result<(), DiskError> {
    let temporary = temporary_path(path);
    let mut file = File::create(&temporary).map_err(io_error("create", &temporary))?;
    file.write_all(bytes)
        .map_err(io_error("write", &temporary))?;
    sync_all(&file).map_err(io_error("sync", &temporary))?;
    drop(file);
    fs::rename(&temporary, path).map_err(io_error("replace", path))?;
    // A bare file name has the empty parent, which means the working folder.
    match path
        .parent()
        .filter(|parent| !parent.as_os_str().is_empty())
    {
        Some(parent) => fsync_dir(parent),
        None => fsync_dir(Path::new(".")),
    }
}

pub(super) fn temporary_path(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".tmp");
    PathBuf::from(name)
}

/// How large a file system is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Space {
    /// Bytes of the whole file system.
    pub total_bytes: u64,
    /// Bytes that an unprivileged process may still write.
    pub free_bytes: u64,
}

/// The space on the file system of `path`.
pub fn space(path: &Path) -> Result<Space, DiskError> {
    let stat = statvfs(path).map_err(|errno| io_error("look at", path)(errno.into()))?;
    Ok(Space {
        total_bytes: stat.f_blocks.saturating_mul(stat.f_frsize),
        free_bytes: stat.f_bavail.saturating_mul(stat.f_frsize),
    })
}

#[cfg(test)]
pub(crate) mod tests {
    use std::cell::Cell;

    use rustix::io::Errno;

    use super::*;

    thread_local! {
        static SYNCS: Cell<usize> = const { Cell::new(0) };
    }

    /// How often this thread has waited for the disk.
    pub(crate) fn syncs() -> usize {
        SYNCS.get()
    }

    pub(super) fn count() {
        SYNCS.set(SYNCS.get() + 1);
    }

    #[test]
    fn atomic_write_replaces_the_whole_content() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("checkpoint");
        fs::write(temporary_path(&path), "left by a crash, and longer").unwrap();
        atomic_write(&path, b"first").unwrap();
        atomic_write(&path, b"2").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"2");
        assert!(!temporary_path(&path).exists());
    }

    #[test]
    fn atomic_write_into_a_missing_folder_names_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("missing").join("checkpoint");
        let error = atomic_write(&path, b"x").unwrap_err();
        assert!(error.to_string().contains("missing/checkpoint"), "{error}");
    }

    #[test]
    fn a_full_disk_is_an_error_of_its_own() {
        let path = Path::new("/some/segment");
        let error = io_error("write", path)(Errno::NOSPC.into());
        assert!(error.is_no_space());
        let message = "no space left on device for /some/segment";
        assert_eq!(error.to_string(), message);
        assert!(!io_error("write", path)(Errno::IO.into()).is_no_space());
        let dir = tempfile::tempdir().unwrap();
        let space = space(dir.path()).unwrap();
        assert!(space.total_bytes >= space.free_bytes && space.free_bytes > 0);
    }
}
