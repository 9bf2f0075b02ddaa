//! Fetched bytes that are not yet stored: bounded for each partition and for the whole link.
//!
//! The bound is soft: a request is only sent below it, and its answer may exceed it by one answer
//! per connection.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

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
    budget: Arc<Budget>,
    fetcher: Arc<Notify>,
}

impl Share {
    /// None in flight; `fetcher` is told when that is so again.
    pub(crate) fn new(budget: Arc<Budget>, fetcher: Arc<Notify>) -> Arc<Self> {
        Arc::new(Self {
            in_flight_bytes: AtomicUsize::new(0),
            budget,
            fetcher,
        })
    }

    /// Fetched and not yet stored.
    pub(crate) fn in_flight_bytes(&self) -> usize {
        self.in_flight_bytes.load(Ordering::Acquire)
    }

    /// Counts `bytes` until the guard is dropped.
    pub(crate) fn take(self: &Arc<Self>, bytes: usize) -> InFlight {
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
        let first = share.take(60);
        budget.available().await;
        let second = share.take(60);
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
        drop(second);
        assert_eq!(budget.in_flight_bytes(), 0);
    }
}
