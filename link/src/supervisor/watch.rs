//! The supervisor's metadata watch: which broker leads, and is every topic still the mirrored one?

use std::sync::Arc;
use std::time::Duration;

use carrick_protocol::error_code::ErrorCode;
use carrick_protocol::ids::{LeaderEpoch, TopicName, TopicPartition};
use tokio::time::Instant;

use super::Supervisor;
use super::closest::Lead;
use crate::error::LinkError;
use crate::lookup::verdict::{self, Verdict};
use crate::record::MirrorRecord;
use crate::replicator::lag::StatusCell;
use crate::shared::LinkShared;
use crate::source::{ClusterMetadata, SourceError, SourceTopic, TopicSelection};
use crate::state::MirrorError;

/// The longest time between two looks at the metadata of mirrored topics.
const WATCH_MAX_MS: u64 = 30_000;
const WATCH_MIN_MS: u64 = 1_000;

/// A leader epoch that stays lower in this many consecutive answers is not a stale answer.
const STALE_EPOCHS_MAX: u32 = 20;

impl Supervisor {
    /// Metadata are requested immediately, or after the back-off if they have just been requested.
    pub(super) fn refresh_soon(&mut self) {
        let soon = Instant::now() + self.refresh_backoff.present_wait();
        self.next_refresh = self.next_refresh.min(soon);
    }

    pub(super) fn start_refresh(&mut self, now: Instant) {
        let (source, names, config) = {
            let inner = self.shared.inner();
            let wanted = inner.mirrors.values().filter(|mirror| mirror.is_wanted());
            let mut names: Vec<TopicName> = wanted
                .map(|mirror| mirror.record.source_topic.clone())
                .collect();
            names.dedup();
            (Arc::clone(&inner.source), names, Arc::clone(&inner.config))
        };
        let watch_ms = config
            .metadata_max_age_ms
            .min(config.topic_config_sync_ms)
            .clamp(WATCH_MIN_MS, WATCH_MAX_MS);
        self.next_refresh = now + Duration::from_millis(watch_ms);
        if names.is_empty() {
            return;
        }
        self.refresh = Some(Box::pin(async move {
            source.metadata(TopicSelection::Names(names)).await
        }));
    }

    pub(super) fn on_refreshed(&mut self, result: Result<ClusterMetadata, SourceError>) {
        let metadata = match result {
            Ok(metadata) => metadata,
            Err(error) => {
                self.note_metadata(Some(&error));
                self.refresh_again();
                return;
            }
        };
        self.note_metadata(None);
        let now_ms = self.shared.now_ms();
        if !self.is_same_cluster(metadata.cluster.cluster_id.as_deref(), now_ms) {
            return;
        }
        let records: Vec<MirrorRecord> = {
            let inner = self.shared.inner();
            let wanted = inner.mirrors.values().filter(|mirror| mirror.is_wanted());
            wanted.map(|mirror| mirror.record.clone()).collect()
        };
        let mut is_settled = true;
        let mut unsettled = Vec::new();
        for record in records {
            let topic = metadata.topic(&record.source_topic);
            let verdict = verdict::judge(&record, topic);
            let is_clear = self.on_verdict(&record, verdict);
            let leads = is_clear && topic.is_some_and(|topic| self.learn_leads(&record, topic));
            is_settled &= leads;
            if !is_clear {
                unsettled.push(record.topic);
            }
        }
        self.running.assign(&self.leads);
        self.tell_epochs();
        let waiters = std::mem::take(&mut self.waiters);
        for (topic, seen) in waiters {
            if unsettled.contains(&topic) {
                self.waiters.push((topic, seen));
            } else {
                let _ = seen.send(());
            }
        }
        if is_settled && self.waiters.is_empty() {
            self.refresh_backoff.reset();
        } else {
            self.refresh_again();
        }
        if !self.late_waiters.is_empty() {
            self.waiters.append(&mut self.late_waiters);
            self.refresh_again();
        }
    }

    /// Shows, and logs once, that the source gives no metadata, or gives it again.
    fn note_metadata(&self, error: Option<&SourceError>) {
        let link = &self.shared.name;
        let mut inner = self.shared.inner();
        let was_known = inner.no_metadata.is_some();
        inner.no_metadata = error.map(|error| {
            format!("the source did not return the metadata of the mirrored topics: {error}")
        });
        drop(inner);
        match error {
            Some(error) if !was_known => tracing::warn!(%link, %error, "no metadata"),
            None if was_known => tracing::info!(%link, "metadata again"),
            _ => {}
        }
    }

    pub(super) fn refresh_again(&mut self) {
        self.next_refresh = Instant::now() + self.refresh_backoff.next_wait();
    }

    /// Acts on what the metadata say of a topic; true if its partitions may be fetched.
    pub(super) fn on_verdict(&mut self, record: &MirrorRecord, verdict: Verdict) -> bool {
        let topic = &record.topic;
        let is_missing = verdict == Verdict::Missing;
        let Some(missing_for_ms) = self.shared.missing_for_ms(topic, is_missing) else {
            return false;
        };
        match verdict {
            Verdict::Same => true,
            Verdict::Grown(count) => {
                let grown = grow(Arc::clone(&self.shared), record.clone(), count);
                self.beside.spawn(async move { drop(grown.await) });
                true
            }
            Verdict::Missing if missing_for_ms >= verdict::MISSING_MAX_MS => {
                let (error, detail) = verdict::missing(record);
                self.fail_mirror(record.clone(), error, detail);
                false
            }
            Verdict::Missing => false,
            Verdict::Unclear(why) => {
                tracing::debug!(link = %self.shared.name, %topic, why, "metadata unclear");
                self.shared.show_problem(topic, &why);
                false
            }
            Verdict::Failed(error, detail) => {
                self.fail_mirror(record.clone(), error, detail);
                false
            }
        }
    }

    /// Stores the leaders of a topic; false if a partition has none.
    pub(super) fn learn_leads(&mut self, record: &MirrorRecord, topic: &SourceTopic) -> bool {
        let mut has_all = true;
        let mut is_stale = false;
        for partition in &topic.partitions {
            let key = TopicPartition::new(topic.name.clone(), partition.partition);
            let is_led = matches!(
                partition.error,
                ErrorCode::NONE | ErrorCode::REPLICA_NOT_AVAILABLE
            );
            let Some(node) = partition.leader.filter(|_| is_led) else {
                has_all = false;
                self.leads.remove(&key);
                continue;
            };
            let epoch = partition.leader_epoch;
            // A topic that was created again starts with epoch 0.
            let known = self
                .leads
                .get(&key)
                .filter(|lead| lead.topic_id == topic.id)
                .map_or(LeaderEpoch::NONE, |lead| lead.epoch);
            if epoch < known && epoch != LeaderEpoch::NONE {
                is_stale = true;
                continue;
            }
            self.leads.insert(
                key,
                Lead {
                    node,
                    epoch,
                    topic_id: topic.id,
                },
            );
        }
        self.count_stale(record, is_stale);
        has_all && !is_stale
    }

    /// Makes sure, durably, that clients never get a smaller epoch than the source's.
    fn tell_epochs(&mut self) {
        let mut news = Vec::new();
        for mirror in self.shared.inner().mirrors.values() {
            for (partition, cell) in (0..).zip(&mirror.statuses) {
                let at_source = TopicPartition::new(mirror.record.source_topic.clone(), partition);
                let epoch = self.leads.get(&at_source).map(|lead| lead.epoch);
                if let Some(epoch) = epoch
                    && mirror.is_wanted()
                    && cell.with(|status| status.told_epoch < Some(epoch))
                {
                    let here = TopicPartition::new(mirror.record.topic.clone(), partition);
                    news.push((here, epoch, cell.clone()));
                }
            }
        }
        if !news.is_empty() {
            self.beside.spawn(tell(Arc::clone(&self.shared), news));
        }
    }

    pub(super) fn count_stale(&mut self, record: &MirrorRecord, is_stale: bool) {
        if !is_stale {
            self.stale_epochs.remove(&record.topic);
            return;
        }
        let count = self.stale_epochs.entry(record.topic.clone()).or_insert(0);
        *count += 1;
        if *count == STALE_EPOCHS_MAX {
            let detail = format!(
                "the source's leader epochs of '{}' went backwards and stayed there: the source \
                 was restored from an older state. Compare source and mirror (verify); `resume` \
                 continues, `failover` keeps what is mirrored",
                record.source_topic
            );
            self.leads.retain(|key, _| key.topic != record.source_topic);
            self.fail_mirror(record.clone(), MirrorError::NonMonotonicSourceEpoch, detail);
        }
    }
}

/// Stores and announces leader epochs; those that can't be stored come again with the next
/// metadata.
async fn tell(shared: Arc<LinkShared>, news: Vec<(TopicPartition, LeaderEpoch, StatusCell)>) {
    let epochs: Vec<_> = news
        .iter()
        .map(|(partition, epoch, _)| (partition.clone(), *epoch))
        .collect();
    let told = shared.blocking(move |ports| ports.catalog.raise_leader_epochs(&epochs));
    match told.await {
        Ok(Ok(())) => {
            for (_, epoch, cell) in news {
                cell.with(|status| status.told_epoch = status.told_epoch.max(Some(epoch)));
            }
        }
        Ok(Err(error)) => {
            tracing::warn!(link = %shared.name, %error, "the source's leader epochs could not be \
                 stored");
        }
        Err(_) => {}
    }
}

/// Follows a source topic that has grown.
///
/// # Errors
/// As [`crate::ports::TopicCatalog::add_partitions`]; it is logged.
pub(crate) async fn grow(
    shared: Arc<LinkShared>,
    grown: MirrorRecord,
    count: i32,
) -> Result<(), LinkError> {
    let _change = shared.change.lock().await;
    let topic = &grown.topic;
    let record = shared
        .inner()
        .mirrors
        .get(topic)
        .filter(|mirror| mirror.is_wanted() && mirror.record.is_of_same(&grown))
        .map(|mirror| mirror.record.clone());
    let Some(mut record) = record.filter(|record| record.partitions < count) else {
        return Ok(());
    };
    record.partitions = count;
    let stored = record.clone();
    let added = shared
        .blocking(move |ports| ports.catalog.add_partitions(&stored, count))
        .await?;
    let link = &shared.name;
    if let Err(error) = added {
        tracing::error!(%link, %topic, %error, "partitions could not be added");
        return Err(error.into());
    }
    tracing::info!(%link, %topic, partitions = count, "partitions were added: the source topic has grown");
    shared.inner().set_mirror(record);
    shared.reconcile();
    Ok(())
}
