//! The view of a broker that is its whole cluster: it leads every partition that is not offline, and
//! coordinates everything.

use std::sync::Arc;

use carrick_protocol::ids::NodeId;

use super::{Coordinated, Leader, Member, Placement, View};
use crate::partition::Hosted;
use crate::topic::Topic;

/// The only broker.
pub struct Alone {
    /// One for each listener.
    members: Vec<Member>,
    here: NodeId,
    hosted: Arc<Hosted>,
}

impl Alone {
    /// `addresses`: the host and port of each listener, as clients see them.
    pub fn new(
        here: NodeId,
        rack: Option<&str>,
        addresses: impl IntoIterator<Item = (String, u16)>,
        hosted: Arc<Hosted>,
    ) -> Self {
        let members = addresses.into_iter().map(|(host, port)| Member {
            id: here,
            host,
            port,
            rack: rack.map(str::to_owned),
        });
        Self {
            members: members.collect(),
            here,
            hosted,
        }
    }
}

impl View for Alone {
    fn here(&self) -> NodeId {
        self.here
    }

    fn brokers(&self, listener: usize) -> Vec<Member> {
        self.members.get(listener).cloned().into_iter().collect()
    }

    fn controller(&self) -> NodeId {
        self.here
    }

    fn placement(&self, topic: &Topic, number: i32) -> Option<Placement> {
        let partition = self.hosted.get(topic.id(), number)?;
        let is_led = !partition.is_offline();
        let (up, down) = match is_led {
            true => (vec![self.here], Vec::new()),
            false => (Vec::new(), vec![self.here]),
        };
        Some(Placement {
            leader: Leader {
                broker: is_led.then_some(self.here),
                epoch: partition.leader_epoch(),
            },
            replicas: vec![self.here],
            in_sync: up,
            offline: down,
        })
    }

    fn coordinator(&self, _of: Coordinated<'_>) -> Option<NodeId> {
        Some(self.here)
    }
}
