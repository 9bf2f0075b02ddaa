//! What a broker demands of a batch that a producer sent (Kafka's `LogValidator`).

use std::borrow::Cow;

use thiserror::Error;

use super::compression::decompress;
use super::cursor::read_record;
use super::{Batch, BatchError, BatchHeader, Compression, NO_TIMESTAMP, TimestampType};
use crate::ids::Offset;

/// Why a produced batch is refused.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ProducedBatchError {
    /// The batch itself is broken (CRC, codec, size): Kafka's CORRUPT_MESSAGE or, for its records,
    /// INVALID_RECORD.
    #[error(transparent)]
    Batch(#[from] BatchError),
    /// More than one batch, or bytes after it.
    #[error("{0} bytes after the batch: one batch is expected")]
    MoreThanOneBatch(usize),
    /// Offsets must count from 0.
    #[error("base offset is {0}, not 0")]
    BaseOffset(Offset),
    /// Only brokers write control batches.
    #[error("clients cannot write control batches")]
    Control,
    /// Only brokers set LogAppendTime.
    #[error("clients cannot set the timestamp type to LogAppendTime")]
    LogAppendTime,
    /// The batch has no records.
    #[error("the batch has no records")]
    Empty,
    /// Record count and offset range disagree.
    #[error("{record_count} records, but the last offset delta is {last_offset_delta}")]
    Count {
        /// As the header says.
        record_count: i32,
        /// As the header says.
        last_offset_delta: i32,
    },
    /// An idempotent producer's batch with a negative sequence or epoch, or a transactional batch
    /// without producer.
    #[error("producer {producer_id} with epoch {producer_epoch} and sequence {base_sequence}")]
    Producer {
        /// As the header says.
        producer_id: i64,
        /// As the header says.
        producer_epoch: i16,
        /// As the header says.
        base_sequence: i32,
    },
    /// Offset deltas that are not 0, 1, 2, …
    #[error("record {index} has offset delta {found}")]
    OffsetDelta {
        /// The record's place.
        index: i32,
        /// Its delta.
        found: i32,
    },
    /// A compacted topic takes no record without a key.
    #[error("record {index} has no key, which a compacted topic needs")]
    NoKey {
        /// The record's place.
        index: i32,
    },
}

/// What the validation learnt about a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProducedBatch {
    /// Largest timestamp of the records in ms. When it differs from the header's, the broker
    /// stores this one ([`super::set_max_timestamp`]): clients can lie.
    pub max_timestamp_ms: i64,
    /// Smallest timestamp that is set, in ms; [`NO_TIMESTAMP`] when none is.
    pub min_timestamp_ms: i64,
    /// Bytes of the records, decompressed.
    pub records_bytes: usize,
}

/// Checks a batch a client sent: magic 2, CRC, base offset 0, count = last delta + 1, deltas
/// consecutive, no control bit, record count inside, keys if `require_keys` (compacted topic).
/// Records are decompressed into at most `limit_bytes`.
pub fn validate_produced(
    batch: &Batch<'_>,
    limit_bytes: usize,
    require_keys: bool,
) -> Result<ProducedBatch, ProducedBatchError> {
    let header = &batch.header;
    check_header(header)?;
    let size = header.size_bytes();
    if batch.bytes.len() > size {
        return Err(ProducedBatchError::MoreThanOneBatch(
            batch.bytes.len() - size,
        ));
    }
    batch.verify_crc()?;
    let body = match header.compression()? {
        Compression::None => Cow::Borrowed(batch.body()),
        codec => Cow::Owned(decompress(codec, batch.body(), limit_bytes)?),
    };
    check_records(header, &body, require_keys)
}

fn check_header(header: &BatchHeader) -> Result<(), ProducedBatchError> {
    if header.base_offset != Offset::ZERO {
        return Err(ProducedBatchError::BaseOffset(header.base_offset));
    }
    if header.is_control() {
        return Err(ProducedBatchError::Control);
    }
    if header.timestamp_type() == TimestampType::LogAppendTime {
        return Err(ProducedBatchError::LogAppendTime);
    }
    if header.record_count == 0 {
        return Err(ProducedBatchError::Empty);
    }
    if header.record_count - 1 != header.last_offset_delta {
        return Err(ProducedBatchError::Count {
            record_count: header.record_count,
            last_offset_delta: header.last_offset_delta,
        });
    }
    let negative = header.base_sequence < 0 || header.producer_epoch < 0;
    if (header.has_producer() && negative) || (header.is_transactional() && !header.has_producer())
    {
        return Err(ProducedBatchError::Producer {
            producer_id: header.producer_id.0,
            producer_epoch: header.producer_epoch,
            base_sequence: header.base_sequence,
        });
    }
    Ok(())
}

fn check_records(
    header: &BatchHeader,
    body: &[u8],
    require_keys: bool,
) -> Result<ProducedBatch, ProducedBatchError> {
    let mut seen = ProducedBatch {
        max_timestamp_ms: NO_TIMESTAMP,
        min_timestamp_ms: NO_TIMESTAMP,
        records_bytes: body.len(),
    };
    let mut rest = body;
    for index in 0..header.record_count {
        let record =
            read_record(&mut rest).map_err(|problem| BatchError::Record { index, problem })?;
        if record.offset_delta != index {
            return Err(ProducedBatchError::OffsetDelta {
                index,
                found: record.offset_delta,
            });
        }
        if require_keys && record.key.is_none() {
            return Err(ProducedBatchError::NoKey { index });
        }
        let timestamp_ms = header
            .base_timestamp_ms
            .wrapping_add(record.timestamp_delta_ms);
        seen.max_timestamp_ms = seen.max_timestamp_ms.max(timestamp_ms);
        if timestamp_ms >= 0 && (seen.min_timestamp_ms < 0 || timestamp_ms < seen.min_timestamp_ms)
        {
            seen.min_timestamp_ms = timestamp_ms;
        }
    }
    if rest.is_empty() {
        Ok(seen)
    } else {
        Err(BatchError::TrailingBytes(rest.len()).into())
    }
}
