//! Prefix 18: one record per secret config of a link, encrypted.
//!
//! Key: the link's name, UTF-8 · a zero byte · the config's name, UTF-8, to the end of the key. (No
//! link's name holds a zero byte.)
//! Value, version 1: version u8 = 1 · id of the key 8 bytes · nonce 12 bytes · the value encrypted
//! with ChaCha20-Poly1305, its tag behind it, to the end of the value. `mirror/secrets.rs` says what else is authenticated, and where the key comes from.

use carrick_link::record::LinkName;
use carrick_storage::codec::{DecodeError, Reader, Writer};

use super::Keyspace;

/// Bytes of a key's id.
pub const KEY_ID_BYTES: usize = 8;
/// Bytes of a nonce.
pub const NONCE_BYTES: usize = 12;

/// A secret as it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sealed {
    /// Which key it was encrypted with.
    pub key_id: [u8; KEY_ID_BYTES],
    /// Never used twice with one key.
    pub nonce: [u8; NONCE_BYTES],
    /// The encrypted value and its tag.
    pub ciphertext: Vec<u8>,
}

pub struct LinkSecretKeyspace;

/// The beginning of the keys of a link's secrets.
pub fn of_link(link: &LinkName) -> Vec<u8> {
    [link.as_str().as_bytes(), &[0]].concat()
}

impl Keyspace for LinkSecretKeyspace {
    const PREFIX: u8 = 18;
    const NAME: &'static str = "link_secret";
    type Key = (LinkName, String);
    type Value = Sealed;

    fn encode_key((link, config): &Self::Key, out: &mut Vec<u8>) {
        out.extend(of_link(link));
        out.extend_from_slice(config.as_bytes());
    }

    fn decode_key(bytes: &[u8]) -> Result<Self::Key, DecodeError> {
        let text = std::str::from_utf8(bytes).map_err(|e| DecodeError::new(e.to_string()))?;
        let (link, config) = text
            .split_once('\0')
            .ok_or_else(|| DecodeError::new("no zero byte behind the link's name"))?;
        let link = LinkName::new(link).map_err(|e| DecodeError::new(e.to_string()))?;
        Ok((link, config.to_owned()))
    }

    fn encode_value(value: &Sealed, out: &mut Vec<u8>) {
        out.put_u8(1);
        out.extend_from_slice(&value.key_id);
        out.extend_from_slice(&value.nonce);
        out.extend_from_slice(&value.ciphertext);
    }

    fn decode_value(bytes: &[u8]) -> Result<Sealed, DecodeError> {
        let mut reader = Reader::new(bytes);
        reader.version(1)?;
        let mut sealed = Sealed {
            key_id: [0; KEY_ID_BYTES],
            nonce: [0; NONCE_BYTES],
            ciphertext: Vec::new(),
        };
        sealed.key_id.copy_from_slice(reader.take(KEY_ID_BYTES)?);
        sealed.nonce.copy_from_slice(reader.take(NONCE_BYTES)?);
        sealed.ciphertext = reader.rest().to_vec();
        Ok(sealed)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_record_reads_back(
            link in "[a-z]{1,9}",
            config in "[a-z.]{1,30}",
            key_id: [u8; 8],
            nonce: [u8; 12],
            ciphertext in prop::collection::vec(any::<u8>(), 0..40),
        ) {
            let key = (LinkName::new(&link).unwrap(), config);
            let mut bytes = Vec::new();
            LinkSecretKeyspace::encode_key(&key, &mut bytes);
            prop_assert!(bytes.starts_with(&of_link(&key.0)));
            prop_assert_eq!(LinkSecretKeyspace::decode_key(&bytes).unwrap(), key);
            let sealed = Sealed { key_id, nonce, ciphertext };
            let mut bytes = Vec::new();
            LinkSecretKeyspace::encode_value(&sealed, &mut bytes);
            prop_assert_eq!(LinkSecretKeyspace::decode_value(&bytes).unwrap(), sealed);
        }

        #[test]
        fn garbage_is_refused_without_panic(bytes in prop::collection::vec(any::<u8>(), 0..40)) {
            let _ = LinkSecretKeyspace::decode_value(&bytes);
            let _ = LinkSecretKeyspace::decode_key(&bytes);
        }
    }

    #[test]
    fn version_1_is_laid_out_as_documented() {
        let mut bytes = Vec::new();
        let key = (LinkName::new("west").unwrap(), "a.b".to_owned());
        LinkSecretKeyspace::encode_key(&key, &mut bytes);
        assert_eq!(bytes, b"west\0a.b");
        let sealed = Sealed {
            key_id: [7; 8],
            nonce: [8; 12],
            ciphertext: vec![9, 10],
        };
        let mut bytes = Vec::new();
        LinkSecretKeyspace::encode_value(&sealed, &mut bytes);
        let expected = [vec![1], vec![7; 8], vec![8; 12], vec![9, 10]].concat();
        assert_eq!(bytes, expected);
    }
}
