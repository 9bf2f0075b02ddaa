//! What can go wrong with folders and files, as facts.

use std::io;
use std::path::{Path, PathBuf};

use rustix::io::Errno;

/// Errors of the data folder and of file operations.
#[derive(Debug, thiserror::Error)]
pub enum DiskError {
    /// An operation on a file or folder failed.
    #[error("cannot {action} {}: {source}", .path.display())]
    Io {
        /// The verb, such as `"open"`.
        action: &'static str,
        /// What it was done to.
        path: PathBuf,
        source: io::Error,
    },
    /// The file system is full (or the quota used up).
    #[error("no space left on device for {}", .path.display())]
    NoSpace {
        /// The file that should have grown.
        path: PathBuf,
    },
    /// Another process holds the data folder.
    #[error("data folder {} is in use by another process", .path.display())]
    InUse {
        /// The data folder.
        path: PathBuf,
    },
    /// The data folder was written by a newer program.
    #[error(
        "data folder {} has format version {found}, this program knows up to {supported}; \
         use the newer program",
        .path.display()
    )]
    NewerFormat {
        /// The data folder.
        path: PathBuf,
        /// The version found in it.
        found: u32,
        /// The newest version that this program can read.
        supported: u32,
    },
    /// The folder belongs to another program, Kafka for instance.
    #[error("{} is not a data folder of Carrick: {reason}", .path.display())]
    Foreign {
        path: PathBuf,
        /// What gave it away.
        reason: String,
    },
    /// `meta.properties` makes no sense.
    #[error("{} is damaged: {reason}", .path.display())]
    BadProperties { path: PathBuf, reason: String },
}

impl DiskError {
    /// Whether the cause is a full disk, so that the same may succeed later.
    pub fn is_no_space(&self) -> bool {
        matches!(self, Self::NoSpace { .. })
    }
}

/// Makes the error for a failed `action` on `path`: [`DiskError::NoSpace`] for a full disk.
pub(super) fn io_error(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> DiskError {
    move |source| match Errno::from_io_error(&source) {
        Some(Errno::NOSPC | Errno::DQUOT) => DiskError::NoSpace {
            path: path.to_owned(),
        },
        _ => DiskError::Io {
            action,
            path: path.to_owned(),
            source,
        },
    }
}
