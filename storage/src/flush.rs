//! Flusher threads with group commit: many waiters of one log share one fsync.
//!
//! Invariants:
//! - A submission is answered by a flush that **began after** it was submitted, so what was
//!   appended before is covered. Submissions that arrive while a flush of the same log runs all
//!   wait for the next one.
//! - At most one flush of a log runs at a time; logs flush in parallel, in order of submission, and
//!   a busy log goes to the back of the line each time.
//! - Callbacks of one log run in order of submission, on a flusher thread, and exactly once. They
//!   must be short and must not wait for a flush.
//! - A failed flush is reported to every waiter and is not retried. That later submissions fail as
//!   well is up to the [`Flushable`].
//!
//! They are about the order of events on several threads: tests with gates check them. That a
//! callback runs once is its type.
//!
//! There is no limit here on waiting submissions: each belongs to a request or to a fetched run of
//! batches whose bytes were counted before the work began.

use std::collections::HashMap;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread::{self, JoinHandle};

use carrick_protocol::ids::Offset;
use crossbeam::channel::{Receiver, Sender, unbounded};
use parking_lot::Mutex;

use crate::log::{FlushHandle, LogError};

/// Something that can be brought to the disk. [`FlushHandle`] in earnest.
pub trait Flushable: Clone + Send + 'static {
    /// Why it failed; cloned for each waiter.
    type Error: Clone + Send + 'static;

    /// The same for all handles of one log, different for handles of different open logs.
    fn key(&self) -> u64;

    /// Brings everything appended so far to the disk and returns the end of it.
    ///
    /// After one failure every later call must fail: the kernel may have dropped the pages that
    /// it could not write, so that a second fsync succeeds although data is lost.
    fn flush(&self) -> Result<Offset, Self::Error>;
}

impl Flushable for FlushHandle {
    type Error = LogError;

    fn key(&self) -> u64 {
        self.log_id()
    }

    fn flush(&self) -> Result<Offset, LogError> {
        FlushHandle::flush(self)
    }
}

/// Takes the durable end, or the reason why there is none.
pub type FlushCallback<E> = Box<dyn FnOnce(Result<Offset, E>) + Send>;

/// A fixed number of threads that flush logs.
///
/// [`Flusher::stop`] or dropping it flushes what was submitted, then ends the threads.
pub struct Flusher<F: Flushable = FlushHandle> {
    shared: Arc<Shared<F>>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

impl<F: Flushable> std::fmt::Debug for Flusher<F> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Flusher").finish_non_exhaustive()
    }
}

struct Shared<F: Flushable> {
    state: Mutex<State<F>>,
}

struct State<F: Flushable> {
    /// Logs with waiters or with a flush in progress. A key is in the channel exactly once while
    /// its log waits for its turn, and not at all while its flush runs.
    logs: HashMap<u64, Waiting<F>>,
    /// Line of logs that wait for a thread. `None` once stopped.
    line: Option<Sender<u64>>,
}

struct Waiting<F: Flushable> {
    handle: F,
    callbacks: Vec<FlushCallback<F::Error>>,
}

impl<F: Flushable> Flusher<F> {
    /// Starts `threads` threads (at least one). Fails when the system has no threads left.
    pub fn start(threads: usize) -> io::Result<Self> {
        let (sender, receiver) = unbounded();
        let state = State {
            logs: HashMap::new(),
            line: Some(sender),
        };
        let shared = Arc::new(Shared {
            state: Mutex::new(state),
        });
        // Made before the threads: if one can't be started, dropping it ends the others.
        let flusher = Self {
            shared,
            threads: Mutex::new(Vec::new()),
        };
        for number in 0..threads.max(1) {
            let (shared, receiver) = (flusher.shared.clone(), receiver.clone());
            let thread = thread::Builder::new()
                .name(format!("flusher-{number}"))
                .spawn(move || work(&shared, &receiver))?;
            flusher.threads.lock().push(thread);
        }
        Ok(flusher)
    }

    /// Requests a flush of `handle`'s log that covers everything appended up to now, and calls
    /// `callback` afterwards. Never blocks.
    ///
    /// After [`Flusher::stop`] the callback is dropped without a call.
    pub fn submit(&self, handle: F, callback: FlushCallback<F::Error>) {
        let mut state = self.shared.state.lock();
        let state = &mut *state;
        let Some(line) = &state.line else { return };
        let key = handle.key();
        let waiting = state.logs.entry(key).or_insert_with(|| {
            // The threads hold receivers for as long as this sender lives.
            let _ = line.send(key);
            Waiting {
                handle,
                callbacks: Vec::new(),
            }
        });
        waiting.callbacks.push(callback);
    }

    /// Flushes what was submitted before, calls back, and ends the threads. Idempotent. Must not be
    /// called from a callback.
    pub fn stop(&self) {
        self.shared.state.lock().line = None;
        for thread in std::mem::take(&mut *self.threads.lock()) {
            // The last owner may be a callback: its own thread ends by itself.
            if thread.thread().id() != std::thread::current().id() {
                // A flusher thread catches panics; there is nothing to learn from its result.
                let _ = thread.join();
            }
        }
    }
}

impl<F: Flushable> Drop for Flusher<F> {
    fn drop(&mut self) {
        self.stop();
    }
}

/// What a flusher thread does until the line is closed and empty.
fn work<F: Flushable>(shared: &Shared<F>, line: &Receiver<u64>) {
    while let Ok(key) = line.recv() {
        while flush_one(shared, key) == Next::Again {}
    }
}

#[derive(PartialEq, Eq)]
enum Next {
    /// The log has new waiters, and the line that it would go back to is closed.
    Again,
    Done,
}

/// One turn of the log `key`: flush, call back, line up again if more came meanwhile.
fn flush_one<F: Flushable>(shared: &Shared<F>, key: u64) -> Next {
    let (handle, callbacks) = {
        let mut state = shared.state.lock();
        let Some(waiting) = state.logs.get_mut(&key) else {
            return Next::Done;
        };
        (
            waiting.handle.clone(),
            std::mem::take(&mut waiting.callbacks),
        )
    };
    // A panic here would end the thread and leave every later waiter waiting for good.
    let outcome = catch_unwind(AssertUnwindSafe(|| flush_and_call_back(&handle, callbacks)));
    if outcome.is_err() {
        tracing::error!(log = key, "a flush or what it called back panicked");
    }
    let mut state = shared.state.lock();
    if state
        .logs
        .get(&key)
        .is_none_or(|waiting| waiting.callbacks.is_empty())
    {
        state.logs.remove(&key);
        return Next::Done;
    }
    match &state.line {
        Some(line) if line.send(key).is_ok() => Next::Done,
        _ => Next::Again,
    }
}

fn flush_and_call_back<F: Flushable>(handle: &F, callbacks: Vec<FlushCallback<F::Error>>) {
    let result = handle.flush();
    for callback in callbacks {
        callback(result.clone());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crossbeam::channel::bounded;
    use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering};
    use std::time::{Duration, Instant};

    /// A busy machine may need much of it.
    const LIMIT: Duration = Duration::from_secs(120);

    /// A log whose flushes wait for permission, if asked to.
    #[derive(Clone)]
    struct Fake {
        key: u64,
        end: Arc<AtomicI64>,
        flushes: Arc<AtomicUsize>,
        gate: Option<(Sender<()>, Receiver<()>)>,
        fails: bool,
    }

    impl Fake {
        fn new(key: u64) -> Self {
            Self {
                key,
                end: Arc::default(),
                flushes: Arc::default(),
                gate: None,
                fails: false,
            }
        }

        /// A log, a receiver that reports when a flush began, and a sender that lets it continue.
        fn gated(key: u64) -> (Self, Receiver<()>, Sender<()>) {
            let (begun, saw_begin) = unbounded();
            let (permit, permitted) = unbounded();
            let log = Self {
                gate: Some((begun, permitted)),
                ..Self::new(key)
            };
            (log, saw_begin, permit)
        }

        fn append(&self) -> Offset {
            Offset(self.end.fetch_add(1, Ordering::SeqCst) + 1)
        }
    }

    impl Flushable for Fake {
        type Error = String;

        fn key(&self) -> u64 {
            self.key
        }

        fn flush(&self) -> Result<Offset, String> {
            let covered = Offset(self.end.load(Ordering::SeqCst));
            if let Some((begun, permitted)) = &self.gate {
                begun.send(()).unwrap();
                permitted.recv_timeout(LIMIT).unwrap();
            }
            self.flushes.fetch_add(1, Ordering::SeqCst);
            if self.fails {
                Err("disk on fire".to_owned())
            } else {
                Ok(covered)
            }
        }
    }

    type Answers = (
        Sender<(u64, Result<Offset, String>)>,
        Receiver<(u64, Result<Offset, String>)>,
    );

    fn submit(flusher: &Flusher<Fake>, log: &Fake, answers: &Answers) {
        let (sender, key) = (answers.0.clone(), log.key);
        flusher.submit(
            log.clone(),
            Box::new(move |result| sender.send((key, result)).unwrap()),
        );
    }

    #[test]
    fn submissions_during_a_flush_share_the_next_one() {
        let flusher = Flusher::start(2).unwrap();
        let (log, begun, permit) = Fake::gated(1);
        let answers = unbounded();
        log.append();
        submit(&flusher, &log, &answers);
        begun.recv_timeout(LIMIT).unwrap();
        let mut ends = Vec::new();
        for _ in 0..10 {
            ends.push(log.append());
            submit(&flusher, &log, &answers);
        }
        permit.send(()).unwrap();
        assert_eq!(answers.1.recv_timeout(LIMIT).unwrap(), (1, Ok(Offset(1))));
        permit.send(()).unwrap();
        for end in ends {
            let durable = answers.1.recv_timeout(LIMIT).unwrap().1.unwrap();
            assert!(durable >= end, "{durable} does not cover {end}");
        }
        flusher.stop();
        assert_eq!(log.flushes.load(Ordering::SeqCst), 2);
    }

    #[test]
    fn a_slow_log_does_not_hold_up_another() {
        let flusher = Flusher::start(2).unwrap();
        let (slow, begun, permit) = Fake::gated(1);
        let fast = Fake::new(2);
        let answers = unbounded();
        submit(&flusher, &slow, &answers);
        begun.recv_timeout(LIMIT).unwrap();
        submit(&flusher, &fast, &answers);
        assert_eq!(answers.1.recv_timeout(LIMIT).unwrap().0, 2);
        permit.send(()).unwrap();
        assert_eq!(answers.1.recv_timeout(LIMIT).unwrap().0, 1);
    }

    #[test]
    fn a_failure_is_told_to_every_waiter_and_not_retried() {
        let flusher = Flusher::start(1).unwrap();
        let (gate, begun, permit) = Fake::gated(1);
        let log = Fake {
            fails: true,
            ..Fake::new(2)
        };
        let answers = unbounded();
        submit(&flusher, &gate, &answers);
        begun.recv_timeout(LIMIT).unwrap();
        for _ in 0..3 {
            submit(&flusher, &log, &answers);
        }
        permit.send(()).unwrap();
        flusher.stop();
        let failed = answers
            .1
            .try_iter()
            .filter(|(_, result)| result.is_err())
            .count();
        assert_eq!(failed, 3);
        assert_eq!(log.flushes.load(Ordering::SeqCst), 1);
    }

    #[test]
    fn stop_answers_everything_submitted_before_and_drops_what_comes_later() {
        let flusher = Arc::new(Flusher::start(1).unwrap());
        let (log, begun, permit) = Fake::gated(1);
        let answers = unbounded();
        submit(&flusher, &log, &answers);
        begun.recv_timeout(LIMIT).unwrap();
        // These wait for a second flush, which begins only after the line was closed.
        submit(&flusher, &log, &answers);
        submit(&flusher, &log, &answers);
        let stopper = thread::spawn({
            let flusher = flusher.clone();
            move || flusher.stop()
        });
        let begun = Instant::now();
        while flusher.shared.state.lock().line.is_some() {
            assert!(begun.elapsed() < LIMIT, "the line is not closed");
            thread::yield_now();
        }
        permit.send(()).unwrap();
        permit.send(()).unwrap();
        stopper.join().unwrap();
        assert_eq!(answers.1.try_iter().count(), 3);
        submit(&flusher, &log, &answers);
        assert_eq!(answers.1.try_iter().count(), 0);
        flusher.stop();
    }

    #[test]
    fn a_panicking_callback_does_not_end_the_flusher() {
        let flusher = Flusher::start(1).unwrap();
        let log = Fake::new(1);
        let answers = unbounded();
        let (told, tell) = bounded(1);
        flusher.submit(
            log.clone(),
            Box::new(move |_| {
                told.send(()).unwrap();
                panic!("expected by the test");
            }),
        );
        tell.recv_timeout(LIMIT).unwrap();
        submit(&flusher, &log, &answers);
        assert_eq!(answers.1.recv_timeout(LIMIT).unwrap(), (1, Ok(Offset(0))));
    }

    #[test]
    fn many_threads_get_an_answer_that_covers_their_append() {
        let flusher = Arc::new(Flusher::start(3).unwrap());
        let logs: Vec<Fake> = (0..4).map(Fake::new).collect();
        let writers: Vec<_> = (0..8)
            .map(|writer| {
                let (flusher, log) = (flusher.clone(), logs[writer % logs.len()].clone());
                thread::spawn(move || {
                    for _ in 0..200 {
                        let end = log.append();
                        let answers = unbounded();
                        submit(&flusher, &log, &answers);
                        assert!(answers.1.recv_timeout(LIMIT).unwrap().1.unwrap() >= end);
                    }
                })
            })
            .collect();
        for writer in writers {
            writer.join().unwrap();
        }
        assert!(flusher.shared.state.lock().logs.len() <= logs.len());
    }
}
