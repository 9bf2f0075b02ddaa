//! The cut of mirrors, in a failover or after a promotion has reached lag 0.
//!
//! In order: `PENDING_STOPPED` is stored · the mirrors' replicators have stopped · the reports are
//! made · the catalog stores the reports, cuts the partitions, and stores `STOPPED` for all topics
//! in one write. After a crash in between, the stored `PENDING_STOPPED` leads here again.
//!
//! Once the reports are stored there is no way back: partitions may be fenced, and their logs may
//! hold markers that the source does not have. A mirror whose cut did not finish stays
//! `PENDING_STOPPED` and is no longer mirrored ([`Mirror::is_cut_begun`]). The next call or the
//! next start finishes the cut, without asking the source: that nothing is missing was established
//! before.
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

/// The source's answers before a cut.
#[derive(Debug, Default)]
pub(super) struct Told {
    /// Given while the mirrors were held.
    pub(super) ends: SourceEnds,
    /// Given just before that; `None` if the source was not asked.
    pub(super) readers: Option<Readers>,
}

/// The record of a mirror whose cut has been ordered: `PENDING_STOPPED`.
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

/// The mirrors among these whose cut has begun and is not finished: a report is stored, `STOPPED`
/// is not.
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

/// Cuts mirrors that are held and stored as `PENDING_STOPPED`: all that can be cut in one write;
/// each of the others is refused. The caller holds `change`.
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
        .blocking(move |ports| cut_here(ports, drafts, kind, is_forced))
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
        let is_cut_begun = matches!(end, CutOutcome::Refused { is_begun: true, .. });
        if let Some(mirror) = inner.mirrors.get_mut(&topic) {
            mirror.is_cut_begun = is_cut_begun;
        }
        let outcome = match end {
            CutOutcome::Cut { record, report } => {
                inner.set_mirror(*record);
                Ok(Some(*report))
            }
            CutOutcome::Refused { record, error, .. } if is_gone(&error) => {
                let link = &shared.name;
                tracing::warn!(%link, %topic, "the topic was deleted while its mirror was cut");
                let known = inner.mirrors.get(&topic);
                if known.is_some_and(|mirror| mirror.record.is_of_same(&record)) {
                    inner.mirrors.remove(&topic);
                }
                Err(error)
            }
            CutOutcome::Refused { error, .. } => {
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

/// The record of a mirror as it will be stored after the cut, and the draft of its report.
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

/// The outcome for one mirror.
enum CutOutcome {
    /// It is an ordinary topic now. The report is the stored one, which was made before the first
    /// attempt.
    Cut {
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

/// Whether the topic is gone.
pub(super) fn is_gone(error: &LinkError) -> bool {
    matches!(
        error,
        LinkError::Catalog(CatalogError::NoSuchTopic(_))
            | LinkError::Target(TargetError::NoSuchPartition)
    )
}

fn cut_here(
    ports: &Ports,
    drafts: Vec<(MirrorRecord, Draft)>,
    kind: CutKind,
    is_forced: bool,
) -> Vec<(TopicName, CutOutcome)> {
    let mut ends = Vec::with_capacity(drafts.len());
    let mut orders = Vec::with_capacity(drafts.len());
    for (record, draft) in drafts {
        match draft.finish(&*ports.local, is_forced) {
            Ok(report) => orders.push(CutOrder {
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
    let cuts = match ports.catalog.cut_mirrors(&orders) {
        Ok(cuts) => cuts,
        Err(error) => vec![Err(error); orders.len()],
    };
    for (order, cut) in orders.into_iter().zip(cuts) {
        let topic = order.record.topic.clone();
        let end = match cut {
            Ok(partitions) => is_cut(ports, order, &partitions),
            Err(error) => refused(ports, order.record, error.into()),
        };
        ends.push((topic, end));
    }
    ends
}

fn is_cut(ports: &Ports, order: CutOrder, partitions: &[PartitionCut]) -> CutOutcome {
    let record = order.record;
    let aborted_transactions: u32 = partitions.iter().map(|cut| cut.aborted_transactions).sum();
    tracing::info!(
        link = %record.link, topic = %record.topic, partitions = partitions.len(),
        kind = ?order.kind, aborted_transactions, "mirror is writable now"
    );
    let kept = ports.store.load_report(&record.topic).ok().flatten();
    CutOutcome::Cut {
        record: Box::new(record),
        report: Box::new(kept.unwrap_or(order.report)),
    }
}

fn refused(ports: &Ports, record: MirrorRecord, error: LinkError) -> CutOutcome {
    let is_begun = !matches!(ports.store.load_report(&record.topic), Ok(None));
    CutOutcome::Refused {
        record: Box::new(record),
        error,
        is_begun,
    }
}
