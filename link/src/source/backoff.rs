//! Exponential back-off with jitter, as Kafka's `ExponentialBackoff`: doubling, ±20 %.

use std::time::Duration;

const JITTER: f64 = 0.2;

/// Waits between attempts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Backoff {
    base_ms: u64,
    max_ms: u64,
}

impl Backoff {
    /// From `base_ms` after the first failure up to `max_ms`.
    pub fn new(base_ms: u64, max_ms: u64) -> Self {
        Self {
            base_ms,
            max_ms: max_ms.max(base_ms),
        }
    }

    /// The wait after so many failures in a row, zero after none.
    pub fn delay(&self, failures: u32) -> Duration {
        let Some(exponent) = failures.checked_sub(1) else {
            return Duration::ZERO;
        };
        let factor = 1u64.checked_shl(exponent).unwrap_or(u64::MAX);
        let full_ms = self.base_ms.saturating_mul(factor).min(self.max_ms);
        let jitter = rand::random_range(1.0 - JITTER..1.0 + JITTER);
        Duration::from_secs_f64(full_ms as f64 / 1000.0 * jitter)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_the_longest_and_jitter_by_a_fifth() {
        let backoff = Backoff::new(50, 1000);
        assert_eq!(backoff.delay(0), Duration::ZERO);
        for (failures, full_ms) in [(1, 50), (2, 100), (3, 200), (5, 800), (6, 1000), (90, 1000)] {
            for _ in 0..20 {
                let wait = backoff.delay(failures).as_secs_f64() * 1000.0 / f64::from(full_ms);
                assert!((0.8..=1.2).contains(&wait), "{failures}: {wait}");
            }
        }
    }
}
