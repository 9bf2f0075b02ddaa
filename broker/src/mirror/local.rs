//! [`LocalBatches`]: what a partition holds, read from its log's published snapshot.

use std::sync::Arc;

use bytes::Bytes;
use carrick_link::ports::{LocalBatches, LocalEnds, TargetError};
use carrick_protocol::batch::Batches;
use carrick_protocol::ids::{LeaderEpoch, Offset, TopicPartition};
use carrick_storage::log::{LogError, Snapshot};

use super::target::{of_log, refused};
use crate::partition::{Hosted, Partition};

/// Reads this broker's partitions.
pub struct Local {
    hosted: Arc<Hosted>,
}

impl Local {
    /// On these partitions.
    pub fn new(hosted: Arc<Hosted>) -> Self {
        Local { hosted }
    }

    fn partition(&self, partition: &TopicPartition) -> Result<Arc<Partition>, TargetError> {
        let found = self
            .hosted
            .named(&partition.topic, partition.partition)
            .ok_or(TargetError::NoSuchPartition)?;
        found.check_reader(LeaderEpoch::NONE).map_err(refused)?;
        Ok(found)
    }
}

impl LocalBatches for Local {
    fn ends(&self, partition: &TopicPartition) -> Result<LocalEnds, TargetError> {
        let partition = self.partition(partition)?;
        let log = partition.snapshot();
        let open = partition.cut_dry_run().map_err(refused)?.aborted.len();
        Ok(LocalEnds {
            log_start: log.log_start(),
            end: log.end(),
            high_watermark: log.high_watermark(),
            // A tail that can't be read is no reason to refuse a report, and with it a failover.
            last_timestamp_ms: last_timestamp_ms(&log).unwrap_or_else(|error| {
                tracing::warn!(partition = %partition.id(), %error, "the last batch can't be read");
                None
            }),
            open_transactions: u32::try_from(open).unwrap_or(u32::MAX),
        })
    }

    fn read(
        &self,
        partition: &TopicPartition,
        from: Offset,
        max_bytes: usize,
    ) -> Result<Bytes, TargetError> {
        let log = self.partition(partition)?.snapshot();
        let (log_start, end) = (log.log_start(), log.end());
        if from < log_start {
            return Err(TargetError::NonMonotonic {
                offset: from,
                bound: log_start,
            });
        }
        if from >= end {
            return Ok(Bytes::new());
        }
        match log.read(from, end, max_bytes, true) {
            // The log start moved between the two looks at it.
            Err(LogError::OutOfRange {
                offset, log_start, ..
            }) if offset < log_start => Err(TargetError::NonMonotonic {
                offset,
                bound: log_start,
            }),
            other => other.map_err(of_log),
        }
    }
}

/// The largest timestamp of the last batch; of all batches when nothing but a gap is at the end.
fn last_timestamp_ms(log: &Snapshot) -> Result<Option<i64>, LogError> {
    let end = log.end();
    if end <= log.log_start() {
        return Ok(None);
    }
    let bytes = log.read(Offset(end.0 - 1), end, 1, true)?;
    if let Some(Ok(batch)) = Batches::new(&bytes).last() {
        return Ok(Some(batch.header.max_timestamp_ms).filter(|time| *time >= 0));
    }
    Ok(log.max_timestamp()?.map(|found| found.timestamp_ms))
}
