//! How much may be requested from a source broker at a time, given what its path can carry.
//!
//! A path is full while twice its round trip's worth of bytes is requested, in several requests:
//! while the first byte of one answer travels, bytes of the others arrive. So the window is twice
//! the round trip times the rate at which bytes arrive. It doubles each round trip until the rate
//! no longer grows with it.
//!
//! Each request has its own connection, because socket buffers may limit one connection to less
//! than the path's rate. More connections are tried occasionally, and kept if they help.
//!
//! Pure: times come from outside. Invariants, asserted of every plan: a plan's requests together are at most the larger of the limit in bytes
//! and one request; a request is never above the limit for a request. Requests of earlier plans are counted by the
//! link's budget.

use std::time::Duration;

use tokio::time::Instant;

/// Below this round trip, one request at a time fills the path.
const SHORT_ROUND_TRIP: Duration = Duration::from_millis(2);

/// The window in units of round trip times rate.
const GAIN: f64 = 2.0;

/// Requests are not smaller than this, unless the link's own limit is.
const REQUEST_MIN_BYTES: u32 = 2 << 20;

/// An answer with fewer bytes says nothing about the path.
const SAMPLE_MIN_BYTES: u64 = 64 << 10;

/// The largest rate of a time between one and two of these counts.
const RATE_HOLDS: Duration = Duration::from_secs(5);

/// Round trips that are remembered; the shortest counts.
const ROUND_TRIPS: usize = 16;

const LANES_MIN: usize = 4;
pub(crate) const LANES_MAX: usize = 16;

/// More lanes are kept if the rate grows by this factor.
const LANES_PAY: f64 = 1.15;

/// A rate is measured for at least this long, and for at least this many round trips.
const MEASURED_FOR: Duration = Duration::from_secs(1);
const MEASURED_ROUND_TRIPS: u32 = 8;

/// After a trial that did not pay the next one waits this long, then twice as long, up to the other.
const REST_MIN: Duration = Duration::from_secs(30);
const REST_MAX: Duration = Duration::from_secs(480);

/// What a link allows.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    /// The most that one request asks for.
    pub(crate) request_max_bytes: u32,
    /// The most that all requests together ask for.
    pub(crate) window_max_bytes: u64,
}

/// What may be requested now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Plan {
    pub(crate) requests: usize,
    /// Bytes of each.
    pub(crate) request_bytes: u32,
}

/// A request in flight.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sent {
    at: Instant,
    delivered_bytes: u64,
}

/// The window of one path.
#[derive(Debug)]
pub(crate) struct Window {
    limits: Limits,
    round_trips: Vec<Duration>,
    next_round_trip: usize,
    /// All that has arrived.
    delivered_bytes: u64,
    rate: Recent,
    lanes: Lanes,
}

impl Window {
    /// Nothing is known of the path yet.
    pub(crate) fn new(limits: Limits) -> Self {
        Self {
            limits,
            round_trips: Vec::new(),
            next_round_trip: 0,
            delivered_bytes: 0,
            rate: Recent::default(),
            lanes: Lanes::default(),
        }
    }

    /// A connection was opened over the path, and a small request took this long.
    pub(crate) fn connected(&mut self, round_trip: Duration) {
        if self.round_trips.len() < ROUND_TRIPS {
            self.round_trips.push(round_trip);
        } else {
            self.round_trips[self.next_round_trip] = round_trip;
            self.next_round_trip = (self.next_round_trip + 1) % ROUND_TRIPS;
        }
    }

    /// The path's round trip, as far as is known.
    fn round_trip(&self) -> Duration {
        self.round_trips.iter().min().copied().unwrap_or_default()
    }

    /// The path is so long that one request at a time leaves it idle.
    pub(crate) fn is_long(&self) -> bool {
        self.round_trip() >= SHORT_ROUND_TRIP
    }

    /// A request goes out.
    pub(crate) fn asked(&self, now: Instant) -> Sent {
        Sent {
            at: now,
            delivered_bytes: self.delivered_bytes,
        }
    }

    /// A request of the session was answered with this many bytes.
    pub(crate) fn session_answered(&mut self, sent: Sent, bytes: u64, now: Instant) {
        self.delivered_bytes += bytes;
        if bytes < SAMPLE_MIN_BYTES {
            return;
        }
        let took = now.saturating_duration_since(sent.at);
        if let Some(rate) = rate(self.delivered_bytes - sent.delivered_bytes, took) {
            self.rate.note(rate, now);
        }
    }

    /// A request outside the session was answered with this many bytes.
    pub(crate) fn answered(&mut self, sent: Sent, bytes: u64, now: Instant) {
        self.session_answered(sent, bytes, now);
        let measured_for = MEASURED_FOR.max(self.round_trip() * MEASURED_ROUND_TRIPS);
        self.lanes.measure(self.delivered_bytes, measured_for, now);
    }

    /// Nothing is fetched in large requests for now: no rate can be measured.
    pub(crate) fn idle(&mut self) {
        self.lanes.idle();
    }

    /// What may be requested now.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "an estimate, and within limits"
    )]
    pub(crate) fn plan(&self) -> Plan {
        let max = self.limits.request_max_bytes.max(1);
        let min = REQUEST_MIN_BYTES.min(max);
        let wanted = GAIN * self.round_trip().as_secs_f64() * self.rate.largest();
        let window = (wanted.min(u64::MAX as f64) as u64).min(self.limits.window_max_bytes);
        let needed = usize::try_from(window.div_ceil(max.into())).unwrap_or(LANES_MAX);
        let lanes = self.lanes.count.max(needed).min(LANES_MAX);
        let each = window / lanes as u64;
        let request_bytes = u32::try_from(each).unwrap_or(max).clamp(min, max);
        let fit = self.limits.window_max_bytes / u64::from(request_bytes);
        let requests = usize::try_from(fit).unwrap_or(lanes).clamp(1, lanes);
        let limit = self.limits.window_max_bytes.max(request_bytes.into());
        assert!(
            request_bytes <= max && requests as u64 * u64::from(request_bytes) <= limit,
            "{requests} requests of {request_bytes} bytes"
        );
        Plan {
            requests,
            request_bytes,
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "an estimate")]
fn rate(bytes: u64, time: Duration) -> Option<f64> {
    (!time.is_zero()).then(|| bytes as f64 / time.as_secs_f64())
}

/// The largest of recent rates.
#[derive(Debug, Default)]
struct Recent {
    since: Option<Instant>,
    present: f64,
    before: f64,
}

impl Recent {
    fn note(&mut self, rate: f64, now: Instant) {
        let since = *self.since.get_or_insert(now);
        if now.saturating_duration_since(since) >= RATE_HOLDS {
            self.since = Some(now);
            self.before = self.present;
            self.present = 0.0;
        }
        self.present = self.present.max(rate);
    }

    fn largest(&self) -> f64 {
        self.present.max(self.before)
    }
}

/// How many connections are used, and whether more of them would pay.
#[derive(Debug)]
struct Lanes {
    count: usize,
    climb: Climb,
    rest: Duration,
}

#[derive(Debug, Clone, Copy)]
enum Climb {
    /// Nothing is measured.
    Idle,
    /// The rate with the present count is measured since then.
    Measuring { since: Instant, delivered: u64 },
    /// More are tried since then; the rate counts from the second time on.
    Trying {
        before: (usize, f64),
        since: Instant,
        from: Option<(Instant, u64)>,
    },
    /// More did not pay.
    Resting { until: Instant },
}

impl Default for Lanes {
    fn default() -> Self {
        Self {
            count: LANES_MIN,
            climb: Climb::Idle,
            rest: REST_MIN,
        }
    }
}

impl Lanes {
    fn idle(&mut self) {
        match self.climb {
            Climb::Trying { before, .. } => {
                self.count = before.0;
                self.climb = Climb::Idle;
            }
            Climb::Measuring { .. } => self.climb = Climb::Idle,
            Climb::Idle | Climb::Resting { .. } => {}
        }
    }

    fn measure(&mut self, delivered: u64, for_at_least: Duration, now: Instant) {
        let is_over = |since: Instant| now.saturating_duration_since(since) >= for_at_least;
        let begin = Climb::Measuring {
            since: now,
            delivered,
        };
        self.climb = match self.climb {
            Climb::Idle => begin,
            Climb::Resting { until } if now >= until => begin,
            Climb::Measuring {
                since,
                delivered: then,
            } if is_over(since) && self.count < LANES_MAX => {
                let time = now.saturating_duration_since(since);
                let before = (self.count, rate(delivered - then, time).unwrap_or(0.0));
                self.count = (self.count * 2).min(LANES_MAX);
                let from = None;
                Climb::Trying {
                    before,
                    since: now,
                    from,
                }
            }
            Climb::Trying {
                before,
                since,
                from: None,
            } if is_over(since) => Climb::Trying {
                before,
                since,
                from: Some((now, delivered)),
            },
            Climb::Trying {
                before,
                from: Some((from, then)),
                ..
            } if is_over(from) => {
                let time = now.saturating_duration_since(from);
                let now_rate = rate(delivered - then, time).unwrap_or(0.0);
                if now_rate >= before.1 * LANES_PAY {
                    self.rest = REST_MIN;
                    begin
                } else {
                    self.count = before.0;
                    let until = now + self.rest;
                    self.rest = (self.rest * 2).min(REST_MAX);
                    Climb::Resting { until }
                }
            }
            other => other,
        };
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MIB: u64 = 1 << 20;

    fn limits(window_max_bytes: u64) -> Limits {
        Limits {
            request_max_bytes: 10 << 20,
            window_max_bytes,
        }
    }

    /// A path: each connection also carries at most `connection_bytes` a round trip.
    #[derive(Debug, Clone, Copy)]
    struct Path {
        round_trip: Duration,
        bytes_per_second: f64,
        connection_bytes: f64,
    }

    /// Asks as planned for `time` with data without end; bytes a second of the second half, and the last plan.
    fn played(path: Path, limits: Limits, time: Duration) -> (f64, Plan, u64) {
        let mut window = Window::new(limits);
        window.connected(path.round_trip);
        let start = Instant::now();
        let (mut now, mut path_free) = (start, start);
        let mut pending: Vec<(Instant, u64, Sent)> = Vec::new();
        let (mut on_the_way, mut most, mut late) = (0, 0, 0);
        let own_rate = path.connection_bytes / path.round_trip.as_secs_f64();
        while now - start < time {
            let plan = window.plan();
            let bytes = u64::from(plan.request_bytes);
            let fits = |on_the_way: u64| on_the_way + bytes <= limits.window_max_bytes;
            while pending.len() < plan.requests && (pending.is_empty() || fits(on_the_way)) {
                let began = path_free.max(now + path.round_trip / 2);
                path_free = began + Duration::from_secs_f64(bytes as f64 / path.bytes_per_second);
                let own = now + path.round_trip + Duration::from_secs_f64(bytes as f64 / own_rate);
                let done = own.max(path_free + path.round_trip / 2);
                pending.push((done, bytes, window.asked(now)));
                on_the_way += bytes;
                most = most.max(on_the_way);
            }
            let first = (0..pending.len()).min_by_key(|index| pending[*index].0);
            let (done, bytes, sent) = pending.swap_remove(first.unwrap());
            now = done;
            on_the_way -= bytes;
            window.answered(sent, bytes, now);
            if now - start > time / 2 {
                late += bytes;
            }
        }
        let rate = late as f64 / (now - start - time / 2).as_secs_f64();
        (rate, window.plan(), most)
    }

    proptest! {
        #[test]
        fn a_path_is_filled_whatever_its_length_and_rate(
            round_trip_ms in 2_u64..300, megabytes in 1_u64..150,
        ) {
            let path = Path {
                round_trip: Duration::from_millis(round_trip_ms),
                bytes_per_second: megabytes as f64 * 1e6,
                connection_bytes: f64::MAX,
            };
            let limits = limits(96 * MIB);
            let (rate, plan, most) = played(path, limits, Duration::from_secs(20));
            prop_assert!(rate >= 0.95 * path.bytes_per_second, "{rate} {plan:?}");
            prop_assert!(most <= limits.window_max_bytes);
            // No more than it needs: four round trips' worth, or the smallest requests.
            let needed = 2.2 * path.round_trip.as_secs_f64() * path.bytes_per_second;
            let asked = plan.requests as u64 * u64::from(plan.request_bytes);
            let least = LANES_MAX as u64 * u64::from(REQUEST_MIN_BYTES);
            prop_assert!(asked as f64 <= needed.max(least as f64), "{plan:?}");
        }

        #[test]
        fn no_plan_is_beyond_the_limits(
            request_max_bytes in 1_u32..100_000_000, window_max_bytes in 1_u64..200_000_000,
            round_trip_ms in 0_u64..2_000, samples in prop::collection::vec((0_u64..100_000_000, 1_u64..5_000), 0..20),
        ) {
            let limits = Limits { request_max_bytes, window_max_bytes };
            let mut window = Window::new(limits);
            window.connected(Duration::from_millis(round_trip_ms));
            let mut now = Instant::now();
            for (bytes, ms) in samples {
                let sent = window.asked(now);
                now += Duration::from_millis(ms);
                window.answered(sent, bytes, now);
                let plan = window.plan();
                prop_assert!(plan.request_bytes >= 1 && plan.request_bytes <= request_max_bytes);
                prop_assert!((1..=LANES_MAX).contains(&plan.requests));
                let all = plan.requests as u64 * u64::from(plan.request_bytes);
                prop_assert!(all <= window_max_bytes.max(plan.request_bytes.into()));
            }
        }
    }

    #[test]
    fn connections_with_small_buffers_are_made_up_for_by_their_number() {
        let path = Path {
            round_trip: Duration::from_millis(100),
            bytes_per_second: 125e6,
            connection_bytes: 200e3,
        };
        let (rate, plan, _) = played(path, limits(96 * MIB), Duration::from_secs(60));
        assert_eq!(plan.requests, LANES_MAX);
        // 16 times 2 MB/s, less the round trip that each request waits.
        assert!(rate > 20e6, "{rate}");
        let free = Path {
            connection_bytes: f64::MAX,
            ..path
        };
        let (rate, plan, _) = played(free, limits(96 * MIB), Duration::from_secs(60));
        assert!(plan.requests <= 8, "more would not pay: {plan:?}");
        assert!(rate > 120e6, "{rate}");
    }

    #[test]
    fn a_path_that_takes_less_is_asked_for_less_after_a_while() {
        let mut window = Window::new(limits(96 * MIB));
        window.connected(Duration::from_millis(100));
        let mut now = Instant::now();
        let mut run = |window: &mut Window, bytes: u64, rounds: usize| {
            for _ in 0..rounds {
                let sent = window.asked(now);
                now += Duration::from_millis(100);
                window.answered(sent, bytes, now);
            }
            window.plan()
        };
        let wide = run(&mut window, 10_000_000, 20);
        let narrow = run(&mut window, 1_000_000, 120);
        let all = |plan: Plan| plan.requests as u64 * u64::from(plan.request_bytes);
        assert!(
            all(wide) >= 19_000_000 && all(narrow) <= 9_000_000,
            "{wide:?} {narrow:?}"
        );
    }

    #[test]
    fn a_short_path_needs_no_window() {
        let mut window = Window::new(limits(96 * MIB));
        assert!(!window.is_long());
        window.connected(Duration::from_micros(300));
        assert!(!window.is_long());
        let mut window = Window::new(limits(96 * MIB));
        window.connected(Duration::from_millis(10));
        assert!(window.is_long());
    }
}
