//! [`MirrorTarget`] and [`MirrorPartition`] on partitions.
//!
//! Whether a lease is still valid is decided by the partition, under the lock under which it
//! writes.

use std::sync::Arc;

use carrick_link::ports::{Lease, MirrorPartition, MirrorTarget, Obstacle, TargetError};
use carrick_protocol::batch::CheckedBatches;
use carrick_protocol::ids::{LeaderEpoch, Offset, TopicName, TopicPartition};
use carrick_storage::log::LogError;

use crate::metadata::Metadata;
use crate::partition::{Hosted, Partition, PartitionError, Problem};
use crate::records::mirror::MirrorKeyspace;

/// Hands out this broker's mirror partitions.
pub struct Target {
    hosted: Arc<Hosted>,
    metadata: Metadata,
}

impl Target {
    /// On these partitions, whose mirror records are in `metadata`.
    pub fn new(hosted: Arc<Hosted>, metadata: Metadata) -> Self {
        Target { hosted, metadata }
    }
}

impl MirrorTarget for Target {
    fn obstacles(&self, topic: &TopicName) -> Vec<(i32, Obstacle)> {
        let partitions = self.hosted.all_named(topic);
        let obstacles = partitions.iter().filter_map(|partition| {
            let mut problems = partition.problems().into_iter();
            let problem = problems.find(Problem::is_obstacle)?;
            let obstacle = Obstacle {
                detail: problem.detail,
                since_ms: problem.since_ms,
                is_lasting: problem.is_lasting,
            };
            Some((partition.id().partition, obstacle))
        });
        obstacles.collect()
    }

    fn open(
        &self,
        partition: &TopicPartition,
        lease: &Lease,
    ) -> Result<Box<dyn MirrorPartition>, TargetError> {
        let found = self
            .hosted
            .named(&partition.topic, partition.partition)
            .ok_or(TargetError::NoSuchPartition)?;
        let record = self.metadata.get::<MirrorKeyspace>(&partition.topic);
        let record = record.map_err(|error| TargetError::Storage(error.to_string()))?;
        let record = record.ok_or(TargetError::NotAMirror)?;
        if record.link != lease.link {
            return Err(TargetError::WrongLink(record.link));
        }
        found.mirror_open(lease).map_err(refused)?;
        Ok(Box::new(Door {
            partition: found,
            lease: lease.clone(),
        }))
    }
}

/// One partition, held under a lease.
struct Door {
    partition: Arc<Partition>,
    lease: Lease,
}

impl MirrorPartition for Door {
    fn next_offset(&self) -> Offset {
        self.partition.mirror_position().next_offset
    }

    fn log_start(&self) -> Offset {
        self.partition.mirror_position().log_start
    }

    fn last_epoch(&self) -> Option<LeaderEpoch> {
        self.partition.mirror_position().last_epoch
    }

    fn epoch_end(&self, epoch: LeaderEpoch) -> Option<(LeaderEpoch, Offset)> {
        self.partition.epoch_end(epoch)
    }

    fn append(
        &mut self,
        batches: CheckedBatches,
        source_high_watermark: Offset,
    ) -> Result<Offset, TargetError> {
        let appended = self
            .partition
            .mirror_append(&self.lease, &batches, source_high_watermark);
        appended.map_err(fenced_or)
    }

    fn observe_source(&mut self, high_watermark: Offset) -> Result<(), TargetError> {
        self.partition
            .mirror_observe(&self.lease, high_watermark)
            .map_err(fenced_or)
    }

    fn skip_to(&mut self, end: Offset) -> Result<(), TargetError> {
        self.partition
            .mirror_skip_to(&self.lease, end)
            .map_err(fenced_or)
    }

    fn trim_to(&mut self, log_start: Offset) -> Result<(), TargetError> {
        self.partition
            .mirror_trim_to(&self.lease, log_start)
            .map_err(fenced_or)
    }

    fn truncate_to(&mut self, end: Offset) -> Result<(), TargetError> {
        self.partition
            .mirror_truncate_to(&self.lease, end)
            .map_err(fenced_or)
    }
}

/// A refusal for a link that once had the right to write: for it, a topic that is no longer a
/// mirror is the same fact as a newer lease.
fn fenced_or(error: PartitionError) -> TargetError {
    match refused(error) {
        TargetError::NotAMirror => TargetError::Fenced,
        other => other,
    }
}

/// A partition's refusal in the link's words.
pub(super) fn refused(error: PartitionError) -> TargetError {
    match error {
        PartitionError::LeaseFenced => TargetError::Fenced,
        PartitionError::NotAMirror => TargetError::NotAMirror,
        PartitionError::Closed => TargetError::NoSuchPartition,
        PartitionError::EpochWentBack { epoch, last } => {
            TargetError::NonMonotonicEpoch { epoch, last }
        }
        PartitionError::Log(error) => of_log(error),
        other => TargetError::Storage(other.to_string()),
    }
}

/// A log's refusal in the link's words.
pub(super) fn of_log(error: LogError) -> TargetError {
    match error {
        LogError::NonMonotonic { found, end } => TargetError::NonMonotonic {
            offset: found,
            bound: end,
        },
        other => TargetError::Storage(other.to_string()),
    }
}
