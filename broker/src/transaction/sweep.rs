//! What happens without a client's request: timed-out transactions are aborted, and unused
//! transactional ids are removed.

use std::sync::Arc;

use super::content::{Ids, TransactionContent};
use super::error::TxnError;
use crate::coordination::{Cell, answer};

/// Aborts the transactions that have timed out at `now_ms`; their producers are fenced.
pub(super) async fn abort_timed_out(ids: &Ids, now_ms: i64) {
    for cell in ids.cells() {
        let id = cell.id().as_str();
        match abort(&cell, now_ms).await {
            Ok(false) => {}
            Ok(true) => tracing::info!(id, "transaction aborted: its time is over"),
            Err(error) => tracing::warn!(id, %error, "transaction not aborted yet"),
        }
    }
}

/// Aborts one transaction; false if its time is not over.
async fn abort(cell: &Arc<Cell<TransactionContent>>, now_ms: i64) -> Result<bool, TxnError> {
    let needs_id = match cell.lock() {
        Some(transaction) if transaction.machine.has_timed_out(now_ms) => {
            transaction.machine.needs_producer_id()
        }
        _ => return Ok(false),
    };
    let fresh = match needs_id {
        true => Some(cell.services().fresh_producer_id().await?),
        false => None,
    };
    let (told, stored) = answer();
    match cell.lock() {
        // It may have ended between the locks.
        Some(mut transaction) if transaction.machine.has_timed_out(now_ms) => {
            let next = transaction.machine.plan_abort(fresh, now_ms)?;
            let reply = Ok(next.producer());
            transaction.prepare(next, reply, told)?;
        }
        _ => return Ok(false),
    }
    stored.result().await.map(|_| true)
}

/// Removes the ids that have expired at `now_ms`: later requests find none.
pub(super) fn forget_expired(ids: &Ids, now_ms: i64) {
    let expiration_ms = ids.services().config.id_expiration_ms;
    for cell in ids.cells() {
        let forgotten = ids.remove(cell.id(), |transaction| {
            let has_expired = transaction.machine.has_expired(now_ms, expiration_ms);
            if has_expired {
                transaction.delete()?;
            }
            Ok::<_, TxnError>(has_expired)
        });
        let id = cell.id().as_str();
        match forgotten {
            Ok(false) => {}
            Ok(true) => tracing::info!(id, "transactional id expired"),
            Err(error) => tracing::warn!(id, %error, "expired transactional id stays for now"),
        }
    }
}
