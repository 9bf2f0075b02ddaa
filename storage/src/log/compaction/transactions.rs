//! Which producers' records are aborted, and which markers are still needed, while a cleaning walks
//! through a log (Kafka's `CleanedTransactionMetadata`).

use std::collections::{BTreeMap, HashMap, HashSet};

use carrick_protocol::batch::{Batch, BatchHeader, ControlKind};
use carrick_protocol::ids::{Offset, ProducerId};

use super::super::aborted::AbortedTxn;
use super::super::append::read_marker;

/// The transactions that are open where the walk is.
#[derive(Debug, Default)]
pub(super) struct Walked {
    /// Aborted transactions that begin further on.
    coming: BTreeMap<Offset, AbortedTxn>,
    aborted: HashMap<ProducerId, Aborted>,
    /// Producers with records that are not aborted since their last marker.
    committed: HashSet<ProducerId>,
}

#[derive(Debug)]
struct Aborted {
    transaction: AbortedTxn,
    /// Whether any batch of it is still there.
    has_batches: bool,
}

/// What to do about a marker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Marker {
    /// Nothing is left of its transaction.
    pub is_spent: bool,
    /// The aborted transaction that it ends, if something is left of it.
    pub ends: Option<AbortedTxn>,
}

impl Walked {
    /// Aborted transactions that overlap the segment that is walked through next.
    pub fn expect(&mut self, aborted: Vec<AbortedTxn>) {
        let aborted = aborted.into_iter();
        self.coming
            .extend(aborted.map(|transaction| (transaction.first_offset, transaction)));
    }

    /// Walks past a batch of data; whether its transaction was aborted.
    pub fn pass_data(&mut self, header: &BatchHeader) -> bool {
        self.begin_up_to(header.last_offset());
        if !header.is_transactional() {
            return false;
        }
        match self.aborted.get_mut(&header.producer_id) {
            Some(aborted) => {
                aborted.has_batches = true;
                true
            }
            None => {
                self.committed.insert(header.producer_id);
                false
            }
        }
    }

    /// Walks past a control batch.
    pub fn pass_control(&mut self, batch: &Batch<'_>) -> Marker {
        self.begin_up_to(batch.header.last_offset());
        let producer_id = batch.header.producer_id;
        let marker = |is_spent| Marker {
            is_spent,
            ends: None,
        };
        if batch.header.record_count == 0 {
            return marker(true);
        }
        match read_marker(&batch.header, batch.body()).map(|read| read.kind) {
            Some(ControlKind::Abort) => match self.aborted.remove(&producer_id) {
                Some(aborted) if aborted.has_batches => Marker {
                    is_spent: false,
                    ends: Some(aborted.transaction),
                },
                _ => marker(true),
            },
            Some(ControlKind::Commit) => marker(!self.committed.remove(&producer_id)),
            Some(ControlKind::Other(_)) | None => marker(false),
        }
    }

    fn begin_up_to(&mut self, offset: Offset) {
        while let Some(first) = self.coming.first_entry()
            && *first.key() <= offset
        {
            let transaction = first.remove();
            self.aborted
                .entry(transaction.producer_id)
                .or_insert(Aborted {
                    transaction,
                    has_batches: false,
                });
        }
    }
}
