//! The coordinator's clock: monotonic for timers, wall for what is stored.

use std::time::{Duration, Instant};

use super::classic::Now;
use crate::clock;

/// Measures [`Now::tick_ms`] from its own start.
#[derive(Clone, Copy, Debug)]
pub(super) struct Clock {
    started: Instant,
}

impl Clock {
    pub fn start() -> Self {
        Self {
            started: Instant::now(),
        }
    }

    pub fn now(&self) -> Now {
        Now {
            tick_ms: i64::try_from(self.started.elapsed().as_millis()).unwrap_or(i64::MAX),
            wall_ms: clock::now_ms(),
        }
    }

    /// The instant at which [`Now::tick_ms`] reaches `tick_ms`.
    pub fn instant(&self, tick_ms: i64) -> Instant {
        self.started + Duration::from_millis(u64::try_from(tick_ms).unwrap_or(0))
    }
}
