//! Fetched bytes that are not yet stored: bounded for each partition and for the whole link.
//!
//! The bound is soft: a request is only sent below it, and its answer may exceed it by one answer
//! per connection.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering};

use tokio::sync::Notify;

/// The bytes of a whole link.
#[derive(Debug)]
pub(crate) struct Budget {
    limit_bytes: usize,
    in_flight_bytes: AtomicUsize,
    drained: Notify,
}

impl Budget {
    /// At most `limit_bytes` in flight when a request is sent.
    pub(crate) fn new(limit_bytes: usize) -> Arc<Self> {
        Arc::new(Self {
            limit_bytes,
            in_flight_bytes: AtomicUsize::new(0),
            drained: Notify::new(),
        })
    }

    /// Fetched and not yet stored.
    pub(crate) fn in_flight_bytes(&self) -> usize {
        self.in_flight_bytes.load(Ordering::Acquire)
    }

    /// Waits until the link is below its bound.
    pub(crate) async fn available(&self) {
        loop {
            let drained = self.drained.notified();
            tokio::pin!(drained);
            drained.as_mut().enable();
            if self.in_flight_bytes() < self.limit_bytes {
                return;
            }
            drained.await;
        }
    }
}

/// The bytes of one partition.
#[derive(Debug)]
pub(crate) struct Share {
    in_flight_bytes: AtomicUsize,
    /// When the first answer was asked for that has been in flight, with later ones, ever since.
    busy_since_ms: AtomicI64,
    budget: Arc<Budget>,
    fetcher: Arc<Notify>,
}

impl Share {
    /// None in flight; `fetcher` is told when that is so again.
    pub(crate) fn new(budget: Arc<Budget>, fetcher: Arc<Notify>) -> Arc<Self> {
        Arc::new(Self {
            in_flight_bytes: AtomicUsize::new(0),
            busy_since_ms: AtomicI64::new(0),
            budget,
            fetcher,
        })
    }

    /// Fetched and not yet stored.
    pub(crate) fn in_flight_bytes(&self) -> usize {
        self.in_flight_bytes.load(Ordering::Acquire)
    }

    /// Since when answers are in flight without a pause, milliseconds since the epoch; `None` if
    /// none is.
    pub(crate) fn busy_since_ms(&self) -> Option<i64> {
        let since_ms = self.busy_since_ms.load(Ordering::Acquire);
        (self.in_flight_bytes() > 0).then_some(since_ms)
    }

    /// Counts `bytes` of an answer until the guard is dropped. Only the fetcher calls it.
    pub(crate) fn take(self: &Arc<Self>, bytes: usize, asked_at_ms: i64) -> InFlight {
        if self.in_flight_bytes() == 0 {
            self.busy_since_ms.store(asked_at_ms, Ordering::Release);
        }
        self.in_flight_bytes.fetch_add(bytes, Ordering::AcqRel);
        self.budget
            .in_flight_bytes
            .fetch_add(bytes, Ordering::AcqRel);
        InFlight {
            share: Arc::clone(self),
            bytes,
        }
    }
}

/// Bytes in flight, until it is dropped.
#[derive(Debug)]
pub(crate) struct InFlight {
    share: Arc<Share>,
    bytes: usize,
}

impl Drop for InFlight {
    fn drop(&mut self) {
        let share = &self.share;
        share
            .in_flight_bytes
            .fetch_sub(self.bytes, Ordering::AcqRel);
        share
            .budget
            .in_flight_bytes
            .fetch_sub(self.bytes, Ordering::AcqRel);
        share.budget.drained.notify_waiters();
        share.fetcher.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_link_over_its_bound_waits_until_bytes_are_stored() {
        let budget = Budget::new(100);
        let share = Share::new(Arc::clone(&budget), Arc::new(Notify::new()));
        let first = share.take(60, 5);
        budget.available().await;
        let second = share.take(60, 6);
        assert_eq!(budget.in_flight_bytes(), 120);
        let waiting = tokio::spawn({
            let budget = Arc::clone(&budget);
            async move { budget.available().await }
        });
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished());
        drop(first);
        waiting.await.expect("it ends");
        assert_eq!(share.in_flight_bytes(), 60);
        assert_eq!(share.busy_since_ms(), Some(5));
        drop(second);
        assert_eq!(share.busy_since_ms(), None);
        assert_eq!(budget.in_flight_bytes(), 0);
    }
}
