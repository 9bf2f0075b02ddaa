//! The cut: a mirrored partition becomes a local one.
//!
//! Order: fence the lease → leader epoch above every one seen → ABORT markers for open transactions
//! → flush. The partition stays closed to both sides (`Mode::Fenced`) until the catalog has stored
//! that the topic is no longer a mirror; then `open_for_writes`. Every step may be repeated after a
//! crash: the topic is still a mirror on disk, and a second cut finds no open transaction and
//! raises the epoch once more.

use carrick_link::cut::CutStep;
use carrick_protocol::batch::{ControlKind, build_marker};
use carrick_protocol::ids::{LeaderEpoch, Offset, ProducerId};
use carrick_storage::log::{Log, OpenTransaction, Placement};

use super::{Core, Mode, Partition, PartitionError};
use crate::breaks;

/// What a cut found and did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cut {
    /// The end of the mirrored data, before the markers.
    pub mirror_end: Offset,
    /// The log's end after the markers; the first local record gets it.
    pub end: Offset,
    /// The new leader epoch, to be persisted.
    pub leader_epoch: LeaderEpoch,
    /// The largest producer id ever seen in the log; `NONE` if there was none.
    pub max_producer_id: ProducerId,
    /// Transactions that were (dry run: would be) ended by a marker.
    pub aborted: Vec<OpenTransaction>,
}

impl Partition {
    /// Fences the mirror and makes its log ready for local writers. Blocks on disk.
    ///
    /// # Errors
    /// `NotAMirror` when it is writable already; `Log` leaves it fenced.
    pub fn cut(&self, now_ms: i64) -> Result<Cut, PartitionError> {
        let cut = {
            let mut core = self.core.lock();
            let Core { log, mode } = &mut *core;
            match mode {
                Mode::Mirror { .. } | Mode::Fenced => *mode = Mode::Fenced,
                Mode::Writable => return Err(PartitionError::NotAMirror),
                Mode::Faulted => return Err(PartitionError::Faulted),
                Mode::Closed => return Err(PartitionError::Closed),
            }
            let log = log.as_mut().ok_or(PartitionError::Closed)?;
            let mut cut = self.plan(log);
            breaks::here(CutStep::PartitionFenced)?;
            for open in &cut.aborted {
                abort(log, open, cut.leader_epoch, now_ms)?;
                breaks::here(CutStep::MarkerWritten)?;
            }
            self.raise_leader_epoch(cut.leader_epoch);
            cut.end = log.end();
            CutStep::EpochRaised.reached();
            cut
        };
        self.flush_mirrored()?;
        breaks::here(CutStep::PartitionFlushed)?;
        if let Some(log) = &mut self.core.lock().log {
            log.set_high_watermark(cut.end);
        }
        self.watchers.wake();
        Ok(cut)
    }

    /// A partition that can't be cut because its disk has failed is no mirror from here on, as far
    /// as that goes without a write to its log: it stays closed, and the next start ends what is
    /// open in it.
    pub(crate) fn let_go(&self) -> Cut {
        let mut core = self.core.lock();
        core.mode = Mode::Faulted;
        let mut cut = match &core.log {
            Some(log) => self.plan(log),
            None => Cut {
                mirror_end: self.snapshot().end(),
                end: self.snapshot().end(),
                leader_epoch: self.leader_epoch().next(),
                max_producer_id: ProducerId::NONE,
                aborted: Vec::new(),
            },
        };
        cut.aborted.clear();
        self.raise_leader_epoch(cut.leader_epoch);
        cut
    }

    /// What [`cut`](Self::cut) would find, without changing anything.
    ///
    /// # Errors
    /// `Closed`, `Faulted`.
    pub fn cut_dry_run(&self) -> Result<Cut, PartitionError> {
        self.with_log(|log| self.plan(log))
    }

    /// Whether a cut may begin. Flushes what is mirrored: what a report says about it must still
    /// hold after a crash. Changes nothing else. Blocks on disk.
    ///
    /// # Errors
    /// As [`cut`](Self::cut).
    pub fn check_cut(&self) -> Result<(), PartitionError> {
        match self.mode() {
            Mode::Mirror { .. } | Mode::Fenced => {}
            Mode::Writable => return Err(PartitionError::NotAMirror),
            Mode::Faulted => return Err(PartitionError::Faulted),
            Mode::Closed => return Err(PartitionError::Closed),
        }
        self.flush_mirrored()
    }

    fn flush_mirrored(&self) -> Result<(), PartitionError> {
        let flush = self.flush.as_ref().ok_or(PartitionError::Faulted)?;
        flush.flush()?;
        Ok(())
    }

    /// Opens a fenced partition to clients, once the cut is persisted.
    pub(crate) fn open_for_writes(&self) {
        let mut core = self.core.lock();
        if core.mode == Mode::Fenced {
            core.mode = Mode::Writable;
        }
    }

    fn plan(&self, log: &Log) -> Cut {
        let in_log = self.snapshot().last_epoch().unwrap_or(LeaderEpoch::NONE);
        Cut {
            mirror_end: log.end(),
            end: log.end(),
            leader_epoch: self.leader_epoch().max(in_log).next(),
            max_producer_id: log.producers().max_producer_id(),
            aborted: log.producers().open_transactions(),
        }
    }
}

/// Ends a transaction as a coordinator would that fences its producer (KIP-890: the marker carries
/// the next epoch, so that the producer's own late writes are refused).
fn abort(
    log: &mut Log,
    open: &OpenTransaction,
    leader_epoch: LeaderEpoch,
    now_ms: i64,
) -> Result<(), PartitionError> {
    let producer_epoch = open.producer_epoch.saturating_add(1);
    let coordinator_epoch = open.coordinator_epoch.max(0);
    let marker = build_marker(
        ControlKind::Abort,
        open.producer_id,
        producer_epoch,
        coordinator_epoch,
        now_ms,
    );
    log.append(
        &marker,
        Placement::Next {
            leader_epoch,
            log_append_time_ms: None,
        },
        now_ms,
    )?;
    Ok(())
}
