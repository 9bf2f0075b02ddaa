//! What can go wrong with metadata, as facts.

use std::path::PathBuf;

/// Errors of the metadata store.
#[derive(Debug, thiserror::Error)]
pub enum MetaError {
    /// The folder's schema is newer than this program.
    #[error(
        "metadata in {} has schema version {found}, this program knows up to {supported}; \
         use the newer program",
        .path.display()
    )]
    NewerSchema {
        /// The store's folder.
        path: PathBuf,
        /// The version found in it.
        found: u32,
        /// The newest version that this program can read.
        supported: u32,
    },
    /// The schema record is missing from a store that holds data, or makes no sense.
    #[error("metadata in {} has no usable schema version: {reason}", .path.display())]
    BadSchema {
        /// The store's folder.
        path: PathBuf,
        /// What was found instead.
        reason: String,
    },
    /// RocksDB could not open the folder.
    #[error("cannot open metadata in {}: {source}", .path.display())]
    Open {
        /// The store's folder.
        path: PathBuf,
        source: rocksdb::Error,
    },
    /// RocksDB could not read.
    #[error("cannot read metadata at {key}: {source}")]
    Read {
        /// The key (or prefix), printable.
        key: String,
        source: rocksdb::Error,
    },
    /// RocksDB could not commit a batch; nothing of it is stored.
    #[error("cannot write metadata ({changes} changes, the first to {first}): {source}")]
    Commit {
        /// How many changes the batch held.
        changes: usize,
        /// The key of the first change, printable.
        first: String,
        source: rocksdb::Error,
    },
}
