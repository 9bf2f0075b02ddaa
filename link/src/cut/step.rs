//! The named steps of a promotion and of a failover, in order.
//!
//! A crash test kills the process at each ([`CutStep::crash_here`]) and shows that the next start
//! reaches the same end. Between two of them nothing that survives the process changes. Unless a
//! test has named a step, passing one costs a load of an atomic.

use std::sync::atomic::{AtomicU8, Ordering};

use crate::verb::CutKind;

/// A point that a promotion or failover passes. The name says what has just been done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum CutStep {
    /// `PENDING_STOPPED` is stored, a promotion now waits for lag 0.
    PromotionStored = 1,
    /// The source's ends are reached.
    CaughtUp,
    /// Topic configs and group offsets are synced one last time.
    LastSynced,
    /// Nothing of the mirrors runs any more.
    PromotionHeld,
    /// The source has confirmed once more that nothing is missing.
    Confirmed,
    /// `PENDING_STOPPED` is stored, a failover has begun.
    FailoverStored,
    /// Nothing of the mirrors runs any more.
    FailoverHeld,
    /// The reports are made, in memory.
    ReportDrafted,
    /// What is mirrored is on the disk.
    MirrorFlushed,
    /// The reports are stored: there is no way back.
    ReportStored,
    /// A partition is closed to its link.
    PartitionFenced,
    /// The ABORT marker of a transaction is in the log, not flushed.
    MarkerWritten,
    /// A partition's markers are all in the log, its leader epoch is raised in memory.
    EpochRaised,
    /// A partition's markers are on the disk.
    PartitionFlushed,
    /// All partitions of all topics are cut.
    PartitionsCut,
    /// The allocator of producer ids stands above every mirrored id, durably.
    ProducerIdsLifted,
    /// The last write is put together.
    CutReady,
    /// The last write is durable: the topics are ordinary ones at the next start.
    CutStored,
    /// The partitions are open to clients.
    Opened,
    /// The mirrors show as `STOPPED`.
    CutShown,
    /// The report of a failover was made exact and kept.
    ReportExact,
}

/// The step at which the process ends; 0 for none.
static CRASH_AT: AtomicU8 = AtomicU8::new(0);

impl CutStep {
    pub const ALL: [CutStep; 21] = [
        Self::PromotionStored,
        Self::CaughtUp,
        Self::LastSynced,
        Self::PromotionHeld,
        Self::Confirmed,
        Self::FailoverStored,
        Self::FailoverHeld,
        Self::ReportDrafted,
        Self::MirrorFlushed,
        Self::ReportStored,
        Self::PartitionFenced,
        Self::MarkerWritten,
        Self::EpochRaised,
        Self::PartitionFlushed,
        Self::PartitionsCut,
        Self::ProducerIdsLifted,
        Self::CutReady,
        Self::CutStored,
        Self::Opened,
        Self::CutShown,
        Self::ReportExact,
    ];

    /// The step of that name, as `Debug` writes it.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|step| format!("{step:?}") == name)
    }

    /// Whether an operation of that kind passes through this step.
    pub fn is_of(self, kind: CutKind) -> bool {
        match self {
            Self::PromotionStored
            | Self::CaughtUp
            | Self::LastSynced
            | Self::PromotionHeld
            | Self::Confirmed => kind == CutKind::Promote,
            Self::FailoverStored | Self::FailoverHeld | Self::ReportExact => {
                kind == CutKind::Failover
            }
            _ => true,
        }
    }

    /// From now on the process ends without a goodbye when it passes here. For crash tests.
    pub fn crash_here(self) {
        CRASH_AT.store(self as u8, Ordering::Relaxed);
    }

    /// The operation passes here.
    pub fn reached(self) {
        if CRASH_AT.load(Ordering::Relaxed) == self as u8 {
            tracing::error!(step = ?self, "crashing here, as requested");
            std::process::abort();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_step_is_listed_once_in_order_and_found_by_its_name() {
        for (number, step) in (1..).zip(CutStep::ALL) {
            assert_eq!(step as u8, number);
            assert_eq!(CutStep::named(&format!("{step:?}")), Some(step));
            assert!(step.is_of(CutKind::Promote) || step.is_of(CutKind::Failover));
        }
        assert_eq!(CutStep::named("Nowhere"), None);
    }
}
