//! Until when a connection is not read because its client exceeded a quota (KIP-219).

use std::time::{Duration, Instant};

use parking_lot::Mutex;

/// The pause of one connection: only ever prolonged.
#[derive(Debug, Default)]
pub struct Hold(Mutex<Option<Instant>>);

impl Hold {
    /// From now on for this long, at least.
    pub fn prolong(&self, wait: Duration) {
        let until = Instant::now().checked_add(wait);
        let mut held_until = self.0.lock();
        *held_until = (*held_until).max(until);
    }

    /// Returns when the hold has ended.
    pub async fn over(&self) {
        loop {
            let held_until = *self.0.lock();
            match held_until {
                Some(until) if until > Instant::now() => {
                    tokio::time::sleep_until(until.into()).await;
                }
                _ => return,
            }
        }
    }
}
