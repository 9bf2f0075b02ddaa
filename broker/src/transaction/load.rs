//! What an earlier run of the broker left.
//!
//! A record may have reached its partition while the addition of that partition to the transaction
//! did not reach RocksDB: no client was told that it was written. Such a transaction must not stay
//! open for ever. If its producer may still continue, the addition is repeated as if it had been
//! durable: the producer finds its record when it sends it again, or the transaction times out.
//! Otherwise it is aborted on that partition.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use carrick_protocol::batch::ControlKind;
use carrick_protocol::ids::{ProducerId, TransactionalId};
use carrick_storage::log::OpenTransaction;

use super::content::TransactionContent;
use super::limits::COORDINATOR_EPOCH;
use super::metadata::{Producer, State, Version};
use crate::clock;
use crate::journal::{Entry, Journal, JournalError, Table};
use crate::partition::{Hosted, Marker, Mode, Partition};
use crate::records::transaction::Transactions;
use crate::records::transaction_part::{Part, TransactionParts};

/// Reads all transactional ids and makes them agree with what is open in the partitions.
pub(super) fn load(
    journal: &Journal,
    hosted: &Hosted,
) -> Result<BTreeMap<TransactionalId, TransactionContent>, JournalError> {
    let mut loaded = Loaded::default();
    let (mut stored, mut added) = (
        Table::<Transactions>::default(),
        Table::<TransactionParts>::default(),
    );
    journal.replay(&mut [&mut stored, &mut added])?;
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
        loaded.owners.insert(producer_id, id.clone());
        loaded
            .ids
            .insert(id, TransactionContent::new(metadata, count));
    }
    for partition in hosted.all() {
        if partition.mode() == Mode::Writable {
            loaded.reconcile(&partition);
        }
    }
    if !loaded.adopted.is_empty() {
        journal.append_now(loaded.adopted)?;
    }
    tracing::info!(transactional_ids = loaded.ids.len(), "transactions loaded");
    Ok(loaded.ids)
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

#[derive(Default)]
struct Loaded {
    ids: BTreeMap<TransactionalId, TransactionContent>,
    /// Whose each producer id is.
    owners: HashMap<ProducerId, TransactionalId>,
    /// Stores the additions that are made good.
    adopted: Entry,
}

impl Loaded {
    fn reconcile(&mut self, partition: &Arc<Partition>) {
        let open = partition.with_log(|log| log.producers().open_transactions());
        for open in open.unwrap_or_default() {
            if !self.is_known(partition, &open) {
                abort(partition, &open);
            }
        }
    }

    /// Whether the coordinator knows of that transaction, or does from now on.
    fn is_known(&mut self, partition: &Partition, open: &OpenTransaction) -> bool {
        let owner = self.owners.get(&open.producer_id);
        let Some((id, entry)) = owner.and_then(|id| Some((id, self.ids.get_mut(id)?))) else {
            return false;
        };
        let machine = &mut entry.machine;
        if machine.metadata().partitions.contains(partition.id()) {
            return true;
        }
        let producer = Producer {
            id: open.producer_id,
            epoch: open.producer_epoch,
        };
        let partitions = [partition.id().clone()];
        let now_ms = clock::now_ms();
        let Ok(Some(added)) = machine.plan_add(producer, &partitions, &[], Version::V2, now_ms)
        else {
            return false;
        };
        let (name, partition) = (id.as_str(), partition.id());
        tracing::info!(id = name, %partition, "partition added to the transaction again");
        self.adopted.put::<Transactions>(id, &machine.with(&added));
        machine.advance(added);
        true
    }
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
            "aborted a transaction that could no longer be ended"
        ),
        Err(error) => tracing::error!(
            partition = %partition_id, producer_id, first_offset, %error,
            "a transaction that can't be ended stays open"
        ),
    }
}
