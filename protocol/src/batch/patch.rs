//! Changes a broker makes to a batch in place.
//!
//! Base offset and leader epoch lie outside the CRC; a change of timestamps recomputes it.

use super::crc_of;
use super::header::{
    ATTRIBUTES_AT, Attributes, CRC_AT, EPOCH_AT, HEADER_BYTES, MAX_TIMESTAMP_AT, TimestampType,
};
use crate::ids::{LeaderEpoch, Offset};

/// Sets the base offset of the batch at the start of `batch`. The CRC stays valid.
///
/// # Panics
/// When `batch` is shorter than a header: the caller has parsed it.
pub fn set_base_offset(batch: &mut [u8], base: Offset) {
    assert!(batch.len() >= HEADER_BYTES, "a batch has at least a header");
    batch[..8].copy_from_slice(&base.0.to_be_bytes());
}

/// Sets the partition leader epoch of the batch at the start of `batch`. The CRC stays valid.
///
/// # Panics
/// When `batch` is shorter than a header: the caller has parsed it.
pub fn set_leader_epoch(batch: &mut [u8], epoch: LeaderEpoch) {
    assert!(batch.len() >= HEADER_BYTES, "a batch has at least a header");
    batch[EPOCH_AT..EPOCH_AT + 4].copy_from_slice(&epoch.0.to_be_bytes());
}

/// Stamps exactly one batch with the broker's time (`message.timestamp.type=LogAppendTime`):
/// attribute bit, max timestamp, CRC. Records keep their deltas, readers ignore them.
///
/// # Panics
/// When `batch` is shorter than a header: the caller has parsed it.
pub fn set_log_append_time(batch: &mut [u8], now_ms: i64) {
    set_max_timestamp(batch, TimestampType::LogAppendTime, now_ms);
}

/// Sets timestamp type and max timestamp of exactly one batch and recomputes its CRC
/// (`DefaultRecordBatch.setMaxTimestamp`).
///
/// # Panics
/// When `batch` is shorter than a header: the caller has parsed it.
pub fn set_max_timestamp(batch: &mut [u8], kind: TimestampType, max_timestamp_ms: i64) {
    assert!(batch.len() >= HEADER_BYTES, "a batch has at least a header");
    let mut bits = i16::from_be_bytes([batch[ATTRIBUTES_AT], batch[ATTRIBUTES_AT + 1]]);
    match kind {
        TimestampType::CreateTime => bits &= !Attributes::LOG_APPEND_TIME,
        TimestampType::LogAppendTime => bits |= Attributes::LOG_APPEND_TIME,
    }
    batch[ATTRIBUTES_AT..ATTRIBUTES_AT + 2].copy_from_slice(&bits.to_be_bytes());
    batch[MAX_TIMESTAMP_AT..MAX_TIMESTAMP_AT + 8].copy_from_slice(&max_timestamp_ms.to_be_bytes());
    let crc = crc_of(batch);
    batch[CRC_AT..CRC_AT + 4].copy_from_slice(&crc.to_be_bytes());
}
