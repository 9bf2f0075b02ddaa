//! When groups must be woken: one queue for all of them.
//!
//! A group is queued for its earliest deadline only. Deadlines mostly move away (each heartbeat
//! moves one). Then the group is woken for nothing and queued again, which is far cheaper than to
//! requeue it with every heartbeat. A deleted group stays queued until its deadline.

use std::collections::BTreeSet;

use carrick_protocol::ids::GroupId;
use parking_lot::Mutex;
use tokio::sync::Notify;

use super::clock::Clock;

/// When each group must be woken.
#[derive(Default)]
pub(super) struct Wakeups {
    queue: Mutex<BTreeSet<(i64, GroupId)>>,
    earlier: Notify,
}

impl Wakeups {
    /// Queues the group for `deadline_ms`.
    pub fn add(&self, deadline_ms: i64, group: &GroupId) {
        let mut queue = self.queue.lock();
        let first = queue.first();
        let is_first = first.is_none_or(|(first_ms, _)| deadline_ms < *first_ms);
        queue.insert((deadline_ms, group.clone()));
        if is_first {
            self.earlier.notify_one();
        }
    }

    /// Waits until a deadline may have passed, and takes the groups whose deadline has.
    pub async fn due(&self, clock: Clock) -> Vec<GroupId> {
        let next_ms = self.queue.lock().first().map(|(next_ms, _)| *next_ms);
        match next_ms {
            Some(next_ms) => {
                let due = tokio::time::sleep_until(clock.instant(next_ms).into());
                tokio::select! {
                    () = due => {}
                    () = self.earlier.notified() => {}
                }
            }
            None => self.earlier.notified().await,
        }
        self.take_due(clock.now().tick_ms)
    }

    fn take_due(&self, now_ms: i64) -> Vec<GroupId> {
        let mut queue = self.queue.lock();
        let mut due = Vec::new();
        while queue
            .first()
            .is_some_and(|(deadline_ms, _)| *deadline_ms <= now_ms)
        {
            due.extend(queue.pop_first().map(|(_, group)| group));
        }
        due
    }
}
