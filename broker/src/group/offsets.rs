//! The committed offsets of one group, in memory. RocksDB holds the truth (`records::group_offset`);
//! what stands here is what is durable there.

use std::collections::BTreeMap;

use carrick_protocol::ids::{LeaderEpoch, Offset, ProducerId, TopicId, TopicName};

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

/// What a group answers for one partition.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum FetchedOffset {
    /// Nothing was committed.
    #[default]
    Nothing,
    /// A transaction may change it, and who asked wants to wait for that (KIP-447).
    Unstable,
    /// This was committed.
    Committed(CommittedOffset),
}

impl FetchedOffset {
    /// The offset, if one was committed and is told.
    pub fn committed(&self) -> Option<&CommittedOffset> {
        match self {
            Self::Committed(offset) => Some(offset),
            Self::Nothing | Self::Unstable => None,
        }
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

    pub fn is_empty(&self) -> bool {
        self.by_topic.is_empty()
    }

    /// Every offset.
    pub fn iter(&self) -> impl Iterator<Item = (&TopicName, i32, &CommittedOffset)> {
        self.by_topic.iter().flat_map(|(topic, partitions)| {
            let offsets = partitions.iter();
            offsets.map(move |(partition, offset)| (topic, *partition, offset))
        })
    }

    pub fn topics(&self) -> impl Iterator<Item = (&TopicName, &BTreeMap<i32, CommittedOffset>)> {
        self.by_topic.iter()
    }
}

/// Offsets of a group that open transactions are going to commit, by producer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Pending {
    by_producer: BTreeMap<ProducerId, Offsets>,
}

impl Pending {
    pub fn put(
        &mut self,
        producer_id: ProducerId,
        topic: TopicName,
        partition: i32,
        offset: CommittedOffset,
    ) {
        let offsets = self.by_producer.entry(producer_id).or_default();
        offsets.put(topic, partition, offset);
    }

    /// The transaction of that producer has ended.
    pub fn remove_producer(&mut self, producer_id: ProducerId) {
        self.by_producer.remove(&producer_id);
    }

    /// The partition is not to be committed by anybody.
    pub fn remove(&mut self, topic: &TopicName, partition: i32) {
        self.by_producer.retain(|_, offsets| {
            offsets.remove(topic, partition);
            !offsets.is_empty()
        });
    }

    /// All of one producer.
    pub fn of(&self, producer_id: ProducerId) -> Option<&Offsets> {
        self.by_producer.get(&producer_id)
    }

    /// The producers that are going to commit the partition.
    pub fn producers(&self, topic: &str, partition: i32) -> impl Iterator<Item = ProducerId> {
        let with = self
            .by_producer
            .iter()
            .filter(move |(_, offsets)| offsets.get(topic, partition).is_some());
        with.map(|(producer_id, _)| *producer_id)
    }

    /// Whether anybody is going to commit the partition.
    pub fn contains(&self, topic: &str, partition: i32) -> bool {
        self.producers(topic, partition).next().is_some()
    }

    /// All offsets of that topic, whoever is going to commit them.
    pub fn topic(&self, topic: &TopicName) -> impl Iterator<Item = (i32, &CommittedOffset)> {
        let all = self.by_producer.values();
        all.flat_map(move |offsets| offsets.topic(topic))
    }

    pub fn is_empty(&self) -> bool {
        self.by_producer.is_empty()
    }

    /// About how many bytes they take in memory.
    pub fn held_bytes(&self) -> usize {
        self.by_producer.values().map(Offsets::held_bytes).sum()
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
