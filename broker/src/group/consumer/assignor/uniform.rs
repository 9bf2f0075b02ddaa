//! `uniform`: every member gets about as many partitions as the others, and keeps as many of its
//! current ones as possible (`UniformAssignor`).
//!
//! If all members subscribe to the same topics, the numbers differ by at most one. Otherwise
//! partitions go to the subscriber that has the fewest. Then they move from the members with the
//! most to the members with the fewest among the subscribers of a topic, as long as that evens out
//! the numbers.

use std::collections::{BTreeMap, BTreeSet};

use carrick_protocol::ids::TopicId;

use super::{Candidate, Partitions};

/// Rounds of evening out where subscriptions overlap, at most: each about halves what is uneven.
const MAX_ROUNDS: usize = 16;

/// An assignment being computed.
struct Plan {
    assigned: Vec<Partitions>,
    load: Vec<usize>,
}

pub(super) fn assign(
    candidates: &[Candidate],
    partitions: &dyn Fn(TopicId) -> i32,
) -> Vec<Partitions> {
    let subscribers = subscribers(candidates);
    let (mut plan, free) = Plan::keep(candidates, &subscribers, partitions);
    let alike = candidates
        .windows(2)
        .all(|pair| pair[0].topics == pair[1].topics);
    if alike {
        plan.even_out_alike(free);
    } else {
        plan.even_out(free, &subscribers);
    }
    plan.assigned
}

/// The members that subscribe to each topic, by their place.
fn subscribers(candidates: &[Candidate]) -> BTreeMap<TopicId, Vec<usize>> {
    let mut subscribers: BTreeMap<TopicId, Vec<usize>> = BTreeMap::new();
    for (at, candidate) in candidates.iter().enumerate() {
        for topic in &candidate.topics {
            subscribers.entry(*topic).or_default().push(at);
        }
    }
    subscribers
}

impl Plan {
    /// What the members have and may keep, and the partitions without an owner.
    fn keep(
        candidates: &[Candidate],
        subscribers: &BTreeMap<TopicId, Vec<usize>>,
        partitions: &dyn Fn(TopicId) -> i32,
    ) -> (Self, Vec<(TopicId, i32)>) {
        let mut plan = Self {
            assigned: vec![Partitions::new(); candidates.len()],
            load: vec![0; candidates.len()],
        };
        let mut free = Vec::new();
        for (topic, members) in subscribers {
            let mut left: BTreeSet<i32> = (0..partitions(*topic)).collect();
            for at in members {
                let current = candidates[*at].current.get(topic);
                for partition in current.into_iter().flatten() {
                    if left.remove(partition) {
                        plan.give(*at, *topic, *partition);
                    }
                }
            }
            free.extend(left.into_iter().map(|partition| (*topic, partition)));
        }
        (plan, free)
    }

    fn give(&mut self, to: usize, topic: TopicId, partition: i32) {
        self.assigned[to]
            .entry(topic)
            .or_default()
            .insert(partition);
        self.load[to] += 1;
    }

    /// Takes the last partition of a topic from a member.
    fn take(&mut self, from: usize, topic: TopicId) -> Option<i32> {
        let partitions = self.assigned[from].get_mut(&topic)?;
        let partition = partitions.pop_last()?;
        if partitions.is_empty() {
            self.assigned[from].remove(&topic);
        }
        self.load[from] -= 1;
        Some(partition)
    }

    /// Any member may have any partition: each gets its share, and members with more give
    /// partitions away. Members that have more than the smallest share keep one more, as long as
    /// there are any left over.
    fn even_out_alike(&mut self, mut free: Vec<(TopicId, i32)>) {
        let members = self.load.len();
        if members == 0 {
            return;
        }
        let total: usize = free.len() + self.load.iter().sum::<usize>();
        let (share, extra) = (total / members, total % members);
        let mut fullest_first: Vec<usize> = (0..members).collect();
        fullest_first.sort_by_key(|at| std::cmp::Reverse(self.load[*at]));
        let mut quota = vec![share; members];
        for at in fullest_first.into_iter().take(extra) {
            quota[at] += 1;
        }
        for (at, quota) in quota.iter().enumerate() {
            while self.load[at] > *quota {
                let Some(topic) = self.assigned[at].keys().next_back().copied() else {
                    break;
                };
                let taken = self.take(at, topic);
                free.extend(taken.map(|partition| (topic, partition)));
            }
        }
        let mut free = free.into_iter();
        for (at, quota) in quota.iter().enumerate() {
            let missing = quota.saturating_sub(self.load[at]);
            for (topic, partition) in free.by_ref().take(missing) {
                self.give(at, topic, partition);
            }
        }
    }

    fn even_out(
        &mut self,
        mut free: Vec<(TopicId, i32)>,
        subscribers: &BTreeMap<TopicId, Vec<usize>>,
    ) {
        // Topics with few subscribers first: theirs have the least choice.
        free.sort_by_key(|(topic, _)| subscribers.get(topic).map_or(0, Vec::len));
        for of_topic in free.chunk_by(|(one, _), (next, _)| one == next) {
            self.hand_out(of_topic, subscribers);
        }
        for _ in 0..MAX_ROUNDS {
            let mut moved = false;
            for (topic, members) in subscribers {
                moved |= self.even_out_topic(*topic, members);
            }
            if !moved {
                break;
            }
        }
    }

    /// Gives partitions of one topic to those of its subscribers that have least.
    fn hand_out(&mut self, free: &[(TopicId, i32)], subscribers: &BTreeMap<TopicId, Vec<usize>>) {
        let members = free.first().and_then(|(topic, _)| subscribers.get(topic));
        let mut by_load = self.by_load(members.into_iter().flatten().copied());
        for (topic, partition) in free {
            let Some((_, least)) = by_load.pop_first() else {
                return;
            };
            self.give(least, *topic, *partition);
            by_load.insert((self.load[least], least));
        }
    }

    /// Moves partitions of one topic from its busiest readers to its least busy subscribers.
    fn even_out_topic(&mut self, topic: TopicId, members: &[usize]) -> bool {
        let mut by_load = self.by_load(members.iter().copied());
        let readers = members.iter().copied();
        let readers = readers.filter(|at| self.assigned[*at].contains_key(&topic));
        let mut readers = self.by_load(readers);
        let mut moved = false;
        while let (Some(least), Some(most)) = (by_load.first(), readers.last()) {
            let ((least_load, least), (most_load, most)) = (*least, *most);
            if most_load < least_load + 2 {
                break;
            }
            let Some(partition) = self.take(most, topic) else {
                break;
            };
            self.give(least, topic, partition);
            moved = true;
            for at in [least, most] {
                let before = match at == least {
                    true => (least_load, at),
                    false => (most_load, at),
                };
                by_load.remove(&before);
                readers.remove(&before);
                by_load.insert((self.load[at], at));
                if self.assigned[at].contains_key(&topic) {
                    readers.insert((self.load[at], at));
                }
            }
        }
        moved
    }

    /// Members by what they have, the first of equals first.
    fn by_load(&self, members: impl Iterator<Item = usize>) -> BTreeSet<(usize, usize)> {
        members.map(|at| (self.load[at], at)).collect()
    }
}
