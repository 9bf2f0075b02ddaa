//! Promotion: refused without the source, waits for lag 0, then cuts.
//!
//! Lag 0 is proved, not assumed: the source reports where its partitions end, the mirrors copy up
//! to there and are held, and the source reports its ends again. A mirror is cut only if its topic
//! is still the same, has no new partition, and has not grown meanwhile. So nothing is lost except
//! records written after that.

use std::sync::Arc;
use std::time::Duration;

use carrick_protocol::ids::TopicName;

use super::CancelSignal;
use super::cut::{self, Told};
use super::outcome::{Outcomes, all_failed};
use super::waiting::{self, Pursuit};
use crate::cut::CutStep;
use crate::error::LinkError;
use crate::lookup::verdict::{self, Verdict};
use crate::lookup::{self, Answer, Answers, SourceEnds};
use crate::naming::some_of;
use crate::replicator::lag::StatusCell;
use crate::shared::{LinkShared, detached};
use crate::state::{LinkState, MirrorEvent, MirrorStatus};
use crate::supervisor::watch;
use crate::tasks::groups::readers::Readers;
use crate::tasks::{configs, groups};
use crate::verb::{CutKind, Verb};

/// How long the source may take to answer the last question: the mirrors are held meanwhile, and a
/// failover has to wait.
const LAST_ANSWER_MAX: Duration = Duration::from_secs(5);

/// How often the last sync of group offsets is tried, if the cause of its failure may be temporary.
/// Then the promotion continues: the report of the groups says which were not synced.
const LAST_SYNCS_MAX: u32 = 10;

/// How long to wait before asking a source again that did not give all its ends.
const ASK_AGAIN_AFTER: Duration = Duration::from_millis(200);

/// How often the mirrors' ends are checked.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// Promotes mirrors together: they are cut in one write once all that don't fail have reached lag
/// 0. Those that haven't after `wait` are answered as they are then, and continue.
pub(super) async fn promote(
    shared: &Arc<LinkShared>,
    topics: Vec<TopicName>,
    cancel: Option<CancelSignal>,
    wait: Option<Duration>,
) -> Result<Outcomes, LinkError> {
    if topics.is_empty() {
        return Ok(Outcomes::new());
    }
    let (mut topics, fresh) = split_unfinished(shared, topics);
    let mut outcomes = waiting::blocked(shared, &fresh);
    let fresh: Vec<TopicName> = fresh
        .into_iter()
        .filter(|topic| !outcomes.contains_key(topic))
        .collect();
    match asked(shared, &fresh).await {
        Ok(answers) => {
            for (topic, answer) in answers {
                match answer.refusal() {
                    None => topics.push(topic),
                    Some(error) => {
                        outcomes.insert(topic, Err(error));
                    }
                }
            }
        }
        Err(error) => outcomes.extend(all_failed(&fresh, &error)),
    }
    let (waiting, refused) = detached(begin(Arc::clone(shared), topics)).await?;
    outcomes.extend(refused);
    if waiting.is_empty() {
        return Ok(outcomes);
    }
    waiting::forget(shared, &waiting);
    let running = detached(finish(Arc::clone(shared), waiting.clone()));
    tokio::pin!(running);
    let done = tokio::select! {
        // `biased`: the promotion starts before the wait is checked, however short that is.
        biased;
        done = &mut running => done?,
        () = cancelled(cancel) => {
            give_up(shared, &waiting).await;
            running.await?
        }
        () = waiting::elapsed(wait) => waiting::under_way(shared, &waiting),
    };
    outcomes.extend(done);
    Ok(outcomes)
}

/// Mirrors whose cut has begun, which need no source, and the others.
fn split_unfinished(
    shared: &LinkShared,
    topics: Vec<TopicName>,
) -> (Vec<TopicName>, Vec<TopicName>) {
    let inner = shared.inner();
    topics.into_iter().partition(|topic| {
        let mirror = inner.mirrors.get(topic);
        mirror.is_some_and(|mirror| mirror.is_cut_begun)
    })
}

async fn cancelled(cancel: Option<CancelSignal>) {
    if let Some(mut cancel) = cancel
        && cancel.wait_for(|is_cancelled| *is_cancelled).await.is_ok()
    {
        return;
    }
    std::future::pending().await
}

/// Stores `PENDING_STOPPED`. The mirrors that wait now, and the outcomes of the others.
async fn begin(shared: Arc<LinkShared>, topics: Vec<TopicName>) -> (Vec<TopicName>, Outcomes) {
    let _change = shared.change.lock().await;
    let mut outcomes = Outcomes::new();
    let mut waiting = Vec::new();
    let mut records = Vec::new();
    for topic in topics {
        if is_promoting(&shared, &topic) {
            waiting.push(topic);
            continue;
        }
        match cut::begun(&shared, &topic, CutKind::Promote) {
            Ok(record) => records.push(record),
            Err(error) => {
                outcomes.insert(topic, Err(error));
            }
        }
    }
    let names: Vec<TopicName> = records.iter().map(|record| record.topic.clone()).collect();
    match shared.store_mirrors(records).await {
        Ok(()) => {
            CutStep::PromotionStored.reached();
            waiting.extend(names);
        }
        Err(error) => outcomes.extend(all_failed(&names, &error)),
    }
    (waiting, outcomes)
}

fn is_promoting(shared: &LinkShared, topic: &TopicName) -> bool {
    shared.inner().mirrors.get(topic).is_some_and(|mirror| {
        mirror.record.status == MirrorStatus::PendingStopped
            && mirror.record.pending_cut == Some(CutKind::Promote)
    })
}

/// Cancels promotions that are still waiting: the mirrors continue mirroring. A cut that has begun
/// can't be cancelled.
async fn give_up(shared: &Arc<LinkShared>, topics: &[TopicName]) {
    let _change = shared.change.lock().await;
    let mut records = Vec::new();
    for topic in topics {
        if !is_promoting(shared, topic) {
            continue;
        }
        let record = shared
            .inner()
            .mirrors
            .get(topic)
            .filter(|mirror| !mirror.is_cut_begun)
            .map(|mirror| mirror.record.clone());
        if let Some(mut record) = record
            && let Ok(status) = record
                .status
                .after(MirrorEvent::Asked(Verb::CancelPromotion))
        {
            record.status = status;
            record.status_since_ms = shared.now_ms();
            record.pending_cut = None;
            records.push(record);
        }
    }
    let topics = some_of(records.iter().map(|record| &record.topic));
    if let Err(error) = shared.store_mirrors(records).await {
        tracing::error!(link = %shared.name, topics, %error, "promotions could not be cancelled");
    }
}

/// Waits for lag 0 and cuts. Also resumes promotions that a crash has interrupted. For mirrors that
/// another call is promoting, it only waits for the result.
pub(super) async fn finish(shared: Arc<LinkShared>, topics: Vec<TopicName>) -> Outcomes {
    let (pursuit, others) = Pursuit::begin(&shared, topics);
    let mut outcomes = wait_and_cut(Arc::clone(&shared), pursuit.topics().to_vec()).await;
    pursuit.show(&outcomes);
    while waiting::are_pursued(&shared, &others) {
        tokio::time::sleep(LOOK_EVERY).await;
    }
    for topic in others {
        let outcome = waiting::not_cut(&shared, &topic)
            .map_or_else(|| still_waits(&shared, &topic).unwrap_or(Ok(None)), Err);
        outcomes.insert(topic, outcome);
    }
    outcomes
}

async fn wait_and_cut(shared: Arc<LinkShared>, mut waiting: Vec<TopicName>) -> Outcomes {
    let mut outcomes = Outcomes::new();
    let mut targets = None;
    let mut failed_syncs = 0;
    loop {
        waiting.retain(|topic| match still_waits(&shared, topic) {
            None => true,
            Some(outcome) => {
                outcomes.insert(topic.clone(), outcome);
                false
            }
        });
        if waiting.is_empty() {
            return outcomes;
        }
        let (unfinished, _) = split_unfinished(&shared, waiting.clone());
        if !unfinished.is_empty() {
            let done = finish_cut(&shared, unfinished).await;
            waiting.retain(|topic| !done.contains_key(topic));
            outcomes.extend(done);
            continue;
        }
        let blocked = waiting::blocked(&shared, &waiting);
        if !blocked.is_empty() {
            let left_out: Vec<TopicName> = blocked.keys().cloned().collect();
            give_up(&shared, &left_out).await;
            waiting.retain(|topic| !blocked.contains_key(topic));
            outcomes.extend(blocked);
            targets = None;
            continue;
        }
        if shared.asks.is_closed() {
            outcomes.extend(all_failed(&waiting, &LinkError::ShuttingDown));
            return outcomes;
        }
        let link_state = shared.inner().state;
        if matches!(link_state, LinkState::Paused | LinkState::Failed) {
            give_up(&shared, &waiting).await;
            tokio::time::sleep(LOOK_EVERY).await;
            continue;
        }
        if targets
            .as_ref()
            .is_none_or(|targets| are_passed(&shared, targets))
        {
            targets = target_of(&shared, &waiting).await;
            match &targets {
                Some(ends) if are_reached(&shared, ends) => {
                    if let Some(done) = try_cut(&shared, &waiting, &mut failed_syncs).await {
                        groups::sync_after_cut(&shared, &waiting).await;
                        outcomes.extend(done);
                        return outcomes;
                    }
                    targets = None;
                }
                Some(_) => {}
                None => tokio::time::sleep(ASK_AGAIN_AFTER).await,
            }
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// How far the mirrors have to copy, from what the source says now; `None` if it does not give
/// every end.
async fn target_of(shared: &Arc<LinkShared>, waiting: &[TopicName]) -> Option<SourceEnds> {
    match asked(shared, waiting).await {
        Ok(answers) => {
            let ends = lookup::whole(&answers);
            act_on(shared, answers).await;
            ends
        }
        Err(error) => {
            tracing::debug!(link = %shared.name, %error, "promotion waits");
            note_wait(shared, waiting, Some(format!("the source: {error}")));
            None
        }
    }
}

/// Shows what promotions wait for.
fn note_wait(shared: &LinkShared, topics: &[TopicName], waits_for: Option<String>) {
    let mut inner = shared.inner();
    for topic in topics {
        if let Some(mirror) = inner.mirrors.get_mut(topic) {
            mirror.waits_for.clone_from(&waits_for);
        }
    }
}

/// The outcome of a mirror that no longer waits; `None` if it still does.
fn still_waits(
    shared: &LinkShared,
    topic: &TopicName,
) -> Option<Result<Option<crate::report::RpoReport>, LinkError>> {
    if is_promoting(shared, topic) {
        return None;
    }
    let record = shared
        .inner()
        .mirrors
        .get(topic)
        .map(|mirror| mirror.record.clone());
    let Some(record) = record else {
        return Some(Err(LinkError::NotAMirror(topic.to_string())));
    };
    let reason = match record.status {
        MirrorStatus::Stopped => {
            return Some(
                shared
                    .ports
                    .store
                    .load_report(topic)
                    .map_err(LinkError::from),
            );
        }
        MirrorStatus::Failed => format!("the mirror has failed: {}", record.error_detail),
        MirrorStatus::PendingStopped => "it is being failed over instead".to_owned(),
        _ => "it was cancelled, or the link was paused or has failed; the mirror continues"
            .to_owned(),
    };
    Some(Err(LinkError::PromotionAborted {
        topic: topic.clone(),
        reason,
    }))
}

/// Holds the mirrors and cuts them, unless the source has grown in the meantime (`None`: they
/// continue), or the last sync of group offsets should be retried: `failed_syncs` counts.
async fn try_cut(
    shared: &Arc<LinkShared>,
    topics: &[TopicName],
    failed_syncs: &mut u32,
) -> Option<Outcomes> {
    CutStep::CaughtUp.reached();
    sync_configs(shared, topics).await;
    if !groups::last_sync(shared, topics).await {
        *failed_syncs += 1;
        if *failed_syncs < LAST_SYNCS_MAX {
            return None;
        }
    }
    let readers = Some(Readers::of(shared, topics).await);
    CutStep::LastSynced.reached();
    let _change = shared.change.lock().await;
    if !topics.iter().all(|topic| is_promoting(shared, topic)) {
        return None;
    }
    cut::hold(shared, topics, true);
    shared.settled().await;
    CutStep::PromotionHeld.reached();
    let asked = tokio::time::timeout(LAST_ANSWER_MAX, lookup::confirm(shared, topics)).await;
    let cut = match asked {
        Ok(Ok(Some(ends))) if are_reached(shared, &ends) => {
            CutStep::Confirmed.reached();
            let told = Told { ends, readers };
            Some(cut::cut(shared, topics, CutKind::Promote, &told, false).await)
        }
        _ => None,
    };
    cut::hold(shared, topics, false);
    shared.reconcile();
    cut
}

/// Resumes interrupted cuts, unless another task already has.
async fn finish_cut(shared: &Arc<LinkShared>, topics: Vec<TopicName>) -> Outcomes {
    let _change = shared.change.lock().await;
    let (mut topics, _) = split_unfinished(shared, topics);
    topics.retain(|topic| is_promoting(shared, topic));
    cut::cut(shared, &topics, CutKind::Promote, &Told::default(), false).await
}

/// The last sync of topic configs. A source that does not answer it does not delay the promotion.
async fn sync_configs(shared: &Arc<LinkShared>, topics: &[TopicName]) {
    let (source, config, names) = {
        let inner = shared.inner();
        let pairs: Vec<(TopicName, TopicName)> = topics
            .iter()
            .filter_map(|topic| {
                Some((
                    topic.clone(),
                    inner.mirrors.get(topic)?.record.source_topic.clone(),
                ))
            })
            .collect();
        (Arc::clone(&inner.source), Arc::clone(&inner.config), pairs)
    };
    let catalog = Arc::clone(&shared.ports.catalog);
    let include = config.topic_config_sync_include.clone();
    if let Err((_, detail)) = configs::sync(source, catalog, names, include).await {
        tracing::warn!(link = %shared.name, detail, "topic configs not synced before promotion");
    }
}

/// Asks the source about mirrors to be promoted.
pub(super) async fn asked(shared: &LinkShared, topics: &[TopicName]) -> Result<Answers, LinkError> {
    if matches!(shared.inner().state, LinkState::Paused | LinkState::Failed) {
        return Err(LinkError::LinkState {
            link: shared.name.clone(),
            reason: "is paused or has failed: resume it first, or fail over".into(),
        });
    }
    lookup::ask(shared, topics).await
}

/// Acts on changes of topics at the source: new partitions are mirrored, too; if a topic was
/// deleted or replaced, its mirror fails. Notes what each promotion waits for.
async fn act_on(shared: &Arc<LinkShared>, answers: Answers) {
    for (topic, answer) in answers {
        let problem = answer.problem().or_else(|| behind(shared, &topic, &answer));
        let mut waits_for = problem.map(|problem| format!("the source: {problem}"));
        let is_missing = answer.verdict == Verdict::Missing;
        let missing_for_ms = shared.missing_for_ms(&topic, is_missing).unwrap_or(0);
        let failure = match answer.verdict {
            Verdict::Grown(count) => {
                let grown = watch::grow(Arc::clone(shared), answer.record.clone(), count).await;
                if let Err(error) = grown {
                    waits_for = Some(format!("new partitions that can't be added here: {error}"));
                }
                None
            }
            Verdict::Failed(error, detail) => Some((error, detail)),
            Verdict::Missing if missing_for_ms >= verdict::MISSING_MAX_MS => {
                Some(verdict::missing(&answer.record))
            }
            Verdict::Missing | Verdict::Same | Verdict::Unclear(_) => None,
        };
        match failure {
            Some((error, detail)) => {
                let shared = Arc::clone(shared);
                shared.fail_mirror(answer.record, error, detail).await;
            }
            None => note_wait(shared, &[topic], waits_for),
        }
    }
}

/// Why a mirror can't be cut that has more records than its source.
fn behind(shared: &LinkShared, topic: &TopicName, answer: &Answer) -> Option<String> {
    let inner = shared.inner();
    let statuses = inner.mirrors.get(topic)?.statuses.iter();
    let ours = statuses.map(|cell| cell.with(|status| status.mirror_end.0));
    let mut all = (0..).zip(ours.zip(answer.ends.iter().flatten()));
    let (partition, (ours, end)) = all.find(|(_, (ours, end))| ours > *end)?;
    Some(format!(
        "partition {partition} ends at {end} at the source, before its mirror, which ends at {ours}"
    ))
}

/// Whether every mirror ends where its source does. If a mirror ends later, the source has lost
/// records: its replicator decides what that means.
fn are_reached(shared: &LinkShared, ends: &SourceEnds) -> bool {
    let inner = shared.inner();
    ends.iter().all(|(topic, ends)| {
        inner.mirrors.get(topic).is_some_and(|mirror| {
            let cells = mirror.statuses.iter();
            let ours = cells.map(|cell| cell.with(|status| status.mirror_end.0));
            ours.eq(ends.iter().copied())
        })
    })
}

/// Whether every mirror has copied up to there, so that it is time to ask the source again.
fn are_passed(shared: &LinkShared, ends: &SourceEnds) -> bool {
    let inner = shared.inner();
    ends.iter().all(|(topic, ends)| {
        let Some(mirror) = inner.mirrors.get(topic) else {
            return false;
        };
        let passed = |(cell, end): (&StatusCell, &i64)| cell.with(|it| it.mirror_end.0 >= *end);
        mirror.statuses.len() >= ends.len() && mirror.statuses.iter().zip(ends).all(passed)
    })
}
