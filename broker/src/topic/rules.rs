//! Rules for all topics: how they are created, and whether they may be deleted.

use super::replicas::Replication;
use crate::config::Values;

/// The broker's rules for topics, as they were at start.
#[derive(Debug, Clone, Copy)]
pub struct TopicRules {
    /// Partitions of a new topic that asks for no number: `num.partitions`.
    pub default_partitions: i32,
    /// What happens to requested replication factors: `replication.factor.clamp` (Carrick's own) and
    /// `default.replication.factor`.
    pub replication: Replication,
    /// Whether asking for a topic creates it: `auto.create.topics.enable`.
    pub auto_create: bool,
    /// Whether topics may be deleted: `delete.topic.enable`.
    pub may_delete: bool,
}

impl TopicRules {
    /// As the broker's properties say.
    pub fn of(values: &Values) -> Self {
        Self {
            default_partitions: values.int("num.partitions"),
            replication: Replication::of(values),
            auto_create: values.boolean("auto.create.topics.enable"),
            may_delete: values.boolean("delete.topic.enable"),
        }
    }
}
