//! The five verbs: selects the mirrors, checks what is possible, and collects the outcome of each.

use std::sync::Arc;
use std::time::Duration;

use carrick_protocol::ids::TopicName;

use super::outcome::{Outcomes, all_failed};
use super::{CancelSignal, LinkManager, Selection, failover, promote, rpo, show, waiting};
use crate::description::MirrorOutcome;
use crate::error::LinkError;
use crate::lookup::Answers;
use crate::naming::some_of;
use crate::record::MirrorRecord;
use crate::report::RpoReport;
use crate::shared::{LinkShared, detached};
use crate::state::{MirrorError, MirrorEvent, MirrorStatus};
use crate::tasks::groups::readers::Readers;
use crate::verb::{CutKind, Verb};

/// The longest pattern, bytes.
const PATTERN_MAX_BYTES: usize = 1_000;

impl LinkManager {
    /// Promotes, fails over, pauses or resumes mirrors of a link. The outer error is about the
    /// whole request; each topic has its own outcome. Failover is one atomic write for all; so is
    /// promote for those that reach lag 0.
    ///
    /// A promotion waits, for ever if the source keeps writing: `cancel` cancels it, dropping the
    /// future leaves it running, and `Resume` or `Failover` end it. A dry run changes nothing.
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
        self.alter(link, verb, selection, dry_run, cancel, None)
            .await
    }

    /// The same, but waits no longer than `wait` for mirrors to be cut: those still in progress
    /// continue, and their outcome is `PENDING_STOPPED`. Later, [`Self::mirror`] shows how they
    /// ended: `STOPPED`, or with a [`MirrorDescription::stop_error`].
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
        self.alter(link, verb, selection, dry_run, None, Some(wait))
            .await
    }

    async fn alter(
        &self,
        link: &str,
        verb: Verb,
        selection: Selection,
        dry_run: bool,
        cancel: Option<CancelSignal>,
        wait: Option<Duration>,
    ) -> Result<Vec<MirrorOutcome>, LinkError> {
        self.refuse_when_stopping()?;
        let shared = self.shared(link)?;
        let names = self.select(&shared, verb, selection).await?;
        let mut outcomes = Outcomes::new();
        let mut chosen = Vec::new();
        for name in &names {
            match self.check(&shared, name, verb) {
                Ok(record) => chosen.push(record),
                Err(error) => {
                    outcomes.insert(name.clone(), Err(error));
                }
            }
        }
        let done = match (verb, dry_run) {
            (Verb::Pause | Verb::Resume | Verb::CancelPromotion, true) => all_ok(&chosen),
            (Verb::Pause | Verb::Resume | Verb::CancelPromotion, false) => {
                switch(&shared, &topics(&chosen), verb).await
            }
            (Verb::Failover, true) => reports(&shared, &chosen, CutKind::Failover).await,
            (Verb::Promote, true) => reports(&shared, &chosen, CutKind::Promote).await,
            (Verb::Failover, false) => {
                let names = topics(&chosen);
                let cutting = detached(failover::failover(
                    Arc::clone(&shared),
                    names.clone(),
                    false,
                ));
                tokio::select! {
                    // `biased`: the failover starts before the wait is checked, however short that
                    // is.
                    biased;
                    done = cutting => done?,
                    () = waiting::elapsed_and_stored(&shared, &names, wait) => {
                        waiting::under_way(&shared, &names)
                    }
                }
            }
            (Verb::Promote, false) => {
                promote::promote(&shared, topics(&chosen), cancel, wait).await?
            }
        };
        outcomes.extend(done);
        Ok(names
            .into_iter()
            .filter_map(|name| {
                let outcome = outcomes.remove(&name)?;
                Some(self.outcome(&shared, name, outcome))
            })
            .collect())
    }

    fn outcome(
        &self,
        shared: &LinkShared,
        name: TopicName,
        outcome: Result<Option<RpoReport>, LinkError>,
    ) -> MirrorOutcome {
        let topic = name.to_string();
        match outcome {
            Ok(report) => {
                let inner = shared.inner();
                let result = inner
                    .mirrors
                    .get(&name)
                    .map(|mirror| show::mirror(&inner, mirror, shared.now_ms()))
                    .ok_or_else(|| LinkError::NotAMirror(topic.clone()));
                MirrorOutcome {
                    topic,
                    result,
                    report,
                }
            }
            Err(error) => MirrorOutcome {
                topic,
                result: Err(error),
                report: None,
            },
        }
    }

    /// The selected topics, each once, in order.
    async fn select(
        &self,
        shared: &LinkShared,
        verb: Verb,
        selection: Selection,
    ) -> Result<Vec<TopicName>, LinkError> {
        let is_meant = |record: &MirrorRecord| match verb {
            Verb::CancelPromotion => is_promoting(record),
            _ => record.status != MirrorStatus::Stopped,
        };
        let live = || -> Vec<TopicName> {
            let inner = shared.inner();
            let records = inner.mirrors.values().map(|mirror| &mirror.record);
            let live = records.filter(|record| is_meant(record));
            live.map(|record| record.topic.clone()).collect()
        };
        match selection {
            Selection::Names(mut names) => {
                names.sort();
                names.dedup();
                Ok(names)
            }
            Selection::All => Ok(live()),
            Selection::Pattern(pattern) => {
                let names = matching(shared, &pattern, live()).await?;
                if names.is_empty() {
                    let link = &shared.name;
                    return Err(LinkError::InvalidName(format!(
                        "no mirror of link '{link}' matches the pattern '{pattern}'"
                    )));
                }
                Ok(names)
            }
        }
    }

    /// The mirror's record, if `verb` is possible.
    fn check(
        &self,
        shared: &LinkShared,
        name: &TopicName,
        verb: Verb,
    ) -> Result<MirrorRecord, LinkError> {
        let found = shared
            .inner()
            .mirrors
            .get(name)
            .map(|mirror| (mirror.record.clone(), mirror.is_cut_begun));
        let Some((record, is_cut_begun)) = found else {
            return Err(match self.owner(name) {
                Some(owner) => LinkError::OtherLink {
                    topic: name.clone(),
                    owner,
                    link: shared.name.clone(),
                },
                None => LinkError::NotAMirror(name.to_string()),
            });
        };
        let goes_back = matches!(verb, Verb::Resume | Verb::CancelPromotion);
        if is_cut_begun && goes_back {
            return Err(cut_has_begun(&record));
        }
        let is_possible = match verb {
            Verb::CancelPromotion => is_promoting(&record),
            Verb::Promote if is_promoting(&record) => true,
            _ => record.status.after(MirrorEvent::Asked(verb)).is_ok(),
        };
        if is_possible {
            Ok(record)
        } else {
            Err(illegal(&record, verb))
        }
    }
}

/// Whether it is being promoted.
fn is_promoting(record: &MirrorRecord) -> bool {
    record.status == MirrorStatus::PendingStopped && record.pending_cut == Some(CutKind::Promote)
}

/// Why `verb` is not possible, and what is.
fn illegal(record: &MirrorRecord, verb: Verb) -> LinkError {
    let reason = match (record.status, verb) {
        (status, Verb::CancelPromotion) if status != MirrorStatus::Stopped => {
            "it is not being promoted"
        }
        (MirrorStatus::Stopped, _) => "it is an ordinary topic already",
        (MirrorStatus::PendingStopped, Verb::Pause) => {
            "it is being promoted or failed over; resume it first to cancel a promotion"
        }
        (MirrorStatus::PendingStopped, _) => "it is being failed over",
        (MirrorStatus::Paused, Verb::Promote) => {
            "it is not up to date while paused: resume it first, or fail it over"
        }
        (MirrorStatus::Failed, Verb::Promote) => {
            "it has failed and can't be brought up to date: resume it once the cause is gone, \
             or fail it over"
        }
        _ => "that is not possible now: its description lists the possible next steps",
    };
    LinkError::IllegalState {
        topic: record.topic.clone(),
        status: record.status,
        reason: reason.to_owned(),
    }
}

fn cut_has_begun(record: &MirrorRecord) -> LinkError {
    LinkError::IllegalState {
        topic: record.topic.clone(),
        status: record.status,
        reason: "its cut has begun and can't be cancelled: fail it over to finish the cut"
            .to_owned(),
    }
}

/// Those of `names` that match as a whole.
pub(super) async fn matching(
    shared: &LinkShared,
    pattern: &str,
    names: Vec<TopicName>,
) -> Result<Vec<TopicName>, LinkError> {
    if pattern.len() > PATTERN_MAX_BYTES {
        return Err(LinkError::InvalidName(format!(
            "the pattern is longer than {PATTERN_MAX_BYTES} bytes"
        )));
    }
    let matching = shared.ports.patterns.matching(pattern, names);
    matching
        .await
        .map_err(|why| LinkError::InvalidName(format!("the pattern '{pattern}': {why}")))
}

fn topics(records: &[MirrorRecord]) -> Vec<TopicName> {
    records.iter().map(|record| record.topic.clone()).collect()
}

fn all_ok(records: &[MirrorRecord]) -> Outcomes {
    records
        .iter()
        .map(|record| (record.topic.clone(), Ok(None)))
        .collect()
}

/// Pauses, resumes, or cancels promotions, all in one write.
async fn switch(shared: &Arc<LinkShared>, topics: &[TopicName], verb: Verb) -> Outcomes {
    let _change = shared.change.lock().await;
    let mut outcomes = Outcomes::new();
    let mut records = Vec::new();
    for topic in topics {
        match switched(shared, topic, verb) {
            Ok(record) => records.push(record),
            Err(error) => {
                outcomes.insert(topic.clone(), Err(error));
            }
        }
    }
    let names: Vec<TopicName> = records.iter().map(|record| record.topic.clone()).collect();
    match shared.store_mirrors(records).await {
        Ok(()) => {
            let (count, topics) = (names.len(), some_of(&names));
            tracing::info!(link = %shared.name, verb = verb.name(), count, topics, "mirrors altered");
            outcomes.extend(names.into_iter().map(|name| (name, Ok(None))));
        }
        Err(error) => outcomes.extend(all_failed(&names, &error)),
    }
    shared.settled().await;
    outcomes
}

/// The mirror's record after the verb.
fn switched(shared: &LinkShared, topic: &TopicName, verb: Verb) -> Result<MirrorRecord, LinkError> {
    let mut inner = shared.inner();
    let Some(mirror) = inner.mirrors.get_mut(topic) else {
        return Err(LinkError::NotAMirror(topic.to_string()));
    };
    let mut record = mirror.record.clone();
    if mirror.is_cut_begun {
        return Err(cut_has_begun(&record));
    }
    if verb == Verb::CancelPromotion && !is_promoting(&record) {
        return Err(illegal(&record, verb));
    }
    let next = record
        .status
        .after(MirrorEvent::Asked(verb))
        .map_err(|_| illegal(&record, verb))?;
    if verb == Verb::CancelPromotion {
        record.pending_cut = None;
    }
    if verb == Verb::Resume {
        mirror.may_truncate = record.error == MirrorError::UnexpectedTruncation;
        mirror.missing_since_ms = None;
        record.error = MirrorError::NoError;
        record.error_detail = String::new();
        record.pending_cut = None;
    }
    if record.status != next {
        record.status = next;
        record.status_since_ms = shared.ports.clock.now_ms();
    }
    Ok(record)
}

/// What a promotion or failover would lose. The ends of the mirrors are read before the source is
/// asked, so that the source's ends are never older.
async fn reports(shared: &Arc<LinkShared>, records: &[MirrorRecord], kind: CutKind) -> Outcomes {
    let mut outcomes = Outcomes::new();
    let readers = match kind {
        CutKind::Promote => Some(Readers::of(shared, &topics(records)).await),
        CutKind::Failover => None,
    };
    for record in records {
        let mut draft = rpo::Draft::of(shared, record, kind, true);
        draft.told(None, readers.as_ref());
        let report = shared
            .blocking(move |ports| draft.finish(&*ports.local, false))
            .await;
        let outcome = report.and_then(|report| Ok(report?)).map(Some);
        outcomes.insert(record.topic.clone(), outcome);
    }
    let names = topics(records);
    let sight = match kind {
        CutKind::Failover => rpo::Sight::of(shared, &names).await,
        CutKind::Promote => {
            let now_ms = shared.now_ms();
            match promote::asked(shared, &names).await {
                Ok(answers) => {
                    refuse(&mut outcomes, &answers);
                    outcomes.extend(waiting::blocked(shared, &names));
                    rpo::Sight::new(now_ms, answers)
                }
                Err(error) => return all_failed(&names, &error),
            }
        }
    };
    for (topic, outcome) in &mut outcomes {
        if let Ok(Some(report)) = outcome {
            sight.tell(topic, report, kind == CutKind::Promote);
        }
    }
    outcomes
}

/// Refuses mirrors that can't be promoted because of the source's answer.
fn refuse(outcomes: &mut Outcomes, answers: &Answers) {
    for (topic, answer) in answers {
        if let Some(error) = answer.refusal() {
            outcomes.insert(topic.clone(), Err(error));
        }
    }
}
