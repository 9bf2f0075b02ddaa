//! The supervisor of one link: a task that starts what should run and stops what should not.
//!
//! It waits for the first event (a request of the manager, a report of a replicator, a check,
//! metadata, the end of a job) and acts on it; work that may wait for a disk runs in separate
//! tasks. The records say what should run ([`crate::shared`]); [`running`] holds what does run;
//! [`health`] judges whether the source is available.
//!
//! Invariant: no replicator runs for a mirror that isn't `ACTIVE` or being promoted, nor on a link
//! that is paused or failed. A failed link only checks, occasionally, whether its source is
//! available again.

mod after_cut;
mod checks;
mod closest;
mod health;
mod jobs;
mod running;
mod sights;
pub(crate) mod watch;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use carrick_protocol::ids::{NodeId, TopicName, TopicPartition};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio::sync::oneshot;
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::backoff::Backoff;
use crate::error::Fault;
use crate::ports::TargetError;
use crate::record::MirrorRecord;
use crate::replicator::task::Report;
use crate::shared::{Ask, Inner, LinkShared};
use crate::source::{BoxFuture, ClusterInfo, ClusterMetadata, FaultKind, SourceError};
use crate::state::{MirrorError, MirrorStatus};
use closest::Lead;
use health::Health;
use jobs::Jobs;
use running::{Running, Wanted};

/// How often replicators that have stopped on their own are started again.
const RECONCILE_EVERY: Duration = Duration::from_secs(1);

/// How often sights of the source are stored.
const SIGHTS_EVERY: Duration = Duration::from_secs(5);

/// How often the sources of cut mirrors are checked.
const LOOK_BEYOND_CUTS_EVERY: Duration = Duration::from_secs(10);

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
    /// Those that arrived while a metadata request was in flight: for the next.
    late_waiters: Vec<Waiter>,
    /// The source has said who it is since the client was made, and is who it should be.
    is_verified: bool,
    /// A connection was refused for who the link is, or who the source is: shown until then, though others may work.
    refused_until: Option<Instant>,
    check: Option<BoxFuture<'static, Result<ClusterInfo, Fault>>>,
    refresh: Option<BoxFuture<'static, Result<ClusterMetadata, SourceError>>>,
    jobs: Jobs,
    next_reconcile: Instant,
    next_sights: Instant,
    next_look: Instant,
    next_check: Instant,
    next_refresh: Instant,
    refresh_backoff: Backoff,
    beside: JoinSet<()>,
}

/// What the supervisor has waited for.
enum Happened {
    Ask(Option<Ask>),
    Report(Report),
    Trouble(NodeId, SourceError),
    Checked(Result<ClusterInfo, Fault>),
    Refreshed(Result<ClusterMetadata, SourceError>),
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
            refused_until: None,
            check: None,
            refresh: None,
            jobs: Jobs::new(now),
            next_reconcile: now,
            next_sights: now + SIGHTS_EVERY,
            next_look: now,
            next_check: now,
            next_refresh: now,
            refresh_backoff,
            beside: JoinSet::new(),
        }
    }

    /// Waits for one thing and acts on it; false at the end.
    async fn step(&mut self) -> bool {
        match self.happening().await {
            Happened::Ask(ask) => return self.on_ask(ask).await,
            Happened::Report(report) => self.on_report(report),
            Happened::Trouble(broker, error) => {
                tracing::debug!(link = %self.shared.name, %broker, "looking for the leaders again");
                self.running.lost(broker, &self.leads);
                if error.kind() == FaultKind::Authentication {
                    self.on_refused(Fault::from(&error));
                }
                self.refresh_soon();
            }
            Happened::Checked(result) => self.on_check(result),
            Happened::Refreshed(result) => self.on_refreshed(result),
            Happened::Due => self.on_due().await,
        }
        true
    }

    async fn happening(&mut self) -> Happened {
        let due = self.next_due();
        tokio::select! {
            ask = self.asks.recv() => Happened::Ask(ask),
            Some(report) = self.reports.recv() => Happened::Report(report),
            Some((broker, error)) = self.trouble.recv() => Happened::Trouble(broker, error),
            result = finished(&mut self.check) => Happened::Checked(result),
            result = finished(&mut self.refresh) => Happened::Refreshed(result),
            () = self.jobs.ended() => Happened::Due,
            Some(_) = self.beside.join_next(), if !self.beside.is_empty() => Happened::Due,
            () = tokio::time::sleep_until(due) => Happened::Due,
        }
    }

    fn next_due(&self) -> Instant {
        let mut due = self.next_reconcile;
        let inner = self.shared.inner();
        if inner.is_probing() && self.check.is_none() {
            due = due.min(self.next_check);
        }
        if inner.runs() {
            if self.refresh.is_none() {
                due = due.min(self.next_refresh);
            }
            due = due.min(self.jobs.next_due());
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
                self.jobs.stop().await;
                Arc::clone(&self.shared).save_sights(true).await;
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

    /// Stops everything and starts again with the present configs.
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
            self.shared.show_obstacles();
            self.reconcile().await;
            self.next_reconcile = now + RECONCILE_EVERY;
            if self.next_sights <= now {
                self.next_sights = now + SIGHTS_EVERY;
                self.beside
                    .spawn(Arc::clone(&self.shared).save_sights(false));
            }
            if self.next_look <= now {
                self.next_look = now + LOOK_BEYOND_CUTS_EVERY;
                self.beside
                    .spawn(Arc::clone(&self.shared).look_beyond_cuts());
            }
            if self.shared.inner().has_unstored() {
                self.beside.spawn(Arc::clone(&self.shared).store_failures());
            }
        }
        let (runs, is_probing) = {
            let inner = self.shared.inner();
            (inner.runs(), inner.is_probing())
        };
        if is_probing && self.check.is_none() && self.next_check <= now {
            self.start_check(now);
        }
        if !runs {
            return;
        }
        if self.refresh.is_none() && self.next_refresh <= now {
            self.start_refresh(now);
        }
        self.jobs.start_due(&self.shared, now);
    }

    async fn reconcile(&mut self) {
        let wanted: Vec<Wanted> = {
            let inner = self.shared.inner();
            forget_unmirrored(&mut self.leads, &inner);
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
                self.fail_mirror_of(&partition, error, detail);
            }
            Report::NotOpened {
                partition,
                error: TargetError::Storage(detail),
            } => {
                let link = &self.shared.name;
                tracing::warn!(%link, %partition, detail, "not opened; trying again");
            }
            Report::NotOpened { partition, error } => {
                let detail = format!("partition {}: {error}", partition.partition);
                self.fail_mirror_of(&partition, MirrorError::Unknown, detail);
            }
            Report::Redirect {
                partition,
                epoch,
                to,
            } => {
                self.running.redirect(partition, epoch, to);
                self.running.assign(&self.leads);
            }
            Report::LostLease { partition, detail } => {
                tracing::info!(link = %self.shared.name, %partition, detail, "replicator ended");
            }
        }
    }

    fn fail_mirror_of(&mut self, partition: &TopicPartition, error: MirrorError, detail: String) {
        let found = self
            .shared
            .inner()
            .mirrors
            .get(&partition.topic)
            .map(|it| it.record.clone());
        if let Some(record) = found {
            self.fail_mirror(record, error, detail);
        }
    }

    fn fail_mirror(&mut self, failed: MirrorRecord, error: MirrorError, detail: String) {
        self.beside
            .spawn(Arc::clone(&self.shared).fail_mirror(failed, error, detail));
    }
}

/// Forgets topics that are no longer mirrored: if one is mirrored again later, it may be another topic.
fn forget_unmirrored(leads: &mut HashMap<TopicPartition, Lead>, inner: &Inner) {
    let live = inner
        .mirrors
        .values()
        .filter(|mirror| mirror.record.status != MirrorStatus::Stopped);
    let mirrored: HashSet<&TopicName> = live.map(|mirror| &mirror.record.source_topic).collect();
    leads.retain(|partition, _| mirrored.contains(&partition.topic));
}

/// The outcome of something that may be in progress; never, if nothing is.
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
