//! One link: a supervisor task that makes what runs what is wanted.
//!
//! The supervisor waits for whatever comes first (an ask of the manager, a report of a replicator, a check, metadata, a job's end)
//! and acts on it; what may wait for a disk runs beside it. Wanted is what the records say ([`shared`]); what runs is in
//! [`running`]; whether the source is there is judged by [`health`].
//!
//! Invariant: no replicator runs for a mirror that isn't `ACTIVE` or being promoted, nor on a link that is paused or failed.

pub(crate) mod health;
pub(crate) mod running;
pub(crate) mod shared;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use carrick_protocol::error_code::ErrorCode;
use carrick_protocol::ids::{LeaderEpoch, NodeId, TopicName, TopicPartition};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio::sync::oneshot;
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::backoff::Backoff;
use crate::ports::TargetError;
use crate::record::{LinkFailure, MirrorRecord};
use crate::replicator::task::Report;
use crate::source::{
    BoxFuture, ClusterInfo, ClusterMetadata, SourceError, SourceTopic, TopicSelection,
};
use crate::state::{LinkErrorCode, LinkState, MirrorError};
use crate::tasks::configs::TaskError;
use crate::tasks::topics::{self, Verdict};
use health::{Fault, Health, HealthLimits};
use running::{Lead, Running, Wanted};
use shared::{Ask, LinkShared};

/// Replicators that ended by themselves are started anew this often.
const RECONCILE_EVERY: Duration = Duration::from_secs(1);

/// A check that takes longer than this has failed, unless checks are farther apart.
const CHECK_TIMEOUT_MIN_MS: u64 = 1_000;

/// The metadata of mirrored topics are looked at this often at least.
const WATCH_MAX_MS: u64 = 30_000;
const WATCH_MIN_MS: u64 = 1_000;

/// A leader epoch that is lower than before in so many answers in a row is no stale answer.
const STALE_EPOCHS_MAX: u32 = 20;

/// Runs the supervisor until it is asked to stop.
pub(crate) fn spawn(shared: Arc<LinkShared>, asks: UnboundedReceiver<Ask>) {
    tokio::spawn(async move {
        let mut supervisor = Supervisor::new(shared, asks);
        while supervisor.step().await {}
    });
}

/// A replicator that waits for fresh metadata of its topic.
type Waiter = (TopicName, oneshot::Sender<()>);

struct Supervisor {
    shared: Arc<LinkShared>,
    asks: UnboundedReceiver<Ask>,
    reports: UnboundedReceiver<Report>,
    trouble: UnboundedReceiver<(NodeId, SourceError)>,
    running: Running,
    health: Health,
    leads: HashMap<TopicPartition, Lead>,
    stale_epochs: BTreeMap<TopicName, u32>,
    waiters: Vec<Waiter>,
    /// Those that came while metadata were under way: for the next.
    late_waiters: Vec<Waiter>,
    /// The source has said who it is since the client was made, and is who it should be.
    is_verified: bool,
    check: Option<BoxFuture<'static, Result<ClusterInfo, Fault>>>,
    refresh: Option<BoxFuture<'static, Result<ClusterMetadata, SourceError>>>,
    configs: Option<BoxFuture<'static, Result<(), TaskError>>>,
    next_reconcile: Instant,
    next_check: Instant,
    next_refresh: Instant,
    next_configs: Instant,
    refresh_backoff: Backoff,
    beside: JoinSet<()>,
}

/// What the supervisor has waited for.
enum Happened {
    Ask(Option<Ask>),
    Report(Report),
    Trouble(NodeId),
    Checked(Result<ClusterInfo, Fault>),
    Refreshed(Result<ClusterMetadata, SourceError>),
    ConfigsSynced(Result<(), TaskError>),
    Due,
}

impl Supervisor {
    fn new(shared: Arc<LinkShared>, asks: UnboundedReceiver<Ask>) -> Self {
        let (report_sender, reports) = unbounded_channel();
        let (trouble_sender, trouble) = unbounded_channel();
        let running = Running::new(Arc::clone(&shared), report_sender, trouble_sender);
        let refresh_backoff = {
            let config = Arc::clone(&shared.inner().config);
            Backoff::new(config.retry_backoff_ms, config.retry_backoff_max_ms)
        };
        let now = Instant::now();
        Self {
            shared,
            asks,
            reports,
            trouble,
            running,
            health: Health::default(),
            leads: HashMap::new(),
            stale_epochs: BTreeMap::new(),
            waiters: Vec::new(),
            late_waiters: Vec::new(),
            is_verified: false,
            check: None,
            refresh: None,
            configs: None,
            next_reconcile: now,
            next_check: now,
            next_refresh: now,
            next_configs: now,
            refresh_backoff,
            beside: JoinSet::new(),
        }
    }

    /// Waits for one thing and acts on it; false at the end.
    async fn step(&mut self) -> bool {
        match self.happening().await {
            Happened::Ask(ask) => return self.on_ask(ask).await,
            Happened::Report(report) => self.on_report(report),
            Happened::Trouble(broker) => {
                tracing::debug!(link = %self.shared.name, %broker, "looking for the leaders anew");
                self.refresh_soon();
            }
            Happened::Checked(result) => self.on_check(result),
            Happened::Refreshed(result) => self.on_refreshed(result),
            Happened::ConfigsSynced(result) => {
                let now_ms = self.shared.now_ms();
                self.shared.inner().configs_task.ran(result, now_ms);
            }
            Happened::Due => self.on_due().await,
        }
        true
    }

    async fn happening(&mut self) -> Happened {
        let due = self.next_due();
        tokio::select! {
            ask = self.asks.recv() => Happened::Ask(ask),
            Some(report) = self.reports.recv() => Happened::Report(report),
            Some((broker, _)) = self.trouble.recv() => Happened::Trouble(broker),
            result = finished(&mut self.check) => Happened::Checked(result),
            result = finished(&mut self.refresh) => Happened::Refreshed(result),
            result = finished(&mut self.configs) => Happened::ConfigsSynced(result),
            Some(_) = self.beside.join_next(), if !self.beside.is_empty() => Happened::Due,
            () = tokio::time::sleep_until(due) => Happened::Due,
        }
    }

    fn next_due(&self) -> Instant {
        let mut due = self.next_reconcile;
        if self.shared.inner().runs() {
            for (next, under_way) in [
                (self.next_check, self.check.is_some()),
                (self.next_refresh, self.refresh.is_some()),
                (self.next_configs, self.configs.is_some()),
            ] {
                if !under_way {
                    due = due.min(next);
                }
            }
        }
        due
    }

    async fn on_ask(&mut self, ask: Option<Ask>) -> bool {
        match ask {
            Some(Ask::Reconcile(done)) => {
                self.reconcile().await;
                if let Some(done) = done {
                    let _ = done.send(());
                }
                self.refresh_soon();
                true
            }
            Some(Ask::Restart) => {
                self.restart().await;
                true
            }
            Some(Ask::Stop(done)) => {
                self.running.stop().await;
                self.beside.shutdown().await;
                let _ = done.send(());
                false
            }
            None => {
                self.running.stop().await;
                false
            }
        }
    }

    /// Everything anew, with the configs of now.
    async fn restart(&mut self) {
        self.running.stop().await;
        let (_, asks) = unbounded_channel();
        let asks = std::mem::replace(&mut self.asks, asks);
        let beside = std::mem::take(&mut self.beside);
        *self = Self::new(Arc::clone(&self.shared), asks);
        self.beside = beside;
    }

    async fn on_due(&mut self) {
        let now = Instant::now();
        if self.next_reconcile <= now {
            self.reconcile().await;
            self.next_reconcile = now + RECONCILE_EVERY;
        }
        if !self.shared.inner().runs() {
            return;
        }
        if self.check.is_none() && self.next_check <= now {
            self.start_check(now);
        }
        if self.refresh.is_none() && self.next_refresh <= now {
            self.start_refresh(now);
        }
        if self.configs.is_none() && self.next_configs <= now {
            self.start_configs(now);
        }
    }

    async fn reconcile(&mut self) {
        let wanted: Vec<Wanted> = {
            let inner = self.shared.inner();
            let mirrors = inner.mirrors.values();
            if inner.runs() && self.is_verified {
                mirrors
                    .filter(|mirror| mirror.is_wanted())
                    .map(Wanted::of)
                    .collect()
            } else {
                Vec::new()
            }
        };
        self.running.reconcile(&wanted).await;
        self.running.assign(&self.leads);
    }

    fn on_report(&mut self, report: Report) {
        match report {
            Report::Refresh { partition, seen } => {
                let is_late = self.refresh.is_some();
                let waiters = if is_late {
                    &mut self.late_waiters
                } else {
                    &mut self.waiters
                };
                waiters.push((partition.topic, seen));
                self.refresh_soon();
            }
            Report::Failed {
                partition,
                error,
                detail,
            } => {
                self.fail_mirror(partition.topic, error, detail);
            }
            Report::NotOpened {
                partition,
                error: TargetError::Storage(detail),
            } => {
                tracing::warn!(link = %self.shared.name, %partition, detail, "not opened; trying again");
            }
            Report::NotOpened { partition, error } => {
                let detail = format!("partition {}: {error}", partition.partition);
                self.fail_mirror(partition.topic, MirrorError::Unknown, detail);
            }
            Report::LostLease { partition, detail } => {
                tracing::info!(link = %self.shared.name, %partition, detail, "replicator ended");
            }
        }
    }

    fn fail_mirror(&mut self, topic: TopicName, error: MirrorError, detail: String) {
        self.beside
            .spawn(Arc::clone(&self.shared).fail_mirror(topic, error, detail));
    }

    // ---- is the source there?

    fn start_check(&mut self, now: Instant) {
        let (source, every_ms) = {
            let inner = self.shared.inner();
            (
                Arc::clone(&inner.source),
                inner.config.availability_check_ms,
            )
        };
        self.next_check = now + Duration::from_millis(every_ms);
        let limit_ms = every_ms.max(CHECK_TIMEOUT_MIN_MS);
        self.check = Some(Box::pin(async move {
            match tokio::time::timeout(Duration::from_millis(limit_ms), source.describe()).await {
                Ok(Ok(cluster)) => Ok(cluster),
                Ok(Err(error)) => Err(Fault::from(&error)),
                Err(_) => Err(Fault {
                    code: LinkErrorCode::TimeoutError,
                    is_retriable: true,
                    detail: format!("the source did not answer within {limit_ms} ms"),
                }),
            }
        }));
    }

    fn on_check(&mut self, result: Result<ClusterInfo, Fault>) {
        let now_ms = self.shared.now_ms();
        match result {
            Ok(cluster) => self.on_reached(cluster, now_ms),
            Err(fault) => self.on_not_reached(fault, now_ms),
        }
    }

    fn on_reached(&mut self, cluster: ClusterInfo, now_ms: i64) {
        self.shared.inner().seen_at_ms = Some(now_ms);
        if !self.is_same_cluster(cluster.cluster_id.as_deref(), now_ms) {
            return;
        }
        if !self.is_verified {
            self.is_verified = true;
            self.next_reconcile = Instant::now();
        }
        let state = self.health.reached();
        let is_back = {
            let mut inner = self.shared.inner();
            inner.runs() && inner.set_state(state, LinkErrorCode::NoError, String::new(), now_ms)
        };
        if is_back {
            tracing::info!(link = %self.shared.name, "the source answers again");
            self.refresh_soon();
        }
    }

    /// Fails the link if the source is another one than the one that it was made for.
    fn is_same_cluster(&mut self, found: Option<&str>, now_ms: i64) -> bool {
        let expected = self.shared.inner().record.source_cluster_id.clone();
        match (expected, found) {
            (Some(expected), Some(found)) if expected != found => {
                let detail = format!(
                    "the source's cluster id is '{found}', but the link was made for '{expected}'. Set bootstrap.servers \
                     to that cluster, or fail the mirrors over and delete the link"
                );
                self.is_verified = false;
                self.fail_link(LinkErrorCode::Unknown, detail, now_ms);
                false
            }
            (None, Some(found)) => {
                let learning = Arc::clone(&self.shared).learn_cluster_id(found.to_owned());
                self.beside.spawn(learning);
                true
            }
            _ => true,
        }
    }

    fn on_not_reached(&mut self, fault: Fault, now_ms: i64) {
        let (limits, fresh_ms) = {
            let inner = self.shared.inner();
            if !inner.runs() {
                return;
            }
            let config = &inner.config;
            let limits = HealthLimits {
                failures_max: config.availability_check_failures.max(1),
                retry_timeout_ms: config.retry_timeout_ms,
            };
            (
                limits,
                i64::try_from(config.availability_check_ms).unwrap_or(i64::MAX),
            )
        };
        // A source that still answers fetches is only slow to answer checks.
        if self
            .running
            .last_answer_ms()
            .is_some_and(|at| now_ms - at <= fresh_ms)
        {
            self.health.reached();
            self.shared.inner().seen_at_ms = Some(now_ms);
            return;
        }
        match self.health.failed(&fault, now_ms, limits) {
            LinkState::Failed => {
                let detail = format!(
                    "{}. Once the cause is gone, resume the link (set cluster.link.paused=false), or fail its mirrors over",
                    fault.detail
                );
                self.fail_link(fault.code, detail, now_ms);
            }
            LinkState::Unavailable => {
                let mut inner = self.shared.inner();
                let detail = fault.detail;
                if inner.set_state(LinkState::Unavailable, fault.code, detail.clone(), now_ms) {
                    tracing::warn!(link = %self.shared.name, error = ?fault.code, "the source is unavailable: {detail}");
                }
            }
            LinkState::Active | LinkState::Paused => {}
        }
    }

    fn fail_link(&mut self, error: LinkErrorCode, detail: String, now_ms: i64) {
        tracing::error!(link = %self.shared.name, ?error, "link failed: {detail}");
        self.shared
            .inner()
            .set_state(LinkState::Failed, error, detail.clone(), now_ms);
        let failure = LinkFailure {
            error,
            detail,
            since_ms: now_ms,
        };
        self.beside
            .spawn(Arc::clone(&self.shared).fail_link(failure));
        self.next_reconcile = Instant::now();
    }

    // ---- metadata

    /// Metadata are asked for at once, or after the back-off if they were just now.
    fn refresh_soon(&mut self) {
        let soon = Instant::now() + self.refresh_backoff.present_wait();
        self.next_refresh = self.next_refresh.min(soon);
    }

    fn start_refresh(&mut self, now: Instant) {
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

    fn on_refreshed(&mut self, result: Result<ClusterMetadata, SourceError>) {
        let metadata = match result {
            Ok(metadata) => metadata,
            Err(error) => {
                tracing::debug!(link = %self.shared.name, %error, "no metadata");
                self.refresh_again();
                return;
            }
        };
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
            let verdict = topics::judge(&record, topic);
            let is_clear = self.on_verdict(&record, verdict);
            let leads = is_clear && topic.is_some_and(|topic| self.learn_leads(&record, topic));
            is_settled &= leads;
            if !is_clear {
                unsettled.push(record.topic);
            }
        }
        self.running.assign(&self.leads);
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

    fn refresh_again(&mut self) {
        self.next_refresh = Instant::now() + self.refresh_backoff.next_wait();
    }

    /// Acts on what the metadata say of a topic; true if its partitions may be fetched.
    fn on_verdict(&mut self, record: &MirrorRecord, verdict: Verdict) -> bool {
        let topic = &record.topic;
        let missing = {
            let mut inner = self.shared.inner();
            let Some(mirror) = inner.mirrors.get_mut(topic) else {
                return false;
            };
            mirror.missing = match verdict {
                Verdict::Missing => mirror.missing + 1,
                _ => 0,
            };
            mirror.missing
        };
        match verdict {
            Verdict::Same => true,
            Verdict::Grown(count) => {
                self.beside
                    .spawn(grow(Arc::clone(&self.shared), topic.clone(), count));
                true
            }
            Verdict::Missing if missing >= topics::MISSING_MAX => {
                let (error, detail) = topics::missing(record);
                self.fail_mirror(topic.clone(), error, detail);
                false
            }
            Verdict::Missing => false,
            Verdict::Unclear(why) => {
                tracing::debug!(link = %self.shared.name, %topic, why, "metadata unclear");
                false
            }
            Verdict::Failed(error, detail) => {
                self.fail_mirror(topic.clone(), error, detail);
                false
            }
        }
    }

    /// Remembers the leaders of a topic; false if some partition has none.
    fn learn_leads(&mut self, record: &MirrorRecord, topic: &SourceTopic) -> bool {
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
            let known = self
                .leads
                .get(&key)
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

    fn count_stale(&mut self, record: &MirrorRecord, is_stale: bool) {
        if !is_stale {
            self.stale_epochs.remove(&record.topic);
            return;
        }
        let count = self.stale_epochs.entry(record.topic.clone()).or_insert(0);
        *count += 1;
        if *count == STALE_EPOCHS_MAX {
            let detail = format!(
                "the source's leader epochs of '{}' went back and stay there: the source was restored from an older state. \
                 Compare source and mirror (verify); `resume` goes on, `failover` keeps what is mirrored",
                record.source_topic
            );
            self.leads.retain(|key, _| key.topic != record.source_topic);
            self.fail_mirror(
                record.topic.clone(),
                MirrorError::NonMonotonicSourceEpoch,
                detail,
            );
        }
    }

    // ---- configs

    fn start_configs(&mut self, now: Instant) {
        let (source, mirrors, config) = {
            let inner = self.shared.inner();
            let wanted = inner.mirrors.values().filter(|mirror| mirror.is_wanted());
            let mirrors: Vec<_> = wanted
                .map(|mirror| {
                    (
                        mirror.record.topic.clone(),
                        mirror.record.source_topic.clone(),
                    )
                })
                .collect();
            (
                Arc::clone(&inner.source),
                mirrors,
                Arc::clone(&inner.config),
            )
        };
        self.next_configs = now + Duration::from_millis(config.topic_config_sync_ms.max(1));
        if mirrors.is_empty() || self.shared.inner().state != LinkState::Active {
            return;
        }
        let catalog = Arc::clone(&self.shared.ports.catalog);
        let include = config.topic_config_sync_include.clone();
        let run = crate::tasks::configs::sync(source, catalog, mirrors, include);
        self.configs = Some(Box::pin(run));
    }
}

/// Follows a source topic that has grown.
async fn grow(shared: Arc<LinkShared>, topic: TopicName, count: i32) {
    let _change = shared.change.lock().await;
    let Some(mut record) = shared
        .inner()
        .mirrors
        .get(&topic)
        .map(|mirror| mirror.record.clone())
    else {
        return;
    };
    if record.partitions >= count {
        return;
    }
    record.partitions = count;
    let stored = record.clone();
    let grown = shared
        .blocking(move |ports| ports.catalog.add_partitions(&stored, count))
        .await;
    match grown {
        Ok(Ok(())) => {
            tracing::info!(link = %shared.name, %topic, partitions = count, "the source topic has grown");
            shared.inner().put_mirror(record);
            shared.reconcile();
        }
        Ok(Err(error)) => {
            tracing::error!(link = %shared.name, %topic, %error, "partitions could not be added");
        }
        Err(_) => {}
    }
}

/// The outcome of something that may be under way; never, if nothing is.
async fn finished<T>(under_way: &mut Option<BoxFuture<'static, T>>) -> T {
    match under_way {
        Some(future) => {
            let outcome = future.await;
            *under_way = None;
            outcome
        }
        None => std::future::pending().await,
    }
}
