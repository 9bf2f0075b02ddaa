//! The phases of a rebalance and the timers that end them: `prepareRebalance`,
//! `completeClassicGroupJoin`, `tryCompleteInitialRebalanceElseSchedule`, `expirePendingSync`.

use super::{ClassicGroup, Effect, GroupState, JoinWait, Now, StoreStep, TimerKey};
use crate::group::error::GroupError;
use crate::records::member_ids::MemberId;

impl ClassicGroup {
    /// Begins a rebalance if the state allows it; otherwise ends the current one if all have
    /// joined.
    pub(super) fn rebalance_or_complete(&mut self, now: Now, effects: &mut Vec<Effect>) {
        if self.state.may_become(GroupState::PreparingRebalance) {
            self.prepare_rebalance(now, effects);
        } else {
            self.complete_if_all_joined(now, effects);
        }
    }

    /// Ends the join phase if all have joined, but for a group's first rebalance, which has a
    /// delay to wait out.
    pub(super) fn complete_if_all_joined(&mut self, now: Now, effects: &mut Vec<Effect>) {
        if self.state == GroupState::PreparingRebalance
            && self.previous_state != GroupState::Empty
            && self.all_members_joined()
        {
            self.complete_join(now, effects);
        }
    }

    pub(super) fn prepare_rebalance(&mut self, now: Now, effects: &mut Vec<Effect>) {
        if self.state == GroupState::CompletingRebalance {
            self.refuse_syncs(GroupError::RebalanceInProgress, now, effects);
        }
        self.pending_syncs.clear();
        self.timers.cancel(&TimerKey::Sync);
        let first = self.state == GroupState::Empty;
        self.transition(GroupState::PreparingRebalance, now);
        if first {
            let delay_ms = i64::from(self.config.initial_rebalance_delay_ms);
            self.join_wait = JoinWait::Initial {
                delay_ms,
                remaining_ms: (self.rebalance_timeout_ms() - delay_ms).max(0),
                member_added: false,
            };
            self.timers.schedule(TimerKey::Join, now.tick_ms + delay_ms);
        } else if self.all_members_joined() {
            self.complete_join(now, effects);
        } else {
            self.wait_for_joins(now);
        }
    }

    /// The join timer has fired.
    pub(super) fn join_wait_over(&mut self, now: Now, effects: &mut Vec<Effect>) {
        if let JoinWait::Initial {
            delay_ms,
            remaining_ms,
            member_added: true,
        } = self.join_wait
            && remaining_ms != 0
        {
            let next_ms = i64::from(self.config.initial_rebalance_delay_ms).min(remaining_ms);
            self.join_wait = JoinWait::Initial {
                delay_ms: next_ms,
                remaining_ms: (remaining_ms - delay_ms).max(0),
                member_added: false,
            };
            self.timers.schedule(TimerKey::Join, now.tick_ms + next_ms);
        } else {
            self.complete_join(now, effects);
        }
    }

    /// Ends the join phase: members that have not joined are removed (static members excepted), and
    /// the others form the next generation.
    pub(super) fn complete_join(&mut self, now: Now, effects: &mut Vec<Effect>) {
        self.timers.cancel(&TimerKey::Join);
        let late = |(_, member): &(&MemberId, &super::Member)| {
            member.awaiting_join.is_none() && member.info.instance_id.is_none()
        };
        let laggards: Vec<MemberId> = self
            .members
            .iter()
            .filter(late)
            .map(|(id, _)| id.clone())
            .collect();
        for id in &laggards {
            self.remove_member(id, effects);
        }
        if !self.elect_joined_leader() && !self.members.is_empty() {
            // Only static members are left and none of them has joined: their sessions decide.
            self.wait_for_joins(now);
            return;
        }
        self.next_generation(now);
        if self.state == GroupState::Empty {
            effects.push(Effect::Store(Box::new(self.record(None)), StoreStep::Empty));
        } else {
            self.announce_generation(now, effects);
        }
    }

    fn wait_for_joins(&mut self, now: Now) {
        self.join_wait = JoinWait::Rebalance;
        let deadline_ms = now.tick_ms + self.rebalance_timeout_ms();
        self.timers.schedule(TimerKey::Join, deadline_ms);
    }

    fn next_generation(&mut self, now: Now) {
        // Kafka's generation would overflow into negative numbers, which mean "no generation".
        self.generation = self.generation.checked_add(1).unwrap_or(1);
        self.protocol_name = self.select_protocol();
        self.subscribed = self.compute_subscribed();
        self.pending_syncs.clear();
        let next = if self.members.is_empty() {
            GroupState::Empty
        } else {
            GroupState::CompletingRebalance
        };
        self.transition(next, now);
    }

    /// Answers all joins and waits for the syncs.
    fn announce_generation(&mut self, now: Now, effects: &mut Vec<Effect>) {
        let ids: Vec<MemberId> = self.members.keys().cloned().collect();
        for id in &ids {
            self.answer_join(id, self.joined_answer(id), effects);
            self.restart_session(id, now.tick_ms);
            if let Some(member) = self.members.get_mut(id) {
                member.is_new = false;
            }
        }
        self.pending_syncs.extend(ids);
        let deadline_ms = now.tick_ms + self.rebalance_timeout_ms();
        self.timers.schedule(TimerKey::Sync, deadline_ms);
    }

    /// The sync timer has fired: members that have joined and never asked for their assignment are
    /// removed.
    pub(super) fn sync_wait_over(&mut self, now: Now, effects: &mut Vec<Effect>) {
        let syncing = matches!(
            self.state,
            GroupState::CompletingRebalance | GroupState::Stable
        );
        if !syncing || self.pending_syncs.is_empty() {
            return;
        }
        for id in std::mem::take(&mut self.pending_syncs) {
            self.remove_member(&id, effects);
        }
        self.prepare_rebalance(now, effects);
    }
}
