//! The committed offsets of one group, in memory. RocksDB is authoritative
//! (`records::group_offset`); memory has what is durable there.

use std::collections::{BTreeMap, BTreeSet};

use carrick_protocol::ids::{ProducerId, TopicId, TopicName};

use super::classic::ExpireFrom;
pub use crate::records::group_offset::CommittedOffset;

/// What an offset takes in addition to its text, with its part of the maps.
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
    /// The offset, if one was committed and may be shown.
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
    /// Puts an offset there; the one that it replaces.
    pub fn put(
        &mut self,
        topic: TopicName,
        partition: i32,
        offset: CommittedOffset,
    ) -> Option<CommittedOffset> {
        self.held_bytes += offset.held_bytes();
        let of_topic = self.by_topic.entry(topic).or_default();
        let replaced = of_topic.insert(partition, offset)?;
        self.held_bytes -= replaced.held_bytes();
        Some(replaced)
    }

    pub fn remove(&mut self, topic: &TopicName, partition: i32) -> Option<CommittedOffset> {
        let partitions = self.by_topic.get_mut(topic)?;
        let removed = partitions.remove(&partition);
        if partitions.is_empty() {
            self.by_topic.remove(topic);
        }
        let removed = removed?;
        self.held_bytes -= removed.held_bytes();
        Some(removed)
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

/// What an offset in a transaction takes in addition to one of the group's own: the producer that
/// is going to commit the partition.
const PENDING_BYTES: usize = 96;

/// Offsets of a group that open transactions are going to commit.
///
/// Invariant: `by_partition` names exactly the producers that have the partition in `by_producer`,
/// and `held_bytes` is what these hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Pending {
    by_producer: BTreeMap<ProducerId, Offsets>,
    by_partition: BTreeMap<TopicName, BTreeMap<i32, BTreeSet<ProducerId>>>,
    held_bytes: usize,
}

impl Pending {
    pub fn put(
        &mut self,
        producer_id: ProducerId,
        topic: TopicName,
        partition: i32,
        offset: CommittedOffset,
    ) {
        self.held_bytes += offset.held_bytes() + PENDING_BYTES;
        let of_topic = self.by_partition.entry(topic.clone()).or_default();
        of_topic.entry(partition).or_default().insert(producer_id);
        let offsets = self.by_producer.entry(producer_id).or_default();
        if let Some(replaced) = offsets.put(topic, partition, offset) {
            self.held_bytes -= replaced.held_bytes() + PENDING_BYTES;
        }
    }

    /// By how many bytes they would grow with this one.
    pub fn growth_bytes(
        &self,
        producer_id: ProducerId,
        topic: &str,
        partition: i32,
        offset: &CommittedOffset,
    ) -> usize {
        let known = self.of(producer_id);
        match known.and_then(|offsets| offsets.get(topic, partition)) {
            Some(known) => offset.held_bytes().saturating_sub(known.held_bytes()),
            None => offset.held_bytes() + PENDING_BYTES,
        }
    }

    /// The transaction of that producer has ended.
    pub fn remove_producer(&mut self, producer_id: ProducerId) {
        let ended = self.by_producer.remove(&producer_id).unwrap_or_default();
        for (topic, partition, offset) in ended.iter() {
            self.held_bytes -= offset.held_bytes() + PENDING_BYTES;
            self.forget(producer_id, topic, partition);
        }
    }

    /// That producer no longer commits the partition.
    pub fn remove(&mut self, producer_id: ProducerId, topic: &TopicName, partition: i32) {
        self.forget(producer_id, topic, partition);
        let Some(offsets) = self.by_producer.get_mut(&producer_id) else {
            return;
        };
        if let Some(removed) = offsets.remove(topic, partition) {
            self.held_bytes -= removed.held_bytes() + PENDING_BYTES;
        }
        if offsets.is_empty() {
            self.by_producer.remove(&producer_id);
        }
    }

    fn forget(&mut self, producer_id: ProducerId, topic: &TopicName, partition: i32) {
        let Some(partitions) = self.by_partition.get_mut(topic) else {
            return;
        };
        if let Some(producers) = partitions.get_mut(&partition) {
            producers.remove(&producer_id);
            if producers.is_empty() {
                partitions.remove(&partition);
            }
        }
        if partitions.is_empty() {
            self.by_partition.remove(topic);
        }
    }

    /// The producers that are going to commit something, and when each last said so (wall clock).
    pub fn newest_ms(&self) -> impl Iterator<Item = (ProducerId, i64)> {
        self.by_producer
            .iter()
            .filter_map(|(producer_id, offsets)| {
                let newest_ms = offsets
                    .iter()
                    .map(|(_, _, offset)| offset.commit_ms)
                    .max()?;
                Some((*producer_id, newest_ms))
            })
    }

    /// All of one producer.
    pub fn of(&self, producer_id: ProducerId) -> Option<&Offsets> {
        self.by_producer.get(&producer_id)
    }

    /// The producers that are going to commit the partition.
    pub fn producers(&self, topic: &str, partition: i32) -> impl Iterator<Item = ProducerId> {
        let partitions = self.by_partition.get(topic);
        let producers = partitions.and_then(|partitions| partitions.get(&partition));
        producers.into_iter().flatten().copied()
    }

    /// Whether a producer is going to commit the partition.
    pub fn contains(&self, topic: &str, partition: i32) -> bool {
        self.producers(topic, partition).next().is_some()
    }

    /// All offsets of that topic, whichever producer is going to commit them.
    pub fn topic(&self, topic: &TopicName) -> impl Iterator<Item = (i32, &CommittedOffset)> {
        let partitions = self.by_partition.get(topic).into_iter().flatten();
        partitions.flat_map(move |(partition, producers)| {
            producers.iter().filter_map(move |producer_id| {
                let offset = self.of(*producer_id)?.get(topic.as_str(), *partition)?;
                Some((*partition, offset))
            })
        })
    }

    pub fn is_empty(&self) -> bool {
        self.by_producer.is_empty()
    }

    /// About how many bytes they take in memory.
    pub fn held_bytes(&self) -> usize {
        self.held_bytes
    }
}

#[cfg(test)]
mod tests {
    use carrick_protocol::ids::{LeaderEpoch, Offset};
    use proptest::prelude::*;

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

    #[derive(Clone, Debug)]
    enum Step {
        Put(i64, bool, i32, usize),
        End(i64),
        Forget(bool, i32),
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            4 => (0..4i64, any::<bool>(), 0..3i32, 0..50usize)
                .prop_map(|(producer, topic, at, bytes)| Step::Put(producer, topic, at, bytes)),
            1 => (0..4i64).prop_map(Step::End),
            1 => (any::<bool>(), 0..3i32).prop_map(|(topic, at)| Step::Forget(topic, at)),
        ]
    }

    proptest! {
        #[test]
        fn pending_offsets_are_found_and_counted(steps in prop::collection::vec(step(), 0..40)) {
            let topic = |other| TopicName::new(if other { "a" } else { "b" }).unwrap();
            let mut pending = Pending::default();
            let mut model: BTreeMap<(i64, bool, i32), CommittedOffset> = BTreeMap::new();
            for step in steps {
                match step {
                    Step::Put(producer, other, at, bytes) => {
                        let mut offset = offset(0, None);
                        offset.metadata = "x".repeat(bytes);
                        let before_bytes = pending.held_bytes();
                        let (id, name) = (ProducerId(producer), topic(other));
                        let growth = pending.growth_bytes(id, name.as_str(), at, &offset);
                        pending.put(id, name, at, offset.clone());
                        prop_assert!(pending.held_bytes() <= before_bytes + growth);
                        model.insert((producer, other, at), offset);
                    }
                    Step::End(producer) => {
                        pending.remove_producer(ProducerId(producer));
                        model.retain(|key, _| key.0 != producer);
                    }
                    Step::Forget(other, at) => {
                        let of = topic(other);
                        let producers: Vec<_> = pending.producers(of.as_str(), at).collect();
                        for producer_id in producers {
                            pending.remove(producer_id, &of, at);
                        }
                        model.retain(|key, _| (key.1, key.2) != (other, at));
                    }
                }
                let bytes = model.values().map(|offset| offset.held_bytes() + PENDING_BYTES);
                prop_assert_eq!(pending.held_bytes(), bytes.sum::<usize>());
                prop_assert_eq!(pending.is_empty(), model.is_empty());
                for (other, at) in [true, false].into_iter().flat_map(|o| (0..3).map(move |at| (o, at))) {
                    let expected = model.keys().filter(|key| (key.1, key.2) == (other, at));
                    let expected: Vec<_> = expected.map(|key| ProducerId(key.0)).collect();
                    let found: Vec<_> = pending.producers(topic(other).as_str(), at).collect();
                    prop_assert_eq!(found, expected);
                }
            }
        }
    }
}
