//! `CarrickLinkGroupData` *(own)*: what a link has synced of one group's offsets.

use serde::{Deserialize, Serialize};

use super::ResourceMetadata;

/// One group whose offsets a link syncs, or has synced.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LinkGroupData {
    /// `CarrickLinkGroupData`.
    pub kind: String,
    pub metadata: ResourceMetadata,
    pub link_name: String,
    /// Its id at the source.
    pub source_group_id: String,
    /// Its id here.
    pub group_id: String,
    /// `SYNCED`, `SKIPPED` (it is in use here, or has nothing to be synced), `FAILED` or `GONE` (from
    /// the source).
    pub sync_state: String,
    /// Since when.
    pub state_time_ms: i64,
    /// `NO_ERROR`, or why it was skipped or failed.
    pub error_code: String,
    /// The same in words.
    pub error_message: Option<String>,
    /// When its offsets here were last made the source's; `null` if never.
    pub last_sync_time_ms: Option<i64>,
    /// When the source last reported its offsets; `null` if it never did. What the group has read
    /// there since is unknown here.
    #[serde(default)]
    pub source_told_time_ms: Option<i64>,
    /// Offsets that it will read again here, all partitions together.
    pub will_read_again: i64,
    /// The same, however far it has read at the source since.
    pub reads_again_at_most: i64,
    /// How many partitions have a clamped offset.
    pub clamped_partitions: usize,
    /// Every partition, ascending.
    pub partitions: Vec<LinkGroupPartition>,
}

impl LinkGroupData {
    /// `kind` of one group.
    pub const KIND: &str = "CarrickLinkGroupData";
    /// `kind` of the list.
    pub const LIST_KIND: &str = "CarrickLinkGroupDataList";
}

/// One partition of a [`LinkGroupData`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LinkGroupPartition {
    /// The topic here.
    pub topic_name: String,
    pub partition: i32,
    /// What was committed at the source when it was last asked; −1 if it never answered.
    pub source_offset: i64,
    /// What was committed here for it; `null` if nothing was.
    pub synced_offset: Option<i64>,
    /// The end of the mirrored data: of now, or at the cut.
    pub mirror_end_offset: i64,
    /// `source_offset` − `synced_offset`: positive, clamped down to the mirror's end; negative, up
    /// to its log start. `null` if nothing was committed here.
    pub clamped_by: Option<i64>,
    /// Offsets that the group will read again here, by what the source said last.
    pub will_read_again: Option<i64>,
    /// The same, however far it has read at the source since.
    pub reads_again_at_most: Option<i64>,
    /// Why the last sync has left the partition out.
    pub skipped_reason: Option<String>,
}

/// How many groups of a link are in which state.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct GroupCountsData {
    /// `SYNCED`
    pub synced: usize,
    /// `SKIPPED`
    pub skipped: usize,
    /// `FAILED`
    pub failed: usize,
    /// `GONE`
    pub gone: usize,
}
