//! The memory that all groups, or all transactional ids, may use together.
//!
//! Each holder settles its memory after every change, under its own lock. A request that would make
//! one grow is refused when there is no room; one that doesn't is never refused, so existing
//! holders can continue. Changes that wait to be written to disk count only afterwards: the store
//! limits them.

use std::sync::atomic::{AtomicUsize, Ordering};

/// The total, and how much of it is taken.
#[derive(Debug)]
pub struct Budget {
    max_bytes: usize,
    used_bytes: AtomicUsize,
}

impl Budget {
    /// All of it free.
    pub fn new(max_bytes: usize) -> Self {
        Self {
            max_bytes,
            used_bytes: AtomicUsize::new(0),
        }
    }

    /// Whether one thing may grow by this much.
    pub fn has_room(&self, growth_bytes: usize) -> bool {
        let used_bytes = self.used_bytes.load(Ordering::Relaxed);
        growth_bytes == 0 || used_bytes.saturating_add(growth_bytes) <= self.max_bytes
    }

    /// A thing that took `before_bytes` takes `now_bytes`.
    pub fn settle(&self, before_bytes: usize, now_bytes: usize) {
        if now_bytes >= before_bytes {
            let growth_bytes = now_bytes - before_bytes;
            self.used_bytes.fetch_add(growth_bytes, Ordering::Relaxed);
        } else {
            let freed_bytes = before_bytes - now_bytes;
            let used_bytes = self.used_bytes.fetch_sub(freed_bytes, Ordering::Relaxed);
            assert!(used_bytes >= freed_bytes, "more is freed than was taken");
        }
    }

    /// What all take.
    #[cfg(test)]
    pub fn used_bytes(&self) -> usize {
        self.used_bytes.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_does_not_grow_is_never_refused() {
        let budget = Budget::new(100);
        budget.settle(0, 90);
        assert!(budget.has_room(10) && !budget.has_room(11));
        budget.settle(90, 150);
        assert!(budget.has_room(0) && !budget.has_room(1));
        budget.settle(150, 20);
        assert_eq!(budget.used_bytes(), 20);
        assert!(budget.has_room(80));
    }
}
