//! The seam to cluster metadata: what the cluster has decided. Topics and their configs, properties
//! of brokers, links and mirrors, reports, quotas, blocks of producer ids.
//!
//! [`MetadataStore`] is the port; [`rocks`] implements it for one process, [`memory`] for tests,
//! and one suite (`contract.rs`) runs on both. [`Metadata`] is how domains reach it: typed, by
//! keyspace.
//!
//! - Every record has a [`Version`] that changes whenever the record does. A transaction names the
//!   versions that its decision is based on; if one of them has changed, nothing is stored and the
//!   domain reads and decides again.
//! - A transaction is atomic, and durable when [`Metadata::commit`] returns.
//! - A copy in memory is loaded and kept up to date by [`Metadata::news`].
//!
//! What groups and transactions record is not here: that is [`crate::journal`].

#[cfg(test)]
mod contract;
mod feed;
#[cfg(test)]
pub mod memory;
mod properties;
pub mod rocks;
mod transaction;

use std::sync::Arc;

use tokio::sync::watch;

pub use feed::{Change, Changes};
pub use transaction::{Conflict, Transaction};

use crate::records::{
    Corrupt, Keyspace, OfCluster, Records, decode_key, decode_value, stored_key, stored_prefix,
};

/// When a record was last changed: the number of the transaction that did it, or of one after that
/// and before any reader. Grows with every transaction; gaps mean nothing.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Version(pub u64);

impl Version {
    /// Of a record that is not there.
    pub const ABSENT: Version = Version(0);
}

/// A value, and since when the record has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored<V> {
    pub value: V,
    /// Never [`Version::ABSENT`].
    pub version: Version,
}

/// The store could not do it; nothing was changed.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub struct StoreError(Box<dyn std::error::Error + Send + Sync>);

impl StoreError {
    pub fn new(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self(error.into())
    }
}

/// Why a transaction was not stored.
#[derive(Debug, thiserror::Error)]
pub enum CommitError {
    #[error(transparent)]
    Conflict(Conflict),
    #[error(transparent)]
    Failed(#[from] StoreError),
}

/// Why metadata cannot be read or changed.
#[derive(Debug, thiserror::Error)]
pub enum MetadataError {
    /// What the decision rests on has changed: read and decide again.
    #[error(transparent)]
    Conflict(Conflict),
    /// A stored record does not decode.
    #[error(transparent)]
    Corrupt(#[from] Corrupt),
    #[error(transparent)]
    Failed(#[from] StoreError),
}

impl From<CommitError> for MetadataError {
    fn from(error: CommitError) -> Self {
        match error {
            CommitError::Conflict(conflict) => Self::Conflict(conflict),
            CommitError::Failed(error) => Self::Failed(error),
        }
    }
}

/// A record as it is stored: its key, its value and version.
pub type Record = (Vec<u8>, Stored<Vec<u8>>);

/// What a store of cluster metadata must do. Keys and values are bytes; see [`Keyspace`].
///
/// Nine methods: five are the store, two tell its health, one wakes those who follow it, and
/// `purge` is for secrets that were once stored as they are.
pub trait MetadataStore: Send + Sync {
    /// The value of a key and its version.
    ///
    /// The version may be older than the value if the record changes at this moment, never newer: a
    /// transaction that expects it is then refused, and who read it reads again.
    fn get(&self, key: &[u8]) -> Result<Option<Stored<Vec<u8>>>, StoreError>;

    /// All keys that start with `prefix`, in order. Versions as in [`MetadataStore::get`].
    fn scan(&self, prefix: &[u8]) -> Result<Vec<Record>, StoreError>;

    /// Stores all edits of a transaction or none, if every record has the version that the
    /// transaction expects. Durable on return; every record it has put gets the returned version.
    fn commit(&self, transaction: Transaction) -> Result<Version, CommitError>;

    /// At least the version of the newest transaction. All that was committed under it can be read.
    fn version(&self) -> Version;

    /// What has changed after that version under `prefix`, in order. `None` if that is so long ago
    /// that it is not known any more.
    fn changes(&self, after: Version, prefix: &[u8]) -> Option<Changes>;

    /// Changes whenever there is a new transaction.
    fn watch(&self) -> watch::Receiver<Version>;

    /// Earlier values of keys under `prefix` can no longer be read from the disk.
    fn purge(&self, prefix: &[u8]) -> Result<(), StoreError>;

    /// Why the last transaction could not be stored; `None` if it was.
    fn failure(&self) -> Option<String>;

    /// After a failure: finds out whether transactions can be stored again, and forgets it if so.
    fn try_again(&self) -> Result<(), StoreError>;
}

/// What a copy has missed.
pub enum News<K: Keyspace> {
    /// All records there are: any others that the copy has no longer exist.
    All(Records<K>),
    /// Changes in order, `None` for a removed record.
    Changes(Vec<(K::Key, Option<K::Value>)>),
}

/// Cluster metadata, typed by keyspace. Cheap to clone.
#[derive(Clone)]
pub struct Metadata {
    store: Arc<dyn MetadataStore>,
}

impl Metadata {
    pub fn new(store: Arc<dyn MetadataStore>) -> Self {
        Self { store }
    }

    /// The value of a record, if it exists.
    ///
    /// # Errors
    /// `Corrupt`, `Failed`.
    pub fn get<K: OfCluster>(&self, key: &K::Key) -> Result<Option<K::Value>, MetadataError> {
        let stored = self.get_versioned::<K>(key)?;
        Ok(stored.map(|stored| stored.value))
    }

    /// The value of a record and its version, for a decision that rests on it. That there is no
    /// record is the version [`Version::ABSENT`].
    ///
    /// # Errors
    /// `Corrupt`, `Failed`.
    pub fn get_versioned<K: OfCluster>(
        &self,
        key: &K::Key,
    ) -> Result<Option<Stored<K::Value>>, MetadataError> {
        let key = stored_key::<K>(key);
        let Some(Stored { value, version }) = self.store.get(&key)? else {
            return Ok(None);
        };
        let value = decode_value::<K>(&key, &value)?;
        Ok(Some(Stored { value, version }))
    }

    /// Every record of the keyspace, in key order.
    ///
    /// # Errors
    /// `Corrupt`, `Failed`.
    pub fn scan<K: OfCluster>(&self) -> Result<Records<K>, MetadataError> {
        self.scan_prefix::<K>(&[])
    }

    /// Every record whose encoded key starts with `key_prefix`, in key order.
    ///
    /// # Errors
    /// `Corrupt`, `Failed`.
    pub fn scan_prefix<K: OfCluster>(
        &self,
        key_prefix: &[u8],
    ) -> Result<Records<K>, MetadataError> {
        let stored = self.store.scan(&stored_prefix::<K>(key_prefix))?;
        let records = stored.into_iter().map(|(key, Stored { value, .. })| {
            Ok((decode_key::<K>(&key)?, decode_value::<K>(&key, &value)?))
        });
        records.collect()
    }

    /// Stores all of a transaction, durably, or nothing. Blocks on disk. All records it has put get
    /// the returned version.
    ///
    /// # Errors
    /// `Conflict` if a record has not the version that was expected, `Failed`: nothing is stored.
    pub fn commit(&self, transaction: Transaction) -> Result<Version, MetadataError> {
        Ok(self.store.commit(transaction)?)
    }

    /// Fills a transaction by `decide` and commits it; decides again as often as something that it
    /// rests on has changed meanwhile. Blocks on disk.
    ///
    /// # Errors
    /// Those of `decide`, `Failed`: nothing is stored.
    pub fn decide<T>(
        &self,
        mut decide: impl FnMut(&mut Transaction) -> Result<T, MetadataError>,
    ) -> Result<T, MetadataError> {
        loop {
            let mut transaction = Transaction::new();
            let decided = decide(&mut transaction)?;
            match self.commit(transaction) {
                Ok(_) => return Ok(decided),
                Err(MetadataError::Conflict(_)) => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// What a copy of the keyspace has missed that was up to date at `seen`, which this moves on. A
    /// copy that has nothing yet begins with [`Version::ABSENT`].
    ///
    /// # Errors
    /// `Corrupt`, `Failed`: `seen` stays.
    pub fn news<K: OfCluster>(&self, seen: &mut Version) -> Result<News<K>, MetadataError> {
        let prefix = stored_prefix::<K>(&[]);
        let changes = match *seen {
            Version::ABSENT => None,
            seen => self.store.changes(seen, &prefix),
        };
        let Some(Changes { changes, upto }) = changes else {
            // Read before the records: changes in between are reported again, which does no harm.
            let upto = self.store.version();
            let all = self.scan::<K>()?;
            *seen = upto;
            return Ok(News::All(all));
        };
        let decoded = changes.into_iter().map(|Change { key, value, .. }| {
            let value = value.map(|value| decode_value::<K>(&key, &value));
            Ok((decode_key::<K>(&key)?, value.transpose()?))
        });
        let decoded = decoded.collect::<Result<_, Corrupt>>()?;
        *seen = upto;
        Ok(News::Changes(decoded))
    }

    /// Changes whenever there may be [`Metadata::news`].
    pub fn watch(&self) -> watch::Receiver<Version> {
        self.store.watch()
    }

    /// The number of metadata changes so far, or more: it grows with each.
    pub fn version(&self) -> Version {
        self.store.version()
    }

    /// Earlier values of the keyspace's records can no longer be read from the disk.
    ///
    /// # Errors
    /// `Failed`.
    pub fn purge<K: OfCluster>(&self) -> Result<(), MetadataError> {
        Ok(self.store.purge(&stored_prefix::<K>(&[]))?)
    }

    /// Why the last transaction could not be stored; `None` if it was.
    pub fn failure(&self) -> Option<String> {
        self.store.failure()
    }

    /// After a failure: finds out whether transactions can be stored again. Blocks on disk.
    pub fn try_again(&self) {
        // What fails again shows as the failure that it is.
        let _ = self.store.try_again();
    }
}
