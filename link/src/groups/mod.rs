//! Groups whose offsets a link syncs: what it commits here, and what it stores and shows about
//! that.
//!
//! Invariant: the number of records that a group will read again is never understated. It is
//! counted from the source's last report. How far the group has read since is unknown here, and
//! [`PartitionSyncDescription::reads_again_at_most`] is the bound.

pub(crate) mod ledger;

use carrick_protocol::ids::{GroupId, LeaderEpoch, Offset, TopicPartition};
use serde::{Deserialize, Serialize};

use crate::state::TaskErrorCode;

/// What a link commits for one group here, all or nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupCommit {
    /// The group's id here.
    pub group: GroupId,
    /// Offsets of this cluster's mirror partitions, each once.
    pub offsets: Vec<GroupOffset>,
    /// Offsets of partitions that were cut since, each once.
    pub after_cut: Vec<AfterCut>,
}

/// An offset of a partition that belongs to the clients here: it is accepted only while the group
/// still has what a sync gave it last, so that no commit of the group's own is overwritten.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AfterCut {
    /// The offset to set; never beyond the cut.
    pub offset: GroupOffset,
    /// The offset that it must still have; `None` for none.
    pub instead_of: Option<Offset>,
}

/// An offset that a group should get.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupOffset {
    /// The partition here.
    pub partition: TopicPartition,
    /// Where the group continues reading.
    pub offset: Offset,
    /// The epoch of the last record read, `NONE` if unknown.
    pub leader_epoch: LeaderEpoch,
    /// The client's own text.
    pub metadata: String,
}

/// What became of a [`GroupCommit`] that was not refused.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct GroupCommitted {
    /// How many offsets were written; the others were there already.
    pub written: usize,
    /// Partitions that do not belong to a mirror, or that were cut and are the group's own by now:
    /// left alone.
    pub left_out: Vec<TopicPartition>,
}

/// How the sync of one group stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum GroupSyncState {
    /// Its offsets here were made the source's at the last sync.
    Synced,
    /// It has members here, so its offsets are its own; or it has none that could be synced. The
    /// detail says which.
    Skipped,
    /// The source didn't tell, or the offsets could not be written: the error says which.
    Failed,
    /// The source has no such group any more. Its offsets here stay.
    Gone,
}

/// What is kept of one group's sync.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GroupSync {
    /// Its id at the source.
    pub source_group: String,
    /// Its id here.
    pub group: String,
    /// How it stands.
    pub state: GroupSyncState,
    /// Why it was skipped or failed.
    pub error: TaskErrorCode,
    /// The same in words; empty without an error.
    pub error_detail: String,
    /// Since when it is in that state, milliseconds since the epoch.
    pub since_ms: i64,
    /// When its offsets here were last made the source's, milliseconds since the epoch.
    pub synced_ms: Option<i64>,
    /// When the source last reported its offsets, milliseconds since the epoch: what it has read
    /// there since is unknown here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub told_ms: Option<i64>,
    /// Every partition of a mirror that it has committed, ascending.
    pub partitions: Vec<PartitionSync>,
}

/// What is kept of one partition of a [`GroupSync`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartitionSync {
    /// The topic here.
    pub topic: String,
    pub partition: i32,
    /// What the group had committed at the source according to its last answer; −1 if the source
    /// never answered.
    pub source_offset: i64,
    /// What was committed here for it; `None` if nothing was.
    pub synced_offset: Option<i64>,
    /// Why the last sync has left the partition out, in words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub skipped: Option<String>,
}

/// The sync of one group, as it is shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupSyncDescription {
    pub sync: GroupSync,
    /// Its partitions, of topics that are or were mirrors of the link.
    pub partitions: Vec<PartitionSyncDescription>,
}

/// The sync of one partition, as it is shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartitionSyncDescription {
    pub sync: PartitionSync,
    /// The end of the mirrored data: of now, or at the cut of a mirror that was stopped.
    pub mirror_end: i64,
    /// By how much the offset was clamped: positive, down to the end of the mirror; negative, up to
    /// its log start (records that the source no longer has either). `None` if nothing was
    /// committed, or the last sync has left it out.
    pub clamped_by: Option<i64>,
    /// Offsets that the group has read at the source, by what it said last, and will read again
    /// here. `None` if nothing was committed, or the last sync has left it out.
    pub will_read_again: Option<i64>,
    /// The same, however far the group has read at the source since.
    pub reads_again_at_most: Option<i64>,
}

/// How many groups of a link are in which state.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct GroupCounts {
    /// [`GroupSyncState::Synced`]
    pub synced: usize,
    /// [`GroupSyncState::Skipped`]
    pub skipped: usize,
    /// [`GroupSyncState::Failed`]
    pub failed: usize,
    /// [`GroupSyncState::Gone`]
    pub gone: usize,
}

impl PartitionSync {
    /// For showing, with the mirror's end.
    pub(crate) fn describe(&self, mirror_end: i64) -> PartitionSyncDescription {
        let behind = |end: i64| self.synced_offset.map(|synced| (end - synced).max(0));
        // A partition that was left out is not clamped, and the group's offset at the source is unknown.
        let told = self.synced_offset.filter(|_| self.skipped.is_none());
        PartitionSyncDescription {
            sync: self.clone(),
            mirror_end,
            clamped_by: told.map(|synced| self.source_offset - synced),
            will_read_again: told.and_then(|_| behind(self.source_offset.min(mirror_end))),
            reads_again_at_most: behind(mirror_end),
        }
    }
}

/// The offset that a mirror partition has for a group: max(log start, min(end, the source's)).
pub(crate) fn clamped(source_offset: Offset, mirror_start: Offset, mirror_end: Offset) -> Offset {
    source_offset.min(mirror_end).max(mirror_start)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn sync(source_offset: i64, synced_offset: Option<i64>) -> PartitionSync {
        PartitionSync {
            topic: "orders".to_owned(),
            partition: 0,
            source_offset,
            synced_offset,
            skipped: None,
        }
    }

    #[test]
    fn what_the_mirror_did_not_hold_yet_is_read_again_once_it_does() {
        let sync = sync(100, Some(60));
        let then = sync.describe(60);
        assert_eq!((then.clamped_by, then.will_read_again), (Some(40), Some(0)));
        let later = sync.describe(90);
        assert_eq!(
            (later.will_read_again, later.reads_again_at_most),
            (Some(30), Some(30))
        );
        let caught_up = sync.describe(150);
        assert_eq!(caught_up.will_read_again, Some(40));
        assert_eq!(caught_up.reads_again_at_most, Some(90));
    }

    #[test]
    fn a_group_behind_the_log_start_reads_nothing_again() {
        let moved_up = sync(10, Some(50)).describe(80);
        assert_eq!(
            (moved_up.clamped_by, moved_up.will_read_again),
            (Some(-40), Some(0))
        );
    }

    #[test]
    fn of_what_was_never_committed_nothing_is_said() {
        let unknown = sync(10, None).describe(80);
        assert_eq!((unknown.clamped_by, unknown.will_read_again), (None, None));
    }

    proptest! {
        #[test]
        fn a_clamped_offset_lies_in_the_mirror_and_moves_no_further_than_it_must(
            source in 0i64..1_000, start in 0i64..500, length in 0i64..500,
        ) {
            let end = start + length;
            let offset = clamped(Offset(source), Offset(start), Offset(end)).0;
            prop_assert!((start..=end).contains(&offset));
            prop_assert!(offset == source || offset == start || offset == end);
            prop_assert!(!(start..=end).contains(&source) || offset == source);
            let shown = sync(source, Some(offset)).describe(end);
            prop_assert!(shown.will_read_again <= shown.reads_again_at_most);
        }
    }
}
