//! Expiry (`offsets.retention.minutes`): offsets that nobody uses any more go, and so does a group
//! without members and offsets (`GroupCoordinatorShard.cleanupGroupMetadata`).

use std::collections::HashMap;
use std::sync::{Arc, Weak};
use std::time::Duration;

use carrick_protocol::ids::{TopicId, TopicName};

use super::cell::{Cell, CellState, Then};
use super::coordinator::{Inner, removal};
use super::error::GroupError;

/// Sweeps at every `offsets.retention.check.interval.ms` until the coordinator is gone.
pub(super) async fn run(inner: Weak<Inner>) {
    loop {
        let Some(interval_ms) = inner
            .upgrade()
            .map(|inner| inner.config.offsets_retention_check_interval_ms)
        else {
            return;
        };
        let interval_ms = u64::try_from(interval_ms).unwrap_or(0).max(1);
        tokio::time::sleep(Duration::from_millis(interval_ms)).await;
        if let Some(inner) = inner.upgrade() {
            inner.sweep(inner.clock.now().wall_ms);
        }
    }
}

impl Inner {
    /// Removes what has expired at `now_ms`, of the wall clock.
    pub fn sweep(&self, now_ms: i64) {
        let mut topic_ids = HashMap::new();
        for cell in self.cells() {
            self.learn_topics(&cell, &mut topic_ids);
            let mut state = cell.state.lock();
            // With changes under way memory lags behind the disk: a fresh commit could be
            // mistaken for the old one that it replaces. There will be another sweep.
            if state.is_dead() || state.changes_in_flight > 0 {
                continue;
            }
            let expired = self.expired(&state, &topic_ids, now_ms);
            let result = if self.is_left_over(&state, expired.len()) {
                drop(state);
                self.remove_left_over(&cell, &topic_ids, now_ms)
            } else if expired.is_empty() {
                Ok(())
            } else {
                self.forget(&cell, &mut state, expired, None)
            };
            if let Err(error) = result {
                tracing::warn!(group = %cell.id.as_str(), %error, "expired offsets stay for now");
            }
        }
    }

    /// Looks the group's topics up before its lock is taken for longer.
    fn learn_topics(&self, cell: &Cell, ids: &mut HashMap<TopicName, Option<TopicId>>) {
        let topics: Vec<TopicName> = cell
            .state
            .lock()
            .offsets
            .topics()
            .map(|(topic, _)| topic.clone())
            .collect();
        for topic in topics {
            ids.entry(topic)
                .or_insert_with_key(|topic| self.topics.topic_id(topic.as_str()));
        }
    }

    /// The offsets that have outlived their retention, or their topic. `topic_ids` were looked up
    /// before the group's lock was taken: a topic that seems to be another one may have been recreated
    /// since, and the offset may belong to the new one.
    fn expired(
        &self,
        state: &CellState,
        topic_ids: &HashMap<TopicName, Option<TopicId>>,
        now_ms: i64,
    ) -> Vec<(TopicName, i32)> {
        let retention_ms = self.config.offsets_retention_ms;
        let expire_from = state.kind.expire_from();
        let mut expired = Vec::new();
        for (topic, partitions) in state.offsets.topics() {
            let topic_id = topic_ids.get(topic).copied();
            let is_read = state.kind.is_subscribed(topic.as_str());
            for (partition, offset) in partitions {
                let is_of = |id: Option<TopicId>| id.is_some_and(|id| offset.is_of(id));
                let lost = topic_id.is_some_and(|id| !is_of(id))
                    && !is_of(self.topics.topic_id(topic.as_str()));
                let old = !is_read
                    && !state.pending.contains(topic.as_str(), *partition)
                    && expire_from
                        .is_some_and(|from| offset.has_expired(from, now_ms, retention_ms));
                if lost || old {
                    expired.push((topic.clone(), *partition));
                }
            }
        }
        expired
    }

    /// Whether nothing is left of the group once `expired` of its offsets are gone.
    fn is_left_over(&self, state: &CellState, expired: usize) -> bool {
        let offsets: usize = state
            .offsets
            .topics()
            .map(|(_, partitions)| partitions.len())
            .sum();
        state.kind.is_empty()
            && !state.kind.has_pending_members()
            && state.pending.is_empty()
            && offsets == expired
    }

    fn remove_left_over(
        &self,
        cell: &Arc<Cell>,
        topic_ids: &HashMap<TopicName, Option<TopicId>>,
        now_ms: i64,
    ) -> Result<(), GroupError> {
        let mut revived = false;
        let removed = self.remove(&cell.id, |found, state| {
            // Somebody may have come between the locks.
            let expired = self.expired(state, topic_ids, now_ms).len();
            revived = !Arc::ptr_eq(found, cell)
                || state.changes_in_flight > 0
                || !self.is_left_over(state, expired);
            if revived {
                return Err(GroupError::NonEmptyGroup);
            }
            let then = Then::Deleted(None);
            state
                .submit(self, removal(&cell.id), then)
                .map_err(|_| GroupError::NotStored)
        });
        if revived { Ok(()) } else { removed }
    }
}
