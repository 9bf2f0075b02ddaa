//! The committed offsets of one group, in memory. RocksDB holds the truth (`records::group_offset`);
//! what stands here is what is durable there.

use std::collections::BTreeMap;

use carrick_protocol::ids::{LeaderEpoch, Offset, TopicId, TopicName};

use super::classic::ExpireFrom;

/// An offset that a group has committed for one partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommittedOffset {
    /// Where the group goes on reading.
    pub offset: Offset,
    /// The epoch of the last record read, or `NONE`.
    pub leader_epoch: LeaderEpoch,
    /// The client's own text.
    pub metadata: String,
    /// Wall clock of the commit.
    pub commit_ms: i64,
    /// When it expires, if the client said so (OffsetCommit up to version 4).
    pub expire_ms: Option<i64>,
    /// The topic's id at the time of the commit: an offset of a topic that was deleted and made
    /// anew is not an offset of the new one. `ZERO` if unknown.
    pub topic_id: TopicId,
}

/// What an offset takes beside its text, with its part of the maps.
const OFFSET_BYTES: usize = 160;

impl CommittedOffset {
    /// About how many bytes it takes in memory.
    pub fn held_bytes(&self) -> usize {
        OFFSET_BYTES + self.metadata.len()
    }

    /// Whether the offset has outlived `retention_ms`.
    pub fn has_expired(&self, from: ExpireFrom, now_ms: i64, retention_ms: i64) -> bool {
        let begun_ms = match from {
            ExpireFrom::Fixed(since_ms) => since_ms,
            ExpireFrom::Commit => self.commit_ms,
        };
        match self.expire_ms {
            Some(expire_ms) => now_ms >= expire_ms,
            None => now_ms.saturating_sub(begun_ms) >= retention_ms,
        }
    }

    /// Whether this is an offset of the topic with that id.
    pub fn is_of(&self, topic_id: TopicId) -> bool {
        self.topic_id.is_zero() || topic_id.is_zero() || self.topic_id == topic_id
    }
}

/// All offsets of a group.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Offsets {
    by_topic: BTreeMap<TopicName, BTreeMap<i32, CommittedOffset>>,
    held_bytes: usize,
}

impl Offsets {
    pub fn put(&mut self, topic: TopicName, partition: i32, offset: CommittedOffset) {
        self.held_bytes += offset.held_bytes();
        let of_topic = self.by_topic.entry(topic).or_default();
        if let Some(replaced) = of_topic.insert(partition, offset) {
            self.held_bytes -= replaced.held_bytes();
        }
    }

    pub fn remove(&mut self, topic: &TopicName, partition: i32) {
        if let Some(partitions) = self.by_topic.get_mut(topic) {
            if let Some(removed) = partitions.remove(&partition) {
                self.held_bytes -= removed.held_bytes();
            }
            if partitions.is_empty() {
                self.by_topic.remove(topic);
            }
        }
    }

    pub fn get(&self, topic: &str, partition: i32) -> Option<&CommittedOffset> {
        self.by_topic.get(topic)?.get(&partition)
    }

    /// About how many bytes they take in memory.
    pub fn held_bytes(&self) -> usize {
        self.held_bytes
    }

    /// By how many bytes they would grow with this one.
    pub fn growth_bytes(&self, topic: &str, partition: i32, offset: &CommittedOffset) -> usize {
        let known = self.get(topic, partition);
        let known_bytes = known.map_or(0, CommittedOffset::held_bytes);
        offset.held_bytes().saturating_sub(known_bytes)
    }

    pub fn topic(&self, topic: &TopicName) -> impl Iterator<Item = (i32, &CommittedOffset)> {
        let partitions = self.by_topic.get(topic).into_iter().flatten();
        partitions.map(|(partition, offset)| (*partition, offset))
    }

    pub fn topics(&self) -> impl Iterator<Item = (&TopicName, &BTreeMap<i32, CommittedOffset>)> {
        self.by_topic.iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn offset(commit_ms: i64, expire_ms: Option<i64>) -> CommittedOffset {
        CommittedOffset {
            offset: Offset(1),
            leader_epoch: LeaderEpoch::NONE,
            metadata: String::new(),
            commit_ms,
            expire_ms,
            topic_id: TopicId::ZERO,
        }
    }

    #[test]
    fn retention_counts_from_the_commit_or_from_when_the_group_became_empty() {
        let offset = offset(100, None);
        assert!(!offset.has_expired(ExpireFrom::Commit, 199, 100));
        assert!(offset.has_expired(ExpireFrom::Commit, 200, 100));
        assert!(!offset.has_expired(ExpireFrom::Fixed(150), 249, 100));
        assert!(offset.has_expired(ExpireFrom::Fixed(150), 250, 100));
    }

    #[test]
    fn a_retention_asked_for_with_the_commit_wins() {
        let offset = offset(100, Some(500));
        assert!(!offset.has_expired(ExpireFrom::Commit, 499, 1));
        assert!(offset.has_expired(ExpireFrom::Fixed(0), 500, 1_000_000));
    }

    #[test]
    fn an_offset_of_a_recreated_topic_is_told_apart() {
        let (old, new) = (TopicId::random(), TopicId::random());
        let mut offset = offset(0, None);
        assert!(offset.is_of(new));
        offset.topic_id = old;
        assert!(offset.is_of(old) && !offset.is_of(new) && offset.is_of(TopicId::ZERO));
    }
}
