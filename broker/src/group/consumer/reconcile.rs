//! Moves a member to its target: `CurrentAssignmentBuilder`.
//!
//! Revoke before assign: as long as the member has partitions that are no longer its own, it stays
//! in its epoch and gets nothing. Then it moves to the target's epoch and gets what is free; what
//! another member still has follows once that member has released it.

use std::collections::{BTreeMap, BTreeSet};

use carrick_protocol::ids::TopicId;

use super::{ConsumerGroup, Env, Epochs, Member, MemberState, Partitions, TimerKey};
use crate::records::member_ids::MemberId;
use crate::topic::TopicImage;

/// What a member says that it reads; `None` if it does not say.
type Owned<'a> = Option<&'a [(TopicId, Vec<i32>)]>;

/// How a member's partitions differ from its target.
#[derive(Default)]
struct Difference {
    kept: Epochs,
    lost: Epochs,
    gained: Partitions,
    /// Some of its target belongs to another member.
    waits: bool,
}

impl ConsumerGroup {
    /// Moves a member as far towards its target as possible. `owned` is what it reports that it
    /// reads.
    pub(super) fn reconcile(
        &mut self,
        id: &MemberId,
        owned: Owned<'_>,
        subscription_changed: bool,
        env: &Env<'_>,
    ) {
        let Some(member) = self.members.get(id) else {
            return;
        };
        if !subscription_changed && member.is_reconciled_to(self.assignment_epoch) {
            return;
        }
        let subscribed = self.subscribed_ids(member, env.topics);
        let next = self.next_of(id, member, owned, subscription_changed, &subscribed);
        let Some(mut next) = next.filter(|next| next != member) else {
            return;
        };
        let key = TimerKey::Rebalance(id.clone());
        if next.classic.is_some() || next.state != MemberState::Unrevoked {
            next.rebalance_epoch = None;
            self.timers.cancel(&key);
        } else {
            next.rebalance_epoch = Some(next.member_epoch);
            let timeout_ms = i64::from(next.rebalance_timeout_ms.max(0));
            self.timers.schedule(key, env.now.tick_ms + timeout_ms);
        }
        self.put_member(id, next);
    }

    fn next_of(
        &self,
        id: &MemberId,
        member: &Member,
        owned: Owned<'_>,
        subscription_changed: bool,
        subscribed: &BTreeSet<TopicId>,
    ) -> Option<Member> {
        match member.state {
            MemberState::Stable if member.member_epoch == self.assignment_epoch => {
                subscription_changed.then(|| unsubscribed(member, owned, subscribed))?
            }
            MemberState::Unrevoked if still_owns(owned, &member.revoking) => {
                subscription_changed.then(|| unsubscribed(member, owned, subscribed))?
            }
            _ => Some(self.towards_target(id, member, owned, subscribed)),
        }
    }

    fn towards_target(
        &self,
        id: &MemberId,
        member: &Member,
        owned: Owned<'_>,
        subscribed: &BTreeSet<TopicId>,
    ) -> Member {
        let mut difference = self.difference(id, member, subscribed);
        let mut next = member.clone();
        next.assigned = difference.kept;
        if still_owns(owned, &difference.lost) {
            next.state = MemberState::Unrevoked;
            next.advance(member.member_epoch);
            next.revoking = std::mem::take(&mut difference.lost);
            return next;
        }
        for (topic, partitions) in difference.gained {
            let epochs = next.assigned.entry(topic).or_default();
            epochs.extend(partitions.into_iter().map(|at| (at, self.assignment_epoch)));
        }
        next.state = match difference.waits {
            true => MemberState::Unreleased,
            false => MemberState::Stable,
        };
        next.advance(self.assignment_epoch);
        next.revoking = Epochs::new();
        next
    }

    fn difference(
        &self,
        id: &MemberId,
        member: &Member,
        subscribed: &BTreeSet<TopicId>,
    ) -> Difference {
        let nothing = BTreeSet::new();
        let no_target = Partitions::new();
        let target = self.targets.get(id).unwrap_or(&no_target);
        let mut difference = Difference::default();
        for (topic, epochs) in &member.assigned {
            let wanted = target.get(topic).filter(|_| subscribed.contains(topic));
            let wanted = wanted.unwrap_or(&nothing);
            for (partition, epoch) in epochs {
                let side = match wanted.contains(partition) {
                    true => &mut difference.kept,
                    false => &mut difference.lost,
                };
                side.entry(*topic).or_default().insert(*partition, *epoch);
            }
        }
        for (topic, partitions) in target
            .iter()
            .filter(|(topic, _)| subscribed.contains(topic))
        {
            let had = member.assigned.get(topic);
            let new = partitions
                .iter()
                .filter(|at| had.is_none_or(|had| !had.contains_key(at)));
            for partition in new {
                let owner = self.owners.get(&(*topic, *partition));
                if owner.is_none_or(|owner| owner == id) {
                    difference
                        .gained
                        .entry(*topic)
                        .or_default()
                        .insert(*partition);
                } else {
                    difference.waits = true;
                }
            }
        }
        difference
    }

    /// The ids of the topics that a member subscribes to, by name or by expression.
    pub(super) fn subscribed_ids(&self, member: &Member, topics: &TopicImage) -> BTreeSet<TopicId> {
        let matching = self.regexes.get(&member.regex).map(|regex| &*regex.topics);
        let by_name = member.topics.iter().map(String::as_str);
        let matching = matching.into_iter().flatten().map(|name| name.as_str());
        by_name
            .chain(matching)
            .filter_map(|name| topics.topic(name))
            .map(|(id, _)| id)
            .collect()
    }
}

/// Whether the member may still read some of `revoking`.
fn still_owns(owned: Owned<'_>, revoking: &Epochs) -> bool {
    if revoking.is_empty() {
        return false;
    }
    let Some(owned) = owned else {
        return true;
    };
    owned.iter().any(|(topic, partitions)| {
        let revoking = revoking.get(topic);
        revoking.is_some_and(|revoking| partitions.iter().any(|at| revoking.contains_key(at)))
    })
}

/// The member without the topics that it no longer subscribes to, if it has any of those.
fn unsubscribed(
    member: &Member,
    owned: Owned<'_>,
    subscribed: &BTreeSet<TopicId>,
) -> Option<Member> {
    let (kept, lost): (Epochs, Epochs) = member
        .assigned
        .clone()
        .into_iter()
        .partition(|(topic, _)| subscribed.contains(topic));
    if lost.is_empty() {
        return None;
    }
    let mut next = member.clone();
    next.assigned = kept;
    next.advance(member.member_epoch);
    let mut revoking: BTreeMap<_, _> = member.revoking.clone();
    for (topic, partitions) in lost {
        revoking.entry(topic).or_default().extend(partitions);
    }
    if still_owns(owned, &revoking) {
        next.state = MemberState::Unrevoked;
        next.revoking = revoking;
    }
    Some(next)
}
