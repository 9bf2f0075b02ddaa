//! How far opening the logs has come.

use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

/// The least time between two lines of the log.
const LINE_INTERVAL: Duration = Duration::from_secs(5);

/// Counts opened logs, and says so now and then.
#[derive(Debug)]
pub struct Progress {
    total: AtomicUsize,
    done: AtomicUsize,
    last_line: Mutex<Instant>,
}

impl Default for Progress {
    fn default() -> Self {
        Self {
            total: AtomicUsize::new(0),
            done: AtomicUsize::new(0),
            last_line: Mutex::new(Instant::now()),
        }
    }
}

impl Progress {
    /// There are `total` logs to open, and none is open yet.
    pub(super) fn begin(&self, total: usize) {
        self.total.store(total, Ordering::Relaxed);
        *self.last_line.lock() = Instant::now();
    }

    /// One more is open.
    pub(super) fn one_done(&self) {
        self.done.fetch_add(1, Ordering::Relaxed);
        if let Some(mut last_line) = self.last_line.try_lock()
            && last_line.elapsed() >= LINE_INTERVAL
        {
            *last_line = Instant::now();
            tracing::info!("{self}");
        }
    }
}

impl fmt::Display for Progress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let total = self.total.load(Ordering::Relaxed);
        let done = self.done.load(Ordering::Relaxed).min(total);
        write!(f, "opening logs {done}/{total}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_says_how_many_of_how_many() {
        let progress = Progress::default();
        progress.begin(9_000);
        for _ in 0..312 {
            progress.one_done();
        }
        assert_eq!(progress.to_string(), "opening logs 312/9000");
    }
}
