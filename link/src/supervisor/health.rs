//! Is the source available? Turns the results of checks into the state of the link.

use crate::error::Fault;
use crate::state::{LinkErrorCode, LinkState};

/// The limits that checks are judged by.
#[derive(Debug, Clone, Copy)]
pub(crate) struct HealthLimits {
    /// Consecutive failures that make the link `UNAVAILABLE`.
    pub(crate) failures_max: u32,
    /// How long it may be unavailable before it fails, milliseconds.
    pub(crate) retry_timeout_ms: u64,
}

/// The checks of one link since it was started or resumed.
#[derive(Debug, Default)]
pub(crate) struct Health {
    was_reached: bool,
    failures: u32,
    failing_since_ms: i64,
}

impl Health {
    pub(crate) fn reached(&mut self) -> LinkState {
        self.was_reached = true;
        self.failures = 0;
        LinkState::Active
    }

    /// The source didn't answer. A link that never reached it doesn't wait to say so, nor one that is refused.
    pub(crate) fn failed(&mut self, fault: &Fault, now_ms: i64, limits: HealthLimits) -> LinkState {
        if self.failures == 0 {
            self.failing_since_ms = now_ms;
        }
        self.failures = self.failures.saturating_add(1);
        let lasted_ms = u64::try_from(now_ms - self.failing_since_ms).unwrap_or(0);
        let is_over = self.failures >= limits.failures_max;
        if is_over && (!fault.is_retriable || lasted_ms >= limits.retry_timeout_ms) {
            LinkState::Failed
        } else if is_over || !self.was_reached || fault.code == LinkErrorCode::AuthenticationError {
            LinkState::Unavailable
        } else {
            LinkState::Active
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: HealthLimits = HealthLimits {
        failures_max: 5,
        retry_timeout_ms: 60_000,
    };

    fn fault(is_retriable: bool) -> Fault {
        Fault {
            code: LinkErrorCode::TimeoutError,
            is_retriable,
            detail: String::new(),
        }
    }

    #[test]
    fn five_failures_in_a_row_make_it_unavailable_and_a_minute_of_them_failed() {
        let mut health = Health::default();
        health.reached();
        for check in 0..4 {
            assert_eq!(
                health.failed(&fault(true), check * 1_000, LIMITS),
                LinkState::Active
            );
        }
        for check in 4..60 {
            assert_eq!(
                health.failed(&fault(true), check * 1_000, LIMITS),
                LinkState::Unavailable
            );
        }
        assert_eq!(
            health.failed(&fault(true), 60_000, LIMITS),
            LinkState::Failed
        );
    }

    #[test]
    fn one_answer_starts_the_count_anew() {
        let mut health = Health::default();
        for check in 0..20 {
            health.reached();
            assert_eq!(
                health.failed(&fault(true), check * 100_000, LIMITS),
                LinkState::Active
            );
        }
    }

    #[test]
    fn a_fault_that_does_not_pass_by_itself_fails_the_link_without_waiting() {
        let mut health = Health::default();
        for check in 0..4 {
            assert_eq!(
                health.failed(&fault(false), check, LIMITS),
                LinkState::Unavailable
            );
        }
        assert_eq!(health.failed(&fault(false), 4, LIMITS), LinkState::Failed);
    }
}
