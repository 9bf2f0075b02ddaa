//! Prefix 2: one record per topic. It exists if and only if the topic does.
//!
//! Key: the topic's name, UTF-8, to the end of the key.
//! Value, version 1: version u8 = 1 · topic id 16 bytes · mirror u8 (0, 1) · partitions u32 ·
//! leader epoch i32 per partition.

use carrick_protocol::ids::{LeaderEpoch, TopicId, TopicName};
use carrick_storage::codec::{DecodeError, Reader, Writer};
use uuid::Uuid;

use super::Keyspace;

pub struct TopicKeyspace;

/// What is kept of a topic, its configs apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicRecord {
    /// The topic's id.
    pub id: TopicId,
    /// Whether a link owns it.
    pub is_mirror: bool,
    /// The leader epoch of each partition; as many as there are partitions.
    pub leader_epochs: Vec<LeaderEpoch>,
}

impl Keyspace for TopicKeyspace {
    const PREFIX: u8 = 2;
    const NAME: &'static str = "topic";
    type Key = TopicName;
    type Value = TopicRecord;

    fn encode_key(key: &TopicName, out: &mut Vec<u8>) {
        out.extend_from_slice(key.as_str().as_bytes());
    }

    fn decode_key(bytes: &[u8]) -> Result<TopicName, DecodeError> {
        let name = std::str::from_utf8(bytes).map_err(|e| DecodeError::new(e.to_string()))?;
        TopicName::new(name).map_err(|e| DecodeError::new(e.to_string()))
    }

    fn encode_value(value: &TopicRecord, out: &mut Vec<u8>) {
        out.put_u8(1);
        out.extend_from_slice(value.id.0.as_bytes());
        out.put_bool(value.is_mirror);
        out.put_u32(u32::try_from(value.leader_epochs.len()).unwrap_or(u32::MAX));
        for epoch in &value.leader_epochs {
            out.put_i32(epoch.0);
        }
    }

    fn decode_value(bytes: &[u8]) -> Result<TopicRecord, DecodeError> {
        let mut reader = Reader::new(bytes);
        reader.version(1)?;
        let id = Uuid::from_slice(reader.take(16)?).map_err(|e| DecodeError::new(e.to_string()))?;
        let is_mirror = reader.bool()?;
        let partitions = reader.u32()?;
        let mut leader_epochs = Vec::new();
        for _ in 0..partitions {
            leader_epochs.push(LeaderEpoch(reader.i32()?));
        }
        reader.finish()?;
        Ok(TopicRecord {
            id: TopicId(id),
            is_mirror,
            leader_epochs,
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_record_reads_back(
            id in any::<[u8; 16]>(),
            is_mirror in any::<bool>(),
            epochs in prop::collection::vec(any::<i32>(), 0..50),
        ) {
            let record = TopicRecord {
                id: TopicId(Uuid::from_bytes(id)),
                is_mirror,
                leader_epochs: epochs.into_iter().map(LeaderEpoch).collect(),
            };
            let mut bytes = Vec::new();
            TopicKeyspace::encode_value(&record, &mut bytes);
            prop_assert_eq!(TopicKeyspace::decode_value(&bytes).unwrap(), record);
        }

        #[test]
        fn garbage_is_refused_without_panic(bytes in prop::collection::vec(any::<u8>(), 0..60)) {
            let _ = TopicKeyspace::decode_value(&bytes);
            let _ = TopicKeyspace::decode_key(&bytes);
        }
    }

    #[test]
    fn version_1_is_laid_out_as_documented() {
        let record = TopicRecord {
            id: TopicId(Uuid::from_bytes([7; 16])),
            is_mirror: true,
            leader_epochs: vec![LeaderEpoch(1), LeaderEpoch(-1)],
        };
        let mut bytes = Vec::new();
        TopicKeyspace::encode_value(&record, &mut bytes);
        let mut expected = vec![1];
        expected.extend([7; 16]);
        expected.extend([1, 0, 0, 0, 2, 0, 0, 0, 1, 255, 255, 255, 255]);
        assert_eq!(bytes, expected);
    }
}
