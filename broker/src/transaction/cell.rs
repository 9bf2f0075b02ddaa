//! One transactional id behind its lock.
//!
//! Invariant: a cell that is dead is no longer in the index: who finds one looks again.

use std::sync::Arc;

use carrick_protocol::ids::TransactionalId;
use carrick_storage::meta::MetaBatch;
use parking_lot::Mutex;
use tokio::sync::oneshot;

use super::coordinator::Inner;
use super::error::TxnError;
use super::machine::Transaction;
use super::metadata::Metadata;
use crate::records::transaction::Transactions;

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
            false => cell.id.as_str().len() + self.machine.metadata().held_bytes(),
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

    /// Hands an addition to the store, in one write with `extra`; it is in force at once. `told`
    /// hears when it is durable.
    ///
    /// # Errors
    /// `NotStored`: nothing happens.
    pub fn extend(
        &mut self,
        inner: &Inner,
        cell: &Arc<Cell>,
        next: Option<Metadata>,
        told: Told<()>,
    ) -> Result<(), TxnError> {
        let slot = inner.store.slot().ok_or(TxnError::NotStored)?;
        let mut batch = MetaBatch::new();
        if let Some(next) = next {
            batch.put::<Transactions>(&cell.id, &next);
            self.machine.advance(next);
            self.settle(inner, cell);
        }
        self.additions_in_flight += 1;
        let cell = Arc::clone(cell);
        slot.submit(batch, move |result| {
            cell.state.lock().additions_in_flight -= 1;
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
        let slot = inner.store.slot().ok_or(TxnError::NotStored)?;
        let mut batch = MetaBatch::new();
        batch.put::<Transactions>(&cell.id, &next);
        self.machine.begin(next);
        let (cell, me) = (Arc::clone(cell), inner.me.clone());
        slot.submit(batch, move |result| {
            let inner = me.upgrade();
            let mut state = cell.state.lock();
            state.machine.stored(result.is_ok());
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
