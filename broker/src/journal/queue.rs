//! The queue of changes that wait for the disk, and the thread that processes it.
//!
//! The thread stores all queued changes in one write (group commit), so that a broker with many
//! committing clients waits for the disk once per write and not once per commit. Async threads
//! never touch the disk.

use std::fmt::Display;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::{self, JoinHandle};

use crossbeam::channel::{Receiver, Sender, unbounded};
use parking_lot::Mutex;

use super::{Entry, NotStored, Then};
use crate::records::Edit;

/// Entry that wait for the disk; past it a request is refused and the client tries again.
pub const MAX_WAITING_CHANGES: usize = 16_384;

/// Bytes of changes that wait for the disk, one change more at most: past it a request is refused.
pub const MAX_WAITING_BYTES: usize = 64 << 20;

/// Requests whose changes go to disk in one synced write.
const MAX_CHANGES_PER_WRITE: usize = 1_024;

/// A continuation has panicked. What it should have done is not done, so nobody goes on after it.
const DIED: &str = "the thread that stores changes has panicked: restart the broker";

enum Job {
    Change(Entry, Then),
    Stop,
}

/// Takes changes.
pub(super) struct Queue {
    jobs: Sender<Job>,
    waiting: Arc<Waiting>,
    stopped: AtomicBool,
    thread: Mutex<Option<JoinHandle<()>>>,
}

/// What was accepted and not yet taken up by the thread; bytes until they are stored.
#[derive(Default)]
struct Waiting {
    changes: AtomicUsize,
    bytes: AtomicUsize,
}

impl Queue {
    /// Starts the thread, which stores by `write`: all of it, durably, or nothing.
    ///
    /// # Errors
    /// The system has no thread left.
    pub fn start<E: Display>(
        write: impl FnMut(Vec<Edit>) -> Result<(), E> + Send + 'static,
    ) -> io::Result<Self> {
        let (jobs, queue) = unbounded();
        let waiting = Arc::new(Waiting::default());
        let taken = Arc::clone(&waiting);
        let handle = thread::Builder::new()
            .name("journal".into())
            .spawn(move || work(&queue, &taken, write))?;
        Ok(Self {
            jobs,
            waiting,
            stopped: AtomicBool::new(false),
            thread: Mutex::new(Some(handle)),
        })
    }

    pub fn take_room(&self) -> bool {
        if self.stopped.load(Ordering::Acquire)
            || self.waiting.bytes.load(Ordering::Acquire) >= MAX_WAITING_BYTES
        {
            return false;
        }
        let room = |waiting| (waiting < MAX_WAITING_CHANGES).then_some(waiting + 1);
        let changes = &self.waiting.changes;
        let taken = changes.fetch_update(Ordering::AcqRel, Ordering::Acquire, room);
        taken.is_ok()
    }

    pub fn give_room_back(&self) {
        self.waiting.changes.fetch_sub(1, Ordering::AcqRel);
    }

    pub fn append(&self, entry: Entry, then: Then) {
        let bytes = entry.size_bytes();
        self.waiting.bytes.fetch_add(bytes, Ordering::AcqRel);
        // Without a thread, `then` is dropped, and its waiter notices that.
        let _ = self.jobs.send(Job::Change(entry, then));
    }

    pub fn after_all(&self, then: Then) {
        self.waiting.changes.fetch_add(1, Ordering::AcqRel);
        self.append(Entry::new(), then);
    }

    /// Why nothing is stored any more although nobody has stopped it.
    pub fn failure(&self) -> Option<String> {
        let thread = self.thread.lock();
        let has_died = thread.as_ref().is_some_and(JoinHandle::is_finished);
        has_died.then(|| DIED.to_owned())
    }

    pub fn stop(&self) {
        self.stopped.store(true, Ordering::Release);
        let thread = self.thread.lock().take();
        if let Some(thread) = thread {
            // Fails only if the thread has already ended.
            let _ = self.jobs.send(Job::Stop);
            if thread.thread().id() != thread::current().id() && thread.join().is_err() {
                tracing::error!("{DIED}");
            }
        }
    }
}

impl Drop for Queue {
    fn drop(&mut self) {
        self.stop();
    }
}

fn work<E: Display>(
    queue: &Receiver<Job>,
    waiting: &Waiting,
    mut write: impl FnMut(Vec<Edit>) -> Result<(), E>,
) {
    let mut stopping = false;
    while !stopping && let Ok(first) = queue.recv() {
        let (mut edits, mut finish, mut bytes) = (Vec::new(), Vec::new(), 0);
        for job in std::iter::once(first).chain(queue.try_iter()) {
            match job {
                Job::Change(entry, then) => {
                    bytes += entry.size_bytes();
                    edits.extend(entry.edits);
                    finish.push(then);
                }
                Job::Stop => stopping = true,
            }
            if stopping || finish.len() >= MAX_CHANGES_PER_WRITE {
                break;
            }
        }
        waiting.changes.fetch_sub(finish.len(), Ordering::AcqRel);
        let result = write(edits).map_err(|error| {
            tracing::error!(%error, requests = finish.len(), "changes are not stored");
            NotStored
        });
        waiting.bytes.fetch_sub(bytes, Ordering::AcqRel);
        for then in finish {
            then(result);
        }
    }
}
