//! What a process takes, from `/proc`.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result};

const SAMPLE_EVERY: Duration = Duration::from_millis(50);

/// One number of `/proc/PID/status`, such as `RssAnon` (KiB) or `Threads`.
///
/// # Errors
/// When there is no such process or no such line.
pub fn status(pid: u32, name: &str) -> Result<u64> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    let number = line.and_then(|line| line.split_whitespace().next());
    Ok(number
        .with_context(|| format!("no {name} in /proc/{pid}/status"))?
        .parse()?)
}

/// Files that the process has open: connections, segments.
///
/// # Errors
/// When there is no such process.
pub fn open_files(pid: u32) -> Result<usize> {
    Ok(std::fs::read_dir(format!("/proc/{pid}/fd"))?.count())
}

/// Watches the anonymous memory of a process, which may be replaced by another.
#[derive(Debug)]
pub struct Watch {
    shared: Arc<Shared>,
    thread: Option<thread::JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Shared {
    pid: AtomicU32,
    peak_kib: AtomicU64,
    stopped: AtomicBool,
}

impl Watch {
    /// Begins to watch.
    #[must_use]
    pub fn start(pid: u32) -> Self {
        let shared = Arc::new(Shared::default());
        shared.pid.store(pid, Ordering::Relaxed);
        let watched = shared.clone();
        let thread = thread::spawn(move || {
            while !watched.stopped.load(Ordering::Relaxed) {
                // Between a kill and a restart there is nothing to be seen.
                if let Ok(kib) = status(watched.pid.load(Ordering::Relaxed), "RssAnon") {
                    watched.peak_kib.fetch_max(kib, Ordering::Relaxed);
                }
                thread::sleep(SAMPLE_EVERY);
            }
        });
        Self {
            shared,
            thread: Some(thread),
        }
    }

    /// Continues with another process.
    pub fn follow(&self, pid: u32) {
        self.shared.pid.store(pid, Ordering::Relaxed);
    }

    /// The most that was seen since the last call, in KiB.
    #[must_use]
    pub fn take_peak_kib(&self) -> u64 {
        self.shared.peak_kib.swap(0, Ordering::Relaxed)
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.shared.stopped.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
