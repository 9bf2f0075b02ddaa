//! When a fetcher last got an answer: what its source's silence means.

use std::sync::atomic::{AtomicI64, Ordering};

/// When a fetcher last got an answer: the time at which the answered request was sent, milliseconds
/// since the epoch.
///
/// Partitions of a fetch session that an answer doesn't name had nothing new then.
#[derive(Debug, Default)]
pub(crate) struct Heartbeat {
    answered_ms: AtomicI64,
    silent_ms: AtomicI64,
    apart_ms: AtomicI64,
}

impl Heartbeat {
    /// A request sent at `sent_at_ms` was answered; `with_records` says whether any partition got
    /// some.
    pub(crate) fn answered(&self, sent_at_ms: i64, with_records: bool) {
        self.answered_ms.fetch_max(sent_at_ms, Ordering::Relaxed);
        if !with_records {
            self.silent_ms.fetch_max(sent_at_ms, Ordering::Relaxed);
        }
    }

    /// A request outside the session, sent at `sent_at_ms`, was answered. It says nothing about other partitions.
    pub(crate) fn answered_apart(&self, sent_at_ms: i64) {
        self.apart_ms.fetch_max(sent_at_ms, Ordering::Relaxed);
    }

    /// The last answer to anything.
    pub(crate) fn last_contact_ms(&self) -> Option<i64> {
        let apart = self.apart_ms.load(Ordering::Relaxed);
        self.last_ms().max(Some(apart).filter(|at| *at > 0))
    }

    /// The last answer of the session, `None` before the first.
    pub(crate) fn last_ms(&self) -> Option<i64> {
        Some(self.answered_ms.load(Ordering::Relaxed)).filter(|at| *at > 0)
    }

    /// The last answer in which no partition had records.
    pub(crate) fn silent_ms(&self) -> Option<i64> {
        Some(self.silent_ms.load(Ordering::Relaxed)).filter(|at| *at > 0)
    }
}
