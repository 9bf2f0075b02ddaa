//! Cluster metadata of one process, in RocksDB.
//!
//! Values are stored as their records' layouts say, without versions: there is no other writer
//! while the process runs, so versions are only in memory. A record that was not changed since the
//! start has the version at which the store was opened, which is above all earlier versions:
//! RocksDB counts its changes, and the count survives.
//!
//! Invariant: a version is taken from memory before the value is read, and put there after the
//! value is written. So a reader gets a value's version or an older one, which a transaction
//! refuses.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use carrick_storage::meta::{MetaBatch, MetaError, MetaStore};
use parking_lot::{Mutex, RwLock};
use tokio::sync::watch;

use super::feed::{Change, Changes, Feed};
use super::{
    CommitError, Conflict, MetadataError, MetadataStore, Record, StoreError, Stored, Transaction,
    Version,
};
use crate::records::Edit;

pub struct RocksMetadata {
    store: Arc<MetaStore>,
    /// The version of every record that was not changed since.
    opened: Version,
    /// One transaction at a time.
    commits: Mutex<()>,
    since: RwLock<Since>,
}

/// What happened since the store was opened.
struct Since {
    /// Versions of records that were changed and are there.
    changed: HashMap<Vec<u8>, Version>,
    feed: Feed,
}

impl Since {
    fn version(&self, key: &[u8], opened: Version) -> Version {
        self.changed.get(key).copied().unwrap_or(opened)
    }
}

/// A key, and its value unless it was removed.
type Single = (Vec<u8>, Option<Vec<u8>>);

impl RocksMetadata {
    /// Opens the folder `path`, which is created if it is missing.
    ///
    /// # Errors
    /// `Failed`: in use, damaged, no permission, or of a newer release.
    pub fn open(path: &Path) -> Result<Self, MetadataError> {
        let store = MetaStore::open(path).map_err(failed)?;
        // Never 0: the schema's version was stored.
        let opened = Version(store.changes());
        Ok(Self {
            store: Arc::new(store),
            opened,
            commits: Mutex::default(),
            since: RwLock::new(Since {
                changed: HashMap::new(),
                feed: Feed::starting_after(opened),
            }),
        })
    }

    /// The database, which one process shares with its journal.
    pub fn database(&self) -> Arc<MetaStore> {
        Arc::clone(&self.store)
    }

    /// The records that have not the version that is expected.
    fn conflicts(&self, expected: Vec<(Vec<u8>, Version)>) -> Result<Vec<Vec<u8>>, StoreError> {
        let mut keys = Vec::new();
        for (key, version) in expected {
            let found = self.get(&key)?;
            if found.map_or(Version::ABSENT, |found| found.version) != version {
                keys.push(key);
            }
        }
        Ok(keys)
    }

    /// The edits as changes of single records, in order.
    fn singly(&self, edits: Vec<Edit>) -> Result<Vec<Single>, StoreError> {
        let mut changes: Vec<Single> = Vec::with_capacity(edits.len());
        for edit in edits {
            match edit {
                Edit::Put { key, value } => changes.push((key, Some(value))),
                Edit::Delete { key } => changes.push((key, None)),
                Edit::DeletePrefix { prefix } => {
                    let put = changes.iter().map(|(key, _)| key);
                    let put = put.filter(|key| key.starts_with(&prefix));
                    let mut gone: Vec<_> = put.cloned().collect();
                    for record in self.store.scan(&prefix) {
                        gone.push(record.map_err(failed)?.0.into_vec());
                    }
                    changes.extend(gone.into_iter().map(|key| (key, None)));
                }
            }
        }
        Ok(changes)
    }
}

impl MetadataStore for RocksMetadata {
    fn get(&self, key: &[u8]) -> Result<Option<Stored<Vec<u8>>>, StoreError> {
        let since = self.since.read();
        let version = since.version(key, self.opened);
        let value = self.store.get(key).map_err(failed)?;
        Ok(value.map(|value| Stored { value, version }))
    }

    fn scan(&self, prefix: &[u8]) -> Result<Vec<Record>, StoreError> {
        // No version is added while this is held.
        let since = self.since.read();
        let records = self.store.scan(prefix).map(|record| {
            let (key, value) = record.map_err(failed)?;
            let version = since.version(&key, self.opened);
            let value = value.into_vec();
            Ok((key.into_vec(), Stored { value, version }))
        });
        records.collect()
    }

    fn commit(&self, transaction: Transaction) -> Result<Version, CommitError> {
        let _one_at_a_time = self.commits.lock();
        let Transaction { expected, edits } = transaction;
        let keys = self.conflicts(expected)?;
        if !keys.is_empty() {
            return Err(CommitError::Conflict(Conflict { keys }));
        }
        let changes = self.singly(edits)?;
        if changes.is_empty() {
            return Ok(self.version());
        }
        let mut batch = MetaBatch::new();
        for (key, value) in &changes {
            match value {
                Some(value) => batch.put(key.clone(), value.clone()),
                None => batch.delete(key.clone()),
            }
        }
        self.store.commit(batch).map_err(failed)?;
        let version = Version(self.store.changes());
        let mut since = self.since.write();
        let told = changes.into_iter().map(|(key, value)| {
            match value {
                Some(_) => since.changed.insert(key.clone(), version),
                None => since.changed.remove(&key),
            };
            Change {
                key,
                value,
                version,
            }
        });
        let told = told.collect();
        since.feed.push(version, told);
        Ok(version)
    }

    fn version(&self) -> Version {
        Version(self.store.changes())
    }

    fn changes(&self, after: Version, prefix: &[u8]) -> Option<Changes> {
        self.since.read().feed.after(after, prefix)
    }

    fn watch(&self) -> watch::Receiver<Version> {
        self.since.read().feed.watch()
    }

    fn purge(&self, prefix: &[u8]) -> Result<(), StoreError> {
        self.store.purge(prefix).map_err(failed)
    }

    fn failure(&self) -> Option<String> {
        self.store.failure()
    }

    fn try_again(&self) -> Result<(), StoreError> {
        self.store.try_again().map_err(failed)
    }
}

fn failed(error: MetaError) -> StoreError {
    StoreError::new(error)
}
