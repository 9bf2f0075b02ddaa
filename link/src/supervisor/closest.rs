//! Where each partition is read: at its leader, or at a nearby replica that the leader has named
//! (KIP-392).
//!
//! If the reader's rack differs from the leader's, the leader may name a follower instead of
//! sending records. The choice is valid for `metadata.max.age.ms`, as in the Java consumer; then
//! the leader is asked again. A follower that can't be reached, or refuses, is avoided for the same
//! time: the partition is read at its leader, which is asked without a rack, because it would only
//! name the same follower again.
//!
//! Invariant: a follower is read in the leader epoch in which it was named, and in no other.

use std::collections::HashMap;
use std::time::Duration;

use carrick_protocol::ids::{LeaderEpoch, NodeId, TopicId, TopicPartition};
use tokio::time::Instant;

/// Who leads a partition at the source.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Lead {
    pub(crate) node: NodeId,
    pub(crate) epoch: LeaderEpoch,
    pub(crate) topic_id: TopicId,
}

/// The broker to fetch a partition from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct ReadFrom {
    pub(crate) node: NodeId,
    /// Send our rack, so that the leader may name a replica nearby.
    pub(crate) tells_rack: bool,
}

#[derive(Debug, Clone, Copy)]
struct Choice {
    epoch: LeaderEpoch,
    /// `None`: the leader, and no other.
    follower: Option<NodeId>,
    until: Instant,
}

/// The choices of one link.
#[derive(Debug)]
pub(crate) struct Closest {
    has_rack: bool,
    holds_for: Duration,
    choices: HashMap<TopicPartition, Choice>,
}

impl Closest {
    /// Nothing chosen yet. Without a rack every partition is read at its leader.
    pub(crate) fn new(has_rack: bool, holds_for: Duration) -> Self {
        Self {
            has_rack,
            holds_for,
            choices: HashMap::new(),
        }
    }

    /// The leader of `epoch` has named a replica nearby.
    pub(crate) fn named(
        &mut self,
        partition: TopicPartition,
        epoch: LeaderEpoch,
        follower: NodeId,
        now: Instant,
    ) {
        let until = now + self.holds_for;
        let follower = Some(follower);
        let choice = Choice {
            epoch,
            follower,
            until,
        };
        self.choices.insert(partition, choice);
    }

    /// The follower that a partition was read at failed or refused.
    pub(crate) fn left(&mut self, partition: &TopicPartition, now: Instant) {
        if let Some(choice) = self.choices.get_mut(partition) {
            choice.follower = None;
            choice.until = now + self.holds_for;
        }
    }

    /// A broker can't be reached; true if some partition was read there as at a follower.
    pub(crate) fn lost(&mut self, broker: NodeId, now: Instant) -> bool {
        let until = now + self.holds_for;
        let mut was_read = false;
        for choice in self.choices.values_mut() {
            if choice.follower == Some(broker) {
                choice.follower = None;
                choice.until = until;
                was_read = true;
            }
        }
        was_read
    }

    /// The broker to read a partition from that has this leader.
    pub(crate) fn read_from(
        &mut self,
        partition: &TopicPartition,
        lead: Lead,
        now: Instant,
    ) -> ReadFrom {
        let choice = self.choices.get(partition).copied();
        match choice.filter(|choice| choice.epoch == lead.epoch && now < choice.until) {
            Some(Choice { follower, .. }) => ReadFrom {
                node: follower.unwrap_or(lead.node),
                tells_rack: self.has_rack && follower.is_some_and(|node| node != lead.node),
            },
            None => {
                self.choices.remove(partition);
                ReadFrom {
                    node: lead.node,
                    tells_rack: self.has_rack,
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use carrick_protocol::ids::TopicName;

    use super::*;

    const AGE: Duration = Duration::from_secs(300);

    fn partition() -> TopicPartition {
        TopicPartition::new(TopicName::new("orders").unwrap(), 0)
    }

    fn lead(epoch: i32) -> Lead {
        Lead {
            node: NodeId(1),
            epoch: LeaderEpoch(epoch),
            topic_id: TopicId::ZERO,
        }
    }

    fn at(node: i32, tells_rack: bool) -> ReadFrom {
        ReadFrom {
            node: NodeId(node),
            tells_rack,
        }
    }

    #[test]
    fn a_named_follower_is_read_until_its_time_is_over_or_the_epoch() {
        let (mut closest, now) = (Closest::new(true, AGE), Instant::now());
        let read =
            |closest: &mut Closest, epoch, now| closest.read_from(&partition(), lead(epoch), now);
        assert_eq!(read(&mut closest, 4, now), at(1, true));
        closest.named(partition(), LeaderEpoch(4), NodeId(2), now);
        assert_eq!(read(&mut closest, 4, now), at(2, true));
        assert_eq!(read(&mut closest, 5, now), at(1, true), "another leader");
        assert_eq!(
            read(&mut closest, 4, now),
            at(1, true),
            "and it is forgotten"
        );
        closest.named(partition(), LeaderEpoch(4), NodeId(2), now);
        assert_eq!(read(&mut closest, 4, now + AGE), at(1, true));
    }

    #[test]
    fn a_follower_that_does_not_do_is_left_and_the_leader_not_asked_for_another() {
        let now = Instant::now();
        for is_lost in [false, true] {
            let mut closest = Closest::new(true, AGE);
            closest.named(partition(), LeaderEpoch(4), NodeId(2), now);
            if is_lost {
                assert!(!closest.lost(NodeId(3), now) && closest.lost(NodeId(2), now));
            } else {
                closest.left(&partition(), now);
            }
            let read = closest.read_from(&partition(), lead(4), now);
            assert_eq!(read, at(1, false));
            let read = closest.read_from(&partition(), lead(4), now + AGE);
            assert_eq!(read, at(1, true), "it may have got well");
        }
    }

    #[test]
    fn without_a_rack_and_from_a_leader_that_names_itself_the_leader_is_read() {
        let now = Instant::now();
        let mut closest = Closest::new(false, AGE);
        assert_eq!(closest.read_from(&partition(), lead(0), now), at(1, false));
        let mut closest = Closest::new(true, AGE);
        closest.named(partition(), LeaderEpoch(0), NodeId(1), now);
        assert_eq!(closest.read_from(&partition(), lead(0), now), at(1, false));
    }
}
