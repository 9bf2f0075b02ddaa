//! Errors of a log.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use carrick_protocol::ids::Offset;
use rustix::io::Errno;
use thiserror::Error;

use crate::disk::DiskError;

/// An error of a log. Cheap to clone: one failed flush answers every waiter.
#[derive(Clone, Debug, Error)]
pub enum LogError {
    /// A read outside of the log.
    #[error("offset {offset} is outside the log, which goes from {log_start} to {end}")]
    OutOfRange {
        offset: Offset,
        log_start: Offset,
        end: Offset,
    },
    /// An append or a move of the end that would go back.
    #[error("offset {found} is before the log's end {end}")]
    NonMonotonic {
        /// Where the batch begins.
        found: Offset,
        /// Where the log (or the batch before it) ends.
        end: Offset,
    },
    /// A batch larger than a segment file can be (2 GiB).
    #[error("a batch of {bytes} bytes is larger than a segment can be")]
    BatchTooLarge { bytes: usize },
    /// No offsets are left.
    #[error("the offsets of this log are used up")]
    OffsetOverflow,
    /// No space for the append. Nothing was lost; appends work again once there is room.
    #[error("no space left on the disk for {path}")]
    DiskFull {
        /// The file that could not grow.
        path: PathBuf,
    },
    /// The process may open no more files or map no more memory. Nothing was lost; the same works
    /// again once it may.
    #[error("out of files or mappings for {path}: {source}")]
    Exhausted {
        /// The file that could not be opened or mapped.
        path: PathBuf,
        source: Arc<io::Error>,
    },
    /// A flush failed before: what was written since then may be lost, so the log takes no more
    /// appends until it is opened again (an fsync is never retried).
    #[error("the log failed to reach the disk: {0}")]
    Faulted(Arc<io::Error>),
    /// A stored batch, index or checkpoint is damaged.
    #[error("{path} is damaged: {problem}")]
    Corrupt { path: PathBuf, problem: String },
    /// Another failure of the file system.
    #[error("{path}: {source}")]
    Io {
        path: PathBuf,
        source: Arc<io::Error>,
    },
}

impl LogError {
    /// A file-system error with its path; no space and quota become [`LogError::DiskFull`], no file
    /// descriptors and no memory for a mapping [`LogError::Exhausted`].
    pub fn io(path: &Path, source: io::Error) -> LogError {
        let path = path.to_path_buf();
        match Errno::from_io_error(&source) {
            Some(Errno::NOSPC | Errno::DQUOT) => LogError::DiskFull { path },
            Some(Errno::MFILE | Errno::NFILE | Errno::NOMEM) => LogError::Exhausted {
                path,
                source: Arc::new(source),
            },
            _ => LogError::Io {
                path,
                source: Arc::new(source),
            },
        }
    }

    /// Whether the log is as good as before, and the same may work later.
    pub fn passes(&self) -> bool {
        matches!(self, Self::DiskFull { .. } | Self::Exhausted { .. })
    }

    pub(crate) fn corrupt(path: &Path, problem: impl Into<String>) -> LogError {
        LogError::Corrupt {
            path: path.to_path_buf(),
            problem: problem.into(),
        }
    }
}

impl From<DiskError> for LogError {
    fn from(error: DiskError) -> Self {
        match error {
            DiskError::NoSpace { path } => LogError::DiskFull { path },
            DiskError::Io { path, source, .. } => LogError::io(&path, source),
            DiskError::InUse { ref path }
            | DiskError::NewerFormat { ref path, .. }
            | DiskError::Foreign { ref path, .. }
            | DiskError::BadProperties { ref path, .. } => LogError::Io {
                path: path.clone(),
                source: Arc::new(io::Error::other(error)),
            },
        }
    }
}
