//! `ConsumerOffsetSync`: commits here what groups have committed at the source.
//!
//! Groups that `consumer.offset.group.filters` includes are listed, their offsets fetched from their
//! coordinators, clamped to what the mirrors hold ([`plan`]) and committed through the port
//! [`GroupOffsets`]. The result of each is kept in the link's [`crate::groups::ledger`].
//!
//! Invariants:
//! - One sync of a link at a time ([`Ledger::turn`]), from the first question to the last commit: an
//!   older answer of the source never overwrites a newer one.
//! - Offsets are synced for running mirrors, and for mirrors that were cut as long as the clients
//!   here have committed none themselves ([`after_cut`]). The source topic of a failed mirror may
//!   be a different one by now.
//! - Whatever is left out has a row in the ledger that says why, unless the filters exclude it or it
//!   has nothing to do with a mirror.
//! - Nothing here is ever deleted: a group or an offset that no longer exists at the source stays
//!   here until it expires like that of any group without members.
//!
//! [`GroupOffsets`]: crate::ports::GroupOffsets
//! [`Ledger::turn`]: crate::groups::ledger::Ledger::turn

mod after_cut;
mod plan;
pub(crate) mod readers;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use carrick_protocol::error_code::ErrorCode;
use carrick_protocol::ids::{GroupId, TopicName};
use tokio::sync::OwnedMutexGuard;

use super::{Job, Run};
use crate::backoff::Curve;
use crate::config::LinkConfig;
use crate::groups::ledger::{self, Fault, Outcome, Planned};
use crate::groups::{GroupCommit, GroupCommitted};
use crate::ports::{GroupRefusal, StoreError};
use crate::shared::{JobPlan, LinkShared, Mirror, Note};
use crate::source::{
    GroupCommits, GroupListing, SourceCluster, SourceError, SourceGroup, answered,
};
use crate::state::{MirrorStatus, TaskErrorCode};
use crate::tasks::source_code;
use after_cut::already_cut;
use plan::Scope;

/// Every `consumer.offset.sync.ms`, once it is switched on.
pub(crate) const JOB: Job = Job {
    plan: JobPlan {
        name: "ConsumerOffsetSync",
        interval_ms: |config| {
            let interval_ms = config.consumer_offset_sync_ms;
            config.consumer_offset_sync_enable.then_some(interval_ms)
        },
    },
    run: |link| {
        let is_meant =
            |mirror: &Mirror| mirror.is_wanted() || mirror.record.status == MirrorStatus::Stopped;
        if !link.inner().mirrors.values().any(is_meant) {
            return None;
        }
        let link = Arc::clone(link);
        let run: Run = Box::pin(async move {
            let synced = sync(&link, None).await;
            synced.map(|()| Note::new()).map_err(|fault| fault.error)
        });
        Some(run)
    },
};

/// Groups whose offsets are fetched, committed and noted together.
const GROUPS_PER_STEP: usize = 500;
/// Groups of one link that are synced.
const GROUPS_MAX: usize = 100_000;
/// Attempts per sync for a group whose coordinator moves or loads.
const ATTEMPTS_MAX: u32 = 5;
/// The sync that follows a cut takes no longer.
const AFTER_CUT_MAX: Duration = Duration::from_secs(5);
/// A kind of group without committed offsets (KIP-932).
const SHARE: &str = "share";

/// The last sync of these topics, before they are promoted; false if it should be tried again.
///
/// A group that is in use here, or for which the source gives a lasting error, does not delay the
/// promotion: the report says so.
pub(crate) async fn last_sync(link: &Arc<LinkShared>, topics: &[TopicName]) -> bool {
    let config = Arc::clone(&link.inner().config);
    if !config.consumer_offset_sync_enable {
        return true;
    }
    let Err(fault) = sync(link, Some(topics)).await else {
        return true;
    };
    let (code, detail) = &fault.error;
    let (link, will_retry) = (&link.name, fault.may_pass);
    tracing::warn!(%link, ?code, detail, will_retry, "group offsets not synced before promotion");
    !fault.may_pass
}

/// Syncs these topics, which have just been cut, once more: what their groups have committed at the
/// source in the meantime is valid here up to the cut.
pub(crate) async fn sync_after_cut(link: &Arc<LinkShared>, topics: &[TopicName]) {
    if !link.inner().config.consumer_offset_sync_enable {
        return;
    }
    let synced = tokio::time::timeout(AFTER_CUT_MAX, sync(link, Some(topics))).await;
    let detail = match synced {
        Ok(Ok(())) => return,
        Ok(Err(fault)) => fault.error.1,
        Err(_) => format!("the source did not answer within {AFTER_CUT_MAX:?}"),
    };
    tracing::warn!(link = %link.name, detail, "not all group offsets were synced right after the \
         cut");
}

/// One sync: for all mirrors that run or were cut, or for these topics.
async fn sync(link: &Arc<LinkShared>, only: Option<&[TopicName]>) -> Result<(), Fault> {
    let turn = Arc::new(link.groups.turn().await);
    let (config, source, expected) = {
        let inner = link.inner();
        let expected = inner.record.source_cluster_id.clone();
        (
            Arc::clone(&inner.config),
            Arc::clone(&inner.source),
            expected,
        )
    };
    if !config.consumer_offset_group_filters.includes_any() {
        let detail = "consumer.offset.group.filters includes no group: name those to be synced, \
                      or \"*\" for all of them";
        return Err(Fault::lasting(TaskErrorCode::MisconfigurationError, detail));
    }
    let listing = source.groups().await.map_err(of_source)?;
    if expected.is_some() && listing.cluster_id.is_some() && listing.cluster_id != expected {
        let detail = "a different cluster answers than the one that the link was created for";
        return Err(Fault::lasting(TaskErrorCode::UnknownError, detail));
    }
    let mut faults = ledger::Faults::default();
    for (broker, error) in &listing.silent {
        faults.add(
            &format!("broker {broker} of the source"),
            of_source(error.clone()),
        );
    }
    let Meant { groups, skipped } = meant(&listing, &config, &mut faults);
    let cuts = already_cut(link, only).await;
    for step in groups.chunks(GROUPS_PER_STEP) {
        let answers = ask(&*source, &config, step).await.map_err(of_source)?;
        let scope = Scope::of(&link.inner(), only, &cuts);
        let outcomes = commit(link, &config, scope, answers, &turn).await?;
        link.groups.note(outcomes, link.now_ms(), &mut faults);
    }
    let hidden = hidden(&*source, &config, &listing).await?;
    let mut all = groups;
    all.extend(hidden.iter().cloned());
    let refused = hidden.iter().map(|group| {
        let fault = of_answer(ErrorCode::GROUP_AUTHORIZATION_FAILED, group);
        Outcome::untold(group, &named_here(&config, group), fault)
    });
    link.groups
        .note(refused.collect(), link.now_ms(), &mut faults);
    all.extend(skipped.iter().map(|(group, _)| group.clone()));
    all.sort();
    let skipped = skipped
        .iter()
        .map(|(group, why)| Outcome::skipped(group, &named_here(&config, group), why));
    link.groups
        .note(skipped.collect(), link.now_ms(), &mut faults);
    if only.is_none() && listing.silent.is_empty() {
        note_gone(link, &config, &all);
    }
    store(link, &turn, &mut faults).await?;
    faults.into_result()
}

/// Notes groups that are gone at the source, and topics that are gone here. `meant` are all groups that the filters
/// include, ascending.
fn note_gone(link: &LinkShared, config: &LinkConfig, meant: &[GroupId]) {
    let mirrors: BTreeSet<TopicName> = link.inner().mirrors.keys().cloned().collect();
    link.groups.keep_topics(|topic| mirrors.contains(topic));
    let filters = &config.consumer_offset_group_filters;
    let is_there = |group: &str| {
        let found = meant.binary_search_by(|id| id.as_str().cmp(group));
        found.is_ok() || !filters.include(group)
    };
    link.groups.note_gone(is_there, link.now_ms());
}

/// The groups that the filters include.
struct Meant {
    /// The groups to sync, ascending.
    groups: Vec<GroupId>,
    /// The groups that have nothing to sync, and why.
    skipped: Vec<(GroupId, &'static str)>,
}

fn meant(listing: &GroupListing, config: &LinkConfig, faults: &mut ledger::Faults) -> Meant {
    let filters = &config.consumer_offset_group_filters;
    let included = listing.groups.iter();
    let mut included: Vec<&SourceGroup> = included
        .filter(|group| filters.include(&group.id))
        .collect();
    if included.len() > GROUPS_MAX {
        let count = included.len();
        let detail = format!("the filters select {count} groups, but only {GROUPS_MAX} are synced");
        let fault = Fault::lasting(TaskErrorCode::MisconfigurationError, detail);
        faults.add("consumer.offset.group.filters", fault);
        included.truncate(GROUPS_MAX);
    }
    let mut meant = Meant {
        groups: Vec::new(),
        skipped: Vec::new(),
    };
    for group in included {
        match obstacle(group) {
            None => meant.groups.push(group.id.clone()),
            Some(why) => meant.skipped.push((group.id.clone(), why)),
        }
    }
    meant
}

/// Groups that the filters name and the source does not list because the link's user may not
/// describe them.
async fn hidden(
    source: &dyn SourceCluster,
    config: &LinkConfig,
    listing: &GroupListing,
) -> Result<Vec<GroupId>, Fault> {
    let filters = &config.consumer_offset_group_filters;
    let listed: BTreeSet<&str> = listing.groups.iter().map(|it| it.id.as_str()).collect();
    let named = filters.names();
    let unlisted: Vec<GroupId> = named
        .filter(|name| !listed.contains(name))
        .map(GroupId::new)
        .collect();
    if unlisted.is_empty() {
        return Ok(unlisted);
    }
    // One that does not exist has no offsets, which is no error.
    let answers = ask(source, config, &unlisted).await.map_err(of_source)?;
    let refused = answers
        .into_iter()
        .filter(|answer| answer.error == ErrorCode::GROUP_AUTHORIZATION_FAILED);
    Ok(refused.map(|answer| answer.group).collect())
}

/// Why a group has nothing to sync.
fn obstacle(group: &SourceGroup) -> Option<&'static str> {
    if group.id.is_empty() {
        return Some(
            "the group's name is empty: consumers of many applications may commit offsets with \
             it, so it is not synced",
        );
    }
    let is_share = group.group_type == SHARE || group.protocol_type == SHARE;
    is_share.then_some("a share group commits no offsets")
}

/// The group's id here.
fn named_here(config: &LinkConfig, group: &GroupId) -> GroupId {
    let prefix = match config.consumer_group_prefix_enable {
        true => config.prefix.as_str(),
        false => "",
    };
    GroupId::new(format!("{prefix}{group}"))
}

/// The committed offsets of groups. Groups whose coordinator moves or loads are requested again.
async fn ask(
    source: &dyn SourceCluster,
    config: &LinkConfig,
    groups: &[GroupId],
) -> Result<Vec<GroupCommits>, SourceError> {
    let backoff = Curve::new(config.retry_backoff_ms, config.retry_backoff_max_ms);
    let mut answers: BTreeMap<GroupId, GroupCommits> = BTreeMap::new();
    let mut wanted = groups.to_vec();
    for attempt in 1..=ATTEMPTS_MAX {
        let answered = source.group_offsets(wanted).await?;
        wanted = answered
            .iter()
            .filter(|answer| answer.error.retriable())
            .map(|answer| answer.group.clone())
            .collect();
        answers.extend(
            answered
                .into_iter()
                .map(|answer| (answer.group.clone(), answer)),
        );
        if wanted.is_empty() {
            break;
        }
        if attempt < ATTEMPTS_MAX {
            tokio::time::sleep(backoff.delay(attempt)).await;
        }
    }
    Ok(answers.into_values().collect())
}

/// Commits the source's answers; the outcome of each group.
async fn commit(
    link: &Arc<LinkShared>,
    config: &LinkConfig,
    scope: Scope,
    answers: Vec<GroupCommits>,
    turn: &Arc<OwnedMutexGuard<()>>,
) -> Result<Vec<Outcome>, Fault> {
    let (mut outcomes, mut planned) = (Vec::new(), Vec::new());
    for answer in answers {
        let here = named_here(config, &answer.group);
        match answer.error {
            ErrorCode::NONE => {
                let known = link.groups.get(&answer.group);
                let plan = scope.plan(answer, here, known.as_ref());
                match plan.is_empty() {
                    true => outcomes.push(Outcome::told(plan, Ok(GroupCommitted::default()))),
                    false => planned.push(plan),
                }
            }
            error => {
                let fault = of_answer(error, &answer.group);
                outcomes.push(Outcome::untold(&answer.group, &here, fault));
            }
        }
    }
    let turn = Arc::clone(turn);
    let committed = link.blocking(move |ports| {
        let _turn = turn;
        let (plans, commits): (Vec<_>, Vec<GroupCommit>) =
            planned.into_iter().map(Planned::into_parts).unzip();
        let results = ports.groups.commit(&commits);
        plans.into_iter().zip(results).collect::<Vec<_>>()
    });
    let committed = committed.await.map_err(|_| Fault::shutting_down())?;
    outcomes.extend(committed.into_iter().map(|(plan, result)| {
        let result: Result<GroupCommitted, Fault> = result.map_err(of_refusal);
        Outcome::told(plan, result)
    }));
    Ok(outcomes)
}

/// Stores what has changed in the ledger.
async fn store(
    link: &Arc<LinkShared>,
    turn: &Arc<OwnedMutexGuard<()>>,
    faults: &mut ledger::Faults,
) -> Result<(), Fault> {
    let now_ms = link.now_ms();
    let (changed, gone) = link.groups.unstored(now_ms);
    if changed.is_empty() && gone.is_empty() {
        return Ok(());
    }
    let (name, turn) = (link.name.clone(), Arc::clone(turn));
    let saved = link.blocking(move |ports| {
        let _turn = turn;
        let saved = ports.groups.save_syncs(&name, &changed, &gone);
        saved.map(|()| changed)
    });
    match saved.await.map_err(|_| Fault::shutting_down())? {
        Ok(stored) => link.groups.stored(&stored, now_ms),
        Err(StoreError(detail)) => {
            faults.add(
                "the report",
                Fault::passing(TaskErrorCode::UnknownError, detail),
            );
        }
    }
    Ok(())
}

fn of_source(error: SourceError) -> Fault {
    let may_pass = error.is_retriable();
    let code = match &error {
        SourceError::Broker { code, .. } => code_of(*code),
        error => source_code(error),
    };
    Fault {
        error: (code, error.to_string()),
        may_pass,
    }
}

fn of_answer(error: ErrorCode, group: &GroupId) -> Fault {
    let right = format!("DESCRIBE the group '{group}'");
    Fault {
        error: (code_of(error), answered(error, &right)),
        may_pass: error.retriable(),
    }
}

fn code_of(error: ErrorCode) -> TaskErrorCode {
    match error {
        ErrorCode::GROUP_AUTHORIZATION_FAILED
        | ErrorCode::TOPIC_AUTHORIZATION_FAILED
        | ErrorCode::CLUSTER_AUTHORIZATION_FAILED => TaskErrorCode::AuthorizationError,
        _ => TaskErrorCode::UnknownError,
    }
}

fn of_refusal(refusal: GroupRefusal) -> Fault {
    let detail = refusal.to_string();
    match refusal {
        GroupRefusal::InUse(_) => Fault::lasting(TaskErrorCode::ConsumerGroupInUseError, detail),
        GroupRefusal::Limit(_) => Fault::lasting(TaskErrorCode::UnknownError, detail),
        GroupRefusal::Storage(_) => Fault::passing(TaskErrorCode::UnknownError, detail),
    }
}
