//! What topics ask of whoever holds their partitions: folders and logs come and go with topics, but a
//! topic knows neither.
//!
//! Order, whatever happens to a topic: folders are on the disk before the metadata names them, and the
//! metadata forgets them before they go. A crash in between leaves folders that belong to no topic, or
//! that are still to be removed; never a topic without its folders.

use std::ops::Range;
use std::sync::Arc;

use carrick_protocol::ids::{LeaderEpoch, TopicId, TopicName, TopicPartition};

use super::{TopicConfig, TopicError};

/// Partitions to be made.
pub struct NewPartitions<'a> {
    pub topic: &'a TopicName,
    pub numbers: Range<i32>,
    /// The topic's configs in force.
    pub config: &'a Arc<TopicConfig>,
    /// Whether a link will own them.
    pub is_mirror: bool,
}

/// Who holds partitions. What it does not hold it passes over.
pub trait Hosting: Send + Sync {
    /// Makes the folders and logs of new partitions, all or none; what is left of an earlier topic of
    /// that name goes first. They are on the disk when this returns. Blocks.
    ///
    /// # Errors
    /// Nothing is left of them.
    fn make(&self, new: NewPartitions<'_>) -> Result<Box<dyn MadePartitions>, TopicError>;

    /// The leader epochs that partitions of a topic have now, by number: they may be above those that
    /// are stored.
    fn leader_epochs(&self, topic: TopicId) -> Vec<(i32, LeaderEpoch)>;

    /// Tells clients of a partition no smaller leader epoch than this.
    fn raise_leader_epoch(&self, topic: TopicId, number: i32, to: LeaderEpoch);

    /// Puts new configs of a topic in force.
    fn set_config(&self, topic: TopicId, config: &Arc<TopicConfig>);

    /// A topic is no mirror any more: clients write to it.
    fn open_for_writes(&self, topic: TopicId);

    /// From now on nobody finds the partitions of a topic. They end when what is returned is called.
    fn hide(&self, topic: TopicId) -> Box<dyn FnOnce() + Send>;

    /// Moves the folders away that exist of these partitions, and has them removed.
    ///
    /// # Errors
    /// Some may still be in place; the others were moved.
    fn put_away(&self, partitions: &[TopicPartition]) -> Result<(), TopicError>;
}

/// Partitions that were made and that nobody finds yet.
pub trait MadePartitions: Send {
    /// Puts other configs in force.
    fn set_config(&self, config: &Arc<TopicConfig>);

    /// The topic that has them is stored: from now on they are found.
    fn show(&mut self, topic: TopicId);

    /// Takes them back, with their folders: their topic could not be stored.
    fn take_back(&mut self);
}
