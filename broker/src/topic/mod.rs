//! Topics: their names, ids, configs and partitions.
//!
//! Invariants:
//! - A topic is in the catalog if and only if it is in RocksDB; RocksDB is written first.
//! - One change at a time (`Catalog::changes`); readers never wait for it. The lock is held only
//!   for memory and RocksDB. Folders are created and removed under a claim on the topic's name
//!   ([`claims`]).
//! - A topic's folders are moved away before its name can be used again. A restart removes those
//!   that a crash left ([`deletion`]).
//! - Lock order: claim → catalog → partition.

pub mod catalog;
mod claims;
pub mod config;
pub mod creation;
pub mod defs;
mod deletion;
pub mod describe;
pub mod error;
mod image;
mod index;
mod on_demand;
pub mod open;
mod remover;
pub mod replicas;
mod rules;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::Arc;

use arc_swap::ArcSwap;
use carrick_protocol::ids::{TopicId, TopicName};

use crate::partition::Partition;

pub use catalog::{Catalog, NewTopic};
pub use config::TopicConfig;
pub use error::TopicError;
pub use image::TopicImage;
pub use on_demand::OnDemand;
pub use rules::TopicRules;

/// One topic. Shared; partitions and configs change under it.
pub struct Topic {
    name: TopicName,
    id: TopicId,
    state: ArcSwap<TopicState>,
}

/// What can change in a topic, swapped as a whole.
#[derive(Clone)]
pub struct TopicState {
    /// The partitions, by number.
    pub partitions: Arc<[Arc<Partition>]>,
    /// The configs that were set on the topic, by name.
    pub overrides: BTreeMap<String, String>,
    /// Overrides over the broker's defaults.
    pub config: Arc<TopicConfig>,
    /// A link owns it: clients read only.
    pub is_mirror: bool,
}

impl Topic {
    fn new(
        name: TopicName,
        id: TopicId,
        partitions: Vec<Arc<Partition>>,
        overrides: BTreeMap<String, String>,
        config: Arc<TopicConfig>,
        is_mirror: bool,
    ) -> Self {
        let partitions = partitions.into();
        let state = TopicState {
            partitions,
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

    /// Swaps the state for a changed one. Only the catalog does, one change at a time.
    fn update(&self, change: impl Fn(&mut TopicState)) {
        self.state.rcu(|state| {
            let mut state = TopicState::clone(state);
            change(&mut state);
            state
        });
    }

    /// The name.
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

    /// A partition by number.
    pub fn partition(&self, number: i32) -> Option<Arc<Partition>> {
        let state = self.state.load();
        state.partitions.get(usize::try_from(number).ok()?).cloned()
    }

    /// All partitions, by number.
    pub fn partitions(&self) -> Arc<[Arc<Partition>]> {
        Arc::clone(&self.state.load().partitions)
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
