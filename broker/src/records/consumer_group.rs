//! Group of the consumer protocol: its epochs. Key prefix 12.
//!
//! ```text
//! key    group id, UTF-8, to the end
//! value  version u8 = 1 · group epoch i32 · hash of the subscribed topics u64 ·
//!        epoch of the target assignment i32 · when it was computed (wall ms, 0: unknown) i64
//! ```
//! Members are under prefix 13, their targets under 14. A group has either this record or one with
//! prefix 5, depending on its protocol.

use carrick_protocol::ids::GroupId;
use carrick_storage::codec::{DecodeError, Reader, Writer};

use super::Keyspace;
use super::group::Groups;

/// What is stored of the group itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EpochsRecord {
    /// The group's epoch.
    pub group_epoch: i32,
    /// Hash of the subscribed topics.
    pub metadata_hash: u64,
    /// The epoch of the target assignment.
    pub assignment_epoch: i32,
    /// When the target was computed, in ms of the wall clock; 0 if unknown.
    pub assigned_ms: i64,
}

/// Keyspace of consumer groups.
pub struct ConsumerGroups;

const VERSION: u8 = 1;

impl Keyspace for ConsumerGroups {
    const PREFIX: u8 = 12;
    const NAME: &'static str = "consumer_group";
    type Key = GroupId;
    type Value = EpochsRecord;

    fn encode_key(key: &GroupId, out: &mut Vec<u8>) {
        Groups::encode_key(key, out);
    }

    fn decode_key(bytes: &[u8]) -> Result<GroupId, DecodeError> {
        Groups::decode_key(bytes)
    }

    fn encode_value(value: &EpochsRecord, out: &mut Vec<u8>) {
        out.put_u8(VERSION);
        out.put_i32(value.group_epoch);
        out.put_u64(value.metadata_hash);
        out.put_i32(value.assignment_epoch);
        out.put_i64(value.assigned_ms);
    }

    fn decode_value(bytes: &[u8]) -> Result<EpochsRecord, DecodeError> {
        let mut reader = Reader::new(bytes);
        reader.version(VERSION)?;
        let record = EpochsRecord {
            group_epoch: reader.i32()?,
            metadata_hash: reader.u64()?,
            assignment_epoch: reader.i32()?,
            assigned_ms: reader.i64()?,
        };
        reader.finish()?;
        Ok(record)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_group_reads_back_as_it_was_written(fields: (i32, u64, i32, i64)) {
            let record = EpochsRecord {
                group_epoch: fields.0,
                metadata_hash: fields.1,
                assignment_epoch: fields.2,
                assigned_ms: fields.3,
            };
            let mut value = Vec::new();
            ConsumerGroups::encode_value(&record, &mut value);
            prop_assert_eq!(ConsumerGroups::decode_value(&value).unwrap(), record);
        }

        #[test]
        fn damaged_groups_are_errors(bytes: Vec<u8>) {
            let _ = ConsumerGroups::decode_value(&bytes);
        }
    }

    #[test]
    fn the_layout_of_version_1_stays_readable() {
        let bytes = b"\x01\0\0\0\x07\0\0\0\0\0\0\0\x02\0\0\0\x06\0\0\0\0\0\0\0\x09";
        let record = ConsumerGroups::decode_value(bytes).unwrap();
        assert_eq!((record.group_epoch, record.metadata_hash), (7, 2));
        assert_eq!((record.assignment_epoch, record.assigned_ms), (6, 9));
    }
}
