//! Timers as data: what is due when. Nothing here waits or reads a clock.
//!
//! Invariant: `by_key` and `by_deadline` hold the same timers; a key has at most one. That they are
//! equally many is asserted.

use std::collections::{BTreeSet, HashMap};
use std::hash::Hash;

/// A group's timers, in milliseconds of the monotonic clock. `K` says what one is for.
#[derive(Debug)]
pub(super) struct Timers<K> {
    by_key: HashMap<K, i64>,
    by_deadline: BTreeSet<(i64, K)>,
}

impl<K> Default for Timers<K> {
    fn default() -> Self {
        Self {
            by_key: HashMap::new(),
            by_deadline: BTreeSet::new(),
        }
    }
}

impl<K: Clone + Eq + Hash + Ord> Timers<K> {
    /// Sets the key's timer to `deadline_ms`, replacing an earlier one.
    pub fn schedule(&mut self, key: K, deadline_ms: i64) {
        self.cancel(&key);
        self.by_key.insert(key.clone(), deadline_ms);
        self.by_deadline.insert((deadline_ms, key));
        self.check();
    }

    /// Takes the key's timer away, if it has one.
    pub fn cancel(&mut self, key: &K) {
        if let Some(deadline_ms) = self.by_key.remove(key) {
            self.by_deadline.remove(&(deadline_ms, key.clone()));
        }
        self.check();
    }

    /// When the next timer is due.
    pub fn next_deadline_ms(&self) -> Option<i64> {
        self.by_deadline
            .first()
            .map(|(deadline_ms, _)| *deadline_ms)
    }

    /// Takes the earliest timer that is due.
    pub fn pop_due(&mut self, now_ms: i64) -> Option<K> {
        if self.next_deadline_ms()? > now_ms {
            return None;
        }
        let (_, key) = self.by_deadline.pop_first()?;
        self.by_key.remove(&key);
        self.check();
        Some(key)
    }

    fn check(&self) {
        let (by_key, by_deadline) = (self.by_key.len(), self.by_deadline.len());
        assert_eq!(by_key, by_deadline, "a timer has one key and one deadline");
    }

    /// Whether the key has a timer.
    pub fn is_set(&self, key: &K) -> bool {
        self.by_key.contains_key(key)
    }

    /// Takes all timers away.
    pub fn clear(&mut self) {
        self.by_key.clear();
        self.by_deadline.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rescheduled_timer_is_due_once_at_its_new_time() {
        let mut timers = Timers::default();
        timers.schedule("join", 10);
        timers.schedule("join", 20);
        assert_eq!(timers.pop_due(19), None);
        assert_eq!(timers.pop_due(20), Some("join"));
        assert_eq!(timers.pop_due(i64::MAX), None);
    }

    #[test]
    fn due_timers_come_in_the_order_of_their_deadlines() {
        let mut timers = Timers::default();
        timers.schedule("sync", 30);
        timers.schedule("a", 10);
        timers.schedule("join", 20);
        timers.cancel(&"join");
        assert_eq!(timers.next_deadline_ms(), Some(10));
        assert_eq!(timers.pop_due(99), Some("a"));
        assert_eq!(timers.pop_due(99), Some("sync"));
    }
}
