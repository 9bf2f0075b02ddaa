//! What a promotion or failover loses: the RPO report.
//!
//! Invariant: a loss that can't be known is never shown as none. What the source held at the last
//! sight is a lower bound, and `exact` is false, however recent that sight was: only what the
//! source reports about its ends after mirroring has stopped is exact.

use serde::{Deserialize, Serialize};

use crate::record::{LinkName, MirrorRecord};
use crate::verb::CutKind;

/// The report of one mirror topic, printed by promote and failover and kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RpoReport {
    /// The topic here.
    pub topic: String,
    pub link: LinkName,
    /// The topic at the source.
    pub source_topic: String,
    /// How the mirror ended, or would have ended.
    pub kind: CutKind,
    /// When the report was made, milliseconds since the epoch.
    pub made_at_ms: i64,
    /// Nothing was changed: it is what would have happened.
    pub dry_run: bool,
    /// Every partition, ascending.
    pub partitions: Vec<PartitionRpo>,
    /// Partitions that the source has and that have no mirror, ascending.
    #[serde(default)]
    pub unmirrored: Vec<UnmirroredPartition>,
    /// Why the source's answer, if it gave one, says nothing, or not everything, about what is
    /// missing.
    #[serde(default)]
    pub source_problem: Option<String>,
    /// Why it is not proven that the source's topic is still the one that was mirrored; `None` where
    /// topic ids prove it.
    #[serde(default)]
    pub identity_problem: Option<String>,
    /// Groups that had members at the source just before; `None` if it was not asked, as in a
    /// failover.
    #[serde(default)]
    pub readers: Option<SourceReaders>,
    /// What was written to the source's topic in the seconds before; `None` if it was not seen then.
    #[serde(default)]
    pub writes: Option<SourceWrites>,
    /// What the source holds beyond the cut, as seen after it; `None` before the first check.
    #[serde(default)]
    pub after_cut: Option<AfterCut>,
}

/// Recent writes to a source topic.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SourceWrites {
    /// Records (offsets), all mirrored partitions together.
    pub records: i64,
    /// Over how many milliseconds.
    pub over_ms: i64,
}

/// What the source holds beyond the cut of a mirror: it is no longer mirrored. The link checks this
/// as long as it exists.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AfterCut {
    /// When that was true, milliseconds since the epoch.
    pub seen_at_ms: i64,
    /// Partitions with records beyond the cut, ascending; of a failover those included that were
    /// missing then.
    pub partitions: Vec<BeyondCut>,
    /// Why nothing, or not all, could be seen since.
    pub problem: Option<String>,
}

/// One partition of [`AfterCut`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct BeyondCut {
    pub partition: i32,
    /// Records between the cut and the source's high watermark; of a partition without a mirror, all
    /// of them.
    pub records: i64,
}

impl AfterCut {
    /// All partitions together.
    pub fn records(&self) -> i64 {
        let partitions = self.partitions.iter().map(|it| it.records);
        partitions.fold(0, i64::saturating_add)
    }
}

/// Groups that have members at the source and have committed offsets of the topic there: they keep
/// reading, and they will read again here what they read after the last sync.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SourceReaders {
    pub count: usize,
    /// Their ids there, the first hundred of them.
    pub groups: Vec<String>,
    /// The ids, the first hundred of them, of groups that have members there and have committed
    /// nothing yet: they may read this topic, too.
    #[serde(default)]
    pub without_commits: Vec<String>,
    /// Why there may be others.
    pub problem: Option<String>,
}

impl RpoReport {
    /// Of a mirror without partitions, with nothing known of its source.
    pub fn new(record: &MirrorRecord, kind: CutKind, made_at_ms: i64) -> Self {
        Self {
            topic: record.topic.to_string(),
            link: record.link.clone(),
            source_topic: record.source_topic.to_string(),
            kind,
            made_at_ms,
            dry_run: false,
            partitions: Vec::new(),
            unmirrored: Vec::new(),
            source_problem: None,
            identity_problem: record.source_topic_id.is_zero().then(no_topic_ids),
            readers: None,
            writes: None,
            after_cut: None,
        }
    }
}

fn no_topic_ids() -> String {
    "the source has no topic ids (Kafka before 2.8): it can't be excluded that the topic was deleted \
     and created again there since it was mirrored"
        .to_owned()
}

/// A partition of the source's topic that has no mirror: all that it holds is missing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnmirroredPartition {
    pub partition: i32,
    /// Records between its log start and its high watermark; `None` if the source didn't tell.
    pub records: Option<i64>,
}

/// One partition of an [`RpoReport`].
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartitionRpo {
    pub partition: i32,
    /// The end of the mirrored data: the first offset that may hold something else.
    #[serde(default)]
    pub mirror_end: i64,
    /// The offset of the last mirrored record, `None` if none is stored.
    pub last_mirrored_offset: Option<i64>,
    /// The largest timestamp in the last mirrored batch, milliseconds since the epoch.
    pub last_mirrored_timestamp_ms: Option<i64>,
    /// The source's high watermark as last seen, `None` if never seen.
    pub source_high_watermark: Option<i64>,
    /// When that was, milliseconds since the epoch.
    pub source_seen_at_ms: Option<i64>,
    /// Records between the mirror's end and that high watermark: missing. `None` if it was never
    /// seen.
    pub missing_records: Option<i64>,
    /// Milliseconds for which the source's writes may be missing: since the mirror last held all of
    /// them. 0 only if `exact` and nothing is missing; `None` if it never did.
    pub missing_ms: Option<i64>,
    /// `missing_records` is exact, not a lower bound: the source reported its high watermark, at
    /// `source_seen_at_ms`, after mirroring had ended.
    pub exact: bool,
    /// Records that the source deleted before they could be mirrored.
    pub lost_to_retention: i64,
    /// Transactions open at the end, which the cut aborts.
    pub open_transactions: u32,
}
