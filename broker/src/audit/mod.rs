//! The audit log: who changed what from where, with the outcome, and who was refused.
//!
//! One line of JSON per changed or refused resource, to a file of its own ([`writer`]) or, without
//! one, to the main log under the target `carrick::audit`.
//!
//! Invariants:
//! - [`Audit::note`] never blocks: events go through a queue with a limit for their number and bytes
//!   to one thread. An event that does not fit is left out.
//! - Whatever is left out is counted by its reason, in the metric `carrick_audit_left_out_total` and
//!   in a line of the log itself.
//! - Clients decide how many requests are refused, so refusals have a rate per address and in all
//!   ([`rate`]). Changes have none.
//! - Events carry names, never values of configs or credentials.

mod config;
mod event;
mod rate;
mod writer;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::Instant;

use crossbeam::channel::{self, Sender, TrySendError};
use parking_lot::Mutex;

pub use config::AuditConfig;
pub use event::{Event, Outcome, Target, Via};
use rate::Rates;
pub use rate::network;
use writer::{Log, Writer};

/// Events that wait to be written, and their bytes.
const QUEUE_MAX_EVENTS: usize = 65_536;
const QUEUE_MAX_BYTES: usize = 16 << 20;

/// Where events are noted.
pub struct Audit {
    shared: Arc<Shared>,
    queue: Mutex<Option<Sender<Event>>>,
    rates: Mutex<Rates>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

/// What the writer's thread shares with those who note.
#[derive(Default)]
struct Shared {
    waiting_bytes: AtomicUsize,
    left_out: LeftOut,
}

/// How many events are not in the log, by reason.
#[derive(Default)]
struct LeftOut {
    queue_full: AtomicU64,
    too_many_refusals: AtomicU64,
    not_written: AtomicU64,
}

impl LeftOut {
    fn each(&self) -> [(&'static str, &AtomicU64); 3] {
        [
            ("queue_full", &self.queue_full),
            ("too_many_refusals", &self.too_many_refusals),
            ("not_written", &self.not_written),
        ]
    }

    fn count(&self, reason: &'static str, events: u64) {
        for (name, counter) in self.each() {
            if name == reason {
                counter.fetch_add(events, Ordering::Relaxed);
            }
        }
        metrics::counter!("carrick_audit_left_out_total", "reason" => reason).increment(events);
    }
}

impl Audit {
    /// Opens the log, and starts its thread.
    ///
    /// # Errors
    /// The file can't be opened, or there are no threads left.
    pub fn start(config: &AuditConfig) -> std::io::Result<Arc<Self>> {
        let log = Log::open(config.file.as_deref())?;
        let (sender, receiver) = channel::bounded(QUEUE_MAX_EVENTS);
        let shared = Arc::<Shared>::default();
        let writer = Writer::new(log, receiver, Arc::clone(&shared));
        let thread = std::thread::Builder::new()
            .name("audit".to_owned())
            .spawn(move || writer.run())?;
        Ok(Arc::new(Self {
            shared,
            queue: Mutex::new(Some(sender)),
            rates: Mutex::default(),
            thread: Mutex::new(Some(thread)),
        }))
    }

    /// Notes what was changed, or was to be changed.
    pub fn note(&self, event: Event) {
        if event.outcome.is_refusal() && !self.rates.lock().admit(event.from, Instant::now()) {
            self.shared.left_out.count("too_many_refusals", 1);
            return;
        }
        let event = event.bounded();
        let bytes = event.size_bytes();
        let waiting = self
            .shared
            .waiting_bytes
            .fetch_add(bytes, Ordering::Relaxed);
        let sent = match &*self.queue.lock() {
            Some(queue) if waiting + bytes <= QUEUE_MAX_BYTES => queue.try_send(event),
            Some(_) => Err(TrySendError::Full(event)),
            None => Err(TrySendError::Disconnected(event)),
        };
        if sent.is_err() {
            self.shared
                .waiting_bytes
                .fetch_sub(bytes, Ordering::Relaxed);
            self.shared.left_out.count("queue_full", 1);
        }
    }

    /// Writes what waits, and ends the thread. Blocks on disk.
    pub fn stop(&self) {
        drop(self.queue.lock().take());
        let thread = self.thread.lock().take();
        if thread.is_some_and(|thread| thread.join().is_err()) {
            tracing::error!("the audit log's thread failed");
        }
    }
}

impl Drop for Audit {
    fn drop(&mut self) {
        self.stop();
    }
}

#[cfg(test)]
mod tests;
