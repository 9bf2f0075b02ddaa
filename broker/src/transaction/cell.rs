//! One transactional id behind its lock.
//!
//! Invariants:
//! - A cell that is dead is no longer in the index: who finds one looks again.
//! - What RocksDB holds of an open transaction is its record as it was last written, and one part
//!   for each addition since ([`TransactionParts`]). The write that ends it removes the parts.

use std::sync::Arc;

use carrick_protocol::ids::TransactionalId;
use parking_lot::Mutex;
use tokio::sync::oneshot;

use super::coordinator::Inner;
use super::error::TxnError;
use super::machine::{Added, Transaction};
use super::metadata::Metadata;
use crate::journal::Entry;
use crate::records::transaction::Transactions;
use crate::records::transaction_part::{Part, PartKey, TransactionParts};

/// Where the outcome of a change goes.
pub(super) type Told<T> = oneshot::Sender<Result<T, TxnError>>;

/// One transactional id.
pub(super) struct Cell {
    pub id: TransactionalId,
    pub state: Mutex<CellState>,
}

/// What the lock of a [`Cell`] protects.
pub(super) struct CellState {
    pub machine: Transaction,
    /// It was removed.
    pub is_dead: bool,
    /// Additions handed to the store that have not come back.
    pub additions_in_flight: usize,
    /// Parts that were written since the transaction began.
    pub parts: u32,
    /// An addition could not be stored: the next one stores all.
    is_incomplete: bool,
    /// Who waits for the end of the prepared transaction.
    pub waiting: Vec<oneshot::Sender<()>>,
    /// What it was last counted with in [`crate::budget`].
    settled_bytes: usize,
}

impl Cell {
    pub fn new(id: TransactionalId, metadata: Metadata) -> Arc<Self> {
        let state = CellState {
            machine: Transaction::new(metadata),
            is_dead: false,
            additions_in_flight: 0,
            parts: 0,
            is_incomplete: false,
            waiting: Vec::new(),
            settled_bytes: 0,
        };
        Arc::new(Self {
            id,
            state: Mutex::new(state),
        })
    }
}

impl CellState {
    /// Counts what the id takes now. To be called after every change.
    pub fn settle(&mut self, inner: &Inner, cell: &Cell) {
        let now_bytes = match self.is_dead {
            true => 0,
            false => cell.id.as_str().len() + self.machine.held_bytes(),
        };
        inner.budget.settle(self.settled_bytes, now_bytes);
        self.settled_bytes = now_bytes;
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
    /// by itself.
    pub fn record(&self, cell: &Cell, added: &Added, batch: &mut Entry) {
        if added.begins || self.is_incomplete {
            batch.put::<Transactions>(&cell.id, &self.machine.with(added));
            return;
        }
        let part = Part {
            producer: self.machine.metadata().producer(),
            added: added.clone(),
        };
        batch.put::<TransactionParts>(&self.part(cell, self.parts), &part);
    }

    /// Takes an addition that is recorded into force.
    pub fn add(&mut self, inner: &Inner, cell: &Cell, added: Added) {
        match added.begins || self.is_incomplete {
            true => self.is_incomplete = false,
            false => self.parts += 1,
        }
        self.machine.advance(added);
        self.settle(inner, cell);
    }

    fn part(&self, cell: &Cell, number: u32) -> PartKey {
        let id = cell.id.clone();
        PartKey { id, number }
    }

    /// Hands an addition to the store, in one write with `extra`; it is in force at once. `told`
    /// hears when it is durable.
    ///
    /// # Errors
    /// `NotStored`: nothing happens.
    pub fn extend(
        &mut self,
        inner: &Inner,
        cell: &Arc<Cell>,
        added: Option<Added>,
        told: Told<()>,
    ) -> Result<(), TxnError> {
        let room = inner.journal.room().ok_or(TxnError::NotStored)?;
        let mut batch = Entry::new();
        if let Some(added) = added {
            self.record(cell, &added, &mut batch);
            self.add(inner, cell, added);
        }
        self.additions_in_flight += 1;
        let cell = Arc::clone(cell);
        room.append(batch, move |result| {
            let mut state = cell.state.lock();
            state.additions_in_flight -= 1;
            state.is_incomplete |= result.is_err();
            drop(state);
            // Who no longer waits has closed its connection.
            let _ = told.send(result.map_err(|_| TxnError::NotStored));
        });
        Ok(())
    }

    /// Hands a change to the store; it is in force when it is durable. Then `then` runs, on the
    /// store's thread, under no lock.
    ///
    /// # Errors
    /// `NotStored`: nothing happens.
    pub fn change(
        &mut self,
        inner: &Inner,
        cell: &Arc<Cell>,
        next: Metadata,
        then: impl FnOnce(&Arc<Inner>, &Arc<Cell>, Result<(), TxnError>) + Send + 'static,
    ) -> Result<(), TxnError> {
        let room = inner.journal.room().ok_or(TxnError::NotStored)?;
        let mut batch = Entry::new();
        batch.put::<Transactions>(&cell.id, &next);
        // No addition is made until this is durable.
        for number in 0..self.parts {
            batch.delete::<TransactionParts>(&self.part(cell, number));
        }
        self.machine.begin(next);
        let (cell, me) = (Arc::clone(cell), inner.me.clone());
        room.append(batch, move |result| {
            let inner = me.upgrade();
            let mut state = cell.state.lock();
            state.machine.stored(result.is_ok());
            if result.is_ok() {
                (state.parts, state.is_incomplete) = (0, false);
            }
            if let Some(inner) = &inner {
                state.settle(inner, &cell);
            }
            drop(state);
            if let Some(inner) = inner {
                then(&inner, &cell, result.map_err(|_| TxnError::NotStored));
            }
        });
        Ok(())
    }
}
