//! The data folder: who may use it, which format it has, which partitions it holds.
//!
//! ```text
//! <log.dirs[0]>/.lock               exclusive flock while a process uses the folder
//!               meta.properties     version=1, format=carrick
//!               __carrick_meta/     metadata (RocksDB)
//!               <topic>-<partition>/            one partition's log
//!               <topic>-<partition>.<n>-delete/ a deleted partition, removed soon
//! ```
//!
//! Invariants:
//! - At most one [`DataDir`] of one folder exists on the machine; the lock goes with the process.
//! - Deletion is a rename first: a partition folder is either whole under its name or under a name
//!   that [`DataDir::open`] sweeps away. A crash never leaves half a partition to be opened.
//! - A folder of a newer format, or of another program, is left untouched; so is one without a
//!   stamp that holds anything ([`foreign`]).
//!
//! They are about other processes and crashes, so nothing here can assert them.

mod error;
mod files;
mod foreign;

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use carrick_protocol::ids::{TopicName, TopicPartition};
pub use error::DiskError;
use error::io_error;
#[cfg(test)]
pub(crate) use files::tests::syncs;
pub use files::{Space, atomic_write, fsync_dir, space};
pub(crate) use files::{sync_all, sync_data, writes_in_place};
use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;

/// The folder format that this program writes, and the newest it reads.
pub const FORMAT_VERSION: u32 = 1;

/// Name of the folder for metadata inside the data folder.
pub const META_FOLDER: &str = "__carrick_meta";

const LOCK_FILE: &str = ".lock";
const PROPERTIES_FILE: &str = "meta.properties";
const DELETE_SUFFIX: &str = "-delete";
/// Longest file name that Linux file systems take.
const MAX_NAME_BYTES: usize = 255;

/// An opened, locked data folder. Dropping it releases the lock.
#[derive(Debug)]
pub struct DataDir {
    path: PathBuf,
    /// Held for its lock only.
    _lock: File,
    /// The folder itself, to sync it.
    folder: File,
    /// Makes the names of deleted folders unique within this process; leftovers of earlier ones
    /// are removed at open.
    deletions: AtomicU64,
}

impl DataDir {
    /// Opens the folder `path`, creating it when missing, and removes leftovers of deletions.
    ///
    /// Fails with [`DiskError::InUse`] when another process (or another `DataDir`) has it, with
    /// [`DiskError::NewerFormat`], [`DiskError::Foreign`] or [`DiskError::BadProperties`] when the
    /// content isn't ours to touch.
    pub fn open(path: &Path) -> Result<Self, DiskError> {
        // Before the lock file is created: a folder that is not ours is not written to.
        check_format(path)?;
        create(path).map_err(io_error("create", path))?;
        let lock = lock(path)?;
        let folder = File::open(path).map_err(io_error("open", path))?;
        let dir = Self {
            path: path.to_owned(),
            _lock: lock,
            folder,
            deletions: AtomicU64::new(0),
        };
        if !check_format(path)? {
            dir.write_format()?;
        }
        // It holds credentials, and the data folder itself may have been made for others to read.
        let meta = dir.meta_dir();
        create(&meta).map_err(io_error("create", &meta))?;
        dir.sweep()?;
        Ok(dir)
    }

    /// Whether `path` is a data folder. Makes nothing.
    ///
    /// Fails as [`Self::open`] when the content isn't ours to touch.
    pub fn exists(path: &Path) -> Result<bool, DiskError> {
        check_format(path)
    }

    /// The data folder itself.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The folder for the metadata store.
    pub fn meta_dir(&self) -> PathBuf {
        self.path.join(META_FOLDER)
    }

    /// The folder of a partition's log, whether it exists or not.
    pub fn partition_dir(&self, partition: &TopicPartition) -> PathBuf {
        self.path.join(folder_name(partition))
    }

    /// Every partition that has a folder here, sorted. Other entries are skipped.
    pub fn partitions(&self) -> Result<Vec<TopicPartition>, DiskError> {
        let mut partitions = Vec::new();
        for name in self.folders()? {
            partitions.extend(parse_folder_name(&name));
        }
        partitions.sort();
        Ok(partitions)
    }

    /// Takes a partition's folder out of the way: renamed, durably, but its space not yet freed.
    ///
    /// The log must be closed or no longer written; readers keep their open files. `None` when
    /// there is no such folder. Give the result to [`RetiredFolder::remove`] when no reader needs
    /// the files any longer; otherwise the next [`DataDir::open`] removes them.
    pub fn retire(&self, partition: &TopicPartition) -> Result<Option<RetiredFolder>, DiskError> {
        let Retired { mut folders, error } = self.retire_all([partition]);
        error.map_or_else(|| Ok(folders.pop()), Err)
    }

    /// [`retire`](Self::retire) of any number of partitions, with one sync for all. What fails
    /// does not stop the others.
    pub fn retire_all<'a>(
        &self,
        partitions: impl IntoIterator<Item = &'a TopicPartition>,
    ) -> Retired {
        let mut retired = Retired::default();
        for partition in partitions {
            let from = self.partition_dir(partition);
            let number = self.deletions.fetch_add(1, Ordering::Relaxed);
            let path = self.path.join(retired_name(partition, number));
            match fs::rename(&from, &path) {
                Ok(()) => retired.folders.push(RetiredFolder { path }),
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                Err(source) => {
                    retired
                        .error
                        .get_or_insert(io_error("rename", &from)(source));
                }
            }
        }
        if !retired.folders.is_empty()
            && let Err(error) = self.sync()
        {
            retired.error.get_or_insert(error);
        }
        retired
    }

    /// Makes creations, renames and removals of partition folders durable. Needs no new file
    /// descriptor, so it works even when none are left.
    pub fn sync(&self) -> Result<(), DiskError> {
        self.folder
            .sync_all()
            .map_err(io_error("sync folder", &self.path))
    }

    /// The space on the folder's file system.
    pub fn space(&self) -> Result<Space, DiskError> {
        space(&self.path)
    }

    /// Names of the folders directly below; names that aren't UTF-8 can't be ours.
    fn folders(&self) -> Result<Vec<String>, DiskError> {
        let failed = || io_error("list", &self.path);
        let mut names = Vec::new();
        for entry in fs::read_dir(&self.path).map_err(failed())? {
            let entry = entry.map_err(failed())?;
            if entry.file_type().map_err(failed())?.is_dir() {
                names.extend(entry.file_name().into_string());
            }
        }
        Ok(names)
    }

    /// Removes what is left of deleted partitions. Files that can't be removed are left for the
    /// next start: they do no harm.
    fn sweep(&self) -> Result<(), DiskError> {
        for name in self.folders()? {
            if is_retired_name(&name) {
                let path = self.path.join(name);
                if let Err(error) = (RetiredFolder { path }).remove() {
                    tracing::warn!(%error, "files of a deleted partition remain");
                }
            }
        }
        Ok(())
    }

    /// Stamps a new folder.
    fn write_format(&self) -> Result<(), DiskError> {
        atomic_write(
            &self.path.join(PROPERTIES_FILE),
            format!("version={FORMAT_VERSION}\nformat=carrick\n").as_bytes(),
        )
    }
}

/// What [`DataDir::retire_all`] did.
#[derive(Debug, Default)]
#[must_use = "what could not be taken out of the way is in `error`"]
pub struct Retired {
    /// The folders that were moved away.
    pub folders: Vec<RetiredFolder>,
    /// The first failure; there may be more, and with one it is not sure that any rename lasts.
    pub error: Option<DiskError>,
}

/// A deleted partition's folder whose files are still on disk. See [`DataDir::retire`].
#[derive(Debug)]
#[must_use = "the space is freed by remove(), or when the data folder is opened next"]
pub struct RetiredFolder {
    path: PathBuf,
}

impl RetiredFolder {
    /// Where the files are now.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Removes the files. It is fine if they are already gone.
    pub fn remove(self) -> Result<(), DiskError> {
        match fs::remove_dir_all(&self.path) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                Err(io_error("remove", &self.path)(error))
            }
            _ => Ok(()),
        }
    }
}

/// Makes the folder, for its owner alone. One that exists keeps its mode.
fn create(path: &Path) -> io::Result<()> {
    let mut folder = DirBuilder::new();
    folder.recursive(true).mode(0o700).create(path)
}

fn lock(dir: &Path) -> Result<File, DiskError> {
    let path = dir.join(LOCK_FILE);
    let file = OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .open(&path)
        .map_err(io_error("open", &path))?;
    match flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(file),
        Err(Errno::WOULDBLOCK) => Err(DiskError::InUse {
            path: dir.to_owned(),
        }),
        Err(errno) => Err(io_error("lock", &path)(errno.into())),
    }
}

/// Whether the folder has our stamp; refuses one that has a different stamp, and one without a
/// stamp that has other contents.
fn check_format(dir: &Path) -> Result<bool, DiskError> {
    let path = dir.join(PROPERTIES_FILE);
    match fs::read_to_string(&path) {
        Ok(text) => check_properties(&path, &text).map(|()| true),
        Err(error) if error.kind() == ErrorKind::NotFound => {
            foreign::check_unstamped(dir).map(|()| false)
        }
        Err(source) => Err(io_error("read", &path)(source)),
    }
}

fn check_properties(path: &Path, text: &str) -> Result<(), DiskError> {
    let property = |name: &str| {
        text.lines()
            .filter_map(|line| line.trim().split_once('='))
            .find(|(key, _)| key.trim() == name)
            .map(|(_, value)| value.trim())
    };
    if property("format") != Some("carrick") {
        return Err(foreign::foreign_stamp(path, text));
    }
    let bad = |reason: String| DiskError::BadProperties {
        path: path.to_owned(),
        reason,
    };
    let version = property("version").ok_or_else(|| bad("version is missing".to_owned()))?;
    match version.parse::<u32>() {
        Ok(1..=FORMAT_VERSION) => Ok(()),
        Ok(newer) if newer > FORMAT_VERSION => Err(DiskError::NewerFormat {
            path: path.parent().unwrap_or(path).to_owned(),
            found: newer,
            supported: FORMAT_VERSION,
        }),
        _ => Err(bad(format!("version is {version:?}, not a number from 1"))),
    }
}

/// `<topic>-<partition>`, as Kafka names it.
fn folder_name(partition: &TopicPartition) -> String {
    format!("{}-{}", partition.topic, partition.partition)
}

/// The partition of a folder name, if it is one: the reverse of [`folder_name`], exactly.
fn parse_folder_name(name: &str) -> Option<TopicPartition> {
    let (topic, number) = name.rsplit_once('-')?;
    let partition = number.parse::<i32>().ok()?;
    let parsed = TopicPartition {
        topic: TopicName::new(topic).ok()?,
        partition,
    };
    (partition >= 0 && folder_name(&parsed) == name).then_some(parsed)
}

/// `<topic>-<partition>.<n>-delete`, the front cut where the whole would be too long for a name.
fn retired_name(partition: &TopicPartition, number: u64) -> String {
    let tail = format!(".{number}{DELETE_SUFFIX}");
    let mut front = folder_name(partition);
    // Topic names are ASCII, so any cut is on a character boundary.
    front.truncate(MAX_NAME_BYTES - tail.len());
    front + &tail
}

/// Whether [`retired_name`] made it: `.<n>-delete` at the end, which no partition folder has.
fn is_retired_name(name: &str) -> bool {
    name.strip_suffix(DELETE_SUFFIX)
        .and_then(|front| front.rsplit_once('.'))
        .is_some_and(|(_, number)| number.parse::<u64>().is_ok())
}

#[cfg(test)]
mod tests;
