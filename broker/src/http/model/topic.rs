//! `KafkaTopic`: local topics, mirrors among them.

use serde::{Deserialize, Serialize};

use super::{ConfigData, Relationship, ResourceMetadata};

/// One topic.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TopicData {
    /// `KafkaTopic`.
    pub kind: String,
    /// Its address.
    pub metadata: ResourceMetadata,
    /// This cluster's id.
    pub cluster_id: String,
    /// Its name.
    pub topic_name: String,
    /// Whether it is one of Kafka's own.
    pub is_internal: bool,
    /// Always 1: a Carrick is one node.
    pub replication_factor: i32,
    /// How many partitions it has.
    pub partitions_count: i32,
    /// Its partitions.
    pub partitions: Relationship,
    /// Its configs.
    pub configs: Relationship,
    /// Its reassignments.
    pub partition_reassignments: Relationship,
    /// Its id in Kafka's base64 form *(own)*.
    pub topic_id: String,
    /// Whether a link fills it *(own)*; clients can only read it then.
    pub is_mirror: bool,
    /// Offsets per partition *(own)*, when one topic is asked for; offline ones are left out.
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

/// Where one partition's log begins and ends.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartitionOffsets {
    /// The partition.
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
    /// Its configs.
    #[serde(default)]
    pub configs: Vec<ConfigData>,
}
