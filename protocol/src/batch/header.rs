//! The 61-byte header of a record batch v2 (KIP-98, Kafka's `DefaultRecordBatch`).
//!
//! Layout, big endian: base offset i64 @0 · batch length i32 @8 (of everything after it) ·
//! partition leader epoch i32 @12 · magic i8 @16 · crc u32 @17 (CRC-32C of everything after it) ·
//! attributes i16 @21 · last offset delta i32 @23 · base timestamp i64 @27 · max timestamp i64 @35
//! · producer id i64 @43 · producer epoch i16 @51 · base sequence i32 @53 · record count i32 @57 ·
//! records @61.
//!
//! Invariants of a parsed header: magic is 2, the length covers the header, base offset and last
//! offset delta and record count are not negative, and the next offset fits an i64. Anything else is
//! an error of [`BatchHeader::parse`].

use super::{BatchError, Compression};
use crate::ids::{LeaderEpoch, Offset, ProducerId};

/// Bytes of a batch before its records.
pub const HEADER_BYTES: usize = 61;
/// Bytes of base offset and batch length, which the batch length does not count.
pub const LENGTH_PREFIX_BYTES: usize = 12;
/// The only record format (`magic`) there is since Kafka 4.0.
pub const MAGIC_V2: i8 = 2;
/// Timestamp of a record that has none.
pub const NO_TIMESTAMP: i64 = -1;
/// Sequence of a batch whose producer is not idempotent.
pub const NO_SEQUENCE: i32 = -1;
/// Epoch of a batch whose producer is not idempotent.
pub const NO_PRODUCER_EPOCH: i16 = -1;

pub(crate) const LENGTH_AT: usize = 8;
pub(crate) const EPOCH_AT: usize = 12;
pub(crate) const MAGIC_AT: usize = 16;
pub(crate) const CRC_AT: usize = 17;
pub(crate) const ATTRIBUTES_AT: usize = 21;
pub(crate) const MAX_TIMESTAMP_AT: usize = 35;

/// What a batch's timestamps mean (`message.timestamp.type`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum TimestampType {
    /// Set by the producer, per record.
    #[default]
    CreateTime,
    /// Set by the broker: the batch's max timestamp holds for every record.
    LogAppendTime,
}

/// The attribute bits of a batch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Attributes(pub i16);

impl Attributes {
    pub(crate) const CODEC: i16 = 0x07;
    pub(crate) const LOG_APPEND_TIME: i16 = 0x08;
    pub(crate) const TRANSACTIONAL: i16 = 0x10;
    pub(crate) const CONTROL: i16 = 0x20;
    pub(crate) const DELETE_HORIZON: i16 = 0x40;

    /// The codec of the records; an error for the codes 5 to 7.
    pub fn compression(self) -> Result<Compression, BatchError> {
        Compression::from_code(self.0 & Self::CODEC)
    }

    /// What the timestamps mean.
    pub fn timestamp_type(self) -> TimestampType {
        if self.0 & Self::LOG_APPEND_TIME != 0 {
            TimestampType::LogAppendTime
        } else {
            TimestampType::CreateTime
        }
    }

    /// Whether the batch belongs to a transaction.
    pub fn is_transactional(self) -> bool {
        self.0 & Self::TRANSACTIONAL != 0
    }

    /// Whether the batch holds a control record, which consumers never see.
    pub fn is_control(self) -> bool {
        self.0 & Self::CONTROL != 0
    }

    /// Whether the base timestamp is a delete horizon set by compaction (KIP-534).
    pub fn has_delete_horizon(self) -> bool {
        self.0 & Self::DELETE_HORIZON != 0
    }
}

/// A batch's header, parsed. Copying it is cheap; it holds no reference to the bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchHeader {
    /// Offset of the first record the batch was made with.
    pub base_offset: Offset,
    /// Bytes of the batch after the length field.
    pub batch_length: i32,
    /// Epoch of the leader that appended the batch.
    pub leader_epoch: LeaderEpoch,
    /// Record format, always 2.
    pub magic: i8,
    /// CRC-32C as stored.
    pub crc: u32,
    pub attributes: Attributes,
    /// Last offset minus base offset; compaction keeps it even if the last record was removed.
    pub last_offset_delta: i32,
    /// Timestamp that record deltas are relative to, in ms.
    pub base_timestamp_ms: i64,
    /// Largest timestamp of the batch, in ms.
    pub max_timestamp_ms: i64,
    /// Idempotent producer, or [`ProducerId::NONE`].
    pub producer_id: ProducerId,
    /// Its epoch, or [`NO_PRODUCER_EPOCH`].
    pub producer_epoch: i16,
    /// Sequence of the first record, or [`NO_SEQUENCE`].
    pub base_sequence: i32,
    /// Records in the batch; may be 0 after compaction.
    pub record_count: i32,
}

fn i16_at(head: &[u8; HEADER_BYTES], at: usize) -> i16 {
    i16::from_be_bytes([head[at], head[at + 1]])
}

fn i32_at(head: &[u8; HEADER_BYTES], at: usize) -> i32 {
    i32::from_be_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]])
}

fn i64_at(head: &[u8; HEADER_BYTES], at: usize) -> i64 {
    (i64::from(i32_at(head, at)) << 32) | i64::from(i32_at(head, at + 4) as u32)
}

impl BatchHeader {
    /// Reads the header at the start of `bytes`, which may hold less or more than the batch.
    ///
    /// Errors: fewer than 61 bytes, a magic besides 2, or fields that no batch can have. The CRC
    /// is not verified here ([`super::Batch::verify_crc`]).
    pub fn parse(bytes: &[u8]) -> Result<Self, BatchError> {
        let Some(head) = bytes.first_chunk::<HEADER_BYTES>() else {
            return Err(BatchError::TooShort {
                need: HEADER_BYTES,
                have: bytes.len(),
            });
        };
        let header = BatchHeader {
            base_offset: Offset(i64_at(head, 0)),
            batch_length: i32_at(head, LENGTH_AT),
            leader_epoch: LeaderEpoch(i32_at(head, EPOCH_AT)),
            magic: head[MAGIC_AT] as i8,
            crc: i32_at(head, CRC_AT) as u32,
            attributes: Attributes(i16_at(head, ATTRIBUTES_AT)),
            last_offset_delta: i32_at(head, 23),
            base_timestamp_ms: i64_at(head, 27),
            max_timestamp_ms: i64_at(head, MAX_TIMESTAMP_AT),
            producer_id: ProducerId(i64_at(head, 43)),
            producer_epoch: i16_at(head, 51),
            base_sequence: i32_at(head, 53),
            record_count: i32_at(head, 57),
        };
        header.check()?;
        Ok(header)
    }

    fn check(&self) -> Result<(), BatchError> {
        if self.magic != MAGIC_V2 {
            return Err(BatchError::Magic(self.magic));
        }
        check_length(self.batch_length)?;
        let last = self
            .base_offset
            .0
            .checked_add(i64::from(self.last_offset_delta));
        let fits = last.is_some_and(|last| last < i64::MAX);
        if self.base_offset.0 < 0 || self.last_offset_delta < 0 || !fits {
            return Err(BatchError::OffsetRange {
                base: self.base_offset,
                last_offset_delta: self.last_offset_delta,
            });
        }
        if self.record_count < 0 {
            return Err(BatchError::RecordCount(self.record_count));
        }
        Ok(())
    }

    /// Takes over what a change of the largest timestamp did to the header's bytes.
    pub(crate) fn set_max_timestamp(&mut self, bytes: &[u8], max_timestamp_ms: i64) {
        if let Some(head) = bytes.first_chunk::<HEADER_BYTES>() {
            self.attributes = Attributes(i16_at(head, ATTRIBUTES_AT));
            self.crc = i32_at(head, CRC_AT) as u32;
        }
        self.max_timestamp_ms = max_timestamp_ms;
    }

    /// Bytes of the whole batch, the 12 before the counted ones included.
    pub fn size_bytes(&self) -> usize {
        LENGTH_PREFIX_BYTES + usize::try_from(self.batch_length).unwrap_or(0)
    }

    /// Offset of the last record the batch was made with.
    pub fn last_offset(&self) -> Offset {
        self.base_offset + i64::from(self.last_offset_delta)
    }

    /// Where the next batch may begin.
    pub fn next_offset(&self) -> Offset {
        self.last_offset().next()
    }

    /// Sequence of the last record; after 2^31-1 comes 0 (`incrementSequence`).
    /// [`NO_SEQUENCE`] when the batch has none.
    pub fn last_sequence(&self) -> i32 {
        if self.base_sequence == NO_SEQUENCE {
            return NO_SEQUENCE;
        }
        let sum = i64::from(self.base_sequence) + i64::from(self.last_offset_delta);
        (sum & i64::from(i32::MAX)) as i32
    }

    /// Whether the batch holds a control record.
    pub fn is_control(&self) -> bool {
        self.attributes.is_control()
    }

    /// Whether the batch belongs to a transaction.
    pub fn is_transactional(&self) -> bool {
        self.attributes.is_transactional()
    }

    /// The codec of the records.
    pub fn compression(&self) -> Result<Compression, BatchError> {
        self.attributes.compression()
    }

    /// What the timestamps mean.
    pub fn timestamp_type(&self) -> TimestampType {
        self.attributes.timestamp_type()
    }

    /// Whether an idempotent producer wrote the batch.
    pub fn has_producer(&self) -> bool {
        self.producer_id.is_some()
    }
}

/// Refuses a length field that does not even cover the header.
pub(crate) fn check_length(batch_length: i32) -> Result<(), BatchError> {
    let covers = usize::try_from(batch_length)
        .is_ok_and(|length| length >= HEADER_BYTES - LENGTH_PREFIX_BYTES);
    if covers {
        Ok(())
    } else {
        Err(BatchError::Length(batch_length))
    }
}
