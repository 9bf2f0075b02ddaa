//! Start and stop: what was in progress when the broker stopped is resumed.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use carrick_protocol::ids::{TopicName, TopicPartition};
use tokio::sync::mpsc::unbounded_channel;

use super::{LinkManager, blocking, cut, failover, links, promote};
use crate::error::LinkError;
use crate::groups::GroupSync;
use crate::ports::Ports;
use crate::record::{LinkName, MirrorRecord};
use crate::shared::{LinkShared, Setup};
use crate::state::MirrorStatus;
use crate::tasks;
use crate::verb::CutKind;

impl LinkManager {
    /// Starts every stored link, and resumes what was in progress when the broker stopped. Needs a
    /// tokio runtime.
    ///
    /// # Errors
    /// `Store` if the stored links can't be read. A link with configs that this version can't read
    /// is still there, and `FAILED`.
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
            let begun = cut::unfinished(&*ports.store, &mirrors)?;
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
            let setup = Setup {
                record,
                config,
                mirrors: own,
                groups,
                jobs: tasks::plans(),
            };
            let shared = LinkShared::new(ports, links, setup, asks);
            if let Some(error) = misunderstood {
                shared.misconfigure(&error);
            }
            shared.recall(&sights);
            show_stored(&shared, &begun).await?;
            manager.run_link(&shared, receiver);
            take_up(&shared, &interrupted);
        }
        manager.adopt_acls().await;
        for orphan in mirrors {
            let (topic, link) = (&orphan.topic, &orphan.link);
            tracing::error!(%topic, %link, "a mirror without its link");
        }
        Ok(manager)
    }

    /// Stops every link and waits until nothing of it runs. Later calls answer `ShuttingDown`.
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
}

/// What is stored about a link's groups. A report that can't be read is no reason not to start: the
/// next sync writes a new one.
fn stored_groups(ports: &Ports, link: &LinkName) -> Vec<GroupSync> {
    ports.groups.load_syncs(link).unwrap_or_else(|error| {
        tracing::error!(%link, %error, "the report of the link's groups can't be read");
        Vec::new()
    })
}

/// Shows the stored state of every mirror before any of them runs. `begun_cuts` are mirrors whose
/// cut has begun and is not finished.
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

/// Resumes promotions and failovers that were in progress.
fn take_up(shared: &Arc<LinkShared>, mirrors: &[MirrorRecord]) {
    let stopping = |kind: CutKind| -> Vec<TopicName> {
        let under_way = mirrors.iter().filter(|mirror| {
            mirror.status == MirrorStatus::PendingStopped && mirror.pending_cut == Some(kind)
        });
        under_way.map(|mirror| mirror.topic.clone()).collect()
    };
    let failovers = stopping(CutKind::Failover);
    if !failovers.is_empty() {
        tokio::spawn(failover::failover(Arc::clone(shared), failovers, false));
    }
    let promotions = stopping(CutKind::Promote);
    if !promotions.is_empty() {
        tokio::spawn(promote::finish(Arc::clone(shared), promotions));
    }
}
