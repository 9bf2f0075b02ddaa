//! `KafkaMirrorData` and the answers of `:promote`, `:failover`, `:pause`, `:resume` and
//! `:cancel-promote`.

use carrick_link::description::LagSummary;
use carrick_link::report::RpoReport;
use serde::{Deserialize, Serialize};

use super::{ConfigData, ResourceMetadata};

/// One mirror topic.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MirrorData {
    /// `KafkaMirrorData`.
    pub kind: String,
    pub metadata: ResourceMetadata,
    pub link_name: String,
    /// The topic here.
    pub mirror_topic_name: String,
    /// The topic at the source.
    pub source_topic_name: String,
    /// How many partitions.
    pub num_partitions: i32,
    /// How far each partition is behind.
    pub mirror_lags: Vec<MirrorLag>,
    /// `ACTIVE`, `PAUSED`, `SOURCE_UNAVAILABLE`, `FAILED`, `STOPPED`, …
    pub mirror_status: String,
    /// Since when.
    pub state_time_ms: i64,
    /// `NO_ERROR` or the cause, for example `SOURCE_TOPIC_MAY_BE_DELETED`.
    pub mirror_topic_error: String,
    /// The cause in words *(own)*.
    pub mirror_topic_error_message: Option<String>,
    /// Why the last promotion or failover since the broker's start did not end the mirror *(own)*;
    /// `null` while one is in progress.
    #[serde(default)]
    pub stop_error_message: Option<String>,
    /// What can be done from here *(own)*.
    pub next_steps: Vec<String>,
    /// The source topic's id in Kafka's base64 form, if it has one *(own)*.
    pub source_topic_id: Option<String>,
    /// All its partitions together *(own)*; of no partition once it is `STOPPED`.
    #[serde(default)]
    pub lag_summary: LagSummaryData,
    /// Configs that are set on the topic because this broker's defaults differ from the source's
    /// values *(own)*; also once it is `STOPPED`.
    #[serde(default)]
    pub kept_configs: Vec<KeptConfigData>,
}

/// A config that is set on a mirror topic so that its value is the source's.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeptConfigData {
    pub name: String,
    pub value: String,
    /// The value that it would have otherwise.
    pub default_value: String,
}

impl MirrorData {
    /// `kind` of one mirror.
    pub const KIND: &str = "KafkaMirrorData";
    /// `kind` of the list.
    pub const LIST_KIND: &str = "KafkaMirrorDataList";
}

/// How far one partition is behind its source.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MirrorLag {
    pub partition: i32,
    /// Records that the mirror lacks; `null` while that is unknown, because the source does not
    /// answer.
    pub lag: Option<i64>,
    /// Records that the mirror lacks at least: what the source was last seen to hold *(own)*.
    pub lag_at_least: Option<i64>,
    /// Since when `lag` is unknown *(own)*; `null` while it is known, or was never known.
    pub unknown_since_ms: Option<i64>,
    /// The offset that the last answered fetch asked for.
    pub last_source_fetch_offset: Option<i64>,
    /// Duration in ms: the age that the first record that the mirror lacks has at most, as far as
    /// it is known; 0 while it lacks none *(own)*.
    pub lag_ms: Option<i64>,
    /// About how many bytes the mirror lacks, estimated from the size of its recent records,
    /// because the source does not report it; `null` while unknown *(own)*.
    pub lag_bytes_estimate: Option<u64>,
    /// The same of what the source was last seen to hold *(own)*.
    pub lag_bytes_estimate_at_least: Option<u64>,
    /// The source's log start as last seen *(own)*.
    pub source_log_start_offset: Option<i64>,
    /// The source's high watermark as last seen *(own)*.
    pub source_high_watermark: Option<i64>,
    /// When the source last answered for this partition *(own)*.
    pub source_seen_time_ms: Option<i64>,
    /// Where the mirror's log begins *(own)*.
    pub mirror_log_start_offset: i64,
    /// Where the mirror's log ends *(own)*.
    pub mirror_end_offset: i64,
    /// Bytes mirrored since the broker's start *(own)*.
    pub mirrored_bytes: u64,
    /// Records that the source deleted before they could be mirrored, since the start *(own)*.
    pub records_lost_to_retention: i64,
    /// The node that leads the partition at the source *(own)*.
    pub source_leader_id: Option<i32>,
    /// The node that the partition is fetched from, the leader or a replica nearby *(own)*.
    #[serde(default)]
    pub source_replica_id: Option<i32>,
    /// What goes wrong at present *(own)*; it is retried.
    pub problem: Option<String>,
}

/// How far the partitions of a mirror, or of all mirrors of a link, are behind *(own)*.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LagSummaryData {
    /// How many partitions.
    pub partitions: usize,
    /// How many of them have an unknown lag at present.
    pub unknown_partitions: usize,
    /// Since when the first of those is not known.
    pub unknown_since_ms: Option<i64>,
    /// The largest lag in records; `null` while one is not known.
    pub lag_max: Option<i64>,
    /// The largest lag at least.
    pub lag_max_at_least: Option<i64>,
    /// All lags in records; `null` while one is not known.
    pub lag_total: Option<i64>,
    /// All lags at least.
    pub lag_total_at_least: Option<i64>,
    /// The largest lag in bytes, estimated; `null` while one is not known.
    pub lag_bytes_estimate_max: Option<u64>,
    /// All lags in bytes, estimated; `null` while one is not known.
    pub lag_bytes_estimate_total: Option<u64>,
    /// All lags in bytes, estimated, at least.
    pub lag_bytes_estimate_total_at_least: Option<u64>,
    /// The largest `lag_ms`, a duration.
    pub lag_ms_max: Option<i64>,
}

impl From<&LagSummary> for LagSummaryData {
    fn from(lag: &LagSummary) -> Self {
        let is_known = lag.unknown_partitions == 0;
        LagSummaryData {
            partitions: lag.partitions,
            unknown_partitions: lag.unknown_partitions,
            unknown_since_ms: lag.unknown_since_ms,
            lag_max: lag.records_max.filter(|_| is_known),
            lag_max_at_least: lag.records_max,
            lag_total: lag.records_total.filter(|_| is_known),
            lag_total_at_least: lag.records_total,
            lag_bytes_estimate_max: lag.bytes_estimate_max.filter(|_| is_known),
            lag_bytes_estimate_total: lag.bytes_estimate_total.filter(|_| is_known),
            lag_bytes_estimate_total_at_least: lag.bytes_estimate_total,
            lag_ms_max: lag.ms_max,
        }
    }
}

/// The body of `POST /links/{link}/mirrors`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CreateMirrorRequest {
    /// The topic at the source.
    pub source_topic_name: String,
    /// Its name here, if it differs.
    #[serde(default)]
    pub mirror_topic_name: Option<String>,
    /// Positive, or −1 for the broker's default. One is kept; more is refused unless
    /// `replication.factor.clamp`.
    #[serde(default)]
    pub replication_factor: Option<i32>,
    /// `mirror.start.offset.spec`, and topic configs that are not always synced.
    #[serde(default)]
    pub configs: Vec<ConfigData>,
}

/// The body of `:promote` and its kind: exactly one of the three.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AlterMirrorsRequest {
    /// These mirrors.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mirror_topic_names: Option<Vec<String>>,
    /// The mirrors whose whole name matches this regular expression.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mirror_topic_name_pattern: Option<String>,
    /// Every mirror of the link that is not stopped (`:cancel-promote`: that is being promoted)
    /// *(own)*.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub all: bool,
}

/// The outcome for one mirror.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AlterMirrorData {
    /// `AlterMirrorsData`.
    pub kind: String,
    /// The mirror's address.
    pub metadata: ResourceMetadata,
    /// The topic here.
    pub mirror_topic_name: String,
    /// `null`, or why this one was refused.
    pub error_code: Option<i32>,
    /// The same in words.
    pub error_message: Option<String>,
    /// How far each partition is (was) behind.
    pub mirror_lags: Vec<MirrorLag>,
    /// Always `null`: nothing is truncated.
    pub messages_truncated: Option<i64>,
    /// Always empty.
    pub partition_level_truncation_data: Vec<()>,
    /// Its status now *(own)*: `PENDING_STOPPED` while a promotion or failover is in progress;
    /// `null` when it was refused.
    pub mirror_status: Option<String>,
    /// What was, or with `validate_only` would be, lost *(own)*: for promote and failover, once they
    /// have ended.
    pub report: Option<RpoReport>,
}

impl AlterMirrorData {
    /// `kind` of one outcome.
    pub const KIND: &str = "AlterMirrorsData";
}
