//! Offset that a transaction commits for a group if the transaction itself is committed. Key prefix
//! 11.
//!
//! ```text
//! key    group id str · producer id i64 · topic str · partition i32   (str: u32 length, UTF-8)
//! value  as of `group_offset`
//! ```
//! All of a group share the prefix that [`PendingOffsets::group_prefix`] gives. The end of the
//! transaction moves or removes them, in the write that completes it.

use carrick_protocol::ids::{GroupId, ProducerId, TopicName};
use carrick_storage::codec::{DecodeError, Reader, Writer};

use super::Keyspace;
use super::group_offset::{CommittedOffset, GroupOffsets};

/// Keyspace of offsets in open transactions.
pub struct PendingOffsets;

/// Which producer's offset, for which group and partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PendingOffsetKey {
    pub group: GroupId,
    /// Whose transaction.
    pub producer_id: ProducerId,
    pub topic: TopicName,
    pub partition: i32,
}

impl PendingOffsets {
    /// What all keys of the group start with.
    pub fn group_prefix(group: &GroupId) -> Vec<u8> {
        GroupOffsets::group_prefix(group)
    }
}

impl Keyspace for PendingOffsets {
    const PREFIX: u8 = 11;
    const NAME: &'static str = "pending_offset";
    type Key = PendingOffsetKey;
    type Value = CommittedOffset;

    fn encode_key(key: &PendingOffsetKey, out: &mut Vec<u8>) {
        out.put_str(key.group.as_str());
        out.put_i64(key.producer_id.0);
        out.put_str(key.topic.as_ref());
        out.put_i32(key.partition);
    }

    fn decode_key(bytes: &[u8]) -> Result<PendingOffsetKey, DecodeError> {
        let mut reader = Reader::new(bytes);
        let group = GroupId::new(reader.str()?);
        let producer_id = ProducerId(reader.i64()?);
        let topic = TopicName::new(reader.str()?);
        let key = PendingOffsetKey {
            group,
            producer_id,
            topic: topic.map_err(|error| DecodeError::new(error.to_string()))?,
            partition: reader.i32()?,
        };
        reader.finish()?;
        Ok(key)
    }

    fn encode_value(value: &CommittedOffset, out: &mut Vec<u8>) {
        GroupOffsets::encode_value(value, out);
    }

    fn decode_value(bytes: &[u8]) -> Result<CommittedOffset, DecodeError> {
        GroupOffsets::decode_value(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_key_reads_back_as_it_was_written(
            group in ".*",
            producer: i64,
            topic in "[a-zA-Z0-9_-]{1,20}",
            partition: i32,
        ) {
            let key = PendingOffsetKey {
                group: GroupId::new(group),
                producer_id: ProducerId(producer),
                topic: TopicName::new(topic).unwrap(),
                partition,
            };
            let mut bytes = Vec::new();
            PendingOffsets::encode_key(&key, &mut bytes);
            prop_assert!(bytes.starts_with(&PendingOffsets::group_prefix(&key.group)));
            prop_assert_eq!(PendingOffsets::decode_key(&bytes).unwrap(), key);
        }

        #[test]
        fn damaged_keys_are_errors(bytes: Vec<u8>) {
            let _ = PendingOffsets::decode_key(&bytes);
        }
    }
}
