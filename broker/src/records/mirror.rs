//! Prefix 8: one record per mirror topic, the stopped ones included.
//!
//! Key: the mirror topic's name, UTF-8, to the end of the key. Value, version 1: version u8 = 1 ·
//! topic string · link string · source topic string · source topic id 16 bytes (zeros if it has
//! none) · partitions i32 · status string · status since i64 ms · error string · error detail
//! string · stopping optional string (PROMOTE, FAILOVER) · created i64 ms · number of start offsets
//! u32 · per start offset: partition i32 · offset i64. Status, error and stopping are stored by
//! their names in the API.
//!
//! An unknown status is read as `FAILED` with `UNSUPPORTED_MIRROR_STATE`, so that one mirror from a
//! newer version harms no other.

use carrick_link::record::{LinkName, MirrorRecord};
use carrick_link::state::{MirrorError, MirrorStatus};
use carrick_protocol::ids::{Offset, TopicId, TopicName};
use carrick_storage::codec::{DecodeError, Reader, Writer};
use uuid::Uuid;

use super::Keyspace;
use super::names::{name, parse};

pub struct MirrorKeyspace;

impl Keyspace for MirrorKeyspace {
    const PREFIX: u8 = 8;
    const NAME: &'static str = "mirror";
    type Key = TopicName;
    type Value = MirrorRecord;

    fn encode_key(key: &TopicName, out: &mut Vec<u8>) {
        out.extend_from_slice(key.as_str().as_bytes());
    }

    fn decode_key(bytes: &[u8]) -> Result<TopicName, DecodeError> {
        let name = std::str::from_utf8(bytes).map_err(|e| DecodeError::new(e.to_string()))?;
        topic(name)
    }

    fn encode_value(value: &MirrorRecord, out: &mut Vec<u8>) {
        out.put_u8(1);
        out.put_str(value.topic.as_str());
        out.put_str(value.link.as_str());
        out.put_str(value.source_topic.as_str());
        out.extend_from_slice(value.source_topic_id.0.as_bytes());
        out.put_i32(value.partitions);
        out.put_str(&name(&value.status));
        out.put_i64(value.status_since_ms);
        out.put_str(&name(&value.error));
        out.put_str(&value.error_detail);
        out.put_opt_str(value.pending_cut.as_ref().map(name).as_deref());
        out.put_i64(value.created_ms);
        out.put_u32(u32::try_from(value.start_offsets.len()).unwrap_or(u32::MAX));
        for (partition, offset) in &value.start_offsets {
            out.put_i32(*partition);
            out.put_i64(offset.0);
        }
    }

    fn decode_value(bytes: &[u8]) -> Result<MirrorRecord, DecodeError> {
        let mut reader = Reader::new(bytes);
        reader.version(1)?;
        let mut record = MirrorRecord {
            topic: topic(reader.str()?)?,
            link: LinkName::new(reader.str()?).map_err(|e| DecodeError::new(e.to_string()))?,
            source_topic: topic(reader.str()?)?,
            source_topic_id: topic_id(reader.take(16)?)?,
            partitions: reader.i32()?,
            status: MirrorStatus::Failed,
            status_since_ms: 0,
            error: MirrorError::NoError,
            error_detail: String::new(),
            pending_cut: None,
            start_offsets: Vec::new(),
            created_ms: 0,
        };
        let status = reader.str()?;
        record.status_since_ms = reader.i64()?;
        record.error = parse(reader.str()?)?;
        record.error_detail = reader.str()?.to_owned();
        match parse(status) {
            Ok(known) => record.status = known,
            Err(_) => {
                record.error = MirrorError::UnsupportedMirrorState;
                record.error_detail = format!("stored in a state of a newer version: {status}");
            }
        }
        record.pending_cut = reader.opt_str()?.map(parse).transpose()?;
        record.created_ms = reader.i64()?;
        for _ in 0..reader.u32()? {
            let partition = reader.i32()?;
            record
                .start_offsets
                .push((partition, Offset(reader.i64()?)));
        }
        reader.finish()?;
        Ok(record)
    }
}

fn topic(name: &str) -> Result<TopicName, DecodeError> {
    TopicName::new(name).map_err(|error| DecodeError::new(error.to_string()))
}

fn topic_id(bytes: &[u8]) -> Result<TopicId, DecodeError> {
    let id = Uuid::from_slice(bytes).map_err(|error| DecodeError::new(error.to_string()))?;
    Ok(TopicId(id))
}

#[cfg(test)]
mod tests {
    use carrick_link::verb::CutKind;
    use proptest::prelude::*;

    use super::*;

    fn record() -> MirrorRecord {
        MirrorRecord {
            topic: TopicName::new("eu.orders").unwrap(),
            link: LinkName::new("west").unwrap(),
            source_topic: TopicName::new("orders").unwrap(),
            source_topic_id: TopicId(Uuid::from_bytes([9; 16])),
            partitions: 3,
            status: MirrorStatus::PendingStopped,
            status_since_ms: 17,
            error: MirrorError::NoError,
            error_detail: String::new(),
            pending_cut: Some(CutKind::Failover),
            start_offsets: vec![(0, Offset(5))],
            created_ms: 11,
        }
    }

    fn bytes_of(record: &MirrorRecord) -> Vec<u8> {
        let mut bytes = Vec::new();
        MirrorKeyspace::encode_value(record, &mut bytes);
        bytes
    }

    proptest! {
        #[test]
        fn a_record_reads_back(
            id in any::<[u8; 16]>(),
            partitions in any::<i32>(),
            times in any::<(i64, i64)>(),
            detail in ".{0,30}",
            starts in prop::collection::vec(any::<(i32, i64)>(), 0..6),
            status in prop::sample::select(vec![
                (MirrorStatus::Active, MirrorError::NoError, None),
                (MirrorStatus::Failed, MirrorError::SourceTopicIdChanged, None),
                (MirrorStatus::PendingStopped, MirrorError::NoError, Some(CutKind::Promote)),
                (MirrorStatus::Stopped, MirrorError::UnexpectedTruncation, None),
            ]),
        ) {
            let record = MirrorRecord {
                source_topic_id: TopicId(Uuid::from_bytes(id)),
                partitions,
                status: status.0,
                status_since_ms: times.0,
                error: status.1,
                error_detail: detail,
                pending_cut: status.2,
                start_offsets: starts.into_iter().map(|(p, o)| (p, Offset(o))).collect(),
                created_ms: times.1,
                ..record()
            };
            prop_assert_eq!(MirrorKeyspace::decode_value(&bytes_of(&record)).unwrap(), record);
        }

        #[test]
        fn garbage_is_refused_without_panic(bytes in prop::collection::vec(any::<u8>(), 0..120)) {
            let _ = MirrorKeyspace::decode_value(&bytes);
            let _ = MirrorKeyspace::decode_key(&bytes);
        }
    }

    #[test]
    fn version_1_is_laid_out_as_documented() {
        let mut expected = vec![1];
        for text in ["eu.orders", "west", "orders"] {
            expected.extend((text.len() as u32).to_be_bytes());
            expected.extend(text.as_bytes());
        }
        expected.extend([9; 16]);
        expected.extend([0, 0, 0, 3, 0, 0, 0, 15]);
        expected.extend(b"PENDING_STOPPED");
        expected.extend(17_i64.to_be_bytes());
        expected.extend([0, 0, 0, 8]);
        expected.extend(b"NO_ERROR");
        expected.extend([0, 0, 0, 0, 1, 0, 0, 0, 8]);
        expected.extend(b"FAILOVER");
        expected.extend(11_i64.to_be_bytes());
        expected.extend([0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 5]);
        assert_eq!(bytes_of(&record()), expected);
    }

    #[test]
    fn a_state_of_a_newer_version_is_a_failed_mirror_not_a_broken_store() {
        let bytes = bytes_of(&record());
        let at = bytes
            .windows(15)
            .position(|w| w == b"PENDING_STOPPED")
            .unwrap();
        let mut newer = bytes.clone();
        newer[at..at + 15].copy_from_slice(b"PENDING_RESTORE");
        let read = MirrorKeyspace::decode_value(&newer).unwrap();
        assert_eq!(read.status, MirrorStatus::Failed);
        assert_eq!(read.error, MirrorError::UnsupportedMirrorState);
        assert!(read.error_detail.contains("PENDING_RESTORE"));
    }
}
