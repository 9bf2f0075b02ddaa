//! Proof of byte identity: fetch from the source again, and compare batch by batch.

use serde::{Deserialize, Serialize};

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct VerifyOptions {
    /// Compare this many spots per partition, spread evenly, instead of everything.
    pub sample: Option<u32>,
    pub partition: Option<i32>,
    /// From this offset on.
    pub from: Option<i64>,
    /// Up to before this offset.
    pub to: Option<i64>,
}

/// How far a verification is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VerifyProgress {
    pub partition: i32,
    /// The next offset to compare.
    pub offset: i64,
    /// Where that partition's comparison ends.
    pub end: i64,
    /// Bytes compared so far, all partitions.
    pub bytes: u64,
}

/// What a comparison has shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum VerifyOutcome {
    /// Something was compared, and all of it is the same on both sides.
    Identical,
    /// Something differs.
    Different,
    /// Nothing was compared: neither side holds anything in the requested range.
    NothingCompared,
}

impl VerifyOutcome {
    /// The result of the whole from its parts: one that differs decides, then one that was
    /// compared.
    pub fn of<'a>(partitions: impl IntoIterator<Item = &'a PartitionVerify>) -> Self {
        let outcomes = partitions.into_iter().map(PartitionVerify::outcome);
        outcomes.fold(Self::NothingCompared, |all, one| match (all, one) {
            (Self::Different, _) | (_, Self::Different) => Self::Different,
            (Self::Identical, _) | (_, Self::Identical) => Self::Identical,
            _ => Self::NothingCompared,
        })
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VerifyReport {
    /// The mirror topic.
    pub topic: String,
    /// The topic at the source.
    pub source_topic: String,
    /// What the comparison has shown.
    pub outcome: VerifyOutcome,
    /// Something was compared and no difference was found: the outcome is `IDENTICAL`.
    pub identical: bool,
    pub batches: u64,
    pub bytes: u64,
    /// Every partition, ascending.
    pub partitions: Vec<PartitionVerify>,
}

/// One partition of a [`VerifyReport`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartitionVerify {
    pub partition: i32,
    /// First offset of the compared range.
    pub from: i64,
    /// The offset after it.
    pub to: i64,
    pub batches: u64,
    pub bytes: u64,
    /// Batches of a compacted topic that one side has cleaned: it lacks them, or holds other bytes.
    /// Not a difference, as long as the records that both still hold are equal.
    pub compacted_batches: u64,
    /// Records compared in those batches, one by one.
    pub compacted_records: u64,
    /// The first difference, if there is one; the partition's comparison ends there.
    pub difference: Option<Difference>,
}

impl PartitionVerify {
    /// The result of its comparison.
    pub fn outcome(&self) -> VerifyOutcome {
        if self.difference.is_some() {
            VerifyOutcome::Different
        } else if self.batches > 0 || self.compacted_batches > 0 {
            VerifyOutcome::Identical
        } else {
            VerifyOutcome::NothingCompared
        }
    }
}

/// Where source and mirror differ.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Difference {
    /// Offset of the first batch that differs.
    pub offset: i64,
    /// What differs, in words: base offset, length, CRC, bytes.
    pub what: String,
    /// The batch at the source, `None` if it has none there.
    pub source: Option<BatchSummary>,
    /// The batch here, `None` if there is none.
    pub mirror: Option<BatchSummary>,
}

/// A batch in a [`Difference`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BatchSummary {
    pub base_offset: i64,
    pub last_offset: i64,
    /// Length, bytes, header included.
    pub length_bytes: u64,
    /// CRC-32C as stored.
    pub crc: u32,
    pub leader_epoch: i32,
}
