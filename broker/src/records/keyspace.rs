//! A keyspace: one kind of record, one prefix byte, one layout; and changes of records as bytes.

use carrick_storage::codec::{DecodeError, printable};

/// One kind of record. Implemented once per file of this folder.
///
/// A stored key is [`Keyspace::PREFIX`] followed by what [`Keyspace::encode_key`] writes, compared
/// byte by byte: numbers in keys should be big-endian (see [`carrick_storage::codec::Writer`]).
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

/// Records of the cluster: only [`crate::metadata`] takes them.
pub trait OfCluster: Keyspace {}

/// Records of coordinators: only [`crate::journal`] takes them.
pub trait OfCoordinators: Keyspace {}

/// Decoded records of a keyspace, in key order.
pub type Records<K> = Vec<(<K as Keyspace>::Key, <K as Keyspace>::Value)>;

/// A stored record that does not decode.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("metadata of keyspace {keyspace}, key {key} is corrupt: {source}")]
pub struct Corrupt {
    /// [`Keyspace::NAME`].
    keyspace: &'static str,
    /// The key, printable.
    key: String,
    /// What is wrong with it.
    source: DecodeError,
}

/// One change of a record, as bytes. Keys begin with the prefix byte of their keyspace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Edit {
    /// The key has this value from now on.
    Put {
        /// The stored key.
        key: Vec<u8>,
        /// The stored value.
        value: Vec<u8>,
    },
    /// The key is removed; no effect if it does not exist.
    Delete {
        /// The stored key.
        key: Vec<u8>,
    },
    /// Every key with this prefix is removed.
    DeletePrefix {
        /// The beginning of stored keys.
        prefix: Vec<u8>,
    },
}

impl Edit {
    /// Stores `value` under `key`.
    pub fn put<K: Keyspace>(key: &K::Key, value: &K::Value) -> Self {
        let mut bytes = Vec::new();
        K::encode_value(value, &mut bytes);
        Self::Put {
            key: stored_key::<K>(key),
            value: bytes,
        }
    }

    /// Removes `key`.
    pub fn delete<K: Keyspace>(key: &K::Key) -> Self {
        Self::Delete {
            key: stored_key::<K>(key),
        }
    }

    /// Of every record whose encoded key starts with `key_prefix`: all of `K` if it is empty.
    pub fn delete_prefix<K: Keyspace>(key_prefix: &[u8]) -> Self {
        Self::DeletePrefix {
            prefix: stored_prefix::<K>(key_prefix),
        }
    }

    /// Bytes of key and value.
    pub fn size_bytes(&self) -> usize {
        match self {
            Self::Put { key, value } => key.len() + value.len(),
            Self::Delete { key } => key.len(),
            Self::DeletePrefix { prefix } => prefix.len(),
        }
    }
}

/// The bytes under which `key` is stored.
pub fn stored_key<K: Keyspace>(key: &K::Key) -> Vec<u8> {
    let mut out = stored_prefix::<K>(&[]);
    K::encode_key(key, &mut out);
    out
}

/// The bytes with which every stored key starts whose encoded key starts with `key_prefix`.
pub fn stored_prefix<K: Keyspace>(key_prefix: &[u8]) -> Vec<u8> {
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

/// The key of a stored record of the keyspace.
pub fn decode_key<K: Keyspace>(stored: &[u8]) -> Result<K::Key, Corrupt> {
    K::decode_key(stored.get(1..).unwrap_or_default())
        .map_err(|source| corrupt::<K>(stored, source))
}

/// The value of the record stored under that key.
pub fn decode_value<K: Keyspace>(stored: &[u8], value: &[u8]) -> Result<K::Value, Corrupt> {
    K::decode_value(value).map_err(|source| corrupt::<K>(stored, source))
}

fn corrupt<K: Keyspace>(stored: &[u8], source: DecodeError) -> Corrupt {
    Corrupt {
        keyspace: K::NAME,
        key: printable(stored.get(1..).unwrap_or_default()),
        source,
    }
}

#[cfg(test)]
mod tests {
    use carrick_storage::codec::{Reader, Writer};

    use super::*;

    struct Ages;

    impl Keyspace for Ages {
        const PREFIX: u8 = 0xfd;
        const NAME: &'static str = "age";
        type Key = Vec<u8>;
        type Value = i64;

        fn encode_key(key: &Vec<u8>, out: &mut Vec<u8>) {
            out.extend_from_slice(key);
        }

        fn decode_key(bytes: &[u8]) -> Result<Vec<u8>, DecodeError> {
            match bytes {
                b"?" => Err(DecodeError::new("nobody")),
                known => Ok(known.to_vec()),
            }
        }

        fn encode_value(value: &i64, out: &mut Vec<u8>) {
            out.put_u8(1);
            out.put_i64(*value);
        }

        fn decode_value(bytes: &[u8]) -> Result<i64, DecodeError> {
            let mut reader = Reader::new(bytes);
            reader.version(1)?;
            let value = reader.i64()?;
            reader.finish()?;
            Ok(value)
        }
    }

    #[test]
    fn keys_are_stored_behind_their_prefix() {
        let key = stored_key::<Ages>(&b"ann".to_vec());
        assert_eq!(key, b"\xfdann");
        assert_eq!(decode_key::<Ages>(&key).unwrap(), b"ann");
        let put = Edit::put::<Ages>(&b"ann".to_vec(), &7);
        let value = b"\x01\0\0\0\0\0\0\0\x07".to_vec();
        assert_eq!(put.size_bytes(), 4 + 9);
        assert_eq!(put, Edit::Put { key, value });
        let prefix = b"\xfda".to_vec();
        assert_eq!(
            Edit::delete_prefix::<Ages>(b"a"),
            Edit::DeletePrefix { prefix }
        );
    }

    #[test]
    fn a_corrupt_record_is_an_error_that_names_keyspace_and_key() {
        let value = decode_value::<Ages>(b"\xfdill\xff", &[1, 0, 0]).unwrap_err();
        assert_eq!(
            value.to_string(),
            r#"metadata of keyspace age, key "ill\xff" is corrupt: 6 bytes missing at 1"#
        );
        let key = decode_key::<Ages>(b"\xfd?").unwrap_err();
        assert_eq!(
            key.to_string(),
            r#"metadata of keyspace age, key "?" is corrupt: nobody"#
        );
    }
}
