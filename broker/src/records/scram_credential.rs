//! Prefix 23: the credential of one user for one SCRAM mechanism.
//!
//! Key: user string · mechanism u8 (1 SCRAM-SHA-256, 2 SCRAM-SHA-512).
//! Value, version 1: version u8 = 1 · iterations u32 · salt bytes · stored key bytes · server key
//! bytes.

use std::sync::Arc;

use carrick_protocol::credentials::Mechanism;
use carrick_protocol::credentials::scram::Credential;
use carrick_storage::codec::{DecodeError, Reader, Writer};

use super::Keyspace;

/// Whose credential it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CredentialKey {
    pub user: String,
    /// A SCRAM mechanism.
    pub mechanism: Mechanism,
}

pub struct ScramCredentialKeyspace;

impl Keyspace for ScramCredentialKeyspace {
    const PREFIX: u8 = 23;
    const NAME: &'static str = "scram_credential";
    type Key = CredentialKey;
    type Value = Arc<Credential>;

    fn encode_key(key: &CredentialKey, out: &mut Vec<u8>) {
        out.put_str(&key.user);
        out.put_u8(code(key.mechanism));
    }

    fn decode_key(bytes: &[u8]) -> Result<CredentialKey, DecodeError> {
        let mut reader = Reader::new(bytes);
        let user = reader.str()?.to_owned();
        let number = reader.u8()?;
        let mechanism = mechanism(number)
            .ok_or_else(|| DecodeError::new(format!("SCRAM mechanism {number}")))?;
        reader.finish()?;
        Ok(CredentialKey { user, mechanism })
    }

    fn encode_value(value: &Self::Value, out: &mut Vec<u8>) {
        out.put_u8(1);
        out.put_u32(value.iterations().get());
        out.put_bytes(value.salt());
        out.put_bytes(value.stored_key().bytes());
        out.put_bytes(value.server_key().bytes());
    }

    fn decode_value(bytes: &[u8]) -> Result<Self::Value, DecodeError> {
        let mut reader = Reader::new(bytes);
        reader.version(1)?;
        let iterations = i64::from(reader.u32()?);
        let (salt, stored_key, server_key) = (reader.bytes()?, reader.bytes()?, reader.bytes()?);
        reader.finish()?;
        // The mechanism is in the key; the length of its keys says the same.
        let mechanism = match stored_key.len() {
            32 => Mechanism::ScramSha256,
            _ => Mechanism::ScramSha512,
        };
        Credential::stored(mechanism, (salt, iterations), (stored_key, server_key))
            .map(Arc::new)
            .map_err(|error| DecodeError::new(error.to_string()))
    }
}

fn code(mechanism: Mechanism) -> u8 {
    match mechanism {
        Mechanism::ScramSha512 => 2,
        // No other mechanism has credentials.
        _ => 1,
    }
}

fn mechanism(code: u8) -> Option<Mechanism> {
    match code {
        1 => Some(Mechanism::ScramSha256),
        2 => Some(Mechanism::ScramSha512),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_record_reads_back(
            user in ".{0,20}",
            is_512 in any::<bool>(),
            salt in prop::collection::vec(any::<u8>(), 1..40),
            iterations in 4096..1_000_000_i64,
            keys in prop::array::uniform2(prop::collection::vec(any::<u8>(), 64)),
        ) {
            let (mechanism, bytes) = match is_512 {
                true => (Mechanism::ScramSha512, 64),
                false => (Mechanism::ScramSha256, 32),
            };
            let keys = (&keys[0][..bytes], &keys[1][..bytes]);
            let credential = Credential::stored(mechanism, (&salt, iterations), keys).unwrap();
            let (credential, user) = (Arc::new(credential), CredentialKey { user, mechanism });
            let (mut key, mut value) = (Vec::new(), Vec::new());
            ScramCredentialKeyspace::encode_key(&user, &mut key);
            ScramCredentialKeyspace::encode_value(&credential, &mut value);
            prop_assert_eq!(ScramCredentialKeyspace::decode_key(&key).unwrap(), user);
            prop_assert_eq!(ScramCredentialKeyspace::decode_value(&value).unwrap(), credential);
        }

        #[test]
        fn garbage_is_refused_without_panic(bytes in prop::collection::vec(any::<u8>(), 0..160)) {
            let _ = ScramCredentialKeyspace::decode_key(&bytes);
            let _ = ScramCredentialKeyspace::decode_value(&bytes);
        }
    }
}
