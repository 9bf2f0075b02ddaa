//! Transactional id: its producer and the state of its last transaction. Key prefix 10.
//!
//! ```text
//! key    transactional id, UTF-8, to the end
//! value  version u8 = 1 · producer id i64 · previous producer id i64 · next producer id i64
//!        (−1: none) · epoch i16 · last epoch i16 (−1: none) · timeout ms i32 · state u8 (Kafka's
//!        numbers) · start (wall ms) i64 (−1: none) · update (wall ms) i64 · client's transaction
//!        version u8 (1, 2) · topics u32 × (name str · partitions u32 × i32) ·
//!        groups u32 × str
//! ```

use std::collections::{BTreeMap, BTreeSet};

use carrick_protocol::ids::{GroupId, ProducerId, TopicName, TopicPartition, TransactionalId};
use carrick_storage::codec::{DecodeError, Reader, Writer};

use super::Keyspace;

/// Epoch of a transactional id that was never initialized.
pub const NO_EPOCH: i16 = -1;

/// Where a transactional id stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum State {
    /// No transaction since the producer was initialized.
    Empty,
    /// Partitions or groups were added.
    Ongoing,
    /// To be committed: the markers are being written.
    PrepareCommit,
    /// To be aborted: the markers are being written.
    PrepareAbort,
    /// Committed.
    CompleteCommit,
    /// Aborted.
    CompleteAbort,
}

impl State {
    pub const ALL: [State; 6] = [
        Self::Empty,
        Self::Ongoing,
        Self::PrepareCommit,
        Self::PrepareAbort,
        Self::CompleteCommit,
        Self::CompleteAbort,
    ];

    /// Kafka's number, as in the record.
    pub fn code(self) -> u8 {
        match self {
            Self::Empty => 0,
            Self::Ongoing => 1,
            Self::PrepareCommit => 2,
            Self::PrepareAbort => 3,
            Self::CompleteCommit => 4,
            Self::CompleteAbort => 5,
        }
    }

    /// The state of that number.
    pub fn from_code(code: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.code() == code)
    }
}

/// How a client speaks of transactions (feature `transaction.version`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Version {
    /// It adds partitions implicitly; the epoch survives the end of a transaction.
    V1,
    /// KIP-890 part 2: the broker adds partitions, and raises the epoch with every end.
    V2,
}

/// Who speaks: the producer id and epoch of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Producer {
    pub id: ProducerId,
    pub epoch: i16,
}

/// What is known of one transactional id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Metadata {
    /// The current producer id.
    pub producer_id: ProducerId,
    /// The one before the last change.
    pub previous_producer_id: ProducerId,
    /// The producer id to continue with once the transaction has ended, when epochs ran out;
    /// otherwise `NONE`.
    pub next_producer_id: ProducerId,
    /// The current epoch; for a prepared transaction of [`Version::V2`], already the next one's.
    pub epoch: i16,
    /// The previous epoch, by which a repeated request is recognized; [`NO_EPOCH`] if there is
    /// none.
    pub last_epoch: i16,
    /// A transaction is aborted after this.
    pub timeout_ms: i32,
    /// Where it stands.
    pub state: State,
    /// Partitions in the transaction.
    pub partitions: BTreeSet<TopicPartition>,
    /// Groups in the transaction, whose offsets it commits.
    pub groups: BTreeSet<GroupId>,
    /// Wall clock of the begin of the last transaction; −1 if there was none since the producer
    /// was initialized.
    pub start_ms: i64,
    /// Wall clock of the last change.
    pub update_ms: i64,
    /// How the client that made the last change speaks.
    pub version: Version,
}

/// Keyspace of transactional ids.
pub struct Transactions;

const VERSION: u8 = 1;

impl Keyspace for Transactions {
    const PREFIX: u8 = 10;
    const NAME: &'static str = "transaction";
    type Key = TransactionalId;
    type Value = Metadata;

    fn encode_key(key: &TransactionalId, out: &mut Vec<u8>) {
        out.extend_from_slice(key.as_str().as_bytes());
    }

    fn decode_key(bytes: &[u8]) -> Result<TransactionalId, DecodeError> {
        let name = std::str::from_utf8(bytes);
        Ok(TransactionalId::new(
            name.map_err(|error| DecodeError::new(error.to_string()))?,
        ))
    }

    fn encode_value(value: &Metadata, out: &mut Vec<u8>) {
        out.put_u8(VERSION);
        out.put_i64(value.producer_id.0);
        out.put_i64(value.previous_producer_id.0);
        out.put_i64(value.next_producer_id.0);
        out.put_i16(value.epoch);
        out.put_i16(value.last_epoch);
        out.put_i32(value.timeout_ms);
        out.put_u8(value.state.code());
        out.put_i64(value.start_ms);
        out.put_i64(value.update_ms);
        out.put_u8(version_code(value.version));
        encode_partitions(&value.partitions, out);
        encode_groups(&value.groups, out);
    }

    fn decode_value(bytes: &[u8]) -> Result<Metadata, DecodeError> {
        let mut reader = Reader::new(bytes);
        reader.version(VERSION)?;
        let metadata = Metadata {
            producer_id: ProducerId(reader.i64()?),
            previous_producer_id: ProducerId(reader.i64()?),
            next_producer_id: ProducerId(reader.i64()?),
            epoch: reader.i16()?,
            last_epoch: reader.i16()?,
            timeout_ms: reader.i32()?,
            state: decode_state(reader.u8()?)?,
            start_ms: reader.i64()?,
            update_ms: reader.i64()?,
            version: decode_version(reader.u8()?)?,
            partitions: decode_partitions(&mut reader)?,
            groups: decode_groups(&mut reader)?,
        };
        reader.finish()?;
        Ok(metadata)
    }
}

fn count(len: usize) -> u32 {
    u32::try_from(len).unwrap_or(u32::MAX)
}

pub(super) fn encode_groups(groups: &BTreeSet<GroupId>, out: &mut Vec<u8>) {
    out.put_u32(count(groups.len()));
    for group in groups {
        out.put_str(group.as_str());
    }
}

pub(super) fn decode_groups(reader: &mut Reader<'_>) -> Result<BTreeSet<GroupId>, DecodeError> {
    let mut groups = BTreeSet::new();
    for _ in 0..reader.u32()? {
        groups.insert(GroupId::new(reader.str()?));
    }
    Ok(groups)
}

pub(super) fn encode_partitions(partitions: &BTreeSet<TopicPartition>, out: &mut Vec<u8>) {
    let mut by_topic: BTreeMap<&TopicName, Vec<i32>> = BTreeMap::new();
    for partition in partitions {
        let numbers = by_topic.entry(&partition.topic).or_default();
        numbers.push(partition.partition);
    }
    out.put_u32(count(by_topic.len()));
    for (topic, numbers) in by_topic {
        out.put_str(topic.as_ref());
        out.put_u32(count(numbers.len()));
        for number in numbers {
            out.put_i32(number);
        }
    }
}

pub(super) fn decode_partitions(
    reader: &mut Reader<'_>,
) -> Result<BTreeSet<TopicPartition>, DecodeError> {
    let mut partitions = BTreeSet::new();
    for _ in 0..reader.u32()? {
        let topic =
            TopicName::new(reader.str()?).map_err(|error| DecodeError::new(error.to_string()))?;
        for _ in 0..reader.u32()? {
            partitions.insert(TopicPartition::new(topic.clone(), reader.i32()?));
        }
    }
    Ok(partitions)
}

fn decode_state(code: u8) -> Result<State, DecodeError> {
    State::from_code(code).ok_or_else(|| DecodeError::new(format!("there is no state {code}")))
}

pub(super) fn version_code(version: Version) -> u8 {
    match version {
        Version::V1 => 1,
        Version::V2 => 2,
    }
}

pub(super) fn decode_version(version: u8) -> Result<Version, DecodeError> {
    match version {
        1 => Ok(Version::V1),
        2 => Ok(Version::V2),
        other => Err(DecodeError::new(format!("transaction version {other}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn metadata() -> impl Strategy<Value = Metadata> {
        let partition = ("[a-zA-Z0-9_-]{1,8}", 0..50_i32).prop_map(|(topic, partition)| {
            TopicPartition::new(TopicName::new(topic).unwrap(), partition)
        });
        (
            any::<(i64, i64, i64, i16, i16, i32)>(),
            any::<(i64, i64, bool)>(),
            0..State::ALL.len(),
            proptest::collection::btree_set(partition, 0..9),
            proptest::collection::btree_set(".*".prop_map(GroupId::new), 0..4),
        )
            .prop_map(|(ids, rest, state, partitions, groups)| Metadata {
                producer_id: ProducerId(ids.0),
                previous_producer_id: ProducerId(ids.1),
                next_producer_id: ProducerId(ids.2),
                epoch: ids.3,
                last_epoch: ids.4,
                timeout_ms: ids.5,
                state: State::ALL[state],
                partitions,
                groups,
                start_ms: rest.0,
                update_ms: rest.1,
                version: if rest.2 { Version::V2 } else { Version::V1 },
            })
    }

    proptest! {
        #[test]
        fn a_transaction_reads_back_as_it_was_written(id in ".+", metadata in metadata()) {
            let id = TransactionalId::new(id);
            let (mut key, mut value) = (Vec::new(), Vec::new());
            Transactions::encode_key(&id, &mut key);
            Transactions::encode_value(&metadata, &mut value);
            prop_assert_eq!(Transactions::decode_key(&key).unwrap(), id);
            prop_assert_eq!(Transactions::decode_value(&value).unwrap(), metadata);
        }

        #[test]
        fn damaged_transactions_are_errors(bytes: Vec<u8>) {
            let _ = Transactions::decode_key(&bytes);
            let _ = Transactions::decode_value(&bytes);
        }
    }

    #[test]
    fn the_layout_of_version_1_stays_readable() {
        let mut bytes = b"\x01\0\0\0\0\0\0\0\x07".to_vec();
        bytes.extend_from_slice(&[0xff; 16]);
        bytes.extend_from_slice(b"\0\x03\xff\xff\0\0\xea\x60\x01");
        bytes.extend_from_slice(b"\0\0\0\0\0\0\0\x05\0\0\0\0\0\0\0\x06\x02");
        bytes.extend_from_slice(b"\0\0\0\x01\0\0\0\x01t\0\0\0\x01\0\0\0\x02");
        bytes.extend_from_slice(b"\0\0\0\x01\0\0\0\x01g");
        let metadata = Transactions::decode_value(&bytes).unwrap();
        assert_eq!((metadata.producer_id.0, metadata.epoch), (7, 3));
        assert_eq!(metadata.state, State::Ongoing);
        assert_eq!(
            (metadata.timeout_ms, metadata.start_ms, metadata.update_ms),
            (60_000, 5, 6)
        );
        assert_eq!(metadata.partitions.first().unwrap().to_string(), "t-2");
        assert_eq!(metadata.groups.first().unwrap().as_str(), "g");
    }
}
