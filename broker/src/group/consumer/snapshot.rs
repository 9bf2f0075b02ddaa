//! A group as it is stored and as it is described.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::member::{Member, MemberState, without_epochs};
use super::{ConsumerGroup, ConsumerGroupState, Env, NEW_GROUP_EPOCH, Partitions, TimerKey};
use crate::group::config::GroupConfig;
use crate::group::topic_patterns::Resolved;
pub use crate::records::consumer_group::EpochsRecord;
use crate::records::member_ids::MemberId;

/// Which records of a group differ from what is stored.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StoredKeys {
    /// The [`EpochsRecord`].
    pub group: bool,
    /// Members, present or gone.
    pub members: BTreeSet<MemberId>,
    /// Targets, present or gone.
    pub targets: BTreeSet<MemberId>,
}

/// Records to be stored; `None` means that the record is removed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Changes {
    /// Which records these are.
    pub keys: StoredKeys,
    /// The group itself, if it has changed.
    pub epochs: Option<EpochsRecord>,
    pub members: Vec<(MemberId, Option<Member>)>,
    /// What the target assignment gives each.
    pub targets: Vec<(MemberId, Option<Partitions>)>,
}

/// A group as it was stored.
#[derive(Clone, Debug, Default)]
pub struct Stored {
    /// The group itself.
    pub epochs: EpochsRecord,
    pub members: Vec<(MemberId, Member)>,
    /// Its target assignment.
    pub targets: Vec<(MemberId, Partitions)>,
}

/// A group for ConsumerGroupDescribe.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DescribedGroup {
    pub state: ConsumerGroupState,
    /// The group's epoch.
    pub group_epoch: i32,
    /// The epoch of the target assignment.
    pub assignment_epoch: i32,
    /// The assignor in use.
    pub assignor: &'static str,
    /// Who is in it.
    pub members: Vec<DescribedMember>,
}

/// A member for ConsumerGroupDescribe.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DescribedMember {
    pub member_id: MemberId,
    pub member: Member,
    /// What it has, and what it has been told to release.
    pub assigned: Partitions,
    /// What it should have.
    pub target: Partitions,
}

impl ConsumerGroup {
    /// The group from its records, after a restart: members keep their ids and epochs, and each has a
    /// full session timeout to report in. `resolve` gives the results of the expressions that they
    /// subscribe with.
    pub fn restore(
        config: Arc<GroupConfig>,
        stored: Stored,
        env: &Env<'_>,
        resolve: impl FnOnce(&[Arc<str>]) -> Vec<(Arc<str>, Resolved)>,
    ) -> Self {
        let mut group = Self::new(config);
        group.group_epoch = stored.epochs.group_epoch.max(NEW_GROUP_EPOCH);
        group.metadata_hash = stored.epochs.metadata_hash;
        group.assignment_epoch = stored.epochs.assignment_epoch;
        group.assigned_ms = stored.epochs.assigned_ms;
        group.targets = stored.targets.into_iter().collect();
        for (id, mut member) in stored.members {
            let classic = member.classic.as_ref();
            let session_ms = classic.map_or(env.settings.session_timeout_ms, |classic| {
                classic.session_timeout_ms
            });
            if member.state == MemberState::Unrevoked && classic.is_none() {
                member.rebalance_epoch = Some(member.member_epoch);
                let key = TimerKey::Rebalance(id.clone());
                group.start_timer(key, member.rebalance_timeout_ms, env.now.tick_ms);
            }
            group.put_member(&id, member);
            group.restart_session(&id, session_ms, env.now.tick_ms);
        }
        let patterns = group.patterns();
        group.restore_resolved(resolve(&patterns), env.topics);
        group.unstored = StoredKeys::default();
        group
    }

    /// What must be stored, once: it counts as stored until [`Self::give_back`] says otherwise.
    pub fn take_changes(&mut self) -> Option<Changes> {
        if !self.has_unstored() {
            return None;
        }
        let keys = std::mem::take(&mut self.unstored);
        let epochs = EpochsRecord {
            group_epoch: self.group_epoch,
            metadata_hash: self.metadata_hash,
            assignment_epoch: self.assignment_epoch,
            assigned_ms: self.assigned_ms,
        };
        let members = keys.members.iter();
        let targets = keys.targets.iter();
        Some(Changes {
            epochs: keys.group.then_some(epochs),
            members: members
                .map(|id| (id.clone(), self.members.get(id).cloned()))
                .collect(),
            targets: targets
                .map(|id| (id.clone(), self.targets.get(id).cloned()))
                .collect(),
            keys,
        })
    }

    /// These records could not be stored: they come with the next changes.
    pub fn give_back(&mut self, keys: StoredKeys) {
        self.unstored.group |= keys.group;
        self.unstored.members.extend(keys.members);
        self.unstored.targets.extend(keys.targets);
    }

    /// Whether something must be stored.
    pub fn has_unstored(&self) -> bool {
        self.unstored != StoredKeys::default()
    }

    /// The group as administrators see it.
    pub fn describe(&self) -> DescribedGroup {
        let described = |(id, member): (&MemberId, &Member)| {
            let mut assigned = without_epochs(&member.assigned);
            for (topic, partitions) in without_epochs(&member.revoking) {
                assigned.entry(topic).or_default().extend(partitions);
            }
            DescribedMember {
                member_id: id.clone(),
                member: member.clone(),
                assigned,
                target: self.target(id),
            }
        };
        DescribedGroup {
            state: self.state(),
            group_epoch: self.group_epoch,
            assignment_epoch: self.assignment_epoch,
            assignor: self.assignor().name(),
            members: self.members.iter().map(described).collect(),
        }
    }
}
