//! Timers as data: what is due when. Nothing here waits or reads a clock.
//!
//! Invariant: `by_key` and `by_deadline` hold the same timers; a key has at most one.

use std::collections::{BTreeSet, HashMap};

use crate::group::ids::MemberId;

/// What a timer is for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum TimerKey {
    /// The member has not been heard of for its session timeout.
    Session(MemberId),
    /// The join phase has lasted long enough.
    Join,
    /// The sync phase has lasted long enough.
    Sync,
}

/// A group's timers, in milliseconds of the monotonic clock.
#[derive(Debug, Default)]
pub(super) struct Timers {
    by_key: HashMap<TimerKey, i64>,
    by_deadline: BTreeSet<(i64, TimerKey)>,
}

impl Timers {
    /// Sets the key's timer to `deadline_ms`, replacing the one it had.
    pub fn schedule(&mut self, key: TimerKey, deadline_ms: i64) {
        self.cancel(&key);
        self.by_key.insert(key.clone(), deadline_ms);
        self.by_deadline.insert((deadline_ms, key));
    }

    /// Takes the key's timer away, if it has one.
    pub fn cancel(&mut self, key: &TimerKey) {
        if let Some(deadline_ms) = self.by_key.remove(key) {
            self.by_deadline.remove(&(deadline_ms, key.clone()));
        }
    }

    /// When the next timer is due.
    pub fn next_deadline_ms(&self) -> Option<i64> {
        self.by_deadline
            .first()
            .map(|(deadline_ms, _)| *deadline_ms)
    }

    /// Takes the earliest timer that is due.
    pub fn pop_due(&mut self, now_ms: i64) -> Option<TimerKey> {
        if self.next_deadline_ms()? > now_ms {
            return None;
        }
        let (_, key) = self.by_deadline.pop_first()?;
        self.by_key.remove(&key);
        Some(key)
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
        timers.schedule(TimerKey::Join, 10);
        timers.schedule(TimerKey::Join, 20);
        assert_eq!(timers.pop_due(19), None);
        assert_eq!(timers.pop_due(20), Some(TimerKey::Join));
        assert_eq!(timers.pop_due(i64::MAX), None);
    }

    #[test]
    fn due_timers_come_in_the_order_of_their_deadlines() {
        let mut timers = Timers::default();
        timers.schedule(TimerKey::Sync, 30);
        timers.schedule(TimerKey::Session("a".into()), 10);
        timers.schedule(TimerKey::Join, 20);
        timers.cancel(&TimerKey::Join);
        assert_eq!(timers.next_deadline_ms(), Some(10));
        assert_eq!(timers.pop_due(99), Some(TimerKey::Session("a".into())));
        assert_eq!(timers.pop_due(99), Some(TimerKey::Sync));
    }
}
