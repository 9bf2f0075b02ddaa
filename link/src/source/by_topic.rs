//! Requests and answers about partitions, grouped by topic as the wire has them.

use std::collections::BTreeMap;

use carrick_protocol::ids::{TopicName, TopicPartition};

/// Groups items by the topic of their partition.
pub(super) fn by_topic<T>(
    items: &[T],
    partition_of: impl Fn(&T) -> &TopicPartition,
) -> BTreeMap<&TopicName, Vec<&T>> {
    let mut topics: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for item in items {
        topics
            .entry(&partition_of(item).topic)
            .or_default()
            .push(item);
    }
    topics
}

/// What a source answered per partition, to be matched with the questions.
#[derive(Debug)]
pub(super) struct Answers<'a, T> {
    by_partition: BTreeMap<(&'a str, i32), &'a T>,
}

impl<T> Default for Answers<'_, T> {
    fn default() -> Self {
        Self {
            by_partition: BTreeMap::new(),
        }
    }
}

impl<'a, T> Answers<'a, T> {
    /// Notes an answer; `Err` if there was one for that partition already.
    pub(super) fn insert(
        &mut self,
        topic: &'a str,
        partition: i32,
        answer: &'a T,
    ) -> Result<(), String> {
        match self.by_partition.insert((topic, partition), answer) {
            None => Ok(()),
            Some(_) => Err(format!("its answer contains {topic}-{partition} twice")),
        }
    }

    /// The answer for a partition; `Err` if there is none.
    pub(super) fn of(&self, tp: &TopicPartition) -> Result<&'a T, String> {
        let found = self.by_partition.get(&(tp.topic.as_str(), tp.partition));
        found
            .copied()
            .ok_or_else(|| format!("its answer lacks {tp}"))
    }
}
