//! Drives a prepared transaction to its end (`TransactionMarkerChannelManager`): markers to all of
//! its partitions, their flush, then the completion and the groups' offsets in one write.
//!
//! A prepared transaction has one driver, which knows which transaction it drives: one that is late
//! must not take the next transaction of the same id for its own, and end it before its markers are
//! written.
//!
//! Every step may be done again after a crash: the transaction is still prepared on disk, and a
//! marker that is there already may be written once more. A partition that is gone or no longer
//! written by clients needs no marker; one whose disk failed is tried again and again, until the
//! broker is started with a disk that is well.

use std::collections::BTreeSet;
use std::sync::Arc;

use carrick_protocol::batch::ControlKind;
use carrick_protocol::ids::TopicPartition;
use tokio::sync::oneshot;

use super::cell::Cell;
use super::coordinator::Inner;
use super::limits::{COORDINATOR_EPOCH, MARKER_RETRY};
use super::metadata::{Metadata, Outcome, Version};
use crate::clock;
use crate::journal::Entry;
use crate::partition::{Marker, PartitionError, Pending};
use crate::records::transaction::Transactions;

impl Inner {
    /// Lets a prepared transaction come to its end, in the background. To be called once for each.
    pub(super) fn complete(self: &Arc<Self>, cell: &Arc<Cell>, prepared: Metadata) {
        let (weak, cell) = (Arc::downgrade(self), Arc::clone(cell));
        let mut completions = self.completions.lock();
        while completions.try_join_next().is_some() {}
        let driven = async move {
            let mut missing = prepared.partitions.clone();
            loop {
                let Some(inner) = weak.upgrade() else { return };
                if inner.write_markers(&cell, &prepared, &mut missing).await
                    && inner.write_completion(&cell, &prepared).await
                {
                    return;
                }
                drop(inner);
                tokio::time::sleep(MARKER_RETRY).await;
            }
        };
        completions.spawn_on(driven, &self.runtime);
    }

    /// Writes the markers that are missing; true when none is.
    async fn write_markers(
        &self,
        cell: &Cell,
        prepared: &Metadata,
        missing: &mut BTreeSet<TopicPartition>,
    ) -> bool {
        let Some(marker) = marker(prepared) else {
            return true;
        };
        let mut written: Vec<(TopicPartition, Pending)> = Vec::new();
        missing.retain(|id| {
            let partition = self.catalog.partition(id.topic.as_ref(), id.partition);
            let Some(partition) = partition else {
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

    /// Stores that the transaction has ended, with what it means for groups; true when that is
    /// durable, or another transaction is there by now.
    pub(super) async fn write_completion(&self, cell: &Arc<Cell>, prepared: &Metadata) -> bool {
        let (told, stored) = oneshot::channel();
        {
            let mut state = cell.state.lock();
            if state.machine.metadata() != prepared {
                return true;
            }
            let Some(next) = state.machine.plan_complete(clock::now_ms()) else {
                return true;
            };
            let mut batch = Entry::new();
            batch.put::<Transactions>(&cell.id, &next);
            let (ended, me) = (Arc::clone(cell), self.me.clone());
            let commits = prepared.outcome() == Some(Outcome::Commit);
            let begun = self.groups.complete_transaction(
                &prepared.groups,
                prepared.producer_id,
                commits,
                batch,
                move |result| {
                    if result.is_ok() {
                        count(commits);
                    }
                    let mut state = ended.state.lock();
                    state.completed(result.is_ok());
                    if let Some(inner) = me.upgrade() {
                        state.settle(&inner, &ended);
                    }
                    drop(state);
                    let _ = told.send(result.is_ok());
                },
            );
            if begun.is_err() {
                return false;
            }
            state.machine.begin(next);
        }
        stored.await.unwrap_or(false)
    }
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
fn is_retriable(cell: &Cell, partition: &TopicPartition, error: &PartitionError) -> bool {
    let id = cell.id.as_str();
    match error {
        // Closed is also what a broker that stops says: next time the catalog knows better.
        PartitionError::Faulted | PartitionError::Log(_) | PartitionError::Closed => {
            tracing::warn!(transactional_id = id, %partition, %error, "marker not written yet");
            true
        }
        // Deleted, and made anew as a mirror.
        PartitionError::ReadOnlyMirror { .. } => false,
        _ => {
            tracing::warn!(transactional_id = id, %partition, %error, "marker left out");
            false
        }
    }
}
