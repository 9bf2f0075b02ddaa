//! `KafkaTopic`: local topics, mirrors among them.

use serde::{Deserialize, Serialize};

use super::{ConfigData, Relationship, ResourceMetadata};

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TopicData {
    /// `KafkaTopic`.
    pub kind: String,
    pub metadata: ResourceMetadata,
    /// This cluster's id.
    pub cluster_id: String,
    pub topic_name: String,
    /// Whether it is one of Kafka's own.
    pub is_internal: bool,
    /// Always 1: a Carrick is one node.
    pub replication_factor: i32,
    /// How many partitions it has.
    pub partitions_count: i32,
    pub partitions: Relationship,
    pub configs: Relationship,
    /// Its id in Kafka's base64 form *(own)*.
    pub topic_id: String,
    /// Whether a link fills it *(own)*; clients can only read it then.
    pub is_mirror: bool,
    /// Offsets per partition *(own)*, when one topic is requested; offline ones are left out.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub partition_offsets: Vec<PartitionOffsets>,
    /// Configs that are set on the topic *(own)*, when one topic is requested.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub config_overrides: Vec<ConfigData>,
}

impl TopicData {
    /// `kind` of one topic.
    pub const KIND: &str = "KafkaTopic";
    /// `kind` of the list.
    pub const LIST_KIND: &str = "KafkaTopicList";
}

/// `KafkaPartition`: one partition. There are no links to its replicas: the only one is here.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartitionData {
    /// `KafkaPartition`.
    pub kind: String,
    pub metadata: ResourceMetadata,
    /// This cluster's id.
    pub cluster_id: String,
    /// The topic's name.
    pub topic_name: String,
    pub partition_id: i32,
    /// Its log *(own)*; `null` while it is offline.
    pub offsets: Option<PartitionOffsets>,
}

impl PartitionData {
    /// `kind` of one partition.
    pub const KIND: &str = "KafkaPartition";
    /// `kind` of the list.
    pub const LIST_KIND: &str = "KafkaPartitionList";
}

/// `KafkaTopicConfig`: one config of a topic.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TopicConfigData {
    /// `KafkaTopicConfig`.
    pub kind: String,
    pub metadata: ResourceMetadata,
    /// This cluster's id.
    pub cluster_id: String,
    /// The topic's name.
    pub topic_name: String,
    /// The config's name.
    pub name: String,
    /// The current value; `null` if it is sensitive or there is none.
    pub value: Option<String>,
    /// Whether it is set neither for the topic nor for the broker.
    pub is_default: bool,
    /// Whether it stays as it is until the next start.
    pub is_read_only: bool,
    /// Whether its value is never shown.
    pub is_sensitive: bool,
    /// Where the value comes from, for example `DYNAMIC_TOPIC_CONFIG`.
    pub source: String,
    /// All places that have a value, the current one first.
    pub synonyms: Vec<ConfigSynonymData>,
}

impl TopicConfigData {
    /// `kind` of one config.
    pub const KIND: &str = "KafkaTopicConfig";
    /// `kind` of the list.
    pub const LIST_KIND: &str = "KafkaTopicConfigList";
}

/// A place that gives a config a value.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConfigSynonymData {
    /// The name that the config has there.
    pub name: String,
    /// Its value there.
    pub value: Option<String>,
    /// Which place it is.
    pub source: String,
}

/// Where one partition's log begins and ends.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartitionOffsets {
    pub partition: i32,
    /// First offset that can be read.
    pub log_start_offset: i64,
    /// First offset that consumers do not see yet.
    pub high_watermark: i64,
    /// The offset that the next batch gets.
    pub end_offset: i64,
    /// The leader epoch.
    pub leader_epoch: i32,
    /// Bytes on disk.
    pub size_bytes: u64,
}

/// The body of `POST /topics`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CreateTopicRequest {
    /// The new topic's name.
    pub topic_name: String,
    /// How many partitions; the broker's `num.partitions` when absent.
    #[serde(default)]
    pub partitions_count: Option<i32>,
    /// Positive, or −1 for the broker's default. One is kept; more is refused unless
    /// `replication.factor.clamp`.
    #[serde(default)]
    pub replication_factor: Option<i32>,
    #[serde(default)]
    pub configs: Vec<ConfigData>,
}
