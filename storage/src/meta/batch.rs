//! Changes that become visible and durable together.

use super::keyspace::{Keyspace, stored_key, stored_prefix, successor};

/// One change to the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Change {
    Put {
        key: Vec<u8>,
        value: Vec<u8>,
    },
    Delete {
        key: Vec<u8>,
    },
    /// Deletes `from..to`.
    DeleteRange {
        from: Vec<u8>,
        to: Vec<u8>,
    },
}

impl Change {
    fn size_bytes(&self) -> usize {
        match self {
            Self::Put { key, value } => key.len() + value.len(),
            Self::Delete { key } => key.len(),
            Self::DeleteRange { from, to } => from.len() + to.len(),
        }
    }

    pub(super) fn key(&self) -> &[u8] {
        match self {
            Self::Put { key, .. } | Self::Delete { key } => key,
            Self::DeleteRange { from, .. } => from,
        }
    }
}

/// Puts and deletes of any keyspaces, in order, to be committed as one.
///
/// Nothing happens before [`MetaStore::commit`](super::MetaStore::commit); a later change of the
/// same key wins. Hand a `&mut MetaBatch` to other code so that it adds its part of an operation.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[must_use = "changes are lost unless they are committed"]
pub struct MetaBatch {
    pub(super) changes: Vec<Change>,
}

impl MetaBatch {
    /// An empty batch.
    pub fn new() -> Self {
        Self::default()
    }

    /// Bytes of all keys and values.
    pub fn size_bytes(&self) -> usize {
        self.changes.iter().map(Change::size_bytes).sum()
    }

    /// Stores `value` under `key`.
    pub fn put<K: Keyspace>(&mut self, key: &K::Key, value: &K::Value) {
        let mut bytes = Vec::new();
        K::encode_value(value, &mut bytes);
        self.changes.push(Change::Put {
            key: stored_key::<K>(key),
            value: bytes,
        });
    }

    /// Removes `key`; nothing happens if it is not there.
    pub fn delete<K: Keyspace>(&mut self, key: &K::Key) {
        self.changes.push(Change::Delete {
            key: stored_key::<K>(key),
        });
    }

    /// Removes every key whose encoded form starts with `key_prefix` (all of `K` if empty).
    pub fn delete_prefix<K: Keyspace>(&mut self, key_prefix: &[u8]) {
        let from = stored_prefix::<K>(key_prefix);
        let to = successor(from.clone());
        self.changes.push(Change::DeleteRange { from, to });
    }

    /// Adds all changes of `other` after those already here.
    pub fn append(&mut self, other: MetaBatch) {
        self.changes.extend(other.changes);
    }

    /// Number of changes.
    pub fn len(&self) -> usize {
        self.changes.len()
    }

    /// Whether there is nothing to commit.
    pub fn is_empty(&self) -> bool {
        self.changes.is_empty()
    }
}
