//! Makes RPO reports.

use carrick_protocol::ids::TopicPartition;

use super::show;
use crate::link::shared::LinkShared;
use crate::ports::{LocalBatches, TargetError};
use crate::record::{MirrorRecord, StopKind};
use crate::replicator::lag::StatusCell;
use crate::report::{PartitionRpo, RpoReport};

/// What a report is made of.
pub(crate) struct Draft {
    record: MirrorRecord,
    statuses: Vec<StatusCell>,
    kind: StopKind,
    is_dry_run: bool,
    now_ms: i64,
    fresh_ms: i64,
    /// The source has just said where its partitions end.
    source_ends: Option<Vec<i64>>,
}

impl Draft {
    /// Of a mirror as it stands; `None` if the link has none of that name.
    pub(crate) fn of(
        shared: &LinkShared,
        record: &MirrorRecord,
        kind: StopKind,
        is_dry_run: bool,
        source_ends: Option<Vec<i64>>,
    ) -> Self {
        let now_ms = shared.now_ms();
        let inner = shared.inner();
        let statuses = inner
            .mirrors
            .get(&record.topic)
            .map(|mirror| mirror.statuses.clone());
        Self {
            record: record.clone(),
            statuses: statuses.unwrap_or_default(),
            kind,
            is_dry_run,
            now_ms,
            fresh_ms: show::fresh_ms(&inner),
            source_ends,
        }
    }

    /// The report. Reads the logs' ends: may wait for a disk.
    pub(crate) fn finish(self, local: &dyn LocalBatches) -> Result<RpoReport, TargetError> {
        let mut partitions = Vec::with_capacity(self.statuses.len());
        for (partition, status) in (0..).zip(&self.statuses) {
            let key = TopicPartition::new(self.record.topic.clone(), partition);
            let ends = local.ends(&key)?;
            let lag = status.with(|status| {
                let lag = status.describe(partition, self.now_ms, self.fresh_ms);
                (lag, status.caught_up_at_ms())
            });
            let (lag, caught_up_ms) = lag;
            let source_end = self
                .source_ends
                .as_ref()
                .and_then(|ends| ends.get(usize::try_from(partition).ok()?).copied());
            let high_watermark = source_end.or(lag.source_high_watermark);
            let missing_records = high_watermark.map(|end| (end - ends.end.0).max(0));
            let exact = source_end.is_some() || lag.is_current;
            partitions.push(PartitionRpo {
                partition,
                last_mirrored_offset: Some(ends.end.0 - 1).filter(|_| ends.end > ends.log_start),
                last_mirrored_timestamp_ms: ends.last_timestamp_ms,
                source_high_watermark: high_watermark,
                source_seen_at_ms: source_end.map(|_| self.now_ms).or(lag.seen_at_ms),
                missing_records,
                missing_ms: if exact && missing_records == Some(0) {
                    Some(0)
                } else {
                    caught_up_ms.map(|at| (self.now_ms - at).max(0))
                },
                exact: exact && missing_records.is_some(),
                lost_to_retention: lag.lost_to_retention,
                open_transactions: ends.open_transactions,
            });
        }
        Ok(RpoReport {
            topic: self.record.topic.to_string(),
            link: self.record.link.clone(),
            source_topic: self.record.source_topic.to_string(),
            kind: self.kind,
            made_at_ms: self.now_ms,
            dry_run: self.is_dry_run,
            partitions,
        })
    }
}
