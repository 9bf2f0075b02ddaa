//! ConsumerGroupHeartbeat: `GroupMetadataManager.consumerGroupHeartbeat`.

use std::sync::Arc;

use carrick_protocol::ids::TopicId;

use super::member::without_epochs;
use super::{
    ConsumerGroup, Env, Epochs, JOIN_EPOCH, LEAVE_EPOCH, Member, Partitions, STATIC_LEAVE_EPOCH,
};
use crate::group::error::GroupError;
use crate::group::topic_patterns::MaySee;
use crate::records::member_ids::{InstanceId, MemberId};

/// A ConsumerGroupHeartbeat request. `None` means: as before.
#[derive(Clone, Debug, Default)]
pub struct HeartbeatRequest {
    /// Who sends it; never empty.
    pub member_id: MemberId,
    /// The epoch it is in; 0 joins, −1 leaves, −2 leaves for a while.
    pub member_epoch: i32,
    /// The static instance, if it is one.
    pub instance_id: Option<InstanceId>,
    /// Its rack: kept and described, and nothing else.
    pub rack_id: Option<String>,
    /// How long it may take to release partitions; −1 to leave it unchanged.
    pub rebalance_timeout_ms: i32,
    /// The topics it subscribes to by name.
    pub topics: Option<Vec<String>>,
    /// The valid regular expression that it subscribes with; empty to end the subscription.
    pub regex: Option<String>,
    /// The assignor it wants; one of those that are offered.
    pub assignor: Option<String>,
    /// What it reads.
    pub owned: Option<Vec<(TopicId, Vec<i32>)>>,
    /// Client id of the connection.
    pub client_id: Arc<str>,
    /// Address of the connection, in Kafka's form (`/10.0.0.1`).
    pub client_host: Arc<str>,
    /// Topics that it may get by a regular expression.
    pub may_see: MaySee,
}

/// The answer to a heartbeat.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeartbeatAnswer {
    /// The member's id.
    pub member_id: MemberId,
    pub member_epoch: i32,
    /// When the next heartbeat is expected.
    pub heartbeat_interval_ms: i32,
    /// What it should read; `None` to leave it unchanged.
    pub assignment: Option<Partitions>,
}

impl ConsumerGroup {
    /// A heartbeat, a join or a leave.
    ///
    /// # Errors
    /// `UnknownMember`, `FencedMemberEpoch`, `FencedInstance`, `UnreleasedInstance`, `GroupFull`,
    /// `InvalidRegex` for one that takes too long to match, `RecordTooLarge`: nothing has changed.
    pub fn heartbeat(
        &mut self,
        request: HeartbeatRequest,
        env: &Env<'_>,
    ) -> Result<HeartbeatAnswer, GroupError> {
        match request.member_epoch {
            LEAVE_EPOCH | STATIC_LEAVE_EPOCH => self.leave(&request, env),
            _ => self.beat(request, env),
        }
    }

    fn beat(
        &mut self,
        request: HeartbeatRequest,
        env: &Env<'_>,
    ) -> Result<HeartbeatAnswer, GroupError> {
        let id = request.member_id.clone();
        self.check_room(&id)?;
        self.check_metadata(&id, self.heartbeat_growth_bytes(&request))?;
        let (before, replaced) = self.present_or_new(&request)?;
        let member = updated(&before, &request);
        if request.regex.is_some() && self.regexes.is_too_slow(&member.regex) {
            return Err(GroupError::InvalidRegex);
        }
        // Nothing fails from here on.
        if let Some(replaced) = &replaced {
            self.replace_member(replaced, &id);
        }
        let regex_changed = member.regex != before.regex;
        // With an expression whose topics are not known yet, the epoch is raised once they are.
        let bumps = member.topics != before.topics
            || (regex_changed
                && (member.regex.is_empty() || self.regexes.is_resolved(&member.regex)));
        let changed = bumps || regex_changed;
        if self.members.get(&id) != Some(&member) {
            self.put_member(&id, member);
        }
        self.refresh_epoch(bumps, env);
        self.refresh_target(env);
        self.reconcile(&id, request.owned.as_deref(), changed, env);
        self.restart_session(&id, env.settings.session_timeout_ms, env.now.tick_ms);
        Ok(self.beat_answer(&id, &before.assigned, &request, env))
    }

    /// The member as it is, or as it begins; and the id of the one whose place it takes.
    fn present_or_new(
        &self,
        request: &HeartbeatRequest,
    ) -> Result<(Member, Option<MemberId>), GroupError> {
        let (id, instance) = (&request.member_id, request.instance_id.as_ref());
        let joins = request.member_epoch == JOIN_EPOCH;
        if joins && let Some(instance) = instance {
            let Some(holder) = self.static_members.get(instance) else {
                return Ok((self.members.get(id).cloned().unwrap_or_default(), None));
            };
            return self.static_return(holder, id);
        }
        if joins && !self.members.contains_key(id) {
            return Ok((Member::default(), None));
        }
        let member = self.check_member(id, instance)?;
        check_epoch(member, request)?;
        Ok((member.clone(), None))
    }

    /// The static member that joins in place of `holder`, which must be away unless one of the two
    /// follows the classic protocol.
    fn static_return(
        &self,
        holder: &MemberId,
        id: &MemberId,
    ) -> Result<(Member, Option<MemberId>), GroupError> {
        let held = self.members.get(holder).ok_or(GroupError::UnknownMember)?;
        if held.classic.is_none() && !held.is_away() {
            return Err(GroupError::UnreleasedInstance);
        }
        let replaced = Some(holder.clone()).filter(|holder| holder != id);
        Ok((returned(held), replaced))
    }

    /// Gives a static member's place, target and partitions to another id.
    pub(super) fn replace_member(&mut self, old: &MemberId, new: &MemberId) {
        let target = self.targets.get(old).cloned();
        if let Some(member) = self.take_member(old) {
            self.put_member(new, returned(&member));
        }
        if let Some(target) = target {
            self.targets.insert(new.clone(), target);
            self.unstored.targets.insert(new.clone());
        }
    }

    fn beat_answer(
        &self,
        id: &MemberId,
        before: &Epochs,
        request: &HeartbeatRequest,
        env: &Env<'_>,
    ) -> HeartbeatAnswer {
        let is_full = request.rebalance_timeout_ms != -1
            && (request.topics.is_some() || request.regex.is_some())
            && request.owned.is_some();
        let (member_epoch, assigned) = match self.members.get(id) {
            Some(member) => (member.member_epoch, &member.assigned),
            None => (JOIN_EPOCH, before),
        };
        let told = request.member_epoch == JOIN_EPOCH || is_full || assigned != before;
        HeartbeatAnswer {
            member_id: id.clone(),
            member_epoch,
            heartbeat_interval_ms: env.settings.heartbeat_interval_ms,
            assignment: told.then(|| without_epochs(assigned)),
        }
    }
}

/// A static member under its new id: it starts again with the partitions that it had.
fn returned(member: &Member) -> Member {
    Member {
        member_epoch: JOIN_EPOCH,
        previous_epoch: JOIN_EPOCH,
        rebalance_epoch: None,
        ..member.clone()
    }
}

/// The member, updated from the request.
fn updated(member: &Member, request: &HeartbeatRequest) -> Member {
    let mut member = member.clone();
    if request.instance_id.is_some() {
        member.instance_id.clone_from(&request.instance_id);
    }
    if request.rack_id.is_some() {
        member.rack_id.clone_from(&request.rack_id);
    }
    if request.rebalance_timeout_ms != -1 {
        member.rebalance_timeout_ms = request.rebalance_timeout_ms;
    }
    if request.assignor.is_some() {
        member.assignor.clone_from(&request.assignor);
    }
    if let Some(topics) = &request.topics {
        member.topics = topics.iter().cloned().collect();
    }
    if let Some(regex) = &request.regex {
        member.regex = regex.as_str().into();
    }
    member.client_id.clone_from(&request.client_id);
    member.client_host.clone_from(&request.client_host);
    member.classic = None;
    member
}

/// Fails unless the member may continue from the epoch that it names. The previous epoch is
/// accepted if the member has no partition that it was not given: then the answer with the new one
/// was lost.
fn check_epoch(member: &Member, request: &HeartbeatRequest) -> Result<(), GroupError> {
    let epoch = request.member_epoch;
    if epoch == JOIN_EPOCH || epoch == member.member_epoch {
        return Ok(());
    }
    let holds = |(topic, partitions): &(TopicId, Vec<i32>)| {
        let assigned = member.assigned.get(topic);
        assigned.is_some_and(|assigned| partitions.iter().all(|at| assigned.contains_key(at)))
    };
    let owns_no_more = request
        .owned
        .as_ref()
        .is_some_and(|owned| owned.iter().all(holds));
    if epoch < member.member_epoch && epoch == member.previous_epoch && owns_no_more {
        return Ok(());
    }
    Err(GroupError::FencedMemberEpoch)
}
