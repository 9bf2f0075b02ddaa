//! A keyspace: one kind of record, one prefix byte, one layout.

use crate::codec::DecodeError;

/// One kind of record in the store. Implemented once per file of the broker's `records/`.
///
/// A stored key is [`Keyspace::PREFIX`] followed by what [`Keyspace::encode_key`] writes, compared
/// byte by byte: numbers in keys should be big-endian (see [`Writer`](super::Writer)).
/// Layouts are forever: a value starts with a version byte, and old versions stay readable.
pub trait Keyspace {
    /// First byte of every key. Unique among keyspaces and within 1..=254 (0 holds the schema
    /// version; 255 stays free so that every prefix has a successor). Checked when compiling.
    const PREFIX: u8;
    /// Name for error messages.
    const NAME: &'static str;
    /// The decoded key.
    type Key;
    /// The decoded value.
    type Value;

    /// Appends the key, without the prefix byte, to `out`.
    fn encode_key(key: &Self::Key, out: &mut Vec<u8>);
    /// Reads what [`Keyspace::encode_key`] wrote.
    fn decode_key(bytes: &[u8]) -> Result<Self::Key, DecodeError>;
    /// Appends the value to `out`.
    fn encode_value(value: &Self::Value, out: &mut Vec<u8>);
    /// Reads what [`Keyspace::encode_value`] wrote, of any version ever released.
    fn decode_value(bytes: &[u8]) -> Result<Self::Value, DecodeError>;
}

/// Decoded records of a keyspace, in key order.
pub type Records<K> = Vec<(<K as Keyspace>::Key, <K as Keyspace>::Value)>;

/// The bytes under which `key` is stored.
pub(super) fn stored_key<K: Keyspace>(key: &K::Key) -> Vec<u8> {
    let mut out = stored_prefix::<K>(&[]);
    K::encode_key(key, &mut out);
    out
}

/// The bytes with which every stored key starts whose encoded key starts with `key_prefix`.
pub(super) fn stored_prefix<K: Keyspace>(key_prefix: &[u8]) -> Vec<u8> {
    const {
        assert!(
            K::PREFIX != 0 && K::PREFIX != u8::MAX,
            "prefixes 0 and 255 are reserved"
        )
    };
    let mut out = Vec::with_capacity(1 + key_prefix.len());
    out.push(K::PREFIX);
    out.extend_from_slice(key_prefix);
    out
}

/// The smallest key above all keys that start with `prefix`: the exclusive end of a prefix scan.
///
/// `prefix` must start with a byte below 255, which [`stored_prefix`] guarantees.
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
