//! Exponential back-off with jitter.

use std::time::Duration;

const JITTER: f64 = 0.2;

/// How long to wait after a number of failures: doubling, ±20 %, as Kafka's `ExponentialBackoff`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Curve {
    base_ms: u64,
    max_ms: u64,
}

impl Curve {
    /// From `base_ms` after the first failure up to `max_ms`.
    pub(crate) fn new(base_ms: u64, max_ms: u64) -> Self {
        Self {
            base_ms,
            max_ms: max_ms.max(base_ms),
        }
    }

    /// The wait after that many consecutive failures; zero after none.
    pub(crate) fn delay(&self, failures: u32) -> Duration {
        let Some(exponent) = failures.checked_sub(1) else {
            return Duration::ZERO;
        };
        let factor = 1u64.checked_shl(exponent).unwrap_or(u64::MAX);
        let full_ms = self.base_ms.saturating_mul(factor).min(self.max_ms);
        let jitter = rand::random_range(1.0 - JITTER..1.0 + JITTER);
        Duration::from_secs_f64(full_ms as f64 / 1000.0 * jitter)
    }
}

/// A [`Curve`], and the consecutive failures so far.
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

    /// Counts one more failure; the wait after it.
    pub(crate) fn next_wait(&mut self) -> Duration {
        self.failures = self.failures.saturating_add(1);
        self.curve.delay(self.failures)
    }

    /// The wait after the failures so far; zero if there are none.
    pub(crate) fn present_wait(&self) -> Duration {
        self.curve.delay(self.failures)
    }

    /// The attempt succeeded: the next wait is short again.
    pub(crate) fn reset(&mut self) {
        self.failures = 0;
    }

    /// Failures since the last success.
    pub(crate) fn failures(&self) -> u32 {
        self.failures
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_the_longest_and_jitter_by_a_fifth() {
        let backoff = Curve::new(50, 1000);
        assert_eq!(backoff.delay(0), Duration::ZERO);
        for (failures, full_ms) in [(1, 50), (2, 100), (3, 200), (5, 800), (6, 1000), (90, 1000)] {
            for _ in 0..20 {
                let wait = backoff.delay(failures).as_secs_f64() * 1000.0 / f64::from(full_ms);
                assert!((0.8..=1.2).contains(&wait), "{failures}: {wait}");
            }
        }
    }
}
