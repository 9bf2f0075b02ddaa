//! Changes that become visible and durable together.

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
    pub(super) fn key(&self) -> &[u8] {
        match self {
            Self::Put { key, .. } | Self::Delete { key } => key,
            Self::DeleteRange { from, .. } => from,
        }
    }
}

/// Puts and deletes, in order, to be committed as one.
///
/// Nothing happens before [`MetaStore::commit`](super::MetaStore::commit); a later change of the
/// same key wins. The first byte of a key or prefix must be 1 to 254: another one is a mistake in
/// the program and panics here, before anything is stored.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[must_use = "changes are lost unless they are committed"]
pub struct MetaBatch {
    pub(super) changes: Vec<Change>,
}

impl MetaBatch {
    pub fn new() -> Self {
        Self::default()
    }

    /// Stores `value` under `key`.
    pub fn put(&mut self, key: Vec<u8>, value: Vec<u8>) {
        check(&key);
        self.changes.push(Change::Put { key, value });
    }

    /// Removes `key`; nothing happens if it is not there.
    pub fn delete(&mut self, key: Vec<u8>) {
        check(&key);
        self.changes.push(Change::Delete { key });
    }

    /// Removes every key that starts with `prefix`.
    pub fn delete_prefix(&mut self, prefix: Vec<u8>) {
        check(&prefix);
        let to = successor(prefix.clone());
        self.changes.push(Change::DeleteRange { from: prefix, to });
    }

    pub fn len(&self) -> usize {
        self.changes.len()
    }

    /// Whether there is nothing to commit.
    pub fn is_empty(&self) -> bool {
        self.changes.is_empty()
    }
}

fn check(key: &[u8]) {
    assert!(
        key.first()
            .is_some_and(|first| (1..u8::MAX).contains(first)),
        "keys that begin with 0 or 255 are reserved"
    );
}

/// The smallest key above all keys that start with `prefix`: the exclusive end of a prefix scan.
///
/// `prefix` must start with a byte below 255, which [`check`] guarantees.
pub(super) fn successor(mut prefix: Vec<u8>) -> Vec<u8> {
    while prefix.last() == Some(&u8::MAX) {
        prefix.pop();
    }
    if let Some(last) = prefix.last_mut() {
        *last += 1;
    }
    assert!(!prefix.is_empty(), "a prefix of 255s has no successor");
    prefix
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn successor_steps_over_trailing_ff() {
        assert_eq!(successor(vec![1]), vec![2]);
        assert_eq!(successor(vec![1, 0xff]), vec![2]);
        assert_eq!(successor(vec![1, 0, 0xff, 0xff]), vec![1, 1]);
    }

    proptest! {
        #[test]
        fn successor_separates_keys_with_the_prefix_from_those_above(
            prefix in proptest::collection::vec(any::<u8>(), 0..4),
            key in proptest::collection::vec(any::<u8>(), 0..6),
        ) {
            let prefix = [&[7], prefix.as_slice()].concat();
            let key = [&[7], key.as_slice()].concat();
            let end = successor(prefix.clone());
            prop_assert_eq!(key.starts_with(&prefix), prefix <= key && key < end);
        }
    }
}
