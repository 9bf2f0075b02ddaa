//! One id behind its lock.

use std::fmt;
use std::ops::{Deref, DerefMut};
use std::sync::Arc;

use parking_lot::{Mutex, MutexGuard};

use super::Answer;
use super::order::Holding;
use crate::budget::Budget;
use crate::journal::{Entry, Journal, NotStored, Room};

/// What a registry keeps under an id: what the lock of a [`Cell`] protects.
pub trait Content: Send + Sized + 'static {
    type Id: Clone + Ord + fmt::Debug + Send + Sync + 'static;
    type Services: Services;

    /// About how many bytes it takes in memory, with its id. Asked whenever the lock is released, so
    /// it must not cost more when there is more in the content.
    fn held_bytes(&self, id: &Self::Id) -> usize;
}

/// What the cells of one registry work with.
pub trait Services: Send + Sync + 'static {
    /// Makes their changes durable.
    fn journal(&self) -> &Journal;
    /// The memory that they may take together.
    fn budget(&self) -> &Budget;
}

/// One id with its lock.
pub struct Cell<C: Content> {
    id: C::Id,
    services: Arc<C::Services>,
    held: Mutex<Held<C>>,
}

struct Held<C> {
    content: C,
    /// It was removed.
    is_dead: bool,
    /// Changes handed to the journal that have not come back.
    changes_in_flight: usize,
    /// What the budget was charged for it.
    settled_bytes: usize,
}

/// A cell whose lock this thread holds. Releasing the lock settles what the cell takes in memory.
pub struct Locked<'a, C: Content> {
    cell: &'a Arc<Cell<C>>,
    held: MutexGuard<'a, Held<C>>,
    // Fields are dropped in this order: what follows outlives the lock.
    _holding: Holding,
    afterwards: Afterwards,
}

/// What runs once the lock is released, in order.
#[derive(Default)]
struct Afterwards(Vec<Box<dyn FnOnce()>>);

impl Drop for Afterwards {
    fn drop(&mut self) {
        for run in self.0.drain(..) {
            run();
        }
    }
}

impl<C: Content> Cell<C> {
    /// A cell that takes no memory yet: settled when its lock is released for the first time.
    pub(super) fn new(id: C::Id, services: Arc<C::Services>, content: C) -> Arc<Self> {
        let held = Held {
            content,
            is_dead: false,
            changes_in_flight: 0,
            settled_bytes: 0,
        };
        Arc::new(Self {
            id,
            services,
            held: Mutex::new(held),
        })
    }

    pub fn id(&self) -> &C::Id {
        &self.id
    }

    pub fn services(&self) -> &C::Services {
        &self.services
    }

    /// The cell, locked; `None` if it is dead: there may be another one of that id by now.
    pub fn lock(self: &Arc<Self>) -> Option<Locked<'_, C>> {
        let locked = self.lock_dead_or_alive();
        (!locked.held.is_dead).then_some(locked)
    }

    /// For what comes back from the journal: it must be completed whatever has happened since.
    pub(super) fn lock_dead_or_alive(self: &Arc<Self>) -> Locked<'_, C> {
        Locked::new(self, Holding::alone(self.registry_key()))
    }

    /// As [`Self::lock`], for a thread that locks several cells in order.
    pub(super) fn lock_together(self: &Arc<Self>) -> Option<Locked<'_, C>> {
        let locked = Locked::new(self, Holding::together(self.registry_key()));
        (!locked.held.is_dead).then_some(locked)
    }

    pub(super) fn registry_key(&self) -> usize {
        registry_key(&self.services)
    }
}

/// Distinguishes registries: each has its own services, which live as long as its cells.
pub(super) fn registry_key<S>(services: &Arc<S>) -> usize {
    Arc::as_ptr(services).addr()
}

impl<'a, C: Content> Locked<'a, C> {
    fn new(cell: &'a Arc<Cell<C>>, holding: Holding) -> Self {
        Self {
            cell,
            held: cell.held.lock(),
            _holding: holding,
            afterwards: Afterwards::default(),
        }
    }

    pub fn id(&self) -> &'a C::Id {
        &self.cell.id
    }

    pub fn services(&self) -> &'a C::Services {
        &self.cell.services
    }

    pub fn cell(&self) -> &'a Arc<Cell<C>> {
        self.cell
    }

    /// Room in the journal for one change. Asked for before anything is changed in memory, so that a
    /// refusal leaves nothing behind.
    ///
    /// # Errors
    /// Too many changes wait, or the journal has stopped.
    pub fn room(&self) -> Result<Room<'a>, NotStored> {
        self.services().journal().room().ok_or(NotStored)
    }

    /// Changes of this cell that are on their way to the disk.
    pub fn changes_in_flight(&self) -> usize {
        self.held.changes_in_flight
    }

    /// Hands a change to the journal. When it is durable, or could not be made so, `then` runs on the
    /// store's thread, under the cell's lock.
    pub fn submit(
        &mut self,
        room: Room<'_>,
        change: Entry,
        then: impl FnOnce(&mut Locked<'_, C>, Result<(), NotStored>) + Send + 'static,
    ) {
        self.depart();
        let cell = Arc::clone(self.cell);
        room.append(change, move |result| {
            let mut locked = cell.lock_dead_or_alive();
            locked.arrive();
            then(&mut locked, result);
        });
    }

    /// Runs `f` once the lock is released and the memory settled, after all that was said before to run
    /// then.
    pub fn afterwards(&mut self, f: impl FnOnce() + 'static) {
        self.afterwards.0.push(Box::new(f));
    }

    /// Gives the answer once the lock is released: its receiver finds the cell free and its memory
    /// settled.
    pub fn give<T: 'static>(&mut self, answer: Answer<T>, value: T) {
        self.afterwards(move || answer.give(value));
    }

    /// A change is on its way.
    pub(super) fn depart(&mut self) {
        self.held.changes_in_flight += 1;
    }

    /// A change has come back.
    pub(super) fn arrive(&mut self) {
        assert!(
            self.held.changes_in_flight > 0,
            "a change of {:?} came back twice",
            self.cell.id
        );
        self.held.changes_in_flight -= 1;
    }

    /// Only the registry ends a cell, with the index locked or closed.
    pub(super) fn die(&mut self) {
        assert!(!self.held.is_dead, "{:?} dies twice", self.cell.id);
        self.held.is_dead = true;
    }
}

impl<C: Content> Deref for Locked<'_, C> {
    type Target = C;

    fn deref(&self) -> &C {
        &self.held.content
    }
}

impl<C: Content> DerefMut for Locked<'_, C> {
    fn deref_mut(&mut self) -> &mut C {
        &mut self.held.content
    }
}

impl<C: Content> Drop for Locked<'_, C> {
    fn drop(&mut self) {
        let now_bytes = match self.held.is_dead {
            true => 0,
            false => self.held.content.held_bytes(&self.cell.id),
        };
        let before_bytes = std::mem::replace(&mut self.held.settled_bytes, now_bytes);
        self.services().budget().settle(before_bytes, now_bytes);
    }
}
