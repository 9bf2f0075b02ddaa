//! One member's part of the target assignment of a consumer group. Key prefix 14.
//!
//! ```text
//! key    group id str · member id str                  (str: u32 length, UTF-8)
//! value  version u8 = 1 · topics u32 × (topic id 16 bytes · partitions u32 × i32)
//! ```

use carrick_storage::codec::{DecodeError, Reader, Writer};

use super::Keyspace;
use super::consumer_member::{
    ConsumerMemberKey, ConsumerMembers, Partitions, put_topic_id, topic_id,
};

/// Keyspace of targets.
pub struct ConsumerTargets;

const VERSION: u8 = 1;

impl Keyspace for ConsumerTargets {
    const PREFIX: u8 = 14;
    const NAME: &'static str = "consumer_target";
    type Key = ConsumerMemberKey;
    type Value = Partitions;

    fn encode_key(key: &ConsumerMemberKey, out: &mut Vec<u8>) {
        ConsumerMembers::encode_key(key, out);
    }

    fn decode_key(bytes: &[u8]) -> Result<ConsumerMemberKey, DecodeError> {
        ConsumerMembers::decode_key(bytes)
    }

    fn encode_value(value: &Partitions, out: &mut Vec<u8>) {
        out.put_u8(VERSION);
        out.put_u32(u32::try_from(value.len()).unwrap_or(u32::MAX));
        for (topic, partitions) in value {
            put_topic_id(*topic, out);
            out.put_u32(u32::try_from(partitions.len()).unwrap_or(u32::MAX));
            partitions.iter().for_each(|at| out.put_i32(*at));
        }
    }

    fn decode_value(bytes: &[u8]) -> Result<Partitions, DecodeError> {
        let mut reader = Reader::new(bytes);
        reader.version(VERSION)?;
        let mut target = Partitions::new();
        for _ in 0..reader.u32()? {
            let partitions = target.entry(topic_id(&mut reader)?).or_default();
            for _ in 0..reader.u32()? {
                partitions.insert(reader.i32()?);
            }
        }
        reader.finish()?;
        Ok(target)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use carrick_protocol::ids::TopicId;
    use proptest::prelude::*;
    use uuid::Uuid;

    use super::*;

    proptest! {
        #[test]
        fn a_target_reads_back_as_it_was_written(
            topics in proptest::collection::btree_map(any::<u128>(),
                proptest::collection::btree_set(any::<i32>(), 1..5), 0..4),
        ) {
            let target: Partitions = topics
                .into_iter()
                .map(|(id, partitions)| (TopicId(Uuid::from_u128(id)), partitions))
                .collect();
            let mut value = Vec::new();
            ConsumerTargets::encode_value(&target, &mut value);
            prop_assert_eq!(ConsumerTargets::decode_value(&value).unwrap(), target);
        }

        #[test]
        fn damaged_targets_are_errors(bytes: Vec<u8>) {
            let _ = ConsumerTargets::decode_value(&bytes);
        }
    }

    #[test]
    fn the_layout_of_version_1_stays_readable() {
        let mut bytes = b"\x01\0\0\0\x01".to_vec();
        bytes.extend_from_slice(&[7; 16]);
        bytes.extend_from_slice(b"\0\0\0\x01\0\0\0\x03");
        let id = TopicId(Uuid::from_bytes([7; 16]));
        let expected: Partitions = BTreeMap::from([(id, [3].into())]);
        assert_eq!(ConsumerTargets::decode_value(&bytes).unwrap(), expected);
    }
}
