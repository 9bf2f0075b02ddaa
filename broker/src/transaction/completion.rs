//! Completes a prepared transaction (`TransactionMarkerChannelManager`): markers to all of its
//! partitions, their flush, then the completion and the groups' offsets in one write.
//!
//! A prepared transaction has one driver, which knows which transaction it drives: a late one must
//! not mistake the next transaction of the same id for its own, and end it before its markers are
//! written.
//!
//! Every step may be repeated after a crash: the transaction is still prepared on disk, and an
//! existing marker may be written once more. A partition that no longer exists, or that clients can
//! no longer write, needs no marker; one whose disk failed is retried until the broker is started
//! with a healthy disk.

use std::collections::BTreeSet;
use std::sync::Arc;

use carrick_protocol::batch::ControlKind;
use carrick_protocol::ids::TopicPartition;

use super::content::{LockedTransaction, TransactionContent};
use super::error::TxnError;
use super::limits::{COORDINATOR_EPOCH, MARKER_RETRY};
use super::metadata::{Metadata, Outcome, Producer, Version};
use crate::clock;
use crate::coordination::{Answer, Cell, answer};
use crate::journal::Entry;
use crate::partition::{Marker, PartitionError, Pending};
use crate::records::transaction::Transactions;

impl LockedTransaction<'_> {
    /// Stores a decided end. When it is durable the markers follow, and `asker` gets `reply`.
    ///
    /// # Errors
    /// `NotStored`: nothing happens.
    pub(super) fn prepare(
        &mut self,
        next: Metadata,
        reply: Result<Producer, TxnError>,
        asker: Answer<Result<Producer, TxnError>>,
    ) -> Result<(), TxnError> {
        let prepared = next.clone();
        self.change(next, move |transaction, result| {
            match result {
                Ok(()) => complete(transaction.cell(), prepared),
                // Nothing waits for an end that does not come.
                Err(_) => transaction.waiting.clear(),
            }
            transaction.give(asker, result.and(reply));
        })
    }
}

/// Drives a prepared transaction to its end, in the background. To be called once for each.
pub(super) fn complete(cell: &Arc<Cell<TransactionContent>>, prepared: Metadata) {
    let (services, weak) = (cell.services(), Arc::downgrade(cell));
    let mut completions = services.completions.lock();
    while completions.try_join_next().is_some() {}
    let driven = async move {
        let mut missing = prepared.partitions.clone();
        loop {
            let Some(cell) = weak.upgrade() else { return };
            if write_markers(&cell, &prepared, &mut missing).await
                && write_completion(&cell, &prepared).await
            {
                return;
            }
            drop(cell);
            tokio::time::sleep(MARKER_RETRY).await;
        }
    };
    completions.spawn_on(driven, &services.runtime);
}

/// Writes the markers that are missing; true when none is.
async fn write_markers(
    cell: &Cell<TransactionContent>,
    prepared: &Metadata,
    missing: &mut BTreeSet<TopicPartition>,
) -> bool {
    let Some(marker) = marker(prepared) else {
        return true;
    };
    let hosted = &cell.services().hosted;
    let mut written: Vec<(TopicPartition, Pending)> = Vec::new();
    missing.retain(|id| {
        let Some(partition) = hosted.named(id.topic.as_ref(), id.partition) else {
            return false;
        };
        match partition.append_marker(&marker, clock::now_ms()) {
            Ok(pending) => {
                written.push((id.clone(), pending));
                false
            }
            Err(error) => is_retriable(cell, id, &error),
        }
    });
    for (id, pending) in written {
        if let Err(error) = pending.durable().await
            && is_retriable(cell, &id, &error)
        {
            missing.insert(id);
        }
    }
    missing.is_empty()
}

/// Stores that the transaction has ended, with the effects on groups; true when that is durable, or
/// when there is another transaction by now.
pub(super) async fn write_completion(
    cell: &Arc<Cell<TransactionContent>>,
    prepared: &Metadata,
) -> bool {
    let (told, stored) = answer();
    {
        let Some(mut transaction) = cell.lock() else {
            return true;
        };
        if transaction.machine.metadata() != prepared {
            return true;
        }
        let Some(next) = transaction.machine.plan_complete(clock::now_ms()) else {
            return true;
        };
        let mut batch = Entry::new();
        batch.put::<Transactions>(cell.id(), &next);
        let ended = Arc::clone(cell);
        let commits = prepared.outcome() == Some(Outcome::Commit);
        let begun = cell.services().groups.complete_transaction(
            &prepared.groups,
            prepared.producer_id,
            commits,
            batch,
            move |result| {
                if result.is_ok() {
                    count(commits);
                }
                // It cannot have been forgotten: a change of it was under way.
                if let Some(mut transaction) = ended.lock() {
                    transaction.completed(result.is_ok());
                }
                told.give(result.is_ok());
            },
        );
        if begun.is_err() {
            return false;
        }
        transaction.machine.begin(next);
    }
    stored.received().await.unwrap_or(false)
}

/// Counts a transaction that has ended.
fn count(commits: bool) {
    let outcome = if commits { "commit" } else { "abort" };
    metrics::counter!("carrick_transactions_total", "outcome" => outcome).increment(1);
}

/// The marker that ends a prepared transaction.
fn marker(metadata: &Metadata) -> Option<Marker> {
    Some(Marker {
        producer_id: metadata.producer_id,
        producer_epoch: metadata.epoch,
        kind: match metadata.outcome()? {
            Outcome::Commit => ControlKind::Commit,
            Outcome::Abort => ControlKind::Abort,
        },
        coordinator_epoch: COORDINATOR_EPOCH,
        raised: metadata.version == Version::V2,
    })
}

/// Whether the marker is still to be written to that partition.
fn is_retriable(
    cell: &Cell<TransactionContent>,
    partition: &TopicPartition,
    error: &PartitionError,
) -> bool {
    let id = cell.id().as_str();
    match error {
        // Closed is also what a broker that stops says: next time the catalog knows better.
        PartitionError::Faulted | PartitionError::Log(_) | PartitionError::Closed => {
            tracing::warn!(transactional_id = id, %partition, %error, "marker not written yet");
            true
        }
        // Deleted, and created again as a mirror.
        PartitionError::ReadOnlyMirror { .. } => false,
        _ => {
            tracing::warn!(transactional_id = id, %partition, %error, "marker left out");
            false
        }
    }
}
