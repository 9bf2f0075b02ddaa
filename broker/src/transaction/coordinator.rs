//! All transactional ids of this broker (`TransactionCoordinator`, `TransactionStateManager`).
//!
//! Methods that take part in the order of a connection's requests do their part before they
//! return; a future that they return only waits until it is durable.
//!
//! What administrators ask for is in [`admin`], what is written in transactions in [`writes`].

mod admin;
#[cfg(test)]
mod tests;
mod writes;

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};

use carrick_protocol::ids::{ProducerId, TransactionalId};
use parking_lot::{Mutex, RwLock};
use tokio::runtime::Handle;
use tokio::sync::oneshot;
use tokio::task::{JoinHandle, JoinSet};

pub use self::admin::{ListFilter, Listed};
pub use self::writes::{Addition, Admitted};
use super::cell::{Cell, CellState, Told};
use super::config::TransactionConfig;
use super::error::TxnError;
use super::limits::{COMPLETION_WAIT, MAX_ID_BYTES};
use super::machine::{End, Init};
use super::metadata::{ID_BYTES, Metadata, Outcome, Producer, Version};
use super::{load, sweep};
use crate::budget::Budget;
use crate::clock;
use crate::group;
use crate::journal::{Entry, Journal, JournalError};
use crate::producer_ids::ProducerIds;
use crate::records::transaction::Transactions;
use crate::topic::Catalog;

/// The transaction coordinator.
pub struct Coordinator {
    inner: Arc<Inner>,
    tasks: Vec<JoinHandle<()>>,
}

/// What the coordinator works with.
pub struct Parts {
    /// Its configuration.
    pub config: TransactionConfig,
    /// Where transactions are noted, and read from at the start.
    pub journal: Journal,
    /// The partitions.
    pub catalog: Arc<Catalog>,
    /// New producer ids.
    pub producer_ids: Arc<ProducerIds>,
    /// The groups whose offsets are committed.
    pub groups: Arc<group::Coordinator>,
}

/// What the coordinator's tasks share.
pub(super) struct Inner {
    pub config: TransactionConfig,
    pub budget: Budget,
    pub journal: Journal,
    pub catalog: Arc<Catalog>,
    pub producer_ids: Arc<ProducerIds>,
    pub groups: Arc<group::Coordinator>,
    /// Itself, for what goes on when a change is durable.
    pub me: Weak<Inner>,
    pub runtime: Handle,
    /// Prepared transactions on their way to their end.
    pub completions: Mutex<JoinSet<()>>,
    ids: RwLock<BTreeMap<TransactionalId, Arc<Cell>>>,
    stopped: AtomicBool,
}

/// An InitProducerId request.
#[derive(Clone, Debug)]
pub struct InitRequest {
    /// When a transaction is to be aborted.
    pub timeout_ms: i32,
    /// Who the producer thinks it is (KIP-360).
    pub expected: Option<Producer>,
}

impl Coordinator {
    /// Loads all transactional ids, lets prepared transactions go on and begins to serve. Blocks on
    /// disk while it loads; must be called inside a tokio runtime.
    ///
    /// # Errors
    /// What is stored can't be read.
    pub fn start(parts: Parts) -> Result<Arc<Self>, JournalError> {
        let inner = Arc::new_cyclic(|me| Inner {
            budget: Budget::new(parts.config.max_bytes),
            config: parts.config,
            journal: parts.journal,
            catalog: parts.catalog,
            producer_ids: parts.producer_ids,
            groups: parts.groups,
            me: me.clone(),
            runtime: Handle::current(),
            completions: Mutex::default(),
            ids: RwLock::default(),
            stopped: AtomicBool::new(false),
        });
        *inner.ids.write() = load::load(&inner)?;
        for cell in inner.cells() {
            let mut state = cell.state.lock();
            state.settle(&inner, &cell);
            let metadata = state.machine.metadata();
            let prepared = metadata.state.is_prepared().then(|| metadata.clone());
            drop(state);
            // No others: what is prepared from now on has its driver from who prepares it.
            if let Some(prepared) = prepared {
                inner.complete(&cell, prepared);
            }
        }
        let weak = Arc::downgrade(&inner);
        let tasks = vec![
            tokio::spawn(sweep::abort_timed_out(weak.clone())),
            tokio::spawn(sweep::forget_expired(weak)),
        ];
        Ok(Arc::new(Self { inner, tasks }))
    }

    /// Refuses requests that come later, and returns when all accepted changes are on disk. A
    /// transaction that is prepared goes on when the broker is started again.
    pub async fn shutdown(&self) {
        self.inner.stopped.store(true, Ordering::Release);
        self.stop_tasks();
        self.inner.journal.barrier().await;
    }

    fn stop_tasks(&self) {
        for task in &self.tasks {
            task.abort();
        }
        self.inner.completions.lock().abort_all();
    }

    /// Gives a producer its id and epoch, and fences those before it.
    ///
    /// # Errors
    /// `Concurrent` while a transaction of an earlier producer is being aborted: try again.
    /// `Fenced`, `InvalidTimeout`, `TooMany`, …
    pub fn init(
        &self,
        id: TransactionalId,
        request: InitRequest,
    ) -> impl Future<Output = Result<Producer, TxnError>> + Send + 'static + use<> {
        let inner = Arc::clone(&self.inner);
        async move {
            check_id(id.as_str())?;
            if !(1..=inner.config.max_timeout_ms).contains(&request.timeout_ms) {
                return Err(TxnError::InvalidTimeout);
            }
            let stored = match inner.begin_init(&id, &request, None) {
                Err(TxnError::NoProducerId) => {
                    let fresh = inner.fresh_producer_id().await?;
                    inner.begin_init(&id, &request, Some(fresh))?
                }
                begun => begun?,
            };
            stored.await.unwrap_or(Err(TxnError::ShuttingDown))
        }
    }

    /// Ends a transaction; answered when the outcome is durable. From then on it is that, whatever
    /// happens. The answer is the producer of the next transaction.
    pub fn end(
        &self,
        id: &str,
        producer: Producer,
        outcome: Outcome,
        version: Version,
    ) -> impl Future<Output = Result<Producer, TxnError>> + Send + 'static + use<> {
        let begun = self.inner.begin_end(id, producer, outcome, version, None);
        let (inner, id) = (Arc::clone(&self.inner), id.to_owned());
        async move {
            let ending = match begun {
                Err(TxnError::NoProducerId) => {
                    let fresh = inner.fresh_producer_id().await?;
                    inner.begin_end(&id, producer, outcome, version, Some(fresh))?
                }
                begun => begun?,
            };
            let producer = ending.stored.await.unwrap_or(Err(TxnError::ShuttingDown))?;
            // Whether it is through or not: what the client was promised is durable.
            let _ = tokio::time::timeout(COMPLETION_WAIT, ending.completed).await;
            Ok(producer)
        }
    }
}

/// Without [`Coordinator::shutdown`] accepted changes are still stored, and nothing uses the
/// metadata any more when this returns.
impl Drop for Coordinator {
    fn drop(&mut self) {
        self.stop_tasks();
        self.inner.journal.stop();
    }
}

/// An end that is on its way.
struct Ending {
    stored: oneshot::Receiver<Result<Producer, TxnError>>,
    completed: oneshot::Receiver<()>,
}

impl Inner {
    fn begin_init(
        &self,
        id: &TransactionalId,
        request: &InitRequest,
        fresh: Option<ProducerId>,
    ) -> Result<oneshot::Receiver<Result<Producer, TxnError>>, TxnError> {
        let (told, stored) = oneshot::channel();
        self.with_new(id, request.timeout_ms, fresh, |cell, state| {
            let (timeout_ms, expected) = (request.timeout_ms, request.expected);
            let now_ms = clock::now_ms();
            match state
                .machine
                .plan_init(timeout_ms, expected, fresh, now_ms)?
            {
                Init::Ready(next) => {
                    let producer = next.producer();
                    state.change(self, cell, next, move |_, cell, result| {
                        if result.is_ok() {
                            let (id, producer_id) = (cell.id.as_str(), producer.id.0);
                            let epoch = producer.epoch;
                            tracing::info!(id, producer_id, epoch, "transactional producer");
                        }
                        let _ = told.send(result.map(|()| producer));
                    })
                }
                Init::Fence(next) => {
                    self.prepare(cell, state, next, Err(TxnError::Concurrent), told)
                }
            }
        })??;
        Ok(stored)
    }

    fn begin_end(
        &self,
        id: &str,
        producer: Producer,
        outcome: Outcome,
        version: Version,
        fresh: Option<ProducerId>,
    ) -> Result<Ending, TxnError> {
        check_id(id)?;
        let (told, stored) = oneshot::channel();
        let (through, completed) = oneshot::channel();
        self.with(id, |cell, state| {
            let now_ms = clock::now_ms();
            match state
                .machine
                .plan_end(producer, outcome, version, fresh, now_ms)?
            {
                End::Already(producer) => {
                    let _ = (told.send(Ok(producer)), through.send(()));
                    Ok(())
                }
                End::Prepare(next) => {
                    let answer = Ok(successor(&next));
                    self.prepare(cell, state, next, answer, told)?;
                    state.waiting.push(through);
                    Ok(())
                }
            }
        })??;
        Ok(Ending { stored, completed })
    }

    /// Stores a decided end; when it is durable the markers follow and `answer` is given.
    ///
    /// # Errors
    /// `NotStored`: nothing happens.
    pub fn prepare(
        &self,
        cell: &Arc<Cell>,
        state: &mut CellState,
        next: Metadata,
        answer: Result<Producer, TxnError>,
        told: Told<Producer>,
    ) -> Result<(), TxnError> {
        let prepared = next.clone();
        state.change(self, cell, next, move |inner, cell, result| {
            match result {
                Ok(()) => inner.complete(cell, prepared),
                // Nobody waits for an end that does not come.
                Err(_) => cell.state.lock().waiting.clear(),
            }
            let _ = told.send(result.and(answer));
        })
    }

    /// A producer id that was never given out.
    ///
    /// # Errors
    /// `NoProducerId`.
    pub async fn fresh_producer_id(&self) -> Result<ProducerId, TxnError> {
        let ids = Arc::clone(&self.producer_ids);
        // Every thousandth id is a write to disk.
        let allocated = tokio::task::spawn_blocking(move || ids.allocate()).await;
        let error = match allocated {
            Ok(Ok(id)) => return Ok(id),
            Ok(Err(error)) => error.to_string(),
            Err(error) => error.to_string(),
        };
        tracing::error!(error, "no producer id");
        Err(TxnError::NoProducerId)
    }

    /// Lets `f` at the transactional id.
    ///
    /// # Errors
    /// `NotMapped` if it is not known, `ShuttingDown`.
    pub fn with<R>(
        &self,
        id: &str,
        f: impl FnOnce(&Arc<Cell>, &mut CellState) -> R,
    ) -> Result<R, TxnError> {
        loop {
            let cell = self.find(id)?;
            let mut state = cell.state.lock();
            if !state.is_dead {
                return Ok(f(&cell, &mut state));
            }
        }
    }

    /// The transactional id.
    ///
    /// # Errors
    /// `NotMapped` if it is not known, `ShuttingDown`.
    pub fn find(&self, id: &str) -> Result<Arc<Cell>, TxnError> {
        self.check_running()?;
        let found = self.ids.read().get(id).cloned();
        found.ok_or(TxnError::NotMapped)
    }

    /// Lets `f` at the transactional id, which is made with the producer id if it isn't there.
    ///
    /// # Errors
    /// `NoProducerId` if it isn't there and there is none, `TooMany`, `ShuttingDown`.
    fn with_new<R>(
        &self,
        id: &TransactionalId,
        timeout_ms: i32,
        fresh: Option<ProducerId>,
        f: impl FnOnce(&Arc<Cell>, &mut CellState) -> R,
    ) -> Result<R, TxnError> {
        loop {
            self.check_running()?;
            let found = self.ids.read().get(id).cloned();
            let cell = match found {
                Some(cell) => cell,
                None => self.make(id, timeout_ms, fresh.ok_or(TxnError::NoProducerId)?)?,
            };
            let mut state = cell.state.lock();
            if !state.is_dead {
                return Ok(f(&cell, &mut state));
            }
        }
    }

    fn make(
        &self,
        id: &TransactionalId,
        timeout_ms: i32,
        fresh: ProducerId,
    ) -> Result<Arc<Cell>, TxnError> {
        let mut ids = self.ids.write();
        if let Some(cell) = ids.get(id) {
            return Ok(Arc::clone(cell));
        }
        let has_room = self.budget.has_room(ID_BYTES + id.as_str().len());
        if ids.len() >= self.config.max_ids || !has_room {
            tracing::warn!(id = id.as_str(), "there are too many transactional ids");
            return Err(TxnError::TooMany);
        }
        let metadata = Metadata::new(fresh, timeout_ms, clock::now_ms());
        let cell = Cell::new(id.clone(), metadata);
        cell.state.lock().settle(self, &cell);
        ids.insert(id.clone(), Arc::clone(&cell));
        Ok(cell)
    }

    /// Forgets a transactional id that has expired; what comes later finds none. False if it has
    /// not expired.
    ///
    /// # Errors
    /// `NotStored`: it stays.
    pub fn forget(&self, cell: &Arc<Cell>, now_ms: i64) -> Result<bool, TxnError> {
        let mut ids = self.ids.write();
        let mut state = cell.state.lock();
        let expiration_ms = self.config.id_expiration_ms;
        if state.is_dead || !state.machine.has_expired(now_ms, expiration_ms) {
            return Ok(false);
        }
        let room = self.journal.room().ok_or(TxnError::NotStored)?;
        let mut batch = Entry::new();
        batch.delete::<Transactions>(&cell.id);
        room.append(batch, |_| {});
        state.is_dead = true;
        state.settle(self, cell);
        ids.remove(&cell.id);
        Ok(true)
    }

    /// All transactional ids, by name.
    pub fn cells(&self) -> Vec<Arc<Cell>> {
        self.ids.read().values().cloned().collect()
    }

    fn check_running(&self) -> Result<(), TxnError> {
        match self.stopped.load(Ordering::Acquire) {
            true => Err(TxnError::ShuttingDown),
            false => Ok(()),
        }
    }
}

/// The producer of the transaction after a prepared one.
fn successor(prepared: &Metadata) -> Producer {
    match prepared.next_producer_id {
        ProducerId::NONE => prepared.producer(),
        id => Producer { id, epoch: 0 },
    }
}

fn check_id(id: &str) -> Result<(), TxnError> {
    match id.len() {
        1..=MAX_ID_BYTES => Ok(()),
        _ => Err(TxnError::InvalidId),
    }
}
