//! Cluster metadata in memory, for tests: one store may serve several domains that do not know each
//! other, as several brokers would.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::watch;

use super::feed::{Change, Changes, Feed};
use super::{
    CommitError, Conflict, Metadata, MetadataStore, Record, StoreError, Stored, Transaction,
    Version,
};
use crate::records::Edit;

/// The store. Its contents live as long as it does: what is opened on it again has been restarted.
pub struct MemoryMetadata {
    state: Mutex<State>,
    /// Runs before the next transaction, and then not again.
    before_next: Mutex<Option<Box<dyn FnOnce() + Send>>>,
}

struct State {
    records: BTreeMap<Vec<u8>, Stored<Vec<u8>>>,
    version: Version,
    feed: Feed,
    /// Transactions that are going to fail.
    fails: usize,
    failure: Option<String>,
}

impl MemoryMetadata {
    pub fn new() -> Arc<Self> {
        let version = Version(1);
        Arc::new(Self {
            state: Mutex::new(State {
                records: BTreeMap::new(),
                version,
                feed: Feed::starting_after(version),
                fails: 0,
                failure: None,
            }),
            before_next: Mutex::default(),
        })
    }

    /// A way to it.
    pub fn metadata(self: &Arc<Self>) -> Metadata {
        Metadata::new(self.clone())
    }

    /// Lets the next transaction fail.
    pub fn fail_next(&self) {
        self.state.lock().fails += 1;
    }

    /// Lets another writer come in between: after a domain has read, and before its next
    /// transaction.
    pub fn before_next_commit(&self, other: impl FnOnce() + Send + 'static) {
        *self.before_next.lock() = Some(Box::new(other));
    }
}

impl State {
    fn version_of(&self, key: &[u8]) -> Version {
        let stored = self.records.get(key);
        stored.map_or(Version::ABSENT, |stored| stored.version)
    }

    fn apply(&mut self, edit: Edit) -> Vec<Change> {
        let version = self.version;
        let keys = match edit {
            Edit::Put { key, value } => {
                let stored = Stored {
                    value: value.clone(),
                    version,
                };
                self.records.insert(key.clone(), stored);
                let value = Some(value);
                return vec![Change {
                    key,
                    value,
                    version,
                }];
            }
            Edit::Delete { key } => vec![key],
            Edit::DeletePrefix { prefix } => {
                let keys = self.records.keys();
                keys.filter(|key| key.starts_with(&prefix))
                    .cloned()
                    .collect()
            }
        };
        let gone = |key: Vec<u8>| {
            self.records.remove(&key);
            Change {
                key,
                value: None,
                version,
            }
        };
        keys.into_iter().map(gone).collect()
    }
}

impl MetadataStore for MemoryMetadata {
    fn get(&self, key: &[u8]) -> Result<Option<Stored<Vec<u8>>>, StoreError> {
        Ok(self.state.lock().records.get(key).cloned())
    }

    fn scan(&self, prefix: &[u8]) -> Result<Vec<Record>, StoreError> {
        let state = self.state.lock();
        let records = state.records.range(prefix.to_vec()..);
        let records = records.take_while(|(key, _)| key.starts_with(prefix));
        Ok(records
            .map(|(key, stored)| (key.clone(), stored.clone()))
            .collect())
    }

    fn commit(&self, transaction: Transaction) -> Result<Version, CommitError> {
        let other = self.before_next.lock().take();
        if let Some(other) = other {
            other();
        }
        let mut state = self.state.lock();
        let Transaction { expected, edits } = transaction;
        let changed = expected
            .into_iter()
            .filter(|(key, version)| state.version_of(key) != *version);
        let keys: Vec<_> = changed.map(|(key, _)| key).collect();
        if !keys.is_empty() {
            return Err(CommitError::Conflict(Conflict { keys }));
        }
        if state.fails > 0 {
            state.fails -= 1;
            state.failure = Some("told to fail".to_owned());
            return Err(CommitError::Failed(StoreError::new("told to fail")));
        }
        if edits.is_empty() {
            return Ok(state.version);
        }
        state.failure = None;
        state.version.0 += 1;
        let changes = edits.into_iter().flat_map(|edit| state.apply(edit));
        let changes = changes.collect();
        let version = state.version;
        state.feed.push(version, changes);
        Ok(version)
    }

    fn version(&self) -> Version {
        self.state.lock().version
    }

    fn changes(&self, after: Version, prefix: &[u8]) -> Option<Changes> {
        self.state.lock().feed.after(after, prefix)
    }

    fn watch(&self) -> watch::Receiver<Version> {
        self.state.lock().feed.watch()
    }

    fn purge(&self, _prefix: &[u8]) -> Result<(), StoreError> {
        Ok(())
    }

    fn failure(&self) -> Option<String> {
        self.state.lock().failure.clone()
    }

    fn try_again(&self) -> Result<(), StoreError> {
        let mut state = self.state.lock();
        if state.fails > 0 {
            return Err(StoreError::new("told to fail"));
        }
        state.failure = None;
        Ok(())
    }
}
