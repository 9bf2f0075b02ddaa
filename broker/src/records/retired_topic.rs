//! Prefix 21: one record per deleted topic whose folders have not all been moved away. No topic of
//! that name exists at the same time.
//!
//! Key: the topic's name, UTF-8, to the end of the key.
//! Value, version 1: version u8 = 1 · topic id 16 bytes · partitions u32.

use carrick_protocol::ids::{TopicId, TopicName};
use carrick_storage::codec::{DecodeError, Reader, Writer};
use uuid::Uuid;

use super::Keyspace;
use super::topic::TopicKeyspace;

pub struct RetiredTopicKeyspace;

/// What is needed to remove a deleted topic's folders.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RetiredTopic {
    /// The id that the topic had.
    pub id: TopicId,
    /// It had the partitions 0 to this, exclusive.
    pub partitions: u32,
}

impl Keyspace for RetiredTopicKeyspace {
    const PREFIX: u8 = 21;
    const NAME: &'static str = "retired_topic";
    type Key = TopicName;
    type Value = RetiredTopic;

    fn encode_key(key: &TopicName, out: &mut Vec<u8>) {
        TopicKeyspace::encode_key(key, out);
    }

    fn decode_key(bytes: &[u8]) -> Result<TopicName, DecodeError> {
        TopicKeyspace::decode_key(bytes)
    }

    fn encode_value(value: &RetiredTopic, out: &mut Vec<u8>) {
        out.put_u8(1);
        out.extend_from_slice(value.id.0.as_bytes());
        out.put_u32(value.partitions);
    }

    fn decode_value(bytes: &[u8]) -> Result<RetiredTopic, DecodeError> {
        let mut reader = Reader::new(bytes);
        reader.version(1)?;
        let id = Uuid::from_slice(reader.take(16)?).map_err(|e| DecodeError::new(e.to_string()))?;
        let partitions = reader.u32()?;
        reader.finish()?;
        Ok(RetiredTopic {
            id: TopicId(id),
            partitions,
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_record_reads_back(id in any::<[u8; 16]>(), partitions in any::<u32>()) {
            let record = RetiredTopic { id: TopicId(Uuid::from_bytes(id)), partitions };
            let mut bytes = Vec::new();
            RetiredTopicKeyspace::encode_value(&record, &mut bytes);
            prop_assert_eq!(RetiredTopicKeyspace::decode_value(&bytes).unwrap(), record);
        }

        #[test]
        fn garbage_is_refused_without_panic(bytes in prop::collection::vec(any::<u8>(), 0..40)) {
            let _ = RetiredTopicKeyspace::decode_value(&bytes);
        }
    }

    #[test]
    fn version_1_is_laid_out_as_documented() {
        let record = RetiredTopic {
            id: TopicId(Uuid::from_bytes([7; 16])),
            partitions: 258,
        };
        let mut bytes = Vec::new();
        RetiredTopicKeyspace::encode_value(&record, &mut bytes);
        let mut expected = vec![1];
        expected.extend([7; 16]);
        expected.extend([0, 0, 1, 2]);
        assert_eq!(bytes, expected);
    }
}
