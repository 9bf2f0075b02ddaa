//! How often an address may try credentials that are wrong.
//!
//! Each failure of an address doubles the time until its next one is answered; a minute without one
//! halves it again. Only [`ATTEMPTS_MAX`] are in progress at a time, those that wait for their answer
//! included.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use crate::audit::network;

/// Attempts of one address that are in progress.
const ATTEMPTS_MAX: usize = 8;

/// The first delay and the longest.
const DELAY_FIRST: Duration = Duration::from_millis(100);
const DELAY_MAX: Duration = Duration::from_secs(5);
const DOUBLINGS_MAX: u32 = 6;

/// After this time without a failure, the delay is halved.
const EASE_AFTER: Duration = Duration::from_secs(60);

/// Addresses that are remembered.
const ADDRESSES_MAX: usize = 4_096;

/// What is known of all addresses.
#[derive(Debug, Default)]
pub struct Attempts(Mutex<HashMap<IpAddr, State>>);

#[derive(Debug)]
struct State {
    in_progress: usize,
    failures: u32,
    at: Instant,
}

impl State {
    /// Forgets failures that are long ago.
    fn ease(&mut self, now: Instant) {
        let quiet = now.saturating_duration_since(self.at);
        let halvings = quiet.as_secs() / EASE_AFTER.as_secs();
        if halvings > 0 {
            let halvings = u32::try_from(halvings).unwrap_or(u32::MAX);
            self.failures = self.failures.saturating_sub(halvings);
            self.at = now;
        }
    }
}

/// An attempt that is in progress until this is dropped.
pub struct Attempt {
    attempts: Arc<Attempts>,
    of: IpAddr,
    began: Instant,
}

impl Attempts {
    /// Begins an attempt; `None` if too many of the address are in progress, or some of too many
    /// addresses. They go on without their connections, so those do not limit them.
    pub fn begin(self: &Arc<Self>, address: IpAddr) -> Option<Attempt> {
        let (of, now) = (network(address), Instant::now());
        let mut all = self.0.lock();
        if all.len() >= ADDRESSES_MAX && !all.contains_key(&of) {
            forget(&mut all, now);
            if all.len() >= ADDRESSES_MAX {
                return None;
            }
        }
        let state = all.entry(of).or_insert(State {
            in_progress: 0,
            failures: 0,
            at: now,
        });
        if state.in_progress >= ATTEMPTS_MAX {
            return None;
        }
        state.in_progress += 1;
        let attempts = Arc::clone(self);
        Some(Attempt {
            attempts,
            of,
            began: now,
        })
    }

    /// Counts a failure; how long its answer has to wait.
    fn fail(&self, of: IpAddr, now: Instant) -> Duration {
        let mut all = self.0.lock();
        let Some(state) = all.get_mut(&of) else {
            return DELAY_FIRST;
        };
        state.ease(now);
        let delay = DELAY_FIRST * 2u32.pow(state.failures.min(DOUBLINGS_MAX));
        state.failures = (state.failures + 1).min(DOUBLINGS_MAX);
        state.at = now;
        delay.min(DELAY_MAX)
    }
}

/// Makes room: addresses that have not failed for a while go, else those with the fewest failures.
fn forget(all: &mut HashMap<IpAddr, State>, now: Instant) {
    for state in all.values_mut() {
        state.ease(now);
    }
    for failures in 0..=DOUBLINGS_MAX {
        if all.len() < ADDRESSES_MAX {
            return;
        }
        all.retain(|_, state| state.in_progress > 0 || state.failures > failures);
    }
}

impl Attempt {
    /// Counts it as failed, and waits until it may be answered. The time runs from the beginning: how
    /// long it took to look at the credentials would show whether there is such a user.
    pub async fn failed(&self) {
        let delay = self.attempts.fail(self.of, Instant::now());
        tokio::time::sleep_until((self.began + delay).into()).await;
    }
}

impl Drop for Attempt {
    fn drop(&mut self) {
        let mut all = self.attempts.0.lock();
        if let Some(state) = all.get_mut(&self.of) {
            state.in_progress -= 1;
            if state.in_progress == 0 && state.failures == 0 {
                all.remove(&self.of);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(last: u8) -> IpAddr {
        IpAddr::from([10, 0, 0, last])
    }

    #[test]
    fn each_failure_of_an_address_takes_longer_and_quiet_makes_it_shorter() {
        let attempts = Arc::<Attempts>::default();
        let (of, now) = (address(1), Instant::now());
        let _one = attempts.begin(of).unwrap();
        let delays: Vec<_> = (0..9).map(|_| attempts.fail(of, now).as_millis()).collect();
        assert_eq!(delays, [100, 200, 400, 800, 1600, 3200, 5000, 5000, 5000]);
        let _other = attempts.begin(address(2)).unwrap();
        assert_eq!(
            attempts.fail(address(2), now),
            DELAY_FIRST,
            "another address"
        );
        let later = now + 3 * EASE_AFTER;
        assert_eq!(attempts.fail(of, later).as_millis(), 800);
        assert_eq!(attempts.fail(of, later + 99 * EASE_AFTER), DELAY_FIRST);
    }

    #[test]
    fn few_attempts_of_an_address_are_in_progress_and_others_are_not_hindered() {
        let attempts = Arc::<Attempts>::default();
        let mut held: Vec<_> = (0..ATTEMPTS_MAX)
            .map(|_| attempts.begin(address(1)).unwrap())
            .collect();
        assert!(attempts.begin(address(1)).is_none());
        assert!(attempts.begin(address(2)).is_some());
        held.pop();
        assert!(attempts.begin(address(1)).is_some());
        drop(held);
        assert!(
            attempts.0.lock().is_empty(),
            "without a failure, nothing is kept"
        );
    }

    #[test]
    fn attempts_are_in_progress_for_few_addresses() {
        let attempts = Arc::<Attempts>::default();
        let of = |at: usize| IpAddr::from((0x0b00_0000 + at as u32).to_be_bytes());
        let mut held: Vec<_> = (0..ADDRESSES_MAX)
            .map(|at| attempts.begin(of(at)).unwrap())
            .collect();
        assert!(attempts.begin(of(ADDRESSES_MAX)).is_none());
        held.pop();
        assert!(attempts.begin(of(ADDRESSES_MAX)).is_some());
    }

    #[test]
    fn few_addresses_are_remembered_and_those_that_fail_most_the_longest() {
        let (attempts, now) = (Arc::<Attempts>::default(), Instant::now());
        let fail = |of: IpAddr| {
            let _attempt = attempts.begin(of).unwrap();
            attempts.fail(of, now)
        };
        for _ in 0..5 {
            fail(address(1));
        }
        for at in 1..20_000u32 {
            fail(IpAddr::from((0x0b00_0000 + at).to_be_bytes()));
            assert!(attempts.0.lock().len() <= ADDRESSES_MAX);
        }
        assert_eq!(fail(address(1)).as_millis(), 3200);
    }
}
