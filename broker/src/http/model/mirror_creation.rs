//! The body and the answer of `:create`, Carrick's own.

use serde::{Deserialize, Serialize};

use super::{ConfigData, ResourceMetadata};

/// The body of `POST /links/{link}/mirrors:create`: exactly one of the first three.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CreateMirrorsRequest {
    /// These topics of the source.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source_topic_names: Option<Vec<String>>,
    /// The source's topics whose whole name matches this regular expression.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source_topic_name_pattern: Option<String>,
    /// Every topic of the source. This and a pattern leave out internal topics and those that the
    /// link mirrors already.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub all: bool,
    /// Of every mirror: `mirror.start.offset.spec`, and topic configs that are not synced.
    #[serde(default)]
    pub configs: Vec<ConfigData>,
}

/// The outcome for one topic.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CreateMirrorsData {
    /// `CreateMirrorsData`.
    pub kind: String,
    /// The mirror's address.
    pub metadata: ResourceMetadata,
    /// The topic at the source.
    pub source_topic_name: String,
    /// Its name here.
    pub mirror_topic_name: String,
    /// `null`, or why it was refused.
    pub error_code: Option<i32>,
    /// The same in words.
    pub error_message: Option<String>,
    /// How many partitions; `null` when it was refused.
    pub num_partitions: Option<i32>,
    /// The mirror's status; `null` when it was refused.
    pub mirror_status: Option<String>,
}

impl CreateMirrorsData {
    /// `kind` of one outcome.
    pub const KIND: &str = "CreateMirrorsData";
    /// `kind` of all.
    pub const LIST_KIND: &str = "CreateMirrorsDataList";
}
