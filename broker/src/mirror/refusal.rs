//! Refusals of topics, in the link's words.

use carrick_link::ports::CatalogError;
use carrick_protocol::ids::TopicName;

use crate::topic::TopicError;

/// Why something about that topic is refused.
pub(super) fn refused(topic: &TopicName, error: TopicError) -> CatalogError {
    match error {
        TopicError::Exists(_) => CatalogError::TopicExists(topic.clone()),
        TopicError::Unknown(_) => CatalogError::NoSuchTopic(topic.clone()),
        TopicError::NotAMirror(_) => CatalogError::NotAMirror(topic.clone()),
        TopicError::Collides { .. }
        | TopicError::Internal(_)
        | TopicError::InvalidPartitions(_)
        | TopicError::ReplicationFactor(_)
        | TopicError::InvalidConfig(_)
        | TopicError::Mirror(_)
        | TopicError::MirrorConfig { .. } => CatalogError::Invalid(error.to_string()),
        TopicError::Disk(_) | TopicError::Log(_) | TopicError::Meta(_) => {
            CatalogError::Storage(error.to_string())
        }
    }
}
