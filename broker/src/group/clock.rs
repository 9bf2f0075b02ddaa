//! The coordinator's clock: monotonic for timers, wall for what is stored.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use super::classic::Now;

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
        let wall = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        Now {
            tick_ms: whole_ms(self.started.elapsed()),
            wall_ms: whole_ms(wall),
        }
    }

    /// The instant at which [`Now::tick_ms`] reaches `tick_ms`.
    pub fn instant(&self, tick_ms: i64) -> Instant {
        self.started + Duration::from_millis(u64::try_from(tick_ms).unwrap_or(0))
    }
}

fn whole_ms(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}
