//! Which records of a batch stay (Kafka's `Cleaner.cleanInto` and `MemoryRecords.filterTo`). Pure.

use std::collections::HashMap;

use carrick_protocol::batch::{Batch, BatchError, CheckedBatches, StoredRecord, Unpacked, emptied};
use carrick_protocol::ids::{Offset, ProducerId};

use super::super::Producers;
use super::super::aborted::AbortedTxn;
use super::map::OffsetMap;
use super::transactions::Walked;

/// Largest size of a decompressed batch during cleaning.
pub(super) const UNPACKED_MAX_BYTES: usize = 1 << 30;

/// The batch that a producer is recognised by. It must stay, or the log would refuse the producer's
/// next batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct LastRecord {
    /// Last offset of its newest batch; `None` when a marker is all there is of its epoch.
    data: Option<Offset>,
    epoch: i16,
}

/// The last records of all producers a log knows (`lastRecordsOfActiveProducers`).
#[derive(Debug, Default)]
pub struct LastRecords(HashMap<ProducerId, LastRecord>);

impl LastRecords {
    /// Those of a log's producers.
    pub(super) fn of(producers: &Producers) -> LastRecords {
        let entries = producers.entries().map(|entry| {
            let last = LastRecord {
                data: entry.batches().last().map(|batch| batch.last_offset),
                epoch: entry.producer_epoch,
            };
            (entry.producer_id, last)
        });
        LastRecords(entries.collect())
    }

    fn is_last(&self, batch: &Batch<'_>) -> bool {
        let header = &batch.header;
        let last = header
            .has_producer()
            .then(|| self.0.get(&header.producer_id))
            .flatten();
        last.is_some_and(|last| match last.data {
            Some(offset) => header.last_offset() == offset,
            None => header.is_control() && header.producer_epoch == last.epoch,
        })
    }
}

/// The rules of one cleaning.
#[derive(Debug)]
pub(super) struct Filter<'a> {
    pub map: &'a OffsetMap,
    pub last_records: &'a LastRecords,
    pub delete_retention_ms: i64,
    pub now_ms: i64,
    /// The end of the cleanable part: a batch that ends there stays, even if it is empty.
    pub upto: Offset,
}

/// The outcome for one batch.
#[derive(Debug, Default)]
pub(super) struct Outcome {
    /// The batch, as it was or rewritten; `None` when it goes.
    pub batch: Option<CheckedBatches>,
    /// The aborted transaction that ends with it and must still be reported to readers.
    pub aborted: Option<AbortedTxn>,
}

impl Filter<'_> {
    /// Decides about one batch, in the order of the log.
    pub fn apply(
        &self,
        walked: &mut Walked,
        stored: &CheckedBatches,
    ) -> Result<Outcome, BatchError> {
        let batch = stored.only();
        let header = &batch.header;
        let horizon_ms = header
            .attributes
            .has_delete_horizon()
            .then_some(header.base_timestamp_ms);
        let mut ends = None;
        let (is_spent, drop_records) = if header.is_control() {
            let marker = walked.pass_control(&batch);
            ends = marker.ends;
            let is_past = horizon_ms.is_some_and(|horizon_ms| horizon_ms <= self.now_ms);
            (marker.is_spent, marker.is_spent && is_past)
        } else {
            (false, walked.pass_data(header))
        };
        let stays_empty = self.last_records.is_last(&batch) || header.next_offset() == self.upto;
        let kept = if drop_records {
            stays_empty.then(|| emptied(&batch)).transpose()?
        } else {
            self.sift(stored, is_spent, horizon_ms, stays_empty)?
        };
        Ok(Outcome {
            batch: kept,
            aborted: ends,
        })
    }

    fn sift(
        &self,
        stored: &CheckedBatches,
        is_spent_marker: bool,
        horizon_ms: Option<i64>,
        stays_empty: bool,
    ) -> Result<Option<CheckedBatches>, BatchError> {
        let batch = stored.only();
        let unpacked = Unpacked::new(batch, UNPACKED_MAX_BYTES)?;
        let is_control = batch.header.is_control();
        let kept = unpacked.retain(|record| is_control || self.stays(record, horizon_ms))?;
        if kept.is_empty() {
            return stays_empty.then(|| emptied(&batch)).transpose();
        }
        let needs_horizon = (kept.has_tombstones || is_spent_marker) && horizon_ms.is_none();
        if kept.all && !needs_horizon {
            return Ok(Some(stored.clone()));
        }
        let new_horizon_ms =
            needs_horizon.then(|| self.now_ms.saturating_add(self.delete_retention_ms));
        Ok(Some(unpacked.rebuild(&kept, new_horizon_ms)?))
    }

    fn stays(&self, record: &StoredRecord<'_>, horizon_ms: Option<i64>) -> bool {
        if record.offset > self.map.latest() {
            return true;
        }
        let Some(key) = record.key else {
            return false;
        };
        let is_last = self.map.get(key).is_none_or(|last| record.offset >= last);
        let tombstone_stays = horizon_ms.is_none_or(|horizon_ms| self.now_ms < horizon_ms);
        is_last && (record.value.is_some() || tombstone_stays)
    }
}
