//! What happens without a client asking: transactions whose time is over are aborted, transactional
//! ids that nobody uses any more are forgotten.

use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::sync::oneshot;

use super::cell::Cell;
use super::coordinator::Inner;
use super::error::TxnError;
use crate::clock;

/// Aborts transactions whose time is over, at every
/// `transaction.abort.timed.out.transaction.cleanup.interval.ms`.
pub(super) async fn abort_timed_out(inner: Weak<Inner>) {
    while let Some(pause_ms) = inner.upgrade().map(|inner| inner.config.abort_interval_ms) {
        tokio::time::sleep(Duration::from_millis(pause_ms)).await;
        if let Some(inner) = inner.upgrade() {
            inner.abort_timed_out(clock::now_ms()).await;
        }
    }
}

/// Forgets expired ids, at every `transaction.remove.expired.transaction.cleanup.interval.ms`.
pub(super) async fn forget_expired(inner: Weak<Inner>) {
    while let Some(pause_ms) = inner.upgrade().map(|inner| inner.config.forget_interval_ms) {
        tokio::time::sleep(Duration::from_millis(pause_ms)).await;
        if let Some(inner) = inner.upgrade() {
            inner.forget_expired(clock::now_ms());
        }
    }
}

impl Inner {
    /// Aborts the transactions whose time is over at `now_ms`; their producers are fenced.
    pub(super) async fn abort_timed_out(&self, now_ms: i64) {
        for cell in self.cells() {
            let (is_due, needs_id) = {
                let state = cell.state.lock();
                let machine = &state.machine;
                (machine.has_timed_out(now_ms), machine.needs_producer_id())
            };
            if !is_due {
                continue;
            }
            let id = cell.id.as_str();
            match self.abort(&cell, needs_id, now_ms).await {
                Ok(()) => tracing::info!(id, "transaction aborted: its time is over"),
                Err(error) => tracing::warn!(id, %error, "transaction not aborted yet"),
            }
        }
    }

    async fn abort(&self, cell: &Arc<Cell>, needs_id: bool, now_ms: i64) -> Result<(), TxnError> {
        let fresh = match needs_id {
            true => Some(self.fresh_producer_id().await?),
            false => None,
        };
        let (told, stored) = oneshot::channel();
        {
            let mut state = cell.state.lock();
            // It may have ended between the locks.
            if state.is_dead || !state.machine.has_timed_out(now_ms) {
                return Ok(());
            }
            let next = state.machine.plan_abort(fresh, now_ms)?;
            let answer = Ok(next.producer());
            self.prepare(cell, &mut state, next, answer, told)?;
        }
        stored
            .await
            .unwrap_or(Err(TxnError::ShuttingDown))
            .map(drop)
    }

    /// Forgets the ids that have expired at `now_ms`.
    pub(super) fn forget_expired(&self, now_ms: i64) {
        for cell in self.cells() {
            let id = cell.id.as_str();
            match self.forget(&cell, now_ms) {
                Ok(false) => {}
                Ok(true) => tracing::info!(id, "transactional id expired"),
                Err(error) => tracing::warn!(id, %error, "expired transactional id stays for now"),
            }
        }
    }
}
