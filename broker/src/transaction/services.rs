//! What transactions work with: settings, the journal, memory, partitions, producer ids, groups. It
//! contains no transaction.

use std::sync::Arc;

use carrick_protocol::ids::ProducerId;
use parking_lot::Mutex;
use tokio::runtime::Handle;
use tokio::task::JoinSet;

use super::config::TransactionConfig;
use super::error::TxnError;
use crate::budget::Budget;
use crate::coordination;
use crate::group;
use crate::journal::Journal;
use crate::partition::Hosted;
use crate::producer_ids::ProducerIds;

pub(super) struct Services {
    pub config: TransactionConfig,
    pub budget: Budget,
    pub journal: Journal,
    /// The partitions that are written in transactions.
    pub hosted: Arc<Hosted>,
    pub producer_ids: Arc<ProducerIds>,
    /// The groups whose offsets are committed.
    pub groups: Arc<group::Coordinator>,
    pub runtime: Handle,
    /// Prepared transactions on their way to their end. Locked after a transaction, and for a short
    /// time only.
    pub completions: Mutex<JoinSet<()>>,
}

impl coordination::Services for Services {
    fn journal(&self) -> &Journal {
        &self.journal
    }

    fn budget(&self) -> &Budget {
        &self.budget
    }
}

impl Services {
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
}
