//! Produced batches, checked and converted to the form in which they are stored (Kafka's
//! `UnifiedLog.analyzeAndValidateRecords` and `LogValidator`).
//!
//! Invariant: records are never held decompressed, unless they will be stored with another codec.
//! Slow work is done where other connections do not wait for it.

use bytes::Bytes;
use carrick_protocol::batch::{
    Batch, BatchError, BatchHeader, CheckedBatches, ProduceRules, ProducedBatch,
    ProducedBatchError, TimestampType, Unpacked, validate_produced,
};

use super::PartitionError;
use crate::parallel::unhurried;
use crate::topic::TopicConfig;

/// Largest size of a decompressed batch.
const UNFOLDED_MAX_BYTES: usize = 256 << 20;

/// Up to this size, a batch is decompressed in one piece.
const UNFOLDED_AT_ONCE_BYTES: usize = 8 << 20;

/// A produced batch that satisfies every rule except those about sequence numbers, which only the
/// log can check.
pub(super) struct Checked {
    /// One batch, in the form in which it is stored.
    pub batch: CheckedBatches,
}

impl Checked {
    /// Checks `bytes`, which must be one batch: `parsed`, and nothing after it.
    pub fn new(
        bytes: &Bytes,
        parsed: Result<Batch<'_>, BatchError>,
        config: &TopicConfig,
        now_ms: i64,
    ) -> Result<Self, PartitionError> {
        if bytes.is_empty() {
            return Err(PartitionError::NoBatch);
        }
        let batch = parsed?;
        let trailing = bytes.len() - batch.bytes.len();
        if trailing > 0 {
            return Err(PartitionError::TrailingBytes { bytes: trailing });
        }
        check_size(bytes.len(), config)?;
        let produced = validate(&batch, bytes, config, now_ms)?;
        let stored = stored(produced, config)?;
        let size_bytes = stored.bytes().len();
        check_size(size_bytes, config)?;
        if size_bytes > config.log.segment_max_bytes as usize {
            return Err(PartitionError::LargerThanSegment {
                size_bytes,
                segment_bytes: config.log.segment_max_bytes,
            });
        }
        Ok(Self { batch: stored })
    }

    /// Its header, without the fields that the log sets.
    pub fn header(&self) -> &BatchHeader {
        self.batch.first()
    }

    /// How many records.
    pub fn records(&self) -> i64 {
        i64::from(self.header().record_count)
    }
}

fn check_size(size_bytes: usize, config: &TopicConfig) -> Result<(), PartitionError> {
    let max_bytes = config.max_message_bytes;
    if size_bytes <= max_bytes {
        return Ok(());
    }
    Err(PartitionError::TooLarge {
        size_bytes,
        max_bytes,
    })
}

fn validate(
    batch: &Batch<'_>,
    bytes: &Bytes,
    config: &TopicConfig,
    now_ms: i64,
) -> Result<ProducedBatch, ProducedBatchError> {
    let timestamps_ms = (
        now_ms.saturating_sub(config.timestamp_before_max_ms),
        now_ms.saturating_add(config.timestamp_after_max_ms),
    );
    let rules = ProduceRules {
        limit_bytes: UNFOLDED_AT_ONCE_BYTES,
        require_keys: config.compact,
        timestamps_ms: (!config.log_append_time).then_some(timestamps_ms),
    };
    match validate_produced(batch, bytes, &rules) {
        Err(ProducedBatchError::Batch(BatchError::TooLarge { .. })) => unhurried(|| {
            let limit_bytes = UNFOLDED_MAX_BYTES;
            validate_produced(
                batch,
                bytes,
                &ProduceRules {
                    limit_bytes,
                    ..rules
                },
            )
        }),
        done => done,
    }
}

/// The batch to store: under the topic's codec, and with the largest timestamp of the records if
/// the header lies about it.
fn stored(produced: ProducedBatch, config: &TopicConfig) -> Result<CheckedBatches, PartitionError> {
    let ProducedBatch {
        mut batch,
        max_timestamp_ms,
        ..
    } = produced;
    if let Some(codec) = config.compression
        && batch.first().compression()? != codec.compression
    {
        let recompress = || Unpacked::new(batch.only(), UNFOLDED_MAX_BYTES)?.recompress(codec);
        batch = unhurried(recompress)?;
    }
    if max_timestamp_ms != batch.first().max_timestamp_ms {
        batch = batch.with_max_timestamp(TimestampType::CreateTime, max_timestamp_ms);
    }
    Ok(batch)
}
