//! Offsets that are committed by transactions: TxnOffsetCommit, and what the end of a transaction
//! means (`OffsetMetadataManager`: pending transactional offsets).
//!
//! They are stored at once, apart from the group's offsets, and become those with the write that
//! completes the transaction. The transaction coordinator calls from under a transaction's lock.

use std::collections::BTreeSet;
use std::sync::Arc;

use carrick_protocol::ids::{GroupId, ProducerId, TopicName};
use parking_lot::MutexGuard;
use tokio::sync::oneshot;

use super::offsets::{Accepted, accept};
use super::{CommitRequest, Coordinator, check_id};
use crate::group::cell::{Cell, CellState, Then};
use crate::group::error::GroupError;
use crate::group::offsets::CommittedOffset;
use crate::journal::{Entry, NotStored};
use crate::records::group_offset::{GroupOffsetKey, GroupOffsets};
use crate::records::pending_offset::{PendingOffsetKey, PendingOffsets};

/// A commit in a transaction that the group has taken.
pub struct PendingCommit {
    /// One result for each offset, in order.
    pub results: Vec<Result<(), GroupError>>,
    /// They hold only when this says so; `None` if nothing was taken, and nothing stored.
    pub stored: Option<oneshot::Receiver<Result<(), GroupError>>>,
}

impl Coordinator {
    /// Takes offsets into the producer's transaction, stored in one write with `extra`.
    ///
    /// # Errors
    /// As a whole: `InvalidGroupId`, `UnknownMember`, `IllegalGeneration`, `NotStored`, …
    pub fn begin_pending_commit(
        &self,
        group: &GroupId,
        producer_id: ProducerId,
        request: CommitRequest,
        extra: Entry,
    ) -> Result<PendingCommit, GroupError> {
        check_id(group)?;
        let has_generation = request.fence.generation >= 0;
        let commit = |cell: &Arc<Cell>, state: &mut CellState| {
            state.kind.fence_transactional_commit(&request.fence)?;
            state.kind.fence_partitions(&request)?;
            let pending = &state.pending;
            let growth =
                |topic: &str, at, offset: &_| pending.growth_bytes(producer_id, topic, at, offset);
            let Accepted { results, offsets } = accept(&self.inner, request, growth);
            if offsets.is_empty() {
                let stored = None;
                return Ok(PendingCommit { results, stored });
            }
            let mut batch = extra;
            for (topic, partition, offset) in &offsets {
                let key = pending_key(&cell.id, producer_id, topic, *partition);
                batch.put::<PendingOffsets>(&key, offset);
            }
            let (outcome, stored) = oneshot::channel();
            let then = Then::Pending(cell.clone(), producer_id, offsets, outcome);
            state
                .submit(&self.inner, batch, then)
                .map_err(|_| GroupError::NotStored)?;
            let stored = Some(stored);
            Ok(PendingCommit { results, stored })
        };
        let committed = if has_generation {
            self.inner.with(group, commit)
        } else {
            self.inner.with_new(group, commit)
        };
        committed
            .and_then(|taken| taken)
            .map_err(known_to_producers)
    }

    /// Ends what the producer's transaction was about to commit for these groups, in one write with
    /// `extra`. Then `then` runs, on the store's thread.
    ///
    /// A group's own commit that is newer than the transaction's stays.
    ///
    /// # Errors
    /// Nothing happens.
    pub fn complete_transaction(
        &self,
        groups: &BTreeSet<GroupId>,
        producer_id: ProducerId,
        is_committed: bool,
        extra: Entry,
        then: impl FnOnce(Result<(), NotStored>) + Send + 'static,
    ) -> Result<(), NotStored> {
        let cells: Vec<Arc<Cell>> = {
            let index = self.inner.groups.read();
            let found = groups.iter().filter_map(|group| index.get(group).cloned());
            found.collect()
        };
        // The only place where more than one group is locked, in the order of their ids.
        let mut locked: Vec<MutexGuard<'_, CellState>> =
            cells.iter().map(|cell| cell.state.lock()).collect();
        let room = self.inner.journal.room().ok_or(NotStored)?;
        let mut batch = extra;
        let mut moved = Vec::with_capacity(cells.len());
        for (cell, state) in cells.iter().zip(&mut locked) {
            state.changes_in_flight += 1;
            moved.push(end(cell, state, producer_id, is_committed, &mut batch));
        }
        let ended: Vec<_> = cells.iter().cloned().zip(moved).collect();
        let inner = self.inner.me.clone();
        room.append(batch, move |result| {
            for (cell, offsets) in ended {
                let mut state = cell.state.lock();
                state.changes_in_flight -= 1;
                if result.is_ok() {
                    state.pending.remove_producer(producer_id);
                    for (topic, partition, offset) in offsets {
                        state.offsets.put(topic, partition, offset);
                    }
                    if let Some(inner) = inner.upgrade() {
                        state.settle(&inner, &cell);
                    }
                }
            }
            then(result);
        });
        Ok(())
    }
}

/// A refusal in words that producers know: they follow generations, whatever protocol the group
/// follows, and an error of another protocol ends them.
fn known_to_producers(error: GroupError) -> GroupError {
    match error {
        GroupError::GroupNotFound | GroupError::StaleMemberEpoch => GroupError::IllegalGeneration,
        other => other,
    }
}

/// Puts the end of one group's part into the batch; the offsets that become the group's own.
fn end(
    cell: &Cell,
    state: &CellState,
    producer_id: ProducerId,
    is_committed: bool,
    batch: &mut Entry,
) -> Vec<(TopicName, i32, CommittedOffset)> {
    let mut moved = Vec::new();
    let Some(pending) = state.pending.of(producer_id).filter(|_| !state.is_dead()) else {
        return moved;
    };
    for (topic, partition, offset) in pending.iter() {
        batch.delete::<PendingOffsets>(&pending_key(&cell.id, producer_id, topic, partition));
        let own = state.offsets.get(topic.as_str(), partition);
        let is_newer = own.is_some_and(|own| own.commit_ms > offset.commit_ms);
        if is_committed && !is_newer {
            let key = GroupOffsetKey {
                group: cell.id.clone(),
                topic: topic.clone(),
                partition,
            };
            batch.put::<GroupOffsets>(&key, offset);
            moved.push((topic.clone(), partition, offset.clone()));
        }
    }
    moved
}

fn pending_key(
    group: &GroupId,
    producer_id: ProducerId,
    topic: &TopicName,
    partition: i32,
) -> PendingOffsetKey {
    PendingOffsetKey {
        group: group.clone(),
        producer_id,
        topic: topic.clone(),
        partition,
    }
}
