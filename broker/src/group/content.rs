//! One group: what its lock protects, with its parked requests, and everything that can happen to
//! it under the lock.
//!
//! Invariant: `offsets` and `pending` hold only durable offsets; changes in progress are not in
//! them yet.

mod consumer;
mod members;
mod offload;
mod offsets;

use std::collections::{HashMap, VecDeque};

use carrick_protocol::ids::GroupId;

use super::classic::{Effect, Event, JoinAnswer, SyncAnswer, Ticket};
use super::error::GroupError;
use super::kind::Kind;
use super::offsets::{Offsets, Pending};
use super::services::Services;
use crate::coordination::{Answer, Content, Locked, Registry};
use crate::journal::Entry;
use crate::records::group::Groups as GroupRecords;
use crate::records::group_offset::GroupOffsets;
use crate::records::pending_offset::PendingOffsets;

pub(super) use self::consumer::Reply;
pub(super) use self::offsets::Forgetting;
pub use self::offsets::Present;

/// What a group takes in memory in addition to its id, members and offsets.
const GROUP_BYTES: usize = 1_024;

pub(super) type Groups = Registry<GroupContent>;

/// One group, locked.
pub(super) type LockedGroup<'a> = Locked<'a, GroupContent>;

pub(super) type Stored = Result<(), GroupError>;

pub(super) struct GroupContent {
    pub kind: Kind,
    pub offsets: Offsets,
    /// Offsets that open transactions are going to commit; durable, too.
    pub pending: Pending,
    joins: HashMap<Ticket, Answer<JoinAnswer>>,
    syncs: HashMap<Ticket, Answer<SyncAnswer>>,
    next_ticket: u64,
    /// For when the group is queued in [`super::wake`].
    wake_at_ms: Option<i64>,
    /// Records of the kind that the group was before may still be stored.
    leftover: bool,
    /// How many changes could not be stored.
    failures: u64,
    /// The kind, state and epoch of the last line in the log.
    logged: (&'static str, &'static str, i32),
}

impl Content for GroupContent {
    type Id = GroupId;
    type Services = Services;

    fn held_bytes(&self, id: &GroupId) -> usize {
        GROUP_BYTES
            + id.as_str().len()
            + self.kind.held_bytes()
            + self.offsets.held_bytes()
            + self.pending.held_bytes()
    }
}

impl GroupContent {
    pub fn new(kind: impl Into<Kind>) -> Self {
        let kind = kind.into();
        let logged = phase(&kind);
        Self {
            kind,
            offsets: Offsets::default(),
            pending: Pending::default(),
            joins: HashMap::new(),
            syncs: HashMap::new(),
            next_ticket: 0,
            wake_at_ms: None,
            leftover: false,
            failures: 0,
            logged,
        }
    }

    fn park_join(&mut self, answer: Answer<JoinAnswer>) -> Ticket {
        let ticket = self.ticket();
        self.joins.insert(ticket, answer);
        ticket
    }

    fn park_sync(&mut self, answer: Answer<SyncAnswer>) -> Ticket {
        let ticket = self.ticket();
        self.syncs.insert(ticket, answer);
        ticket
    }

    fn ticket(&mut self) -> Ticket {
        self.next_ticket += 1;
        Ticket(self.next_ticket)
    }

    fn log_change(&mut self, group: &GroupId) {
        let now = phase(&self.kind);
        if now != self.logged && !self.kind.is_dead() {
            let (group, from) = (group.as_str(), self.logged.1);
            let (kind, to, epoch) = now;
            let members = self.kind.member_count();
            tracing::info!(group, kind, %from, %to, epoch, members, "group");
            self.logged = now;
        }
    }
}

impl LockedGroup<'_> {
    /// Applies an event to a classic group and does what follows from it. An event of a group that
    /// has become another kind meanwhile has no consequence.
    pub fn apply(&mut self, event: Event) {
        let now = self.services().clock.now();
        if let Some(classic) = self.kind.classic_mut() {
            let effects = classic.apply(event, now);
            self.perform(effects);
        }
    }

    /// Does what a classic group wants done, and queues it for its next deadline.
    pub fn perform(&mut self, effects: Vec<Effect>) {
        let mut effects = VecDeque::from(effects);
        while let Some(effect) = effects.pop_front() {
            match effect {
                Effect::Joined(ticket, answer) => {
                    if let Some(waiter) = self.joins.remove(&ticket) {
                        self.give(waiter, answer);
                    }
                }
                Effect::Synced(ticket, answer) => {
                    if let Some(waiter) = self.syncs.remove(&ticket) {
                        self.give(waiter, answer);
                    }
                }
                Effect::Store(record, step) => {
                    let mut batch = self.leftovers();
                    batch.put::<GroupRecords>(self.id(), &record);
                    if let Ok(room) = self.room() {
                        self.submit(room, batch, move |group, result| {
                            group.leftover |= result.is_err();
                            group.apply(Event::Stored(step, result.map_err(GroupError::from)));
                        });
                        continue;
                    }
                    self.leftover = true;
                    let (refused, now) = (GroupError::NotStored, self.services().clock.now());
                    if let Some(classic) = self.kind.classic_mut() {
                        effects.extend(classic.apply(Event::Stored(step, Err(refused)), now));
                    }
                }
            }
        }
        let id = self.id();
        self.log_change(id);
        self.queue_wakeup();
    }

    /// The group's deadline has passed, or an earlier one.
    pub fn wake(&mut self) {
        let now_ms = self.services().clock.now().tick_ms;
        self.wake_at_ms = self.wake_at_ms.filter(|wake_at_ms| *wake_at_ms > now_ms);
        match self.kind {
            Kind::Classic(_) => self.apply(Event::Tick),
            Kind::Consumer(_) => self.tick_consumer(),
        }
    }

    /// Queues the group for its next deadline, unless it is queued for that time or before.
    pub fn queue_wakeup(&mut self) {
        let Some(deadline_ms) = self.kind.next_deadline_ms() else {
            return;
        };
        let queued_ms = self.wake_at_ms;
        if queued_ms.is_none_or(|wake_at_ms| deadline_ms < wake_at_ms) {
            self.wake_at_ms = Some(deadline_ms);
            self.services().wakeups.add(deadline_ms, self.id());
        }
    }

    /// Answers all that waits: the group was deleted, or the broker stops.
    pub fn close(&mut self) {
        let now = self.services().clock.now();
        let effects = self.kind.close(now);
        self.perform(effects);
    }

    /// Hands the removal of all that is stored of the group to the journal. Only for
    /// [`Registry::remove`].
    ///
    /// # Errors
    /// `NotStored`: nothing happens.
    pub fn delete(&mut self, answer: Option<Answer<Stored>>) -> Stored {
        let (room, id) = (self.room()?, self.id());
        let mut batch = Entry::new();
        batch.delete::<GroupRecords>(id);
        consumer::delete_records(&mut batch, id);
        batch.delete_prefix::<GroupOffsets>(&GroupOffsets::group_prefix(id));
        batch.delete_prefix::<PendingOffsets>(&PendingOffsets::group_prefix(id));
        self.submit(room, batch, move |group, result| {
            if let Some(answer) = answer {
                group.give(answer, result.map_err(GroupError::from));
            }
        });
        self.close();
        Ok(())
    }
}

/// What a line in the log says of a group.
fn phase(kind: &Kind) -> (&'static str, &'static str, i32) {
    (kind.type_name(), kind.state_name(), kind.epoch())
}
