//! A rate over a sliding window of samples (`Rate` and `SampledStat` in Kafka).
//!
//! Time is divided into samples of `sample_ms`, which begin when something is recorded. The rate is
//! the sum of the samples over the time since the oldest of them, but at least over all samples but
//! one: so a burst after silence does not count as a high rate.

use std::collections::VecDeque;

/// How a window is cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    /// `quota.window.num`: how many samples, at least one.
    pub samples: usize,
    /// `quota.window.size.seconds`, in ms: how long each is.
    pub sample_ms: i64,
}

impl Window {
    /// A window of several samples of several seconds.
    pub fn new(samples: usize, sample_seconds: i64) -> Self {
        Self {
            samples: samples.max(1),
            sample_ms: sample_seconds.max(1).saturating_mul(1_000),
        }
    }

    /// How long a rate remembers.
    fn length_ms(self) -> i64 {
        self.sample_ms
            .saturating_mul(i64::try_from(self.samples).unwrap_or(i64::MAX))
    }

    /// All samples but the last.
    fn full_samples(self) -> i64 {
        i64::try_from(self.samples - 1).unwrap_or(i64::MAX)
    }

    /// The burst that is guaranteed not to be delayed, in seconds' worth (`maxValueInQuotaWindow`).
    pub fn burst_seconds(self) -> f64 {
        self.full_samples() as f64 * (self.sample_ms as f64 / 1_000.0)
    }
}

struct Sample {
    start_ms: i64,
    last_ms: i64,
    value: f64,
}

#[derive(Default)]
pub struct Rate {
    /// In order of time.
    samples: VecDeque<Sample>,
}

impl Rate {
    /// Records a value; a negative one undoes an earlier one.
    pub fn record(&mut self, window: Window, value: f64, now_ms: i64) {
        match self.samples.back_mut() {
            Some(sample) if now_ms - sample.start_ms < window.sample_ms => {
                sample.value += value;
                sample.last_ms = now_ms;
            }
            _ => {
                // One more than the window has: the oldest overlaps its edge.
                while self.samples.len() > window.samples {
                    self.samples.pop_front();
                }
                self.samples.push_back(Sample {
                    start_ms: now_ms,
                    last_ms: now_ms,
                    value,
                });
            }
        }
    }

    /// How long from now a value recorded now would have to be spread to keep to `limit` per second,
    /// in ms; 0 when the limit is kept (`QuotaUtils.throttleTime`).
    pub fn delay_ms(&mut self, window: Window, limit: f64, now_ms: i64) -> i64 {
        let elapsed_ms = self.elapsed_ms(window, now_ms) as f64;
        let total: f64 = self.samples.iter().map(|sample| sample.value).sum();
        let rate = total / (elapsed_ms / 1_000.0);
        match rate > limit {
            // A cast from float saturates.
            true => ((rate - limit) / limit * elapsed_ms).round() as i64,
            false => 0,
        }
    }

    /// Whether it remembers nothing, so that it can be forgotten.
    pub fn is_idle(&mut self, window: Window, now_ms: i64) -> bool {
        self.purge(window, now_ms);
        self.samples.is_empty()
    }

    /// The time that the rate is taken over.
    fn elapsed_ms(&mut self, window: Window, now_ms: i64) -> i64 {
        self.purge(window, now_ms);
        let oldest_ms = self
            .samples
            .front()
            .map_or(now_ms, |oldest| oldest.start_ms);
        let elapsed_ms = now_ms - oldest_ms;
        let missing = window.full_samples() - elapsed_ms / window.sample_ms;
        (elapsed_ms + missing.max(0) * window.sample_ms).max(1)
    }

    fn purge(&mut self, window: Window, now_ms: i64) {
        let length_ms = window.length_ms();
        self.samples
            .retain(|sample| now_ms - sample.last_ms < length_ms);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const WINDOW: Window = Window {
        samples: 11,
        sample_ms: 1_000,
    };

    // Follows ClientQuotaManagerTest.testQuotaViolation.
    #[test]
    fn a_burst_is_spread_over_the_time_that_the_quota_gives_it() {
        let (mut rate, mut now_ms) = (Rate::default(), 0);
        // 400 per second against 500 for ten seconds: within the quota.
        for _ in 0..10 {
            rate.record(WINDOW, 400.0, now_ms);
            assert_eq!(rate.delay_ms(WINDOW, 500.0, now_ms), 0);
            now_ms += 1_000;
        }
        // Half a second later a spike: 4,000 + 2,300 in 10.5 s are 600 per second.
        now_ms += 500;
        rate.record(WINDOW, 2_300.0, now_ms);
        // 10.5 s at (600 - 500) / 500.
        assert_eq!(rate.delay_ms(WINDOW, 500.0, now_ms), 2_100);
    }

    #[test]
    fn a_value_larger_than_the_window_is_forgotten_with_its_sample() {
        let mut rate = Rate::default();
        rate.record(WINDOW, 100_000.0, 0);
        assert_eq!(rate.delay_ms(WINDOW, 5_000.0, 0), 10_000);
        assert_eq!(rate.delay_ms(WINDOW, 5_000.0, 11_000), 0);
    }

    #[test]
    fn what_was_taken_back_does_not_count() {
        let mut rate = Rate::default();
        rate.record(WINDOW, 100_000.0, 5);
        rate.record(WINDOW, -100_000.0, 6);
        assert_eq!(rate.delay_ms(WINDOW, 1.0, 6), 0);
    }

    #[test]
    fn silence_is_forgotten_and_then_nothing_is_left() {
        let mut rate = Rate::default();
        rate.record(WINDOW, 100.0, 0);
        assert!(!rate.is_idle(WINDOW, 10_999));
        assert!(rate.is_idle(WINDOW, 11_000));
        assert_eq!(rate.delay_ms(WINDOW, 1.0, 11_000), 0);
    }

    proptest! {
        /// A client that waits as told stays within the quota in the long run.
        #[test]
        fn a_client_that_waits_as_told_keeps_to_its_quota(
            seconds in prop::collection::vec(0.001..1.0_f64, 50..200),
            limit in 100.0..20_000.0_f64,
        ) {
            let (mut rate, mut now_ms, mut sent) = (Rate::default(), 0_i64, 0.0);
            for size in seconds.into_iter().map(|seconds| seconds * limit) {
                rate.record(WINDOW, size, now_ms);
                sent += size;
                now_ms += rate.delay_ms(WINDOW, limit, now_ms) + 1;
            }
            let allowed = limit * (now_ms as f64 / 1_000.0) + limit * WINDOW.burst_seconds();
            prop_assert!(sent <= allowed * 1.11 + limit, "{sent} of {allowed} in {now_ms} ms");
        }
    }
}
