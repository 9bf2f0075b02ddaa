//! Links: create, show, alter, delete.

use std::collections::BTreeMap;
use std::sync::Arc;

use carrick_protocol::ids::TopicName;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::sync::oneshot;
use uuid::Uuid;

use super::{LinkManager, Selection, cut, failover, show};
use crate::config::{ACL_SYNC, ConfigEntry, ConfigError, LinkConfig};
use crate::description::{LinkDescription, MirrorOutcome};
use crate::error::LinkError;
use crate::lookup::within;
use crate::record::{LinkName, LinkRecord};
use crate::report::RpoReport;
use crate::shared::{Ask, LinkShared, Mirror, Setup, detached};
use crate::source::{ClusterInfo, SourceCluster, tls};
use crate::state::MirrorStatus;
use crate::verb::Verb;
use crate::{supervisor, tasks};

/// How configs of a link are changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AlterLink {
    /// Check everything, change nothing.
    pub validate_only: bool,
    /// If the change affects the connection: connect to the source first, and refuse the change if
    /// that fails or another cluster answers.
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

/// A link to be created.
#[derive(Clone, Default)]
pub struct NewLink {
    pub name: String,
    /// Link configs by name.
    pub configs: BTreeMap<String, String>,
    /// Refuse a source with another cluster id.
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

/// The typed configs of a link. Without `client.id` its client is named after the link.
pub(super) fn typed(
    name: &LinkName,
    values: &BTreeMap<String, String>,
) -> Result<LinkConfig, LinkError> {
    Ok(named(name, LinkConfig::parse(values)?))
}

/// The typed configs of a stored link, and the first config that this version doesn't understand:
/// another version may have stored it.
pub(super) fn stored(record: &LinkRecord) -> Result<(LinkConfig, Option<ConfigError>), LinkError> {
    let (config, misunderstood) = LinkConfig::understood(&record.configs, &record.unreadable)?;
    Ok((named(&record.name, config), misunderstood))
}

/// Refuses certificates and keys that can't be used.
async fn check_files(config: &LinkConfig) -> Result<(), LinkError> {
    let Some(tls) = config.security.tls.clone() else {
        return Ok(());
    };
    Ok(super::blocking(move || tls::check(&tls)).await??)
}

fn named(name: &LinkName, mut config: LinkConfig) -> LinkConfig {
    if config.client_id.is_empty() {
        config.client_id = format!("carrick-link-{name}");
    }
    config
}

impl LinkManager {
    /// Adds a link to the list and starts its supervisor.
    pub(super) fn run_link(&self, shared: &Arc<LinkShared>, asks: UnboundedReceiver<Ask>) {
        let mut links = self.links.write();
        links.insert(shared.name.clone(), Arc::clone(shared));
        drop(links);
        supervisor::spawn(Arc::clone(shared), asks);
    }

    /// Creates a link and starts it. With `validate_link` the source is connected to first.
    ///
    /// # Errors
    /// `InvalidName`, `InvalidConfig`, `LinkExists`, `SourceUnavailable`, `WrongCluster`, `Store`.
    pub async fn create_link(&self, new: NewLink) -> Result<LinkDescription, LinkError> {
        self.refuse_when_stopping()?;
        let name =
            LinkName::new(&new.name).map_err(|error| LinkError::InvalidName(error.to_string()))?;
        if self.links.read().contains_key(&name) {
            return Err(LinkError::LinkExists(name));
        }
        let config = typed(&name, &new.configs)?;
        self.check_acl_sync(&config, None)?;
        check_files(&config).await?;
        let mut source_cluster_id = new.expected_source_cluster_id.clone();
        if new.validate_link {
            let source = self.ports.sources.connect(&name, &config);
            let found = reach(&*source, &config, source_cluster_id.as_deref()).await?;
            source_cluster_id = found.cluster_id;
        }
        let record = LinkRecord {
            name,
            id: Uuid::new_v4(),
            source_cluster_id,
            configs: config.values().clone(),
            unreadable: BTreeMap::new(),
            created_ms: self.ports.clock.now_ms(),
            failure: None,
        };
        if new.validate_only {
            let (asks, _) = unbounded_channel();
            return Ok(show::link(&self.new_link(record, config, asks)));
        }
        let _admin = self.admin().await?;
        if self.links.read().contains_key(&record.name) {
            return Err(LinkError::LinkExists(record.name));
        }
        let (store, stored) = (Arc::clone(&self.ports.store), record.clone());
        super::blocking(move || store.save_link(&stored)).await??;
        tracing::info!(link = %record.name, "link created");
        let (asks, receiver) = unbounded_channel();
        let shared = self.new_link(record, config, asks);
        self.run_link(&shared, receiver);
        Ok(show::link(&shared))
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

    /// Every config of a link, secrets masked.
    ///
    /// # Errors
    /// `NoSuchLink`.
    pub fn link_configs(&self, name: &str) -> Result<Vec<ConfigEntry>, LinkError> {
        let shared = self.shared(name)?;
        let config = Arc::clone(&shared.inner().config);
        Ok(config.entries())
    }

    /// Sets (`Some`) or resets (`None`) configs of a live link, all or none. A link that has
    /// failed starts again.
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
        let shared = self.shared(name)?;
        let (config, found, _change) = loop {
            let present = Arc::clone(&shared.inner().config);
            let config = named(&shared.name, present.altered(&changes)?);
            self.check_acl_sync(&config, Some(&present))?;
            check_files(&config).await?;
            let found = match how.validate_link && !config.connects_as(&present) {
                true => self.reach_with(&shared, &config).await?,
                false => None,
            };
            if how.validate_only {
                return Ok(());
            }
            // Not held while the source is asked: the answer may be slow, and a failover needs the
            // lock.
            let change = shared.change.lock().await;
            if Arc::ptr_eq(&present, &shared.inner().config) {
                break (config, found, change);
            }
        };
        let mut record = shared.inner().record.clone();
        record.source_cluster_id = record.source_cluster_id.or(found);
        record.configs = config.values().clone();
        record.unreadable = config.unreadable().clone();
        record.failure = None;
        shared.store_link(record).await?;
        let source = self.ports.sources.connect(&shared.name, &config);
        let now_ms = shared.now_ms();
        {
            let mut inner = shared.inner();
            inner.config = Arc::new(config);
            inner.source = source;
            inner.misconfigured = None;
            inner.begin(now_ms);
        }
        let names: Vec<&str> = changes.iter().map(|(name, _)| name.as_str()).collect();
        tracing::info!(link = %shared.name, configs = ?names, "link altered");
        let _ = shared.asks.send(Ask::Restart);
        shared.settled().await;
        Ok(())
    }

    /// Refuses to switch the sync of ACLs on where they would have no effect.
    fn check_acl_sync(
        &self,
        config: &LinkConfig,
        before: Option<&LinkConfig>,
    ) -> Result<(), LinkError> {
        let is_new = config.acl_sync_enable && !before.is_some_and(|it| it.acl_sync_enable);
        if is_new && !self.ports.acls.is_enforced() {
            return Err(ConfigError::new(ACL_SYNC, tasks::acls::NO_AUTHORIZER).into());
        }
        Ok(())
    }

    /// ACLs that a link has brought stay when it is deleted. If that can't be stored now, the next
    /// start repeats it.
    pub(super) async fn adopt_acls(&self) {
        let links: Vec<LinkName> = self.links.read().keys().cloned().collect();
        let acls = Arc::clone(&self.ports.acls);
        let adopted = super::blocking(move || acls.adopt_all_but(&links)).await;
        if let Ok(Err(error)) = adopted {
            tracing::error!(%error, "ACLs of a deleted link stay marked as the link's");
        }
    }

    /// A link without mirrors and groups; it does not run yet.
    fn new_link(
        &self,
        record: LinkRecord,
        config: LinkConfig,
        asks: UnboundedSender<Ask>,
    ) -> Arc<LinkShared> {
        let setup = Setup {
            record,
            config,
            mirrors: Vec::new(),
            groups: Vec::new(),
            jobs: tasks::plans(),
        };
        let (ports, links) = (self.ports.clone(), Arc::downgrade(&self.links));
        LinkShared::new(ports, links, setup, asks)
    }

    /// The cluster id of the source that the link would have with other configs.
    async fn reach_with(
        &self,
        shared: &LinkShared,
        config: &LinkConfig,
    ) -> Result<Option<String>, LinkError> {
        let expected = shared.inner().record.source_cluster_id.clone();
        let source = self.ports.sources.connect(&shared.name, config);
        match reach(&*source, config, expected.as_deref()).await {
            Ok(cluster) => Ok(cluster.cluster_id),
            Err(LinkError::SourceUnavailable { code, detail }) => {
                let detail = format!(
                    "{detail}. Nothing was changed. To make the change without checking the \
                     source, use --no-validate (in REST validate_link=false)"
                );
                Err(LinkError::SourceUnavailable { code, detail })
            }
            Err(other) => Err(other),
        }
    }

    /// The reports of mirrors that were failed over. Mirrors that a disk fault has kept from it are
    /// failed over by force.
    async fn let_go(
        &self,
        shared: &Arc<LinkShared>,
        outcomes: Vec<MirrorOutcome>,
    ) -> Result<Vec<RpoReport>, LinkError> {
        let mut reports = Vec::new();
        let mut faulted = Vec::new();
        for outcome in outcomes {
            match outcome.result {
                Ok(_) => reports.extend(outcome.report),
                Err(error) if cut::is_gone(&error) => {}
                // Deleted before it was read.
                Err(LinkError::NotAMirror(_)) => {}
                Err(LinkError::Catalog(_) | LinkError::Target(_)) => {
                    faulted.extend(TopicName::new(&outcome.topic));
                }
                Err(other) => return Err(other),
            }
        }
        let forced = detached(failover::failover(Arc::clone(shared), faulted, true)).await?;
        for outcome in forced.into_values() {
            match outcome {
                Err(error) if !cut::is_gone(&error) => return Err(error),
                outcome => reports.extend(outcome.ok().flatten()),
            }
        }
        reports.sort_by(|a, b| a.topic.cmp(&b.topic));
        Ok(reports)
    }

    /// Deletes a link. With `force` its mirrors are failed over first, and their reports are
    /// returned; a partition whose disk has failed is cut as it is. Stored reports stay.
    ///
    /// # Errors
    /// `NoSuchLink`, `LinkHasMirrors`, `Catalog`, `Store`; with `force` whatever kept a mirror from
    /// being failed over.
    pub async fn delete_link(&self, name: &str, force: bool) -> Result<Vec<RpoReport>, LinkError> {
        let mut reports = Vec::new();
        let shared = self.shared(name)?;
        let is_live = |mirror: &&Mirror| mirror.record.status != MirrorStatus::Stopped;
        let live = shared.inner().mirrors.values().filter(is_live).count();
        if live > 0 {
            if !force {
                return Err(LinkError::LinkHasMirrors {
                    link: shared.name.clone(),
                    count: live,
                });
            }
            let outcomes = self
                .alter_mirrors(name, Verb::Failover, Selection::All, false, None)
                .await?;
            reports = self.let_go(&shared, outcomes).await?;
        }
        let _admin = self.admin().await?;
        let _change = shared.change.lock().await;
        // A mirror may have been created between the count and the lock.
        let count = shared.inner().mirrors.values().filter(is_live).count();
        if count > 0 {
            return Err(LinkError::LinkHasMirrors {
                link: shared.name.clone(),
                count,
            });
        }
        shared.inner().over = Some(LinkError::NoSuchLink(name.to_owned()));
        stop(&shared).await;
        let _acls = shared.acls.lock().await;
        let deleted = shared.name.clone();
        let removed = shared
            .blocking(move |ports| ports.store.delete_link(&deleted))
            .await?;
        self.links.write().remove(&shared.name);
        removed?;
        tracing::info!(link = %shared.name, "link deleted");
        self.adopt_acls().await;
        Ok(reports)
    }
}

/// Stops a link's supervisor and everything that it runs.
pub(super) async fn stop(shared: &LinkShared) {
    let (done, answer) = oneshot::channel();
    if shared.asks.send(Ask::Stop(done)).is_ok() {
        let _ = answer.await;
    }
}

/// Connects to the source, and checks that it is the expected cluster.
pub(super) async fn reach(
    source: &dyn SourceCluster,
    config: &LinkConfig,
    expected: Option<&str>,
) -> Result<ClusterInfo, LinkError> {
    let cluster = within(config, source.describe()).await?;
    match (expected, &cluster.cluster_id) {
        (Some(expected), Some(found)) if expected != found => Err(LinkError::WrongCluster {
            expected: expected.to_owned(),
            found: found.clone(),
        }),
        _ => Ok(cluster),
    }
}
