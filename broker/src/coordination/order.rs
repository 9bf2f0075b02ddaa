//! The order of locks, asserted. Each thread knows the registries in which it holds a cell.

use std::cell::RefCell;

thread_local! {
    /// A registry's key for each cell that this thread holds. Only a few: groups under a transaction.
    static HELD: RefCell<Vec<usize>> = const { RefCell::new(Vec::new()) };
}

/// A cell of the registry with this key is locked by this thread for as long as this value lives.
pub(super) struct Holding(usize);

impl Holding {
    /// To be called before a cell is locked alone.
    ///
    /// # Panics
    /// As [`assert_free`].
    pub fn alone(registry: usize) -> Self {
        assert_free(registry);
        Self::together(registry)
    }

    /// To be called for each of several cells that are locked in order.
    pub fn together(registry: usize) -> Self {
        HELD.with_borrow_mut(|held| held.push(registry));
        Self(registry)
    }
}

impl Drop for Holding {
    fn drop(&mut self) {
        HELD.with_borrow_mut(|held| {
            if let Some(at) = held.iter().rposition(|held| *held == self.0) {
                held.swap_remove(at);
            }
        });
    }
}

/// # Panics
/// This thread holds a cell of the registry, so it could wait for itself, or for a thread that waits
/// for it.
pub(super) fn assert_free(registry: usize) {
    let is_free = HELD.with_borrow(|held| !held.contains(&registry));
    assert!(
        is_free,
        "lock order: this thread already holds a cell of this registry"
    );
}
