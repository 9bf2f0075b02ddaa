//! How far the histories of mirror and source agree: the follower's algorithm (KIP-101, KIP-279,
//! KIP-595).

use carrick_protocol::ids::{LeaderEpoch, Offset};

use crate::ports::MirrorPartition;

/// Where to cut, given that the source's largest epoch at or below our last one is `epoch` and ends
/// at `end` there.
///
/// One step: after the truncation the source is asked again, until it agrees.
pub(crate) fn cut_at(local: &dyn MirrorPartition, epoch: LeaderEpoch, end: Offset) -> Offset {
    local
        .epoch_end(epoch)
        .map_or(end, |(_, local_end)| local_end.min(end))
        .min(local.next_offset())
}
