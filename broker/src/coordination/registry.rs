//! All ids of one coordinator.

use std::borrow::Borrow;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::{RwLock, RwLockReadGuard, RwLockWriteGuard};

use super::cell::registry_key;
use super::order::assert_free;
use super::{Cell, Content, Locked, Services};

/// Why a registry does not serve a request. Each coordinator has its own words for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    #[error("no such id")]
    Unknown,
    /// There are as many ids as there may be, or they take as much memory as they may.
    #[error("there is no room for another id")]
    Full,
    #[error("the coordinator is shutting down")]
    ShuttingDown,
}

#[cfg(test)]
thread_local! {
    /// Cells that this thread has visited because it visited all of a registry.
    pub static VISITED: std::cell::Cell<usize> = const { std::cell::Cell::new(0) };
}

/// The index of ids.
pub struct Registry<C: Content> {
    services: Arc<C::Services>,
    max_ids: usize,
    index: RwLock<BTreeMap<C::Id, Arc<Cell<C>>>>,
    closed: AtomicBool,
}

type Index<C> = BTreeMap<<C as Content>::Id, Arc<Cell<C>>>;

impl<C: Content> Registry<C> {
    /// A registry of what was loaded, all of it, even if the limits are lower by now.
    pub fn new(
        services: Arc<C::Services>,
        max_ids: usize,
        loaded: impl IntoIterator<Item = (C::Id, C)>,
    ) -> Arc<Self> {
        let cells = loaded.into_iter().map(|(id, content)| {
            let cell = Cell::new(id.clone(), Arc::clone(&services), content);
            drop(cell.lock());
            (id, cell)
        });
        let index = RwLock::new(cells.collect());
        Arc::new(Self {
            services,
            max_ids,
            index,
            closed: AtomicBool::new(false),
        })
    }

    pub fn services(&self) -> &Arc<C::Services> {
        &self.services
    }

    /// Calls `f` with the id locked.
    ///
    /// # Errors
    /// `Unknown`, `ShuttingDown`; those of `f`.
    pub fn with<Q, T, X>(
        &self,
        id: &Q,
        f: impl FnOnce(&mut Locked<'_, C>) -> Result<T, X>,
    ) -> Result<T, X>
    where
        C::Id: Borrow<Q>,
        Q: Ord + ?Sized,
        X: From<Refusal>,
    {
        loop {
            let cell = self.find(id)?;
            // If it has died since, look it up again.
            if let Some(mut locked) = cell.lock() {
                return f(&mut locked);
            }
        }
    }

    /// Calls `f` with the id locked. If it isn't there, it begins with `new`.
    ///
    /// # Errors
    /// `Full`, `ShuttingDown`; those of `new` and `f`.
    pub fn with_new<T, X: From<Refusal>>(
        &self,
        id: &C::Id,
        new: impl Fn() -> Result<C, X>,
        f: impl FnOnce(&mut Locked<'_, C>) -> Result<T, X>,
    ) -> Result<T, X> {
        loop {
            let cell = match self.find(id) {
                Ok(cell) => cell,
                Err(Refusal::Unknown) => self.make(id, new()?)?,
                Err(refusal) => return Err(refusal.into()),
            };
            if let Some(mut locked) = cell.lock() {
                return f(&mut locked);
            }
        }
    }

    fn make(&self, id: &C::Id, content: C) -> Result<Arc<Cell<C>>, Refusal> {
        let mut index = self.index_mut();
        // Checked with the index locked: `close` meets every cell that was created before.
        self.check_open()?;
        if let Some(cell) = index.get(id) {
            return Ok(Arc::clone(cell));
        }
        let has_room = self.services.budget().has_room(content.held_bytes(id));
        if index.len() >= self.max_ids || !has_room {
            return Err(Refusal::Full);
        }
        let cell = Cell::new(id.clone(), Arc::clone(&self.services), content);
        drop(cell.lock());
        index.insert(id.clone(), Arc::clone(&cell));
        Ok(cell)
    }

    /// Ends an id if `change` says that it may, and submits its removal to the journal. The index
    /// and the id are locked, so that no other thread sees one without the other.
    ///
    /// # Errors
    /// `Unknown`, `ShuttingDown`; those of `change`: the id stays.
    pub fn remove<X: From<Refusal>>(
        &self,
        id: &C::Id,
        change: impl FnOnce(&mut Locked<'_, C>) -> Result<bool, X>,
    ) -> Result<bool, X> {
        let mut index = self.index_mut();
        self.check_open()?;
        let cell = Arc::clone(index.get(id).ok_or(Refusal::Unknown)?);
        // Only `close` leaves dead cells in the index.
        let mut locked = cell.lock().ok_or(Refusal::ShuttingDown)?;
        if !change(&mut locked)? {
            return Ok(false);
        }
        locked.die();
        drop(locked);
        index.remove(id);
        Ok(true)
    }

    /// The cell of an id. It may die before it is locked.
    ///
    /// # Errors
    /// `Unknown`, `ShuttingDown`.
    pub fn find<Q>(&self, id: &Q) -> Result<Arc<Cell<C>>, Refusal>
    where
        C::Id: Borrow<Q>,
        Q: Ord + ?Sized,
    {
        self.check_open()?;
        let found = self.index().get(id).cloned();
        found.ok_or(Refusal::Unknown)
    }

    /// Whether the id exists at this moment, even if the registry is closed.
    pub fn has(&self, id: &C::Id) -> bool {
        self.index().contains_key(id)
    }

    /// The cells of those ids that are there, in the order of the ids. Whether the registry is closed
    /// does not matter.
    pub fn find_all<'i>(&self, ids: impl IntoIterator<Item = &'i C::Id>) -> Vec<Arc<Cell<C>>> {
        let index = self.index();
        let found = ids.into_iter().filter_map(|id| index.get(id).cloned());
        found.collect()
    }

    /// All cells, in the order of their ids.
    pub fn cells(&self) -> Vec<Arc<Cell<C>>> {
        let cells: Vec<_> = self.index().values().cloned().collect();
        #[cfg(test)]
        VISITED.set(VISITED.get() + cells.len());
        cells
    }

    /// Refuses every request from now on. The ids stay, for what comes back from the journal.
    pub fn refuse(&self) {
        self.closed.store(true, Ordering::Release);
    }

    /// Refuses every request from now on, and ends all ids. `end` does what an id owes to those who
    /// wait for it.
    pub fn close(&self, end: impl Fn(&mut Locked<'_, C>)) {
        self.refuse();
        for cell in self.cells() {
            if let Some(mut locked) = cell.lock() {
                end(&mut locked);
                locked.die();
            }
        }
    }

    /// # Errors
    /// `ShuttingDown`.
    pub fn check_open(&self) -> Result<(), Refusal> {
        match self.closed.load(Ordering::Acquire) {
            true => Err(Refusal::ShuttingDown),
            false => Ok(()),
        }
    }

    fn index(&self) -> RwLockReadGuard<'_, Index<C>> {
        assert_free(registry_key(&self.services));
        self.index.read()
    }

    fn index_mut(&self) -> RwLockWriteGuard<'_, Index<C>> {
        assert_free(registry_key(&self.services));
        self.index.write()
    }
}
