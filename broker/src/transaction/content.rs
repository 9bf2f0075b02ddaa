//! One transactional id: what its lock protects, and how its changes get to the disk.
//!
//! Invariant: RocksDB holds an open transaction as its record when it was last written, and one
//! part for each later addition ([`TransactionParts`]). The write that ends it removes the parts.

use carrick_protocol::ids::TransactionalId;
use tokio::sync::oneshot;

use super::error::TxnError;
use super::machine::{Added, Transaction};
use super::metadata::Metadata;
use super::services::Services;
use crate::coordination::{Answer, Content, Locked, Registry};
use crate::journal::Entry;
use crate::records::transaction::Transactions;
use crate::records::transaction_part::{Part, PartKey, TransactionParts};

/// All transactional ids.
pub(super) type Ids = Registry<TransactionContent>;

/// One transactional id, locked.
pub(super) type LockedTransaction<'a> = Locked<'a, TransactionContent>;

pub(super) struct TransactionContent {
    pub machine: Transaction,
    /// How many parts were written since the transaction began.
    parts: u32,
    /// An addition could not be stored: the next one stores all.
    pub is_incomplete: bool,
    /// Who waits for the end of the prepared transaction.
    pub waiting: Vec<oneshot::Sender<()>>,
}

impl Content for TransactionContent {
    type Id = TransactionalId;
    type Services = Services;

    fn held_bytes(&self, id: &TransactionalId) -> usize {
        id.as_str().len() + self.machine.held_bytes()
    }
}

impl TransactionContent {
    /// An id with that many parts on disk.
    pub fn new(metadata: Metadata, parts: u32) -> Self {
        Self {
            machine: Transaction::new(metadata),
            parts,
            is_incomplete: false,
            waiting: Vec::new(),
        }
    }

    /// The completion is durable, or could not be made so.
    pub fn completed(&mut self, is_durable: bool) {
        self.machine.stored(is_durable);
        if is_durable {
            for waiting in self.waiting.drain(..) {
                // Who no longer waits has been answered.
                let _ = waiting.send(());
            }
        }
    }

    /// Has the batch store an addition: with all that is known where the transaction begins, else
    /// alone.
    pub fn record(&self, id: &TransactionalId, added: &Added, batch: &mut Entry) {
        if added.begins || self.is_incomplete {
            batch.put::<Transactions>(id, &self.machine.with(added));
            return;
        }
        let part = Part {
            producer: self.machine.metadata().producer(),
            added: added.clone(),
        };
        batch.put::<TransactionParts>(&part_key(id, self.parts), &part);
    }

    /// Takes an addition that is recorded into force.
    pub fn advance(&mut self, added: Added) {
        match added.begins || self.is_incomplete {
            true => self.is_incomplete = false,
            false => self.parts += 1,
        }
        self.machine.advance(added);
    }
}

impl LockedTransaction<'_> {
    /// Submits an addition to the journal; it takes effect immediately. `answer` is called when it
    /// is durable, with all additions before it. `None` only waits for those.
    ///
    /// # Errors
    /// `NotStored`: nothing happens.
    pub fn extend(
        &mut self,
        added: Option<Added>,
        answer: Answer<Result<(), TxnError>>,
    ) -> Result<(), TxnError> {
        let (room, id) = (self.room()?, self.id());
        let mut batch = Entry::new();
        let mut stores_all = false;
        if let Some(added) = added {
            self.record(id, &added, &mut batch);
            stores_all = added.begins || self.is_incomplete;
            self.advance(added);
        }
        self.submit(room, batch, move |transaction, result| {
            transaction.is_incomplete = match result {
                Ok(()) => transaction.is_incomplete && !stores_all,
                Err(_) => true,
            };
            // One that came before may have failed: this one is worth nothing without it.
            let result = match transaction.is_incomplete {
                true => Err(TxnError::NotStored),
                false => Ok(()),
            };
            transaction.give(answer, result);
        });
        Ok(())
    }

    /// Submits a change to the journal; it takes effect when it is durable. Then `then` runs, on
    /// the journal's thread, under the lock.
    ///
    /// # Errors
    /// `NotStored`: nothing happens.
    pub fn change(
        &mut self,
        next: Metadata,
        then: impl FnOnce(&mut LockedTransaction<'_>, Result<(), TxnError>) + Send + 'static,
    ) -> Result<(), TxnError> {
        let (room, id) = (self.room()?, self.id());
        let mut batch = Entry::new();
        batch.put::<Transactions>(id, &next);
        // No addition is made until this is durable.
        for number in 0..self.parts {
            batch.delete::<TransactionParts>(&part_key(id, number));
        }
        self.machine.begin(next);
        self.submit(room, batch, |transaction, result| {
            transaction.machine.stored(result.is_ok());
            if result.is_ok() {
                (transaction.parts, transaction.is_incomplete) = (0, false);
            }
            then(transaction, result.map_err(TxnError::from));
        });
        Ok(())
    }

    /// Hands the removal of the id to the journal. Only for [`Registry::remove`].
    ///
    /// # Errors
    /// `NotStored`: nothing happens.
    pub fn delete(&mut self) -> Result<(), TxnError> {
        let room = self.room()?;
        let mut batch = Entry::new();
        batch.delete::<Transactions>(self.id());
        self.submit(room, batch, |_, _| {});
        Ok(())
    }
}

fn part_key(id: &TransactionalId, number: u32) -> PartKey {
    let id = id.clone();
    PartKey { id, number }
}
