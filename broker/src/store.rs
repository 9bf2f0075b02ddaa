//! The thread that makes changes of groups and transactions durable.
//!
//! Changes queue up and go to RocksDB in order, as many as are there in one synced write (group
//! commit), so that a broker with many committing clients waits for the disk once per turn and
//! not once per commit. Async threads never touch the disk.
//!
//! One thread for both: a transaction that commits a group's offsets changes both in one write, and
//! the order of that write among the group's own and the transaction's own must be that in memory.
//!
//! Invariant: what goes on after a change is called once per accepted change, in the order of
//! acceptance, after the change is durable (or could not be made so). It runs on the store's
//! thread: it must not block. Changes are handed over under the lock of what they change.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::{self, JoinHandle};

use carrick_storage::meta::{MetaBatch, MetaStore};
use crossbeam::channel::{Receiver, Sender, unbounded};
use parking_lot::Mutex;
use tokio::sync::oneshot;

/// Changes that wait for the disk; past it a request is refused and the client tries again.
pub const MAX_WAITING_CHANGES: usize = 16_384;

/// Bytes of changes that wait for the disk, one change more at most: past it a request is refused.
pub const MAX_WAITING_BYTES: usize = 64 << 20;

/// Requests whose changes go to disk in one synced write.
const MAX_CHANGES_PER_WRITE: usize = 1_024;

/// The disk did not take a change, or too many wait for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the change could not be stored")]
pub struct NotStored;

/// What goes on once a change is durable, or could not be made so.
type Then = Box<dyn FnOnce(Result<(), NotStored>) + Send>;

enum Job {
    Change(MetaBatch, Then),
    Stop,
}

/// Takes changes.
pub struct Store {
    jobs: Sender<Job>,
    waiting: Arc<AtomicUsize>,
    waiting_bytes: Arc<AtomicUsize>,
    stopped: AtomicBool,
    thread: Mutex<Option<JoinHandle<()>>>,
}

/// Room for one change.
pub struct Slot<'a>(&'a Store);

impl Store {
    /// Starts the thread.
    ///
    /// # Errors
    /// The system has no thread left.
    pub fn start(meta: Arc<MetaStore>) -> io::Result<Arc<Self>> {
        let (jobs, queue) = unbounded();
        let waiting = Arc::new(AtomicUsize::new(0));
        let waiting_bytes = Arc::new(AtomicUsize::new(0));
        let taken = Taken {
            changes: Arc::clone(&waiting),
            bytes: Arc::clone(&waiting_bytes),
        };
        let handle = thread::Builder::new()
            .name("meta-store".into())
            .spawn(move || work(&queue, &taken, &meta))?;
        Ok(Arc::new(Self {
            jobs,
            waiting,
            waiting_bytes,
            stopped: AtomicBool::new(false),
            thread: Mutex::new(Some(handle)),
        }))
    }

    /// Room for one change; `None` if too many changes wait, or the store has stopped.
    pub fn slot(&self) -> Option<Slot<'_>> {
        if self.stopped.load(Ordering::Acquire)
            || self.waiting_bytes.load(Ordering::Acquire) >= MAX_WAITING_BYTES
        {
            return None;
        }
        let room = |waiting| (waiting < MAX_WAITING_CHANGES).then_some(waiting + 1);
        self.waiting
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, room)
            .ok()
            .map(|_| Slot(self))
    }

    /// Returns when all changes accepted so far are done.
    pub async fn barrier(&self) {
        let (done, waits) = oneshot::channel::<()>();
        let job = Job::Change(MetaBatch::new(), Box::new(move |_| drop(done)));
        self.waiting.fetch_add(1, Ordering::AcqRel);
        if self.jobs.send(job).is_ok() {
            // Nothing is ever sent: the end of the sender is the signal.
            let _ = waits.await;
        }
    }

    /// Ends the thread once all accepted changes are done. Blocks; later changes are refused.
    pub fn stop(&self) {
        self.stopped.store(true, Ordering::Release);
        let thread = self.thread.lock().take();
        if let Some(thread) = thread {
            // Fails only if the thread is gone already.
            let _ = self.jobs.send(Job::Stop);
            if thread.thread().id() != thread::current().id() && thread.join().is_err() {
                tracing::error!("the thread that stores changes has panicked");
            }
        }
    }
}

impl Slot<'_> {
    /// Queues a change and returns at once.
    pub fn submit(
        self,
        change: MetaBatch,
        then: impl FnOnce(Result<(), NotStored>) + Send + 'static,
    ) {
        self.0
            .waiting_bytes
            .fetch_add(change.size_bytes(), Ordering::AcqRel);
        // Without a thread `then` is dropped, and whoever waits for it hears that.
        let _ = self.0.jobs.send(Job::Change(change, Box::new(then)));
        std::mem::forget(self);
    }
}

/// A slot that was not used is free again.
impl Drop for Slot<'_> {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::AcqRel);
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        self.stop();
    }
}

/// What waits, as the thread counts it down.
struct Taken {
    changes: Arc<AtomicUsize>,
    bytes: Arc<AtomicUsize>,
}

fn work(queue: &Receiver<Job>, taken: &Taken, meta: &MetaStore) {
    let mut stopping = false;
    while !stopping && let Ok(first) = queue.recv() {
        let mut batch = MetaBatch::new();
        let mut finish = Vec::new();
        for job in std::iter::once(first).chain(queue.try_iter()) {
            match job {
                Job::Change(change, then) => {
                    batch.append(change);
                    finish.push(then);
                }
                Job::Stop => stopping = true,
            }
            if stopping || finish.len() >= MAX_CHANGES_PER_WRITE {
                break;
            }
        }
        taken.changes.fetch_sub(finish.len(), Ordering::AcqRel);
        let bytes = batch.size_bytes();
        let result = meta.commit(batch).map_err(|error| {
            tracing::error!(%error, requests = finish.len(), "changes are not stored");
            NotStored
        });
        taken.bytes.fetch_sub(bytes, Ordering::AcqRel);
        for then in finish {
            then(result);
        }
    }
}

#[cfg(test)]
mod tests {
    use carrick_protocol::ids::GroupId;

    use super::*;
    use crate::group::classic::GroupRecord;
    use crate::records::group::Groups;

    fn change(generation: i32) -> MetaBatch {
        let record = GroupRecord {
            generation,
            ..GroupRecord::default()
        };
        let mut batch = MetaBatch::new();
        batch.put::<Groups>(&GroupId::new("g"), &record);
        batch
    }

    #[test]
    fn changes_are_finished_in_order_once_they_are_readable() {
        let dir = tempfile::tempdir().unwrap();
        let meta = Arc::new(MetaStore::open(dir.path()).unwrap());
        let store = Store::start(meta.clone()).unwrap();
        let finished = Arc::new(Mutex::new(Vec::new()));
        for number in 0..3_000 {
            let (seen, reader) = (finished.clone(), meta.clone());
            store.slot().unwrap().submit(change(number), move |result| {
                let stored = reader.get::<Groups>(&GroupId::new("g")).unwrap();
                let generation = stored.unwrap().generation;
                assert!(
                    generation >= number,
                    "{generation} is stored, {number} finished"
                );
                seen.lock().push((number, result));
            });
        }
        store.stop();
        let expected: Vec<_> = (0..3_000).map(|number| (number, Ok(()))).collect();
        assert_eq!(*finished.lock(), expected);
        assert!(store.slot().is_none(), "it has stopped");
    }

    #[tokio::test]
    async fn a_change_is_refused_while_those_that_wait_are_too_large() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::start(Arc::new(MetaStore::open(dir.path()).unwrap())).unwrap();
        let (release, released) = crossbeam::channel::bounded::<()>(0);
        let (busy, is_busy) = crossbeam::channel::bounded::<()>(0);
        store.slot().unwrap().submit(change(1), move |_| {
            busy.send(()).unwrap();
            released.recv().unwrap();
        });
        is_busy.recv().unwrap();
        let record = GroupRecord {
            protocol_type: Some("x".repeat(MAX_WAITING_BYTES)),
            ..GroupRecord::default()
        };
        let mut large = MetaBatch::new();
        large.put::<Groups>(&GroupId::new("g"), &record);
        store.slot().unwrap().submit(large, |_| {});
        assert!(store.slot().is_none());
        release.send(()).unwrap();
        store.barrier().await;
        assert!(store.slot().is_some());
    }

    #[test]
    fn a_change_too_many_is_refused_until_one_is_done() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::start(Arc::new(MetaStore::open(dir.path()).unwrap())).unwrap();
        let mut slots: Vec<_> = (0..MAX_WAITING_CHANGES)
            .map(|_| store.slot().unwrap())
            .collect();
        assert!(store.slot().is_none());
        slots.pop();
        assert!(store.slot().is_some());
    }
}
