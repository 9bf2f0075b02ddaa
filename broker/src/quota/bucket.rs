//! Tokens that come at a steady rate and are taken by changes (`TokenBucket` in Kafka, KIP-599).
//!
//! One change may take more than there is: the next ones wait until the debt is paid.

use super::rate::Window;

/// A bucket. A new one is full.
#[derive(Default)]
pub struct Bucket {
    /// The tokens, and since when; `None` until first used.
    tokens: Option<(f64, i64)>,
}

impl Bucket {
    /// Takes tokens, if there is no debt.
    ///
    /// # Errors
    /// How long until the debt is paid, in ms; nothing was taken.
    pub fn take(
        &mut self,
        window: Window,
        limit: f64,
        tokens: f64,
        now_ms: i64,
    ) -> Result<(), i64> {
        self.owed_ms(window, limit, now_ms).map_or(Ok(()), Err)?;
        self.take_anyway(window, limit, tokens, now_ms);
        Ok(())
    }

    /// Takes tokens whatever there is; how long until the debt is paid, in ms, 0 without one.
    pub fn take_anyway(&mut self, window: Window, limit: f64, tokens: f64, now_ms: i64) -> i64 {
        let there = self.refill(window, limit, now_ms);
        self.tokens = Some((there - tokens, now_ms));
        self.owed_ms(window, limit, now_ms).unwrap_or(0)
    }

    /// Whether it is full, so that it can be forgotten.
    pub fn is_full(&mut self, window: Window, limit: f64, now_ms: i64) -> bool {
        self.refill(window, limit, now_ms) >= burst(window, limit)
    }

    fn owed_ms(&mut self, window: Window, limit: f64, now_ms: i64) -> Option<i64> {
        let there = self.refill(window, limit, now_ms);
        (there < 0.0).then(|| (-there / limit * 1_000.0).round() as i64)
    }

    fn refill(&mut self, window: Window, limit: f64, now_ms: i64) -> f64 {
        let burst = burst(window, limit);
        let there = match self.tokens {
            None => burst,
            Some((tokens, since_ms)) => {
                let seconds = (now_ms - since_ms).max(0) as f64 / 1_000.0;
                (tokens + limit * seconds).min(burst)
            }
        };
        self.tokens = Some((there, now_ms));
        there
    }
}

fn burst(window: Window, limit: f64) -> f64 {
    window.samples as f64 * (window.sample_ms as f64 / 1_000.0) * limit
}

#[cfg(test)]
mod tests {
    use super::*;

    // Follows StrictControllerMutationQuotaTest and PermissiveControllerMutationQuotaTest.
    #[test]
    fn a_debt_is_allowed_once_and_must_be_paid() {
        let window = Window::new(11, 1);
        let mut bucket = Bucket::default();
        // 11 s at 10 per second: 110. 160 are taken, 50 owed: 5 s.
        assert_eq!(bucket.take(window, 10.0, 160.0, 0), Ok(()));
        assert_eq!(bucket.take(window, 10.0, 1.0, 0), Err(5_000));
        assert_eq!(bucket.take(window, 10.0, 1.0, 4_000), Err(1_000));
        assert_eq!(bucket.take(window, 10.0, 1.0, 5_000), Ok(()));
        assert_eq!(bucket.take_anyway(window, 10.0, 99.0, 5_000), 10_000);
        assert!(!bucket.is_full(window, 10.0, 20_000));
        assert!(bucket.is_full(window, 10.0, 26_000));
    }
}
