//! Offsets that transactions commit: TxnOffsetCommit, and the effect of the end of a transaction
//! (`OffsetMetadataManager`: pending transactional offsets).
//!
//! They are stored immediately, separately from the group's offsets, and become those with the
//! write that completes the transaction. The transaction coordinator calls this under a
//! transaction's lock.

use std::collections::BTreeSet;

use carrick_protocol::ids::{GroupId, ProducerId};

use super::{Coordinator, check_id, with_new};
use crate::coordination::{Services, Several};
use crate::group::commit::{CommitRequest, TakenCommit};
use crate::group::content::LockedGroup;
use crate::group::error::GroupError;
use crate::journal::{Entry, NotStored};

/// Offsets of a group that wait for the end of a producer's transaction.
#[derive(Debug)]
pub struct PendingCommit {
    pub group: GroupId,
    pub producer_id: ProducerId,
    /// When the last of them was sent, wall clock.
    pub newest_ms: i64,
}

impl Coordinator {
    /// Takes offsets into the producer's transaction, stored in one write with `extra`. If that
    /// write fails, `failed` runs before the answer, under no lock, on the journal's thread.
    ///
    /// # Errors
    /// As a whole: `InvalidGroupId`, `UnknownMember`, `IllegalGeneration`, `NotStored`, …
    pub fn begin_pending_commit(
        &self,
        group: &GroupId,
        producer_id: ProducerId,
        request: CommitRequest,
        extra: Entry,
        failed: impl FnOnce() + Send + 'static,
    ) -> Result<TakenCommit, GroupError> {
        check_id(group)?;
        let has_generation = request.fence.generation >= 0;
        let knows_all = request.knows_group_not_found;
        let commit =
            |group: &mut LockedGroup<'_>| group.commit_pending(producer_id, request, extra, failed);
        let taken = match has_generation {
            true => self.groups.with(group, commit),
            false => with_new(&self.groups, group, commit),
        };
        taken.map_err(|error| match knows_all {
            true => error,
            false => known_to_producers(error),
        })
    }

    /// What waits for the end of a transaction, by group and producer.
    pub fn pending_commits(&self) -> Vec<PendingCommit> {
        let mut all = Vec::new();
        for cell in self.groups.cells() {
            let Some(group) = cell.lock() else { continue };
            let pending = group.pending.newest_ms();
            all.extend(pending.map(|(producer_id, newest_ms)| PendingCommit {
                group: cell.id().clone(),
                producer_id,
                newest_ms,
            }));
        }
        all
    }

    /// Ends what the producer's transaction was about to commit for these groups, in one write with
    /// `extra`. Then `then` runs, on the journal's thread.
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
        let cells = self.groups.find_all(groups);
        // The only place where more than one group is locked.
        let locked = Several::lock(&cells);
        // The groups that a stop has ended are dead, and what waits in them must not be lost: the
        // next start finds all of it again.
        self.groups.check_open().map_err(|_| NotStored)?;
        let room = self.services().journal().room().ok_or(NotStored)?;
        let mut batch = extra;
        let plan = |group: &LockedGroup<'_>| group.plan_end(producer_id, is_committed, &mut batch);
        let moved = locked.iter().map(plan).collect();
        let end = move |group: &mut LockedGroup<'_>, moved, result: Result<(), NotStored>| {
            if result.is_ok() {
                group.end(producer_id, moved);
            }
        };
        locked.submit(room, batch, moved, end, then);
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
