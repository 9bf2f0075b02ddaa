//! Links and mirrors as they are shown. Plain values, for JSON.

use std::fmt;

use serde::Serialize;

use crate::groups::GroupCounts;
use crate::report::RpoReport;
use crate::state::{LinkErrorCode, LinkState, MirrorError, MirrorStatus, TaskErrorCode, TaskState};

/// A link, as `describe` shows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LinkDescription {
    pub name: String,
    pub link_id: String,
    /// The source's cluster id, `None` until it was reached for the first time.
    pub source_cluster_id: Option<String>,
    pub bootstrap: String,
    pub state: LinkState,
    /// Why it is `UNAVAILABLE` or `FAILED`.
    pub error: LinkErrorCode,
    /// The same in words, with the steps that are open; empty without an error.
    pub error_detail: String,
    /// Other problems: partitions that can't be written here, metadata that a source which answers does
    /// not give.
    pub problem: Option<String>,
    /// Since when it is in that state, milliseconds since the epoch.
    pub since_ms: i64,
    /// When the source last answered, milliseconds since the epoch; `None` if it never did.
    pub source_seen_at_ms: Option<i64>,
    /// When it was created, milliseconds since the epoch.
    pub created_ms: i64,
    /// How many mirrors it has that are not stopped.
    pub mirror_count: usize,
    /// Its mirror topics by name, the stopped ones included.
    pub topics: Vec<String>,
    /// The groups whose offsets it syncs, or has synced.
    pub groups: GroupCounts,
    pub tasks: Vec<TaskDescription>,
    /// The partitions of all its mirrors that are not stopped, together.
    pub lag: LagSummary,
    /// What the source holds beyond the cuts of its stopped mirrors, topic by topic; topics that were
    /// not checked yet are left out.
    pub beyond_cuts: Vec<BeyondCuts>,
}

/// What the source holds of one topic beyond its mirror's cut.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct BeyondCuts {
    /// The topic here.
    pub topic: String,
    pub records: i64,
    /// When that was true, milliseconds since the epoch.
    pub seen_at_ms: i64,
}

/// One periodic task of a link.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct TaskDescription {
    /// `TopicConfigsSync`, …
    pub name: String,
    pub state: TaskState,
    /// Why it is `IN_ERROR`.
    pub error: TaskErrorCode,
    /// The same in words; empty without an error.
    pub error_detail: String,
    /// A note of the last run though it went well; mostly empty.
    pub note: String,
    /// Since when, milliseconds since the epoch.
    pub since_ms: i64,
    /// When it last ran, milliseconds since the epoch.
    pub last_run_ms: Option<i64>,
}

/// A mirror, as `describe` shows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct MirrorDescription {
    pub link: String,
    /// The topic here.
    pub topic: String,
    /// The topic at the source.
    pub source_topic: String,
    /// The source topic's id, `None` if the source has none.
    pub source_topic_id: Option<String>,
    pub num_partitions: i32,
    pub status: MirrorStatus,
    /// Since when, milliseconds since the epoch.
    pub status_since_ms: i64,
    /// Why it is `FAILED`; `UNKNOWN` in other states if a partition can't be written here.
    pub error: MirrorError,
    /// The same in words; empty without an error.
    pub error_detail: String,
    /// Why the last promotion or failover since the start didn't cut the mirror; `None` while one
    /// is in progress.
    pub stop_error: Option<String>,
    /// What can be done from here: `resume`, `failover`, ….
    pub next_steps: Vec<String>,
    /// When it was created, milliseconds since the epoch.
    pub created_ms: i64,
    /// Every partition, ascending; none once it is stopped.
    pub lags: Vec<PartitionLag>,
    /// All of them together.
    pub lag: LagSummary,
    /// Records that the source was last seen to hold beyond the cut; `None` while the mirror is not cut,
    /// or before the first check.
    pub records_beyond_cut: Option<i64>,
    /// Always-synced configs that are set on the topic here because this broker's defaults differ from
    /// the source's values; also once it is stopped.
    pub kept_configs: Vec<KeptConfig>,
}

/// A config that is set on a topic here so that its value is the source's.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct KeptConfig {
    pub name: String,
    pub value: String,
    /// The value that it would have otherwise.
    pub default: String,
}

impl fmt::Display for KeptConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            name,
            value,
            default,
        } = self;
        write!(f, "{name}={value} (default here: {default})")
    }
}

/// How far one mirror partition is behind its source.
///
/// With the source away, `lag_records` is what was known at `seen_at_ms`: a lower bound, and
/// `is_current` is false. The same is true of `lag_bytes_estimate`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PartitionLag {
    pub partition: i32,
    /// Source high watermark − mirror end, in offsets; `None` if the source was not seen since the
    /// start.
    pub lag_records: Option<i64>,
    /// Upper bound for the age of the first record that the mirror lacks, milliseconds; 0 while it
    /// lacks none. It is no older than the time at which the mirror last held everything that the
    /// source had, nor than the timestamp of the last record here; `None` while neither is known.
    pub lag_ms: Option<i64>,
    /// About how many bytes `lag_records` take: the size of recent records times their number. The
    /// source doesn't report it. `None` if nothing was fetched since the start.
    pub lag_bytes_estimate: Option<u64>,
    /// The source has recently answered a fetch of this partition: the figures are current.
    pub is_current: bool,
    /// The offset that the last answered fetch asked for.
    pub last_source_fetch_offset: Option<i64>,
    /// The source's high watermark as last seen.
    pub source_high_watermark: Option<i64>,
    /// The source's log start as last seen.
    pub source_log_start: Option<i64>,
    /// The mirror's log start.
    pub mirror_start: i64,
    /// The end of the mirror.
    pub mirror_end: i64,
    /// When the source last answered a fetch of this partition, milliseconds since the epoch.
    pub seen_at_ms: Option<i64>,
    /// Bytes appended since the start.
    pub bytes_total: u64,
    /// Records (offsets) that the source deleted before they could be mirrored, since the start.
    pub lost_to_retention: i64,
    /// The node that leads it at the source, `None` while there is none.
    pub source_leader: Option<i32>,
    /// The node that it is fetched from: the leader, or a replica nearby (KIP-392).
    pub source_replica: Option<i32>,
    /// What went wrong last, if it goes wrong now; retried.
    pub problem: Option<String>,
    /// The problem lies here: the partition can't be written.
    pub is_blocked: bool,
}

/// How far the partitions of a mirror, or of all mirrors of a link, are behind.
///
/// Largest values and sums cover only partitions of which something is known, `None` if there are
/// none. They are lower bounds unless `unknown_partitions` is 0.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct LagSummary {
    pub partitions: usize,
    /// How many of them have an unknown lag at present.
    pub unknown_partitions: usize,
    /// Since when the first of them has been unknown, milliseconds since the epoch; `None` if all
    /// are known, or if the unknown ones have never been known.
    pub unknown_since_ms: Option<i64>,
    /// The largest lag, records.
    pub records_max: Option<i64>,
    /// All lags, records.
    pub records_total: Option<i64>,
    /// The largest lag, bytes, estimated.
    pub bytes_estimate_max: Option<u64>,
    /// All lags, bytes, estimated.
    pub bytes_estimate_total: Option<u64>,
    /// The largest lag, milliseconds.
    pub ms_max: Option<i64>,
}

impl LagSummary {
    /// Of these partitions.
    pub fn of<'a>(lags: impl IntoIterator<Item = &'a PartitionLag>) -> Self {
        let mut summary = Self::default();
        for lag in lags {
            summary.add(lag);
        }
        summary
    }

    /// Takes in one more partition.
    pub fn add(&mut self, lag: &PartitionLag) {
        self.partitions += 1;
        if !lag.is_current || lag.lag_records.is_none() {
            self.unknown_partitions += 1;
            self.unknown_since_ms = match (self.unknown_since_ms, lag.seen_at_ms) {
                (Some(first), Some(seen)) => Some(first.min(seen)),
                (first, seen) => first.or(seen),
            };
        }
        self.records_max = self.records_max.max(lag.lag_records);
        self.bytes_estimate_max = self.bytes_estimate_max.max(lag.lag_bytes_estimate);
        self.ms_max = self.ms_max.max(lag.lag_ms);
        if let Some(records) = lag.lag_records {
            let total = self.records_total.unwrap_or(0);
            self.records_total = Some(total.saturating_add(records));
        }
        if let Some(bytes) = lag.lag_bytes_estimate {
            let total = self.bytes_estimate_total.unwrap_or(0);
            self.bytes_estimate_total = Some(total.saturating_add(bytes));
        }
    }
}

/// What became of one topic of an alter request.
#[derive(Debug)]
pub struct MirrorOutcome {
    /// The mirror topic.
    pub topic: String,
    /// Its state afterwards (unchanged by a dry run), or why it was refused.
    pub result: Result<MirrorDescription, crate::error::LinkError>,
    /// For promote and failover: what was, or would be, lost.
    pub report: Option<RpoReport>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lag(lag_records: Option<i64>, is_current: bool, seen_at_ms: Option<i64>) -> PartitionLag {
        PartitionLag {
            partition: 0,
            lag_records,
            lag_ms: lag_records.map(|records| records * 10),
            lag_bytes_estimate: lag_records.map(|records| records.unsigned_abs() * 100),
            is_current,
            last_source_fetch_offset: None,
            source_high_watermark: None,
            source_log_start: None,
            mirror_start: 0,
            mirror_end: 0,
            seen_at_ms,
            bytes_total: 0,
            lost_to_retention: 0,
            source_leader: None,
            source_replica: None,
            problem: None,
            is_blocked: false,
        }
    }

    #[test]
    fn partitions_that_are_all_known_add_up() {
        let summary = LagSummary::of(&[lag(Some(3), true, Some(9)), lag(Some(4), true, Some(9))]);
        let expected = LagSummary {
            partitions: 2,
            records_max: Some(4),
            records_total: Some(7),
            bytes_estimate_max: Some(400),
            bytes_estimate_total: Some(700),
            ms_max: Some(40),
            ..LagSummary::default()
        };
        assert_eq!(summary, expected);
    }

    #[test]
    fn one_that_is_not_known_makes_the_sum_a_lower_bound() {
        let summary = LagSummary::of(&[
            lag(Some(3), false, Some(8)),
            lag(Some(4), false, Some(5)),
            lag(None, false, None),
            lag(Some(0), true, Some(9)),
        ]);
        assert_eq!((summary.partitions, summary.unknown_partitions), (4, 3));
        assert_eq!(summary.unknown_since_ms, Some(5));
        assert_eq!(summary.records_total, Some(7));
        assert_eq!(LagSummary::of(&[lag(None, false, None)]).records_max, None);
    }
}

/// What became of one topic that was to be mirrored.
#[derive(Debug)]
pub struct MirrorCreation {
    /// The topic at the source.
    pub source_topic: String,
    /// Its name here.
    pub topic: String,
    /// The mirror (as it would begin, if nothing was to be created), or why it was refused.
    pub result: Result<MirrorDescription, crate::error::LinkError>,
}
