//! The cut: the step by which mirrors become ordinary topics, at the end of a promotion or
//! failover. This module is what the link and its host tell each other about it; the link's part is
//! in [`crate::manager`], the host's behind [`crate::ports::TopicCatalog::cut_mirrors`].

mod step;

use carrick_protocol::ids::{LeaderEpoch, Offset, TopicPartition};

pub use step::CutStep;

use crate::record::MirrorRecord;
use crate::report::RpoReport;
use crate::verb::CutKind;

/// One mirror to be cut.
#[derive(Debug, Clone)]
pub struct CutOrder {
    /// The record in the form in which it is stored: status `STOPPED`.
    pub record: MirrorRecord,
    /// The report to store with it.
    pub report: RpoReport,
    /// Whether it is promoted or failed over.
    pub kind: CutKind,
    /// Cut the topic even if a partition's disk has failed: such a partition is cut as it is.
    pub is_forced: bool,
}

/// What the cut did to one partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartitionCut {
    pub partition: TopicPartition,
    /// The end of the mirrored data: the first offset that may hold a local marker or record.
    pub mirror_end: Offset,
    /// Transactions that were still open and got an ABORT marker.
    pub aborted_transactions: u32,
    /// The leader epoch from here on, above every mirrored one.
    pub leader_epoch: LeaderEpoch,
}
