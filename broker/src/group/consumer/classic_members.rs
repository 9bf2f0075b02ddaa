//! Members of the classic protocol in a consumer group: JoinGroup, SyncGroup, Heartbeat and
//! LeaveGroup for a group that is being migrated (`classicGroupJoinToConsumerGroup` and similar).
//!
//! Their generation is the member's epoch. No member leads: the coordinator assigns, and
//! REBALANCE_IN_PROGRESS tells each member to join again to get further.

use std::collections::{BTreeSet, HashSet};

use carrick_protocol::ids::TopicId;

use super::embedded::{self, Subscription};
use super::member::{ClassicMember, Member, MemberState, without_epochs};
use super::{ConsumerGroup, Env, TimerKey};
use crate::group::classic::{
    CONSUMER_PROTOCOL_TYPE, HeartbeatRequest, JoinAnswer, JoinRequest, Leaving, Protocol,
    SyncAnswer, SyncRequest, Synced, unique_protocols,
};
use crate::group::config::MigrationPolicy;
use crate::group::error::GroupError;
use crate::records::member_ids::{InstanceId, MemberId};

impl ConsumerGroup {
    /// JoinGroup.
    ///
    /// # Errors
    /// `InconsistentProtocol`, `GroupFull`, `UnknownMember`, `FencedInstance`: nothing has changed.
    pub fn classic_join(
        &mut self,
        request: JoinRequest,
        env: &Env<'_>,
    ) -> Result<JoinAnswer, GroupError> {
        let joins_anew = request.member_id.is_empty();
        let id = match joins_anew {
            true => request.fresh_member_id.clone(),
            false => request.member_id.clone(),
        };
        let metadata = self.check_classic_join(&id, &request)?;
        let instance = request.info.instance_id.clone();
        if joins_anew && instance.is_none() && request.member_id_required {
            return Ok(JoinAnswer::refused(id, GroupError::MemberIdRequired));
        }
        // Read only now: a member that joins without an id first gets the id to come back with.
        let subscription = Subscription::read(metadata).ok_or(GroupError::InconsistentProtocol)?;
        let replaced = self.classic_static_return(&id, instance.as_ref(), joins_anew)?;
        let downgrades = replaced
            .as_ref()
            .is_some_and(|old| self.may_downgrade_with(old));
        if let Some(old) = &replaced {
            self.replace_member(old, &id);
        }
        let before = self.members.get(&id).cloned().unwrap_or_default();
        let member = joined(&before, &request, &subscription);
        let changed = member.topics != before.topics || member.regex != before.regex;
        if self.members.get(&id) != Some(&member) {
            self.put_member(&id, member);
        }
        self.refresh_epoch(changed, env);
        if !downgrades {
            self.refresh_target(env);
        }
        let rebalance = downgrades && self.assignment_epoch < self.group_epoch;
        if !rebalance {
            let owned: Vec<(TopicId, Vec<i32>)> = embedded::by_id(&subscription.owned, env.topics)
                .into_iter()
                .map(|(topic, partitions)| (topic, partitions.into_iter().collect()))
                .collect();
            self.reconcile(&id, Some(&owned), changed, env);
        }
        let answer = self.joined_answer(&id);
        self.expect_sync(&id, &request, env);
        if downgrades {
            self.downgrade(&BTreeSet::new(), rebalance, env);
        }
        Ok(answer)
    }

    /// The checks for every join; gives the metadata that holds the subscription.
    fn check_classic_join<'a>(
        &self,
        id: &MemberId,
        request: &'a JoinRequest,
    ) -> Result<&'a [u8], GroupError> {
        if self.config.consumer.migration_policy == MigrationPolicy::Disabled {
            return Err(GroupError::InconsistentProtocol);
        }
        self.check_room(id)?;
        self.check_metadata(id, self.join_growth_bytes(request))?;
        let supported = self.classic_protocols();
        let protocols = &request.info.protocols;
        let shared = |protocol: &Protocol| {
            supported
                .as_ref()
                .is_none_or(|names| names.contains(&*protocol.name))
        };
        if &*request.protocol_type != CONSUMER_PROTOCOL_TYPE || !protocols.iter().any(shared) {
            return Err(GroupError::InconsistentProtocol);
        }
        let first = protocols.first().ok_or(GroupError::InconsistentProtocol)?;
        Ok(&first.metadata)
    }

    /// The protocols that all classic members support; `None` if there are no such members.
    fn classic_protocols(&self) -> Option<HashSet<&str>> {
        let classic = self
            .members
            .values()
            .filter_map(|member| member.classic.as_ref());
        let names = classic.map(|classic| -> HashSet<&str> {
            classic
                .protocols
                .iter()
                .map(|protocol| &*protocol.name)
                .collect()
        });
        names.reduce(|all, names| all.intersection(&names).copied().collect())
    }

    /// The member whose place a static member takes that joins.
    fn classic_static_return(
        &self,
        id: &MemberId,
        instance: Option<&InstanceId>,
        joins_anew: bool,
    ) -> Result<Option<MemberId>, GroupError> {
        let Some(instance) = instance else {
            return Ok(None);
        };
        if joins_anew {
            return Ok(self.static_members.get(instance).cloned());
        }
        self.check_member(id, Some(instance)).map(|_| None)
    }

    fn joined_answer(&self, id: &MemberId) -> JoinAnswer {
        let member = self.members.get(id);
        let classic = member.and_then(|member| member.classic.as_ref());
        let protocol = classic.and_then(|classic| classic.protocols.first());
        JoinAnswer {
            error: None,
            member_id: id.clone(),
            generation: member.map_or(-1, |member| member.member_epoch),
            protocol_type: Some(CONSUMER_PROTOCOL_TYPE.into()),
            protocol_name: protocol.map(|protocol| protocol.name.clone()),
            leader: MemberId::default(),
            members: Vec::new(),
            skip_assignment: false,
        }
    }

    fn expect_sync(&mut self, id: &MemberId, request: &JoinRequest, env: &Env<'_>) {
        let now_ms = env.now.tick_ms;
        self.timers.cancel(&TimerKey::Join(id.clone()));
        self.timers.cancel(&TimerKey::Sync(id.clone()));
        self.restart_session(id, request.info.session_timeout_ms, now_ms);
        let key = TimerKey::Sync(id.clone());
        self.start_timer(key, request.info.rebalance_timeout_ms, now_ms);
    }

    /// SyncGroup: the member immediately gets what has been assigned to it.
    ///
    /// # Errors
    /// `UnknownMember`, `FencedInstance`, `IllegalGeneration`, `InconsistentProtocol`,
    /// `RebalanceInProgress`.
    pub fn classic_sync(&mut self, request: &SyncRequest, env: &Env<'_>) -> SyncAnswer {
        let id = &request.member_id;
        let member = self.check_member(id, request.instance_id.as_ref())?;
        let classic = member.classic.as_ref().ok_or(GroupError::UnknownMember)?;
        if request.generation != member.member_epoch {
            return Err(GroupError::IllegalGeneration);
        }
        let protocol = classic.protocols.first().ok_or(GroupError::UnknownMember)?;
        let type_differs = |name: &str| name != CONSUMER_PROTOCOL_TYPE;
        if request.protocol_type.as_deref().is_some_and(type_differs)
            || request
                .protocol_name
                .as_ref()
                .is_some_and(|name| *name != protocol.name)
        {
            return Err(GroupError::InconsistentProtocol);
        }
        let (session_ms, rebalance_ms) = (classic.session_timeout_ms, member.rebalance_timeout_ms);
        let behind = self.assignment_epoch > member.member_epoch;
        if behind && member.state != MemberState::Unrevoked {
            let key = TimerKey::Join(id.clone());
            self.start_timer(key, rebalance_ms, env.now.tick_ms);
            return Err(GroupError::RebalanceInProgress);
        }
        let partitions = without_epochs(&member.assigned);
        let synced = Synced {
            protocol_type: request.protocol_type.clone(),
            protocol_name: request.protocol_name.clone(),
            assignment: embedded::write(&partitions, &protocol.metadata, env.topics),
        };
        self.timers.cancel(&TimerKey::Sync(id.clone()));
        self.restart_session(id, session_ms, env.now.tick_ms);
        Ok(synced)
    }

    /// Heartbeat. `RebalanceInProgress` is a sign of life, too.
    ///
    /// # Errors
    /// `UnknownMember`, `FencedInstance`, `IllegalGeneration`, `RebalanceInProgress`.
    pub fn classic_heartbeat(
        &mut self,
        request: &HeartbeatRequest,
        env: &Env<'_>,
    ) -> Result<(), GroupError> {
        let id = &request.member_id;
        let member = self.check_member(id, request.instance_id.as_ref())?;
        let classic = member.classic.as_ref().ok_or(GroupError::UnknownMember)?;
        if request.generation != member.member_epoch {
            return Err(GroupError::IllegalGeneration);
        }
        let (session_ms, rebalance_ms) = (classic.session_timeout_ms, member.rebalance_timeout_ms);
        let may_advance = member.member_epoch < self.assignment_epoch
            || match member.state {
                MemberState::Stable => false,
                MemberState::Unrevoked => true,
                MemberState::Unreleased => !self.waits_for_others(id, member),
            };
        self.restart_session(id, session_ms, env.now.tick_ms);
        if !may_advance {
            return Ok(());
        }
        let key = TimerKey::Join(id.clone());
        self.start_timer(key, rebalance_ms, env.now.tick_ms);
        Err(GroupError::RebalanceInProgress)
    }

    /// Whether some partition of the member's target still has another owner.
    fn waits_for_others(&self, id: &MemberId, member: &Member) -> bool {
        let targets = self.targets.get(id).into_iter().flatten();
        let mut all = targets.flat_map(|(topic, at)| at.iter().map(|at| (*topic, *at)));
        all.any(|(topic, at)| {
            let assigned = member.assigned.get(&topic);
            !assigned.is_some_and(|assigned| assigned.contains_key(&at))
                && self.owners.contains_key(&(topic, at))
        })
    }

    /// LeaveGroup. One result for each of `leaving`, in order.
    pub fn classic_leave(
        &mut self,
        leaving: &[Leaving],
        env: &Env<'_>,
    ) -> Vec<Result<(), GroupError>> {
        let mut gone = BTreeSet::new();
        let mut leave = |who: &Leaving| {
            let by_name = who
                .instance_id
                .as_ref()
                .filter(|_| who.member_id.is_empty());
            let id = match by_name {
                Some(instance) => self.static_members.get(instance),
                None => Some(&who.member_id),
            };
            let id = id.ok_or(GroupError::UnknownMember)?;
            self.check_member(id, who.instance_id.as_ref())?;
            gone.insert(id.clone());
            Ok(())
        };
        let results = leaving.iter().map(&mut leave).collect();
        self.fence(&gone, env);
        results
    }
}

/// The member with what its JoinGroup request says.
fn joined(member: &Member, request: &JoinRequest, subscription: &Subscription) -> Member {
    let mut member = member.clone();
    let info = &request.info;
    if info.instance_id.is_some() {
        member.instance_id.clone_from(&info.instance_id);
    }
    if subscription
        .rack
        .as_ref()
        .is_some_and(|rack| !rack.is_empty())
    {
        member.rack_id.clone_from(&subscription.rack);
    }
    member.rebalance_timeout_ms = info.rebalance_timeout_ms;
    member.topics = subscription.topics.iter().cloned().collect();
    member.regex = "".into();
    member.client_id.clone_from(&info.client_id);
    member.client_host.clone_from(&info.client_host);
    member.classic = Some(ClassicMember {
        session_timeout_ms: info.session_timeout_ms,
        protocols: unique_protocols(info.protocols.clone()),
    });
    member
}
