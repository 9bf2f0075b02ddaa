//! Fetched bytes that are not yet stored: bounded for each partition and for the whole link.
//!
//! The bound is soft: a request is only sent below it, and its answer may exceed it by one answer
//! per connection. Never is more released than was taken (asserted).

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

    /// Whether that many more may be requested.
    pub(crate) fn has_room(&self, bytes: usize) -> bool {
        let in_flight = self.in_flight_bytes();
        in_flight == 0 || in_flight.saturating_add(bytes) <= self.limit_bytes
    }

    /// What all large requests together may ask for: the rest is for the other partitions.
    pub(crate) fn window_max_bytes(&self) -> usize {
        self.limit_bytes / 4 * 3
    }

    /// Whether the link is below its bound.
    pub(crate) fn is_available(&self) -> bool {
        self.in_flight_bytes() < self.limit_bytes
    }

    /// Waits until the link is below its bound.
    pub(crate) async fn available(&self) {
        loop {
            let drained = self.drained.notified();
            tokio::pin!(drained);
            drained.as_mut().enable();
            if self.is_available() {
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
    /// Since when the fetch session's silence says nothing about it; 0 while it does.
    away_since_ms: AtomicI64,
    budget: Arc<Budget>,
    fetcher: Arc<Notify>,
}

impl Share {
    /// None in flight; `fetcher` is notified whenever that becomes true again.
    pub(crate) fn new(budget: Arc<Budget>, fetcher: Arc<Notify>) -> Arc<Self> {
        Arc::new(Self {
            in_flight_bytes: AtomicUsize::new(0),
            busy_since_ms: AtomicI64::new(0),
            away_since_ms: AtomicI64::new(0),
            budget,
            fetcher,
        })
    }

    /// Fetched and not yet stored.
    pub(crate) fn in_flight_bytes(&self) -> usize {
        self.in_flight_bytes.load(Ordering::Acquire)
    }

    /// Since when the session's silence says nothing about it, milliseconds since the epoch:
    /// because answers are in flight without a pause, or because it isn't part of the session.
    /// `None` if its silence does say something.
    pub(crate) fn busy_since_ms(&self) -> Option<i64> {
        let since_ms = self.busy_since_ms.load(Ordering::Acquire);
        let busy = (self.in_flight_bytes() > 0).then_some(since_ms);
        let away = Some(self.away_since_ms.load(Ordering::Acquire)).filter(|since| *since > 0);
        busy.into_iter().chain(away).min()
    }

    /// The session last asked for it then, and doesn't from now on.
    pub(crate) fn leaves_session(&self, asked_at_ms: i64) {
        let _ = self.away_since_ms.compare_exchange(
            0,
            asked_at_ms.max(1),
            Ordering::AcqRel,
            Ordering::Acquire,
        );
    }

    /// The session has asked for it, and was answered.
    pub(crate) fn is_in_session(&self) {
        self.away_since_ms.store(0, Ordering::Release);
    }

    /// Counts `bytes` of an answer, or of a request, until the guard is dropped. Only the fetcher
    /// calls it.
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

impl InFlight {
    /// That many of the requested bytes have arrived.
    pub(crate) fn came(mut self, bytes: usize) -> Self {
        let share = &self.share;
        let counts = [&share.in_flight_bytes, &share.budget.in_flight_bytes];
        for count in counts {
            // Up first: in between it must not look as if nothing were in flight.
            count.fetch_add(bytes, Ordering::AcqRel);
            take_back(count, self.bytes);
        }
        self.bytes = bytes;
        share.budget.drained.notify_waiters();
        self
    }
}

fn take_back(count: &AtomicUsize, bytes: usize) {
    let before = count.fetch_sub(bytes, Ordering::AcqRel);
    assert!(
        before >= bytes,
        "{bytes} bytes are released, but {before} were taken"
    );
}

impl Drop for InFlight {
    fn drop(&mut self) {
        let share = &self.share;
        take_back(&share.in_flight_bytes, self.bytes);
        take_back(&share.budget.in_flight_bytes, self.bytes);
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

    #[tokio::test]
    async fn what_is_asked_for_counts_until_it_has_come() {
        let budget = Budget::new(100);
        let share = Share::new(Arc::clone(&budget), Arc::new(Notify::new()));
        assert!(budget.has_room(1_000), "a single request always has");
        let asked = share.take(80, 5);
        assert!(budget.has_room(20) && !budget.has_room(21));
        let came = asked.came(30);
        assert!(budget.has_room(70) && !budget.has_room(71));
        drop(came);
        assert_eq!(budget.in_flight_bytes(), 0);
    }

    #[test]
    fn silence_says_nothing_of_a_partition_that_is_not_in_the_session() {
        let share = Share::new(Budget::new(100), Arc::new(Notify::new()));
        share.leaves_session(7);
        share.leaves_session(9);
        assert_eq!(share.busy_since_ms(), Some(7));
        let asked = share.take(10, 3);
        assert_eq!(share.busy_since_ms(), Some(3));
        drop(asked);
        share.is_in_session();
        assert_eq!(share.busy_since_ms(), None);
    }
}
