//! Committed offset of a group for one partition. Key prefix 6.
//!
//! ```text
//! key    group id str · topic str · partition i32      (str: u32 length, UTF-8)
//! value  version u8 = 1 · offset i64 · leader epoch i32 (−1: unknown) · metadata str ·
//!        commit (wall ms) i64 · expires (wall ms) opt i64 · topic id 16 bytes (0: unknown)
//! ```
//! All offsets of a group share the prefix that [`GroupOffsets::group_prefix`] returns.

use carrick_protocol::ids::{GroupId, LeaderEpoch, Offset, TopicId, TopicName};
use carrick_storage::codec::{DecodeError, Reader, Writer};
use uuid::Uuid;

use super::Keyspace;

/// An offset that a group has committed for one partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommittedOffset {
    /// Where the group continues reading.
    pub offset: Offset,
    /// The epoch of the last record read, or `NONE`.
    pub leader_epoch: LeaderEpoch,
    /// The client's own text.
    pub metadata: String,
    /// Wall clock of the commit.
    pub commit_ms: i64,
    /// When it expires, if the client set that (OffsetCommit up to version 4).
    pub expire_ms: Option<i64>,
    /// The topic's id at the time of the commit: an offset of a topic that was deleted and created
    /// again is not an offset of the new one. `ZERO` if unknown.
    pub topic_id: TopicId,
}

/// Keyspace of committed offsets.
pub struct GroupOffsets;

const VERSION: u8 = 1;

/// Which group's offset of which partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupOffsetKey {
    pub group: GroupId,
    pub topic: TopicName,
    pub partition: i32,
}

impl GroupOffsets {
    /// What all keys of the group start with.
    pub fn group_prefix(group: &GroupId) -> Vec<u8> {
        let mut prefix = Vec::new();
        prefix.put_str(group.as_str());
        prefix
    }
}

impl Keyspace for GroupOffsets {
    const PREFIX: u8 = 6;
    const NAME: &'static str = "group_offset";
    type Key = GroupOffsetKey;
    type Value = CommittedOffset;

    fn encode_key(key: &GroupOffsetKey, out: &mut Vec<u8>) {
        out.put_str(key.group.as_str());
        out.put_str(key.topic.as_str());
        out.put_i32(key.partition);
    }

    fn decode_key(bytes: &[u8]) -> Result<GroupOffsetKey, DecodeError> {
        let mut reader = Reader::new(bytes);
        let group = GroupId::new(reader.str()?);
        let topic = TopicName::new(reader.str()?);
        let key = GroupOffsetKey {
            group,
            topic: topic.map_err(|error| DecodeError::new(error.to_string()))?,
            partition: reader.i32()?,
        };
        reader.finish()?;
        Ok(key)
    }

    fn encode_value(value: &CommittedOffset, out: &mut Vec<u8>) {
        out.put_u8(VERSION);
        out.put_i64(value.offset.0);
        out.put_i32(value.leader_epoch.0);
        out.put_str(&value.metadata);
        out.put_i64(value.commit_ms);
        out.put_opt_i64(value.expire_ms);
        out.extend_from_slice(value.topic_id.0.as_bytes());
    }

    fn decode_value(bytes: &[u8]) -> Result<CommittedOffset, DecodeError> {
        let mut reader = Reader::new(bytes);
        reader.version(VERSION)?;
        let offset = Offset(reader.i64()?);
        let leader_epoch = LeaderEpoch(reader.i32()?);
        let metadata = reader.str()?.to_owned();
        let commit_ms = reader.i64()?;
        let expire_ms = reader.opt_i64()?;
        let topic_id = Uuid::from_slice(reader.take(16)?);
        reader.finish()?;
        Ok(CommittedOffset {
            offset,
            leader_epoch,
            metadata,
            commit_ms,
            expire_ms,
            topic_id: TopicId(topic_id.map_err(|error| DecodeError::new(error.to_string()))?),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn an_offset_reads_back_as_it_was_written(
            group in ".*",
            topic in "[a-zA-Z0-9_-]{1,20}",
            partition: i32,
            numbers: (i64, i32, i64, Option<i64>),
            metadata in ".*",
            id: u128,
        ) {
            let key = GroupOffsetKey {
                group: GroupId::new(group),
                topic: TopicName::new(topic).unwrap(),
                partition,
            };
            let offset = CommittedOffset {
                offset: Offset(numbers.0),
                leader_epoch: LeaderEpoch(numbers.1),
                metadata,
                commit_ms: numbers.2,
                expire_ms: numbers.3,
                topic_id: TopicId(Uuid::from_u128(id)),
            };
            let (mut key_bytes, mut value) = (Vec::new(), Vec::new());
            GroupOffsets::encode_key(&key, &mut key_bytes);
            GroupOffsets::encode_value(&offset, &mut value);
            prop_assert!(key_bytes.starts_with(&GroupOffsets::group_prefix(&key.group)));
            prop_assert_eq!(GroupOffsets::decode_key(&key_bytes).unwrap(), key);
            prop_assert_eq!(GroupOffsets::decode_value(&value).unwrap(), offset);
        }

        #[test]
        fn damaged_offsets_are_errors(bytes: Vec<u8>) {
            let _ = GroupOffsets::decode_key(&bytes);
            let _ = GroupOffsets::decode_value(&bytes);
        }
    }

    #[test]
    fn the_layout_of_version_1_stays_readable() {
        let mut bytes = b"\x01\0\0\0\0\0\0\0\x2a\xff\xff\xff\xff\0\0\0\x02hi".to_vec();
        bytes.extend_from_slice(b"\0\0\0\0\0\0\0\x07\0");
        bytes.extend_from_slice(&[0; 16]);
        let offset = GroupOffsets::decode_value(&bytes).unwrap();
        assert_eq!(
            (offset.offset, offset.metadata.as_str()),
            (Offset(42), "hi")
        );
        assert_eq!(
            (offset.commit_ms, offset.leader_epoch),
            (7, LeaderEpoch::NONE)
        );
        assert!(offset.topic_id.is_zero());
    }
}
