//! A start in progress: how far it is, and whether to cancel it.
//!
//! HTTP answers from the first moment: `/healthz` that the process runs, `/readyz` how far the
//! start is. A signal is checked after each log that is opened; the other steps are short, and the
//! broker stops as usual after them.

use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::sync::watch;

/// The least time between two lines of the log.
const LINE_INTERVAL: Duration = Duration::from_secs(5);

/// How far a start is.
#[derive(Debug)]
pub struct Starting {
    step: Mutex<&'static str>,
    /// How many items the step has; 0 if it does not count them.
    total: AtomicUsize,
    done: AtomicUsize,
    last_line: Mutex<Instant>,
    stop: watch::Receiver<bool>,
}

impl Default for Starting {
    /// A start that is never cancelled.
    fn default() -> Self {
        Self::new(watch::channel(false).1)
    }
}

impl Starting {
    /// A start that is cancelled when `stop` turns true.
    pub fn new(stop: watch::Receiver<bool>) -> Self {
        Self {
            step: Mutex::new("opening metadata"),
            total: AtomicUsize::new(0),
            done: AtomicUsize::new(0),
            last_line: Mutex::new(Instant::now()),
            stop,
        }
    }

    /// Moves to the next step, which does `total` things one by one, or does not count them (0).
    pub fn step(&self, step: &'static str, total: usize) {
        let mut now = self.step.lock();
        *now = step;
        self.done.store(0, Ordering::Relaxed);
        self.total.store(total, Ordering::Relaxed);
        *self.last_line.lock() = Instant::now();
    }

    /// One more item is done; logs the progress now and then.
    pub fn one_done(&self) {
        self.done.fetch_add(1, Ordering::Relaxed);
        if let Some(mut last_line) = self.last_line.try_lock()
            && last_line.elapsed() >= LINE_INTERVAL
        {
            *last_line = Instant::now();
            tracing::info!("{self}");
        }
    }

    /// Whether to give it up.
    pub fn is_given_up(&self) -> bool {
        *self.stop.borrow()
    }
}

impl fmt::Display for Starting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let step = self.step.lock();
        let total = self.total.load(Ordering::Relaxed);
        match self.done.load(Ordering::Relaxed).min(total) {
            _ if total == 0 => write!(f, "{step}"),
            done => write!(f, "{step} {done}/{total}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_says_what_it_does_and_how_many_of_how_many_are_done() {
        let starting = Starting::default();
        assert_eq!(starting.to_string(), "opening metadata");
        starting.step("opening logs", 9_000);
        for _ in 0..312 {
            starting.one_done();
        }
        assert_eq!(starting.to_string(), "opening logs 312/9000");
        starting.step("loading groups", 0);
        assert_eq!(starting.to_string(), "loading groups");
    }

    #[test]
    fn it_is_given_up_when_it_is_asked_to_stop() {
        let (ask, asked) = watch::channel(false);
        let starting = Starting::new(asked);
        assert!(!starting.is_given_up());
        ask.send_replace(true);
        assert!(starting.is_given_up());
        assert!(!Starting::default().is_given_up());
    }
}
