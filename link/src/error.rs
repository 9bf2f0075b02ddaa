//! Why the [`crate::manager::LinkManager`] refused or failed a request.

use carrick_protocol::ids::TopicName;

use crate::config::ConfigError;
use crate::ports::{CatalogError, StoreError, TargetError};
use crate::record::LinkName;
use crate::source::{FaultKind, SourceError};
use crate::state::{LinkErrorCode, MirrorStatus};

/// A refusal or failure, as a fact. Its text names the cause and, where there is one, the way out.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LinkError {
    /// No link of that name.
    #[error("link '{0}' does not exist")]
    NoSuchLink(String),
    /// A second link of that name.
    #[error("link '{0}' already exists")]
    LinkExists(LinkName),
    /// That is no name for a link, topic or pattern: why.
    #[error("{0}")]
    InvalidName(String),
    /// A config that can't be: which, and why.
    #[error("config '{name}': {reason}")]
    InvalidConfig {
        name: String,
        /// Why it was refused.
        reason: String,
    },
    /// The link can't be deleted while it has mirrors.
    #[error(
        "link '{link}' still has {count} mirror topic(s): promote or fail them over first, or \
         delete it with --fail-over-mirrors (in REST force=true), which fails them over"
    )]
    LinkHasMirrors { link: LinkName, count: usize },
    /// The caller may not create a topic of that name: Kafka's words.
    #[error("Topic authorization failed: creating the mirror '{0}' needs CREATE on that topic")]
    NotAllowed(TopicName),
    /// The source can't be reached, or doesn't answer as Kafka does.
    #[error("the source cluster can't be reached ({code}): {detail}")]
    SourceUnavailable { code: LinkErrorCode, detail: String },
    /// The source is another cluster than the link was made for.
    #[error("the source's cluster id is '{found}', not '{expected}'")]
    WrongCluster {
        /// What the link was made for.
        expected: String,
        /// What the source says.
        found: String,
    },
    /// The source has no such topic, or doesn't let the link see it.
    #[error("the source has no topic '{0}', or the link may not describe it")]
    NoSuchSourceTopic(TopicName),
    /// The source answered with an error about a topic: the error's name.
    #[error("the source answered {error} for topic '{topic}'")]
    SourceTopic {
        /// The topic at the source.
        topic: TopicName,
        /// The error's name and words.
        error: String,
    },
    /// A local topic of that name exists.
    #[error(
        "TOPIC_EXISTS_ERROR: topic '{0}' already exists here and is not a mirror: delete it, or \
         mirror under another name (mirror_topic_name, or over a link with a cluster.link.prefix)"
    )]
    TopicExists(TopicName),
    /// The topic is a mirror already.
    #[error(
        "TOPIC_EXISTS_ERROR: topic '{topic}' is already a mirror of link '{link}': mirror under \
         another name (mirror_topic_name, or over a link with another cluster.link.prefix)"
    )]
    MirrorExists { topic: TopicName, link: LinkName },
    /// The link mirrors that source topic already, under another name.
    #[error("link '{link}' already mirrors the source's topic '{source_topic}', as '{topic}'")]
    SourceMirrored {
        /// The topic at the source.
        source_topic: TopicName,
        link: LinkName,
        topic: TopicName,
    },
    /// That is not a mirror topic.
    #[error("'{0}' is not a mirror topic")]
    NotAMirror(String),
    /// The mirror belongs to another link.
    #[error("'{topic}' is a mirror of link '{owner}', not of '{link}'")]
    OtherLink {
        topic: TopicName,
        owner: LinkName,
        /// The link that was named.
        link: LinkName,
    },
    /// The link syncs no offsets of such a group.
    #[error(
        "link '{link}' has synced no offsets of group '{group}': the group has no offsets for \
         mirrored topics at the source, consumer.offset.group.filters does not include it, or the \
         sync is off"
    )]
    NoSuchGroup {
        link: LinkName,
        /// The group at the source.
        group: String,
    },
    /// A partition can't be written here, so that the mirror can't be brought up to date.
    #[error(
        "'{topic}' was left out because it can't be brought up to date here; it stays a mirror. \
         Partition {partition}: {detail}"
    )]
    Blocked {
        topic: TopicName,
        /// The first such partition.
        partition: i32,
        /// Why, and what leads on.
        detail: String,
    },
    /// It was begun, and what keeps it has not let it be stored yet.
    #[error(
        "the change of '{topic}' is in progress but not stored yet: the disk, or another change \
         of its link, delays it. It continues: check the mirror again later"
    )]
    UnderWay { topic: TopicName },
    /// The state doesn't allow that: which, and what does.
    #[error("mirror '{topic}' is {status}: {reason}")]
    IllegalState {
        topic: TopicName,
        status: MirrorStatus,
        /// Why that doesn't go, and what does.
        reason: String,
    },
    /// The link's state doesn't allow that.
    #[error("link '{link}' {reason}")]
    LinkState {
        link: LinkName,
        /// Why that doesn't go, and what does.
        reason: String,
    },
    /// The source's topic is not, or not surely, the one that is mirrored.
    #[error("mirror '{topic}' can't be promoted: {reason}")]
    NotPromotable { topic: TopicName, reason: String },
    /// A promotion didn't reach lag 0 and was cancelled; the mirror continues mirroring.
    #[error("the promotion of '{topic}' was cancelled: {reason}")]
    PromotionAborted { topic: TopicName, reason: String },
    /// The link manager is stopping.
    #[error("the broker is shutting down")]
    ShuttingDown,
    #[error(transparent)]
    Catalog(#[from] CatalogError),
    /// A log could not be read or written.
    #[error(transparent)]
    Target(#[from] TargetError),
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<ConfigError> for LinkError {
    fn from(error: ConfigError) -> Self {
        Self::InvalidConfig {
            name: error.name,
            reason: error.reason,
        }
    }
}

impl From<SourceError> for LinkError {
    fn from(error: SourceError) -> Self {
        let fault = Fault::from(&error);
        Self::SourceUnavailable {
            code: fault.code,
            detail: fault.detail,
        }
    }
}

/// Why the source doesn't answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Fault {
    /// The kind, under Confluent's name.
    pub(crate) code: LinkErrorCode,
    /// Whether a later attempt may succeed without any intervention.
    pub(crate) is_retriable: bool,
    /// The cause in words.
    pub(crate) detail: String,
}

impl From<&SourceError> for Fault {
    fn from(error: &SourceError) -> Self {
        let code = match error.kind() {
            FaultKind::Authentication => LinkErrorCode::AuthenticationError,
            FaultKind::UnresolvableBootstrap => LinkErrorCode::UnresolvableBootstrapError,
            FaultKind::BootstrapTcpConnectionFailed => {
                LinkErrorCode::BootstrapTcpConnectionFailedError
            }
            FaultKind::Timeout => LinkErrorCode::TimeoutError,
            FaultKind::Unknown => LinkErrorCode::Unknown,
        };
        Self {
            code,
            is_retriable: error.is_retriable(),
            detail: error.to_string(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn states_are_named_as_everywhere_else() {
        let unreachable = LinkError::SourceUnavailable {
            code: LinkErrorCode::BootstrapTcpConnectionFailedError,
            detail: "refused".to_owned(),
        };
        assert_eq!(
            unreachable.to_string(),
            "the source cluster can't be reached (BOOTSTRAP_TCP_CONNECTION_FAILED_ERROR): refused"
        );
        let illegal = LinkError::IllegalState {
            topic: TopicName::new("orders").expect("a name"),
            status: MirrorStatus::PendingStopped,
            reason: "wait".to_owned(),
        };
        assert_eq!(
            illegal.to_string(),
            "mirror 'orders' is PENDING_STOPPED: wait"
        );
    }
}
