//! The small shared vocabulary: offsets, epochs, ids, names.
//!
//! Each is a newtype so that a partition number, an offset and an epoch cannot be swapped in a
//! call. Numbers keep Kafka's sentinels (`-1` = none) because they travel over the wire as such.

use std::borrow::Borrow;
use std::fmt;
use std::ops::{Add, Deref, Sub};
use std::str::FromStr;
use std::sync::Arc;

use thiserror::Error;
use uuid::Uuid;

/// Longest topic name Kafka accepts (`Topic.MAX_NAME_LENGTH`): a folder name must stay below 255
/// bytes with `-<partition>` and a suffix.
pub const TOPIC_NAME_MAX_BYTES: usize = 249;

/// Topics in which Kafka's own brokers keep state: offsets of groups, transactions, share groups,
/// the cluster's metadata, the index of tiered storage. A topic with such a name that a client
/// creates holds nothing of that.
pub const INTERNAL_TOPICS: [&str; 5] = [
    "__cluster_metadata",
    "__consumer_offsets",
    "__remote_log_metadata",
    "__share_group_state",
    "__transaction_state",
];

/// Position of a record in a partition; `-1` ([`Offset::NONE`]) means unknown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Offset(pub i64);

impl Offset {
    /// The first offset of a new partition.
    pub const ZERO: Offset = Offset(0);
    /// No offset, as Kafka writes it.
    pub const NONE: Offset = Offset(-1);
    /// The largest offset there can be.
    pub const MAX: Offset = Offset(i64::MAX);

    /// The offset after this one (saturating).
    pub const fn next(self) -> Offset {
        Offset(self.0.saturating_add(1))
    }

    /// The offset before this one (saturating).
    pub const fn prev(self) -> Offset {
        Offset(self.0.saturating_sub(1))
    }

    /// Whether this is a position (not negative).
    pub const fn is_some(self) -> bool {
        self.0 >= 0
    }
}

impl Add<i64> for Offset {
    type Output = Offset;
    /// Saturating, so that no offset read from a peer can overflow.
    fn add(self, records: i64) -> Offset {
        Offset(self.0.saturating_add(records))
    }
}

impl Sub<Offset> for Offset {
    type Output = i64;
    /// Distance in offsets, saturating.
    fn sub(self, other: Offset) -> i64 {
        self.0.saturating_sub(other.0)
    }
}

impl fmt::Display for Offset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Term of a partition's leadership (KIP-101); `-1` ([`LeaderEpoch::NONE`]) means unknown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LeaderEpoch(pub i32);

impl LeaderEpoch {
    /// No epoch, as Kafka writes it.
    pub const NONE: LeaderEpoch = LeaderEpoch(-1);

    /// The epoch after this one (saturating).
    pub const fn next(self) -> LeaderEpoch {
        LeaderEpoch(self.0.saturating_add(1))
    }

    /// Whether this is an epoch (not negative).
    pub const fn is_some(self) -> bool {
        self.0 >= 0
    }
}

impl Default for LeaderEpoch {
    fn default() -> Self {
        LeaderEpoch::NONE
    }
}

impl fmt::Display for LeaderEpoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Id of an idempotent or transactional producer (KIP-98); `-1` ([`ProducerId::NONE`]) means a
/// plain producer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ProducerId(pub i64);

impl ProducerId {
    /// No producer id, as Kafka writes it.
    pub const NONE: ProducerId = ProducerId(-1);

    /// Whether this is an id (not negative).
    pub const fn is_some(self) -> bool {
        self.0 >= 0
    }
}

impl Default for ProducerId {
    fn default() -> Self {
        ProducerId::NONE
    }
}

impl fmt::Display for ProducerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Id of a broker (`node.id`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId(pub i32);

impl NodeId {
    /// No broker, as Kafka writes it.
    pub const NONE: NodeId = NodeId(-1);
}

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Why a string is no topic name (Kafka's `Topic.validate`).
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum InvalidTopicName {
    #[error("topic name is empty")]
    Empty,
    /// `.` or `..`, which are folders.
    #[error("topic name cannot be \".\" or \"..\"")]
    Dots,
    /// Longer than [`TOPIC_NAME_MAX_BYTES`].
    #[error("topic name has {0} characters, more than {TOPIC_NAME_MAX_BYTES}")]
    TooLong(usize),
    /// A character besides ASCII letters, digits, `.`, `_` and `-`.
    #[error("topic name contains {0:?}: only ASCII alphanumerics, '.', '_' and '-' are allowed")]
    Character(char),
}

/// A valid topic name, cheap to clone.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TopicName(Arc<str>);

impl TopicName {
    /// Checks the name by the rules of Kafka's `Topic.validate`.
    pub fn new(name: impl AsRef<str>) -> Result<Self, InvalidTopicName> {
        let name = name.as_ref();
        if name.is_empty() {
            return Err(InvalidTopicName::Empty);
        }
        if name == "." || name == ".." {
            return Err(InvalidTopicName::Dots);
        }
        if name.len() > TOPIC_NAME_MAX_BYTES {
            return Err(InvalidTopicName::TooLong(name.chars().count()));
        }
        let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
        match name.chars().find(|c| !allowed(*c)) {
            Some(c) => Err(InvalidTopicName::Character(c)),
            None => Ok(TopicName(name.into())),
        }
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether Kafka's brokers keep their own state under this name ([`INTERNAL_TOPICS`]).
    pub fn is_internal(&self) -> bool {
        INTERNAL_TOPICS.contains(&self.as_str())
    }

    /// Whether this name may never be created, not even on request. Kafka refuses only this one
    /// (`KafkaApis.handleCreateTopicsRequest`).
    pub fn is_prohibited(&self) -> bool {
        self.as_str() == "__cluster_metadata"
    }

    /// Whether two names would share a metric name in Kafka (`.` and `_` are the same there), which
    /// Kafka refuses when a topic is created (`Topic.hasCollision`).
    pub fn collides_with(&self, other: &str) -> bool {
        let fold = |b: u8| if b == b'.' { b'_' } else { b };
        self.0.bytes().map(fold).eq(other.bytes().map(fold))
    }
}

impl Deref for TopicName {
    type Target = str;
    fn deref(&self) -> &str {
        &self.0
    }
}

impl AsRef<str> for TopicName {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl Borrow<str> for TopicName {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl FromStr for TopicName {
    type Err = InvalidTopicName;
    fn from_str(name: &str) -> Result<Self, Self::Err> {
        TopicName::new(name)
    }
}

impl fmt::Display for TopicName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Identity of a topic across renames and re-creation (KIP-516).
///
/// Written as Kafka writes it: URL-safe base64 without padding, 22 characters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TopicId(pub Uuid);

/// Why a string is no topic id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("a topic id is 22 characters of URL-safe base64")]
pub struct InvalidTopicId;

const BASE64: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

impl TopicId {
    /// No topic id, as Kafka writes it.
    pub const ZERO: TopicId = TopicId(Uuid::nil());

    /// A new random id. Like Kafka's `Uuid.randomUuid`, none whose text starts with `-` (it would
    /// look like an option on a command line) and none of the reserved ones.
    pub fn random() -> TopicId {
        loop {
            let id = TopicId(Uuid::new_v4());
            // The first 6 bits are the first character; 62 is '-'.
            if id.0.as_bytes()[0] >> 2 != 62 {
                return id;
            }
        }
    }

    /// Whether this is [`TopicId::ZERO`].
    pub fn is_zero(&self) -> bool {
        self.0.is_nil()
    }
}

impl fmt::Display for TopicId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // 128 bits are 21 full sextets and a last one with 2 significant bits.
        let bits = self.0.as_u128();
        let mut text = String::with_capacity(22);
        for place in 0..21 {
            let sextet = (bits >> (122 - 6 * place)) & 0x3f;
            text.push(char::from(BASE64[sextet as usize]));
        }
        text.push(char::from(BASE64[((bits & 0x3) << 4) as usize]));
        f.pad(&text)
    }
}

impl FromStr for TopicId {
    type Err = InvalidTopicId;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let text = text.strip_suffix("==").unwrap_or(text);
        if text.len() != 22 {
            return Err(InvalidTopicId);
        }
        let mut bits: u128 = 0;
        for (place, c) in text.bytes().enumerate() {
            let sextet = BASE64.iter().position(|b| *b == c).ok_or(InvalidTopicId)? as u128;
            bits = if place < 21 {
                (bits << 6) | sextet
            } else {
                (bits << 2) | (sextet >> 4)
            };
        }
        Ok(TopicId(Uuid::from_u128(bits)))
    }
}

/// One partition of a topic.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TopicPartition {
    pub topic: TopicName,
    /// The partition's number, from 0.
    pub partition: i32,
}

impl TopicPartition {
    /// Puts the two together.
    pub fn new(topic: TopicName, partition: i32) -> Self {
        TopicPartition { topic, partition }
    }
}

impl fmt::Display for TopicPartition {
    /// `<topic>-<partition>`, Kafka's form (and the name of the partition's folder).
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.topic, self.partition)
    }
}

/// Name of a consumer group, cheap to clone. Kafka accepts any string, the empty one included
/// (old simple consumers), so there is nothing to check here.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GroupId(Arc<str>);

impl GroupId {
    /// Takes any string.
    pub fn new(name: impl AsRef<str>) -> Self {
        GroupId(name.as_ref().into())
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Deref for GroupId {
    type Target = str;
    fn deref(&self) -> &str {
        &self.0
    }
}

impl AsRef<str> for GroupId {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl Borrow<str> for GroupId {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for GroupId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Name under which the instances of one transactional producer follow each other, cheap to clone.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TransactionalId(Arc<str>);

impl TransactionalId {
    /// Takes any string.
    pub fn new(name: impl AsRef<str>) -> Self {
        TransactionalId(name.as_ref().into())
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Borrow<str> for TransactionalId {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for TransactionalId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn topic_names_follow_kafkas_rules() {
        for good in [
            "a",
            "a.b_c-D9",
            &"x".repeat(249),
            "__consumer_offsets",
            "...",
        ] {
            assert!(TopicName::new(good).is_ok(), "{good}");
        }
        assert_eq!(TopicName::new(""), Err(InvalidTopicName::Empty));
        assert_eq!(TopicName::new(".."), Err(InvalidTopicName::Dots));
        assert_eq!(
            TopicName::new("x".repeat(250)),
            Err(InvalidTopicName::TooLong(250))
        );
        assert_eq!(TopicName::new("a/b"), Err(InvalidTopicName::Character('/')));
        assert_eq!(TopicName::new("é"), Err(InvalidTopicName::Character('é')));
    }

    #[test]
    fn dot_and_underscore_collide() {
        let name = TopicName::new("a.b_c").unwrap();
        assert!(name.collides_with("a_b.c"));
        assert!(!name.collides_with("a_b-c"));
    }

    #[test]
    fn topic_id_is_written_as_kafka_does() {
        assert_eq!(TopicId::ZERO.to_string(), "AAAAAAAAAAAAAAAAAAAAAA");
        assert_eq!(
            TopicId(Uuid::from_u128(u128::MAX)).to_string(),
            "_____________________w"
        );
        assert_eq!(
            TopicId(Uuid::from_u128(1)).to_string(),
            "AAAAAAAAAAAAAAAAAAAAAQ"
        );
        assert!("abc".parse::<TopicId>().is_err());
        assert!("AAAAAAAAAAAAAAAAAAAA+A".parse::<TopicId>().is_err());
        assert!(!TopicId::random().to_string().starts_with('-'));
    }

    #[test]
    fn partition_is_written_as_its_folder() {
        let tp = TopicPartition::new(TopicName::new("a-b").unwrap(), 3);
        assert_eq!(tp.to_string(), "a-b-3");
    }

    #[test]
    fn offsets_saturate() {
        assert_eq!(Offset::MAX + 5, Offset::MAX);
        assert_eq!(Offset(7) - Offset(3), 4);
        assert_eq!(Offset::ZERO.prev(), Offset::NONE);
        assert_eq!(Offset::NONE.next(), Offset::ZERO);
    }

    proptest! {
        #[test]
        fn topic_id_round_trips(bits in any::<u128>()) {
            let id = TopicId(Uuid::from_u128(bits));
            prop_assert_eq!(id.to_string().parse::<TopicId>(), Ok(id));
        }
    }
}
