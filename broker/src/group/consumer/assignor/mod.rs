//! Which member reads which partition: Kafka's two assignors that run at the broker. Racks are
//! ignored.

mod range;
mod uniform;

#[cfg(test)]
mod tests;

use std::collections::BTreeSet;

use carrick_protocol::ids::TopicId;

use super::Partitions;
use crate::group::config::Assignor;
use crate::records::member_ids::InstanceId;

/// A member to be assigned to.
#[derive(Clone, Debug, Default)]
pub(super) struct Candidate {
    pub instance_id: Option<InstanceId>,
    /// The topics it subscribes to; all of them exist.
    pub topics: BTreeSet<TopicId>,
    /// What the target gave it before.
    pub current: Partitions,
}

impl Assignor {
    /// What each candidate should read, in their order; they are sorted by member id.
    pub(super) fn assign(
        self,
        candidates: &[Candidate],
        partitions: &dyn Fn(TopicId) -> i32,
    ) -> Vec<Partitions> {
        match self {
            Self::Uniform => uniform::assign(candidates, partitions),
            Self::Range => range::assign(candidates, partitions),
        }
    }
}
