//! One partition: its log, who may write to it, and who waits for it.
//!
//! Invariants:
//! - log start ≤ last stable offset ≤ high watermark ≤ end.
//! - [`Mode`] is read and changed only under the lock of `Core`, in the same critical section as
//!   the append it decides about. A mirror's lease is checked the same way.
//! - The lock is never held across an await, and never two partitions' locks at once.
//! - The high watermark of a writable partition is its durable end (or its end, when flushing in
//!   the background is configured); of a mirror it is min(its end, the source's high watermark).
//! - Readers never take the lock: they read from the log's last published snapshot.

pub mod append;
pub mod cut;
pub mod error;
pub mod mirror;
pub mod watch;

use std::sync::Arc;
use std::sync::atomic::{AtomicI32, Ordering};

use carrick_link::ports::Lease;
use carrick_protocol::ids::{LeaderEpoch, Offset, TopicPartition};
use carrick_storage::log::{FlushHandle, Log, LogReader, Snapshot};
use parking_lot::Mutex;

pub use append::{Acks, Appended, Pending, Produced};
pub use cut::Cut;
pub use error::PartitionError;
pub use watch::{Watch, Watchers};

/// Who may write to a partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Mode {
    /// Clients produce to it.
    Writable,
    /// A link writes it, if it holds the lease of this epoch or a newer one.
    Mirror {
        /// The newest lease seen; `None` until a link has opened it.
        lease: Option<Lease>,
    },
    /// It was a mirror, its lease is fenced; not yet writable because the end of mirroring isn't
    /// persisted yet.
    Fenced,
    /// Its disk failed: reads go on, writes are refused until the broker is restarted.
    Faulted,
    /// The topic was deleted or the broker stops.
    Closed,
}

/// What the partition's lock guards.
pub(crate) struct Core {
    pub(crate) log: Option<Log>,
    pub(crate) mode: Mode,
}

/// One partition. Shared; all methods are synchronous and short.
pub struct Partition {
    tp: TopicPartition,
    core: Mutex<Core>,
    reader: LogReader,
    flush: FlushHandle,
    leader_epoch: AtomicI32,
    watchers: Watchers,
}

impl Partition {
    /// Topic and number.
    pub fn id(&self) -> &TopicPartition {
        &self.tp
    }

    /// The log as last published: reading it takes no lock.
    pub fn snapshot(&self) -> Arc<Snapshot> {
        self.reader.snapshot()
    }

    /// The leader epoch that clients are told, at least every epoch in the log.
    pub fn leader_epoch(&self) -> LeaderEpoch {
        LeaderEpoch(self.leader_epoch.load(Ordering::Acquire))
    }

    /// Who is told when the high watermark, the last stable offset or the log start moves.
    pub fn watchers(&self) -> &Watchers {
        &self.watchers
    }

    /// Who may write, right now. For descriptions: writers decide under the lock.
    pub fn mode(&self) -> Mode {
        self.core.lock().mode.clone()
    }

    /// Deletes records below `to` (`None`: up to the high watermark) and answers the new log start.
    ///
    /// # Errors
    /// `ReadOnlyMirror` on a mirror, `OutOfRange` past the high watermark.
    pub fn delete_records(&self, to: Option<Offset>) -> Result<Offset, PartitionError> {
        unimplemented!("{to:?}")
    }
}
