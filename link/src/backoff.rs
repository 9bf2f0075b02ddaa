//! Counts failures in a row, and says how long to wait after each.

use std::time::Duration;

use crate::source::backoff::Backoff as Curve;

/// A [`Curve`] with the failures counted.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Backoff {
    curve: Curve,
    failures: u32,
}

impl Backoff {
    /// Waits between `base_ms` and `max_ms`, before jitter.
    pub(crate) fn new(base_ms: u64, max_ms: u64) -> Self {
        Self {
            curve: Curve::new(base_ms.max(1), max_ms.max(1)),
            failures: 0,
        }
    }

    /// How long to wait after one more failure.
    pub(crate) fn next_wait(&mut self) -> Duration {
        self.failures = self.failures.saturating_add(1);
        self.curve.delay(self.failures)
    }

    /// How long to wait after the failures so far: nothing without one.
    pub(crate) fn present_wait(&self) -> Duration {
        self.curve.delay(self.failures)
    }

    /// It worked: the next wait is a short one again.
    pub(crate) fn reset(&mut self) {
        self.failures = 0;
    }

    /// How often it failed since it last worked.
    pub(crate) fn failures(&self) -> u32 {
        self.failures
    }
}
