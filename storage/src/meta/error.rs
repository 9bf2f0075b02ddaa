//! What can go wrong with metadata, as facts.

use std::path::PathBuf;

use crate::codec::DecodeError;

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
        /// RocksDB's own words.
        source: rocksdb::Error,
    },
    /// RocksDB could not read.
    #[error("cannot read metadata of keyspace {keyspace}, key {key}: {source}")]
    Read {
        /// [`Keyspace::NAME`](super::Keyspace::NAME).
        keyspace: &'static str,
        /// The key (or prefix), printable.
        key: String,
        /// RocksDB's own words.
        source: rocksdb::Error,
    },
    /// RocksDB could not commit a batch; nothing of it is stored.
    #[error("cannot write metadata ({changes} changes, the first to {first}): {source}")]
    Commit {
        /// How many changes the batch held.
        changes: usize,
        /// Keyspace prefix and key of the first change, printable.
        first: String,
        /// RocksDB's own words.
        source: rocksdb::Error,
    },
    /// A stored record does not decode.
    #[error("metadata of keyspace {keyspace}, key {key} is corrupt: {source}")]
    Corrupt {
        /// [`Keyspace::NAME`](super::Keyspace::NAME).
        keyspace: &'static str,
        /// The key, printable.
        key: String,
        /// What is wrong with it.
        source: DecodeError,
    },
}

/// Raw key bytes for an error message: printable ASCII as it is, the rest escaped, cut at 200.
pub(super) fn printable(key: &[u8]) -> String {
    const SHOWN_BYTES: usize = 200;
    let shown = &key[..key.len().min(SHOWN_BYTES)];
    let more = if key.len() > SHOWN_BYTES { "…" } else { "" };
    format!("\"{}{more}\"", shown.escape_ascii())
}
