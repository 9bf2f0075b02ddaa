//! Prefix 20: the last sight of the source, for a mirror that is not stopped.
//!
//! Key: the mirror topic's name, UTF-8, to the end of the key.
//! Value, version 1: version u8 = 1 · number of partitions u32 · per partition: number i32 · high
//! watermark i64 · seen at i64 ms · caught up at i64 ms (-1: it never was).

use carrick_link::record::PartitionSight;
use carrick_protocol::ids::{Offset, TopicName};
use carrick_storage::codec::{DecodeError, Reader, Writer};

use super::Keyspace;
use super::mirror::MirrorKeyspace;

/// The keyspace. A value's topic is in its key.
pub struct SourceSightKeyspace;

impl Keyspace for SourceSightKeyspace {
    const PREFIX: u8 = 20;
    const NAME: &'static str = "source_sight";
    type Key = TopicName;
    type Value = Vec<PartitionSight>;

    fn encode_key(key: &TopicName, out: &mut Vec<u8>) {
        MirrorKeyspace::encode_key(key, out);
    }

    fn decode_key(bytes: &[u8]) -> Result<TopicName, DecodeError> {
        MirrorKeyspace::decode_key(bytes)
    }

    fn encode_value(value: &Vec<PartitionSight>, out: &mut Vec<u8>) {
        out.put_u8(1);
        out.put_u32(u32::try_from(value.len()).unwrap_or(u32::MAX));
        for sight in value {
            out.put_i32(sight.partition);
            out.put_i64(sight.high_watermark.0);
            out.put_i64(sight.seen_at_ms);
            out.put_i64(sight.caught_up_ms.unwrap_or(-1));
        }
    }

    fn decode_value(bytes: &[u8]) -> Result<Vec<PartitionSight>, DecodeError> {
        let mut reader = Reader::new(bytes);
        reader.version(1)?;
        let mut partitions = Vec::new();
        for _ in 0..reader.u32()? {
            partitions.push(PartitionSight {
                partition: reader.i32()?,
                high_watermark: Offset(reader.i64()?),
                seen_at_ms: reader.i64()?,
                caught_up_ms: Some(reader.i64()?).filter(|at| *at >= 0),
            });
        }
        reader.finish()?;
        Ok(partitions)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_sight_reads_back(
            partitions in prop::collection::vec(
                (any::<i32>(), any::<i64>(), any::<i64>(), prop::option::of(0..i64::MAX)), 0..6)
        ) {
            let sights: Vec<PartitionSight> = partitions
                .into_iter()
                .map(|(partition, offset, seen_at_ms, caught_up_ms)| PartitionSight {
                    partition,
                    high_watermark: Offset(offset),
                    seen_at_ms,
                    caught_up_ms,
                })
                .collect();
            let mut bytes = Vec::new();
            SourceSightKeyspace::encode_value(&sights, &mut bytes);
            prop_assert_eq!(SourceSightKeyspace::decode_value(&bytes).unwrap(), sights);
        }

        #[test]
        fn garbage_is_refused_without_panic(bytes in prop::collection::vec(any::<u8>(), 0..80)) {
            let _ = SourceSightKeyspace::decode_value(&bytes);
            let _ = SourceSightKeyspace::decode_key(&bytes);
        }
    }

    #[test]
    fn version_1_is_laid_out_as_documented() {
        let sight = PartitionSight {
            partition: 2,
            high_watermark: Offset(17),
            seen_at_ms: 5,
            caught_up_ms: None,
        };
        let mut bytes = Vec::new();
        SourceSightKeyspace::encode_value(&vec![sight], &mut bytes);
        let mut expected = vec![1, 0, 0, 0, 1, 0, 0, 0, 2];
        expected.extend(17_i64.to_be_bytes());
        expected.extend(5_i64.to_be_bytes());
        expected.extend((-1_i64).to_be_bytes());
        assert_eq!(bytes, expected);
    }
}
