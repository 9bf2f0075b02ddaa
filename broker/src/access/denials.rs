//! The log of the authorizer: what was denied at info, what was allowed at debug, as
//! `kafka.authorizer.logger` has it. Set its level by the name `authorizer`.
//!
//! A client that asks again and again does not fill the disk: at most 50 denials a second are
//! logged, then how many were not.

use std::fmt::{self, Display};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

/// Denials in the log per second, at most.
const PER_SECOND: u32 = 50;
/// Characters of a client's text in a message, at most.
const TEXT_MAX_CHARS: usize = 256;

#[derive(Debug)]
struct Second {
    since: Instant,
    logged: u32,
    left_out: u64,
}

#[derive(Debug)]
pub struct Denials {
    second: Mutex<Second>,
}

impl Default for Denials {
    fn default() -> Self {
        Self {
            second: Mutex::new(Second {
                since: Instant::now(),
                logged: 0,
                left_out: 0,
            }),
        }
    }
}

impl Denials {
    /// Logs a denial unless there were too many within this second. What is not logged is not made.
    pub fn log<D: Display>(&self, denial: impl FnOnce() -> D) {
        let (may_log, left_out) = self.count(Instant::now());
        if left_out > 0 {
            tracing::info!(target: "authorizer", "{left_out} more denials are not logged");
        }
        if may_log {
            tracing::info!(target: "authorizer", "{}", denial());
        }
    }

    /// Whether this one is logged, and how many were not in a second that is over.
    fn count(&self, now: Instant) -> (bool, u64) {
        let mut second = self.second.lock();
        let mut left_out = 0;
        if now.duration_since(second.since) >= Duration::from_secs(1) {
            left_out = second.left_out;
            *second = Second {
                since: now,
                logged: 0,
                left_out: 0,
            };
        }
        if second.logged == PER_SECOND {
            second.left_out += 1;
            return (false, left_out);
        }
        second.logged += 1;
        (true, left_out)
    }
}

/// Text of a client, on one line and not too long.
pub struct Shown<'a>(pub &'a str);

impl Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut chars = self.0.chars();
        for c in chars.by_ref().take(TEXT_MAX_CHARS) {
            match c.is_control() {
                true => write!(f, "{}", c.escape_default())?,
                false => write!(f, "{c}")?,
            }
        }
        match chars.next() {
            Some(_) => f.write_str("…"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn denials_beyond_the_limit_are_counted_instead_of_logged() {
        let denials = Denials::default();
        let start = denials.second.lock().since;
        for _ in 0..PER_SECOND {
            assert_eq!(denials.count(start), (true, 0));
        }
        for _ in 0..7 {
            assert_eq!(denials.count(start), (false, 0));
        }
        let later = start + Duration::from_secs(1);
        assert_eq!(denials.count(later), (true, 7));
        assert_eq!(denials.count(later), (true, 0));
    }

    #[test]
    fn names_from_clients_stay_on_one_line() {
        assert_eq!(Shown("a\nb").to_string(), "a\\nb");
        let long = Shown(&"é".repeat(300)).to_string();
        assert_eq!(long.chars().count(), TEXT_MAX_CHARS + 1);
    }
}
