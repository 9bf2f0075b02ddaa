//! One group behind its lock, with the requests that it has parked.
//!
//! Invariants:
//! - `offsets` holds what is durable; changes under way are not in it yet.
//! - A cell whose group is dead is no longer in the index: who finds one looks again.

mod consumer;

use std::collections::HashMap;
use std::sync::Arc;

use carrick_protocol::ids::{GroupId, ProducerId, TopicName};
use parking_lot::Mutex;
use tokio::sync::oneshot;

use super::classic::{Effect, Event, JoinAnswer, StoreStep, SyncAnswer, Ticket};
use super::consumer::StoredKeys;
use super::coordinator::Inner;
use super::error::GroupError;
use super::kind::Kind;
use super::offsets::{CommittedOffset, Offsets, Pending};
use crate::journal::Entry;
use crate::records::group::Groups;

pub(super) use self::consumer::delete_consumer;

/// What a group takes in memory beside its id, members and offsets.
pub(super) const CELL_BYTES: usize = 1_024;

/// Where the outcome of a change goes.
pub(super) type Outcome = oneshot::Sender<Result<(), GroupError>>;

/// One group.
pub(super) struct Cell {
    pub id: GroupId,
    pub state: Mutex<CellState>,
}

/// What the lock of a [`Cell`] protects.
pub(super) struct CellState {
    pub kind: Kind,
    pub offsets: Offsets,
    /// Offsets that open transactions are going to commit; durable, too.
    pub pending: Pending,
    /// What the group was last counted with in [`crate::budget`].
    settled_bytes: usize,
    /// Changes handed to the store that have not come back.
    pub changes_in_flight: usize,
    joins: HashMap<Ticket, oneshot::Sender<JoinAnswer>>,
    syncs: HashMap<Ticket, oneshot::Sender<SyncAnswer>>,
    next_ticket: u64,
    /// For when the group is queued in [`super::wake`].
    wake_at_ms: Option<i64>,
    /// Records of the kind that the group was before may still be stored.
    leftover: bool,
    /// How many changes could not be stored.
    failures: u64,
    /// The kind, state and epoch that the log has been told of.
    logged: (&'static str, &'static str, i32),
}

/// What goes on when a change of a group is durable.
pub(super) enum Then {
    /// The classic group's state machine goes on.
    Step(Arc<Cell>, StoreStep),
    /// The consumer group's answer holds.
    Settled(Arc<Cell>, Settling),
    /// Offsets become visible and the commit is answered.
    Committed(Arc<Cell>, Vec<(TopicName, i32, CommittedOffset)>, Outcome),
    /// Offsets are in the producer's transaction and the commit is answered.
    Pending(
        Arc<Cell>,
        ProducerId,
        Vec<(TopicName, i32, CommittedOffset)>,
        Outcome,
    ),
    /// Offsets are gone, and who asked for that is answered.
    Forgotten(Arc<Cell>, Vec<(TopicName, i32)>, Option<Outcome>),
    /// The group is gone, and who asked for that is answered.
    Deleted(Option<Outcome>),
}

/// Hears whether the changes that it stands for are durable.
pub(super) type Reply = Box<dyn FnOnce(Result<(), GroupError>) + Send>;

/// Changes of a consumer group on their way to the disk.
pub(super) struct Settling {
    keys: StoredKeys,
    /// [`CellState::failures`] when they were handed over: an answer may tell of changes that were
    /// handed over before, so it must not hold if one of those failed.
    failures: u64,
    reply: Reply,
}

impl Cell {
    pub fn new(id: GroupId, kind: impl Into<Kind>) -> Arc<Self> {
        let kind = kind.into();
        let logged = phase(&kind);
        let state = CellState {
            kind,
            offsets: Offsets::default(),
            pending: Pending::default(),
            settled_bytes: 0,
            changes_in_flight: 0,
            joins: HashMap::new(),
            syncs: HashMap::new(),
            next_ticket: 0,
            wake_at_ms: None,
            leftover: false,
            failures: 0,
            logged,
        };
        Arc::new(Self {
            id,
            state: Mutex::new(state),
        })
    }
}

impl CellState {
    pub fn is_dead(&self) -> bool {
        self.kind.is_dead()
    }

    /// Parks a join.
    pub fn park_join(&mut self, answer: oneshot::Sender<JoinAnswer>) -> Ticket {
        let ticket = self.ticket();
        self.joins.insert(ticket, answer);
        ticket
    }

    /// Parks a sync.
    pub fn park_sync(&mut self, answer: oneshot::Sender<SyncAnswer>) -> Ticket {
        let ticket = self.ticket();
        self.syncs.insert(ticket, answer);
        ticket
    }

    fn ticket(&mut self) -> Ticket {
        self.next_ticket += 1;
        Ticket(self.next_ticket)
    }

    /// Lets an event happen to a classic group and does what follows from it. An event of a group
    /// that has become another kind meanwhile has no consequence.
    pub fn apply(&mut self, inner: &Inner, cell: &Arc<Cell>, event: Event) {
        if let Some(classic) = self.kind.classic_mut() {
            let effects = classic.apply(event, inner.clock.now());
            self.perform(inner, cell, effects);
        }
    }

    /// Does what a classic group wants done, and queues it for its next deadline.
    pub fn perform(&mut self, inner: &Inner, cell: &Arc<Cell>, effects: Vec<Effect>) {
        let mut effects = std::collections::VecDeque::from(effects);
        while let Some(effect) = effects.pop_front() {
            match effect {
                // Who no longer waits for an answer has closed its connection.
                Effect::Joined(ticket, answer) => {
                    let waiter = self.joins.remove(&ticket);
                    let _ = waiter.map(|waiter| waiter.send(answer));
                }
                Effect::Synced(ticket, answer) => {
                    let waiter = self.syncs.remove(&ticket);
                    let _ = waiter.map(|waiter| waiter.send(answer));
                }
                Effect::Store(record, step) => {
                    let mut batch = self.leftovers(&cell.id);
                    batch.put::<Groups>(&cell.id, &record);
                    let then = Then::Step(cell.clone(), step);
                    if let Err(Then::Step(_, step)) = self.submit(inner, batch, then) {
                        let refused = Event::Stored(step, Err(GroupError::NotStored));
                        self.leftover = true;
                        if let Some(classic) = self.kind.classic_mut() {
                            effects.extend(classic.apply(refused, inner.clock.now()));
                        }
                    }
                }
            }
        }
        self.log_change(&cell.id);
        self.settle(inner, cell);
        self.queue_wakeup(inner, cell);
    }

    /// Counts what the group takes now. To be called after every change of members or offsets.
    pub fn settle(&mut self, inner: &Inner, cell: &Cell) {
        let now_bytes = if self.is_dead() {
            0
        } else {
            CELL_BYTES
                + cell.id.as_str().len()
                + self.kind.held_bytes()
                + self.offsets.held_bytes()
                + self.pending.held_bytes()
        };
        inner.budget.settle(self.settled_bytes, now_bytes);
        self.settled_bytes = now_bytes;
    }

    fn log_change(&mut self, group: &GroupId) {
        let now = phase(&self.kind);
        if now != self.logged && !self.is_dead() {
            let (group, from) = (group.as_str(), self.logged.1);
            let (kind, to, epoch) = now;
            let members = self.kind.member_count();
            tracing::info!(group, kind, %from, %to, epoch, members, "group");
            self.logged = now;
        }
    }

    /// Hands a change to the store; gives `then` back if the store refuses it.
    pub fn submit(&mut self, inner: &Inner, batch: Entry, then: Then) -> Result<(), Then> {
        let Some(room) = inner.journal.room() else {
            return Err(then);
        };
        let inner = inner.me.clone();
        room.append(batch, move |result| {
            if let Some(inner) = inner.upgrade() {
                then.run(&inner, result.map_err(|_| GroupError::NotStored));
            }
        });
        self.changes_in_flight += 1;
        Ok(())
    }

    /// The group's deadline has come, or one that it had before.
    pub fn wake(&mut self, inner: &Inner, cell: &Arc<Cell>) {
        let now = inner.clock.now();
        if self
            .wake_at_ms
            .is_some_and(|wake_at_ms| wake_at_ms <= now.tick_ms)
        {
            self.wake_at_ms = None;
        }
        if self.kind.classic().is_some() {
            self.apply(inner, cell, Event::Tick);
        } else {
            let world = inner.world(&cell.id);
            self.tick_consumer(inner, cell, &world);
        }
    }

    /// Queues the group for its next deadline, unless it is queued for that time or before.
    pub fn queue_wakeup(&mut self, inner: &Inner, cell: &Arc<Cell>) {
        let Some(deadline_ms) = self.kind.next_deadline_ms() else {
            return;
        };
        if self
            .wake_at_ms
            .is_none_or(|wake_at_ms| deadline_ms < wake_at_ms)
        {
            self.wake_at_ms = Some(deadline_ms);
            inner.wakeups.add(deadline_ms, cell);
        }
    }
}

impl Then {
    /// Runs on the store's thread, in the order in which the changes were submitted.
    pub fn run(self, inner: &Inner, result: Result<(), GroupError>) {
        match self {
            Self::Step(cell, step) => {
                let mut state = cell.state.lock();
                state.changes_in_flight -= 1;
                state.leftover |= result.is_err();
                state.apply(inner, &cell, Event::Stored(step, result));
            }
            Self::Settled(cell, settling) => {
                let mut state = cell.state.lock();
                state.changes_in_flight -= 1;
                state.settled(settling, result);
            }
            Self::Committed(cell, offsets, outcome) => {
                let mut state = cell.state.lock();
                state.changes_in_flight -= 1;
                if result.is_ok() {
                    for (topic, partition, offset) in offsets {
                        state.offsets.put(topic, partition, offset);
                    }
                    state.settle(inner, &cell);
                }
                drop(state);
                let _ = outcome.send(result);
            }
            Self::Pending(cell, producer_id, offsets, outcome) => {
                let mut state = cell.state.lock();
                state.changes_in_flight -= 1;
                if result.is_ok() {
                    for (topic, partition, offset) in offsets {
                        state.pending.put(producer_id, topic, partition, offset);
                    }
                    state.settle(inner, &cell);
                }
                drop(state);
                let _ = outcome.send(result);
            }
            Self::Forgotten(cell, offsets, outcome) => {
                let mut state = cell.state.lock();
                state.changes_in_flight -= 1;
                if result.is_ok() {
                    for (topic, partition) in &offsets {
                        state.offsets.remove(topic, *partition);
                        state.pending.remove(topic, *partition);
                    }
                    state.settle(inner, &cell);
                }
                drop(state);
                let _ = outcome.map(|outcome| outcome.send(result));
            }
            Self::Deleted(outcome) => {
                let _ = outcome.map(|outcome| outcome.send(result));
            }
        }
    }
}

/// What the log is told of a group.
fn phase(kind: &Kind) -> (&'static str, &'static str, i32) {
    (kind.type_name(), kind.state_name(), kind.epoch())
}
