//! How links write to the log: `Placement::Exact`. Each method checks the lease under the lock.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use carrick_link::ports::Lease;
use carrick_protocol::batch::CheckedBatches;
use carrick_protocol::ids::{LeaderEpoch, Offset};
use carrick_storage::log::{Log, LogError, Placement};

use super::flushing::MIRROR_FLUSH_MS;
use super::{Core, Mode, Partition, PartitionError, let_go};
use crate::clock;
use crate::parallel::unhurried;

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
        let mut core = self.core.lock();
        match &mut core.mode {
            Mode::Mirror { lease: Some(held) } if held.epoch > lease.epoch => {
                Err(PartitionError::LeaseFenced)
            }
            Mode::Mirror { lease: held } => {
                hand_over(held, lease);
                drop(core);
                Ok(self.mirror_position())
            }
            Mode::Fenced => Err(PartitionError::LeaseFenced),
            Mode::Writable => Err(PartitionError::NotAMirror),
            Mode::Faulted => Err(PartitionError::Faulted),
            Mode::Closed => Err(PartitionError::Closed),
        }
    }

    /// Where the log stands.
    pub fn mirror_position(&self) -> MirrorPosition {
        let snapshot = self.snapshot();
        MirrorPosition {
            next_offset: snapshot.end(),
            log_start: snapshot.log_start(),
            last_epoch: snapshot.last_epoch(),
        }
    }

    /// Appends batches as they are and moves the high watermark to
    /// min(end, `source_high_watermark`). Answers the next offset.
    ///
    /// # Errors
    /// `LeaseFenced`, `EpochWentBack` and `Log` with a non-monotonic offset write nothing.
    pub fn mirror_append(
        self: &Arc<Self>,
        lease: &Lease,
        batches: &CheckedBatches,
        source_high_watermark: Offset,
    ) -> Result<Offset, PartitionError> {
        let (end, deleted) = self.mirroring(lease, |log| {
            let last = self.check_epochs(batches)?;
            let appended = log.append(batches, Placement::Exact, clock::now_ms())?;
            log.set_high_watermark(source_high_watermark);
            self.raise_leader_epoch(last);
            Ok((appended.next_offset, log.take_deleted()))
        })?;
        let_go(deleted);
        self.appended();
        self.watchers.wake();
        self.flush_later(0, None, Some(MIRROR_FLUSH_MS));
        Ok(end)
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
        self.mirroring(lease, |log| {
            log.set_high_watermark(source_high_watermark);
            Ok(())
        })?;
        self.watchers.wake();
        Ok(())
    }

    /// Moves the end to `end` without bytes: the source has nothing in between. No effect if the
    /// end is already there.
    ///
    /// # Errors
    /// As `mirror_append`.
    pub fn mirror_skip_to(&self, lease: &Lease, end: Offset) -> Result<(), PartitionError> {
        self.mirroring(lease, |log| {
            if end > log.end() {
                log.advance_end(end)?;
            }
            Ok(())
        })
    }

    /// Moves the log start to the source's. No effect if it is already there. Does not wait for the
    /// disk: segments below it are deleted after the next flush. Until then, a crash of the machine
    /// may undo it; the source then reports it again.
    ///
    /// # Errors
    /// `Log` with `NonMonotonic` past the end; as `mirror_append` otherwise.
    pub fn mirror_trim_to(
        self: &Arc<Self>,
        lease: &Lease,
        log_start: Offset,
    ) -> Result<(), PartitionError> {
        let moved = self.mirroring(lease, |log| {
            if log_start > log.end() {
                let error = LogError::NonMonotonic {
                    found: log_start,
                    end: log.end(),
                };
                return Err(error.into());
            }
            let before = log.start();
            Ok(log.move_log_start(log_start)? > before)
        })?;
        if moved {
            self.watchers.wake();
            self.schedule.is_trimmed.store(true, Ordering::Release);
            self.flush_later(0, None, Some(MIRROR_FLUSH_MS));
        }
        Ok(())
    }

    /// Cuts the log's end back to `end`, which the source has proven diverged. At or below the log
    /// start, the log is emptied and starts there. Waits for the disk, away from the connections
    /// that this thread serves.
    ///
    /// # Errors
    /// As `mirror_append`.
    pub fn mirror_truncate_to(&self, lease: &Lease, end: Offset) -> Result<(), PartitionError> {
        unhurried(|| {
            self.mirroring(lease, |log| {
                if end <= log.start() && end < log.end() {
                    log.truncate_fully_and_start_at(end)?;
                } else if end < log.end() {
                    log.truncate_to(end)?;
                }
                Ok(())
            })
        })?;
        self.watchers.wake();
        Ok(())
    }

    /// The largest epoch in the log at or below `epoch`, and where it ends; `None` if all are above.
    ///
    /// Not what OffsetForLeaderEpoch answers: that has an answer for epochs older than all known,
    /// and none for newer ones. A fetcher that truncates wants the opposite.
    pub fn epoch_end(&self, epoch: LeaderEpoch) -> Option<(LeaderEpoch, Offset)> {
        let snapshot = self.snapshot();
        let entries = snapshot.epochs().entries();
        let at = entries
            .partition_point(|entry| entry.epoch <= epoch)
            .checked_sub(1)?;
        let end = entries
            .get(at + 1)
            .map_or(snapshot.end(), |next| next.start);
        Some((entries[at].epoch, end))
    }

    /// Epochs never go back in a source's log: if they do, it is another log than before.
    fn check_epochs(&self, batches: &CheckedBatches) -> Result<LeaderEpoch, PartitionError> {
        let mut last = self.snapshot().last_epoch().unwrap_or(LeaderEpoch::NONE);
        for header in batches.headers() {
            let epoch = header.leader_epoch;
            if epoch < last {
                return Err(PartitionError::EpochWentBack { epoch, last });
            }
            last = epoch;
        }
        Ok(last)
    }

    /// Runs a link's change of the log under the lock, if `lease` is still the newest.
    fn mirroring<T>(
        &self,
        lease: &Lease,
        change: impl FnOnce(&mut Log) -> Result<T, PartitionError>,
    ) -> Result<T, PartitionError> {
        let mut core = self.core.lock();
        let Core { log, mode } = &mut *core;
        match mode {
            Mode::Mirror { lease: Some(held) } if held == lease => {}
            Mode::Mirror { .. } | Mode::Fenced | Mode::Writable => {
                return Err(PartitionError::LeaseFenced);
            }
            Mode::Faulted => return Err(PartitionError::Faulted),
            Mode::Closed => return Err(PartitionError::Closed),
        }
        let log = log.as_mut().ok_or(PartitionError::Closed)?;
        change(log).inspect_err(|error| self.note_failure(mode, error))
    }
}

/// The lease's epoch never falls: a link that was fenced would write again.
fn hand_over(held: &mut Option<Lease>, to: &Lease) {
    if let Some(from) = held.replace(to.clone()) {
        assert!(from.epoch <= to.epoch, "lease {from:?} went back to {to:?}");
    }
}

#[cfg(test)]
mod tests {
    use carrick_link::record::LinkName;

    use super::*;

    fn lease(epoch: u64) -> Lease {
        let link = LinkName::new("west").unwrap();
        Lease { link, epoch }
    }

    #[test]
    #[should_panic(expected = "went back")]
    fn an_older_lease_is_never_handed_a_partition() {
        let mut held = None;
        hand_over(&mut held, &lease(7));
        hand_over(&mut held, &lease(7));
        hand_over(&mut held, &lease(6));
    }
}
