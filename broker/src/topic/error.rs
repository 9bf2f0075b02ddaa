//! Why a topic change is refused.

use carrick_storage::disk::DiskError;
use carrick_storage::log::LogError;

use crate::config::change::ChangeError;
use crate::metadata::MetadataError;

/// Why a topic change is refused. Facts; `api::error` maps them to Kafka's codes.
#[derive(Debug, thiserror::Error)]
pub enum TopicError {
    /// A topic of that name exists.
    #[error("Topic '{0}' already exists.")]
    Exists(String),
    /// Names that differ only in '.' and '_' collide in metrics.
    #[error("Topic '{name}' collides with existing topic: {existing}")]
    Collides {
        /// The new name.
        name: String,
        /// The existing one.
        existing: String,
    },
    /// A name under which Kafka's brokers keep their own state.
    #[error(
        "Creation of internal topic {0} is prohibited: this broker keeps no state in topics, so \
         the topic would stay empty."
    )]
    Internal(String),
    /// No such topic.
    #[error("Topic '{0}' does not exist.")]
    Unknown(String),
    /// The number of partitions is impossible.
    #[error("{0}")]
    InvalidPartitions(String),
    /// More replicas than there can be, or none.
    #[error("{0}")]
    ReplicationFactor(String),
    /// A config's name or value.
    #[error("{0}")]
    InvalidConfig(String),
    /// The topic belongs to a link.
    #[error("Cannot add partitions to read-only mirror topic '{0}': it grows with its source")]
    Mirror(String),
    /// A config that only the link of a mirror changes.
    #[error(
        "Cannot change {config} of read-only mirror topic '{topic}': it is synced from its source"
    )]
    MirrorConfig {
        /// The mirror topic.
        topic: String,
        config: String,
    },
    /// The topic isn't a mirror.
    #[error("'{0}' is not a mirror topic")]
    NotAMirror(String),
    /// The data folder failed.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// A log couldn't be created or opened.
    #[error(transparent)]
    Log(#[from] LogError),
    #[error(transparent)]
    Meta(#[from] MetadataError),
}

impl From<ChangeError> for TopicError {
    fn from(error: ChangeError) -> Self {
        TopicError::InvalidConfig(error.to_string())
    }
}
