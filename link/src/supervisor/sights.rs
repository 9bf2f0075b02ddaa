//! Sights: what the link last saw of the source, kept across restarts. While the source is
//! unavailable, nothing else shows what is missing.
//!
//! A stored sight is a lower bound with the time at which it was correct. It may be some seconds
//! older than the latest one, never newer.

use std::collections::HashMap;
use std::sync::Arc;

use carrick_protocol::ids::{Offset, TopicName};

use crate::record::{PartitionSight, SourceSight};
use crate::replicator::lag::StatusCell;
use crate::shared::{LinkShared, Mirror};
use crate::state::MirrorStatus;

/// A sight with nothing new in it but its time is stored when it is older by this, milliseconds.
const AGE_MAX_MS: i64 = 30_000;

impl LinkShared {
    /// At start: fills in stored sights where nothing has been seen yet.
    pub(crate) fn recall(&self, sights: &HashMap<TopicName, SourceSight>) {
        let mut inner = self.inner();
        let mut seen_at_ms = None;
        for (topic, mirror) in &mut inner.mirrors {
            let Some(sight) = sights.get(topic) else {
                continue;
            };
            for partition in &sight.partitions {
                let index = usize::try_from(partition.partition);
                if let Some(cell) = index.ok().and_then(|index| mirror.statuses.get(index)) {
                    recall(cell, partition);
                    seen_at_ms = seen_at_ms.max(Some(partition.seen_at_ms));
                }
            }
            mirror.stored_sight = Some(sight.clone());
        }
        inner.seen_at_ms = inner.seen_at_ms.max(seen_at_ms);
    }

    /// Stores what has changed. With `is_last` nothing more is seen for now: all of it.
    pub(crate) async fn save_sights(self: Arc<Self>, is_last: bool) {
        let _one_at_a_time = self.sights.lock().await;
        let news: Vec<SourceSight> = {
            let inner = self.inner();
            let live = inner
                .mirrors
                .values()
                .filter(|mirror| mirror.record.status != MirrorStatus::Stopped);
            live.filter_map(|mirror| news_of(mirror, is_last)).collect()
        };
        if news.is_empty() {
            return;
        }
        let stored = news.clone();
        let saved = self.blocking(move |ports| ports.store.save_sights(&stored));
        match saved.await {
            Ok(Ok(())) => {
                let mut inner = self.inner();
                for sight in news {
                    if let Some(mirror) = inner.mirrors.get_mut(&sight.topic) {
                        mirror.stored_sight = Some(sight);
                    }
                }
            }
            Ok(Err(error)) => {
                tracing::warn!(link = %self.name, %error, "the sights of the source could not be stored");
            }
            Err(_) => {}
        }
    }
}

fn recall(cell: &StatusCell, sight: &PartitionSight) {
    cell.with(|status| {
        if status.source_high_watermark.is_none() {
            status.source_high_watermark = Some(sight.high_watermark);
            status.answered_ms = Some(sight.seen_at_ms);
            status.caught_up_ms = sight.caught_up_ms;
        }
    });
}

/// What has been seen of a mirror's source, if it is worth storing.
fn news_of(mirror: &Mirror, is_last: bool) -> Option<SourceSight> {
    let mut partitions = Vec::new();
    for (partition, cell) in (0..).zip(&mirror.statuses) {
        let seen = cell.with(|status| sight_of(partition, status));
        partitions.extend(seen);
    }
    let sight = SourceSight {
        topic: mirror.record.topic.clone(),
        partitions,
    };
    let is_news = match &mirror.stored_sight {
        _ if sight.partitions.is_empty() => false,
        None => true,
        Some(stored) if is_last => *stored != sight,
        Some(stored) => is_newer(stored, &sight),
    };
    is_news.then_some(sight)
}

fn sight_of(partition: i32, status: &crate::replicator::lag::Status) -> Option<PartitionSight> {
    Some(PartitionSight {
        partition,
        high_watermark: status.source_high_watermark?,
        seen_at_ms: status.seen_at_ms()?,
        caught_up_ms: status.caught_up_at_ms(),
    })
}

fn is_newer(stored: &SourceSight, sight: &SourceSight) -> bool {
    let offsets = |sight: &SourceSight| -> Vec<(i32, Offset)> {
        let partitions = sight.partitions.iter();
        partitions
            .map(|it| (it.partition, it.high_watermark))
            .collect()
    };
    let oldest = |sight: &SourceSight| sight.partitions.iter().map(|it| it.seen_at_ms).min();
    let aged_ms = oldest(sight).unwrap_or(0) - oldest(stored).unwrap_or(0);
    offsets(stored) != offsets(sight) || aged_ms >= AGE_MAX_MS
}
