//! The state of one link, shared by its supervisor, its tasks and the manager.
//!
//! Lock order: `change` (awaited, held while a record is stored and then set) → `inner` (short,
//! never across an await or a port). The supervisor never awaits `change` in its loop, because its
//! holder may be waiting for the supervisor.

mod task_log;

use std::collections::BTreeMap;
use std::sync::{Arc, Weak};

use carrick_protocol::ids::TopicName;
use parking_lot::{Mutex, MutexGuard, RwLock};
use tokio::sync::mpsc::UnboundedSender;
use tokio::sync::oneshot;

use crate::config::{ConfigError, LinkConfig};
use crate::error::LinkError;
use crate::groups::GroupSync;
use crate::groups::ledger::Ledger;
use crate::ports::{Obstacle, Ports};
use crate::record::{LinkFailure, LinkName, LinkRecord, MirrorRecord, SourceSight};
use crate::replicator::lag::StatusCell;
use crate::report::AfterCut;
use crate::source::SourceCluster;
use crate::state::{LinkErrorCode, LinkState, MirrorError, MirrorEvent, MirrorStatus, TaskError};
use crate::throttle::Throttle;
use crate::verb::CutKind;

use task_log::TaskLog;
pub(crate) use task_log::{JobPlan, Note};

/// Requests to the supervisor.
#[derive(Debug)]
pub(crate) enum Ask {
    /// Start what should run and stop what should not. Answered when everything that should not run
    /// has stopped.
    Reconcile(Option<oneshot::Sender<()>>),
    /// The configs have changed: stop everything and start again with them.
    Restart,
    /// Stop, and answer when nothing runs any more.
    Stop(oneshot::Sender<()>),
}

#[derive(Debug)]
pub(crate) struct Mirror {
    pub(crate) record: MirrorRecord,
    pub(crate) statuses: Vec<StatusCell>,
    /// Its owner has consented to a truncation by resuming it.
    pub(crate) may_truncate: bool,
    /// It is about to be cut: its replicators must not run.
    pub(crate) is_cutting: bool,
    /// A cut did not finish: its partitions may be fenced, and their logs may hold markers that the
    /// source does not have. Only another cut can finish it.
    pub(crate) is_cut_begun: bool,
    /// Since when the source has answered every time that it doesn't know the topic.
    pub(crate) missing_since_ms: Option<i64>,
    /// It has failed, and that could not be stored when it happened.
    pub(crate) is_unstored: bool,
    /// What its promotion waits for besides lag 0, if anything: answers that the source still owes,
    /// or partitions that must be added here.
    pub(crate) waits_for: Option<String>,
    /// A task is running its promotion.
    pub(crate) is_pursued: bool,
    /// Why the last promotion or failover didn't cut it; `None` while one is in progress.
    pub(crate) not_cut: Option<LinkError>,
    /// The sight of its source that is stored.
    pub(crate) stored_sight: Option<SourceSight>,
    /// The records that its source was last seen to hold beyond the cut.
    pub(crate) after_cut: Option<AfterCut>,
}

impl Mirror {
    /// As loaded or created.
    pub(crate) fn new(record: MirrorRecord) -> Self {
        let mut mirror = Self {
            record,
            statuses: Vec::new(),
            may_truncate: false,
            is_cutting: false,
            is_cut_begun: false,
            missing_since_ms: None,
            is_unstored: false,
            waits_for: None,
            is_pursued: false,
            not_cut: None,
            stored_sight: None,
            after_cut: None,
        };
        mirror.fit_statuses();
        mirror
    }

    /// One status for each partition of the record.
    pub(crate) fn fit_statuses(&mut self) {
        let count = usize::try_from(self.record.partitions).unwrap_or(0);
        self.statuses.resize_with(count, StatusCell::default);
    }

    /// Whether its replicators should run while the link runs.
    pub(crate) fn is_wanted(&self) -> bool {
        let is_promoting = self.record.status == MirrorStatus::PendingStopped
            && self.record.pending_cut == Some(CutKind::Promote);
        !self.is_cutting
            && !self.is_cut_begun
            && (self.record.status == MirrorStatus::Active || is_promoting)
    }
}

/// The changing part of a link.
pub(crate) struct Inner {
    pub(crate) record: LinkRecord,
    pub(crate) config: Arc<LinkConfig>,
    /// The client for the source, of those configs.
    pub(crate) source: Arc<dyn SourceCluster>,
    pub(crate) state: LinkState,
    pub(crate) error: LinkErrorCode,
    pub(crate) error_detail: String,
    pub(crate) since_ms: i64,
    /// When the source last answered.
    pub(crate) seen_at_ms: Option<i64>,
    /// Why the source gives no metadata for the mirrored topics.
    pub(crate) no_metadata: Option<String>,
    /// The stored config that this version doesn't understand: the link has failed until that is
    /// changed.
    pub(crate) misconfigured: Option<String>,
    /// Why it has failed, if that could not be stored when it happened.
    pub(crate) unstored_failure: Option<LinkFailure>,
    pub(crate) mirrors: BTreeMap<TopicName, Mirror>,
    /// How the periodic jobs go, in the order in which they are listed.
    pub(crate) tasks: Vec<TaskLog>,
    /// Why no mirror may be created any more: the link is deleted, or the broker is stopping. Set
    /// under `change`.
    pub(crate) over: Option<LinkError>,
}

/// All links of this broker. Locked before any link's inner part.
pub(crate) type Links = RwLock<BTreeMap<LinkName, Arc<LinkShared>>>;

/// What a link starts with.
pub(crate) struct Setup {
    pub(crate) record: LinkRecord,
    pub(crate) config: LinkConfig,
    /// Its mirrors as stored; the cut ones included.
    pub(crate) mirrors: Vec<MirrorRecord>,
    /// What is stored of its groups' syncs.
    pub(crate) groups: Vec<GroupSync>,
    pub(crate) jobs: Vec<JobPlan>,
}

pub(crate) struct LinkShared {
    pub(crate) name: LinkName,
    /// All links of this broker, this one included.
    links: Weak<Links>,
    pub(crate) ports: Ports,
    /// Held while records of this link or its mirrors are changed.
    pub(crate) change: tokio::sync::Mutex<()>,
    /// Held while sights of the source are stored.
    pub(crate) sights: tokio::sync::Mutex<()>,
    /// Held while the sources of cut mirrors are checked.
    pub(crate) looks: tokio::sync::Mutex<()>,
    /// Held while ACLs that the link brings are changed.
    pub(crate) acls: Arc<tokio::sync::Mutex<()>>,
    pub(crate) asks: UnboundedSender<Ask>,
    /// Of everything that is fetched over the link.
    pub(crate) throttle: Arc<Throttle>,
    /// The groups whose offsets are synced.
    pub(crate) groups: Ledger,
    inner: Mutex<Inner>,
}

impl LinkShared {
    /// Connects to nothing and starts nothing.
    pub(crate) fn new(
        ports: Ports,
        links: Weak<Links>,
        setup: Setup,
        asks: UnboundedSender<Ask>,
    ) -> Arc<Self> {
        let Setup {
            record,
            config,
            mirrors,
            groups,
            jobs,
        } = setup;
        let now_ms = ports.clock.now_ms();
        let name = record.name.clone();
        let source = ports.sources.connect(&name, &config);
        let mirrors = mirrors
            .into_iter()
            .map(|record| (record.topic.clone(), Mirror::new(record)))
            .collect();
        let mut inner = Inner {
            tasks: jobs
                .into_iter()
                .map(|job| TaskLog::new(job, &config, now_ms))
                .collect(),
            config: Arc::new(config),
            source,
            state: LinkState::Active,
            error: LinkErrorCode::NoError,
            error_detail: String::new(),
            since_ms: now_ms,
            seen_at_ms: None,
            no_metadata: None,
            misconfigured: None,
            unstored_failure: None,
            mirrors,
            over: None,
            record,
        };
        inner.begin(now_ms);
        Arc::new(Self {
            name,
            links,
            ports,
            change: tokio::sync::Mutex::new(()),
            sights: tokio::sync::Mutex::new(()),
            looks: tokio::sync::Mutex::new(()),
            acls: Arc::default(),
            asks,
            throttle: Throttle::new(),
            groups: Ledger::load(groups),
            inner: Mutex::new(inner),
        })
    }

    /// The changing part, for a moment.
    pub(crate) fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock()
    }

    pub(crate) fn now_ms(&self) -> i64 {
        self.ports.clock.now_ms()
    }

    /// Asks the supervisor to start what should run and stop what should not.
    pub(crate) fn reconcile(&self) {
        let _ = self.asks.send(Ask::Reconcile(None));
    }

    /// The same, and waits until everything that should not run has stopped.
    pub(crate) async fn settled(&self) {
        let (done, answer) = oneshot::channel();
        let _ = self.asks.send(Ask::Reconcile(Some(done)));
        let _ = answer.await;
    }

    /// The link whose mirror that topic is at present: this one or another. The inner part of none
    /// may be locked.
    pub(crate) fn owner_of(&self, topic: &TopicName) -> Option<LinkName> {
        let links = self.links.upgrade()?;
        let links = links.read();
        let owner = links.values().find(|link| {
            let inner = link.inner();
            let mirror = inner.mirrors.get(topic);
            mirror.is_some_and(|mirror| mirror.record.status != MirrorStatus::Stopped)
        });
        owner.map(|link| link.name.clone())
    }

    /// Runs something that may wait for a disk.
    pub(crate) async fn blocking<T: Send + 'static>(
        &self,
        act: impl FnOnce(&Ports) -> T + Send + 'static,
    ) -> Result<T, LinkError> {
        let ports = self.ports.clone();
        tokio::task::spawn_blocking(move || act(&ports))
            .await
            .map_err(|_| LinkError::ShuttingDown)
    }

    /// Shows what keeps partitions from being written here, whatever the state of the link.
    pub(crate) fn show_obstacles(&self) {
        let mirrors: Vec<(TopicName, Vec<StatusCell>)> = {
            let inner = self.inner();
            let mirrors = inner.mirrors.values();
            let live = mirrors.filter(|mirror| mirror.record.status != MirrorStatus::Stopped);
            live.map(|mirror| (mirror.record.topic.clone(), mirror.statuses.clone()))
                .collect()
        };
        for (topic, cells) in mirrors {
            let obstacles = self.ports.target.obstacles(&topic);
            let mut obstacles: BTreeMap<i32, Obstacle> = obstacles.into_iter().collect();
            for (partition, cell) in (0..).zip(cells) {
                cell.with(|status| status.obstacle = obstacles.remove(&partition));
            }
        }
    }

    /// Shows why nothing is known of a mirror's topic at the source, where no replicator knows
    /// better.
    pub(crate) fn show_problem(&self, topic: &TopicName, why: &str) {
        let inner = self.inner();
        let mirror = inner.mirrors.get(topic);
        for cell in mirror.into_iter().flat_map(|mirror| &mirror.statuses) {
            cell.with(|status| {
                status.problem.get_or_insert_with(|| why.to_owned());
            });
        }
    }

    /// Stores these records of mirrors, then shows them. The caller holds `change`.
    pub(crate) async fn store_mirrors(&self, records: Vec<MirrorRecord>) -> Result<(), LinkError> {
        if records.is_empty() {
            return Ok(());
        }
        let stored = records.clone();
        self.blocking(move |ports| ports.store.save_mirrors(&stored))
            .await??;
        let mut inner = self.inner();
        for record in records {
            inner.set_mirror(record);
        }
        Ok(())
    }

    /// Stores the link's record, then shows it. The caller holds `change`.
    pub(crate) async fn store_link(&self, record: LinkRecord) -> Result<(), LinkError> {
        let stored = record.clone();
        self.blocking(move |ports| ports.store.save_link(&stored))
            .await??;
        let mut inner = self.inner();
        inner.record = record;
        inner.unstored_failure = None;
        Ok(())
    }

    /// Records the result of a run of the job with that name.
    pub(crate) fn job_ran(&self, job: &str, result: Result<Note, TaskError>) {
        let now_ms = self.now_ms();
        let mut inner = self.inner();
        if let Some(log) = inner.tasks.iter_mut().find(|log| log.name() == job) {
            log.ran(result, now_ms);
        }
    }

    /// For how long every answer of the source has been that it doesn't know a mirror's topic, with
    /// the present answer; `None` if there is no such mirror.
    pub(crate) fn missing_for_ms(&self, topic: &TopicName, is_missing: bool) -> Option<i64> {
        let now_ms = self.now_ms();
        let mut inner = self.inner();
        let mirror = inner.mirrors.get_mut(topic)?;
        if !is_missing {
            mirror.missing_since_ms = None;
            return Some(0);
        }
        Some(now_ms - *mirror.missing_since_ms.get_or_insert(now_ms))
    }

    /// Makes a mirror `FAILED`, unless its state doesn't allow that any more. `failed` is its record
    /// as it was when that was found.
    pub(crate) async fn fail_mirror(
        self: Arc<Self>,
        failed: MirrorRecord,
        error: MirrorError,
        detail: String,
    ) {
        let _change = self.change.lock().await;
        let topic = failed.topic.clone();
        let record = self
            .inner()
            .mirrors
            .get(&topic)
            .filter(|mirror| !mirror.is_cut_begun && mirror.record.is_of_same(&failed))
            .map(|mirror| mirror.record.clone());
        let Some(mut record) = record else {
            return;
        };
        let Ok(status) = record.status.after(MirrorEvent::Fail) else {
            return;
        };
        tracing::error!(link = %self.name, %topic, %error, "mirror failed: {detail}");
        record.status = status;
        record.status_since_ms = self.now_ms();
        record.error = error;
        record.error_detail = detail;
        record.pending_cut = None;
        if let Err(error) = self.store_mirrors(vec![record.clone()]).await {
            tracing::error!(link = %self.name, %topic, %error, "the failure could not be stored");
            let mut inner = self.inner();
            if let Some(mirror) = inner.set_mirror(record) {
                mirror.is_unstored = true;
            }
        }
        self.reconcile();
    }

    /// Stores failures that could not be stored when they happened: what shows must still show
    /// after a restart. Leaves it for later while something else is being changed.
    pub(crate) async fn store_failures(self: Arc<Self>) {
        let Ok(_change) = self.change.try_lock() else {
            return;
        };
        let (mirrors, link) = {
            let inner = self.inner();
            let unstored = inner.mirrors.values().filter(|mirror| mirror.is_unstored);
            let mirrors = unstored.map(|mirror| mirror.record.clone()).collect();
            let link = inner.unstored_failure.clone().map(|failure| LinkRecord {
                failure: Some(failure),
                ..inner.record.clone()
            });
            (mirrors, link)
        };
        let mirrors = self.store_mirrors(mirrors).await;
        let link = match link {
            Some(record) => self.store_link(record).await,
            None => Ok(()),
        };
        if let Err(error) = mirrors.and(link) {
            tracing::debug!(link = %self.name, %error, "a failure is not stored yet");
        }
    }

    /// Stores that the link is `FAILED`, until it is resumed or its source is available again.
    pub(crate) async fn fail_link(self: Arc<Self>, failure: LinkFailure) {
        let _change = self.change.lock().await;
        let (mut record, state) = {
            let inner = self.inner();
            (inner.record.clone(), inner.state)
        };
        // It may have been resumed meanwhile.
        let is_known = |known: &LinkFailure| known.error == failure.error;
        if record.failure.as_ref().is_some_and(is_known) || state != LinkState::Failed {
            return;
        }
        record.failure = Some(failure.clone());
        if let Err(error) = self.store_link(record).await {
            tracing::error!(link = %self.name, %error, "the link's failure could not be stored");
            self.inner().unstored_failure = Some(failure);
        }
    }

    /// The source of a failed link is available again, and is the right cluster: the link
    /// continues.
    pub(crate) async fn recover(self: Arc<Self>) {
        let _change = self.change.lock().await;
        let (mut record, may_recover) = {
            let inner = self.inner();
            let may_recover = inner.state == LinkState::Failed && inner.is_probing();
            (inner.record.clone(), may_recover)
        };
        // It may have been resumed, or failed for another reason, meanwhile.
        if !may_recover {
            return;
        }
        record.failure = None;
        if let Err(error) = self.store_link(record).await {
            tracing::error!(link = %self.name, %error, "the link's recovery could not be stored");
            return;
        }
        tracing::info!(link = %self.name, "the source answers again: the link continues");
        let now_ms = self.now_ms();
        {
            let mut inner = self.inner();
            inner.unstored_failure = None;
            inner.begin(now_ms);
        }
        let _ = self.asks.send(Ask::Restart);
    }

    /// Fails the link for configs that this version doesn't understand. Nothing is stored: another
    /// version may understand them.
    pub(crate) fn misconfigure(&self, error: &ConfigError) {
        tracing::error!(link = %self.name, %error, "a stored config can't be read");
        let detail = format!(
            "the stored config {error}. Set it again or reset it to its default, or fail the \
             mirrors over"
        );
        let now_ms = self.now_ms();
        let mut inner = self.inner();
        inner.misconfigured = Some(detail);
        inner.begin(now_ms);
    }

    /// Stores the id of the cluster that the link is connected to.
    pub(crate) async fn learn_cluster_id(self: Arc<Self>, cluster_id: String) {
        let _change = self.change.lock().await;
        let mut record = self.inner().record.clone();
        if record.source_cluster_id.is_none() {
            record.source_cluster_id = Some(cluster_id);
            if let Err(error) = self.store_link(record).await {
                let link = &self.name;
                tracing::error!(%link, %error, "the source's cluster id could not be stored");
            }
        }
    }
}

impl Inner {
    /// The state to start in, from what is stored and configured.
    pub(crate) fn begin(&mut self, now_ms: i64) {
        for task in &mut self.tasks {
            task.configure(&self.config, now_ms);
        }
        if let Some(detail) = self.misconfigured.clone() {
            self.set_state(LinkState::Failed, LinkErrorCode::Unknown, detail, now_ms);
            return;
        }
        let failure = self.record.failure.clone();
        match failure {
            Some(failure) => {
                self.set_state(LinkState::Failed, failure.error, failure.detail, now_ms);
                self.since_ms = failure.since_ms;
            }
            None if self.config.paused => {
                self.set_state(
                    LinkState::Paused,
                    LinkErrorCode::NoError,
                    String::new(),
                    now_ms,
                );
            }
            None => {
                self.set_state(
                    LinkState::Active,
                    LinkErrorCode::NoError,
                    String::new(),
                    now_ms,
                );
            }
        }
    }

    /// Changes the state; true if it is another one.
    pub(crate) fn set_state(
        &mut self,
        state: LinkState,
        error: LinkErrorCode,
        detail: String,
        now_ms: i64,
    ) -> bool {
        let is_new = self.state != state;
        if is_new {
            self.since_ms = now_ms;
        }
        self.state = state;
        self.error = error;
        self.error_detail = detail;
        is_new
    }

    /// Whether a failure shows that is not stored.
    pub(crate) fn has_unstored(&self) -> bool {
        self.unstored_failure.is_some() || self.mirrors.values().any(|mirror| mirror.is_unstored)
    }

    /// Whether replicators may run at all.
    pub(crate) fn runs(&self) -> bool {
        matches!(self.state, LinkState::Active | LinkState::Unavailable)
    }

    /// Whether the link checks if the source is available. A failed link does, too, and continues
    /// once it is. Only after refused credentials it does not: repeating them may lock an account.
    /// A link whose configs can't be read has no source to ask.
    pub(crate) fn is_probing(&self) -> bool {
        let may_recover = self.state == LinkState::Failed
            && self.error != LinkErrorCode::AuthenticationError
            && self.misconfigured.is_none();
        self.runs() || may_recover
    }

    /// Sets the record of a mirror. One whose topic was deleted meanwhile does not come back.
    pub(crate) fn set_mirror(&mut self, record: MirrorRecord) -> Option<&mut Mirror> {
        let mirror = self.mirrors.get_mut(&record.topic)?;
        if !mirror.record.is_of_same(&record) {
            return None;
        }
        if record.status == MirrorStatus::PendingStopped {
            mirror.not_cut = None;
        }
        mirror.record = record;
        mirror.is_unstored = false;
        mirror.waits_for = None;
        mirror.fit_statuses();
        Some(mirror)
    }
}

/// Runs `work` to completion, even if the caller stops waiting for it.
///
/// # Errors
/// `ShuttingDown` if the runtime stops first.
pub(crate) async fn detached<T: Send + 'static>(
    work: impl Future<Output = T> + Send + 'static,
) -> Result<T, LinkError> {
    tokio::spawn(work)
        .await
        .map_err(|_| LinkError::ShuttingDown)
}
