//! The seam to the state of coordinators: what groups and transactions have recorded, in order.
//!
//! [`JournalStore`] is the port; [`rocks`] implements it for one process, [`memory`] for tests, and
//! one suite (`contract.rs`) runs on both. [`Journal`] is how coordinators reach it: typed, by
//! keyspace.
//!
//! A coordinator keeps everything in memory. It records each change before it answers, and reads
//! the journal once, when it starts. Nothing else about groups and transactions is durable.
//!
//! Invariants:
//! - Entries take effect in the order in which they were appended, each as a whole. A coordinator
//!   appends under the lock of the changed object, so the order is the same in memory. One journal
//!   serves both coordinators: a transaction that commits a group's offsets changes both in one
//!   append.
//! - A continuation runs once after its change, in the order of the appends, when the change is
//!   durable or could not be made so. It runs on the journal's thread: it must not block. After the
//!   journal has stopped it is dropped without running.
//! - The caller takes room before it appends: that limits what waits.

#[cfg(test)]
mod contract;
#[cfg(test)]
pub mod memory;
mod queue;
pub mod rocks;

use std::collections::BTreeMap;
use std::sync::Arc;

use crossbeam::channel;
use tokio::sync::oneshot;

use crate::records::{Corrupt, Edit, OfCoordinators, Records, decode_key, decode_value};

/// The disk did not take a change, or too many wait for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the change could not be stored")]
pub struct NotStored;

/// Why the journal cannot be read, or written to at a start.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// A stored record does not decode.
    #[error(transparent)]
    Corrupt(#[from] Corrupt),
    #[error(transparent)]
    NotStored(#[from] NotStored),
    /// The store cannot be read.
    #[error(transparent)]
    Failed(Box<dyn std::error::Error + Send + Sync>),
}

/// What to run once a change is durable, or could not be made so.
pub type Then = Box<dyn FnOnce(Result<(), NotStored>) + Send>;

/// Receives one record: its key, and its value or that it was removed.
pub type Visit<'a> = dyn FnMut(&[u8], Option<&[u8]>) -> Result<(), Corrupt> + 'a;

/// What a journal must do. Keys and values are bytes; see [`Keyspace`](crate::records::Keyspace).
pub trait JournalStore: Send + Sync {
    /// Takes room for one change. False if too much waits, or the journal has stopped.
    fn take_room(&self) -> bool;

    /// Room that was taken and not used is free again.
    fn give_room_back(&self);

    /// Appends a change, for which room was taken, and returns immediately.
    fn append(&self, entry: Entry, then: Then);

    /// Runs `then` after all changes appended so far are done. Takes no room.
    fn after_all(&self, then: Then);

    /// Visits every record under these prefix bytes as it is after all that is durable, in the
    /// order of the changes: a record may come several times, and the last time holds.
    fn replay(&self, prefixes: &[u8], visit: &mut Visit<'_>) -> Result<(), JournalError>;

    /// Returns once all accepted changes are done. Later ones are refused. Blocks.
    fn stop(&self);

    /// Why the last changes could not be stored; `None` if they were. A continuation that panics
    /// ends the thread, and with it every later change: that is a failure that stays.
    fn failure(&self) -> Option<String>;

    /// After a failure: finds out whether changes can be stored again, and forgets it if so.
    fn try_again(&self);
}

/// One entry of the journal: edits of any keyspaces of coordinators, in order, to be stored as one.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[must_use = "changes are lost unless they are appended"]
pub struct Entry {
    edits: Vec<Edit>,
}

impl Entry {
    pub fn new() -> Self {
        Self::default()
    }

    pub fn put<K: OfCoordinators>(&mut self, key: &K::Key, value: &K::Value) {
        self.edits.push(Edit::put::<K>(key, value));
    }

    /// Nothing happens if the record is not there.
    pub fn delete<K: OfCoordinators>(&mut self, key: &K::Key) {
        self.edits.push(Edit::delete::<K>(key));
    }

    /// Removes every record whose encoded key starts with `key_prefix`.
    pub fn delete_prefix<K: OfCoordinators>(&mut self, key_prefix: &[u8]) {
        self.edits.push(Edit::delete_prefix::<K>(key_prefix));
    }

    /// How many edits.
    pub fn len(&self) -> usize {
        self.edits.len()
    }

    pub fn is_empty(&self) -> bool {
        self.edits.is_empty()
    }

    /// Bytes of all keys and values.
    fn size_bytes(&self) -> usize {
        self.edits.iter().map(Edit::size_bytes).sum()
    }
}

/// The journal, typed by keyspace. Cheap to clone.
#[derive(Clone)]
pub struct Journal {
    store: Arc<dyn JournalStore>,
}

/// Room for one change.
pub struct Room<'a>(&'a dyn JournalStore);

impl Journal {
    pub fn new(store: Arc<dyn JournalStore>) -> Self {
        Self { store }
    }

    /// Room for one change; `None` if too much waits, or the journal has stopped.
    pub fn room(&self) -> Option<Room<'_>> {
        self.store.take_room().then(|| Room(&*self.store))
    }

    /// Returns when all changes accepted so far are done.
    pub async fn barrier(&self) {
        let (done, waits) = oneshot::channel::<()>();
        self.store.after_all(Box::new(move |_| drop(done)));
        // Nothing is ever sent: the end of the sender is the signal.
        let _ = waits.await;
    }

    /// Appends and waits until the change is durable. For a start, when there are no other appends.
    /// Blocks.
    ///
    /// # Errors
    /// It is not stored.
    pub fn append_now(&self, entry: Entry) -> Result<(), NotStored> {
        let (outcome, done) = channel::bounded(1);
        let room = self.room().ok_or(NotStored)?;
        room.append(entry, move |result| {
            // The waiting caller still exists.
            let _ = outcome.send(result);
        });
        done.recv().unwrap_or(Err(NotStored))
    }

    /// Reads everything in its keyspace into each of the tables.
    ///
    /// # Errors
    /// `Corrupt`, `Failed`.
    pub fn replay(&self, tables: &mut [&mut dyn Replayed]) -> Result<(), JournalError> {
        let prefixes: Vec<u8> = tables.iter().map(|table| table.prefix()).collect();
        self.store.replay(&prefixes, &mut |key, value| {
            let table = tables
                .iter_mut()
                .find(|table| key.first() == Some(&table.prefix()));
            table.map_or(Ok(()), |table| table.visit(key, value))
        })
    }

    /// Returns once all accepted changes are done. Later ones are refused. Blocks.
    pub fn stop(&self) {
        self.store.stop();
    }

    /// Why the last changes could not be stored; `None` if they were.
    pub fn failure(&self) -> Option<String> {
        self.store.failure()
    }

    /// After a failure: finds out whether changes can be stored again. Blocks on disk.
    pub fn try_again(&self) {
        self.store.try_again();
    }
}

impl Room<'_> {
    /// Appends a change and returns immediately.
    pub fn append(self, entry: Entry, then: impl FnOnce(Result<(), NotStored>) + Send + 'static) {
        self.0.append(entry, Box::new(then));
        std::mem::forget(self);
    }
}

/// Room that was not used is free again.
impl Drop for Room<'_> {
    fn drop(&mut self) {
        self.0.give_room_back();
    }
}

/// What is filled by [`Journal::replay`].
pub trait Replayed {
    /// The keyspace's byte.
    fn prefix(&self) -> u8;

    /// One record, as it is now.
    ///
    /// # Errors
    /// It does not decode.
    fn visit(&mut self, key: &[u8], value: Option<&[u8]>) -> Result<(), Corrupt>;
}

/// The records of one keyspace, in the order of their stored keys.
pub struct Table<K: OfCoordinators>(BTreeMap<Vec<u8>, K::Value>);

impl<K: OfCoordinators> Default for Table<K> {
    fn default() -> Self {
        Self(BTreeMap::new())
    }
}

impl<K: OfCoordinators> Table<K> {
    /// The records, in key order.
    ///
    /// # Errors
    /// A key does not decode.
    pub fn into_records(self) -> Result<Records<K>, Corrupt> {
        let records = self.0.into_iter();
        let decoded = records.map(|(key, value)| Ok((decode_key::<K>(&key)?, value)));
        decoded.collect()
    }
}

impl<K: OfCoordinators> Replayed for Table<K> {
    fn prefix(&self) -> u8 {
        K::PREFIX
    }

    fn visit(&mut self, key: &[u8], value: Option<&[u8]>) -> Result<(), Corrupt> {
        match value {
            Some(value) => {
                let value = decode_value::<K>(key, value)?;
                self.0.insert(key.to_vec(), value);
            }
            None => drop(self.0.remove(key)),
        }
        Ok(())
    }
}
