//! The few things done to files that the standard library does not do, or not safely.

use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use rustix::fs::{FallocateFlags, fallocate, statvfs};
use rustix::io::Errno;

use super::error::{DiskError, io_error};

/// How much is written at once where space must be reserved by writing.
const ZEROS_BYTES: usize = 64 * 1024;

/// Makes creations, renames and removals in the folder `path` durable.
pub fn fsync_dir(path: &Path) -> Result<(), DiskError> {
    let failed = || io_error("sync folder", path);
    File::open(path)
        .map_err(failed())?
        .sync_all()
        .map_err(failed())
}

/// Replaces the file `path` by one that holds `bytes`, durably: after a crash the file holds
/// either its old content or all of the new.
///
/// The file next to it with `.tmp` appended is used on the way and may be left by a crash; it is
/// overwritten next time. Two writers of one path must not run at once.
pub fn atomic_write(path: &Path, bytes: &[u8]) -> Result<(), DiskError> {
    let temporary = temporary_path(path);
    let mut file = File::create(&temporary).map_err(io_error("create", &temporary))?;
    file.write_all(bytes)
        .map_err(io_error("write", &temporary))?;
    file.sync_all().map_err(io_error("sync", &temporary))?;
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

/// Reserves `len` bytes of disk from `offset` of `file`, so that writing to them (through a
/// mapping, too) can't run out of space. The file grows to `offset + len` when it is shorter.
///
/// `path` is for errors. Fails with [`DiskError::NoSpace`] on a full disk; the file is then as long
/// as before, so that what was reserved of it is free again. Where the file system can't reserve,
/// zeros are written past the file's end; bytes before it are never touched.
pub fn allocate(file: &File, path: &Path, offset: u64, len: u64) -> Result<(), DiskError> {
    if len == 0 {
        return Ok(());
    }
    let length_before = file.metadata().map_err(io_error("look at", path))?.len();
    let allocated = loop {
        match fallocate(file, FallocateFlags::empty(), offset, len) {
            Err(Errno::INTR) => {}
            Err(Errno::OPNOTSUPP | Errno::NOSYS) => break write_zeros(file, offset, len),
            result => break result.map_err(io::Error::from),
        }
    };
    allocated.map_err(|source| {
        // File systems may grow the file as far as they get before they notice.
        match file.set_len(length_before) {
            Ok(()) => allocation_error(path, len, source),
            Err(second) => io_error("give back space of", path)(second),
        }
    })
}

/// Grows `file` to `offset + len` by writing zeros.
fn write_zeros(file: &File, offset: u64, len: u64) -> io::Result<()> {
    let end = offset.saturating_add(len);
    let mut position = file.metadata()?.len();
    let zeros = vec![0; ZEROS_BYTES];
    while position < end {
        let count = (end - position).min(ZEROS_BYTES as u64) as usize;
        file.write_all_at(&zeros[..count], position)?;
        position += count as u64;
    }
    Ok(())
}

fn allocation_error(path: &Path, len: u64, source: io::Error) -> DiskError {
    match io_error("reserve space for", path)(source) {
        DiskError::NoSpace { path, .. } => DiskError::NoSpace { path, bytes: len },
        other => other,
    }
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
mod tests {
    use super::*;

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
    fn allocate_grows_the_file_and_keeps_what_is_there() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("segment");
        let file = File::create_new(&path).unwrap();
        file.write_all_at(b"kept", 0).unwrap();
        allocate(&file, &path, 0, 100_000).unwrap();
        allocate(&file, &path, 0, 10).unwrap();
        let bytes = fs::read(&path).unwrap();
        assert_eq!(bytes.len(), 100_000);
        assert_eq!(&bytes[..4], b"kept");
        assert!(bytes[4..].iter().all(|&byte| byte == 0));
    }

    #[test]
    fn writing_zeros_reserves_the_same_as_fallocate() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("segment");
        let file = File::create_new(&path).unwrap();
        file.write_all_at(b"kept", 0).unwrap();
        write_zeros(&file, 0, ZEROS_BYTES as u64 + 7).unwrap();
        write_zeros(&file, 0, 3).unwrap();
        let bytes = fs::read(&path).unwrap();
        assert_eq!(bytes.len(), ZEROS_BYTES + 7);
        assert_eq!(&bytes[..5], b"kept\0");
    }

    #[test]
    fn a_full_disk_is_an_error_of_its_own() {
        let path = Path::new("/some/segment");
        let full = io::Error::from(Errno::NOSPC);
        let error = allocation_error(path, 42, full);
        assert!(error.is_no_space());
        assert_eq!(
            error.to_string(),
            "no space left on device for 42 bytes of /some/segment"
        );
        let other = allocation_error(path, 42, Errno::IO.into());
        assert!(!other.is_no_space());
    }

    #[test]
    fn allocating_what_no_file_can_hold_fails_and_leaves_the_length() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("segment");
        let file = File::create_new(&path).unwrap();
        allocate(&file, &path, 0, 10).unwrap();
        assert!(allocate(&file, &path, i64::MAX as u64 - 8, 16).is_err());
        assert_eq!(file.metadata().unwrap().len(), 10);
        let space = space(dir.path()).unwrap();
        assert!(space.total_bytes >= space.free_bytes && space.free_bytes > 0);
    }
}
