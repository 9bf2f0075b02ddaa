//! Offsets: OffsetCommit, OffsetFetch (`OffsetMetadataManager`).

use std::future::Future;
use std::sync::Arc;

use carrick_protocol::ids::{GroupId, LeaderEpoch, Offset, TopicId, TopicName};
use tokio::sync::oneshot;

use super::{Coordinator, Inner};
use crate::group::cell::{Cell, CellState, Then};
use crate::group::classic::CommitFence;
use crate::group::error::GroupError;
use crate::group::ids::MemberId;
use crate::group::offsets::{CommittedOffset, FetchedOffset};
use crate::journal::Entry;
use crate::records::group_offset::{GroupOffsetKey, GroupOffsets};

/// An OffsetCommit request, for partitions that exist.
#[derive(Clone, Debug)]
pub struct CommitRequest {
    /// Who commits.
    pub fence: CommitFence,
    /// Until when the offsets are kept, as milliseconds from now (versions 2 to 4).
    pub retention_ms: Option<i64>,
    /// Version 9 on: a generation of a group that isn't there is `GroupNotFound` and not
    /// `IllegalGeneration`.
    pub knows_group_not_found: bool,
    /// The offsets.
    pub offsets: Vec<NewOffset>,
}

/// An offset to be committed.
#[derive(Clone, Debug)]
pub struct NewOffset {
    /// The topic.
    pub topic: TopicName,
    /// Its id.
    pub topic_id: TopicId,
    /// The partition, which exists.
    pub partition: i32,
    /// Where the group goes on.
    pub offset: Offset,
    /// The epoch of the last record read, or `NONE`.
    pub leader_epoch: LeaderEpoch,
    /// The client's own text.
    pub metadata: String,
}

impl Coordinator {
    /// Commits offsets; answered when they are durable. One result for each offset, in order.
    ///
    /// Fails as a whole with `UnknownMember`, `IllegalGeneration`, … when the group does not take
    /// the commit, and with `NotStored` when the disk doesn't.
    pub fn commit(
        &self,
        group: &GroupId,
        request: CommitRequest,
    ) -> impl Future<Output = Result<Vec<Result<(), GroupError>>, GroupError>> + Send + 'static + use<>
    {
        let (outcome, stored) = oneshot::channel();
        let begun = self.begin_commit(group, request, outcome);
        async move {
            let (results, waits) = begun?;
            if waits {
                stored.await.unwrap_or(Err(GroupError::ShuttingDown))?;
            }
            Ok(results)
        }
    }

    /// The results, and whether they hold only once the store says so.
    fn begin_commit(
        &self,
        group: &GroupId,
        request: CommitRequest,
        outcome: oneshot::Sender<Result<(), GroupError>>,
    ) -> Result<(Vec<Result<(), GroupError>>, bool), GroupError> {
        let (has_generation, knows_not_found) =
            (request.fence.generation >= 0, request.knows_group_not_found);
        let commit = |cell: &Arc<Cell>, state: &mut CellState| {
            begin_commit_to(&self.inner, cell, state, request, outcome)
        };
        // A consumer that assigns itself makes a group of offsets alone with its first commit.
        let committed = if has_generation {
            self.inner.with(group, commit)
        } else {
            self.inner.with_new(group, commit)
        };
        committed.map_err(|error| match error {
            GroupError::GroupNotFound if !knows_not_found => GroupError::IllegalGeneration,
            other => other,
        })?
    }

    /// The committed offsets of some partitions, in the order asked for: per topic, per partition,
    /// `Nothing` where there is none, no such group, or no such topic any more. With
    /// `require_stable`, `Unstable` where a transaction is about to commit one.
    ///
    /// # Errors
    /// `ShuttingDown`.
    pub fn fetch_some(
        &self,
        group: &GroupId,
        wanted: &[(&str, &[i32])],
        require_stable: bool,
    ) -> Result<Vec<Vec<FetchedOffset>>, GroupError> {
        let fetch = |_: &Arc<Cell>, state: &mut CellState| {
            let topics = wanted.iter().map(|(topic, partitions)| {
                let offset = |partition: &i32| state.fetch(topic, *partition, require_stable);
                partitions.iter().map(offset).collect()
            });
            topics.collect()
        };
        let mut fetched: Vec<Vec<FetchedOffset>> = match self.inner.with(group, fetch) {
            Ok(fetched) => fetched,
            Err(GroupError::GroupNotFound) => wanted
                .iter()
                .map(|(_, partitions)| vec![FetchedOffset::Nothing; partitions.len()])
                .collect(),
            Err(error) => return Err(error),
        };
        for ((topic, _), offsets) in wanted.iter().zip(&mut fetched) {
            let id = self.inner.topics.topic_id(topic);
            for offset in offsets {
                if is_of_another(offset, id) {
                    *offset = FetchedOffset::Nothing;
                }
            }
        }
        Ok(fetched)
    }

    /// Whether a member may see the group's offsets; anybody may who names no member.
    ///
    /// # Errors
    /// `UnknownMember`, `StaleMemberEpoch`, `IllegalGeneration`, `ShuttingDown`.
    pub fn fence_fetch(
        &self,
        group: &GroupId,
        member: Option<&MemberId>,
        epoch: i32,
    ) -> Result<(), GroupError> {
        let fence = |_: &Arc<Cell>, state: &mut CellState| state.kind.fence_fetch(member, epoch);
        match self.inner.with(group, fence) {
            Err(GroupError::GroupNotFound) => Ok(()),
            other => other?,
        }
    }

    /// The partitions with committed offsets, by topic; none if there is no such group. Some may be of
    /// topics that are gone: [`Self::fetch_some`] tells.
    ///
    /// # Errors
    /// `ShuttingDown`.
    pub fn committed(&self, group: &GroupId) -> Result<Vec<(TopicName, Vec<i32>)>, GroupError> {
        let list = |_: &Arc<Cell>, state: &mut CellState| {
            let topics = state.offsets.topics();
            let numbers = topics.map(|(topic, partitions)| {
                let numbers = partitions.keys().copied().collect();
                (topic.clone(), numbers)
            });
            numbers.collect()
        };
        match self.inner.with(group, list) {
            Err(GroupError::GroupNotFound) => Ok(Vec::new()),
            other => other,
        }
    }
}

impl CellState {
    fn fetch(&self, topic: &str, partition: i32, require_stable: bool) -> FetchedOffset {
        if require_stable && self.pending.contains(topic, partition) {
            return FetchedOffset::Unstable;
        }
        let committed = self.offsets.get(topic, partition).cloned();
        committed.map_or(FetchedOffset::Nothing, FetchedOffset::Committed)
    }
}

/// Whether it was committed for a topic that is not the one with that id.
fn is_of_another(offset: &FetchedOffset, topic_id: Option<TopicId>) -> bool {
    let is_of = |offset: &CommittedOffset| topic_id.is_some_and(|id| offset.is_of(id));
    offset.committed().is_some_and(|offset| !is_of(offset))
}

fn begin_commit_to(
    inner: &Inner,
    cell: &Arc<Cell>,
    state: &mut CellState,
    request: CommitRequest,
    outcome: oneshot::Sender<Result<(), GroupError>>,
) -> Result<(Vec<Result<(), GroupError>>, bool), GroupError> {
    let now = inner.clock.now();
    state.kind.fence_commit(&request.fence, now)?;
    state.kind.fence_partitions(&request)?;
    state.queue_wakeup(inner, cell);
    let growth = |topic: &str, at, offset: &_| state.offsets.growth_bytes(topic, at, offset);
    let Accepted { results, offsets } = accept(inner, request, growth);
    let waits = !offsets.is_empty();
    if waits {
        let batch = to_batch(&cell.id, &offsets);
        let then = Then::Committed(cell.clone(), offsets, outcome);
        state
            .submit(inner, batch, then)
            .map_err(|_| GroupError::NotStored)?;
    }
    Ok((results, waits))
}

/// The change that stores a group's offsets.
pub(super) fn to_batch(group: &GroupId, offsets: &[(TopicName, i32, CommittedOffset)]) -> Entry {
    let mut batch = Entry::new();
    for (topic, partition, offset) in offsets {
        let key = GroupOffsetKey {
            group: group.clone(),
            topic: topic.clone(),
            partition: *partition,
        };
        batch.put::<GroupOffsets>(&key, offset);
    }
    batch
}

/// Offsets that a group takes of a request.
pub(super) struct Accepted {
    /// One for each offset of the request, in order.
    pub results: Vec<Result<(), GroupError>>,
    /// Those without an error.
    pub offsets: Vec<(TopicName, i32, CommittedOffset)>,
}

/// Takes what is not too long or too much. `growth_bytes` says by how much an offset lets the group
/// grow where it is going to stay.
pub(super) fn accept(
    inner: &Inner,
    request: CommitRequest,
    growth_bytes: impl Fn(&str, i32, &CommittedOffset) -> usize,
) -> Accepted {
    let now_ms = inner.clock.now().wall_ms;
    let expire_ms = request
        .retention_ms
        .map(|retention_ms| now_ms.saturating_add(retention_ms));
    let mut accepted = Accepted {
        results: Vec::with_capacity(request.offsets.len()),
        offsets: Vec::with_capacity(request.offsets.len()),
    };
    let mut taken_bytes = 0;
    for new in request.offsets {
        if is_too_long(&new.metadata, inner.config.offset_metadata_max_bytes) {
            accepted.results.push(Err(GroupError::MetadataTooLarge));
            continue;
        }
        let offset = CommittedOffset {
            offset: new.offset,
            leader_epoch: new.leader_epoch,
            metadata: new.metadata,
            commit_ms: now_ms,
            expire_ms,
            topic_id: new.topic_id,
        };
        let more_bytes = growth_bytes(new.topic.as_str(), new.partition, &offset);
        if more_bytes > 0 && !inner.budget.has_room(taken_bytes + more_bytes) {
            accepted.results.push(Err(GroupError::CommitTooLarge));
            continue;
        }
        taken_bytes += more_bytes;
        accepted.offsets.push((new.topic, new.partition, offset));
        accepted.results.push(Ok(()));
    }
    accepted
}

/// Kafka counts the length of a Java string: UTF-16 units.
fn is_too_long(metadata: &str, max: i32) -> bool {
    let max = usize::try_from(max).unwrap_or(0);
    metadata.len() > max && metadata.encode_utf16().count() > max
}
