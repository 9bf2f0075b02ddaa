//! A cell whose group follows the consumer protocol, and groups that change their protocol.
//!
//! What such a group decides holds in memory at once and is answered once it is durable, together
//! with all that was decided before. What could not be stored is stored with the next change.

use std::sync::Arc;

use carrick_protocol::ids::GroupId;

use super::{Cell, CellState, Reply, Settling, Then};
use crate::group::classic::ClassicGroup;
use crate::group::consumer::{
    Changes, ConsumerGroup, HeartbeatAnswer, HeartbeatRequest, JOIN_EPOCH, StoredKeys,
};
use crate::group::coordinator::{Inner, World};
use crate::group::error::GroupError;
use crate::group::kind::Kind;
use crate::journal::Entry;
use crate::records::consumer_group::ConsumerGroups;
use crate::records::consumer_member::{ConsumerMemberKey, ConsumerMembers};
use crate::records::consumer_target::ConsumerTargets;
use crate::records::group::Groups;

impl CellState {
    /// ConsumerGroupHeartbeat. A member that joins makes a consumer group of a classic one, if that
    /// may be.
    ///
    /// # Errors
    /// As the group's own, and `NotConsumerGroup` or `NotUpgradable` where the group is a classic one
    /// and stays that.
    pub fn consumer_heartbeat(
        &mut self,
        inner: &Inner,
        cell: &Arc<Cell>,
        request: HeartbeatRequest,
        world: &World,
    ) -> Result<HeartbeatAnswer, GroupError> {
        let joins = request.member_epoch == JOIN_EPOCH;
        match &mut self.kind {
            Kind::Consumer(group)
                if !inner
                    .budget
                    .has_room(group.heartbeat_growth_bytes(&request)) =>
            {
                Err(GroupError::GroupFull)
            }
            Kind::Consumer(group) => group.heartbeat(request, &world.env()),
            Kind::Classic(_) if !joins => Err(GroupError::NotConsumerGroup),
            Kind::Classic(classic) => {
                let env = world.env();
                let mut group = ConsumerGroup::upgraded(classic, inner.config.clone(), &env)?;
                let answer = group.heartbeat(request, &env)?;
                let effects = classic.supersede();
                self.perform(inner, cell, effects);
                self.become_kind(group.into());
                Ok(answer)
            }
        }
    }

    /// A classic member joins: a consumer group without members becomes a classic one for it.
    pub fn make_room_for_classic(&mut self, inner: &Inner) {
        if self
            .kind
            .consumer_mut()
            .is_some_and(|group| group.is_empty())
        {
            let classic = ClassicGroup::new(inner.config.clone(), inner.clock.now());
            self.become_kind(classic.into());
        }
    }

    fn become_kind(&mut self, kind: Kind) {
        self.kind = kind;
        self.leftover = true;
    }

    pub(super) fn tick_consumer(&mut self, inner: &Inner, cell: &Arc<Cell>, world: &World) {
        if let Some(group) = self.kind.consumer_mut() {
            group.tick(&world.env());
        }
        // Nobody waits: what cannot be stored now is stored with the next change.
        self.store_changes(inner, cell, Box::new(drop));
    }

    /// Stores what an event of a consumer group has changed; `reply` hears when that, and all that
    /// was handed over before, is durable. At once, if there is nothing to wait for.
    pub fn store_changes(&mut self, inner: &Inner, cell: &Arc<Cell>, reply: Reply) {
        let rebalance = self.succeed();
        let mut keys = StoredKeys::default();
        let mut batch = self.leftovers(&cell.id);
        match &mut self.kind {
            Kind::Consumer(group) => {
                if let Some(changes) = group.take_changes() {
                    put_changes(&mut batch, &cell.id, &changes);
                    keys = changes.keys;
                }
            }
            Kind::Classic(classic) if !batch.is_empty() => {
                batch.put::<Groups>(&cell.id, &classic.to_record());
            }
            Kind::Classic(_) => {}
        }
        if !batch.is_empty() {
            self.settle(inner, cell);
        }
        if batch.is_empty() && self.changes_in_flight == 0 {
            reply(Ok(()));
        } else {
            let settling = Settling {
                keys,
                failures: self.failures,
                reply,
            };
            let then = Then::Settled(cell.clone(), settling);
            if let Err(Then::Settled(_, settling)) = self.submit(inner, batch, then) {
                self.settled(settling, Err(GroupError::NotStored));
            }
        }
        if rebalance && let Some(classic) = self.kind.classic_mut() {
            let effects = classic.rebalance(inner.clock.now());
            self.perform(inner, cell, effects);
        }
        self.log_change(&cell.id);
        self.queue_wakeup(inner, cell);
    }

    /// Puts a group's successor in its place; says whether that shall rebalance.
    fn succeed(&mut self) -> bool {
        let successor = self
            .kind
            .consumer_mut()
            .and_then(ConsumerGroup::take_successor);
        let Some(successor) = successor else {
            return false;
        };
        self.become_kind(successor.group.into());
        successor.rebalance
    }

    /// The removal of what is stored of the kind that the group was before.
    pub(super) fn leftovers(&mut self, id: &GroupId) -> Entry {
        let mut batch = Entry::new();
        if std::mem::take(&mut self.leftover) {
            match self.kind {
                Kind::Classic(_) => delete_consumer(&mut batch, id),
                Kind::Consumer(_) => batch.delete::<Groups>(id),
            }
        }
        batch
    }

    pub(super) fn settled(&mut self, settling: Settling, result: Result<(), GroupError>) {
        let holds = result.is_ok() && settling.failures == self.failures;
        if result.is_err() {
            self.failures += 1;
            self.leftover = true;
            if let Some(group) = self.kind.consumer_mut() {
                group.give_back(settling.keys);
            }
        }
        (settling.reply)(match holds {
            true => Ok(()),
            false => Err(GroupError::NotStored),
        });
    }
}

fn put_changes(batch: &mut Entry, group: &GroupId, changes: &Changes) {
    if let Some(epochs) = &changes.epochs {
        batch.put::<ConsumerGroups>(group, epochs);
    }
    let key = |member: &crate::group::ids::MemberId| ConsumerMemberKey {
        group: group.clone(),
        member: member.clone(),
    };
    for (id, member) in &changes.members {
        match member {
            Some(member) => batch.put::<ConsumerMembers>(&key(id), member),
            None => batch.delete::<ConsumerMembers>(&key(id)),
        }
    }
    for (id, target) in &changes.targets {
        match target {
            Some(target) => batch.put::<ConsumerTargets>(&key(id), target),
            None => batch.delete::<ConsumerTargets>(&key(id)),
        }
    }
}

/// Removes all records of a consumer group.
pub(in crate::group) fn delete_consumer(batch: &mut Entry, group: &GroupId) {
    let members = ConsumerMembers::group_prefix(group);
    batch.delete::<ConsumerGroups>(group);
    batch.delete_prefix::<ConsumerMembers>(&members);
    batch.delete_prefix::<ConsumerTargets>(&members);
}
