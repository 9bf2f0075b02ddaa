//! `KafkaLinkData` and `KafkaLinkConfigData`: a link and its configs.

use carrick_link::report::RpoReport;
use serde::{Deserialize, Serialize};

use super::group::GroupCountsData;
use super::mirror::LagSummaryData;
use super::{ConfigData, ResourceMetadata};

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LinkData {
    /// `KafkaLinkData`.
    pub kind: String,
    pub metadata: ResourceMetadata,
    /// The source's cluster id, once known.
    pub source_cluster_id: Option<String>,
    /// This cluster's id.
    pub destination_cluster_id: Option<String>,
    /// The source's cluster id again, under its newer name.
    pub remote_cluster_id: Option<String>,
    pub link_name: String,
    /// Its id, under the name that older clients require.
    pub link_id: String,
    pub cluster_link_id: String,
    /// The mirror topics that it owns.
    pub topic_names: Vec<String>,
    /// `ACTIVE`, `PAUSED`, `UNAVAILABLE` or `FAILED`.
    pub link_state: String,
    /// `NO_ERROR` or the cause, for example `TIMEOUT_ERROR`.
    pub link_error: String,
    /// The cause in words.
    pub link_error_message: Option<String>,
    /// Other problems *(own)*: partitions that can't be written here, for example.
    #[serde(default)]
    pub problem: Option<String>,
    /// Its periodic tasks, with `include_tasks=true`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tasks: Option<Vec<LinkTask>>,
    /// Since when it is in this state *(own)*.
    pub link_state_time_ms: i64,
    /// The source's addresses as configured *(own)*.
    pub bootstrap_servers: String,
    /// When the source last answered *(own)*; `null` if not since the start.
    pub source_seen_time_ms: Option<i64>,
    /// The partitions of all its mirrors that are not stopped, together *(own)*.
    #[serde(default)]
    pub lag_summary: LagSummaryData,
    /// What the source holds beyond the cuts of its mirrors that are stopped *(own)*.
    #[serde(default)]
    pub beyond_cuts: Vec<BeyondCutData>,
    /// The groups whose offsets it syncs, or has synced *(own)*.
    #[serde(default)]
    pub group_counts: GroupCountsData,
}

impl LinkData {
    /// `kind` of one link.
    pub const KIND: &str = "KafkaLinkData";
    /// `kind` of the list.
    pub const LIST_KIND: &str = "KafkaLinkDataList";
}

/// What the source holds of one topic beyond its mirror's cut: nothing mirrors it any more.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BeyondCutData {
    /// The topic here.
    pub topic_name: String,
    pub records: i64,
    /// When that was true.
    pub seen_time_ms: i64,
}

/// The answer to `DELETE /links/{link}`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LinkDeletion {
    /// The reports of the mirrors that `force` has failed over.
    pub reports: Vec<RpoReport>,
    /// The groups that the link made under a prefix *(own)*: they stay, with their offsets.
    #[serde(default)]
    pub prefixed_groups: Vec<String>,
}

/// One periodic task of a link.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LinkTask {
    /// For example `TopicConfigsSync`.
    pub task_name: String,
    /// `ACTIVE`, `IN_ERROR`, `NOT_CONFIGURED`, `LINK_PAUSED`, `LINK_UNAVAILABLE` or `LINK_FAILED`.
    pub state: String,
    /// What is wrong; empty when nothing is.
    pub errors: Vec<LinkTaskError>,
    /// A note of the last run though nothing is wrong *(own)*.
    #[serde(default)]
    pub note: Option<String>,
    /// Since when it is in this state *(own)*.
    pub since_ms: i64,
}

/// What is wrong with a task.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LinkTaskError {
    /// For example `AUTHORIZATION_ERROR`.
    pub error_code: String,
    /// The cause in words.
    pub error_message: String,
}

/// The body of `POST /links`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CreateLinkRequest {
    /// The id that the source must have; anything else is refused.
    #[serde(default)]
    pub source_cluster_id: Option<String>,
    /// The same under its newer name.
    #[serde(default)]
    pub remote_cluster_id: Option<String>,
    /// The link's configs.
    #[serde(default)]
    pub configs: Vec<ConfigData>,
}

/// One config of a link.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LinkConfigData {
    /// `KafkaLinkConfigData`.
    pub kind: String,
    pub metadata: ResourceMetadata,
    /// This cluster's id.
    pub cluster_id: String,
    pub name: String,
    /// Its value; empty when it is sensitive.
    pub value: String,
    /// Whether it is not set.
    pub is_default: bool,
    /// Whether it is fixed at creation.
    pub is_read_only: bool,
    /// Whether its value is never shown.
    pub is_sensitive: bool,
    /// `is_default` under the name that older clients require.
    pub default: bool,
    /// `is_read_only` under the name that older clients require.
    pub read_only: bool,
    /// `is_sensitive` under the name that older clients require.
    pub sensitive: bool,
    /// `DYNAMIC_CLUSTER_LINK_CONFIG` or `DEFAULT_CONFIG`.
    pub source: String,
    /// Always empty.
    pub synonyms: Vec<String>,
    /// The link that it belongs to.
    pub link_name: String,
}

impl LinkConfigData {
    /// `kind` of one config.
    pub const KIND: &str = "KafkaLinkConfigData";
    /// `kind` of the list.
    pub const LIST_KIND: &str = "KafkaLinkConfigDataList";
}

/// The body of `PUT /links/{link}/configs/{name}`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UpdateLinkConfigRequest {
    /// The new value.
    pub value: String,
}
