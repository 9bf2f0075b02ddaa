//! The rules for a batch that a producer sent (Kafka's `LogValidator`).

use bytes::Bytes;
use thiserror::Error;

use super::records::timestamp_of;
use super::scan::{Scanned, scan};
use super::{Batch, BatchError, BatchHeader, CheckedBatches, NO_TIMESTAMP, TimestampType};
use crate::ids::Offset;

/// Why a produced batch is refused.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ProducedBatchError {
    /// The batch itself is broken (CRC, codec, size): Kafka's CORRUPT_MESSAGE or, for its records,
    /// INVALID_RECORD.
    #[error(transparent)]
    Batch(#[from] BatchError),
    /// Offsets must count from 0.
    #[error("base offset is {0}, not 0")]
    BaseOffset(Offset),
    /// Only brokers write control batches.
    #[error("clients cannot write control batches")]
    Control,
    /// The batch has no records.
    #[error("the batch has no records")]
    Empty,
    /// Record count and offset range disagree.
    #[error("{record_count} records, but the last offset delta is {last_offset_delta}")]
    Count {
        record_count: i32,
        last_offset_delta: i32,
    },
    /// An idempotent producer's batch with a negative sequence or epoch, or a transactional batch
    /// without producer.
    #[error("producer {producer_id} with epoch {producer_epoch} and sequence {base_sequence}")]
    Producer {
        producer_id: i64,
        producer_epoch: i16,
        base_sequence: i32,
    },
    /// Records that are refused, and with them the batch. At most [`BAD_RECORDS_MAX`] are named.
    #[error("{}", summary(.0))]
    Records(Vec<BadRecord>),
}

/// At most this many refused records are listed.
const BAD_RECORDS_MAX: usize = 10_000;

/// A record that is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("{problem}")]
pub struct BadRecord {
    /// Its place in the batch, from 0.
    pub index: i32,
    pub problem: RecordProblem,
}

/// Why a record is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum RecordProblem {
    /// A compacted topic takes no record without a key.
    #[error("Compacted topic cannot accept message without key")]
    NoKey,
    /// Offset deltas must be 0, 1, 2, …
    #[error("Offset delta {found} instead of the record's place in the batch")]
    OffsetDelta { found: i32 },
    /// Its timestamp lies outside of `message.timestamp.{before,after}.max.ms`.
    #[error(
        "Timestamp {timestamp_ms} is out of range. The timestamp should be within \
         [{earliest_ms}, {latest_ms}]"
    )]
    Timestamp {
        timestamp_ms: i64,
        /// The earliest that is accepted.
        earliest_ms: i64,
        /// The latest that is accepted.
        latest_ms: i64,
    },
    /// Only brokers set the timestamp type to LogAppendTime.
    #[error("Producer should not set timestamp type to LogAppendTime")]
    TimestampType,
}

impl RecordProblem {
    /// Whether it is about the timestamp: then so is the code of the whole batch.
    pub fn is_timestamp(self) -> bool {
        matches!(self, Self::Timestamp { .. } | Self::TimestampType)
    }
}

fn summary(records: &[BadRecord]) -> String {
    if records.iter().any(|record| record.problem.is_timestamp()) {
        return "One or more records have been rejected due to invalid timestamp".to_owned();
    }
    let shown: Vec<String> = records
        .iter()
        .take(3)
        .map(|record| format!("{}: {record}", record.index))
        .collect();
    format!(
        "One or more records have been rejected due to {} record errors in total, and only showing \
         the first three errors at most: {}",
        records.len(),
        shown.join(", ")
    )
}

/// A topic's rules for records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProduceRules {
    /// Largest size of the decompressed records.
    pub limit_bytes: usize,
    /// A compacted topic: every record has a key.
    pub require_keys: bool,
    /// The earliest and the latest timestamp, in ms; `None` where the broker sets them.
    pub timestamps_ms: Option<(i64, i64)>,
}

/// A batch that satisfies the rules, and figures about its records.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProducedBatch {
    /// The batch as the client sent it.
    pub batch: CheckedBatches,
    /// Largest timestamp of the records in ms. When it differs from the header's, the broker
    /// stores this one ([`CheckedBatches::with_max_timestamp`]): clients can lie.
    pub max_timestamp_ms: i64,
    /// Bytes of the records, decompressed.
    pub records_bytes: usize,
}

/// Checks a batch a client sent: magic 2, CRC, base offset 0, count = last delta + 1, deltas
/// consecutive, no control bit, record count inside, and the topic's rules. No records are
/// kept in memory.
///
/// # Panics
/// When the batch is not a view over `whole`, whose bytes the outcome shares.
pub fn validate_produced(
    batch: &Batch<'_>,
    whole: &Bytes,
    rules: &ProduceRules,
) -> Result<ProducedBatch, ProducedBatchError> {
    let header = &batch.header;
    check_header(header)?;
    let checked = batch.checked(whole)?;
    let mut max_timestamp_ms = NO_TIMESTAMP;
    let mut bad = Vec::new();
    let records_bytes = scan(header, batch.body(), rules.limit_bytes, |index, record| {
        let timestamp_ms = timestamp_of(header, record.timestamp_delta_ms);
        max_timestamp_ms = max_timestamp_ms.max(timestamp_ms);
        if let Some(problem) = problem_of(header, rules, index, record)
            && bad.len() < BAD_RECORDS_MAX
        {
            bad.push(BadRecord { index, problem });
        }
        true
    })?;
    if !bad.is_empty() {
        return Err(ProducedBatchError::Records(bad));
    }
    Ok(ProducedBatch {
        batch: checked,
        max_timestamp_ms,
        records_bytes,
    })
}

fn problem_of(
    header: &BatchHeader,
    rules: &ProduceRules,
    index: i32,
    record: Scanned,
) -> Option<RecordProblem> {
    if record.offset_delta != index {
        let found = record.offset_delta;
        return Some(RecordProblem::OffsetDelta { found });
    }
    if rules.require_keys && !record.has_key {
        return Some(RecordProblem::NoKey);
    }
    if header.timestamp_type() == TimestampType::LogAppendTime {
        return Some(RecordProblem::TimestampType);
    }
    let (earliest_ms, latest_ms) = rules.timestamps_ms?;
    let timestamp_ms = timestamp_of(header, record.timestamp_delta_ms);
    let is_out = timestamp_ms < earliest_ms || timestamp_ms > latest_ms;
    (timestamp_ms != NO_TIMESTAMP && is_out).then_some(RecordProblem::Timestamp {
        timestamp_ms,
        earliest_ms,
        latest_ms,
    })
}

fn check_header(header: &BatchHeader) -> Result<(), ProducedBatchError> {
    if header.base_offset != Offset::ZERO {
        return Err(ProducedBatchError::BaseOffset(header.base_offset));
    }
    if header.is_control() {
        return Err(ProducedBatchError::Control);
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
