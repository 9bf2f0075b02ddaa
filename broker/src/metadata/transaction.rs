//! A transaction: what its decision is based on, and what it changes.

use carrick_storage::codec::printable;

use super::{Metadata, MetadataError, Version};
use crate::records::{Edit, OfCluster, stored_key};

/// Edits of any keyspaces, in order, to be stored as one if every record is as expected.
///
/// Nothing happens before [`Metadata::commit`](super::Metadata::commit); a later edit of the same
/// record wins. Hand a `&mut Transaction` to other code so that it adds its part.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[must_use = "changes are lost unless they are committed"]
pub struct Transaction {
    pub(super) expected: Vec<(Vec<u8>, Version)>,
    pub(super) edits: Vec<Edit>,
}

impl Transaction {
    pub fn new() -> Self {
        Self::default()
    }

    /// Nothing is stored unless the record has this version; [`Version::ABSENT`] if it must not
    /// exist.
    pub fn expect<K: OfCluster>(&mut self, key: &K::Key, version: Version) {
        self.expected.push((stored_key::<K>(key), version));
    }

    /// Reads a record that the decision rests on: nothing is stored if it has changed by the time
    /// of the commit.
    ///
    /// # Errors
    /// `Corrupt`, `Failed`.
    pub fn read<K: OfCluster>(
        &mut self,
        metadata: &Metadata,
        key: &K::Key,
    ) -> Result<Option<K::Value>, MetadataError> {
        let stored = metadata.get_versioned::<K>(key)?;
        let version = stored.as_ref().map_or(Version::ABSENT, |it| it.version);
        self.expect::<K>(key, version);
        Ok(stored.map(|it| it.value))
    }

    pub fn put<K: OfCluster>(&mut self, key: &K::Key, value: &K::Value) {
        self.edits.push(Edit::put::<K>(key, value));
    }

    /// Nothing happens if the record is not there.
    pub fn delete<K: OfCluster>(&mut self, key: &K::Key) {
        self.edits.push(Edit::delete::<K>(key));
    }

    /// Removes every record whose encoded key starts with `key_prefix`.
    pub fn delete_prefix<K: OfCluster>(&mut self, key_prefix: &[u8]) {
        self.edits.push(Edit::delete_prefix::<K>(key_prefix));
    }

    /// Expects what `other` expects, and adds its edits after those already here.
    pub fn append(&mut self, other: Transaction) {
        self.expected.extend(other.expected);
        self.edits.extend(other.edits);
    }
}

/// Records that have not the version that a transaction expected.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("metadata at {} was changed by somebody else", first_of(.keys))]
pub struct Conflict {
    /// The stored keys of all of them.
    pub(super) keys: Vec<Vec<u8>>,
}

impl Conflict {
    /// Whether this record is one of them.
    pub fn is_about<K: OfCluster>(&self, key: &K::Key) -> bool {
        self.keys.contains(&stored_key::<K>(key))
    }
}

fn first_of(keys: &[Vec<u8>]) -> String {
    printable(keys.first().map_or(&[], |key| key))
}
