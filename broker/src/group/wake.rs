//! Wakes groups when a timer of theirs is due: one queue and one task for all groups.
//!
//! A group is queued for its earliest deadline only. Deadlines mostly move away (each heartbeat
//! moves one), and then the group is woken for nothing and queued anew: far cheaper than to requeue
//! it with every heartbeat.

use std::collections::BTreeMap;
use std::sync::{Arc, Weak};

use parking_lot::Mutex;
use tokio::sync::Notify;

use super::cell::Cell;
use super::coordinator::Inner;

/// Who is to be woken when.
#[derive(Default)]
pub(super) struct Wakeups {
    queue: Mutex<Queue>,
    earlier: Notify,
}

#[derive(Default)]
struct Queue {
    /// By deadline and a number that makes the key unique.
    cells: BTreeMap<(i64, u64), Weak<Cell>>,
    next_number: u64,
}

impl Wakeups {
    /// Queues the group for `deadline_ms`.
    pub fn add(&self, deadline_ms: i64, cell: &Arc<Cell>) {
        let mut queue = self.queue.lock();
        let number = queue.next_number;
        queue.next_number += 1;
        let is_first = queue
            .cells
            .keys()
            .next()
            .is_none_or(|first| deadline_ms < first.0);
        queue
            .cells
            .insert((deadline_ms, number), Arc::downgrade(cell));
        if is_first {
            self.earlier.notify_one();
        }
    }

    fn next_ms(&self) -> Option<i64> {
        self.queue.lock().cells.keys().next().map(|first| first.0)
    }

    /// Takes the groups whose deadline has come.
    fn take_due(&self, now_ms: i64) -> Vec<Weak<Cell>> {
        let mut queue = self.queue.lock();
        let later = queue.cells.split_off(&(now_ms.saturating_add(1), 0));
        let due = std::mem::replace(&mut queue.cells, later);
        due.into_values().collect()
    }
}

/// Wakes groups until the coordinator is gone.
pub(super) async fn run(inner: Weak<Inner>, wakeups: Arc<Wakeups>) {
    loop {
        let Some(clock) = inner.upgrade().map(|inner| inner.clock) else {
            return;
        };
        match wakeups.next_ms() {
            Some(next_ms) => {
                let due = tokio::time::sleep_until(clock.instant(next_ms).into());
                tokio::select! {
                    () = due => {}
                    () = wakeups.earlier.notified() => {}
                }
            }
            None => wakeups.earlier.notified().await,
        }
        for cell in wakeups.take_due(clock.now().tick_ms) {
            if let (Some(inner), Some(cell)) = (inner.upgrade(), cell.upgrade()) {
                inner.wake(&cell);
            }
        }
    }
}
