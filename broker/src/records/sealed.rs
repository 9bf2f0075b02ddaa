//! The value of a record that holds one secret, encrypted. `secrets/` encrypts and decrypts.
//!
//! Version 1 (before there were data keys): version u8 = 1 · id of the key 8 bytes · nonce 12 bytes
//! · the secret encrypted with ChaCha20-Poly1305, its tag behind it, to the end of the value.
//! Version 2: version u8 = 2 · generation of the data key u32 · nonce 12 bytes · the secret
//! encrypted with AES-256-GCM, its tag behind it, to the end of the value.

use carrick_storage::codec::{DecodeError, Reader, Writer};

/// Bytes of a key's id.
pub const KEY_ID_BYTES: usize = 8;
/// Bytes of a nonce.
pub const NONCE_BYTES: usize = 12;

/// Which key a secret was encrypted with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyOf {
    /// The key file in the data folder that has this id.
    File([u8; KEY_ID_BYTES]),
    /// The data key of this generation ([`super::data_key`]).
    Generation(u32),
}

/// A secret as it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sealed {
    pub key: KeyOf,
    /// Never used twice with one key.
    pub nonce: [u8; NONCE_BYTES],
    /// The encrypted secret and its tag.
    pub ciphertext: Vec<u8>,
}

impl Sealed {
    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        match &self.key {
            KeyOf::File(id) => {
                out.put_u8(1);
                out.extend_from_slice(id);
            }
            KeyOf::Generation(generation) => {
                out.put_u8(2);
                out.put_u32(*generation);
            }
        }
        out.extend_from_slice(&self.nonce);
        out.extend_from_slice(&self.ciphertext);
    }

    pub(super) fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(bytes);
        let key = match reader.version(2)? {
            1 => {
                let mut id = [0; KEY_ID_BYTES];
                id.copy_from_slice(reader.take(KEY_ID_BYTES)?);
                KeyOf::File(id)
            }
            _ => KeyOf::Generation(reader.u32()?),
        };
        let mut nonce = [0; NONCE_BYTES];
        nonce.copy_from_slice(reader.take(NONCE_BYTES)?);
        let ciphertext = reader.rest().to_vec();
        Ok(Self {
            key,
            nonce,
            ciphertext,
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_secret_reads_back(
            id: Option<[u8; 8]>,
            generation: u32,
            nonce: [u8; 12],
            ciphertext in prop::collection::vec(any::<u8>(), 0..40),
        ) {
            let key = id.map_or(KeyOf::Generation(generation), KeyOf::File);
            let sealed = Sealed { key, nonce, ciphertext };
            let mut bytes = Vec::new();
            sealed.encode(&mut bytes);
            prop_assert_eq!(Sealed::decode(&bytes).unwrap(), sealed);
        }

        #[test]
        fn garbage_is_refused_without_panic(bytes in prop::collection::vec(any::<u8>(), 0..40)) {
            let _ = Sealed::decode(&bytes);
        }
    }

    #[test]
    fn both_versions_are_laid_out_as_documented() {
        let of = |key| Sealed {
            key,
            nonce: [8; 12],
            ciphertext: vec![9, 10],
        };
        let mut bytes = Vec::new();
        of(KeyOf::File([7; 8])).encode(&mut bytes);
        assert_eq!(
            bytes,
            [vec![1], vec![7; 8], vec![8; 12], vec![9, 10]].concat()
        );
        bytes.clear();
        of(KeyOf::Generation(5)).encode(&mut bytes);
        let expected = [vec![2, 0, 0, 0, 5], vec![8; 12], vec![9, 10]].concat();
        assert_eq!(bytes, expected);
    }
}
