//! A cell whose group follows the consumer protocol, and groups that change their protocol.
//!
//! What such a group decides is valid in memory immediately, and is answered once it is durable,
//! together with all earlier decisions. A change that could not be stored is stored with the next
//! one.

use std::sync::Arc;

use carrick_protocol::ids::GroupId;

use super::{LockedGroup, Stored};
use crate::group::consumer::{
    Changes, ConsumerGroup, HeartbeatAnswer, HeartbeatRequest, JOIN_EPOCH, StoredKeys,
};
use crate::group::error::GroupError;
use crate::group::kind::Kind;
use crate::group::services::World;
use crate::journal::Entry;
use crate::records::consumer_group::ConsumerGroups;
use crate::records::consumer_member::{ConsumerMemberKey, ConsumerMembers};
use crate::records::consumer_target::ConsumerTargets;
use crate::records::group::Groups as GroupRecords;

/// Receives whether the changes that it represents are durable.
pub(in crate::group) type Reply = Box<dyn FnOnce(Stored) + Send>;

/// Changes of a consumer group on their way to the disk.
struct Settling {
    keys: StoredKeys,
    /// How many changes had failed when these were submitted. An answer may depend on earlier
    /// changes, so it is not valid if one of those failed.
    failures: u64,
    reply: Reply,
}

impl LockedGroup<'_> {
    /// ConsumerGroupHeartbeat. A member that joins makes a consumer group of a classic one, if that
    /// may be.
    ///
    /// # Errors
    /// As the group's own, and `NotConsumerGroup` or `NotUpgradable` where the group is a classic one
    /// and stays that.
    pub fn consumer_heartbeat(
        &mut self,
        request: HeartbeatRequest,
        world: &World,
        reply: Reply,
    ) -> Result<HeartbeatAnswer, GroupError> {
        let (host, may_see) = (Arc::clone(&request.client_host), request.may_see.clone());
        let answer = self.beat(request, world)?;
        self.store_changes(reply);
        self.offload(world, &host, Some(may_see));
        Ok(answer)
    }

    fn beat(
        &mut self,
        request: HeartbeatRequest,
        world: &World,
    ) -> Result<HeartbeatAnswer, GroupError> {
        let joins = request.member_epoch == JOIN_EPOCH;
        let services = self.services();
        match &mut self.kind {
            Kind::Consumer(group) => {
                let growth_bytes = group.heartbeat_growth_bytes(&request);
                if !services.budget.has_room(growth_bytes) {
                    return Err(GroupError::GroupFull);
                }
                group.heartbeat(request, &world.env())
            }
            Kind::Classic(_) if !joins => Err(GroupError::NotConsumerGroup),
            Kind::Classic(classic) => {
                let env = world.env();
                let mut group = ConsumerGroup::upgraded(classic, services.config.clone(), &env)?;
                let answer = group.heartbeat(request, &env)?;
                let effects = classic.supersede();
                self.perform(effects);
                self.become_kind(group.into());
                Ok(answer)
            }
        }
    }

    /// A classic member joins: a consumer group without members becomes a classic one for it.
    pub(super) fn make_room_for_classic(&mut self) {
        let consumer = self.kind.consumer_mut();
        if consumer.is_some_and(|group| group.is_empty()) {
            let classic = self.services().empty_group();
            self.become_kind(classic.into());
        }
    }

    fn become_kind(&mut self, kind: Kind) {
        self.kind = kind;
        self.leftover = true;
    }

    pub(super) fn tick_consumer(&mut self) {
        let world = self.services().world(self.id());
        if let Some(group) = self.kind.consumer_mut() {
            group.tick(&world.env());
        }
        // Nothing waits: a change that cannot be stored now is stored with the next one.
        self.store_changes(Box::new(drop));
    }

    /// Stores the changes that an event of a consumer group has made; `reply` is called when they,
    /// and all that were submitted before, are durable. Immediately, if there is nothing to wait
    /// for.
    pub fn store_changes(&mut self, reply: Reply) {
        let (services, id) = (self.services(), self.id());
        let rebalance = self.succeed();
        let mut keys = StoredKeys::default();
        let mut batch = self.leftovers();
        match &mut self.kind {
            Kind::Consumer(group) => {
                if let Some(changes) = group.take_changes() {
                    put_changes(&mut batch, id, &changes);
                    keys = changes.keys;
                }
            }
            Kind::Classic(classic) if !batch.is_empty() => {
                batch.put::<GroupRecords>(id, &classic.to_record());
            }
            Kind::Classic(_) => {}
        }
        if batch.is_empty() && self.changes_in_flight() == 0 {
            self.afterwards(|| reply(Ok(())));
        } else {
            let settling = Settling {
                keys,
                failures: self.failures,
                reply,
            };
            match self.room() {
                Ok(room) => self.submit(room, batch, |group, result| {
                    group.settled(settling, result.map_err(GroupError::from));
                }),
                Err(refused) => self.settled(settling, Err(refused.into())),
            }
        }
        if rebalance && let Some(classic) = self.kind.classic_mut() {
            let effects = classic.rebalance(services.clock.now());
            self.perform(effects);
        }
        self.log_change(id);
        self.queue_wakeup();
    }

    /// Puts a group's successor in its place; returns whether the successor should rebalance.
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
    pub(super) fn leftovers(&mut self) -> Entry {
        let (id, mut batch) = (self.id(), Entry::new());
        if std::mem::take(&mut self.leftover) {
            match self.kind {
                Kind::Classic(_) => delete_records(&mut batch, id),
                Kind::Consumer(_) => batch.delete::<GroupRecords>(id),
            }
        }
        batch
    }

    fn settled(&mut self, settling: Settling, result: Stored) {
        let holds = result.is_ok() && settling.failures == self.failures;
        if result.is_err() {
            self.failures += 1;
            self.leftover = true;
            if let Some(group) = self.kind.consumer_mut() {
                group.give_back(settling.keys);
            }
        }
        self.afterwards(move || {
            (settling.reply)(match holds {
                true => Ok(()),
                false => Err(GroupError::NotStored),
            });
        });
    }
}

fn put_changes(batch: &mut Entry, group: &GroupId, changes: &Changes) {
    if let Some(epochs) = &changes.epochs {
        batch.put::<ConsumerGroups>(group, epochs);
    }
    let key = |member: &crate::records::member_ids::MemberId| ConsumerMemberKey {
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
pub(super) fn delete_records(batch: &mut Entry, group: &GroupId) {
    let members = ConsumerMembers::group_prefix(group);
    batch.delete::<ConsumerGroups>(group);
    batch.delete_prefix::<ConsumerMembers>(&members);
    batch.delete_prefix::<ConsumerTargets>(&members);
}
