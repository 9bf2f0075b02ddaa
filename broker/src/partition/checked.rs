//! What clients produce, checked and brought into the form in which it is stored (Kafka's
//! `UnifiedLog.analyzeAndValidateRecords` and `LogValidator`).
//!
//! Invariant: records are never held decompressed, unless they are to be stored under another
//! codec. What takes long is done where other connections do not wait for it.

use bytes::Bytes;
use carrick_protocol::batch::{
    Batch, BatchError, BatchHeader, ProduceRules, ProducedBatch, ProducedBatchError, TimestampType,
    Unpacked, set_max_timestamp, validate_produced,
};
use tokio::runtime::{Handle, RuntimeFlavor};

use super::PartitionError;
use crate::topic::TopicConfig;

/// A compressed batch may unfold to this much, and no further.
const UNFOLDED_MAX_BYTES: usize = 256 << 20;

/// Up to here a batch is unfolded at once.
const UNFOLDED_AT_ONCE_BYTES: usize = 8 << 20;

/// A produced batch that keeps every rule, but for its sequence numbers.
pub(super) struct Checked {
    /// As the client sent it.
    pub header: BatchHeader,
    /// As it is to be stored.
    pub bytes: Bytes,
}

impl Checked {
    /// Checks `bytes`, which must be one batch.
    pub fn new(bytes: &Bytes, config: &TopicConfig, now_ms: i64) -> Result<Self, PartitionError> {
        if bytes.is_empty() {
            return Err(PartitionError::NoBatch);
        }
        let batch = Batch::parse(bytes)?;
        let trailing = bytes.len() - batch.bytes.len();
        if trailing > 0 {
            return Err(PartitionError::TrailingBytes { bytes: trailing });
        }
        check_size(bytes.len(), config)?;
        let header = batch.header;
        let produced = validate(&batch, config, now_ms)?;
        let stored = stored(bytes, batch, config, &produced)?;
        check_size(stored.len(), config)?;
        if stored.len() > config.log.segment_max_bytes as usize {
            return Err(PartitionError::LargerThanSegment {
                size_bytes: stored.len(),
                segment_bytes: config.log.segment_max_bytes,
            });
        }
        Ok(Self {
            header,
            bytes: stored,
        })
    }

    /// How many records.
    pub fn records(&self) -> i64 {
        i64::from(self.header.record_count)
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
    match validate_produced(batch, &rules) {
        Err(ProducedBatchError::Batch(BatchError::TooLarge { .. })) => unhurried(|| {
            let limit_bytes = UNFOLDED_MAX_BYTES;
            validate_produced(
                batch,
                &ProduceRules {
                    limit_bytes,
                    ..rules
                },
            )
        }),
        done => done,
    }
}

/// The bytes to store: under the topic's codec, and with the largest timestamp of the records if
/// the header lies about it.
fn stored(
    bytes: &Bytes,
    batch: Batch<'_>,
    config: &TopicConfig,
    produced: &ProducedBatch,
) -> Result<Bytes, PartitionError> {
    let (header, mut changed) = (batch.header, None);
    if let Some(codec) = config.compression
        && batch.header.compression()? != codec.compression
    {
        let recompress = || Unpacked::new(batch, UNFOLDED_MAX_BYTES)?.recompress(codec);
        changed = Some(unhurried(recompress)?);
    }
    if produced.max_timestamp_ms != header.max_timestamp_ms {
        let kind = TimestampType::CreateTime;
        let changed = changed.get_or_insert_with(|| bytes.to_vec());
        set_max_timestamp(changed, kind, produced.max_timestamp_ms);
    }
    Ok(changed.map_or_else(|| bytes.clone(), Bytes::from))
}

/// Does what takes long; the connections of this thread are served by another one meanwhile.
pub(super) fn unhurried<T>(work: impl FnOnce() -> T) -> T {
    let flavor = Handle::try_current().map(|runtime| runtime.runtime_flavor());
    match flavor {
        Ok(RuntimeFlavor::MultiThread) => tokio::task::block_in_place(work),
        _ => work(),
    }
}
