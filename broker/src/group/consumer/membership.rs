//! Membership of the group, and the owners of partitions.
//!
//! The only file that changes `members` and what is derived from them (`static_members`, `owners`,
//! `members_bytes`, `subscribers`, `stable`, who subscribes with which expression), so that they
//! always agree.

use std::collections::BTreeMap;

use super::weight::member_bytes;
use super::{ConsumerGroup, Member, MemberState, TimerKey};
use crate::group::error::GroupError;
use crate::records::member_ids::{InstanceId, MemberId};

impl ConsumerGroup {
    /// Adds or replaces a member as a whole.
    pub(super) fn put_member(&mut self, id: &MemberId, member: Member) {
        self.count(&member);
        if let Some(old) = self.members.remove(id) {
            self.disown(id, &old);
            self.uncount(&old);
        }
        for partition in member.owned() {
            let owner = self.owners.insert(partition, id.clone());
            debug_assert_eq!(owner, None, "{partition:?} has two owners");
        }
        if let Some(instance) = &member.instance_id {
            self.static_members.insert(instance.clone(), id.clone());
        }
        self.members.insert(id.clone(), member);
        self.unstored.members.insert(id.clone());
    }

    /// Takes a member out, with its target and its timers.
    pub(super) fn take_member(&mut self, id: &MemberId) -> Option<Member> {
        let member = self.members.remove(id)?;
        self.disown(id, &member);
        self.uncount(&member);
        if let Some(instance) = &member.instance_id
            && self.static_members.get(instance) == Some(id)
        {
            self.static_members.remove(instance);
        }
        if self.targets.remove(id).is_some() {
            self.unstored.targets.insert(id.clone());
        }
        self.unstored.members.insert(id.clone());
        for key in [
            TimerKey::Session(id.clone()),
            TimerKey::Rebalance(id.clone()),
            TimerKey::Join(id.clone()),
            TimerKey::Sync(id.clone()),
        ] {
            self.timers.cancel(&key);
        }
        Some(member)
    }

    /// Before an old state of the member is taken out: what both subscribe to is never forgotten.
    fn count(&mut self, member: &Member) {
        self.members_bytes += member_bytes(member);
        self.regexes.add(&member.regex);
        for topic in &member.topics {
            match self.subscribers.get_mut(topic) {
                Some(members) => *members += 1,
                None => drop(self.subscribers.insert(topic.clone(), 1)),
            }
        }
        if member.state == MemberState::Stable {
            *self.stable.entry(member.member_epoch).or_default() += 1;
        }
    }

    fn uncount(&mut self, member: &Member) {
        self.members_bytes -= member_bytes(member);
        self.regexes.remove(&member.regex);
        for topic in &member.topics {
            take_one(&mut self.subscribers, topic);
        }
        if member.state == MemberState::Stable {
            take_one(&mut self.stable, &member.member_epoch);
        }
    }

    fn disown(&mut self, id: &MemberId, member: &Member) {
        for partition in member.owned() {
            if self.owners.get(&partition) == Some(id) {
                self.owners.remove(&partition);
            }
        }
    }

    /// `group.consumer.max.size`.
    pub(super) fn check_room(&self, id: &MemberId) -> Result<(), GroupError> {
        let max_size = usize::try_from(self.config.consumer.max_size).unwrap_or(usize::MAX);
        if self.members.len() >= max_size && !self.members.contains_key(id) {
            return Err(GroupError::GroupFull);
        }
        Ok(())
    }

    /// The member of that id; if it names an instance, it must be the one that holds it.
    pub(super) fn check_member(
        &self,
        id: &MemberId,
        instance: Option<&InstanceId>,
    ) -> Result<&Member, GroupError> {
        if let Some(instance) = instance {
            match self.static_members.get(instance) {
                None => return Err(GroupError::UnknownMember),
                Some(holder) if holder != id => return Err(GroupError::FencedInstance),
                Some(_) => {}
            }
        }
        self.members.get(id).ok_or(GroupError::UnknownMember)
    }

    /// (Re)starts the member's session timer.
    pub(super) fn restart_session(&mut self, id: &MemberId, timeout_ms: i32, now_ms: i64) {
        let deadline_ms = now_ms + i64::from(timeout_ms.max(0));
        self.timers
            .schedule(TimerKey::Session(id.clone()), deadline_ms);
    }

    /// Starts a timer of a member unless it runs.
    pub(super) fn start_timer(&mut self, key: TimerKey, timeout_ms: i32, now_ms: i64) {
        if !self.timers.is_set(&key) {
            self.timers
                .schedule(key, now_ms + i64::from(timeout_ms.max(0)));
        }
    }
}

/// Counts one less, and removes entries without an owner.
fn take_one<K: Ord>(counts: &mut BTreeMap<K, usize>, key: &K) {
    if let Some(count) = counts.get_mut(key) {
        *count -= 1;
        if *count == 0 {
            counts.remove(key);
        }
    }
}
