//! The end of mirrors, by failover or after a promotion has caught up.
//!
//! In order: `PENDING_STOPPED` is stored · nothing of the mirrors runs any more · the reports are
//! made · the catalog stores the reports, cuts, and stores `STOPPED` for all of them in one write.
//! After a crash in between the stored `PENDING_STOPPED` leads here again.

use std::collections::BTreeMap;
use std::sync::Arc;

use carrick_protocol::ids::TopicName;

use super::alter::{Outcomes, all_failed};
use super::rpo::Draft;
use crate::error::LinkError;
use crate::link::shared::LinkShared;
use crate::record::{MirrorRecord, MirrorStop, StopKind};
use crate::report::RpoReport;
use crate::state::{MirrorError, MirrorEvent};

/// Where the partitions of a topic end at the source, by topic.
pub(super) type SourceEnds = BTreeMap<TopicName, Vec<i64>>;

/// Fails mirrors over, all at once, in whatever state they are.
pub(super) async fn failover(shared: Arc<LinkShared>, topics: Vec<TopicName>) -> Outcomes {
    if topics.is_empty() {
        return Outcomes::new();
    }
    let _change = shared.change.lock().await;
    let mut outcomes = Outcomes::new();
    let mut records = Vec::new();
    for topic in &topics {
        match begun(&shared, topic, StopKind::Failover) {
            Ok(record) => records.push(record),
            Err(error) => {
                outcomes.insert(topic.clone(), Err(error));
            }
        }
    }
    let names: Vec<TopicName> = records.iter().map(|record| record.topic.clone()).collect();
    hold(&shared, &names, true);
    let cut = match shared.store_mirrors(records).await {
        Ok(()) => {
            shared.settled().await;
            cut(&shared, &names, StopKind::Failover, &SourceEnds::new()).await
        }
        Err(error) => Err(error),
    };
    hold(&shared, &names, false);
    match cut {
        Ok(reports) => outcomes.extend(
            names
                .into_iter()
                .zip(reports)
                .map(|(name, report)| (name, Ok(Some(report)))),
        ),
        Err(error) => {
            let link = &shared.name;
            tracing::error!(%link, %error, "failover failed; it can be asked for again");
            shared.reconcile();
            outcomes.extend(all_failed(&names, &error));
        }
    }
    outcomes
}

/// The record of a mirror whose stop has begun.
pub(super) fn begun(
    shared: &LinkShared,
    topic: &TopicName,
    kind: StopKind,
) -> Result<MirrorRecord, LinkError> {
    let inner = shared.inner();
    let mirror = inner
        .mirrors
        .get(topic)
        .ok_or_else(|| LinkError::NotAMirror(topic.to_string()))?;
    let mut record = mirror.record.clone();
    let event = match kind {
        StopKind::Promote => MirrorEvent::Promote,
        StopKind::Failover => MirrorEvent::Failover,
    };
    let next = record
        .status
        .after(event)
        .map_err(|illegal| LinkError::IllegalState {
            topic: topic.clone(),
            status: illegal.from,
            reason: "it changed meanwhile".into(),
        })?;
    if record.status != next {
        record.status = next;
        record.status_since_ms = shared.ports.clock.now_ms();
    }
    record.stopping = Some(kind);
    Ok(record)
}

/// Holds mirrors still, or lets them go on.
pub(super) fn hold(shared: &LinkShared, topics: &[TopicName], is_held: bool) {
    let mut inner = shared.inner();
    for topic in topics {
        if let Some(mirror) = inner.mirrors.get_mut(topic) {
            mirror.is_cutting = is_held;
        }
    }
}

/// Cuts mirrors that are held still and stored as `PENDING_STOPPED`; their reports, in that order.
/// The caller holds `change`.
pub(super) async fn cut(
    shared: &Arc<LinkShared>,
    topics: &[TopicName],
    kind: StopKind,
    source_ends: &SourceEnds,
) -> Result<Vec<RpoReport>, LinkError> {
    let now_ms = shared.now_ms();
    let mut drafts = Vec::with_capacity(topics.len());
    for topic in topics {
        let record = {
            let inner = shared.inner();
            let mirror = inner.mirrors.get(topic);
            mirror
                .ok_or_else(|| LinkError::NotAMirror(topic.to_string()))?
                .record
                .clone()
        };
        let status =
            record
                .status
                .after(MirrorEvent::Cut)
                .map_err(|illegal| LinkError::IllegalState {
                    topic: topic.clone(),
                    status: illegal.from,
                    reason: "it changed meanwhile".into(),
                })?;
        let draft = Draft::of(
            shared,
            &record,
            kind,
            false,
            source_ends.get(topic).cloned(),
        );
        let record = MirrorRecord {
            status,
            status_since_ms: now_ms,
            error: MirrorError::NoError,
            error_detail: String::new(),
            stopping: None,
            ..record
        };
        drafts.push((record, draft));
    }
    let done = shared.blocking(move |ports| {
        let mut stops = Vec::with_capacity(drafts.len());
        for (record, draft) in drafts {
            let report = draft.finish(&*ports.local)?;
            stops.push(MirrorStop {
                record,
                report,
                kind,
            });
        }
        let cuts = ports.catalog.stop_mirrors(&stops)?;
        Ok::<_, LinkError>((stops, cuts))
    });
    let (stops, cuts) = done.await??;
    let aborted: u32 = cuts.iter().map(|cut| cut.aborted_transactions).sum();
    tracing::info!(
        link = %shared.name, topics = stops.len(), partitions = cuts.len(), ?kind,
        aborted_transactions = aborted, "mirrors are writable now"
    );
    let mut inner = shared.inner();
    let mut reports = Vec::with_capacity(stops.len());
    for stop in stops {
        inner.put_mirror(stop.record);
        reports.push(stop.report);
    }
    Ok(reports)
}
