//! Conversion from the classic protocol and back while members are active
//! (`group.consumer.migration.policy`; `convertToConsumerGroup`, `convertToClassicGroup`).
//!
//! A classic group of consumers becomes a consumer group when the first member joins with the new
//! protocol, and a classic one again when the last of those has left.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::embedded::{self, Assignment, Subscription};
use super::member::{ClassicMember, Member, with_epoch};
use super::{ConsumerGroup, Env, Partitions, Successor};
use crate::group::classic::migrate::Consumer;
use crate::group::classic::{ClassicGroup, MemberInfo};
use crate::group::config::{GroupConfig, MigrationPolicy};
use crate::group::error::{GroupError, Obstacle};
use crate::records::member_ids::MemberId;

impl ConsumerGroup {
    /// The consumer group that a classic one may become.
    ///
    /// # Errors
    /// `NotUpgradable`, with the first obstacle.
    pub fn upgraded(
        classic: &ClassicGroup,
        config: Arc<GroupConfig>,
        env: &Env<'_>,
    ) -> Result<Self, GroupError> {
        let mut group = Self::new(config);
        if classic.is_empty() {
            return Ok(group);
        }
        let policy = group.config.consumer.migration_policy;
        let max_size = usize::try_from(group.config.consumer.max_size).unwrap_or(usize::MAX);
        let cannot = |obstacle| Err(GroupError::NotUpgradable(obstacle));
        if !policy.may_upgrade() {
            return cannot(Obstacle::Disabled);
        }
        let Some(consumers) = classic.consumers() else {
            return cannot(Obstacle::NoConsumers);
        };
        if consumers.len() > max_size {
            return cannot(Obstacle::TooLarge);
        }
        group.group_epoch = classic.generation();
        group.assignment_epoch = classic.generation();
        group.unstored.group = true;
        for consumer in consumers {
            let session_ms = consumer.info.session_timeout_ms;
            let id = consumer.member_id.clone();
            let (member, target) = group
                .taken_over(consumer, env)
                .map_err(GroupError::NotUpgradable)?;
            group.put_member(&id, member);
            group.targets.insert(id.clone(), target);
            group.unstored.targets.insert(id.clone());
            group.restart_session(&id, session_ms, env.now.tick_ms);
        }
        group.metadata_hash = group.hash_topics(env.topics);
        Ok(group)
    }

    /// A classic consumer as a member here, with its target: its current partitions. It has no
    /// partition that another member claims, too.
    fn taken_over(
        &self,
        consumer: Consumer,
        env: &Env<'_>,
    ) -> Result<(Member, Partitions), Obstacle> {
        let assignment = Assignment::read(&consumer.assignment).ok_or(Obstacle::Malformed)?;
        if assignment.has_user_data {
            return Err(Obstacle::CustomAssignor);
        }
        let subscription = Subscription::read(&consumer.metadata).ok_or(Obstacle::Malformed)?;
        let mut target = embedded::by_id(&assignment.partitions, env.topics);
        for (topic, partitions) in &mut target {
            partitions.retain(|at| !self.owners.contains_key(&(*topic, *at)));
        }
        target.retain(|_, partitions| !partitions.is_empty());
        let info = consumer.info;
        let member = Member {
            member_epoch: self.group_epoch,
            previous_epoch: self.group_epoch,
            instance_id: info.instance_id,
            rack_id: subscription.rack,
            rebalance_timeout_ms: info.rebalance_timeout_ms,
            client_id: info.client_id,
            client_host: info.client_host,
            topics: subscription.topics.into_iter().collect(),
            assigned: with_epoch(&target, self.group_epoch),
            classic: Some(ClassicMember {
                session_timeout_ms: info.session_timeout_ms,
                protocols: info.protocols,
            }),
            ..Member::default()
        };
        Ok((member, target))
    }

    /// Whether only classic members stay when these go, and may be a classic group.
    pub(super) fn may_downgrade_without(&self, leaving: &BTreeSet<MemberId>) -> bool {
        let mut staying = self.members.iter().filter(|(id, _)| !leaving.contains(*id));
        let remaining = self.members.len() - leaving.len();
        remaining > 0
            && staying.all(|(_, member)| member.classic.is_some())
            && self.may_be_classic(remaining)
    }

    /// Whether only classic members are left when a classic one takes this member's place.
    pub(super) fn may_downgrade_with(&self, replaced: &MemberId) -> bool {
        let mut members = self.members.iter();
        members.all(|(id, member)| member.classic.is_some() != (id == replaced))
            && self.may_be_classic(self.members.len())
    }

    fn may_be_classic(&self, members: usize) -> bool {
        let max_size = usize::try_from(self.config.max_size).unwrap_or(usize::MAX);
        self.config.consumer.migration_policy.may_downgrade() && members <= max_size
    }

    /// Becomes a classic group of the members that stay, who are all classic ones.
    pub(super) fn downgrade(
        &mut self,
        leaving: &BTreeSet<MemberId>,
        rebalance: bool,
        env: &Env<'_>,
    ) {
        let staying = self.members.iter().filter(|(id, _)| !leaving.contains(*id));
        let members = staying.filter_map(|(id, member)| {
            let classic = member.classic.as_ref()?;
            let info = MemberInfo {
                instance_id: member.instance_id.clone(),
                client_id: member.client_id.clone(),
                client_host: member.client_host.clone(),
                session_timeout_ms: classic.session_timeout_ms,
                rebalance_timeout_ms: member.rebalance_timeout_ms,
                protocols: classic.protocols.clone(),
            };
            Some((id.clone(), info))
        });
        let assignment = |id: &MemberId, metadata: &[u8]| {
            embedded::write(&self.target(id), metadata, env.topics)
        };
        let group = ClassicGroup::of_consumers(
            self.config.clone(),
            self.group_epoch,
            members.collect(),
            assignment,
            env.now,
        );
        self.successor = Some(Box::new(Successor { group, rebalance }));
    }
}

impl MigrationPolicy {
    fn may_upgrade(self) -> bool {
        matches!(self, Self::Upgrade | Self::Bidirectional)
    }

    fn may_downgrade(self) -> bool {
        matches!(self, Self::Downgrade | Self::Bidirectional)
    }
}
