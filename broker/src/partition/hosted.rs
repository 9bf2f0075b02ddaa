//! The partitions that are open on this broker, by their topic's id and their number.
//!
//! Topics know how many partitions they have; which of those are here is known here alone. A
//! partition is found as long as its topic is: it is shown before its topic is, and hidden with it.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use carrick_protocol::ids::{TopicId, TopicName};
use carrick_storage::disk::DataDir;
use carrick_storage::flush::Flusher;
use parking_lot::RwLock;

use super::Partition;
use super::remover::Remover;

/// Threads that close logs: each waits for the disk most of the time.
const CLOSE_THREADS: usize = 16;

/// Partitions of one topic, by number.
pub type Partitions = Arc<[Arc<Partition>]>;

/// The partitions of this broker.
pub struct Hosted {
    pub(super) data_dir: Arc<DataDir>,
    pub(super) flusher: Arc<Flusher>,
    pub(super) remover: Remover,
    index: RwLock<Index>,
}

#[derive(Default)]
struct Index {
    by_topic: HashMap<TopicId, Partitions>,
    ids: HashMap<TopicName, TopicId>,
}

impl Hosted {
    /// None so far.
    pub fn new(data_dir: Arc<DataDir>, flusher: Arc<Flusher>) -> Self {
        Self {
            data_dir,
            flusher,
            remover: Remover::start(),
            index: RwLock::default(),
        }
    }

    /// A partition by its topic's id and its number.
    pub fn get(&self, topic: TopicId, number: i32) -> Option<Arc<Partition>> {
        let index = self.index.read();
        numbered(index.by_topic.get(&topic)?, number).cloned()
    }

    /// A partition by its topic's name and its number.
    pub fn named(&self, topic: &str, number: i32) -> Option<Arc<Partition>> {
        let index = self.index.read();
        let id = index.ids.get(topic)?;
        numbered(index.by_topic.get(id)?, number).cloned()
    }

    /// The partitions of the topic of that name that are here, by number.
    pub fn all_named(&self, topic: &str) -> Partitions {
        let id = self.index.read().ids.get(topic).copied();
        id.map_or_else(|| Arc::new([]) as Partitions, |id| self.of(id))
    }

    /// The partitions of a topic that are here, by number.
    pub fn of(&self, topic: TopicId) -> Partitions {
        let index = self.index.read();
        let partitions = index.by_topic.get(&topic).cloned();
        partitions.unwrap_or_else(|| Arc::new([]))
    }

    /// All partitions that are here, by topic and number.
    pub fn all(&self) -> Vec<Arc<Partition>> {
        let topics: Vec<_> = self.index.read().by_topic.values().cloned().collect();
        let mut all: Vec<_> = topics.iter().flat_map(|it| it.iter().cloned()).collect();
        all.sort_by(|a, b| a.id().cmp(b.id()));
        all
    }

    /// Adds partitions of a topic.
    pub(super) fn show(&self, topic: TopicId, name: &TopicName, added: Vec<Arc<Partition>>) {
        let mut index = self.index.write();
        let before = index.by_topic.get(&topic);
        let before = before.into_iter().flat_map(|it| it.iter().cloned());
        let mut all: Vec<_> = before.chain(added).collect();
        all.sort_by_key(|partition| partition.id().partition);
        index.by_topic.insert(topic, all.into());
        index.ids.insert(name.clone(), topic);
    }

    /// Forgets the partitions of a topic.
    pub(super) fn take(&self, topic: TopicId) -> Partitions {
        let mut index = self.index.write();
        let taken = index.by_topic.remove(&topic);
        let taken = taken.unwrap_or_else(|| Arc::new([]));
        if let Some(first) = taken.first() {
            index.ids.remove(&first.id().topic);
        }
        taken
    }

    /// Closes every log cleanly, on several threads. Blocks.
    pub fn close(&self) {
        let partitions = self.all();
        let next = AtomicUsize::new(0);
        let close_some = || {
            while let Some(partition) = partitions.get(next.fetch_add(1, Ordering::Relaxed)) {
                if let Err(error) = partition.close() {
                    tracing::error!(partition = %partition.id(), %error, "not closed cleanly");
                }
            }
        };
        std::thread::scope(|scope| {
            for _ in 1..CLOSE_THREADS.min(partitions.len()) {
                scope.spawn(close_some);
            }
            close_some();
        });
    }
}

/// Where all partitions of a topic are here, its number is the place.
fn numbered(partitions: &[Arc<Partition>], number: i32) -> Option<&Arc<Partition>> {
    let at = usize::try_from(number).ok()?;
    match partitions.get(at) {
        Some(partition) if partition.id().partition == number => Some(partition),
        _ => {
            let at = partitions.binary_search_by_key(&number, |it| it.id().partition);
            partitions.get(at.ok()?)
        }
    }
}
