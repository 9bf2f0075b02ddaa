//! Log lines that clients could cause as often as they like: at most one a second.

use std::time::{Duration, Instant};

use parking_lot::Mutex;

const EVERY: Duration = Duration::from_secs(1);

/// When the last one was written, and how many were not since.
#[derive(Default)]
pub(super) struct Seldom(Mutex<(Option<Instant>, u64)>);

impl Seldom {
    /// How many lines were left out since the last one; `None` if this one is to be left out.
    pub(super) fn left_out(&self, now: Instant) -> Option<u64> {
        let mut state = self.0.lock();
        if state
            .0
            .is_some_and(|last| now.saturating_duration_since(last) < EVERY)
        {
            state.1 += 1;
            return None;
        }
        state.0 = Some(now);
        Some(std::mem::take(&mut state.1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_many_lines_a_second_one_is_written_and_the_others_are_counted() {
        let (seldom, now) = (Seldom::default(), Instant::now());
        assert_eq!(seldom.left_out(now), Some(0));
        assert_eq!(seldom.left_out(now), None);
        assert_eq!(seldom.left_out(now + EVERY / 2), None);
        assert_eq!(seldom.left_out(now + EVERY), Some(2));
        assert_eq!(seldom.left_out(now + 3 * EVERY), Some(0));
    }
}
