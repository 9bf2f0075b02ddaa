//! What an earlier run of the broker left.
//!
//! A record may have reached its partition while the addition of that partition to the transaction
//! did not reach RocksDB: no client was told that it was written. Such a transaction must not stay
//! open for ever. If its producer may still continue, the addition is repeated as if it had been
//! durable: the producer finds its record when it sends it again, or the transaction times out.
//! Otherwise it is aborted on that partition.
//!
//! The same for a group whose offsets are here without its addition: if they are of the current
//! transaction the group is added again, else they are removed.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use carrick_protocol::batch::ControlKind;
use carrick_protocol::ids::{GroupId, ProducerId, TopicPartition, TransactionalId};
use carrick_storage::log::OpenTransaction;

use super::content::TransactionContent;
use super::limits::COORDINATOR_EPOCH;
use super::metadata::{Metadata, Producer, State, Version};
use crate::clock;
use crate::group::{self, PendingCommit};
use crate::journal::{Entry, Journal, JournalError, Table};
use crate::partition::{Hosted, Marker, Mode, Partition};
use crate::records::transaction::Transactions;
use crate::records::transaction_part::{Part, TransactionParts};

/// Reads all transactional ids and makes them agree with what is open in the partitions.
pub(super) fn load(
    journal: &Journal,
    hosted: &Hosted,
    groups: &group::Coordinator,
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
        let since_ms = match metadata.state {
            State::Ongoing => metadata.start_ms,
            _ => metadata.update_ms,
        };
        let owner = (id.clone(), since_ms);
        loaded.owners.insert(producer_id, owner);
        loaded
            .ids
            .insert(id, TransactionContent::new(metadata, count));
    }
    for partition in hosted.all() {
        if partition.mode() == Mode::Writable {
            loaded.reconcile(&partition);
        }
    }
    for pending in groups.pending_commits() {
        if !loaded.knows_group(&pending) {
            forget(groups, &pending);
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
    /// Whose each producer id is, and no earlier than when its current transaction began.
    owners: HashMap<ProducerId, (TransactionalId, i64)>,
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
        let Some((metadata, _)) = self.owner(open.producer_id) else {
            return false;
        };
        if metadata.partitions.contains(partition.id()) {
            return true;
        }
        let producer = Producer {
            id: open.producer_id,
            epoch: open.producer_epoch,
        };
        self.adopt(producer, std::slice::from_ref(partition.id()), &[])
    }

    /// The same for offsets of a group, which don't say of which epoch they are: those from before
    /// the transaction are not its own.
    fn knows_group(&mut self, pending: &PendingCommit) -> bool {
        let Some((metadata, since_ms)) = self.owner(pending.producer_id) else {
            return false;
        };
        if metadata.groups.contains(&pending.group) {
            return true;
        }
        let producer = metadata.producer();
        pending.newest_ms >= since_ms
            && self.adopt(producer, &[], std::slice::from_ref(&pending.group))
    }

    fn owner(&self, producer_id: ProducerId) -> Option<(&Metadata, i64)> {
        let (id, since_ms) = self.owners.get(&producer_id)?;
        Some((self.ids.get(id)?.machine.metadata(), *since_ms))
    }

    /// Adds to the producer's transaction what was lost; false if it can't be added.
    fn adopt(
        &mut self,
        producer: Producer,
        partitions: &[TopicPartition],
        groups: &[GroupId],
    ) -> bool {
        let owner = self.owners.get(&producer.id);
        let Some((id, content)) = owner.and_then(|(id, _)| Some((id, self.ids.get_mut(id)?)))
        else {
            return false;
        };
        let (machine, now_ms) = (&mut content.machine, clock::now_ms());
        let Ok(Some(added)) = machine.plan_add(producer, partitions, groups, Version::V2, now_ms)
        else {
            return false;
        };
        let name = id.as_str();
        tracing::info!(
            id = name,
            ?partitions,
            ?groups,
            "added to the transaction again"
        );
        self.adopted.put::<Transactions>(id, &machine.with(&added));
        machine.advance(added);
        true
    }
}

/// Removes offsets whose transaction can no longer be ended.
fn forget(groups: &group::Coordinator, pending: &PendingCommit) {
    let PendingCommit {
        group, producer_id, ..
    } = pending;
    let (name, producer_id) = (group.as_str(), *producer_id);
    let of_one = BTreeSet::from([group.clone()]);
    match groups.complete_transaction(&of_one, producer_id, false, Entry::new(), |_| {}) {
        Ok(()) => tracing::warn!(
            group = name,
            producer_id = producer_id.0,
            "removed offsets of a transaction that could no longer be ended"
        ),
        Err(error) => tracing::error!(
            group = name, producer_id = producer_id.0, %error,
            "offsets of a transaction that can't be ended stay pending"
        ),
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
