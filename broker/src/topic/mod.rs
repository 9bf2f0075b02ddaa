//! Topics: their names, ids, configs, and how many partitions they have. Where the partitions are is not
//! known here: what must happen to folders and logs goes through [`Hosting`].
//!
//! Invariants:
//! - A topic is in [`Topics`] if and only if it is in RocksDB; RocksDB is written first.
//! - One change at a time (`Topics::changes`); readers never wait for it. The lock is held only
//!   for memory and RocksDB. Folders are created and removed under a claim on the topic's name
//!   ([`claims`]).
//! - A topic's folders are moved away before its name can be used again. A restart removes those
//!   that a crash left ([`deletion`]).
//! - Lock order: claim → topics → hosted → partition.

mod claims;
pub mod config;
pub mod creation;
pub mod defs;
mod deletion;
pub mod describe;
pub mod error;
mod hosting;
mod image;
mod index;
mod on_demand;
pub mod replicas;
mod rules;
#[cfg(test)]
mod tests;
pub mod topics;

use std::collections::BTreeMap;
use std::sync::Arc;

use arc_swap::ArcSwap;
use carrick_protocol::ids::{LeaderEpoch, TopicId, TopicName};

pub use config::TopicConfig;
pub use error::TopicError;
pub use hosting::{Hosting, MadePartitions, NewPartitions};
pub use image::TopicImage;
pub use on_demand::OnDemand;
pub use rules::TopicRules;
pub use topics::{NewTopic, Topics};

/// One topic. Shared; the number of its partitions and its configs change under it.
pub struct Topic {
    name: TopicName,
    id: TopicId,
    state: ArcSwap<TopicState>,
}

/// What can change in a topic, swapped as a whole.
#[derive(Clone)]
pub struct TopicState {
    /// The leader epoch of each partition as it is stored: the partition itself may be ahead.
    pub leader_epochs: Arc<[LeaderEpoch]>,
    /// The configs that were set on the topic, by name.
    pub overrides: BTreeMap<String, String>,
    /// Overrides over the broker's defaults.
    pub config: Arc<TopicConfig>,
    /// A link owns it: clients read only.
    pub is_mirror: bool,
}

impl TopicState {
    /// As [`Topic::partition_count`].
    pub fn partition_count(&self) -> i32 {
        i32::try_from(self.leader_epochs.len()).unwrap_or(i32::MAX)
    }
}

impl Topic {
    fn new(
        name: TopicName,
        id: TopicId,
        leader_epochs: Vec<LeaderEpoch>,
        overrides: BTreeMap<String, String>,
        config: Arc<TopicConfig>,
        is_mirror: bool,
    ) -> Self {
        let state = TopicState {
            leader_epochs: leader_epochs.into(),
            overrides,
            config,
            is_mirror,
        };
        Self {
            name,
            id,
            state: ArcSwap::from_pointee(state),
        }
    }

    /// Swaps the state for a changed one. Only `Topics` does, one change at a time.
    fn update(&self, change: impl Fn(&mut TopicState)) {
        self.state.rcu(|state| {
            let mut state = TopicState::clone(state);
            change(&mut state);
            state
        });
    }

    pub fn name(&self) -> &TopicName {
        &self.name
    }

    /// The id, never zero.
    pub fn id(&self) -> TopicId {
        self.id
    }

    /// What can change, as it is now.
    pub fn state(&self) -> Arc<TopicState> {
        self.state.load_full()
    }

    /// How many partitions there are: they are numbered from 0.
    pub fn partition_count(&self) -> i32 {
        self.state.load().partition_count()
    }

    /// Whether there is a partition of that number.
    pub fn has_partition(&self, number: i32) -> bool {
        (0..self.partition_count()).contains(&number)
    }

    /// Whether a link owns it.
    pub fn is_mirror(&self) -> bool {
        self.state.load().is_mirror
    }

    /// Whether clients see it as internal (Kafka's `Topic.isInternal`). Nothing creates one unasked.
    pub fn is_internal(&self) -> bool {
        self.name.is_internal()
    }
}
