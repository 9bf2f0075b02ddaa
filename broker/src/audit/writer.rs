//! The thread that writes, and the file.
//!
//! The file is opened for appending and readable by its owner alone. When its path no longer leads to
//! it, because something has rotated it, a new file is created: no signal is needed. A file that is
//! truncated in place is simply written on.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use crossbeam::channel::{Receiver, RecvTimeoutError};
use jiff::Timestamp;

use super::event::left_out_line;
use super::{Event, Shared};

/// Lines that are written together.
const LINES_MAX: usize = 1_024;

/// How often what was left out is written, and a failure is logged.
const REPORT_INTERVAL: Duration = Duration::from_secs(5);

/// Where lines go.
pub(super) enum Log {
    /// The main log.
    Main,
    File(Appended),
}

/// A file that is written at its end, and its path.
pub(super) struct Appended {
    path: PathBuf,
    file: File,
}

impl Log {
    pub fn open(path: Option<&Path>) -> io::Result<Self> {
        match path {
            None => Ok(Self::Main),
            Some(path) => Ok(Self::File(Appended {
                path: path.to_owned(),
                file: append_to(path)?,
            })),
        }
    }

    fn write(&mut self, lines: &str) -> io::Result<()> {
        match self {
            Self::Main => {
                for line in lines.lines() {
                    tracing::info!(target: "carrick::audit", "{line}");
                }
                Ok(())
            }
            Self::File(file) => file.write(lines),
        }
    }
}

impl Appended {
    fn write(&mut self, lines: &str) -> io::Result<()> {
        if !self.is_there() {
            self.file = append_to(&self.path)?;
        }
        self.file.write_all(lines.as_bytes())
    }

    /// Whether the path still leads to the file.
    fn is_there(&self) -> bool {
        let (Ok(named), Ok(open)) = (std::fs::metadata(&self.path), self.file.metadata()) else {
            return false;
        };
        (named.dev(), named.ino()) == (open.dev(), open.ino())
    }
}

fn append_to(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.append(true).create(true).mode(0o600).open(path)
}

/// The thread's work.
pub(super) struct Writer {
    log: Log,
    queue: Receiver<Event>,
    shared: Arc<Shared>,
    /// What was left out so far and is in the log.
    reported: [u64; 3],
    reported_at: Instant,
    failed_at: Option<Instant>,
}

impl Writer {
    pub fn new(log: Log, queue: Receiver<Event>, shared: Arc<Shared>) -> Self {
        Self {
            log,
            queue,
            shared,
            reported: [0; 3],
            reported_at: Instant::now(),
            failed_at: None,
        }
    }

    /// Writes until nobody can note anything any more.
    pub fn run(mut self) {
        loop {
            match self.queue.recv_timeout(REPORT_INTERVAL) {
                Ok(first) => self.write(first),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => break,
            }
            if self.reported_at.elapsed() >= REPORT_INTERVAL {
                self.report();
            }
        }
        self.report();
    }

    fn write(&mut self, first: Event) {
        let now = Timestamp::now();
        let (mut lines, mut count) = (String::new(), 0);
        let rest = self.queue.try_iter().take(LINES_MAX - 1);
        for event in std::iter::once(first).chain(rest) {
            let bytes = event.size_bytes();
            self.shared
                .waiting_bytes
                .fetch_sub(bytes, Ordering::Relaxed);
            lines.push_str(&event.line(now));
            count += 1;
        }
        if let Err(error) = self.log.write(&lines) {
            self.shared.left_out.count("not_written", count);
            self.failed(&error);
        }
    }

    /// Writes how many events were left out since the last time.
    fn report(&mut self) {
        self.reported_at = Instant::now();
        let counters = self.shared.left_out.each();
        let now = counters.map(|(_, counter)| counter.load(Ordering::Relaxed));
        if now == self.reported {
            return;
        }
        let new: Vec<_> = (counters.iter().zip(now).zip(self.reported))
            .map(|(((reason, _), now), before)| (*reason, now - before))
            .filter(|(_, count)| *count > 0)
            .collect();
        match self.log.write(&left_out_line(Timestamp::now(), &new)) {
            Ok(()) => self.reported = now,
            Err(error) => self.failed(&error),
        }
    }

    fn failed(&mut self, error: &io::Error) {
        let is_new = self
            .failed_at
            .is_none_or(|at| at.elapsed() >= REPORT_INTERVAL);
        if is_new {
            self.failed_at = Some(Instant::now());
            tracing::error!(%error, "the audit log can't be written: its lines are left out");
        }
    }
}
