//! Reading what a Fetch wants, from the logs' snapshots.

use std::sync::Arc;

use bytes::Bytes;
use carrick_protocol::batch::Batches;
use carrick_protocol::error_code::ErrorCode;
use carrick_protocol::ids::{LeaderEpoch, NodeId, Offset, TopicId};
use carrick_storage::log::Snapshot;
use kafka_protocol::messages::ProducerId;
use kafka_protocol::messages::fetch_response::{
    AbortedTransaction, EpochEndOffset, LeaderIdAndEpoch, PartitionData,
};

use crate::access::{Operation, ResourceKind};
use crate::api::Context;
use crate::api::door::{Cluster, DoorError, TopicRef};
use crate::api::error::{door_code, log_code, partition_code};
use crate::api::metadata::leader_id;
use crate::cluster::Leader;
use crate::fetch_session::{Answers, Wanted};
use crate::partition::Partition;

/// Limits and isolation of one Fetch.
#[derive(Debug, Clone, Copy)]
pub(super) struct Reading {
    /// Topics are named by id.
    pub(super) by_id: bool,
    /// For a client that says it is a replica.
    pub(super) as_replica: bool,
    /// Up to the last stable offset only.
    pub(super) committed_only: bool,
    /// Bytes of the whole answer; the first batch is given whole even if it is larger.
    pub(super) max_bytes: usize,
    /// This broker, for clients that take a hint who leads (KIP-951).
    pub(super) leader: Option<NodeId>,
    /// What is worth answering before the wait has ended.
    pub(super) min_bytes: usize,
}

/// One pass over all partitions.
pub(super) struct Pass {
    /// The answers, in the order asked for.
    pub(super) answers: Answers,
    /// The partitions that exist, to wait for, with what bounded the reading of each.
    pub(super) partitions: Vec<(Arc<Partition>, Bounds)>,
    /// Whether there is a reason to answer immediately.
    pub(super) is_enough: bool,
}

/// What bounds a reader. While it is the same, reading again finds the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Bounds {
    log_start: Offset,
    readable: Offset,
}

impl Bounds {
    pub(super) fn of(log: &Snapshot, committed_only: bool) -> Self {
        let readable = if committed_only {
            log.last_stable()
        } else {
            log.high_watermark()
        };
        Self {
            log_start: log.log_start(),
            readable,
        }
    }
}

impl Reading {
    /// Reads every partition once.
    pub(super) fn pass(&self, ctx: &Context, wanted: &[Wanted]) -> Pass {
        let mut pass = Pass {
            answers: Vec::with_capacity(wanted.len()),
            partitions: Vec::with_capacity(wanted.len()),
            is_enough: wanted.is_empty(),
        };
        let mut total_bytes = 0;
        // Replicas act for the cluster and need no right on topics.
        let cluster = self.as_replica.then(|| {
            let cluster = ctx.cluster(Operation::ClusterAction);
            cluster.map_err(|_| DoorError::NotAllowed(ResourceKind::Topic))
        });
        for wanted in wanted {
            let data = match self.partition(ctx, cluster, wanted) {
                Ok(partition) => self.read(&mut pass, partition, wanted, &mut total_bytes),
                Err(error) => self.with_hint(failed(door_code(error)), error.leader()),
            };
            pass.is_enough |= data.error_code != 0 || data.diverging_epoch.epoch != -1;
            pass.answers
                .push((wanted.clone(), data.with_partition_index(wanted.key.2)));
        }
        pass.is_enough |= total_bytes >= self.min_bytes;
        pass
    }

    fn partition(
        &self,
        ctx: &Context,
        cluster: Option<Result<Cluster<'_>, DoorError>>,
        wanted: &Wanted,
    ) -> Result<Arc<Partition>, DoorError> {
        let (id, name, number) = &wanted.key;
        let asked = match self.by_id {
            true => TopicRef::Id(TopicId(*id)),
            false => TopicRef::from(name),
        };
        let topic = match cluster {
            Some(cluster) => cluster?.topic(asked)?,
            None => ctx.topic(asked, Operation::Read)?,
        };
        ctx.partition(&topic, *number)
    }

    fn read(
        &self,
        pass: &mut Pass,
        partition: Arc<Partition>,
        wanted: &Wanted,
        total_bytes: &mut usize,
    ) -> PartitionData {
        let log = partition.snapshot();
        let bounds = Bounds::of(&log, self.committed_only);
        let room = self.max_bytes.saturating_sub(*total_bytes);
        let read = self.try_read(&partition, &log, bounds, wanted, room, *total_bytes == 0);
        let leader_epoch = partition.leader_epoch();
        pass.partitions.push((partition, bounds));
        match read {
            Ok((data, more)) => {
                *total_bytes += data.records.as_ref().map_or(0, Bytes::len);
                // A limit was met: waiting would not fill the answer any further.
                pass.is_enough |= more;
                data
            }
            Err(code) => {
                let leader = self.leader.map(|here| Leader {
                    broker: Some(here),
                    epoch: leader_epoch,
                });
                self.with_hint(failed(code), leader)
            }
        }
    }

    /// Tells a client with an outdated view which broker leads, in which epoch.
    fn with_hint(&self, data: PartitionData, leader: Option<Leader>) -> PartitionData {
        let is_old = [
            ErrorCode::FENCED_LEADER_EPOCH.0,
            ErrorCode::NOT_LEADER_OR_FOLLOWER.0,
        ]
        .contains(&data.error_code);
        match leader.filter(|_| is_old && self.leader.is_some()) {
            Some(leader) => data.with_current_leader(
                LeaderIdAndEpoch::default()
                    .with_leader_id(leader_id(leader))
                    .with_leader_epoch(leader.epoch.0),
            ),
            None => data,
        }
    }

    /// The partition's data, and whether there is more than fits.
    fn try_read(
        &self,
        partition: &Partition,
        log: &Snapshot,
        bounds: Bounds,
        wanted: &Wanted,
        room: usize,
        at_least_one: bool,
    ) -> Result<(PartitionData, bool), ErrorCode> {
        partition
            .check_reader(LeaderEpoch(wanted.current_leader_epoch))
            .map_err(|error| partition_code(&error))?;
        let from = Offset(wanted.offset);
        let data = PartitionData::default()
            .with_high_watermark(log.high_watermark().0)
            .with_last_stable_offset(log.last_stable().0)
            .with_log_start_offset(log.log_start().0)
            .with_preferred_read_replica((-1).into())
            .with_aborted_transactions(self.committed_only.then(Vec::new));
        if let Some(diverging) = diverging(partition, log, wanted)? {
            return Ok((
                data.with_diverging_epoch(diverging).with_records(empty()),
                false,
            ));
        }
        if from < log.log_start() || from > log.end() {
            return Err(ErrorCode::OFFSET_OUT_OF_RANGE);
        }
        if from >= bounds.readable {
            return Ok((data.with_records(empty()), false));
        }
        let limit = usize::try_from(wanted.max_bytes).unwrap_or(0).min(room);
        let records = log
            .read(from, bounds.readable, limit, at_least_one)
            .map_err(|error| log_code(&error))?;
        let next = end_of(&records).unwrap_or(from);
        let data = match self.committed_only {
            true => data.with_aborted_transactions(Some(aborted(log, from, next)?)),
            false => data,
        };
        let more = next < bounds.readable;
        Ok((data.with_records(Some(records)), more))
    }
}

fn empty() -> Option<Bytes> {
    Some(Bytes::new())
}

/// An answer without data.
fn failed(code: ErrorCode) -> PartitionData {
    PartitionData::default()
        .with_error_code(code.0)
        .with_high_watermark(-1)
        .with_last_stable_offset(-1)
        .with_log_start_offset(-1)
        .with_preferred_read_replica((-1).into())
        .with_records(empty())
}

/// Where the log and the fetcher's copy part ways, if they do (KIP-595, for any fetcher that says
/// which epoch it has last).
fn diverging(
    partition: &Partition,
    log: &Snapshot,
    wanted: &Wanted,
) -> Result<Option<EpochEndOffset>, ErrorCode> {
    let last_fetched = LeaderEpoch(wanted.last_fetched_epoch);
    if !last_fetched.is_some() {
        return Ok(None);
    }
    let (epoch, end) = partition
        .leader_epoch_end(last_fetched)
        .ok_or(ErrorCode::OFFSET_OUT_OF_RANGE)?;
    if Offset(wanted.offset) < log.log_start() {
        return Err(ErrorCode::OFFSET_OUT_OF_RANGE);
    }
    let parted = epoch < last_fetched || end < Offset(wanted.offset);
    Ok(parted.then(|| {
        EpochEndOffset::default()
            .with_epoch(epoch.0)
            .with_end_offset(end.0)
    }))
}

/// The offset after the last batch.
fn end_of(records: &[u8]) -> Option<Offset> {
    Batches::new(records)
        .filter_map(Result::ok)
        .last()
        .map(|batch| batch.header.next_offset())
}

/// Aborted transactions of what is answered, those included that began before it.
fn aborted(
    log: &Snapshot,
    from: Offset,
    upto: Offset,
) -> Result<Vec<AbortedTransaction>, ErrorCode> {
    let aborted = log.aborted(from, upto).map_err(|error| log_code(&error))?;
    let one = |transaction: carrick_storage::log::AbortedTxn| {
        AbortedTransaction::default()
            .with_producer_id(ProducerId(transaction.producer_id.0))
            .with_first_offset(transaction.first_offset.0)
    };
    Ok(aborted.into_iter().map(one).collect())
}
