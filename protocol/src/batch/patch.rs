//! Changes a broker makes to a batch: in place, or to a copy of its header.
//!
//! Base offset and leader epoch are outside the CRC; a change of timestamps recomputes it.

use super::header::{
    ATTRIBUTES_AT, Attributes, CRC_AT, EPOCH_AT, HEADER_BYTES, MAX_TIMESTAMP_AT, TimestampType,
};
use super::{Batch, BatchHeader, crc_of};
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

/// The header that a batch gets in the log of a leader.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HeaderInLog {
    pub header: BatchHeader,
    /// Its bytes. In the log, the bytes of the batch behind its own header follow.
    pub bytes: [u8; HEADER_BYTES],
}

/// The header that `batch` gets in the log of a leader. The batch stays as it is.
///
/// A `log_append_time_ms` stamps it with the broker's time
/// (`message.timestamp.type=LogAppendTime`). Records keep their deltas, readers ignore them.
pub fn header_in_log(
    batch: &Batch<'_>,
    base: Offset,
    epoch: LeaderEpoch,
    log_append_time_ms: Option<i64>,
) -> HeaderInLog {
    let (mut header, mut bytes) = (batch.header, [0; HEADER_BYTES]);
    bytes.copy_from_slice(&batch.bytes[..HEADER_BYTES]);
    set_base_offset(&mut bytes, base);
    set_leader_epoch(&mut bytes, epoch);
    (header.base_offset, header.leader_epoch) = (base, epoch);
    if let Some(now_ms) = log_append_time_ms {
        put_max_timestamp(&mut bytes, TimestampType::LogAppendTime, now_ms);
        let crc = crc32c::crc32c_append(crc_of(&bytes), batch.body());
        bytes[CRC_AT..CRC_AT + 4].copy_from_slice(&crc.to_be_bytes());
        header.set_max_timestamp(&bytes, now_ms);
    }
    HeaderInLog { header, bytes }
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
