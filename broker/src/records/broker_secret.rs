//! Prefix 27: one record per secret broker property that was set while the broker runs, encrypted.
//! The other properties are in `broker_config`.
//!
//! Key: like that of `broker_config` · the property's name, UTF-8, to the end of the key.
//! Value: [`Sealed`].

use carrick_storage::codec::{DecodeError, Reader};

use super::Keyspace;
use super::broker_config::BrokerConfigKeyspace;
use super::sealed::Sealed;
use crate::config::properties::Scope;

pub struct BrokerSecretKeyspace;

/// The beginning of the keys of a scope's secrets.
pub fn of_scope(scope: Scope) -> Vec<u8> {
    let mut key = Vec::new();
    BrokerConfigKeyspace::encode_key(&scope, &mut key);
    key
}

impl Keyspace for BrokerSecretKeyspace {
    const PREFIX: u8 = 27;
    const NAME: &'static str = "broker_secret";
    type Key = (Scope, String);
    type Value = Sealed;

    fn encode_key((scope, name): &Self::Key, out: &mut Vec<u8>) {
        out.extend(of_scope(*scope));
        out.extend_from_slice(name.as_bytes());
    }

    fn decode_key(bytes: &[u8]) -> Result<Self::Key, DecodeError> {
        let mut reader = Reader::new(bytes);
        let scope = match reader.u8()? {
            0 => Scope::Default,
            1 => Scope::Broker(reader.i32()?),
            other => return Err(DecodeError::new(format!("scope of kind {other}"))),
        };
        let name = std::str::from_utf8(reader.rest());
        let name = name.map_err(|error| DecodeError::new(error.to_string()))?;
        Ok((scope, name.to_owned()))
    }

    fn encode_value(value: &Sealed, out: &mut Vec<u8>) {
        value.encode(out);
    }

    fn decode_value(bytes: &[u8]) -> Result<Sealed, DecodeError> {
        Sealed::decode(bytes)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_key_reads_back(id: Option<i32>, name in "[a-z.]{1,30}") {
            let scope = id.map_or(Scope::Default, Scope::Broker);
            let key = (scope, name);
            let mut bytes = Vec::new();
            BrokerSecretKeyspace::encode_key(&key, &mut bytes);
            prop_assert!(bytes.starts_with(&of_scope(scope)));
            prop_assert_eq!(BrokerSecretKeyspace::decode_key(&bytes).unwrap(), key);
        }

        #[test]
        fn garbage_is_refused_without_panic(bytes in prop::collection::vec(any::<u8>(), 0..20)) {
            let _ = BrokerSecretKeyspace::decode_key(&bytes);
        }
    }
}
