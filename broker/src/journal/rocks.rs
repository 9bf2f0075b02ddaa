//! The journal of one process, in RocksDB: for each record, its current value. The order of changes
//! is the order of RocksDB's writes; a replay visits each record once.

use std::io;
use std::sync::Arc;

use carrick_storage::meta::{MetaBatch, MetaStore};

use super::queue::Queue;
use super::{Entry, JournalError, JournalStore, Then, Visit};
use crate::records::Edit;

pub struct RocksJournal {
    queue: Queue,
    store: Arc<MetaStore>,
}

impl RocksJournal {
    /// In an open database, with its own thread.
    ///
    /// # Errors
    /// The system has no thread left.
    pub fn start(store: Arc<MetaStore>) -> io::Result<Self> {
        let written = Arc::clone(&store);
        let queue = Queue::start(move |edits| written.commit(batch(edits)))?;
        Ok(Self { queue, store })
    }
}

fn batch(edits: Vec<Edit>) -> MetaBatch {
    let mut batch = MetaBatch::new();
    for edit in edits {
        match edit {
            Edit::Put { key, value } => batch.put(key, value),
            Edit::Delete { key } => batch.delete(key),
            Edit::DeletePrefix { prefix } => batch.delete_prefix(prefix),
        }
    }
    batch
}

impl JournalStore for RocksJournal {
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
        for prefix in prefixes {
            for record in self.store.scan(&[*prefix]) {
                let (key, value) = record.map_err(|error| JournalError::Failed(error.into()))?;
                visit(&key, Some(&value))?;
            }
        }
        Ok(())
    }

    fn stop(&self) {
        self.queue.stop();
    }

    fn failure(&self) -> Option<String> {
        self.queue.failure().or_else(|| self.store.failure())
    }

    fn try_again(&self) {
        // What fails again shows as the failure that it is.
        let _ = self.store.try_again();
    }
}
