//! The configs set on one group. Key prefix 15. Absent when none are.
//!
//! Key: the group's id, UTF-8, to the end of the key.
//! Value, version 1: as a topic's configs (prefix 3).

use std::collections::BTreeMap;

use carrick_protocol::ids::GroupId;
use carrick_storage::codec::DecodeError;

use super::Keyspace;
use super::group::Groups;
use super::topic_config::TopicConfigKeyspace;

/// Keyspace of group configs.
pub struct GroupConfigKeyspace;

impl Keyspace for GroupConfigKeyspace {
    const PREFIX: u8 = 15;
    const NAME: &'static str = "group_config";
    type Key = GroupId;
    type Value = BTreeMap<String, String>;

    fn encode_key(key: &GroupId, out: &mut Vec<u8>) {
        Groups::encode_key(key, out);
    }

    fn decode_key(bytes: &[u8]) -> Result<GroupId, DecodeError> {
        Groups::decode_key(bytes)
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
        fn configs_read_back_as_they_were_written(
            group in ".*",
            configs in proptest::collection::btree_map(".*", ".*", 0..4),
        ) {
            let (mut key, mut value) = (Vec::new(), Vec::new());
            GroupConfigKeyspace::encode_key(&GroupId::new(&group), &mut key);
            GroupConfigKeyspace::encode_value(&configs, &mut value);
            prop_assert_eq!(GroupConfigKeyspace::decode_key(&key).unwrap(), GroupId::new(&group));
            prop_assert_eq!(GroupConfigKeyspace::decode_value(&value).unwrap(), configs);
        }
    }
}
