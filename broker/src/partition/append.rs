//! How clients append to the log: `Placement::Next`.

use std::sync::Arc;

use bytes::Bytes;
use carrick_protocol::batch::{Batch, NO_TIMESTAMP};
use carrick_protocol::ids::Offset;
use carrick_storage::log::{FlushHandle, Log, LogError, Placement, Sequence};
use tokio::sync::oneshot;

use super::checked::Checked;
use super::{Partition, PartitionError};
use crate::topic::TopicConfig;
use crate::topic::config::FlushPolicy;

/// Where a produced batch went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Appended {
    /// Offset of its first record; of a duplicate, the offset it got the first time.
    pub base_offset: Offset,
    /// The time the broker stamped, or -1 with `CreateTime`. Of a duplicate, its timestamp.
    pub log_append_time_ms: i64,
    /// The partition's log start.
    pub log_start: Offset,
}

/// An append whose flush was requested. Readers see the batch once the flush has ended.
#[derive(Debug)]
pub struct Pending {
    /// Where the batch went.
    pub appended: Appended,
    pub(super) durable: oneshot::Receiver<Result<(), LogError>>,
}

/// The outcome of the ordered part of a produce.
#[derive(Debug)]
pub enum Produced {
    /// Nothing more to wait for.
    Done(Appended),
    /// On disk, and there for readers, only after [`Pending::durable`].
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
            Ok(Err(error)) => Err(error.into()),
            Err(_) => Err(PartitionError::Closed),
        }
    }
}

/// What a producer may write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Admission {
    /// Whatever is in no transaction.
    Plain,
    /// Also what is in a transaction: the coordinator knows that the partition is in it, and keeps
    /// the transaction from ending until the append is done.
    InTransaction {
        /// A producer that the log doesn't know must begin with sequence 0 (KIP-890 part 2).
        from_zero: bool,
    },
}

/// A produced batch that was checked outside of all locks.
pub struct Prepared {
    checked: Result<Checked, PartitionError>,
    config: Arc<TopicConfig>,
    is_transactional: bool,
    now_ms: i64,
}

/// What the append under the lock did.
struct Placed {
    appended: Appended,
    end: Offset,
    is_new: bool,
    /// Whether readers may see it before it is on the disk.
    is_seen: bool,
    /// Whether it begins a new segment.
    has_rolled: bool,
}

impl Partition {
    /// Checks a produced batch and converts it to the form in which it is stored: the slow part of
    /// an append, which needs no lock.
    pub fn prepare(&self, batch: &Bytes, now_ms: i64) -> Prepared {
        let config = self.config();
        let parsed = Batch::parse(batch);
        let is_transactional = match &parsed {
            Ok(parsed) => parsed.header.is_transactional(),
            Err(_) => false,
        };
        Prepared {
            checked: Checked::new(batch, parsed, &config, now_ms),
            config,
            is_transactional,
            now_ms,
        }
    }

    /// Appends a prepared batch: assigns its offsets, and submits the flush.
    ///
    /// # Errors
    /// Nothing was written, unless the error is `Log`.
    pub fn append_prepared(
        self: &Arc<Self>,
        prepared: Prepared,
        admission: Admission,
    ) -> Result<Produced, PartitionError> {
        let Prepared {
            checked,
            config,
            is_transactional,
            now_ms,
        } = prepared;
        let allowed = match is_transactional && admission == Admission::Plain {
            true => Err(PartitionError::Transactional),
            false => checked,
        };
        let checked = allowed.map_err(|error| self.read_only_error().unwrap_or(error))?;
        let begins_at_zero =
            is_transactional && admission == Admission::InTransaction { from_zero: true };
        let stamp = config.log_append_time.then_some(now_ms);
        let placed = self.writing(|log| {
            if begins_at_zero {
                log.producers().check_begin(checked.header())?;
            }
            let mut placed = self.place(log, &checked, stamp, now_ms)?;
            placed.is_seen = self.show_at_once(log, config.flush);
            Ok(placed)
        })?;
        if placed.is_new {
            self.appended();
        }
        match config.flush {
            FlushPolicy::BeforeAck => Ok(self.flush_produced(&placed)),
            FlushPolicy::Background { messages, ms } => {
                if placed.is_new && placed.is_seen {
                    self.watchers.wake();
                }
                match placed.is_new {
                    // A full segment is flushed immediately, as in Kafka: its file is then closed,
                    // and no crash costs more than one segment.
                    true if placed.is_seen && !placed.has_rolled => {
                        self.flush_later(checked.records(), messages, ms);
                    }
                    true => self.flush_now(None),
                    false => {}
                }
                Ok(Produced::Done(placed.appended))
            }
        }
    }

    fn place(
        &self,
        log: &mut Log,
        checked: &Checked,
        stamp: Option<i64>,
        now_ms: i64,
    ) -> Result<Placed, PartitionError> {
        let log_append_time_ms = stamp.unwrap_or(NO_TIMESTAMP);
        let sequence = log.producers().check(checked.header())?;
        if let Sequence::Duplicate {
            first_offset,
            last_offset,
            timestamp_ms,
        } = sequence
        {
            let appended = Appended {
                base_offset: first_offset,
                log_append_time_ms: timestamp_ms,
                log_start: log.start(),
            };
            return Ok(Placed {
                appended,
                end: last_offset.next(),
                is_new: false,
                is_seen: false,
                has_rolled: false,
            });
        }
        let leader_epoch = self.leader_epoch();
        assert!(
            log.epochs().latest() <= Some(leader_epoch),
            "clients see an epoch at least as large as every epoch in the log"
        );
        let placement = Placement::Next {
            leader_epoch,
            log_append_time_ms: stamp,
        };
        let done = log.append(&checked.batch, placement, now_ms)?;
        let appended = Appended {
            base_offset: done.first_offset,
            log_append_time_ms,
            log_start: log.start(),
        };
        Ok(Placed {
            appended,
            end: done.next_offset,
            is_new: true,
            is_seen: false,
            has_rolled: done.has_rolled,
        })
    }

    /// Submits the flush that an append needs.
    fn flush_produced(self: &Arc<Self>, placed: &Placed) -> Produced {
        let appended = placed.appended;
        let durable_end = self.flush.as_ref().map(FlushHandle::durable_end);
        if !placed.is_new && durable_end >= Some(placed.end) {
            return Produced::Done(appended);
        }
        let (sender, durable) = oneshot::channel();
        self.flush_now(Some(sender));
        Produced::Flushing(Pending { appended, durable })
    }
}
