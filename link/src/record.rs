//! Links and mirrors as they are stored and passed through the ports.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use carrick_protocol::ids::{Offset, TopicId, TopicName};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::state::{LinkErrorCode, MirrorError, MirrorStatus};
use crate::verb::CutKind;

/// The longest name of a link, as Confluent has it.
pub const LINK_NAME_MAX_BYTES: usize = 200;

/// A link's name: 1 to 200 of `a-z A-Z 0-9 . _ -`, not `.` or `..`, and not `-`, which means "every
/// link" in URLs.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LinkName(Arc<str>);

/// Not a valid name of a link.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "'{0}' is not a link name: 1 to {LINK_NAME_MAX_BYTES} of letters, digits, '.', '_' and '-', \
     but not '.', '..' or '-'"
)]
pub struct InvalidLinkName(pub String);

impl LinkName {
    pub fn new(name: impl AsRef<str>) -> Result<Self, InvalidLinkName> {
        let name = name.as_ref();
        let legal = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
        if name.is_empty()
            || name.len() > LINK_NAME_MAX_BYTES
            || matches!(name, "." | ".." | "-")
            || !name.bytes().all(legal)
        {
            return Err(InvalidLinkName(
                name.chars().take(LINK_NAME_MAX_BYTES).collect(),
            ));
        }
        Ok(Self(name.into()))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for LinkName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::borrow::Borrow<str> for LinkName {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl Serialize for LinkName {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for LinkName {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let name = String::deserialize(deserializer)?;
        Self::new(name).map_err(serde::de::Error::custom)
    }
}

/// A link as stored.
#[derive(Clone, PartialEq, Eq)]
pub struct LinkRecord {
    pub name: LinkName,
    /// Its id, made at creation.
    pub id: Uuid,
    /// The source's cluster id as first seen (or as given at creation); a link that meets another
    /// one fails.
    pub source_cluster_id: Option<String>,
    /// The configs that were set, by name. May hold secrets.
    pub configs: BTreeMap<String, String>,
    /// Secrets that are stored and could not be read: by name, why. They are not in `configs`, and stay stored as they
    /// are until they are set again.
    pub unreadable: BTreeMap<String, String>,
    /// When it was created, milliseconds since the epoch.
    pub created_ms: i64,
    /// Why the link failed for good, if it did: it stays so over restarts until its configs change
    /// or it is resumed.
    pub failure: Option<LinkFailure>,
}

// Values of configs may be secrets: none is printed.
impl fmt::Debug for LinkRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LinkRecord")
            .field("name", &self.name)
            .field("id", &self.id)
            .field("source_cluster_id", &self.source_cluster_id)
            .field("configs", &self.configs.keys())
            .field("unreadable", &self.unreadable)
            .field("created_ms", &self.created_ms)
            .field("failure", &self.failure)
            .finish()
    }
}

/// Why a link is `FAILED`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LinkFailure {
    pub error: LinkErrorCode,
    /// What happened, and what can be done.
    pub detail: String,
    /// Since when, milliseconds since the epoch.
    pub since_ms: i64,
}

/// A mirror as stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MirrorRecord {
    /// The topic here.
    pub topic: TopicName,
    pub link: LinkName,
    /// The topic at the source.
    pub source_topic: TopicName,
    /// The source topic's id when it was first mirrored; `TopicId::ZERO` if the source has none.
    pub source_topic_id: TopicId,
    /// How many partitions are mirrored.
    pub partitions: i32,
    /// `ACTIVE`, `PAUSED`, `FAILED`, `PENDING_STOPPED` or `STOPPED`: what the operator wants, or
    /// final. The other states follow from the link's and are not stored.
    pub status: MirrorStatus,
    /// Since when, milliseconds since the epoch.
    pub status_since_ms: i64,
    /// Why it is `FAILED`.
    pub error: MirrorError,
    /// The reason in words; empty without an error.
    pub error_detail: String,
    /// Set while `PENDING_STOPPED`: the cut in progress, which the next start resumes after a
    /// crash.
    pub pending_cut: Option<CutKind>,
    /// Where partitions began when not at the source's log start: (partition, offset).
    pub start_offsets: Vec<(i32, Offset)>,
    /// When it was created, milliseconds since the epoch.
    pub created_ms: i64,
}

impl MirrorRecord {
    /// Whether it belongs to the same mirror, in any state: not to one that was created with this name
    /// after the first one's topic was deleted.
    pub fn is_of_same(&self, other: &MirrorRecord) -> bool {
        let identity = |record: &MirrorRecord| (record.source_topic_id, record.created_ms);
        self.topic == other.topic
            && self.link == other.link
            && self.source_topic == other.source_topic
            && identity(self) == identity(other)
    }
}

/// What the link last saw of a mirror's source, stored so that it is still known after a restart while the source
/// is away.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceSight {
    /// The topic here.
    pub topic: TopicName,
    /// The partitions that were seen, ascending.
    pub partitions: Vec<PartitionSight>,
}

/// One partition of a [`SourceSight`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PartitionSight {
    pub partition: i32,
    /// The source's high watermark.
    pub high_watermark: Offset,
    /// When that was true, milliseconds since the epoch.
    pub seen_at_ms: i64,
    /// When the mirror last held everything that the source had, milliseconds since the epoch;
    /// `None` if it never did.
    pub caught_up_ms: Option<i64>,
}

/// A mirror topic to be created.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MirrorTopicSpec {
    /// Its name here.
    pub topic: TopicName,
    /// The source topic's id, `TopicId::ZERO` if it has none.
    pub source_topic_id: TopicId,
    pub partitions: i32,
    /// Kafka's topic configs, as chosen from the source's: those that this broker doesn't know are
    /// left out.
    pub configs: Vec<(String, String)>,
    /// Topic configs that its owner has asked for: none is left out.
    pub own_configs: Vec<(String, String)>,
}

/// A mirror topic to be created, and its mirror record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewMirrorTopic {
    pub spec: MirrorTopicSpec,
    pub record: MirrorRecord,
}
