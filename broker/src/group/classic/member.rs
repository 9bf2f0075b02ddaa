//! One member of a classic group.

use std::collections::HashSet;
use std::sync::Arc;

use bytes::Bytes;

use super::Ticket;
pub use crate::records::consumer_member::Protocol;
use crate::records::member_ids::InstanceId;

/// What a member says about itself when it joins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemberInfo {
    /// The static instance, if it is one.
    pub instance_id: Option<InstanceId>,
    /// Client id of the connection it joined over.
    pub client_id: Arc<str>,
    /// Address it joined from, in Kafka's form (`/10.0.0.1`).
    pub client_host: Arc<str>,
    /// It is dead when it has been silent for this long.
    pub session_timeout_ms: i32,
    /// How long a rebalance waits for it.
    pub rebalance_timeout_ms: i32,
    /// Most wanted first; names are unique.
    pub protocols: Vec<Protocol>,
}

/// A member, and the request that it waits for.
#[derive(Clone, Debug)]
pub(super) struct Member {
    pub info: MemberInfo,
    /// What the leader gave it in the present generation; empty before.
    pub assignment: Bytes,
    /// The join that is not answered yet.
    pub awaiting_join: Option<Ticket>,
    /// The sync that is not answered yet.
    pub awaiting_sync: Option<Ticket>,
    /// It has not been told its member id yet, so it can't send heartbeats.
    pub is_new: bool,
}

impl Member {
    pub fn new(info: MemberInfo) -> Self {
        Self {
            info,
            assignment: Bytes::new(),
            awaiting_join: None,
            awaiting_sync: None,
            is_new: false,
        }
    }

    /// Whether its session timer may pass without consequence: a parked request is a sign of life.
    pub fn has_satisfied_heartbeat(&self) -> bool {
        !self.is_new && (self.awaiting_join.is_some() || self.awaiting_sync.is_some())
    }

    /// The member's metadata for `protocol`; empty if it does not support it.
    pub fn metadata(&self, protocol: Option<&str>) -> Bytes {
        let found = self
            .info
            .protocols
            .iter()
            .find(|candidate| Some(&*candidate.name) == protocol);
        found.map_or_else(Bytes::new, |found| found.metadata.clone())
    }

    /// The first of its protocols that is among the candidates.
    pub fn vote(&self, candidates: &HashSet<Arc<str>>) -> Option<&Arc<str>> {
        self.info
            .protocols
            .iter()
            .map(|protocol| &protocol.name)
            .find(|name| candidates.contains(*name))
    }
}

/// Protocols as received, without repeated names (the first wins).
pub(in crate::group) fn unique_protocols(protocols: Vec<Protocol>) -> Vec<Protocol> {
    let mut seen = HashSet::new();
    let mut unique = protocols;
    unique.retain(|protocol| seen.insert(protocol.name.clone()));
    unique
}
