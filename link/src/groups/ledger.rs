//! What a link knows about the groups that it syncs.
//!
//! Kept in memory and, through the port, across restarts: changes are stored at the end of the
//! sync. For a group of which only the time changes, it is stored every [`TIME_STORED_EVERY_MS`].

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use carrick_protocol::ids::{GroupId, Offset, TopicName, TopicPartition};
use parking_lot::Mutex;
use tokio::sync::OwnedMutexGuard;

use super::{GroupCommit, GroupCommitted, GroupCounts, GroupSync, GroupSyncState, PartitionSync};
use crate::state::{TaskError, TaskErrorCode};

/// After a restart the time of a group's last sync may be this much too early, milliseconds.
const TIME_STORED_EVERY_MS: i64 = 300_000;
/// A group that no longer exists at the source is removed after this time, milliseconds: by default
/// its offsets here have expired by then, too.
const GONE_FORGOTTEN_AFTER_MS: i64 = 7 * 86_400_000;
/// Groups that the error of a task names.
const NAMES_MAX: usize = 3;

/// What went wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Fault {
    /// As the task shows it.
    pub(crate) error: TaskError,
    /// The same may go well by itself a moment later.
    pub(crate) may_pass: bool,
}

impl Fault {
    pub(crate) fn lasting(code: TaskErrorCode, detail: impl Into<String>) -> Self {
        Self {
            error: (code, detail.into()),
            may_pass: false,
        }
    }

    pub(crate) fn passing(code: TaskErrorCode, detail: impl Into<String>) -> Self {
        Self {
            error: (code, detail.into()),
            may_pass: true,
        }
    }

    pub(crate) fn shutting_down() -> Self {
        Self::lasting(TaskErrorCode::UnknownError, "the broker is shutting down")
    }
}

/// The faults of one sync.
#[derive(Debug, Default)]
pub(crate) struct Faults {
    first: Option<Fault>,
    named: Vec<String>,
    count: usize,
    may_pass: bool,
}

impl Faults {
    /// `whose` had that fault.
    pub(crate) fn add(&mut self, whose: &str, fault: Fault) {
        self.count += 1;
        self.may_pass |= fault.may_pass;
        if self.named.len() < NAMES_MAX {
            self.named.push(format!("{whose}: {}", fault.error.1));
        }
        // A group in use doesn't matter if another one can't be synced.
        let is_worse = self.first.as_ref().is_none_or(|first| {
            first.error.0 == TaskErrorCode::ConsumerGroupInUseError
                && fault.error.0 != TaskErrorCode::ConsumerGroupInUseError
        });
        if is_worse {
            self.first = Some(fault);
        }
    }

    /// All of them as one.
    pub(crate) fn into_result(self) -> Result<(), Fault> {
        let Some(first) = self.first else {
            return Ok(());
        };
        let mut detail = self.named.join("; ");
        if self.count > self.named.len() {
            detail.push_str(&format!("; and {} more", self.count - self.named.len()));
        }
        Err(Fault {
            error: (first.error.0, detail),
            may_pass: self.may_pass,
        })
    }
}

/// Used in place of the source's offset for a partition for which the source reported none.
pub(crate) const NOT_TOLD: Offset = Offset(-1);

/// What should be committed for a group, and what should be noted about it.
pub(crate) struct Planned {
    /// The group's id at the source.
    pub(crate) source_group: GroupId,
    /// What should be committed.
    pub(crate) commit: GroupCommit,
    /// The topics that were checked: earlier notes about them are replaced.
    pub(crate) topics: Arc<HashSet<TopicName>>,
    /// What should be noted once it is committed.
    pub(crate) partitions: Vec<PartitionSync>,
}

impl Planned {
    /// The plan, and the commit to hand to the port: the plan keeps only the name of its group.
    pub(crate) fn into_parts(mut self) -> (Self, GroupCommit) {
        let commit = GroupCommit {
            group: self.commit.group.clone(),
            offsets: std::mem::take(&mut self.commit.offsets),
            after_cut: std::mem::take(&mut self.commit.after_cut),
        };
        (self, commit)
    }

    /// Whether there is nothing to commit.
    pub(crate) fn is_empty(&self) -> bool {
        self.commit.offsets.is_empty() && self.commit.after_cut.is_empty()
    }
}

/// What became of one group in a sync.
pub(crate) struct Outcome {
    source_group: String,
    group: String,
    /// The source's answer, if it gave one.
    answer: Option<Planned>,
    result: Result<Taken, Fault>,
}

/// What became of a group without a fault.
enum Taken {
    /// Its offsets are here, except those left out.
    Committed(GroupCommitted),
    /// It has nothing to be synced.
    Skipped(&'static str),
}

impl Outcome {
    /// The source didn't tell.
    pub(crate) fn untold(source_group: &GroupId, group: &GroupId, fault: Fault) -> Self {
        Self {
            source_group: source_group.to_string(),
            group: group.to_string(),
            answer: None,
            result: Err(fault),
        }
    }

    /// There is nothing to ask for, and that is no fault.
    pub(crate) fn skipped(source_group: &GroupId, group: &GroupId, why: &'static str) -> Self {
        Self {
            source_group: source_group.to_string(),
            group: group.to_string(),
            answer: None,
            result: Ok(Taken::Skipped(why)),
        }
    }

    /// The source told, and it was committed or refused here.
    pub(crate) fn told(answer: Planned, result: Result<GroupCommitted, Fault>) -> Self {
        Self {
            source_group: answer.source_group.to_string(),
            group: answer.commit.group.to_string(),
            answer: Some(answer),
            result: result.map(Taken::Committed),
        }
    }
}

/// One group, and when what is known of it was stored.
#[derive(Debug)]
struct Known {
    sync: GroupSync,
    is_changed: bool,
    stored_ms: i64,
}

#[derive(Debug, Default)]
struct State {
    known: BTreeMap<String, Known>,
    forgotten: Vec<String>,
}

/// Every group that the link syncs or has synced, by its id at the source.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    turn: Arc<tokio::sync::Mutex<()>>,
    state: Mutex<State>,
}

impl Ledger {
    /// As it was stored.
    pub(crate) fn load(stored: Vec<GroupSync>) -> Self {
        let known = stored.into_iter().map(|sync| {
            let stored_ms = sync.synced_ms.unwrap_or(sync.since_ms);
            let known = Known {
                stored_ms,
                is_changed: false,
                sync,
            };
            (known.sync.source_group.clone(), known)
        });
        Self {
            turn: Arc::default(),
            state: Mutex::new(State {
                known: known.collect(),
                forgotten: Vec::new(),
            }),
        }
    }

    /// Waits until no other sync of this link is in progress.
    pub(crate) async fn turn(&self) -> OwnedMutexGuard<()> {
        Arc::clone(&self.turn).lock_owned().await
    }

    /// Every group, by its id at the source.
    pub(crate) fn all(&self) -> Vec<GroupSync> {
        let state = self.state.lock();
        state
            .known
            .values()
            .map(|known| known.sync.clone())
            .collect()
    }

    /// One group, by its id at the source.
    pub(crate) fn get(&self, source_group: &str) -> Option<GroupSync> {
        let state = self.state.lock();
        state
            .known
            .get(source_group)
            .map(|known| known.sync.clone())
    }

    /// How many groups are in each state.
    pub(crate) fn count(&self) -> GroupCounts {
        let mut counts = GroupCounts::default();
        for known in self.state.lock().known.values() {
            let count = match known.sync.state {
                GroupSyncState::Synced => &mut counts.synced,
                GroupSyncState::Skipped => &mut counts.skipped,
                GroupSyncState::Failed => &mut counts.failed,
                GroupSyncState::Gone => &mut counts.gone,
            };
            *count += 1;
        }
        counts
    }

    /// Notes what became of groups; what went wrong is added to `faults`.
    pub(crate) fn note(&self, outcomes: Vec<Outcome>, now_ms: i64, faults: &mut Faults) {
        let mut state = self.state.lock();
        for outcome in outcomes {
            if let Err(fault) = &outcome.result {
                faults.add(&outcome.source_group, fault.clone());
            }
            let is_known = state.known.contains_key(&outcome.source_group);
            let is_about_mirrors = outcome
                .answer
                .as_ref()
                .is_none_or(|answer| !answer.partitions.is_empty());
            // Most groups of a source may read nothing that is mirrored.
            if is_known || is_about_mirrors {
                state.note(outcome, now_ms);
            }
        }
    }

    /// Groups that aren't `kept` no longer exist at the source.
    pub(crate) fn note_gone(&self, is_kept: impl Fn(&str) -> bool, now_ms: i64) {
        let mut state = self.state.lock();
        let mut forgotten = Vec::new();
        for (source_group, known) in &mut state.known {
            let sync = &mut known.sync;
            if is_kept(source_group) {
                continue;
            }
            if sync.state != GroupSyncState::Gone {
                let gone = (GroupSyncState::Gone, TaskErrorCode::NoError, String::new());
                known.is_changed |= enter(sync, gone, now_ms);
            } else if now_ms - sync.since_ms > GONE_FORGOTTEN_AFTER_MS {
                forgotten.push(source_group.clone());
            }
        }
        state.forget(forgotten);
    }

    /// Topics that are no longer mirrors of the link don't concern its groups.
    pub(crate) fn keep_topics(&self, is_kept: impl Fn(&str) -> bool) {
        let mut state = self.state.lock();
        let mut forgotten = Vec::new();
        for (source_group, known) in &mut state.known {
            let before = known.sync.partitions.len();
            known.sync.partitions.retain(|part| is_kept(&part.topic));
            if known.sync.partitions.len() == before {
                continue;
            }
            known.is_changed = true;
            if known.sync.partitions.is_empty() {
                forgotten.push(source_group.clone());
            }
        }
        state.forget(forgotten);
    }

    /// What must be stored: groups that have changed, and those to be removed.
    pub(crate) fn unstored(&self, now_ms: i64) -> (Vec<GroupSync>, Vec<String>) {
        let state = self.state.lock();
        let is_due =
            |known: &&Known| known.is_changed || now_ms - known.stored_ms > TIME_STORED_EVERY_MS;
        let due = state.known.values().filter(is_due);
        let changed = due.map(|known| known.sync.clone()).collect();
        (changed, state.forgotten.clone())
    }

    /// That was stored.
    pub(crate) fn stored(&self, syncs: &[GroupSync], now_ms: i64) {
        let mut state = self.state.lock();
        state.forgotten.clear();
        for sync in syncs {
            if let Some(known) = state.known.get_mut(&sync.source_group) {
                known.is_changed = false;
                known.stored_ms = now_ms;
            }
        }
    }
}

impl State {
    fn forget(&mut self, groups: Vec<String>) {
        for source_group in groups {
            self.known.remove(&source_group);
            self.forgotten.push(source_group);
        }
    }

    fn note(&mut self, outcome: Outcome, now_ms: i64) {
        let known = self
            .known
            .entry(outcome.source_group.clone())
            .or_insert_with(|| Known::new(&outcome, now_ms));
        let sync = &mut known.sync;
        known.is_changed |= sync.group != outcome.group;
        sync.group = outcome.group;
        let (phase, left_out) = match outcome.result {
            Ok(Taken::Skipped(why)) => {
                let skipped = (
                    GroupSyncState::Skipped,
                    TaskErrorCode::NoError,
                    why.to_owned(),
                );
                (skipped, None)
            }
            Ok(Taken::Committed(committed))
                if sync.state == GroupSyncState::Skipped
                    && is_all(&committed.left_out, outcome.answer.as_ref()) =>
            {
                // Nothing was taken: what kept the group from being synced still does.
                let before = (sync.state, sync.error, sync.error_detail.clone());
                (before, Some(committed.left_out))
            }
            Ok(Taken::Committed(committed)) => {
                sync.synced_ms = Some(now_ms);
                let synced = (
                    GroupSyncState::Synced,
                    TaskErrorCode::NoError,
                    String::new(),
                );
                (synced, Some(committed.left_out))
            }
            Err(Fault { error, .. }) => {
                let state = match error.0 {
                    TaskErrorCode::ConsumerGroupInUseError => GroupSyncState::Skipped,
                    _ => GroupSyncState::Failed,
                };
                ((state, error.0, error.1), None)
            }
        };
        known.is_changed |= enter(sync, phase, now_ms);
        let Some(answer) = outcome.answer else {
            return;
        };
        sync.told_ms = Some(now_ms);
        let merged = merged(&sync.partitions, &answer, left_out.as_deref());
        known.is_changed |= merged != sync.partitions;
        sync.partitions = merged;
    }
}

impl Known {
    fn new(outcome: &Outcome, now_ms: i64) -> Self {
        Self {
            sync: GroupSync {
                source_group: outcome.source_group.clone(),
                group: outcome.group.clone(),
                state: GroupSyncState::Failed,
                error: TaskErrorCode::NoError,
                error_detail: String::new(),
                since_ms: now_ms,
                synced_ms: None,
                told_ms: None,
                partitions: Vec::new(),
            },
            is_changed: true,
            stored_ms: now_ms,
        }
    }
}

/// Whether the source's answer is about partitions that were left out, and no others.
fn is_all(left_out: &[TopicPartition], answer: Option<&Planned>) -> bool {
    let partitions = answer.map_or(&[][..], |answer| &answer.partitions);
    let is_left_out = |part: &PartitionSync| {
        let mut left_out = left_out.iter();
        left_out.any(|it| *it.topic == *part.topic && it.partition == part.partition)
    };
    !left_out.is_empty() && partitions.iter().all(is_left_out)
}

/// Changes the state of a group; true if anything but the time is another.
fn enter(
    sync: &mut GroupSync,
    (state, error, detail): (GroupSyncState, TaskErrorCode, String),
    now_ms: i64,
) -> bool {
    if sync.state != state {
        sync.since_ms = now_ms;
    }
    let is_new = (sync.state, sync.error, &sync.error_detail) != (state, error, &detail);
    sync.state = state;
    sync.error = error;
    sync.error_detail = detail;
    is_new
}

/// The partitions of a group after an answer that was committed but for those `left_out`, or not at
/// all (`None`): of what wasn't, only the source's offset is taken over. What is about other topics
/// stays as it was.
fn merged(
    before: &[PartitionSync],
    answer: &Planned,
    left_out: Option<&[TopicPartition]>,
) -> Vec<PartitionSync> {
    let is_left_out = |part: &PartitionSync| {
        let mut left_out = left_out.into_iter().flatten();
        left_out.any(|it| *it.topic == *part.topic && it.partition == part.partition)
    };
    let stays = |part: &PartitionSync| !answer.topics.contains(part.topic.as_str());
    let known = |part: &PartitionSync| {
        let mut all = before.iter();
        all.find(|it| it.topic == part.topic && it.partition == part.partition)
    };
    let answered = answer.partitions.iter().map(|part| {
        let mut part = part.clone();
        let known = known(&part);
        if is_left_out(&part) {
            let why = "the mirror was cut, and the offset here is the group's own";
            part.skipped.get_or_insert_with(|| why.to_owned());
        }
        if left_out.is_none() || part.skipped.is_some() {
            part.synced_offset = known.and_then(|it| it.synced_offset);
        }
        if let Some(known) = known.filter(|_| part.source_offset == NOT_TOLD.0) {
            part.source_offset = known.source_offset;
        }
        part
    });
    let others = before.iter().filter(|part| stays(part)).cloned();
    let mut all: Vec<_> = others.chain(answered).collect();
    all.sort_by(|a, b| (&a.topic, a.partition).cmp(&(&b.topic, b.partition)));
    all
}
