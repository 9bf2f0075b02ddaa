//! What is written in transactions: partitions and groups are added or verified, and the write
//! itself is made under the transaction's lock.

use std::future::Future;
use std::sync::Arc;

use carrick_protocol::ids::{GroupId, TopicPartition};
use tokio::sync::oneshot;

use super::{Coordinator, check_id};
use crate::clock;
use crate::group::coordinator::{CommitRequest, PendingCommit};
use crate::journal::Entry;
use crate::transaction::cell::{Cell, CellState};
use crate::transaction::coordinator::Inner;
use crate::transaction::error::{OffsetsError, TxnError};
use crate::transaction::limits::MAX_GROUPS_PER_TRANSACTION;
use crate::transaction::machine::Added;
use crate::transaction::metadata::{Producer, Version};

/// An addition that is in force and perhaps not yet durable: nothing that depends on it is answered
/// before it is.
#[derive(Debug, Default)]
pub struct Addition(Option<oneshot::Receiver<Result<(), TxnError>>>);

/// What may be written in a transaction.
pub struct Admitted {
    cell: Option<Arc<Cell>>,
    producer: Producer,
    /// One for each requested partition, in order.
    verdicts: Vec<Result<(), TxnError>>,
    /// To be waited for before the writes are answered.
    pub addition: Addition,
}

impl Addition {
    /// Whether there is nothing to wait for.
    pub fn is_none(&self) -> bool {
        self.0.is_none()
    }

    /// Waits until the addition is durable; at once if there is none.
    ///
    /// # Errors
    /// `NotStored`, `ShuttingDown`.
    pub async fn durable(self) -> Result<(), TxnError> {
        match self.0 {
            Some(stored) => stored.await.unwrap_or(Err(TxnError::ShuttingDown)),
            None => Ok(()),
        }
    }
}

impl Coordinator {
    /// Adds partitions and groups to the producer's transaction, which begins with the first;
    /// answered when that is durable.
    pub fn add(
        &self,
        id: &str,
        producer: Producer,
        partitions: &[TopicPartition],
        groups: &[GroupId],
        version: Version,
    ) -> impl Future<Output = Result<(), TxnError>> + Send + 'static + use<> {
        let inner = &self.inner;
        let added = check_id(id).and_then(|()| {
            inner.with(id, |cell, state| {
                inner.add(cell, state, producer, partitions, groups, version)
            })?
        });
        async move { added?.durable().await }
    }

    /// Which of the partitions are in the producer's transaction. One result for each, in order.
    pub fn verify(
        &self,
        id: &str,
        producer: Producer,
        partitions: &[TopicPartition],
    ) -> Vec<Result<(), TxnError>> {
        let verified = check_id(id).and_then(|()| {
            self.inner.with(id, |_, state| {
                let verify = |partition| state.machine.verify_partition(producer, partition);
                partitions.iter().map(verify).collect()
            })
        });
        verified.unwrap_or_else(|error| vec![Err(error); partitions.len()])
    }

    /// Takes offsets of a group into the producer's transaction: of [`Version::V1`] if the group was
    /// added, of [`Version::V2`] the group is added with it. Nothing of it is seen before the
    /// transaction is committed.
    ///
    /// # Errors
    /// As a whole, by the coordinator or by the group.
    pub fn commit_offsets(
        &self,
        id: &str,
        producer: Producer,
        version: Version,
        group: &GroupId,
        request: CommitRequest,
    ) -> Result<PendingCommit, OffsetsError> {
        check_id(id)?;
        let inner = &self.inner;
        let cell = inner.find(id)?;
        let mut state = cell.state.lock();
        if state.is_dead {
            return Err(TxnError::NotMapped.into());
        }
        let groups = std::slice::from_ref(group);
        let next = match version {
            Version::V1 => {
                state.machine.verify_group(producer, group)?;
                None
            }
            Version::V2 => {
                let now_ms = clock::now_ms();
                state
                    .machine
                    .plan_add(producer, &[], groups, version, now_ms)?
            }
        };
        check_room(inner, &state, next.as_ref())?;
        let mut batch = Entry::new();
        if let Some(next) = &next {
            state.record(&cell, next, &mut batch);
        }
        let commit = inner
            .groups
            .begin_pending_commit(group, producer.id, request, batch)?;
        if let (Some(next), true) = (next, commit.stored.is_some()) {
            state.add(inner, &cell, next);
        }
        Ok(commit)
    }

    /// Which of these partitions the producer may write to in its transaction: of [`Version::V1`] those
    /// that were added, of [`Version::V2`] all, which are added with it. [`Admitted::write`] writes.
    ///
    /// An addition that a crash takes back is made good when the broker starts again (`load`): the
    /// records are not to wait for it.
    pub fn admit(
        &self,
        id: &str,
        producer: Producer,
        partitions: &[TopicPartition],
        version: Version,
    ) -> Admitted {
        let inner = &self.inner;
        let refused = |error| Admitted {
            cell: None,
            producer,
            verdicts: vec![Err(error); partitions.len()],
            addition: Addition::default(),
        };
        let cell = match check_id(id).and_then(|()| inner.find(id)) {
            Ok(cell) => cell,
            Err(error) => return refused(error),
        };
        let mut state = cell.state.lock();
        if state.is_dead {
            return refused(TxnError::NotMapped);
        }
        let (verdicts, addition) = match version {
            Version::V1 => {
                let verify = |id| state.machine.verify_partition(producer, id);
                (partitions.iter().map(verify).collect(), Addition::default())
            }
            Version::V2 => match inner.add(&cell, &mut state, producer, partitions, &[], version) {
                Ok(addition) => (vec![Ok(()); partitions.len()], addition),
                Err(error) => return refused(error),
            },
        };
        drop(state);
        Admitted {
            cell: Some(cell),
            producer,
            verdicts,
            addition,
        }
    }
}

impl Admitted {
    /// Calls `write` with the verdict on the partition requested at place `at`. `write` must not write if
    /// that is an error.
    ///
    /// The transaction does not end before `write` has returned, so its markers come after everything
    /// that was written. The store's thread may wait for that meanwhile, so do slow work before this
    /// call.
    pub fn write<R>(
        &self,
        at: usize,
        partition: &TopicPartition,
        write: impl FnOnce(Result<(), TxnError>) -> R,
    ) -> R {
        let verdict = self.verdicts.get(at).copied();
        match (&self.cell, verdict) {
            (Some(cell), Some(Ok(()))) => {
                let state = cell.state.lock();
                // It may have ended since.
                write(match state.is_dead {
                    true => Err(TxnError::NotMapped),
                    false => state.machine.verify_partition(self.producer, partition),
                })
            }
            (_, Some(Err(error))) => write(Err(error)),
            (_, _) => write(Err(TxnError::NotInTransaction)),
        }
    }
}

impl Inner {
    fn add(
        &self,
        cell: &Arc<Cell>,
        state: &mut CellState,
        producer: Producer,
        partitions: &[TopicPartition],
        groups: &[GroupId],
        version: Version,
    ) -> Result<Addition, TxnError> {
        let now_ms = clock::now_ms();
        let next = state
            .machine
            .plan_add(producer, partitions, groups, version, now_ms)?;
        check_room(self, state, next.as_ref())?;
        if next.is_none() && state.additions_in_flight == 0 {
            return Ok(Addition::default());
        }
        let (told, stored) = oneshot::channel();
        state.extend(self, cell, next, told)?;
        Ok(Addition(Some(stored)))
    }
}

/// Whether there is room for what is added.
fn check_room(inner: &Inner, state: &CellState, added: Option<&Added>) -> Result<(), TxnError> {
    let Some(added) = added else {
        return Ok(());
    };
    let groups = state.machine.metadata().groups.len() + added.groups.len();
    if groups > MAX_GROUPS_PER_TRANSACTION || !inner.budget.has_room(added.held_bytes()) {
        return Err(TxnError::TooMany);
    }
    Ok(())
}
