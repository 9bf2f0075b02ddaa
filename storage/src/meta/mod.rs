//! Metadata on RocksDB: sorted keys and values of bytes, atomic synced batches, a schema version.
//!
//! Invariants:
//! - The first byte of a key is the type of record. Byte 0 is the store's: it holds the schema
//!   version. Byte 255 is never used, so that every prefix has a successor.
//! - All changes of one operation are one [`MetaBatch`], written as one RocksDB `WriteBatch` whose
//!   log is synced before [`MetaStore::commit`] returns: all of it survives a crash or nothing.
//! - What is read from disk may be anything: it is decoded with errors, never with panics.
//!
//! Only metadata is stored here (some thousand small records), so little memory is used.

mod batch;
mod error;

use std::path::{Path, PathBuf};

pub use batch::MetaBatch;
use batch::{Change, successor};
pub use error::MetaError;
use parking_lot::Mutex;
use rocksdb::{
    BlockBasedOptions, BottommostLevelCompaction, Cache, CompactOptions, DB, DBCompressionType,
    DBIteratorWithThreadMode, Direction, IteratorMode, Options, ReadOptions, WriteBatch,
    WriteOptions,
};

use crate::codec::printable;

/// The schema version that this program writes, and the newest it reads.
pub const SCHEMA_VERSION: u32 = 1;

/// Where the schema version is stored: prefix 0, then a name.
const SCHEMA_KEY: &[u8] = b"\0schema";

const BLOCK_CACHE_BYTES: usize = 4 << 20;
const WRITE_BUFFER_BYTES: usize = 8 << 20;
const MAX_WAL_BYTES: u64 = 16 << 20;
const MAX_OPEN_FILES: i32 = 64;
const MAX_INFO_LOG_BYTES: usize = 1 << 20;

/// A stored key and its value.
pub type Record = (Box<[u8]>, Box<[u8]>);

/// The metadata store. Share it behind an `Arc`; all methods take `&self`.
pub struct MetaStore {
    db: DB,
    path: PathBuf,
    /// Why the last batch was not stored.
    failure: Mutex<Option<String>>,
}

impl std::fmt::Debug for MetaStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("MetaStore")
            .field("path", &self.path)
            .finish_non_exhaustive()
    }
}

impl MetaStore {
    /// Opens the store in the folder `path`, creating it when missing.
    ///
    /// Fails with [`MetaError::NewerSchema`] or [`MetaError::BadSchema`] before anything is
    /// changed, and with [`MetaError::Open`] when RocksDB refuses (in use, damaged, no permission).
    pub fn open(path: &Path) -> Result<Self, MetaError> {
        let db = DB::open(&options(), path).map_err(|source| MetaError::Open {
            path: path.to_owned(),
            source,
        })?;
        let store = Self {
            db,
            path: path.to_owned(),
            failure: Mutex::new(None),
        };
        store.check_schema()?;
        Ok(store)
    }

    /// The folder of the store.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Why the last batch could not be stored; `None` if it was.
    pub fn failure(&self) -> Option<String> {
        self.failure.lock().clone()
    }

    /// After a failure: whether changes can be stored again. Writes an existing value again.
    ///
    /// # Errors
    /// They can't.
    pub fn try_again(&self) -> Result<(), MetaError> {
        if self.failure().is_none() {
            return Ok(());
        }
        self.write_version().map_err(|source| MetaError::Commit {
            changes: 1,
            first: printable(SCHEMA_KEY),
            source,
        })?;
        *self.failure.lock() = None;
        Ok(())
    }

    fn write_version(&self) -> Result<(), rocksdb::Error> {
        let mut batch = WriteBatch::default();
        batch.put(SCHEMA_KEY, SCHEMA_VERSION.to_be_bytes());
        self.write(batch)
    }

    /// The value of `key`, if there is one.
    pub fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, MetaError> {
        self.db.get(key).map_err(|source| read_error(key, source))
    }

    /// Every key that starts with `prefix`, with its value, in key order.
    pub fn scan(&self, prefix: &[u8]) -> impl Iterator<Item = Result<Record, MetaError>> + '_ {
        let from = prefix.to_vec();
        self.iterate(prefix)
            .map(move |item| item.map_err(|source| read_error(&from, source)))
    }

    /// The number of changes that were ever stored here: it grows with each.
    pub fn changes(&self) -> u64 {
        self.db.latest_sequence_number()
    }

    /// Stores all changes of `batch` or none, and returns once they are on disk.
    ///
    /// An empty batch costs nothing. After [`MetaError::Commit`] nothing of the batch is visible.
    pub fn commit(&self, batch: MetaBatch) -> Result<(), MetaError> {
        let Some(first) = batch.changes.first() else {
            return Ok(());
        };
        let (first, changes) = (printable(first.key()), batch.len());
        let mut write = WriteBatch::default();
        for change in batch.changes {
            match change {
                Change::Put { key, value } => write.put(key, value),
                Change::Delete { key } => write.delete(key),
                Change::DeleteRange { from, to } => write.delete_range(from, to),
            }
        }
        let written = self.write(write).map_err(|source| MetaError::Commit {
            changes,
            first,
            source,
        });
        *self.failure.lock() = written.as_ref().err().map(ToString::to_string);
        written
    }

    /// Rewrites the files that hold keys with this prefix: what was replaced or deleted there
    /// before is in none of them any more. For secrets that were stored as they are. Takes a
    /// moment, as there is little metadata.
    pub fn purge(&self, prefix: &[u8]) -> Result<(), MetaError> {
        self.db
            .flush()
            .map_err(|source| read_error(prefix, source))?;
        let mut options = CompactOptions::default();
        options.set_bottommost_level_compaction(BottommostLevelCompaction::Force);
        let to = successor(prefix.to_vec());
        self.db.compact_range_opt(Some(prefix), Some(to), &options);
        Ok(())
    }

    fn write(&self, batch: WriteBatch) -> Result<(), rocksdb::Error> {
        let mut synced = WriteOptions::default();
        synced.set_sync(true);
        self.db.write_opt(batch, &synced)
    }

    /// Iterates over the stored keys that start with `prefix`, bounded by RocksDB itself so that
    /// tombstones behind it are never walked.
    fn iterate(&self, prefix: &[u8]) -> DBIteratorWithThreadMode<'_, DB> {
        let mut bounds = ReadOptions::default();
        bounds.set_iterate_upper_bound(successor(prefix.to_vec()));
        bounds.set_total_order_seek(true);
        self.db
            .iterator_opt(IteratorMode::From(prefix, Direction::Forward), bounds)
    }

    fn check_schema(&self) -> Result<(), MetaError> {
        let bad = |reason: String| MetaError::BadSchema {
            path: self.path.clone(),
            reason,
        };
        let found = self
            .db
            .get(SCHEMA_KEY)
            .map_err(|error| bad(error.to_string()))?;
        let Some(found) = found else {
            return self.write_schema();
        };
        let version = <[u8; 4]>::try_from(found.as_slice())
            .map(u32::from_be_bytes)
            .map_err(|_| bad(format!("{} bytes instead of 4", found.len())))?;
        match version {
            0 => Err(bad("version 0".to_owned())),
            1..=SCHEMA_VERSION => Ok(()),
            newer => Err(MetaError::NewerSchema {
                path: self.path.clone(),
                found: newer,
                supported: SCHEMA_VERSION,
            }),
        }
    }

    /// Stamps a new store; a store that holds records but no version is not one of ours.
    fn write_schema(&self) -> Result<(), MetaError> {
        let bad = |reason: String| MetaError::BadSchema {
            path: self.path.clone(),
            reason,
        };
        if let Some(item) = self.db.iterator(IteratorMode::Start).next() {
            let (key, _) = item.map_err(|error| bad(error.to_string()))?;
            return Err(bad(format!(
                "there is no version, but a record {}",
                printable(&key)
            )));
        }
        self.write_version().map_err(|source| MetaError::Open {
            path: self.path.clone(),
            source,
        })
    }
}

fn options() -> Options {
    let mut table = BlockBasedOptions::default();
    table.set_block_cache(&Cache::new_lru_cache(BLOCK_CACHE_BYTES));
    let mut options = Options::default();
    options.create_if_missing(true);
    options.set_block_based_table_factory(&table);
    options.set_compression_type(DBCompressionType::None);
    options.set_write_buffer_size(WRITE_BUFFER_BYTES);
    options.set_max_write_buffer_number(2);
    options.set_max_total_wal_size(MAX_WAL_BYTES);
    options.set_max_open_files(MAX_OPEN_FILES);
    options.set_max_background_jobs(2);
    options.set_keep_log_file_num(2);
    options.set_max_log_file_size(MAX_INFO_LOG_BYTES);
    options.set_stats_dump_period_sec(0);
    options
}

fn read_error(key: &[u8], source: rocksdb::Error) -> MetaError {
    MetaError::Read {
        key: printable(key),
        source,
    }
}

#[cfg(test)]
mod tests;
