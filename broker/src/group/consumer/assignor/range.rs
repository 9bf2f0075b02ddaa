//! `range`: of each topic, every subscriber gets one range of partitions (`RangeAssignor`).
//!
//! Static members come first, by instance: they keep their ranges when they return under another
//! member id. If all members subscribe to the same topics, and these have the same number of
//! partitions, each member gets the same partitions of every topic.

use std::collections::BTreeMap;

use carrick_protocol::ids::TopicId;

use super::{Candidate, Partitions};

struct Topic {
    partitions: i32,
    subscribers: i32,
    /// Subscribers that have their range already.
    served: i32,
    next: i32,
}

pub(super) fn assign(
    candidates: &[Candidate],
    partitions: &dyn Fn(TopicId) -> i32,
) -> Vec<Partitions> {
    let mut topics: BTreeMap<TopicId, Topic> = BTreeMap::new();
    for id in candidates.iter().flat_map(|candidate| &candidate.topics) {
        let topic = topics.entry(*id).or_insert_with(|| Topic {
            partitions: partitions(*id),
            subscribers: 0,
            served: 0,
            next: 0,
        });
        topic.subscribers += 1;
    }
    let mut order: Vec<usize> = (0..candidates.len()).collect();
    // Dynamic members keep the order of their ids: the sort is stable.
    order.sort_by_key(|at| {
        let instance = candidates[*at].instance_id.as_ref();
        (instance.is_none(), instance)
    });
    let mut assigned = vec![Partitions::new(); candidates.len()];
    for at in order {
        for id in &candidates[at].topics {
            let range = topics
                .get_mut(id)
                .map(Topic::next_range)
                .unwrap_or_default();
            if !range.is_empty() {
                assigned[at].insert(*id, range.collect());
            }
        }
    }
    assigned
}

impl Topic {
    /// The next subscriber's range: the first ones get one partition more if it does not come out
    /// even.
    fn next_range(&mut self) -> std::ops::Range<i32> {
        let extra = i32::from(self.served < self.partitions % self.subscribers);
        let first = self.next;
        self.next = (first + self.partitions / self.subscribers + extra).min(self.partitions);
        self.served += 1;
        first..self.next
    }
}
