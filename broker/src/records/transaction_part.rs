//! Prefix 22: what was added to an open transaction since its record was last written, one record per
//! addition, so that an addition's cost does not depend on what the transaction already holds.
//!
//! ```text
//! key    transactional id str · number u32, counted per transaction   (str: u32 length, UTF-8)
//! value  version u8 = 1 · producer id i64 · producer epoch i16 · update (wall ms) i64 · client's
//!        transaction version u8 (1, 2) · topics u32 × (name str · partitions u32 × i32) ·
//!        groups u32 × str
//! ```
//! The write that ends the transaction stores everything in the record of the transactional id and
//! removes these. A record of a different producer or epoch is ignored.

use std::collections::BTreeSet;

use carrick_protocol::ids::{GroupId, ProducerId, TopicPartition, TransactionalId};
use carrick_storage::codec::{DecodeError, Reader, Writer};

use super::Keyspace;
use super::transaction::{
    Producer, Version, decode_groups, decode_partitions, decode_version, encode_groups,
    encode_partitions, version_code,
};

/// Keyspace of additions to open transactions.
pub struct TransactionParts;

/// Which addition to the open transaction of which id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartKey {
    /// The transactional id.
    pub id: TransactionalId,
    /// Counted from 0 in each transaction.
    pub number: u32,
}

/// What is added to a transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Added {
    /// It begins with this.
    pub begins: bool,
    /// When, wall clock.
    pub at_ms: i64,
    /// How the client speaks.
    pub version: Version,
    /// Partitions that are new in it.
    pub partitions: BTreeSet<TopicPartition>,
    /// Groups that are new in it.
    pub groups: BTreeSet<GroupId>,
}

/// An addition, and whose transaction it was made to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// Whose.
    pub producer: Producer,
    /// What was added.
    pub added: Added,
}

impl Keyspace for TransactionParts {
    const PREFIX: u8 = 22;
    const NAME: &'static str = "transaction_part";
    type Key = PartKey;
    type Value = Part;

    fn encode_key(key: &PartKey, out: &mut Vec<u8>) {
        out.put_str(key.id.as_str());
        out.put_u32(key.number);
    }

    fn decode_key(bytes: &[u8]) -> Result<PartKey, DecodeError> {
        let mut reader = Reader::new(bytes);
        let id = TransactionalId::new(reader.str()?);
        let number = reader.u32()?;
        reader.finish()?;
        Ok(PartKey { id, number })
    }

    fn encode_value(value: &Part, out: &mut Vec<u8>) {
        let Part { producer, added } = value;
        out.put_u8(1);
        out.put_i64(producer.id.0);
        out.put_i16(producer.epoch);
        out.put_i64(added.at_ms);
        out.put_u8(version_code(added.version));
        encode_partitions(&added.partitions, out);
        encode_groups(&added.groups, out);
    }

    fn decode_value(bytes: &[u8]) -> Result<Part, DecodeError> {
        let mut reader = Reader::new(bytes);
        reader.version(1)?;
        let producer = Producer {
            id: ProducerId(reader.i64()?),
            epoch: reader.i16()?,
        };
        let added = Added {
            begins: false,
            at_ms: reader.i64()?,
            version: decode_version(reader.u8()?)?,
            partitions: decode_partitions(&mut reader)?,
            groups: decode_groups(&mut reader)?,
        };
        reader.finish()?;
        Ok(Part { producer, added })
    }
}

#[cfg(test)]
mod tests {
    use carrick_protocol::ids::TopicName;
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn an_addition_reads_back_as_it_was_written(
            id in ".+",
            numbers in any::<(u32, i64, i16, i64, bool)>(),
            partitions in proptest::collection::btree_set(("[a-z]{1,8}", 0..50_i32), 0..9),
            groups in proptest::collection::btree_set(".*".prop_map(GroupId::new), 0..4),
        ) {
            let (number, producer_id, epoch, at_ms, is_new) = numbers;
            let key = PartKey { id: TransactionalId::new(id), number };
            let partition = |(topic, number)| {
                TopicPartition::new(TopicName::new(topic).unwrap(), number)
            };
            let added = Added {
                begins: false,
                at_ms,
                version: if is_new { Version::V2 } else { Version::V1 },
                partitions: partitions.into_iter().map(partition).collect(),
                groups,
            };
            let producer = Producer { id: ProducerId(producer_id), epoch };
            let part = Part { producer, added };
            let (mut stored_key, mut stored) = (Vec::new(), Vec::new());
            TransactionParts::encode_key(&key, &mut stored_key);
            TransactionParts::encode_value(&part, &mut stored);
            prop_assert_eq!(TransactionParts::decode_key(&stored_key).unwrap(), key);
            prop_assert_eq!(TransactionParts::decode_value(&stored).unwrap(), part);
        }

        #[test]
        fn damaged_additions_are_errors(bytes: Vec<u8>) {
            let _ = TransactionParts::decode_key(&bytes);
            let _ = TransactionParts::decode_value(&bytes);
        }
    }

    #[test]
    fn the_layout_of_version_1_stays_readable() {
        let mut bytes = b"\x01\0\0\0\0\0\0\0\x07\0\x03\0\0\0\0\0\0\0\x06\x02".to_vec();
        bytes.extend_from_slice(b"\0\0\0\x01\0\0\0\x01t\0\0\0\x01\0\0\0\x02");
        bytes.extend_from_slice(b"\0\0\0\x01\0\0\0\x01g");
        let Part { producer, added } = TransactionParts::decode_value(&bytes).unwrap();
        assert_eq!((producer.id.0, producer.epoch, added.at_ms), (7, 3, 6));
        assert_eq!(added.partitions.first().unwrap().to_string(), "t-2");
        assert_eq!(added.groups.first().unwrap().as_str(), "g");
    }
}
