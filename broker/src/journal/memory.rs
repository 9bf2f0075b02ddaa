//! A journal in memory, for tests. It keeps every change, and a replay returns all of them,
//! including those that others have replaced: a loader must take the last one.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::Mutex;

use super::queue::Queue;
use super::{Entry, Journal, JournalError, JournalStore, Then, Visit};
use crate::records::Edit;

/// A key, and its value unless it was removed.
type Single = (Vec<u8>, Option<Vec<u8>>);

/// What is durable. It outlives the journals that were opened on it, one after the other.
#[derive(Default)]
pub struct Disk {
    /// Each change of a record, in order.
    log: Mutex<Vec<Single>>,
    /// Writes that are going to fail.
    fails: AtomicUsize,
    failure: Mutex<Option<String>>,
}

impl Disk {
    /// Opens a journal.
    pub fn journal(self: &Arc<Self>) -> Journal {
        let disk = Arc::clone(self);
        let queue = Queue::start(move |edits| disk.write(edits)).unwrap();
        Journal::new(Arc::new(MemoryJournal {
            queue,
            disk: Arc::clone(self),
        }))
    }

    /// Lets the next write fail, with all changes that happen to be in it.
    pub fn fail_next(&self) {
        self.fails.fetch_add(1, Ordering::AcqRel);
    }

    fn write(&self, edits: Vec<Edit>) -> Result<(), &'static str> {
        let fails = self
            .fails
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, |fails| {
                fails.checked_sub(1)
            });
        if !edits.is_empty() && fails.is_ok() {
            *self.failure.lock() = Some("told to fail".to_owned());
            return Err("told to fail");
        }
        let mut log = self.log.lock();
        for edit in edits {
            match edit {
                Edit::Put { key, value } => log.push((key, Some(value))),
                Edit::Delete { key } => log.push((key, None)),
                Edit::DeletePrefix { prefix } => {
                    let known = log.iter().map(|(key, _)| key);
                    let gone: BTreeSet<_> = known
                        .filter(|key| key.starts_with(&prefix))
                        .cloned()
                        .collect();
                    log.extend(gone.into_iter().map(|key| (key, None)));
                }
            }
        }
        *self.failure.lock() = None;
        Ok(())
    }
}

struct MemoryJournal {
    queue: Queue,
    disk: Arc<Disk>,
}

impl JournalStore for MemoryJournal {
    fn take_room(&self) -> bool {
        self.queue.take_room()
    }

    fn give_room_back(&self) {
        self.queue.give_room_back();
    }

    fn append(&self, entry: Entry, then: Then) {
        self.queue.append(entry, then);
    }

    fn after_all(&self, then: Then) {
        self.queue.after_all(then);
    }

    fn replay(&self, prefixes: &[u8], visit: &mut Visit<'_>) -> Result<(), JournalError> {
        for (key, value) in self.disk.log.lock().iter() {
            if prefixes.contains(&key[0]) {
                visit(key, value.as_deref())?;
            }
        }
        Ok(())
    }

    fn stop(&self) {
        self.queue.stop();
    }

    fn failure(&self) -> Option<String> {
        let of_disk = || self.disk.failure.lock().clone();
        self.queue.failure().or_else(of_disk)
    }

    fn try_again(&self) {
        if self.disk.fails.load(Ordering::Acquire) == 0 {
            *self.disk.failure.lock() = None;
        }
    }
}
