//! Links: create, alter, delete.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use carrick_protocol::ids::TopicName;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio::sync::oneshot;
use uuid::Uuid;

use super::alter::run;
use super::{AlterLink, LinkManager, NewLink, Selection, cut, show};
use crate::config::{ConfigError, LinkConfig};
use crate::description::{LinkDescription, MirrorOutcome};
use crate::error::LinkError;
use crate::link;
use crate::link::health::Fault;
use crate::link::shared::{Ask, LinkShared};
use crate::record::{LinkName, LinkRecord};
use crate::report::RpoReport;
use crate::source::{ClusterInfo, SourceCluster, SourceError, tls};
use crate::state::{LinkErrorCode, MirrorStatus};
use crate::verb::Verb;

impl From<ConfigError> for LinkError {
    fn from(error: ConfigError) -> Self {
        Self::InvalidConfig {
            name: error.name,
            reason: error.reason,
        }
    }
}

impl From<SourceError> for LinkError {
    fn from(error: SourceError) -> Self {
        let fault = Fault::from(&error);
        Self::SourceUnavailable {
            code: fault.code,
            detail: fault.detail,
        }
    }
}

/// An answer of the source, or that there was none in the link's `request.timeout.ms`.
pub(super) async fn in_time<T>(
    config: &LinkConfig,
    asking: impl Future<Output = Result<T, SourceError>>,
) -> Result<T, LinkError> {
    let limit_ms = config.request_timeout_ms;
    match tokio::time::timeout(Duration::from_millis(limit_ms), asking).await {
        Ok(answer) => Ok(answer?),
        Err(_) => Err(LinkError::SourceUnavailable {
            code: LinkErrorCode::TimeoutError,
            detail: format!("no answer within {limit_ms} ms (request.timeout.ms)"),
        }),
    }
}

/// The typed configs of a link; its client is named after it unless it has a name.
pub(super) fn typed(
    name: &LinkName,
    values: &BTreeMap<String, String>,
) -> Result<LinkConfig, LinkError> {
    Ok(named(name, LinkConfig::parse(values)?))
}

/// The typed configs of a link as stored, maybe by another version, and what this one doesn't
/// understand.
pub(super) fn stored(record: &LinkRecord) -> Result<(LinkConfig, Option<ConfigError>), LinkError> {
    let (config, misunderstood) = LinkConfig::understood(&record.configs, &record.unreadable)?;
    Ok((named(&record.name, config), misunderstood))
}

/// Refuses files of certificates and keys that can't be used.
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
    /// Puts a link into the list and runs it.
    pub(super) fn run_link(&self, shared: &Arc<LinkShared>, asks: UnboundedReceiver<Ask>) {
        let mut links = self.links.write();
        links.insert(shared.name.clone(), Arc::clone(shared));
        drop(links);
        link::spawn(Arc::clone(shared), asks);
    }

    pub(super) async fn do_create_link(&self, new: NewLink) -> Result<LinkDescription, LinkError> {
        self.refuse_when_stopping()?;
        let name =
            LinkName::new(&new.name).map_err(|error| LinkError::InvalidName(error.to_string()))?;
        if self.links.read().contains_key(&name) {
            return Err(LinkError::LinkExists(name));
        }
        let config = typed(&name, &new.configs)?;
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
            let (ports, links) = (self.ports.clone(), Arc::downgrade(&self.links));
            let (mirrors, groups) = (Vec::new(), Vec::new());
            let shared = LinkShared::new(ports, links, record, config, mirrors, groups, asks);
            return Ok(show::link(&shared));
        }
        let _admin = self.admin().await?;
        if self.links.read().contains_key(&record.name) {
            return Err(LinkError::LinkExists(record.name));
        }
        let (store, stored) = (Arc::clone(&self.ports.store), record.clone());
        super::blocking(move || store.save_link(&stored)).await??;
        tracing::info!(link = %record.name, "link created");
        let (asks, receiver) = unbounded_channel();
        let (ports, links) = (self.ports.clone(), Arc::downgrade(&self.links));
        let (mirrors, groups) = (Vec::new(), Vec::new());
        let shared = LinkShared::new(ports, links, record, config, mirrors, groups, asks);
        self.run_link(&shared, receiver);
        Ok(show::link(&shared))
    }

    pub(super) async fn do_alter_link(
        &self,
        name: &str,
        changes: &[(String, Option<String>)],
        how: AlterLink,
    ) -> Result<(), LinkError> {
        let shared = self.shared(name)?;
        let (config, found, _change) = loop {
            let present = Arc::clone(&shared.inner().config);
            let config = named(&shared.name, present.altered(changes)?);
            check_files(&config).await?;
            let found = match how.validate_link && !config.connects_as(&present) {
                true => self.reach_with(&shared, &config).await?,
                false => None,
            };
            if how.validate_only {
                return Ok(());
            }
            // Not held while the source is asked, which may take its time: a failover needs it, too.
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

    /// The id of the cluster that a link would have as its source with other configs.
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
                    "{detail}. Nothing was changed. To change it without asking the source, use \
                     --no-validate (in REST validate_link=false)"
                );
                Err(LinkError::SourceUnavailable { code, detail })
            }
            Err(other) => Err(other),
        }
    }

    /// The reports of what was failed over. Those that a fault on a disk has kept from it are failed
    /// over by force.
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
        let forced = run(cut::failover(Arc::clone(shared), faulted, true)).await?;
        for outcome in forced.into_values() {
            match outcome {
                Err(error) if !cut::is_gone(&error) => return Err(error),
                outcome => reports.extend(outcome.ok().flatten()),
            }
        }
        reports.sort_by(|a, b| a.topic.cmp(&b.topic));
        Ok(reports)
    }

    pub(super) async fn do_delete_link(
        &self,
        name: &str,
        force: bool,
    ) -> Result<Vec<RpoReport>, LinkError> {
        let mut reports = Vec::new();
        let shared = self.shared(name)?;
        let live = {
            let inner = shared.inner();
            let is_live =
                |mirror: &&link::shared::Mirror| mirror.record.status != MirrorStatus::Stopped;
            inner.mirrors.values().filter(is_live).count()
        };
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
        // A mirror may have come between the count and the lock.
        let is_live = |mirror: &link::shared::Mirror| mirror.record.status != MirrorStatus::Stopped;
        let count = shared
            .inner()
            .mirrors
            .values()
            .filter(|mirror| is_live(mirror))
            .count();
        if count > 0 {
            return Err(LinkError::LinkHasMirrors {
                link: shared.name.clone(),
                count,
            });
        }
        shared.inner().over = Some(LinkError::NoSuchLink(name.to_owned()));
        stop(&shared).await;
        let deleted = shared.name.clone();
        let removed = shared
            .blocking(move |ports| ports.store.delete_link(&deleted))
            .await?;
        self.links.write().remove(&shared.name);
        removed?;
        tracing::info!(link = %shared.name, "link deleted");
        Ok(reports)
    }
}

/// Ends a link's supervisor and all that it runs.
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
    let cluster = in_time(config, source.describe()).await?;
    match (expected, &cluster.cluster_id) {
        (Some(expected), Some(found)) if expected != found => Err(LinkError::WrongCluster {
            expected: expected.to_owned(),
            found: found.clone(),
        }),
        _ => Ok(cluster),
    }
}
