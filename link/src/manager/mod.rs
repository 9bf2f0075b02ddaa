//! The links of this broker: the API that HTTP, the CLI behind it and the broker's topics use.
//!
//! Lock order: `admin` (awaited; creation and deletion, because names are the whole broker's) → a
//! link's `change` → `links` and a link's inner part (short, never across an await or a port).

mod alter;
mod cleaned;
pub(crate) mod creation;
mod cut;
mod groups;
mod links;
mod mirrors;
mod offsets;
mod promote;
mod rpo;
mod show;
#[cfg(test)]
mod tests;
mod verify;
mod waiting;
pub(crate) mod word;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use carrick_protocol::ids::{TopicName, TopicPartition};
use tokio::sync::mpsc::unbounded_channel;

use crate::config::{ConfigEntry, LinkConfig};
use crate::description::{LinkDescription, MirrorCreation, MirrorDescription, MirrorOutcome};
use crate::error::LinkError;
use crate::groups::{GroupSync, GroupSyncDescription};
use crate::link::shared::{LinkShared, Links};
use crate::ports::{Ports, SourceConnector};
use crate::record::{LinkName, MirrorRecord};
use crate::report::RpoReport;
use crate::source::{KafkaCluster, SourceCluster};
use crate::state::MirrorStatus;
use crate::verb::{CutKind, Verb};
use crate::verify::{VerifyOptions, VerifyProgress, VerifyReport};

/// How configs of a link are changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AlterLink {
    /// Check everything, change nothing.
    pub validate_only: bool,
    /// If it changes how the source is reached: connect to it first, and refuse the change if that fails or another
    /// cluster answers.
    pub validate_link: bool,
}

impl Default for AlterLink {
    fn default() -> Self {
        Self {
            validate_only: false,
            validate_link: true,
        }
    }
}

/// A link that is to be created.
#[derive(Clone, Default)]
pub struct NewLink {
    /// Its name.
    pub name: String,
    /// Its configs by name (linking.md's table).
    pub configs: BTreeMap<String, String>,
    /// Refuse a source of another cluster id.
    pub expected_source_cluster_id: Option<String>,
    /// Check everything, create nothing.
    pub validate_only: bool,
    /// Connect to the source first and refuse the link if that fails.
    pub validate_link: bool,
}

// Values of configs may be secrets: none is printed.
impl std::fmt::Debug for NewLink {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("NewLink")
            .field("name", &self.name)
            .field("configs", &self.configs.keys())
            .field(
                "expected_source_cluster_id",
                &self.expected_source_cluster_id,
            )
            .field("validate_only", &self.validate_only)
            .field("validate_link", &self.validate_link)
            .finish()
    }
}

/// A mirror topic that is to be created.
#[derive(Debug, Clone, Default)]
pub struct NewMirror {
    /// The topic at the source.
    pub source_topic: String,
    /// Its name here; as at the source if not given.
    pub mirror_topic: Option<String>,
    /// `mirror.start.offset.spec`, and topic configs that are not synced from the source.
    pub configs: BTreeMap<String, String>,
}

/// Mirror topics that are to be created together.
#[derive(Debug, Clone)]
pub struct NewMirrors {
    /// Which topics of the source. `All`, and a pattern, leave out those that are internal to the
    /// source or begin with `__`, and those that the link mirrors already.
    pub topics: Selection,
    /// As [`NewMirror::configs`], for each.
    pub configs: BTreeMap<String, String>,
    /// Check everything, create nothing.
    pub validate_only: bool,
}

/// Which mirrors of a link, or topics of its source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Selection {
    /// These.
    Names(Vec<TopicName>),
    /// All whose whole name matches the regular expression.
    Pattern(String),
    /// All; of mirrors, those that are not stopped.
    All,
}

/// A hook that ends a waiting promotion early: the mirror then goes on mirroring.
pub type CancelSignal = tokio::sync::watch::Receiver<bool>;

/// All links of this broker. Every method may be called at any time.
pub struct LinkManager {
    ports: Ports,
    links: Arc<Links>,
    admin: tokio::sync::Mutex<()>,
    is_stopping: AtomicBool,
}

impl LinkManager {
    /// Starts every stored link, and takes up what was under way when the broker stopped. Needs a
    /// tokio runtime.
    ///
    /// # Errors
    /// `Store` if the stored links can't be read. A link with configs that this version doesn't
    /// understand is there, and `FAILED`.
    pub async fn start(ports: Ports) -> Result<Arc<Self>, LinkError> {
        let manager = Arc::new(Self {
            ports: ports.clone(),
            links: Arc::default(),
            admin: tokio::sync::Mutex::new(()),
            is_stopping: AtomicBool::new(false),
        });
        let (records, mut mirrors, begun, sights) = blocking(move || {
            let links = ports.store.load_links()?.into_iter();
            let links: Vec<_> = links
                .map(|link| {
                    let groups = stored_groups(&ports, &link.name);
                    (link, groups)
                })
                .collect();
            let mirrors = ports.store.load_mirrors()?;
            let begun = cut::broken_off(&*ports.store, &mirrors)?;
            let sights = ports.store.load_sights()?;
            let sights = sights.into_iter().map(|sight| (sight.topic.clone(), sight));
            Ok::<_, LinkError>((links, mirrors, begun, sights.collect()))
        })
        .await??;
        for (record, groups) in records {
            let (config, misunderstood) = links::stored(&record)?;
            let (own, others): (Vec<_>, Vec<_>) = mirrors
                .into_iter()
                .partition(|mirror| mirror.link == record.name);
            mirrors = others;
            let interrupted = own.clone();
            let (asks, receiver) = unbounded_channel();
            let (ports, links) = (manager.ports.clone(), Arc::downgrade(&manager.links));
            let shared = LinkShared::new(ports, links, record, config, own, groups, asks);
            if let Some(error) = misunderstood {
                shared.misconfigure(&error);
            }
            shared.recall(&sights);
            show_stored(&shared, &begun).await?;
            manager.run_link(&shared, receiver);
            take_up(&shared, &interrupted);
        }
        for orphan in mirrors {
            let (topic, link) = (&orphan.topic, &orphan.link);
            tracing::error!(%topic, %link, "a mirror without its link");
        }
        Ok(manager)
    }

    /// Stops every link and waits until nothing of theirs runs any more. Later calls answer
    /// `ShuttingDown`.
    pub async fn shutdown(&self) {
        self.is_stopping.store(true, Ordering::Release);
        let _admin = self.admin.lock().await;
        let links: Vec<_> = self.links.read().values().cloned().collect();
        for link in links {
            {
                let _change = link.change.lock().await;
                link.inner().over = Some(LinkError::ShuttingDown);
            }
            links::stop(&link).await;
        }
    }

    /// Creates a link and starts it. With `validate_link` the source is connected to first.
    ///
    /// # Errors
    /// `InvalidName`, `InvalidConfig`, `LinkExists`, `SourceUnavailable`, `WrongCluster`, `Store`.
    pub async fn create_link(&self, new: NewLink) -> Result<LinkDescription, LinkError> {
        self.do_create_link(new).await
    }

    /// Every link, by name.
    pub fn links(&self) -> Vec<LinkDescription> {
        self.links
            .read()
            .values()
            .map(|link| show::link(link))
            .collect()
    }

    /// One link.
    ///
    /// # Errors
    /// `NoSuchLink`.
    pub fn link(&self, name: &str) -> Result<LinkDescription, LinkError> {
        Ok(show::link(&*self.shared(name)?))
    }

    /// Deletes a link. With `force` its mirrors are failed over first, whose reports are answered; a
    /// partition whose disk has failed is let go as it is. Kept reports stay.
    ///
    /// # Errors
    /// `NoSuchLink`, `LinkHasMirrors`, `Catalog`, `Store`; with `force` whatever kept a mirror from
    /// being failed over.
    pub async fn delete_link(&self, name: &str, force: bool) -> Result<Vec<RpoReport>, LinkError> {
        self.do_delete_link(name, force).await
    }

    /// Every config of a link, secrets masked.
    ///
    /// # Errors
    /// `NoSuchLink`.
    pub fn link_configs(&self, name: &str) -> Result<Vec<ConfigEntry>, LinkError> {
        let shared = self.shared(name)?;
        let config = Arc::clone(&shared.inner().config);
        Ok(config.entries())
    }

    /// Sets (`Some`) or resets (`None`) configs of a live link, all or none. A link that has failed
    /// starts anew.
    ///
    /// # Errors
    /// `NoSuchLink`, `InvalidConfig`, `Store`; with `validate_link` `SourceUnavailable`, `WrongCluster`.
    pub async fn alter_link_configs(
        &self,
        name: &str,
        changes: Vec<(String, Option<String>)>,
        how: AlterLink,
    ) -> Result<(), LinkError> {
        self.refuse_when_stopping()?;
        self.do_alter_link(name, &changes, how).await
    }

    /// Creates a mirror topic and starts to fill it.
    ///
    /// # Errors
    /// `NoSuchLink`, `LinkState`, `SourceUnavailable`, `NoSuchSourceTopic`, `SourceTopic`,
    /// `MirrorExists`, `TopicExists`, `InvalidName`, `InvalidConfig`, `Catalog`.
    pub async fn create_mirror(
        &self,
        link: &str,
        new: NewMirror,
    ) -> Result<MirrorDescription, LinkError> {
        self.do_create_mirror(link, new).await
    }

    /// Creates mirror topics together, and starts to fill them. The outer error is about the whole
    /// request; each topic has an outcome of its own, and one that is refused doesn't stop the
    /// others.
    ///
    /// # Errors
    /// `NoSuchLink`, `LinkState`, `InvalidConfig`, `InvalidName` (a pattern that isn't a regular
    /// expression, or matches nothing); `SourceUnavailable` when its topics have to be listed.
    pub async fn create_mirrors(
        &self,
        link: &str,
        new: NewMirrors,
    ) -> Result<Vec<MirrorCreation>, LinkError> {
        self.do_create_mirrors(link, new).await
    }

    /// The mirrors of a link or of all, with that status or any, by link and name.
    ///
    /// # Errors
    /// `NoSuchLink`.
    pub fn mirrors(
        &self,
        link: Option<&str>,
        status: Option<MirrorStatus>,
    ) -> Result<Vec<MirrorDescription>, LinkError> {
        let links = match link {
            Some(name) => vec![self.shared(name)?],
            None => self.links.read().values().cloned().collect(),
        };
        let mut found = Vec::new();
        for link in links {
            let now_ms = link.now_ms();
            let inner = link.inner();
            let all = inner
                .mirrors
                .values()
                .map(|mirror| show::mirror(&inner, mirror, now_ms));
            found.extend(all.filter(|mirror| status.is_none_or(|status| mirror.status == status)));
        }
        let found = found.into_iter();
        Ok(found
            .map(|mirror| show::with_configs(mirror, &*self.ports.catalog))
            .collect())
    }

    /// One mirror, stopped ones included.
    ///
    /// # Errors
    /// `NotAMirror`.
    pub fn mirror(&self, topic: &str) -> Result<MirrorDescription, LinkError> {
        let name = TopicName::new(topic).map_err(|_| LinkError::NotAMirror(topic.to_owned()))?;
        let shown = self.links.read().values().find_map(|link| {
            let inner = link.inner();
            let mirror = inner.mirrors.get(&name)?;
            Some(show::mirror(&inner, mirror, link.now_ms()))
        });
        let shown = shown.ok_or_else(|| LinkError::NotAMirror(topic.to_owned()))?;
        Ok(show::with_configs(shown, &*self.ports.catalog))
    }

    /// Promotes, fails over, pauses or resumes mirrors of a link. The outer error is about the
    /// whole request; each topic has an outcome of its own. Failover is one atomic write for all;
    /// so is promote for those that reach lag 0.
    ///
    /// A promotion waits, for ever if the source goes on writing: `cancel` gives it up, dropping
    /// the future leaves it running, and `Resume` or `Failover` end it. A dry run changes nothing.
    ///
    /// # Errors
    /// `NoSuchLink`, `InvalidName` (a pattern that isn't a regular expression, or matches nothing).
    pub async fn alter_mirrors(
        &self,
        link: &str,
        verb: Verb,
        selection: Selection,
        dry_run: bool,
        cancel: Option<CancelSignal>,
    ) -> Result<Vec<MirrorOutcome>, LinkError> {
        self.do_alter_mirrors(link, verb, selection, dry_run, cancel, None)
            .await
    }

    /// The same, but waits no longer than `wait` for mirrors to be cut: those still under way go on and
    /// are answered as they are, `PENDING_STOPPED`. Later, [`Self::mirror`] shows how they ended:
    /// `STOPPED`, or with a [`MirrorDescription::stop_error`].
    ///
    /// # Errors
    /// As [`Self::alter_mirrors`]. A failover that is not stored after `wait` is `UnderWay`.
    pub async fn alter_mirrors_within(
        &self,
        link: &str,
        verb: Verb,
        selection: Selection,
        dry_run: bool,
        wait: Duration,
    ) -> Result<Vec<MirrorOutcome>, LinkError> {
        self.do_alter_mirrors(link, verb, selection, dry_run, None, Some(wait))
            .await
    }

    /// The kept report of the last promote or failover of a topic.
    ///
    /// # Errors
    /// `NotAMirror`, `Store`.
    pub fn report(&self, topic: &str) -> Result<Option<RpoReport>, LinkError> {
        let name = TopicName::new(topic).map_err(|_| LinkError::NotAMirror(topic.to_owned()))?;
        match self.ports.store.load_report(&name)? {
            None if self.owner(&name).is_none() => Err(LinkError::NotAMirror(topic.to_owned())),
            report => Ok(report.map(|report| self.with_last_look(&name, report))),
        }
    }

    /// Every kept report, or those of one link, by topic. They outlive their link, and go with their
    /// topic. None of a cut that is not over.
    ///
    /// # Errors
    /// `Store`.
    pub fn reports(&self, link: Option<&str>) -> Result<Vec<RpoReport>, LinkError> {
        let mut reports = Vec::new();
        for report in self.ports.store.load_reports()? {
            let Ok(name) = TopicName::new(&report.topic) else {
                continue;
            };
            let is_meant = link.is_none_or(|link| link == report.link.as_str());
            let is_over = self
                .status(&name)
                .is_none_or(|it| it == MirrorStatus::Stopped);
            if is_meant && is_over {
                reports.push(self.with_last_look(&name, report));
            }
        }
        Ok(reports)
    }

    fn status(&self, topic: &TopicName) -> Option<MirrorStatus> {
        let links = self.links.read();
        let mut links = links.values();
        links.find_map(|link| Some(link.inner().mirrors.get(topic)?.record.status))
    }

    /// What was seen beyond the cut may be newer than what is stored.
    fn with_last_look(&self, topic: &TopicName, report: RpoReport) -> RpoReport {
        let links = self.links.read();
        let mut links = links.values().filter(|link| link.name == report.link);
        let last = links.find_map(|link| link.inner().mirrors.get(topic)?.after_cut.clone());
        RpoReport {
            after_cut: last.or(report.after_cut),
            ..report
        }
    }

    /// What became of the groups whose offsets a link syncs, by their ids at the source.
    ///
    /// # Errors
    /// `NoSuchLink`, `Store`.
    pub fn groups(&self, link: &str) -> Result<Vec<GroupSyncDescription>, LinkError> {
        self.do_groups(link)
    }

    /// The same of one group, by its id at the source.
    ///
    /// # Errors
    /// `NoSuchLink`, `NoSuchGroup`, `Store`.
    pub fn group(&self, link: &str, source_group: &str) -> Result<GroupSyncDescription, LinkError> {
        self.do_group(link, source_group)
    }

    /// Compares a mirror with its source, batch by batch. Works while it mirrors.
    ///
    /// # Errors
    /// `NotAMirror`, `SourceUnavailable`, `SourceTopic`, `Target`.
    pub async fn verify(
        &self,
        topic: &str,
        options: VerifyOptions,
        progress: &mut (dyn FnMut(VerifyProgress) + Send),
    ) -> Result<VerifyReport, LinkError> {
        self.do_verify(topic, options, progress).await
    }

    /// The broker has deleted that topic, and its mirror record with it, in one write. Blocks on
    /// disk.
    ///
    /// By now a mirror of that name may have been created again: only what was known before the store
    /// was read, and isn't in it, is gone.
    pub fn topic_deleted(&self, topic: &TopicName) {
        let links: Vec<Arc<LinkShared>> = self.links.read().values().cloned().collect();
        let record = |link: &LinkShared| Some(link.inner().mirrors.get(topic)?.record.clone());
        let known: Vec<_> = links.iter().map(|link| record(link)).collect();
        let stored = self.ports.store.load_mirror(topic).ok().flatten();
        for (link, known) in links.iter().zip(known) {
            let is_gone = |record: &MirrorRecord| {
                !stored
                    .as_ref()
                    .is_some_and(|stored| stored.is_of_same(record))
            };
            let Some(gone) = known.filter(is_gone) else {
                continue;
            };
            let mut inner = link.inner();
            let mirror = inner.mirrors.get(topic);
            if mirror.is_some_and(|mirror| mirror.record.is_of_same(&gone)) {
                inner.mirrors.remove(topic);
                drop(inner);
                link.reconcile();
            }
        }
    }

    fn refuse_when_stopping(&self) -> Result<(), LinkError> {
        if self.is_stopping.load(Ordering::Acquire) {
            return Err(LinkError::ShuttingDown);
        }
        Ok(())
    }

    async fn admin(&self) -> Result<tokio::sync::MutexGuard<'_, ()>, LinkError> {
        self.refuse_when_stopping()?;
        let admin = self.admin.lock().await;
        self.refuse_when_stopping()?;
        Ok(admin)
    }

    fn shared(&self, name: &str) -> Result<Arc<LinkShared>, LinkError> {
        let links = self.links.read();
        links
            .get(name)
            .cloned()
            .ok_or_else(|| LinkError::NoSuchLink(name.to_owned()))
    }

    /// The link of a mirror.
    fn owner(&self, topic: &TopicName) -> Option<LinkName> {
        let links = self.links.read();
        let owner = links
            .values()
            .find(|link| link.inner().mirrors.contains_key(topic));
        owner.map(|link| link.name.clone())
    }
}

/// Runs something that may wait for a disk.
async fn blocking<T: Send + 'static>(
    act: impl FnOnce() -> T + Send + 'static,
) -> Result<T, LinkError> {
    tokio::task::spawn_blocking(act)
        .await
        .map_err(|_| LinkError::ShuttingDown)
}

/// What is kept of a link's groups. A report that can't be read is no reason not to start: the next
/// sync makes it anew.
fn stored_groups(ports: &Ports, link: &LinkName) -> Vec<GroupSync> {
    ports.groups.load_syncs(link).unwrap_or_else(|error| {
        tracing::error!(%link, %error, "the report of the link's groups can't be read");
        Vec::new()
    })
}

/// Shows of every mirror what is stored, before anything of it runs. `begun_cuts` are mirrors whose
/// cut was broken off.
async fn show_stored(
    shared: &Arc<LinkShared>,
    begun_cuts: &BTreeSet<TopicName>,
) -> Result<(), LinkError> {
    let mut cells = Vec::new();
    let mut stopped = Vec::new();
    for (topic, mirror) in &mut shared.inner().mirrors {
        if mirror.record.status == MirrorStatus::Stopped {
            stopped.push(topic.clone());
        }
        mirror.is_cut_begun = begun_cuts.contains(topic);
        for (partition, cell) in (0..).zip(&mirror.statuses) {
            cells.push((TopicPartition::new(topic.clone(), partition), cell.clone()));
        }
    }
    let cuts = shared
        .blocking(move |ports| {
            let now_ms = ports.clock.now_ms();
            for (partition, cell) in cells {
                if let Ok(ends) = ports.local.ends(&partition) {
                    cell.with(|status| {
                        status.mirror_start = status.mirror_start.max(ends.log_start);
                        status.mirror_end = status.mirror_end.max(ends.end);
                        status.ends_with_timestamp(ends.last_timestamp_ms, now_ms);
                    });
                }
            }
            let reports = stopped.into_iter().filter_map(|topic| {
                let report = ports.store.load_report(&topic).ok()??;
                Some((topic, report.after_cut?))
            });
            reports.collect::<Vec<_>>()
        })
        .await?;
    let mut inner = shared.inner();
    for (topic, after_cut) in cuts {
        if let Some(mirror) = inner.mirrors.get_mut(&topic) {
            mirror.after_cut = Some(after_cut);
        }
    }
    Ok(())
}

/// Takes up promotions and failovers that were under way.
fn take_up(shared: &Arc<LinkShared>, mirrors: &[MirrorRecord]) {
    let stopping = |kind: CutKind| -> Vec<TopicName> {
        let under_way = mirrors.iter().filter(|mirror| {
            mirror.status == MirrorStatus::PendingStopped && mirror.pending_cut == Some(kind)
        });
        under_way.map(|mirror| mirror.topic.clone()).collect()
    };
    let failovers = stopping(CutKind::Failover);
    if !failovers.is_empty() {
        tokio::spawn(cut::failover(Arc::clone(shared), failovers, false));
    }
    let promotions = stopping(CutKind::Promote);
    if !promotions.is_empty() {
        tokio::spawn(promote::finish(Arc::clone(shared), promotions));
    }
}

/// The real sources: [`KafkaCluster`].
#[derive(Debug, Clone, Copy, Default)]
pub struct KafkaSources;

impl SourceConnector for KafkaSources {
    fn connect(&self, _link: &LinkName, config: &LinkConfig) -> Arc<dyn SourceCluster> {
        KafkaCluster::new(config)
    }
}
