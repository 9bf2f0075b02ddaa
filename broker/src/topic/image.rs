//! All topics in one immutable picture, for code that must decide by the topics of one moment:
//! groups that assign partitions. The catalog keeps the latest one, updated with each change.

use std::sync::Arc;

use arc_swap::ArcSwap;
use carrick_protocol::ids::{TopicId, TopicName};
use rpds::{HashTrieMapSync, RedBlackTreeMapSync};

use super::Topic;

/// All topics at one moment. Pictures share what is the same in them, so that the next one costs
/// what has changed and not what there is.
#[derive(Clone, Debug, Default)]
pub struct TopicImage {
    version: u64,
    by_name: RedBlackTreeMapSync<TopicName, (TopicId, i32)>,
    by_id: HashTrieMapSync<TopicId, TopicName>,
}

impl TopicImage {
    /// For tests: a picture of topics with their ids and numbers of partitions. Two pictures with the same
    /// version are the same.
    #[cfg(test)]
    pub fn new(version: u64, topics: impl IntoIterator<Item = (TopicName, TopicId, i32)>) -> Self {
        let mut image = Self::default();
        for (name, id, partitions) in topics {
            image.put(name, id, partitions);
        }
        Self { version, ..image }
    }

    /// A topic was created, or has this many partitions now.
    pub fn put(&mut self, name: TopicName, id: TopicId, partitions: i32) {
        self.version += 1;
        self.by_id.insert_mut(id, name.clone());
        self.by_name.insert_mut(name, (id, partitions));
    }

    /// A topic was deleted.
    pub fn remove(&mut self, name: &TopicName, id: TopicId) {
        self.version += 1;
        self.by_id.remove_mut(&id);
        self.by_name.remove_mut(name);
    }

    /// The version: grows with every change of a topic or its partitions.
    pub fn version(&self) -> u64 {
        self.version
    }

    /// The id of a topic and how many partitions it has.
    pub fn topic(&self, name: &str) -> Option<(TopicId, i32)> {
        self.by_name.get(name).copied()
    }

    /// The name of a topic.
    pub fn name(&self, id: TopicId) -> Option<&TopicName> {
        self.by_id.get(&id)
    }

    /// How many partitions a topic has; 0 if there is no such topic.
    pub fn partitions(&self, id: TopicId) -> i32 {
        let topic = self.name(id).and_then(|name| self.by_name.get(name));
        topic.map_or(0, |(_, partitions)| *partitions)
    }

    /// All names, in order.
    pub fn names(&self) -> impl Iterator<Item = &TopicName> {
        self.by_name.keys()
    }
}

/// The latest picture.
#[derive(Default)]
pub(super) struct Images(ArcSwap<TopicImage>);

impl Images {
    /// Topics came or grew. Under [`Topics::changes`](super::Topics), as every change.
    pub fn put<'a>(&self, topics: impl IntoIterator<Item = &'a Arc<Topic>>) {
        let mut image = TopicImage::clone(&self.0.load());
        for topic in topics {
            let partitions = topic.partition_count();
            image.put(topic.name().clone(), topic.id(), partitions);
        }
        self.0.store(Arc::new(image));
    }

    /// A topic was deleted.
    pub fn remove(&self, topic: &Topic) {
        let mut image = TopicImage::clone(&self.0.load());
        image.remove(topic.name(), topic.id());
        self.0.store(Arc::new(image));
    }

    /// The picture of now.
    pub fn latest(&self) -> Arc<TopicImage> {
        self.0.load_full()
    }
}
