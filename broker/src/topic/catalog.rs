//! All topics, in memory and in RocksDB.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use carrick_protocol::ids::{LeaderEpoch, TopicId, TopicName};
use carrick_storage::meta::{MetaBatch, MetaStore};
use parking_lot::{Mutex, RwLock};

use super::{Topic, TopicError};
use crate::config::BrokerConfig;

/// A topic to be created.
#[derive(Debug, Clone)]
pub struct NewTopic {
    /// Its name.
    pub name: TopicName,
    /// Its id; `None` for a random one. A mirror takes its source's.
    pub id: Option<TopicId>,
    /// How many partitions, at least one.
    pub partitions: i32,
    /// Configs that differ from the broker's defaults.
    pub configs: BTreeMap<String, String>,
    /// Whether a link will own it.
    pub is_mirror: bool,
}

/// All topics.
pub struct Catalog {
    config: Arc<BrokerConfig>,
    meta: Arc<MetaStore>,
    topics: RwLock<Index>,
    changes: Mutex<()>,
}

#[derive(Default)]
struct Index {
    by_name: HashMap<TopicName, Arc<Topic>>,
    by_id: HashMap<TopicId, Arc<Topic>>,
}

impl Catalog {
    /// A topic by name.
    pub fn topic(&self, name: &str) -> Option<Arc<Topic>> {
        self.topics.read().by_name.get(name).cloned()
    }

    /// A topic by id.
    pub fn by_id(&self, id: TopicId) -> Option<Arc<Topic>> {
        self.topics.read().by_id.get(&id).cloned()
    }

    /// All topics, by name.
    pub fn list(&self) -> Vec<Arc<Topic>> {
        let mut topics: Vec<_> = self.topics.read().by_name.values().cloned().collect();
        topics.sort_by(|a, b| a.name().cmp(b.name()));
        topics
    }

    /// Checks what `create` would check, and changes nothing.
    ///
    /// # Errors
    /// As `create`, but for the disk's.
    pub fn check_new(&self, new: &NewTopic) -> Result<(), TopicError> {
        unimplemented!("{new:?}")
    }

    /// Creates a topic and its logs; `extra` is written in the same RocksDB batch. Blocks on disk.
    ///
    /// # Errors
    /// Nothing is left of the topic.
    pub fn create(&self, new: NewTopic, extra: MetaBatch) -> Result<Arc<Topic>, TopicError> {
        unimplemented!("{new:?}")
    }

    /// Deletes a topic, mirror or not; `extra` goes into the same RocksDB batch. Blocks on disk.
    ///
    /// # Errors
    /// `Unknown`, `Meta`.
    pub fn delete(&self, name: &str, extra: MetaBatch) -> Result<(), TopicError> {
        unimplemented!("{name}")
    }

    /// Grows a topic to `total` partitions. `by_link` is how a link grows its mirror.
    ///
    /// # Errors
    /// `Mirror` unless `by_link`; `InvalidPartitions` when `total` isn't more than now.
    pub fn add_partitions(
        &self,
        name: &str,
        total: i32,
        by_link: bool,
    ) -> Result<Arc<Topic>, TopicError> {
        unimplemented!("{name} {total} {by_link}")
    }

    /// Replaces a topic's overrides. Takes effect at once. `by_link` may change what is always
    /// synced on a mirror.
    ///
    /// # Errors
    /// `InvalidConfig`, `Mirror`.
    pub fn set_configs(
        &self,
        name: &str,
        overrides: BTreeMap<String, String>,
        by_link: bool,
    ) -> Result<(), TopicError> {
        unimplemented!("{name} {overrides:?} {by_link}")
    }

    /// Persists that these topics are no mirrors any more, with the leader epochs their cuts gave
    /// them (by partition), in one RocksDB batch with `extra`; then opens them for writes.
    ///
    /// # Errors
    /// Nothing was persisted and all stay fenced; it may be called again.
    pub fn finish_cut(
        &self,
        topics: &[(TopicName, Vec<LeaderEpoch>)],
        extra: MetaBatch,
    ) -> Result<(), TopicError> {
        unimplemented!("{topics:?}")
    }
}
