//! The cut: a mirrored partition becomes a local one.
//!
//! Order: fence the lease → ABORT markers for transactions still open → leader epoch above every
//! one seen → flush. The partition stays closed to both sides (`Mode::Fenced`) until the catalog
//! has persisted that the topic is no mirror any more; then [`Partition::open_for_writes`].
//! Every step may be done again after a crash: the topic is still a mirror on disk, a second cut
//! finds no open transaction and raises the epoch once more.

use carrick_protocol::ids::{LeaderEpoch, Offset, ProducerId};

use super::{Partition, PartitionError};

/// What a cut found and did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cut {
    /// The end of the mirrored data, before the markers.
    pub mirror_end: Offset,
    /// The log's end after the markers; the first local record gets it.
    pub end: Offset,
    /// The newest timestamp in the log, if there is one.
    pub last_timestamp_ms: Option<i64>,
    /// The new leader epoch, to be persisted.
    pub leader_epoch: LeaderEpoch,
    /// The largest producer id ever seen in the log.
    pub max_producer_id: ProducerId,
    /// Transactions that were ended by a marker: producer id and first offset.
    pub aborted: Vec<(ProducerId, Offset)>,
}

impl Partition {
    /// Fences the mirror and makes its log ready for local writers.
    ///
    /// # Errors
    /// `NotAMirror` when it is writable already; `Log` leaves it fenced.
    pub fn cut(&self, now_ms: i64) -> Result<Cut, PartitionError> {
        unimplemented!("{now_ms}")
    }

    /// What [`cut`](Self::cut) would find, without changing anything.
    pub fn cut_dry_run(&self) -> Cut {
        unimplemented!()
    }

    /// Opens a fenced partition to clients, once the cut is persisted.
    pub(crate) fn open_for_writes(&self) {
        unimplemented!()
    }
}
