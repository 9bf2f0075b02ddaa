//! Expiry (`offsets.retention.minutes`): removes offsets that are no longer used, and groups
//! without members and offsets (`GroupCoordinatorShard.cleanupGroupMetadata`).

use std::collections::HashMap;
use std::sync::Arc;

use carrick_protocol::ids::{TopicId, TopicName};

use super::content::{GroupContent, Groups, LockedGroup};
use super::error::GroupError;
use crate::coordination::Cell;

/// The ids of topics, looked up before a group is locked for longer.
type TopicIds = HashMap<TopicName, Option<TopicId>>;

/// Removes what has expired at `now_ms`, of the wall clock.
pub(super) fn sweep(groups: &Groups, now_ms: i64) {
    let mut topic_ids = HashMap::new();
    for cell in groups.cells() {
        learn_topics(&cell, &mut topic_ids);
        if let Err(error) = sweep_group(groups, &cell, &topic_ids, now_ms) {
            let group = cell.id().as_str();
            tracing::warn!(group, %error, "expired offsets stay for now");
        }
    }
}

fn learn_topics(cell: &Arc<Cell<GroupContent>>, ids: &mut TopicIds) {
    let Some(group) = cell.lock() else {
        return;
    };
    let topics: Vec<TopicName> = group
        .offsets
        .topics()
        .map(|(topic, _)| topic.clone())
        .collect();
    drop(group);
    for topic in topics {
        let topics = &cell.services().topics;
        ids.entry(topic)
            .or_insert_with_key(|topic| topics.topic_id(topic.as_str()));
    }
}

fn sweep_group(
    groups: &Groups,
    cell: &Arc<Cell<GroupContent>>,
    topic_ids: &TopicIds,
    now_ms: i64,
) -> Result<(), GroupError> {
    {
        let Some(mut group) = cell.lock() else {
            return Ok(());
        };
        // While changes are being stored, memory lags behind the disk: a fresh commit could be
        // mistaken for the old one that it replaces. There will be another sweep.
        if group.changes_in_flight() > 0 {
            return Ok(());
        }
        let expired = group.expired(topic_ids, now_ms);
        if !group.is_left_over(expired.len()) {
            return match expired.is_empty() {
                true => Ok(()),
                false => group.forget(expired, None),
            };
        }
    }
    let removed = groups.remove(cell.id(), |group| {
        // A member may have joined between the locks.
        let is_left_over = Arc::ptr_eq(group.cell(), cell)
            && group.changes_in_flight() == 0
            && group.is_left_over(group.expired(topic_ids, now_ms).len());
        if is_left_over {
            group.delete(None)?;
        }
        Ok(is_left_over)
    });
    removed.map(drop)
}

impl LockedGroup<'_> {
    /// The offsets that have outlived their retention, or their topic. `topic_ids` were looked up
    /// before the group was locked: a topic that seems to be another one may have been recreated
    /// since, and the offset may belong to the new one.
    fn expired(&self, topic_ids: &TopicIds, now_ms: i64) -> Vec<(TopicName, i32)> {
        let services = self.services();
        let retention_ms = services.config.offsets_retention_ms;
        let expire_from = self.kind.expire_from();
        let mut expired = Vec::new();
        for (topic, partitions) in self.offsets.topics() {
            let topic_id = topic_ids.get(topic).copied();
            let is_read = self.kind.is_subscribed(topic.as_str());
            for (partition, offset) in partitions {
                let is_of = |id: Option<TopicId>| id.is_some_and(|id| offset.is_of(id));
                let lost = topic_id.is_some_and(|id| !is_of(id))
                    && !is_of(services.topics.topic_id(topic.as_str()));
                let old = !is_read
                    && !self.pending.contains(topic.as_str(), *partition)
                    && expire_from
                        .is_some_and(|from| offset.has_expired(from, now_ms, retention_ms));
                if lost || old {
                    expired.push((topic.clone(), *partition));
                }
            }
        }
        expired
    }

    /// Whether nothing is left of the group once `expired` of its offsets are removed.
    fn is_left_over(&self, expired: usize) -> bool {
        let topics = self.offsets.topics();
        let offsets: usize = topics.map(|(_, partitions)| partitions.len()).sum();
        self.kind.is_empty()
            && !self.kind.has_pending_members()
            && self.pending.is_empty()
            && offsets == expired
    }
}
