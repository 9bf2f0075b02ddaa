//! Several cells that are changed in one write.

use std::sync::Arc;

use super::order::assert_free;
use super::{Cell, Content, Locked};
use crate::journal::{Entry, NotStored, Room};

/// Cells locked together. The dead ones among those asked for are not in it.
pub struct Several<'a, C: Content>(Vec<Locked<'a, C>>);

impl<'a, C: Content> Several<'a, C> {
    /// Locks cells of one registry, which [`Registry::find_all`](super::Registry::find_all) gives in
    /// order.
    ///
    /// # Panics
    /// They are not in the strict order of their ids, or this thread holds another cell.
    pub fn lock(cells: &'a [Arc<Cell<C>>]) -> Self {
        assert!(
            cells.is_sorted_by(|one, next| one.id() < next.id()),
            "lock order: several cells are locked in the order of their ids"
        );
        if let Some(first) = cells.first() {
            assert_free(first.registry_key());
        }
        Self(cells.iter().filter_map(Cell::lock_together).collect())
    }

    pub fn iter(&self) -> impl Iterator<Item = &Locked<'a, C>> {
        self.0.iter()
    }

    /// Hands a change of all of them to the journal. When it is durable, or could not be made so, `each`
    /// runs for each cell with its part, under its lock alone, in order; then `then`, under no lock.
    /// All of that on the journal's thread.
    ///
    /// # Panics
    /// There is not one part for each cell.
    pub fn submit<P: Send + 'static>(
        mut self,
        room: Room<'_>,
        change: Entry,
        parts: Vec<P>,
        each: impl Fn(&mut Locked<'_, C>, P, Result<(), NotStored>) + Send + 'static,
        then: impl FnOnce(Result<(), NotStored>) + Send + 'static,
    ) {
        assert_eq!(parts.len(), self.0.len(), "one part for each locked cell");
        self.0.iter_mut().for_each(Locked::depart);
        let cells: Vec<_> = self.0.iter().map(|it| Arc::clone(it.cell())).collect();
        room.append(change, move |result| {
            for (cell, part) in cells.iter().zip(parts) {
                let mut locked = cell.lock_dead_or_alive();
                locked.arrive();
                each(&mut locked, part, result);
            }
            then(result);
        });
    }
}
