//! The thread that makes changes of groups durable.
//!
//! Changes queue up and go to RocksDB in order, as many as are there in one synced write (group
//! commit), so that a broker with many committing consumers waits for the disk once per turn and
//! not once per commit. Async threads never touch the disk.
//!
//! Invariant: `finish` is called once per accepted change, in the order of acceptance, after the
//! change is durable (or could not be made so).

use std::io;
use std::sync::Arc;
use std::thread::{self, JoinHandle};

use carrick_storage::meta::{MetaBatch, MetaStore};
use crossbeam::channel::{Receiver, Sender, bounded};
use parking_lot::Mutex;

use super::error::GroupError;
use super::limits::{MAX_CHANGES_PER_WRITE, MAX_WAITING_CHANGES};

enum Job<T> {
    Change(MetaBatch, T),
    Stop,
}

/// Takes changes; `T` says what goes on once one is durable.
pub(super) struct Store<T> {
    jobs: Sender<Job<T>>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

/// The receiving end, until [`Store::run`] starts the thread.
pub(super) struct Queue<T>(Receiver<Job<T>>);

impl<T: Send + 'static> Store<T> {
    pub fn new() -> (Self, Queue<T>) {
        let (jobs, queue) = bounded(MAX_WAITING_CHANGES);
        let thread = Mutex::new(None);
        (Self { jobs, thread }, Queue(queue))
    }

    /// Starts the thread.
    pub fn run(
        &self,
        queue: Queue<T>,
        meta: Arc<MetaStore>,
        finish: impl Fn(T, Result<(), GroupError>) + Send + 'static,
    ) -> io::Result<()> {
        let work = move || work(&queue.0, &meta, &finish);
        let handle = thread::Builder::new()
            .name("group-store".into())
            .spawn(work)?;
        *self.thread.lock() = Some(handle);
        Ok(())
    }

    /// Queues a change and returns at once. Gives `then` back if too many changes wait, or the
    /// store has stopped: then nothing happens to the change.
    pub fn submit(&self, change: MetaBatch, then: T) -> Result<(), T> {
        match self.jobs.try_send(Job::Change(change, then)) {
            Ok(()) => Ok(()),
            Err(refused) => match refused.into_inner() {
                Job::Change(_, then) => Err(then),
                Job::Stop => Ok(()),
            },
        }
    }

    /// Ends the thread once all accepted changes are done. Blocks; later changes are refused.
    pub fn stop(&self) {
        let thread = self.thread.lock().take();
        if let Some(thread) = thread {
            // Fails only if the thread is gone already.
            let _ = self.jobs.send(Job::Stop);
            if thread.join().is_err() {
                tracing::error!("the thread that stores groups has panicked");
            }
        }
    }
}

fn work<T>(
    queue: &Receiver<Job<T>>,
    meta: &MetaStore,
    finish: &impl Fn(T, Result<(), GroupError>),
) {
    let mut stopping = false;
    while !stopping && let Ok(first) = queue.recv() {
        let mut batch = MetaBatch::new();
        let mut waiting = Vec::new();
        for job in std::iter::once(first).chain(queue.try_iter()) {
            match job {
                Job::Change(change, then) => {
                    batch.append(change);
                    waiting.push(then);
                }
                Job::Stop => stopping = true,
            }
            if stopping || waiting.len() >= MAX_CHANGES_PER_WRITE {
                break;
            }
        }
        let result = meta.commit(batch).map_err(|error| {
            tracing::error!(%error, requests = waiting.len(), "changes of groups are not stored");
            GroupError::NotStored
        });
        for then in waiting {
            finish(then, result);
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
        let (store, queue) = Store::new();
        let finished = Arc::new(Mutex::new(Vec::new()));
        let (seen, reader) = (finished.clone(), meta.clone());
        let finish = move |number: i32, result| {
            let stored = reader.get::<Groups>(&GroupId::new("g")).unwrap();
            let generation = stored.unwrap().generation;
            assert!(
                generation >= number,
                "{generation} is stored, {number} finished"
            );
            seen.lock().push((number, result));
        };
        for number in 0..3_000 {
            assert_eq!(store.submit(change(number), number), Ok(()));
        }
        store.run(queue, meta, finish).unwrap();
        store.stop();
        let expected: Vec<_> = (0..3_000).map(|number| (number, Ok(()))).collect();
        assert_eq!(*finished.lock(), expected);
        assert_eq!(
            store.submit(change(9_999), 9_999),
            Err(9_999),
            "it has stopped"
        );
    }

    #[test]
    fn a_change_too_many_is_given_back() {
        let (store, queue) = Store::new();
        for number in 0..MAX_WAITING_CHANGES {
            assert_eq!(store.submit(MetaBatch::new(), number), Ok(()));
        }
        let refused = store.submit(MetaBatch::new(), usize::MAX);
        assert_eq!(refused, Err(usize::MAX));
        drop(queue);
    }
}
