//! Prefix 19: what a link stores about the sync of one group's offsets.
//!
//! Key: link's name str · source group's id str (str: u32 length, UTF-8).
//! Value, version 1: version u8 = 1 · [`GroupSync`] as JSON, to the end of the value.

use carrick_link::groups::GroupSync;
use carrick_link::record::LinkName;
use carrick_storage::codec::{DecodeError, Reader, Writer};

use super::Keyspace;

pub struct GroupSyncKeyspace;

impl GroupSyncKeyspace {
    /// What all keys of the link start with.
    pub fn link_prefix(link: &LinkName) -> Vec<u8> {
        let mut prefix = Vec::new();
        prefix.put_str(link.as_str());
        prefix
    }
}

impl Keyspace for GroupSyncKeyspace {
    const PREFIX: u8 = 19;
    const NAME: &'static str = "group_sync";
    type Key = (LinkName, String);
    type Value = GroupSync;

    fn encode_key((link, group): &Self::Key, out: &mut Vec<u8>) {
        out.put_str(link.as_str());
        out.put_str(group);
    }

    fn decode_key(bytes: &[u8]) -> Result<Self::Key, DecodeError> {
        let mut reader = Reader::new(bytes);
        let link = LinkName::new(reader.str()?);
        let group = reader.str()?.to_owned();
        reader.finish()?;
        let link = link.map_err(|error| DecodeError::new(error.to_string()))?;
        Ok((link, group))
    }

    fn encode_value(value: &GroupSync, out: &mut Vec<u8>) {
        out.put_u8(1);
        // It consists of strings, numbers and lists, so it can always be written as JSON.
        out.extend(serde_json::to_vec(value).unwrap_or_default());
    }

    fn decode_value(bytes: &[u8]) -> Result<GroupSync, DecodeError> {
        let mut reader = Reader::new(bytes);
        reader.version(1)?;
        serde_json::from_slice(reader.rest()).map_err(|e| DecodeError::new(e.to_string()))
    }
}

#[cfg(test)]
mod tests {
    use carrick_link::groups::{GroupSyncState, PartitionSync};
    use carrick_link::state::TaskErrorCode;
    use proptest::prelude::*;

    use super::*;

    fn sync(partitions: Vec<PartitionSync>) -> GroupSync {
        GroupSync {
            source_group: "billing".to_owned(),
            group: "eu-billing".to_owned(),
            state: GroupSyncState::Skipped,
            error: TaskErrorCode::ConsumerGroupInUseError,
            error_detail: String::new(),
            since_ms: 1,
            synced_ms: None,
            told_ms: None,
            partitions,
        }
    }

    proptest! {
        #[test]
        fn a_sync_reads_back(
            group in ".*",
            partitions in prop::collection::vec(
                any::<(i32, i64, Option<i64>, Option<String>)>(), 0..5,
            ),
        ) {
            let part = |(partition, source_offset, synced_offset, skipped)| PartitionSync {
                topic: "orders".to_owned(),
                partition,
                source_offset,
                synced_offset,
                skipped,
            };
            let sync = sync(partitions.into_iter().map(part).collect());
            let key = (LinkName::new("west").unwrap(), group);
            let (mut key_bytes, mut value) = (Vec::new(), Vec::new());
            GroupSyncKeyspace::encode_key(&key, &mut key_bytes);
            GroupSyncKeyspace::encode_value(&sync, &mut value);
            prop_assert!(key_bytes.starts_with(&GroupSyncKeyspace::link_prefix(&key.0)));
            prop_assert_eq!(GroupSyncKeyspace::decode_key(&key_bytes).unwrap(), key);
            prop_assert_eq!(GroupSyncKeyspace::decode_value(&value).unwrap(), sync);
        }

        #[test]
        fn garbage_is_refused_without_panic(bytes in prop::collection::vec(any::<u8>(), 0..60)) {
            let _ = GroupSyncKeyspace::decode_key(&bytes);
            let _ = GroupSyncKeyspace::decode_value(&bytes);
        }
    }

    #[test]
    fn version_1_is_laid_out_as_documented() {
        let part = PartitionSync {
            topic: "orders".to_owned(),
            partition: 2,
            source_offset: 9,
            synced_offset: Some(8),
            skipped: None,
        };
        let mut bytes = Vec::new();
        GroupSyncKeyspace::encode_value(&sync(vec![part]), &mut bytes);
        let json = r#"{"source_group":"billing","group":"eu-billing","state":"SKIPPED","error":"CONSUMER_GROUP_IN_USE_ERROR","error_detail":"","since_ms":1,"synced_ms":null,"partitions":[{"topic":"orders","partition":2,"source_offset":9,"synced_offset":8}]}"#;
        assert_eq!(bytes, [&[1], json.as_bytes()].concat());
    }
}
