//! Changes a broker makes to a batch: in place, or to a copy of its header.
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

/// Sets timestamp type and max timestamp of exactly one batch and recomputes its CRC
/// (`DefaultRecordBatch.setMaxTimestamp`).
///
/// # Panics
/// When `batch` is shorter than a header: the caller has parsed it.
pub fn set_max_timestamp(batch: &mut [u8], kind: TimestampType, max_timestamp_ms: i64) {
    assert!(batch.len() >= HEADER_BYTES, "a batch has at least a header");
    put_max_timestamp(batch, kind, max_timestamp_ms);
    let crc = crc_of(batch);
    batch[CRC_AT..CRC_AT + 4].copy_from_slice(&crc.to_be_bytes());
}

/// The header that exactly one `batch` gets in the log of a leader. The batch stays as it is: the
/// log holds this header and the batch's bytes after its own.
///
/// A `log_append_time_ms` stamps it with the broker's time
/// (`message.timestamp.type=LogAppendTime`). Records keep their deltas, readers ignore them.
///
/// # Panics
/// When `batch` is shorter than a header: the caller has parsed it.
pub fn header_in_log(
    batch: &[u8],
    base: Offset,
    epoch: LeaderEpoch,
    log_append_time_ms: Option<i64>,
) -> [u8; HEADER_BYTES] {
    let mut head = [0; HEADER_BYTES];
    head.copy_from_slice(&batch[..HEADER_BYTES]);
    set_base_offset(&mut head, base);
    set_leader_epoch(&mut head, epoch);
    if let Some(now_ms) = log_append_time_ms {
        put_max_timestamp(&mut head, TimestampType::LogAppendTime, now_ms);
        let crc = crc32c::crc32c_append(crc_of(&head), &batch[HEADER_BYTES..]);
        head[CRC_AT..CRC_AT + 4].copy_from_slice(&crc.to_be_bytes());
    }
    head
}

/// Sets timestamp type and max timestamp; the CRC is wrong afterwards.
fn put_max_timestamp(head: &mut [u8], kind: TimestampType, max_timestamp_ms: i64) {
    let mut bits = i16::from_be_bytes([head[ATTRIBUTES_AT], head[ATTRIBUTES_AT + 1]]);
    match kind {
        TimestampType::CreateTime => bits &= !Attributes::LOG_APPEND_TIME,
        TimestampType::LogAppendTime => bits |= Attributes::LOG_APPEND_TIME,
    }
    head[ATTRIBUTES_AT..ATTRIBUTES_AT + 2].copy_from_slice(&bits.to_be_bytes());
    head[MAX_TIMESTAMP_AT..MAX_TIMESTAMP_AT + 8].copy_from_slice(&max_timestamp_ms.to_be_bytes());
}
