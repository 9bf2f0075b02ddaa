//! How the coordinator appends to the log: the marker that ends a transaction.

use std::sync::Arc;

use carrick_protocol::batch::{ControlKind, NO_TIMESTAMP, build_marker};
use carrick_protocol::ids::ProducerId;
use carrick_storage::log::Placement;
use tokio::sync::oneshot;

use super::{Appended, Partition, PartitionError, Pending};

/// A marker to be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Marker {
    /// Whose transaction.
    pub producer_id: ProducerId,
    /// The epoch that the partition knows the producer by from now on.
    pub producer_epoch: i16,
    /// `Commit` or `Abort`.
    pub kind: ControlKind,
    /// Epoch of the coordinator.
    pub coordinator_epoch: i32,
    /// The epoch is above the transaction's (KIP-890 part 2).
    pub raised: bool,
}

impl Partition {
    /// Ends a producer's transaction here, if it has one, and fences its older epochs. Complete
    /// once [`Pending::durable`] says so, whatever the topic's flush policy is: the record that the
    /// transaction has ended is stored next. The same marker may be written again.
    ///
    /// # Errors
    /// `Sequence` when a newer epoch is known, `ReadOnlyMirror`, `Faulted`, `Closed`, `Log`.
    pub fn append_marker(
        self: &Arc<Self>,
        marker: &Marker,
        now_ms: i64,
    ) -> Result<Pending, PartitionError> {
        let batch = build_marker(
            marker.kind,
            marker.producer_id,
            marker.producer_epoch,
            marker.coordinator_epoch,
            now_ms,
        );
        let flush = self.config().flush;
        let (appended, is_seen) = self.writing(|log| {
            log.producers().check_marker(
                marker.producer_id,
                marker.producer_epoch,
                marker.coordinator_epoch,
                marker.raised,
            )?;
            let placement = Placement::Next {
                leader_epoch: self.leader_epoch(),
                log_append_time_ms: None,
            };
            let done = log.append(&batch, placement, now_ms)?;
            let appended = Appended {
                base_offset: done.first_offset,
                log_append_time_ms: NO_TIMESTAMP,
                log_start: log.start(),
            };
            Ok((appended, self.show_at_once(log, flush)))
        })?;
        self.appended();
        if is_seen {
            self.watchers.wake();
        }
        let (told, durable) = oneshot::channel();
        self.flush_now(Some(told));
        Ok(Pending { appended, durable })
    }
}
