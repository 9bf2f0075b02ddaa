//! Makes RPO reports.
//!
//! A promotion's reports are exact: the source was asked after everything of the mirror had
//! stopped. A failover does not ask the source before it cuts; afterwards, and for a dry run, the
//! source gets a moment to report its ends.

use std::time::Duration;

use carrick_protocol::ids::{TopicName, TopicPartition};

use super::outcome::Outcomes;
use crate::cut::CutStep;
use crate::lookup::{self, Answers};
use crate::ports::{LocalBatches, LocalEnds, TargetError};
use crate::record::MirrorRecord;
use crate::replicator::lag::{LATELY_MS, StatusCell};
use crate::report::{PartitionRpo, RpoReport, SourceReaders, SourceWrites};
use crate::shared::LinkShared;
use crate::state::LinkState;
use crate::tasks::groups::readers::Readers;
use crate::verb::CutKind;

/// How long a source may take to answer before the report is made without it.
const LOOK_MAX: Duration = Duration::from_secs(1);

/// The inputs of a report.
pub(crate) struct Draft {
    record: MirrorRecord,
    statuses: Vec<StatusCell>,
    kind: CutKind,
    is_dry_run: bool,
    now_ms: i64,
    /// Where the source's partitions end, asked while the mirror was held.
    source_ends: Option<Vec<i64>>,
    readers: Option<SourceReaders>,
}

impl Draft {
    /// Of a mirror at this moment.
    pub(crate) fn of(
        shared: &LinkShared,
        record: &MirrorRecord,
        kind: CutKind,
        is_dry_run: bool,
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
            source_ends: None,
            readers: None,
        }
    }

    /// Adds the source's answers.
    pub(crate) fn told(&mut self, ends: Option<Vec<i64>>, readers: Option<&Readers>) {
        self.source_ends = ends;
        self.readers = readers.map(|readers| readers.of_topic(&self.record.topic));
    }

    /// The report. Reads the logs' ends: may wait for a disk. If `is_forced`, it uses the last
    /// known ends of a log that can't be read.
    pub(crate) fn finish(
        self,
        local: &dyn LocalBatches,
        is_forced: bool,
    ) -> Result<RpoReport, TargetError> {
        let mut partitions = Vec::with_capacity(self.statuses.len());
        let mut writes: Option<SourceWrites> = None;
        for (partition, status) in (0..).zip(&self.statuses) {
            let key = TopicPartition::new(self.record.topic.clone(), partition);
            let ends = match local.ends(&key) {
                Ok(ends) => ends,
                Err(_) if is_forced => last_known(status),
                Err(TargetError::Storage(detail)) => {
                    return Err(TargetError::Storage(format!("{key}: {detail}")));
                }
                Err(other) => return Err(other),
            };
            let (seen, seen_at_ms, caught_up_ms, lost_to_retention) = status.with(|status| {
                let seen = status.source_high_watermark.map(|offset| offset.0);
                let caught_up_ms = status.caught_up_at_ms();
                let lost = status.lost_to_retention;
                (seen, status.seen_at_ms(), caught_up_ms, lost)
            });
            let source_end = self
                .source_ends
                .as_ref()
                .and_then(|ends| ends.get(usize::try_from(partition).ok()?).copied());
            let high_watermark = source_end.or(seen);
            let is_seen = source_end.or(seen_at_ms.filter(|at| self.now_ms - at <= LATELY_MS));
            let taken =
                status.with(|status| status.recent_ends.taken(high_watermark?, self.now_ms));
            if let Some((records, over_ms)) = taken.filter(|_| is_seen.is_some()) {
                let all = writes.get_or_insert_default();
                all.records = all.records.saturating_add(records);
                all.over_ms = all.over_ms.max(over_ms);
            }
            let missing_records = high_watermark.map(|end| (end - ends.end.0).max(0));
            let exact = source_end.is_some();
            partitions.push(PartitionRpo {
                partition,
                mirror_end: ends.end.0,
                last_mirrored_offset: Some(ends.end.0 - 1).filter(|_| ends.end > ends.log_start),
                last_mirrored_timestamp_ms: ends.last_timestamp_ms,
                source_high_watermark: high_watermark,
                source_seen_at_ms: source_end.map(|_| self.now_ms).or(seen_at_ms),
                missing_records,
                missing_ms: if exact && missing_records == Some(0) {
                    Some(0)
                } else {
                    caught_up_ms.map(|at| (self.now_ms - at).max(0))
                },
                exact,
                lost_to_retention,
                open_transactions: ends.open_transactions,
            });
        }
        Ok(RpoReport {
            dry_run: self.is_dry_run,
            partitions,
            readers: self.readers,
            writes,
            ..RpoReport::new(&self.record, self.kind, self.now_ms)
        })
    }
}

fn last_known(status: &StatusCell) -> LocalEnds {
    status.with(|status| LocalEnds {
        log_start: status.mirror_start,
        end: status.mirror_end,
        ..LocalEnds::default()
    })
}

/// The source's answer about mirrors, given after `asked_at_ms`.
pub(crate) struct Sight {
    asked_at_ms: i64,
    answers: Answers,
}

impl Sight {
    /// What it has just reported.
    pub(super) fn new(asked_at_ms: i64, answers: Answers) -> Self {
        Self {
            asked_at_ms,
            answers,
        }
    }

    /// Asks the source if it answered a moment ago; otherwise knows nothing.
    pub(crate) async fn of(shared: &LinkShared, topics: &[TopicName]) -> Self {
        let asked_at_ms = shared.now_ms();
        let is_well = shared.inner().state == LinkState::Active;
        let asking = tokio::time::timeout(LOOK_MAX, lookup::ask(shared, topics));
        let answers = match is_well {
            true => asking.await.ok().and_then(Result::ok),
            false => None,
        };
        Self::new(asked_at_ms, answers.unwrap_or_default())
    }

    /// Puts what was seen into a mirror's report; it is exact if mirroring had ended before the
    /// source was asked. False if nothing of it was seen.
    pub(crate) fn tell(&self, topic: &TopicName, report: &mut RpoReport, is_at_end: bool) -> bool {
        let Some(answer) = self.answers.get(topic) else {
            return false;
        };
        report.source_problem = answer.problem();
        report.unmirrored.clone_from(&answer.unmirrored);
        for (partition, end) in report.partitions.iter_mut().zip(&answer.ends) {
            let Some(end) = end else { continue };
            if *end < partition.mirror_end {
                report.source_problem.get_or_insert_with(|| {
                    format!(
                        "partition {} ends at {end} at the source, before its mirror: the source \
                         has lost records, or the topic was recreated",
                        partition.partition
                    )
                });
                continue;
            }
            partition.source_high_watermark = Some(*end);
            partition.source_seen_at_ms = Some(self.asked_at_ms);
            partition.missing_records = Some(end - partition.mirror_end);
            partition.exact = is_at_end;
            if is_at_end && *end == partition.mirror_end {
                partition.missing_ms = Some(0);
            }
        }
        true
    }
}

/// After a failover: asks the source where it ends, and stores the reports that become exact. The
/// caller holds `change`.
pub(crate) async fn make_exact(shared: &LinkShared, outcomes: &mut Outcomes) {
    let cut: Vec<TopicName> = outcomes
        .iter()
        .filter(|(_, outcome)| matches!(outcome, Ok(Some(_))))
        .map(|(topic, _)| topic.clone())
        .collect();
    let sight = Sight::of(shared, &cut).await;
    let mut exact = Vec::new();
    for (topic, outcome) in outcomes.iter() {
        let Ok(Some(report)) = outcome else { continue };
        let mut report = report.clone();
        if sight.tell(topic, &mut report, true) {
            exact.push((topic.clone(), report));
        }
    }
    if exact.is_empty() {
        return;
    }
    let kept: Vec<RpoReport> = exact.iter().map(|(_, report)| report.clone()).collect();
    let saved = shared.blocking(move |ports| ports.store.save_reports(&kept));
    match saved.await {
        Ok(Ok(())) => {
            CutStep::ReportExact.reached();
            let exact = exact.into_iter();
            outcomes.extend(exact.map(|(topic, report)| (topic, Ok(Some(report)))));
        }
        Ok(Err(error)) => {
            tracing::warn!(link = %shared.name, %error, "the reports stay inexact");
        }
        // The broker is stopping.
        Err(_) => {}
    }
}
