//! The cluster as this broker sees it: who its brokers are, who leads a partition in which epoch, and
//! who coordinates a group or a transactional id.
//!
//! Handlers ask the [`View`]; none assumes that the answer is this broker. It always is today
//! ([`alone`]).

pub mod alone;

use carrick_protocol::ids::{LeaderEpoch, NodeId};

use crate::topic::Topic;

/// A broker, as clients of one listener reach it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    pub id: NodeId,
    pub host: String,
    pub port: u16,
    pub rack: Option<String>,
}

/// Who leads a partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Leader {
    /// `None` while nobody does.
    pub broker: Option<NodeId>,
    /// Grows with every leader, and when the one that leads may have lost records.
    pub epoch: LeaderEpoch,
}

/// Where a partition is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Placement {
    pub leader: Leader,
    /// The brokers that hold it, or are to.
    pub replicas: Vec<NodeId>,
    /// Those of them that could lead at once.
    pub in_sync: Vec<NodeId>,
    /// Those of them that cannot serve it.
    pub offline: Vec<NodeId>,
}

/// What has a coordinator.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Coordinated<'a> {
    Group(&'a str),
    TransactionalId(&'a str),
}

/// What this broker knows of the cluster. Answers are what it knows at the moment: whoever acts on
/// them is fenced by the epoch, not by the answer.
pub trait View: Send + Sync {
    fn here(&self) -> NodeId;

    /// All brokers, as clients of a listener (its place in `listeners`) reach them.
    fn brokers(&self, listener: usize) -> Vec<Member>;

    /// The broker to which clients send what changes the cluster.
    fn controller(&self) -> NodeId;

    /// Where a partition is; `None` if the topic has no such partition.
    fn placement(&self, topic: &Topic, number: i32) -> Option<Placement>;

    /// Who coordinates that; `None` while nobody does.
    fn coordinator(&self, of: Coordinated<'_>) -> Option<NodeId>;
}
