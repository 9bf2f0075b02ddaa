//! Prefix 3: the configs set on one topic. Absent when none are.
//!
//! Key: the topic's name, UTF-8, to the end of the key.
//! Value, version 1: version u8 = 1 · count u32 · (name, value) strings, sorted by name.

use std::collections::BTreeMap;

use carrick_protocol::ids::TopicName;
use carrick_storage::codec::{DecodeError, Reader, Writer};

use super::Keyspace;
use super::topic::TopicKeyspace;

pub struct TopicConfigKeyspace;

impl Keyspace for TopicConfigKeyspace {
    const PREFIX: u8 = 3;
    const NAME: &'static str = "topic_config";
    type Key = TopicName;
    type Value = BTreeMap<String, String>;

    fn encode_key(key: &TopicName, out: &mut Vec<u8>) {
        TopicKeyspace::encode_key(key, out);
    }

    fn decode_key(bytes: &[u8]) -> Result<TopicName, DecodeError> {
        TopicKeyspace::decode_key(bytes)
    }

    fn encode_value(value: &BTreeMap<String, String>, out: &mut Vec<u8>) {
        out.put_u8(1);
        out.put_u32(u32::try_from(value.len()).unwrap_or(u32::MAX));
        for (name, value) in value {
            out.put_str(name);
            out.put_str(value);
        }
    }

    fn decode_value(bytes: &[u8]) -> Result<BTreeMap<String, String>, DecodeError> {
        let mut reader = Reader::new(bytes);
        reader.version(1)?;
        let count = reader.u32()?;
        let mut configs = BTreeMap::new();
        for _ in 0..count {
            let name = reader.str()?.to_owned();
            configs.insert(name, reader.str()?.to_owned());
        }
        reader.finish()?;
        Ok(configs)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_record_reads_back(configs in prop::collection::btree_map(".{0,20}", ".{0,40}", 0..10)) {
            let mut bytes = Vec::new();
            TopicConfigKeyspace::encode_value(&configs, &mut bytes);
            prop_assert_eq!(TopicConfigKeyspace::decode_value(&bytes).unwrap(), configs);
        }

        #[test]
        fn garbage_is_refused_without_panic(bytes in prop::collection::vec(any::<u8>(), 0..60)) {
            let _ = TopicConfigKeyspace::decode_value(&bytes);
        }
    }
}
