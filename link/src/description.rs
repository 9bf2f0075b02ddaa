//! Links and mirrors as they are shown. Plain values, for JSON.

use serde::Serialize;

use crate::report::RpoReport;
use crate::state::{LinkErrorCode, LinkState, MirrorError, MirrorStatus, TaskErrorCode, TaskState};

/// A link, as `describe` shows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LinkDescription {
    /// Its name.
    pub name: String,
    /// Its id.
    pub link_id: String,
    /// The source's cluster id, `None` until it was reached for the first time.
    pub source_cluster_id: Option<String>,
    /// `bootstrap.servers`.
    pub bootstrap: String,
    /// State.
    pub state: LinkState,
    /// Why it is `UNAVAILABLE` or `FAILED`.
    pub error: LinkErrorCode,
    /// The same in words, with the steps that are open; empty without an error.
    pub error_detail: String,
    /// Since when it is in that state, milliseconds since the epoch.
    pub since_ms: i64,
    /// When the source last answered, milliseconds since the epoch; `None` if not since the start.
    pub source_seen_at_ms: Option<i64>,
    /// When it was created, milliseconds since the epoch.
    pub created_ms: i64,
    /// How many mirrors it has that are not stopped.
    pub mirror_count: usize,
    /// Its mirror topics by name, the stopped ones included.
    pub topics: Vec<String>,
    /// Its periodic tasks.
    pub tasks: Vec<TaskDescription>,
}

/// One periodic task of a link.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct TaskDescription {
    /// `TopicConfigsSync`, …
    pub name: String,
    /// State.
    pub state: TaskState,
    /// Why it is `IN_ERROR`.
    pub error: TaskErrorCode,
    /// The same in words; empty without an error.
    pub error_detail: String,
    /// Since when, milliseconds since the epoch.
    pub since_ms: i64,
    /// When it last ran, milliseconds since the epoch.
    pub last_run_ms: Option<i64>,
}

/// A mirror, as `describe` shows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct MirrorDescription {
    /// Its link.
    pub link: String,
    /// The topic here.
    pub topic: String,
    /// The topic at the source.
    pub source_topic: String,
    /// The source topic's id, `None` if the source has none.
    pub source_topic_id: Option<String>,
    /// How many partitions.
    pub num_partitions: i32,
    /// Status.
    pub status: MirrorStatus,
    /// Since when, milliseconds since the epoch.
    pub status_since_ms: i64,
    /// Why it is `FAILED`.
    pub error: MirrorError,
    /// The same in words; empty without an error.
    pub error_detail: String,
    /// What can be done from here: `resume`, `failover`, ….
    pub next_steps: Vec<String>,
    /// When it was created, milliseconds since the epoch.
    pub created_ms: i64,
    /// Every partition, ascending.
    pub lags: Vec<PartitionLag>,
}

/// How far one mirror partition is behind its source.
///
/// With the source away, `lag_records` is what was known at `seen_at_ms`: a lower bound, and
/// `is_current` is false.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PartitionLag {
    /// Partition index.
    pub partition: i32,
    /// Source high watermark − mirror end, in offsets; `None` if the source was not seen since the
    /// start.
    pub lag_records: Option<i64>,
    /// Milliseconds since the mirror last held everything that the source had; 0 while it does;
    /// `None` if it never did since the start.
    pub lag_ms: Option<i64>,
    /// The source answered a fetch of this partition lately: the figures are current.
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
    /// Records (offsets) that the source had deleted before they could be mirrored, since the
    /// start.
    pub lost_to_retention: i64,
    /// The node that leads it at the source, `None` while there is none.
    pub source_leader: Option<i32>,
    /// What went wrong last, if it goes wrong now; retried.
    pub problem: Option<String>,
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
