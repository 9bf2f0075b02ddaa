//! The end of mirrors, by failover or after a promotion has caught up.
//!
//! In order: `PENDING_STOPPED` is stored · nothing of the mirrors runs any more · the reports are
//! made · the catalog stores the reports, cuts, and stores `STOPPED` for all of them in one write.
//! After a crash in between the stored `PENDING_STOPPED` leads here again.
//!
//! From the moment the reports are stored there is no way back: partitions may be fenced, and their
//! logs hold markers that the source doesn't. What is broken off then stays `PENDING_STOPPED`, is
//! mirrored no more ([`Mirror::is_cut_begun`]), and is cut by the next call or the next start,
//! whether or not the source can be asked: that all of it is here has been seen before.
//!
//! [`Mirror::is_cut_begun`]: crate::shared::Mirror::is_cut_begun

use std::collections::BTreeSet;
use std::sync::Arc;

use carrick_protocol::ids::TopicName;

use super::outcome::{Outcomes, all_failed};
use super::rpo::Draft;
use crate::cut::{CutOrder, CutStep, PartitionCut};
use crate::error::LinkError;
use crate::lookup::SourceEnds;
use crate::ports::{CatalogError, LinkStore, Ports, StoreError, TargetError};
use crate::record::MirrorRecord;
use crate::report::RpoReport;
use crate::shared::LinkShared;
use crate::state::{MirrorError, MirrorEvent, MirrorStatus};
use crate::tasks::groups::readers::Readers;
use crate::verb::CutKind;

/// What the source has said before a cut.
#[derive(Debug, Default)]
pub(super) struct Told {
    /// With the mirrors standing still.
    pub(super) ends: SourceEnds,
    /// Just before that; `None` if it was not asked.
    pub(super) readers: Option<Readers>,
}

/// The record of a mirror whose stop has begun.
pub(super) fn begun(
    shared: &LinkShared,
    topic: &TopicName,
    kind: CutKind,
) -> Result<MirrorRecord, LinkError> {
    let inner = shared.inner();
    let mirror = inner
        .mirrors
        .get(topic)
        .ok_or_else(|| LinkError::NotAMirror(topic.to_string()))?;
    let mut record = mirror.record.clone();
    let next = next_status(topic, &record, MirrorEvent::Asked(kind.verb()))?;
    if record.status != next {
        record.status = next;
        record.status_since_ms = shared.ports.clock.now_ms();
    }
    record.pending_cut = Some(kind);
    Ok(record)
}

fn next_status(
    topic: &TopicName,
    record: &MirrorRecord,
    event: MirrorEvent,
) -> Result<MirrorStatus, LinkError> {
    let next = record.status.after(event);
    next.map_err(|illegal| LinkError::IllegalState {
        topic: topic.clone(),
        status: illegal.from,
        reason: "it changed meanwhile".into(),
    })
}

/// Holds mirrors, or lets them continue.
pub(super) fn hold(shared: &LinkShared, topics: &[TopicName], is_held: bool) {
    let mut inner = shared.inner();
    for topic in topics {
        if let Some(mirror) = inner.mirrors.get_mut(topic) {
            mirror.is_cutting = is_held;
        }
    }
}

/// The mirrors among these whose cut was broken off: its report is kept, its end isn't stored.
pub(super) fn unfinished(
    store: &dyn LinkStore,
    mirrors: &[MirrorRecord],
) -> Result<BTreeSet<TopicName>, StoreError> {
    let mut found = BTreeSet::new();
    for mirror in mirrors {
        if mirror.status == MirrorStatus::PendingStopped
            && store.load_report(&mirror.topic)?.is_some()
        {
            found.insert(mirror.topic.clone());
        }
    }
    Ok(found)
}

/// Cuts mirrors that are held still and stored as `PENDING_STOPPED`: all that can be cut in one
/// write, the others are refused one by one. The caller holds `change`.
pub(super) async fn cut(
    shared: &Arc<LinkShared>,
    topics: &[TopicName],
    kind: CutKind,
    told: &Told,
    is_forced: bool,
) -> Outcomes {
    let mut outcomes = Outcomes::new();
    let mut drafts = Vec::with_capacity(topics.len());
    for topic in topics {
        match drafted(shared, topic, kind, told) {
            Ok(draft) => drafts.push(draft),
            Err(error) => {
                outcomes.insert(topic.clone(), Err(error));
            }
        }
    }
    let names: Vec<TopicName> = drafts
        .iter()
        .map(|(record, _)| record.topic.clone())
        .collect();
    let done = shared
        .blocking(move |ports| stop(ports, drafts, kind, is_forced))
        .await;
    let ends = match done {
        Ok(ends) => ends,
        Err(error) => {
            outcomes.extend(all_failed(&names, &error));
            return outcomes;
        }
    };
    let mut inner = shared.inner();
    for (topic, end) in ends {
        let is_cut_begun = matches!(end, End::Refused { is_begun: true, .. });
        if let Some(mirror) = inner.mirrors.get_mut(&topic) {
            mirror.is_cut_begun = is_cut_begun;
        }
        let outcome = match end {
            End::Stopped { record, report } => {
                inner.set_mirror(*record);
                Ok(Some(*report))
            }
            End::Refused { record, error, .. } if is_gone(&error) => {
                let link = &shared.name;
                tracing::warn!(%link, %topic, "the topic was deleted while its mirror was cut");
                let known = inner.mirrors.get(&topic);
                if known.is_some_and(|mirror| mirror.record.is_of_same(&record)) {
                    inner.mirrors.remove(&topic);
                }
                Err(error)
            }
            End::Refused { error, .. } => {
                let link = &shared.name;
                tracing::error!(%link, %topic, %error, "not cut; repeat the command");
                Err(error)
            }
        };
        outcomes.insert(topic, outcome);
    }
    CutStep::CutShown.reached();
    outcomes
}

/// The record of a mirror that is to be cut, as it will be stored, and its report to be.
fn drafted(
    shared: &LinkShared,
    topic: &TopicName,
    kind: CutKind,
    told: &Told,
) -> Result<(MirrorRecord, Draft), LinkError> {
    let record = {
        let inner = shared.inner();
        let mirror = inner.mirrors.get(topic);
        let mirror = mirror.ok_or_else(|| LinkError::NotAMirror(topic.to_string()))?;
        mirror.record.clone()
    };
    let status = next_status(topic, &record, MirrorEvent::Cut)?;
    let mut draft = Draft::of(shared, &record, kind, false);
    draft.told(told.ends.get(topic).cloned(), told.readers.as_ref());
    let record = MirrorRecord {
        status,
        status_since_ms: shared.now_ms(),
        error: MirrorError::NoError,
        error_detail: String::new(),
        pending_cut: None,
        ..record
    };
    Ok((record, draft))
}

/// What became of one mirror that was to be cut.
enum End {
    /// It is an ordinary topic now. The report is the kept one: of before the first attempt.
    Stopped {
        record: Box<MirrorRecord>,
        report: Box<RpoReport>,
    },
    /// It is still a mirror, unless it was deleted; `is_begun` if only another cut can continue.
    Refused {
        record: Box<MirrorRecord>,
        error: LinkError,
        is_begun: bool,
    },
}

/// Whether the topic isn't there any more.
pub(super) fn is_gone(error: &LinkError) -> bool {
    matches!(
        error,
        LinkError::Catalog(CatalogError::NoSuchTopic(_))
            | LinkError::Target(TargetError::NoSuchPartition)
    )
}

fn stop(
    ports: &Ports,
    drafts: Vec<(MirrorRecord, Draft)>,
    kind: CutKind,
    is_forced: bool,
) -> Vec<(TopicName, End)> {
    let mut ends = Vec::with_capacity(drafts.len());
    let mut stops = Vec::with_capacity(drafts.len());
    for (record, draft) in drafts {
        match draft.finish(&*ports.local, is_forced) {
            Ok(report) => stops.push(CutOrder {
                record,
                report,
                kind,
                is_forced,
            }),
            Err(error) => {
                let topic = record.topic.clone();
                ends.push((topic, refused(ports, record, error.into())));
            }
        }
    }
    CutStep::ReportDrafted.reached();
    let cuts = match ports.catalog.cut_mirrors(&stops) {
        Ok(cuts) => cuts,
        Err(error) => vec![Err(error); stops.len()],
    };
    for (stop, cut) in stops.into_iter().zip(cuts) {
        let topic = stop.record.topic.clone();
        let end = match cut {
            Ok(partitions) => stopped(ports, stop, &partitions),
            Err(error) => refused(ports, stop.record, error.into()),
        };
        ends.push((topic, end));
    }
    ends
}

fn stopped(ports: &Ports, stop: CutOrder, partitions: &[PartitionCut]) -> End {
    let record = stop.record;
    let aborted_transactions: u32 = partitions.iter().map(|cut| cut.aborted_transactions).sum();
    tracing::info!(
        link = %record.link, topic = %record.topic, partitions = partitions.len(),
        kind = ?stop.kind, aborted_transactions, "mirror is writable now"
    );
    let kept = ports.store.load_report(&record.topic).ok().flatten();
    End::Stopped {
        record: Box::new(record),
        report: Box::new(kept.unwrap_or(stop.report)),
    }
}

fn refused(ports: &Ports, record: MirrorRecord, error: LinkError) -> End {
    let is_begun = !matches!(ports.store.load_report(&record.topic), Ok(None));
    End::Refused {
        record: Box::new(record),
        error,
        is_begun,
    }
}
