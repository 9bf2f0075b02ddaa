//! Bytes per second of a whole link: one bucket, shared by all its connections.
//!
//! How much a fetch returns is known only afterwards. So it asks for less than a second's worth and
//! is charged when it has arrived, and the next request waits until the debt is paid. Unused bytes
//! stay available for a second.
//!
//! Invariant: in any period of `t` seconds, at most `rate · (t + 1)` bytes are charged, plus once
//! the bytes that the requests in flight had been granted. Over time the rate is exact, however
//! large a single batch is.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

/// Unused bytes are kept for this long. A fetch asks for no more than this time's worth.
const WINDOW: Duration = Duration::from_secs(1);

/// The longest single wait: after it, a removed limit is noticed.
const WAIT_MAX: Duration = Duration::from_secs(1);

/// The bucket, without a clock: times are since any fixed point.
#[derive(Debug, Clone, Copy)]
struct Bucket {
    /// `None` for no limit.
    bytes_per_second: Option<u64>,
    /// What was charged so far is paid for then.
    paid_at: Duration,
}

impl Bucket {
    fn set_rate(&mut self, bytes_per_second: Option<u64>, now: Duration) {
        let debt = self.paid_at.saturating_sub(now);
        self.paid_at = match (self.bytes_per_second, bytes_per_second) {
            (Some(old), Some(new)) => now.saturating_add(scaled(debt, old, new)),
            _ => now,
        };
        self.bytes_per_second = bytes_per_second;
    }

    /// How long nothing may be asked for.
    fn wait(&self, now: Duration) -> Option<Duration> {
        self.bytes_per_second?;
        Some(self.paid_at.saturating_sub(now)).filter(|wait| !wait.is_zero())
    }

    fn charge(&mut self, bytes: u64, now: Duration) {
        let Some(rate) = self.bytes_per_second else {
            return;
        };
        let worth = scaled(Duration::from_secs(1), bytes, rate);
        let from = self.paid_at.max(now.saturating_sub(WINDOW));
        self.paid_at = from.saturating_add(worth);
    }

    /// The most that one request should ask for.
    fn request_max_bytes(&self) -> u32 {
        let worth = self.bytes_per_second.unwrap_or(u64::MAX);
        u32::try_from(worth.saturating_mul(WINDOW.as_secs())).unwrap_or(u32::MAX)
    }
}

/// `time · by / per`, as far as it fits.
fn scaled(time: Duration, by: u64, per: u64) -> Duration {
    let nanos = time.as_nanos().saturating_mul(by.into()) / u128::from(per.max(1));
    Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
}

/// A link's limit on bytes per second. Outlives changes of the link's configs, debt included.
#[derive(Debug)]
pub(crate) struct Throttle {
    began: Instant,
    bucket: Mutex<Bucket>,
}

impl Throttle {
    /// No limit.
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self {
            began: Instant::now(),
            bucket: Mutex::new(Bucket {
                bytes_per_second: None,
                paid_at: Duration::ZERO,
            }),
        })
    }

    /// Sets the bytes per second; `None` for no limit. A debt stays the same number of bytes.
    pub(crate) fn set_rate(&self, bytes_per_second: Option<u64>) {
        let now = self.began.elapsed();
        self.bucket.lock().set_rate(bytes_per_second, now);
    }

    /// How long to wait at least before the next request, then ask again; `None` for not at all.
    pub(crate) fn wait(&self) -> Option<Duration> {
        let now = self.began.elapsed();
        let wait = self.bucket.lock().wait(now);
        wait.map(|wait| wait.min(WAIT_MAX))
    }

    /// Waits until something may be asked for.
    pub(crate) async fn admitted(&self) {
        while let Some(wait) = self.wait() {
            tokio::time::sleep(wait).await;
        }
    }

    /// The most that one request should ask for, bytes.
    pub(crate) fn request_max_bytes(&self) -> u32 {
        self.bucket.lock().request_max_bytes()
    }

    /// This many bytes have arrived.
    pub(crate) fn charge(&self, bytes: usize) {
        let now = self.began.elapsed();
        let bytes = u64::try_from(bytes).unwrap_or(u64::MAX);
        self.bucket.lock().charge(bytes, now);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Where the model's time begins: not at the beginning of all time.
    const START: Duration = Duration::from_secs(1_000);

    fn bucket(rate: u64) -> Bucket {
        let mut bucket = Bucket {
            bytes_per_second: None,
            paid_at: Duration::ZERO,
        };
        bucket.set_rate(Some(rate), START);
        bucket
    }

    /// Several that fetch as soon as they may, each answered after its own time with any number of bytes.
    #[derive(Debug, Clone)]
    struct Load {
        rate: u64,
        askers: usize,
        answers: Vec<(u64, u64)>,
    }

    fn load() -> impl Strategy<Value = Load> {
        (1_u64..50_000_000, 1_usize..5).prop_flat_map(|(rate, askers)| {
            // A batch may be larger than a second's worth, and than what was asked for.
            let answer = (0..rate.saturating_mul(3), 0_u64..400);
            let answers = prop::collection::vec(answer, 20..200);
            answers.prop_map(move |answers| Load {
                rate,
                askers,
                answers,
            })
        })
    }

    /// When which bytes came, by a clock of the model's own.
    fn played(load: &Load) -> Vec<(Duration, u64)> {
        let mut bucket = bucket(load.rate);
        let mut free_at = vec![START; load.askers];
        let mut pending: Vec<(Duration, usize, u64)> = Vec::new();
        let mut came = Vec::new();
        let mut answers = load.answers.iter();
        loop {
            let first_answer = pending.iter().map(|pending| pending.0).min();
            let idle = (0..load.askers).filter(|asker| pending.iter().all(|it| it.1 != *asker));
            let first_ask = idle.min_by_key(|asker| free_at[*asker]);
            match (first_ask, first_answer) {
                (Some(asker), answer) if answer.is_none_or(|at| free_at[asker] < at) => {
                    let now = free_at[asker];
                    if let Some(wait) = bucket.wait(now) {
                        free_at[asker] = now + wait;
                        continue;
                    }
                    let Some((bytes, after_ms)) = answers.next() else {
                        break;
                    };
                    pending.push((now + Duration::from_millis(*after_ms), asker, *bytes));
                }
                (_, Some(at)) => {
                    let index = pending.iter().position(|it| it.0 == at).unwrap();
                    let (at, asker, bytes) = pending.remove(index);
                    bucket.charge(bytes, at);
                    free_at[asker] = at;
                    came.push((at, bytes));
                }
                _ => unreachable!("some asker is idle if nothing is pending"),
            }
        }
        came
    }

    proptest! {
        #[test]
        fn no_stretch_of_time_has_more_than_its_share(load in load()) {
            let came = played(&load);
            let largest = came.iter().map(|(_, bytes)| *bytes).max().unwrap_or(0);
            let askers = u64::try_from(load.askers).unwrap();
            let allowance = load.rate + askers * largest + 1;
            for (index, (from, _)) in came.iter().enumerate() {
                let mut sum = 0;
                for (at, bytes) in &came[index..] {
                    sum += bytes;
                    let share = (*at - *from).as_secs_f64() * load.rate as f64;
                    prop_assert!(sum as f64 <= share + allowance as f64 + 1.0, "{sum} of {share} + {allowance}");
                }
            }
        }

        #[test]
        fn who_always_asks_gets_the_whole_rate(rate in 1_000_u64..50_000_000, rtt_ms in 0_u64..900) {
            let asked = u64::from(bucket(rate).request_max_bytes());
            let answers = vec![(asked, rtt_ms); 100];
            let came = played(&Load { rate, askers: 1, answers });
            let (last, _) = came.last().copied().unwrap();
            let sum: u64 = came.iter().map(|(_, bytes)| bytes).sum();
            let used = sum as f64 / (rate as f64 * (last - START).as_secs_f64());
            prop_assert!((0.95..=1.05).contains(&used), "{used}");
        }

        #[test]
        fn a_debt_is_one_of_bytes_whatever_becomes_of_the_rate(
            bytes in 1_000_000_u64..1_000_000_000, old in 1_000_u64..1_000_000, new in 1_000_u64..1_000_000,
        ) {
            let mut changed = bucket(old);
            changed.charge(bytes, START);
            changed.set_rate(Some(new), START);
            let wait = changed.wait(START).unwrap().as_secs_f64();
            let expected = bytes as f64 / new as f64;
            prop_assert!((wait - expected).abs() <= expected / 1e3 + 1e-3, "{wait} {expected}");
            changed.set_rate(None, START);
            prop_assert_eq!(changed.wait(START), None);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_lifted_limit_lets_waiters_go() {
        let throttle = Throttle::new();
        throttle.set_rate(Some(1));
        throttle.charge(1_000_000);
        let waiting = tokio::spawn({
            let throttle = Arc::clone(&throttle);
            async move { throttle.admitted().await }
        });
        tokio::time::sleep(Duration::from_secs(100)).await;
        assert!(!waiting.is_finished());
        throttle.set_rate(None);
        tokio::time::timeout(Duration::from_secs(2), waiting)
            .await
            .expect("it is let go")
            .expect("it ends");
        assert_eq!(throttle.request_max_bytes(), u32::MAX);
    }
}
