//! All transactional ids of this broker (`TransactionCoordinator`, `TransactionStateManager`).
//!
//! Methods that belong to the order of a connection's requests do their part before they return; a
//! future that they return only waits until it is durable.
//!
//! Administrators' requests are in [`admin`], writes in transactions in [`writes`].

mod admin;
#[cfg(test)]
mod tests;
mod writes;

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use carrick_protocol::ids::{ProducerId, TransactionalId};
use parking_lot::Mutex;
use tokio::runtime::Handle;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

pub use self::admin::{ListFilter, Listed};
pub use self::writes::{Addition, Admitted};
use super::completion::complete;
use super::config::TransactionConfig;
use super::content::{Ids, TransactionContent};
use super::error::TxnError;
use super::limits::{COMPLETION_WAIT, MAX_ID_BYTES};
use super::machine::{End, Init};
use super::metadata::{Metadata, Outcome, Producer, Version};
use super::services::Services;
use super::{load, sweep};
use crate::budget::Budget;
use crate::clock;
use crate::coordination::{Awaited, Registry, answer, every};
use crate::group;
use crate::journal::{Journal, JournalError};
use crate::partition::Hosted;
use crate::producer_ids::ProducerIds;

/// The transaction coordinator.
pub struct Coordinator {
    ids: Arc<Ids>,
    tasks: Vec<JoinHandle<()>>,
}

/// What the coordinator works with.
pub struct Parts {
    pub config: TransactionConfig,
    /// Where transactions are noted, and read from at the start.
    pub journal: Journal,
    pub hosted: Arc<Hosted>,
    /// New producer ids.
    pub producer_ids: Arc<ProducerIds>,
    /// The groups whose offsets are committed.
    pub groups: Arc<group::Coordinator>,
}

/// An InitProducerId request.
#[derive(Clone, Debug)]
pub struct InitRequest {
    /// When a transaction must be aborted.
    pub timeout_ms: i32,
    /// Who the producer thinks it is (KIP-360).
    pub expected: Option<Producer>,
}

impl Coordinator {
    /// Loads all transactional ids, lets prepared transactions continue and begins to serve. Blocks
    /// on disk while it loads; must be called inside a tokio runtime.
    ///
    /// # Errors
    /// What is stored can't be read.
    pub fn start(parts: Parts) -> Result<Arc<Self>, JournalError> {
        let loaded = load::load(&parts.journal, &parts.hosted, &parts.groups)?;
        let (abort_ms, forget_ms) = (
            parts.config.abort_interval_ms,
            parts.config.forget_interval_ms,
        );
        let max_ids = parts.config.max_ids;
        let services = Arc::new(Services {
            budget: Budget::new(parts.config.max_bytes),
            config: parts.config,
            journal: parts.journal,
            hosted: parts.hosted,
            producer_ids: parts.producer_ids,
            groups: parts.groups,
            runtime: Handle::current(),
            completions: Mutex::default(),
        });
        let ids = Registry::new(services, max_ids, loaded);
        for cell in ids.cells() {
            let metadata = cell.lock().map(|it| it.machine.metadata().clone());
            // No others: what is prepared from now on has its driver from who prepares it.
            if let Some(prepared) = metadata.filter(|it| it.state.is_prepared()) {
                complete(&cell, prepared);
            }
        }
        let weak = Arc::downgrade(&ids);
        let tasks = vec![
            tokio::spawn(every(
                Duration::from_millis(abort_ms),
                weak.clone(),
                |ids| async move {
                    sweep::abort_timed_out(&ids, clock::now_ms()).await;
                },
            )),
            tokio::spawn(every(
                Duration::from_millis(forget_ms),
                weak,
                |ids| async move {
                    sweep::forget_expired(&ids, clock::now_ms());
                },
            )),
        ];
        Ok(Arc::new(Self { ids, tasks }))
    }

    /// Refuses later requests, and returns when all accepted changes are on disk. A prepared
    /// transaction continues when the broker is started again.
    pub async fn shutdown(&self) {
        self.ids.refuse();
        self.stop_tasks();
        self.ids.services().journal.barrier().await;
    }

    fn stop_tasks(&self) {
        for task in &self.tasks {
            task.abort();
        }
        self.ids.services().completions.lock().abort_all();
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
        let ids = Arc::clone(&self.ids);
        async move {
            check_id(id.as_str())?;
            let services = ids.services();
            if !(1..=services.config.max_timeout_ms).contains(&request.timeout_ms) {
                return Err(TxnError::InvalidTimeout);
            }
            let stored = match begin_init(&ids, &id, &request, None) {
                Err(TxnError::NoProducerId) => {
                    let fresh = services.fresh_producer_id().await?;
                    begin_init(&ids, &id, &request, Some(fresh))?
                }
                begun => begun?,
            };
            stored.result().await
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
        let begun = begin_end(&self.ids, id, producer, (outcome, version), None);
        let (ids, id) = (Arc::clone(&self.ids), id.to_owned());
        async move {
            let ending = match begun {
                Err(TxnError::NoProducerId) => {
                    let fresh = ids.services().fresh_producer_id().await?;
                    begin_end(&ids, &id, producer, (outcome, version), Some(fresh))?
                }
                begun => begun?,
            };
            let producer = ending.stored.result().await?;
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
        self.ids.services().journal.stop();
    }
}

/// An end that is being completed.
struct Ending {
    stored: Awaited<Result<Producer, TxnError>>,
    completed: oneshot::Receiver<()>,
}

fn begin_init(
    ids: &Ids,
    id: &TransactionalId,
    request: &InitRequest,
    fresh: Option<ProducerId>,
) -> Result<Awaited<Result<Producer, TxnError>>, TxnError> {
    let (timeout_ms, expected) = (request.timeout_ms, request.expected);
    let new = || {
        let producer_id = fresh.ok_or(TxnError::NoProducerId)?;
        let metadata = Metadata::new(producer_id, timeout_ms, clock::now_ms());
        Ok(TransactionContent::new(metadata, 0))
    };
    let (told, stored) = answer();
    let begun = ids.with_new(id, new, |transaction| {
        let now_ms = clock::now_ms();
        let machine = &transaction.machine;
        match machine.plan_init(timeout_ms, expected, fresh, now_ms)? {
            Init::Ready(next) => {
                let producer = next.producer();
                transaction.change(next, move |transaction, result| {
                    if result.is_ok() {
                        let (id, producer_id) = (transaction.id().as_str(), producer.id.0);
                        let epoch = producer.epoch;
                        tracing::info!(id, producer_id, epoch, "transactional producer");
                    }
                    transaction.give(told, result.map(|()| producer));
                })
            }
            Init::Fence(next) => transaction.prepare(next, Err(TxnError::Concurrent), told),
        }
    });
    if begun == Err(TxnError::TooMany) {
        tracing::warn!(id = id.as_str(), "there are too many transactional ids");
    }
    begun.map(|()| stored)
}

fn begin_end(
    ids: &Ids,
    id: &str,
    producer: Producer,
    (outcome, version): (Outcome, Version),
    fresh: Option<ProducerId>,
) -> Result<Ending, TxnError> {
    check_id(id)?;
    let (told, stored) = answer();
    let (through, completed) = oneshot::channel();
    ids.with(id, |transaction| {
        let now_ms = clock::now_ms();
        let machine = &transaction.machine;
        match machine.plan_end(producer, outcome, version, fresh, now_ms)? {
            End::Already(producer) => {
                transaction.give(told, Ok(producer));
                let _ = through.send(());
                Ok(())
            }
            End::Prepare(next) => {
                let reply = Ok(successor(&next));
                transaction.prepare(next, reply, told)?;
                transaction.waiting.push(through);
                Ok::<_, TxnError>(())
            }
        }
    })?;
    Ok(Ending { stored, completed })
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
