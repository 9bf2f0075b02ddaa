//! The link's doors into the log: `Placement::Exact`. Each checks the lease under the lock.

use bytes::Bytes;
use carrick_link::ports::Lease;
use carrick_protocol::ids::{LeaderEpoch, Offset};

use super::{Partition, PartitionError};

/// Where a mirrored partition stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MirrorPosition {
    /// The next offset to fetch.
    pub next_offset: Offset,
    /// The local log start.
    pub log_start: Offset,
    /// The leader epoch of the last batch.
    pub last_epoch: Option<LeaderEpoch>,
}

impl Partition {
    /// Takes the partition for `lease`. An older lease is fenced by it.
    ///
    /// # Errors
    /// `NotAMirror`; `LeaseFenced` when a newer lease has been seen.
    pub fn mirror_open(&self, lease: &Lease) -> Result<MirrorPosition, PartitionError> {
        unimplemented!("{lease:?}")
    }

    /// Where the log stands.
    pub fn mirror_position(&self) -> MirrorPosition {
        unimplemented!()
    }

    /// Appends whole batches as they are and moves the high watermark to
    /// min(end, `source_high_watermark`). Answers the next offset.
    ///
    /// # Errors
    /// `LeaseFenced` and `NotAMirror` write nothing; `Log` with a non-monotonic offset neither.
    pub fn mirror_append(
        &self,
        lease: &Lease,
        batches: &Bytes,
        source_high_watermark: Offset,
    ) -> Result<Offset, PartitionError> {
        unimplemented!("{lease:?} {batches:?} {source_high_watermark:?}")
    }

    /// Moves the high watermark to min(end, `source_high_watermark`).
    ///
    /// # Errors
    /// As `mirror_append`.
    pub fn mirror_observe(
        &self,
        lease: &Lease,
        source_high_watermark: Offset,
    ) -> Result<(), PartitionError> {
        unimplemented!("{lease:?} {source_high_watermark:?}")
    }

    /// Moves the end to `end` without bytes: the source has nothing in between.
    ///
    /// # Errors
    /// As `mirror_append`.
    pub fn mirror_skip_to(&self, lease: &Lease, end: Offset) -> Result<(), PartitionError> {
        unimplemented!("{lease:?} {end:?}")
    }

    /// Moves the log start to the source's. Past the end, the log is emptied and starts there.
    ///
    /// # Errors
    /// As `mirror_append`.
    pub fn mirror_trim_to(&self, lease: &Lease, log_start: Offset) -> Result<(), PartitionError> {
        unimplemented!("{lease:?} {log_start:?}")
    }

    /// Cuts the log's end back to `offset`, which the source has proven diverged.
    ///
    /// # Errors
    /// As `mirror_append`.
    pub fn mirror_truncate_to(&self, lease: &Lease, offset: Offset) -> Result<(), PartitionError> {
        unimplemented!("{lease:?} {offset:?}")
    }

    /// The end of the largest epoch ≤ `epoch` in the log.
    pub fn epoch_end(&self, epoch: LeaderEpoch) -> Option<(LeaderEpoch, Offset)> {
        self.snapshot().epoch_end(epoch)
    }
}
