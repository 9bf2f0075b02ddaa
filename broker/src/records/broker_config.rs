//! Prefix 17: broker properties that were set while the broker runs. Absent when none are.
//!
//! Key: u8 0 for the default for all brokers, or 1 · broker id i32. Value: like a topic's configs
//! (`topic_config`).

use std::collections::BTreeMap;

use carrick_storage::codec::{DecodeError, Reader, Writer};

use super::Keyspace;
use super::topic_config::TopicConfigKeyspace;
use crate::config::properties::Scope;

pub struct BrokerConfigKeyspace;

impl Keyspace for BrokerConfigKeyspace {
    const PREFIX: u8 = 17;
    const NAME: &'static str = "broker_config";
    type Key = Scope;
    type Value = BTreeMap<String, String>;

    fn encode_key(key: &Scope, out: &mut Vec<u8>) {
        match key {
            Scope::Default => out.put_u8(0),
            Scope::Broker(id) => {
                out.put_u8(1);
                out.put_i32(*id);
            }
        }
    }

    fn decode_key(bytes: &[u8]) -> Result<Scope, DecodeError> {
        let mut reader = Reader::new(bytes);
        let scope = match reader.u8()? {
            0 => Scope::Default,
            1 => Scope::Broker(reader.i32()?),
            other => return Err(DecodeError::new(format!("scope of kind {other}"))),
        };
        reader.finish()?;
        Ok(scope)
    }

    fn encode_value(value: &BTreeMap<String, String>, out: &mut Vec<u8>) {
        TopicConfigKeyspace::encode_value(value, out);
    }

    fn decode_value(bytes: &[u8]) -> Result<BTreeMap<String, String>, DecodeError> {
        TopicConfigKeyspace::decode_value(bytes)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_key_reads_back(id in any::<i32>()) {
            for scope in [Scope::Default, Scope::Broker(id)] {
                let mut key = Vec::new();
                BrokerConfigKeyspace::encode_key(&scope, &mut key);
                prop_assert_eq!(BrokerConfigKeyspace::decode_key(&key).unwrap(), scope);
            }
        }

        #[test]
        fn garbage_is_refused_without_panic(bytes in prop::collection::vec(any::<u8>(), 0..20)) {
            let _ = BrokerConfigKeyspace::decode_key(&bytes);
            let _ = BrokerConfigKeyspace::decode_value(&bytes);
        }
    }
}
