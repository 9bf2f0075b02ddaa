//! The clients' door into the log: `Placement::Next`.

use bytes::Bytes;
use carrick_protocol::ids::Offset;
use tokio::sync::oneshot;

use super::{Partition, PartitionError};

/// What a producer waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Acks {
    /// No answer at all.
    None,
    /// Appended.
    Leader,
    /// Appended and as durable as the flush policy promises.
    All,
}

/// Where a produced batch went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Appended {
    /// Offset of its first record; of a duplicate, the offset it got the first time.
    pub base_offset: Offset,
    /// The time the broker stamped, or -1 with `CreateTime`.
    pub log_append_time_ms: i64,
    /// The partition's log start.
    pub log_start: Offset,
}

/// An append whose flush is still to be waited for.
pub struct Pending {
    /// Where the batch went.
    pub appended: Appended,
    pub(crate) durable: oneshot::Receiver<Result<(), PartitionError>>,
}

/// The outcome of the ordered part of a produce.
pub enum Produced {
    /// Nothing more to wait for.
    Done(Appended),
    /// Durable only after [`Pending::durable`].
    Flushing(Pending),
}

impl Pending {
    /// Waits until the batch is on disk.
    ///
    /// # Errors
    /// The flush failed: whether the batch survives a crash is not known.
    pub async fn durable(self) -> Result<Appended, PartitionError> {
        match self.durable.await {
            Ok(Ok(())) => Ok(self.appended),
            Ok(Err(error)) => Err(error),
            Err(_) => Err(PartitionError::Closed),
        }
    }
}

impl Partition {
    /// Appends one produced batch: checks it, assigns its offsets, and submits the flush.
    ///
    /// # Errors
    /// Nothing was written, unless the error is `Log`.
    pub fn append_produced(&self, batch: &Bytes, acks: Acks) -> Result<Produced, PartitionError> {
        unimplemented!("{batch:?} {acks:?}")
    }
}
