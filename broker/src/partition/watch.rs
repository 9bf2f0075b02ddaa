//! Wakes requests that wait for a partition to move.

use std::sync::{Arc, Weak};

use parking_lot::Mutex;
use tokio::sync::Notify;

/// Those who wait for one partition to move.
#[derive(Default)]
pub struct Watchers {
    waiting: Mutex<Vec<Weak<Notify>>>,
}

/// A registration at any number of partitions. Dropping it ends them all.
///
/// `Notify` keeps one permit, so a move between registration and waiting is not lost: register
/// first, look second, wait third.
pub struct Watch {
    notify: Arc<Notify>,
}

impl Default for Watch {
    fn default() -> Self {
        Self {
            notify: Arc::new(Notify::new()),
        }
    }
}

impl Watch {
    /// Waits until one of the partitions moved since the last call (or since registration).
    pub async fn moved(&self) {
        self.notify.notified().await;
    }
}

impl Watchers {
    /// Registers a watch; it costs 8 bytes until the partition next moves.
    pub fn register(&self, watch: &Watch) {
        let mut waiting = self.waiting.lock();
        // A partition that never moves must not collect the watches of an idle poller.
        if waiting.len() == waiting.capacity() {
            waiting.retain(|w| w.strong_count() > 0);
        }
        waiting.push(Arc::downgrade(&watch.notify));
    }

    /// How many watches are registered, those that ended meanwhile included.
    #[cfg(test)]
    pub fn count(&self) -> usize {
        self.waiting.lock().len()
    }

    /// Wakes every watch that is still there. Registrations stay until their watch is dropped.
    pub fn wake(&self) {
        self.waiting.lock().retain(|w| match w.upgrade() {
            Some(notify) => {
                notify.notify_one();
                true
            }
            None => false,
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_move_between_registering_and_waiting_is_not_lost() {
        let watchers = Watchers::default();
        let watch = Watch::default();
        watchers.register(&watch);
        watchers.wake();
        watch.moved().await;
    }

    #[test]
    fn dropped_watches_do_not_pile_up() {
        let watchers = Watchers::default();
        for _ in 0..10_000 {
            watchers.register(&Watch::default());
        }
        assert!(watchers.waiting.lock().len() < 100);
    }
}
