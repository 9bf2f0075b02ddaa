//! What is left of an earlier life of the broker.
//!
//! A record may have reached its partition while the addition of that partition to the transaction
//! did not reach RocksDB: nobody was told that it was written. Such a transaction must not stay
//! open for ever. If its producer may still go on, the addition is made good, as if it had been
//! durable: the producer finds its record there when it sends it again, or the transaction's time
//! runs out. Else it is aborted on that partition.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use carrick_protocol::batch::ControlKind;
use carrick_protocol::ids::{ProducerId, TransactionalId};
use carrick_storage::log::OpenTransaction;

use super::cell::Cell;
use super::coordinator::Inner;
use super::limits::COORDINATOR_EPOCH;
use super::metadata::{Producer, State, Version};
use crate::clock;
use crate::journal::{Entry, JournalError, Table};
use crate::partition::{Marker, Mode, Partition};
use crate::records::transaction::Transactions;
use crate::records::transaction_part::{Part, TransactionParts};

/// Reads all transactional ids and makes them agree with what is open in the partitions.
pub(super) fn load(inner: &Inner) -> Result<BTreeMap<TransactionalId, Arc<Cell>>, JournalError> {
    let mut ids = BTreeMap::new();
    let mut owners = HashMap::new();
    let (mut stored, mut added) = (
        Table::<Transactions>::default(),
        Table::<TransactionParts>::default(),
    );
    inner.journal.replay(&mut [&mut stored, &mut added])?;
    let mut parts = parts(added)?;
    for (id, mut metadata) in stored.into_records()? {
        let producer_id = metadata.producer_id;
        let found = parts.remove(&id).unwrap_or_default();
        let count = found.last().map_or(0, |(number, _)| number + 1);
        for (_, part) in found {
            // Else it was left by a write that did not end the transaction.
            if metadata.state == State::Ongoing && part.producer == metadata.producer() {
                part.added.apply(&mut metadata);
            }
        }
        let cell = Cell::new(id.clone(), metadata);
        cell.state.lock().parts = count;
        owners.insert(producer_id, Arc::clone(&cell));
        ids.insert(id, cell);
    }
    let mut adopted = Entry::new();
    for topic in inner.catalog.list() {
        for partition in topic.partitions().iter() {
            if partition.mode() == Mode::Writable {
                reconcile(partition, &owners, &mut adopted);
            }
        }
    }
    if !adopted.is_empty() {
        inner.journal.append_now(adopted)?;
    }
    tracing::info!(transactional_ids = ids.len(), "transactions loaded");
    Ok(ids)
}

/// What was added to the transaction of each id, in order.
type Parts = HashMap<TransactionalId, Vec<(u32, Part)>>;

fn parts(added: Table<TransactionParts>) -> Result<Parts, JournalError> {
    let mut parts = Parts::new();
    for (key, part) in added.into_records()? {
        parts.entry(key.id).or_default().push((key.number, part));
    }
    Ok(parts)
}

fn reconcile(
    partition: &Arc<Partition>,
    owners: &HashMap<ProducerId, Arc<Cell>>,
    adopted: &mut Entry,
) {
    let open = partition.with_log(|log| log.producers().open_transactions());
    for open in open.unwrap_or_default() {
        let owner = owners.get(&open.producer_id);
        if !owner.is_some_and(|cell| is_known(cell, partition, &open, adopted)) {
            abort(partition, &open);
        }
    }
}

/// Whether the coordinator knows of that transaction, or does from now on.
fn is_known(
    cell: &Arc<Cell>,
    partition: &Partition,
    open: &OpenTransaction,
    adopted: &mut Entry,
) -> bool {
    let mut state = cell.state.lock();
    let metadata = state.machine.metadata();
    if metadata.partitions.contains(partition.id()) {
        return true;
    }
    let producer = Producer {
        id: open.producer_id,
        epoch: open.producer_epoch,
    };
    let partitions = [partition.id().clone()];
    let now_ms = clock::now_ms();
    let added = state
        .machine
        .plan_add(producer, &partitions, &[], Version::V2, now_ms);
    let Ok(Some(next)) = added else {
        return false;
    };
    let (id, partition) = (cell.id.as_str(), partition.id());
    tracing::info!(id, %partition, "partition added to the transaction again");
    adopted.put::<Transactions>(&cell.id, &state.machine.with(&next));
    state.machine.advance(next);
    true
}

fn abort(partition: &Arc<Partition>, open: &OpenTransaction) {
    let marker = Marker {
        producer_id: open.producer_id,
        producer_epoch: open.producer_epoch.saturating_add(1),
        kind: ControlKind::Abort,
        coordinator_epoch: open.coordinator_epoch.max(COORDINATOR_EPOCH),
        raised: true,
    };
    let (producer_id, first_offset) = (open.producer_id.0, open.first_offset.0);
    let partition_id = partition.id();
    match partition.append_marker(&marker, clock::now_ms()) {
        Ok(_) => tracing::warn!(
            partition = %partition_id, producer_id, first_offset,
            "aborted a transaction that nobody could end any more"
        ),
        Err(error) => tracing::error!(
            partition = %partition_id, producer_id, first_offset, %error,
            "a transaction that nobody can end stays open"
        ),
    }
}
