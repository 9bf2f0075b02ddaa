//! Prefix 26: one record per data key, which secrets are encrypted with. The master key, which is
//! not stored here, encrypts the data key itself (`secrets/`).
//!
//! Key: generation u32; grows with every rotation.
//! Value, version 1: version u8 = 1 · created i64, ms · how the master key is made, u8: 1 from a
//! key file, 2 from a passphrase, then salt 16 bytes · iterations u32 · id of the master key 8 bytes
//! · nonce 12 bytes · the data key encrypted with AES-256-GCM and its tag, to the end of the value.

use carrick_storage::codec::{DecodeError, Reader, Writer};

use super::Keyspace;
use super::sealed::{KEY_ID_BYTES, NONCE_BYTES};

/// Bytes of a passphrase's salt.
pub const SALT_BYTES: usize = 16;

/// How a master key is made from what the operator gives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Derivation {
    /// From the bytes of a key file.
    File,
    /// From a passphrase, by PBKDF2.
    Passphrase {
        salt: [u8; SALT_BYTES],
        iterations: u32,
    },
}

/// A data key as it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DataKeyRecord {
    pub created_ms: i64,
    pub derivation: Derivation,
    /// Tells one master key from another.
    pub master_id: [u8; KEY_ID_BYTES],
    pub nonce: [u8; NONCE_BYTES],
    /// The encrypted key and its tag.
    pub ciphertext: Vec<u8>,
}

pub struct DataKeyKeyspace;

impl Keyspace for DataKeyKeyspace {
    const PREFIX: u8 = 26;
    const NAME: &'static str = "data_key";
    type Key = u32;
    type Value = DataKeyRecord;

    fn encode_key(generation: &u32, out: &mut Vec<u8>) {
        out.put_u32(*generation);
    }

    fn decode_key(bytes: &[u8]) -> Result<u32, DecodeError> {
        let mut reader = Reader::new(bytes);
        let generation = reader.u32()?;
        reader.finish()?;
        Ok(generation)
    }

    fn encode_value(value: &DataKeyRecord, out: &mut Vec<u8>) {
        out.put_u8(1);
        out.put_i64(value.created_ms);
        match &value.derivation {
            Derivation::File => out.put_u8(1),
            Derivation::Passphrase { salt, iterations } => {
                out.put_u8(2);
                out.extend_from_slice(salt);
                out.put_u32(*iterations);
            }
        }
        out.extend_from_slice(&value.master_id);
        out.extend_from_slice(&value.nonce);
        out.extend_from_slice(&value.ciphertext);
    }

    fn decode_value(bytes: &[u8]) -> Result<DataKeyRecord, DecodeError> {
        let mut reader = Reader::new(bytes);
        reader.version(1)?;
        let created_ms = reader.i64()?;
        let derivation = match reader.u8()? {
            1 => Derivation::File,
            2 => {
                let mut salt = [0; SALT_BYTES];
                salt.copy_from_slice(reader.take(SALT_BYTES)?);
                let iterations = reader.u32()?;
                Derivation::Passphrase { salt, iterations }
            }
            other => return Err(DecodeError::new(format!("master key of kind {other}"))),
        };
        let mut master_id = [0; KEY_ID_BYTES];
        master_id.copy_from_slice(reader.take(KEY_ID_BYTES)?);
        let mut nonce = [0; NONCE_BYTES];
        nonce.copy_from_slice(reader.take(NONCE_BYTES)?);
        Ok(DataKeyRecord {
            created_ms,
            derivation,
            master_id,
            nonce,
            ciphertext: reader.rest().to_vec(),
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_record_reads_back(
            generation: u32,
            created_ms: i64,
            passphrase: Option<([u8; 16], u32)>,
            master_id: [u8; 8],
            nonce: [u8; 12],
            ciphertext in prop::collection::vec(any::<u8>(), 0..60),
        ) {
            let derivation = match passphrase {
                None => Derivation::File,
                Some((salt, iterations)) => Derivation::Passphrase { salt, iterations },
            };
            let mut key = Vec::new();
            DataKeyKeyspace::encode_key(&generation, &mut key);
            prop_assert_eq!(DataKeyKeyspace::decode_key(&key).unwrap(), generation);
            let record = DataKeyRecord { created_ms, derivation, master_id, nonce, ciphertext };
            let mut bytes = Vec::new();
            DataKeyKeyspace::encode_value(&record, &mut bytes);
            prop_assert_eq!(DataKeyKeyspace::decode_value(&bytes).unwrap(), record);
        }

        #[test]
        fn garbage_is_refused_without_panic(bytes in prop::collection::vec(any::<u8>(), 0..60)) {
            let _ = DataKeyKeyspace::decode_value(&bytes);
            let _ = DataKeyKeyspace::decode_key(&bytes);
        }
    }

    #[test]
    fn version_1_is_laid_out_as_documented() {
        let mut record = DataKeyRecord {
            created_ms: 1,
            derivation: Derivation::File,
            master_id: [7; 8],
            nonce: [8; 12],
            ciphertext: vec![9, 10],
        };
        let created = vec![0, 0, 0, 0, 0, 0, 0, 1];
        let end = [vec![7; 8], vec![8; 12], vec![9, 10]].concat();
        let mut bytes = Vec::new();
        DataKeyKeyspace::encode_value(&record, &mut bytes);
        assert_eq!(
            bytes,
            [vec![1], created.clone(), vec![1], end.clone()].concat()
        );
        record.derivation = Derivation::Passphrase {
            salt: [6; 16],
            iterations: 3,
        };
        bytes.clear();
        DataKeyKeyspace::encode_value(&record, &mut bytes);
        let salted = [vec![2], vec![6; 16], vec![0, 0, 0, 3]].concat();
        assert_eq!(bytes, [vec![1], created, salted, end].concat());
    }
}
