//! Offsets that a link brings over from another cluster.
//!
//! Whoever has members, or a transaction that is about to commit, owns its offsets: such a group is
//! refused, under the lock under which members join and commit.

use std::sync::Arc;

use carrick_protocol::ids::Offset;
use tokio::sync::oneshot;

use super::offsets::{Accepted, accept, to_batch};
use super::{CommitRequest, Coordinator, NewOffset, check_id};
use crate::group::cell::{Cell, CellState, Then};
use crate::group::classic::CommitFence;
use crate::group::error::GroupError;
use crate::group::ids::MemberId;
use crate::topic::Topic;

/// What a group has taken.
pub struct SyncedCommit {
    /// How many offsets differ from what was there.
    pub written: usize,
    /// They hold only when this says so; `None` if nothing differs, and nothing is stored.
    pub stored: Option<oneshot::Receiver<Result<(), GroupError>>>,
}

/// What a group has committed, read under its lock.
pub struct Present<'a>(&'a CellState);

impl Present<'_> {
    /// Whether that is what the group has of a partition, and nothing is on its way that may change
    /// it.
    pub fn is(&self, topic: &Topic, partition: i32, offset: Option<Offset>) -> bool {
        let known = self.0.offsets.get(topic.name(), partition);
        let known = known.filter(|known| known.is_of(topic.id()));
        self.0.changes_in_flight == 0 && known.map(|known| known.offset) == offset
    }
}

impl Coordinator {
    /// Gives the group offsets, all or none. `offsets` is asked for them under the group's lock.
    ///
    /// # Errors
    /// `NonEmptyGroup` while it is in use; `InvalidGroupId`, `GroupFull`, `MetadataTooLarge`,
    /// `CommitTooLarge`, `NotStored`, `ShuttingDown`.
    pub fn begin_synced_commit(
        &self,
        group: &carrick_protocol::ids::GroupId,
        offsets: impl FnOnce(&Present<'_>) -> Vec<NewOffset>,
    ) -> Result<SyncedCommit, GroupError> {
        check_id(group)?;
        self.inner.with_new(group, |cell, state| {
            let is_idle = state.kind.is_empty()
                && !state.kind.has_pending_members()
                && state.pending.is_empty();
            if !is_idle {
                return Err(GroupError::NonEmptyGroup);
            }
            let mut offsets = offsets(&Present(state));
            let now_ms = self.inner.clock.now().wall_ms;
            // What would expire before long is committed anew: nobody else does, as long as the
            // group reads at the other cluster.
            let oldest_ms = now_ms.saturating_sub(self.inner.config.offsets_retention_ms / 2);
            offsets.retain(|new| !is_there(state, new, oldest_ms));
            self.take(cell, state, offsets)
        })?
    }

    fn take(
        &self,
        cell: &Arc<Cell>,
        state: &mut CellState,
        offsets: Vec<NewOffset>,
    ) -> Result<SyncedCommit, GroupError> {
        let written = offsets.len();
        if written == 0 {
            let stored = None;
            return Ok(SyncedCommit { written, stored });
        }
        let growth = |topic: &str, at, offset: &_| state.offsets.growth_bytes(topic, at, offset);
        let Accepted { results, offsets } = accept(&self.inner, unfenced(offsets), growth);
        if let Some(error) = results.into_iter().find_map(Result::err) {
            return Err(error);
        }
        let (outcome, stored) = oneshot::channel();
        let batch = to_batch(&cell.id, &offsets);
        let then = Then::Committed(Arc::clone(cell), offsets, outcome);
        state
            .submit(&self.inner, batch, then)
            .map_err(|_| GroupError::NotStored)?;
        let stored = Some(stored);
        Ok(SyncedCommit { written, stored })
    }
}

/// The commit of one who is no member.
fn unfenced(offsets: Vec<NewOffset>) -> CommitRequest {
    CommitRequest {
        fence: CommitFence {
            member_id: MemberId::default(),
            instance_id: None,
            generation: -1,
            knows_epochs: true,
        },
        retention_ms: None,
        knows_group_not_found: true,
        offsets,
    }
}

/// Whether the group has that offset already, committed after `oldest_ms`.
fn is_there(state: &CellState, new: &NewOffset, oldest_ms: i64) -> bool {
    let known = state.offsets.get(new.topic.as_str(), new.partition);
    known.is_some_and(|known| {
        known.offset == new.offset
            && known.leader_epoch == new.leader_epoch
            && known.metadata == new.metadata
            && known.topic_id == new.topic_id
            && known.expire_ms.is_none()
            && known.commit_ms > oldest_ms
    })
}
