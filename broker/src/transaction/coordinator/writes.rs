//! Writes in transactions: partitions and groups are added or verified, and the write itself is
//! made under the transaction's lock.

use std::future::Future;
use std::sync::Arc;

use carrick_protocol::ids::{GroupId, TopicPartition};

use super::{Coordinator, check_id};
use crate::clock;
use crate::coordination::{Awaited, Cell, answer};
use crate::group::{CommitRequest, TakenCommit};
use crate::journal::Entry;
use crate::transaction::content::{LockedTransaction, TransactionContent};
use crate::transaction::error::{OffsetsError, TxnError};
use crate::transaction::limits::MAX_GROUPS_PER_TRANSACTION;
use crate::transaction::machine::Added;
use crate::transaction::metadata::{Producer, Version};

/// An addition that has taken effect and is perhaps not durable yet: nothing that depends on it is
/// answered before it is.
#[derive(Debug, Default)]
pub struct Addition(Option<Awaited<Result<(), TxnError>>>);

/// What may be written in a transaction.
pub struct Admitted {
    cell: Option<Arc<Cell<TransactionContent>>>,
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

    /// Waits until the addition is durable; returns immediately if there is none.
    ///
    /// # Errors
    /// `NotStored`, `ShuttingDown`.
    pub async fn durable(self) -> Result<(), TxnError> {
        match self.0 {
            Some(stored) => stored.result().await,
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
        let add = |transaction: &mut LockedTransaction<'_>| {
            transaction.add(producer, partitions, groups, version)
        };
        let added = check_id(id).and_then(|()| self.ids.with(id, add));
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
            self.ids.with(id, |transaction| {
                Ok(transaction.verify(producer, partitions))
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
    ) -> Result<TakenCommit, OffsetsError> {
        check_id(id)?;
        self.ids.with(id, |transaction| {
            transaction.commit_offsets(producer, version, group, request)
        })
    }

    /// Which of these partitions the producer may write to in its transaction: of [`Version::V1`] those
    /// that were added, of [`Version::V2`] all, which are added with it. [`Admitted::write`] writes.
    ///
    /// If a crash undoes an addition, the next start repeats it (`load`): so the records need not
    /// wait for it.
    pub fn admit(
        &self,
        id: &str,
        producer: Producer,
        partitions: &[TopicPartition],
        version: Version,
    ) -> Admitted {
        let admit = |transaction: &mut LockedTransaction<'_>| {
            let (verdicts, addition) = match version {
                Version::V1 => (
                    transaction.verify(producer, partitions),
                    Addition::default(),
                ),
                Version::V2 => {
                    let addition = transaction.add(producer, partitions, &[], version)?;
                    (vec![Ok(()); partitions.len()], addition)
                }
            };
            Ok(Admitted {
                cell: Some(Arc::clone(transaction.cell())),
                producer,
                verdicts,
                addition,
            })
        };
        let admitted = check_id(id).and_then(|()| self.ids.with(id, admit));
        admitted.unwrap_or_else(|error| Admitted {
            cell: None,
            producer,
            verdicts: vec![Err(error); partitions.len()],
            addition: Addition::default(),
        })
    }
}

impl Admitted {
    /// Calls `write` with the verdict on the partition requested at place `at`. `write` must not write if
    /// that is an error.
    ///
    /// The transaction does not end before `write` has returned, so its markers come after everything
    /// that was written. The journal's thread may wait for that meanwhile, so do slow work before this
    /// call.
    pub fn write<R>(
        &self,
        at: usize,
        partition: &TopicPartition,
        write: impl FnOnce(Result<(), TxnError>) -> R,
    ) -> R {
        let verdict = self.verdicts.get(at).copied();
        match (&self.cell, verdict) {
            // It may have ended since.
            (Some(cell), Some(Ok(()))) => match cell.lock() {
                Some(transaction) => {
                    let machine = &transaction.machine;
                    write(machine.verify_partition(self.producer, partition))
                }
                None => write(Err(TxnError::NotMapped)),
            },
            (_, Some(Err(error))) => write(Err(error)),
            (_, _) => write(Err(TxnError::NotInTransaction)),
        }
    }
}

impl LockedTransaction<'_> {
    fn verify(
        &self,
        producer: Producer,
        partitions: &[TopicPartition],
    ) -> Vec<Result<(), TxnError>> {
        let verify = |partition| self.machine.verify_partition(producer, partition);
        partitions.iter().map(verify).collect()
    }

    fn add(
        &mut self,
        producer: Producer,
        partitions: &[TopicPartition],
        groups: &[GroupId],
        version: Version,
    ) -> Result<Addition, TxnError> {
        let next = self.plan_add(producer, partitions, groups, version)?;
        if next.is_none() && self.changes_in_flight() == 0 {
            return Ok(Addition::default());
        }
        let (answer, stored) = answer();
        self.extend(next, answer)?;
        Ok(Addition(Some(stored)))
    }

    fn commit_offsets(
        &mut self,
        producer: Producer,
        version: Version,
        group: &GroupId,
        request: CommitRequest,
    ) -> Result<TakenCommit, OffsetsError> {
        let groups = std::slice::from_ref(group);
        if version == Version::V1 {
            self.machine.verify_group(producer, group)?;
        }
        let next = self.plan_add(producer, &[], groups, version)?;
        let mut batch = Entry::new();
        if let Some(next) = &next {
            self.record(self.id(), next, &mut batch);
        }
        let (cell, is_recorded) = (Arc::clone(self.cell()), next.is_some());
        let failed = move || {
            if is_recorded && let Some(mut transaction) = cell.lock() {
                transaction.is_incomplete = true;
            }
        };
        let coordinator = &self.services().groups;
        let taken = coordinator.begin_pending_commit(group, producer.id, request, batch, failed)?;
        if let (Some(next), true) = (next, taken.stored.is_some()) {
            self.advance(next);
        }
        Ok(taken)
    }

    /// What is to be stored so that these are in the transaction; `None` if all of it is stored.
    fn plan_add(
        &self,
        producer: Producer,
        partitions: &[TopicPartition],
        groups: &[GroupId],
        version: Version,
    ) -> Result<Option<Added>, TxnError> {
        let now_ms = clock::now_ms();
        let machine = &self.machine;
        let added = machine.plan_add(producer, partitions, groups, version, now_ms)?;
        match added {
            Some(added) => self.check_room(&added).map(|()| Some(added)),
            // They are only in memory: an addition failed.
            None if self.is_incomplete => Ok(Some(Added::nothing(version, now_ms))),
            None => Ok(None),
        }
    }

    /// Whether there is room for what is added.
    fn check_room(&self, added: &Added) -> Result<(), TxnError> {
        let groups = self.machine.metadata().groups.len() + added.groups.len();
        let has_room = self.services().budget.has_room(added.held_bytes());
        if groups > MAX_GROUPS_PER_TRANSACTION || !has_room {
            return Err(TxnError::TooMany);
        }
        Ok(())
    }
}
