//! ListOffsets (key 2), versions 1–11.
//!
//! Offsets by timestamp, and the special ones: -1 latest (the last stable offset for
//! `read_committed`), -2 earliest, -3 the record with the largest timestamp (v7, KIP-734), -4
//! earliest local (v8, KIP-405), -5 latest tiered (v9, KIP-1005) and -6 earliest pending upload (v11,
//! KIP-1023): both always -1, since nothing is tiered.
//!
//! - v2 (KIP-98): isolation level. v4 (KIP-320): leader epochs in both directions.
//! - v10 (KIP-1075): timeout for remote look-ups, which do not exist here.
//! - A partition that is requested twice is INVALID_REQUEST, as in Kafka.

use std::collections::HashSet;
use std::ops::RangeInclusive;

use carrick_protocol::error_code::ErrorCode;
use carrick_protocol::ids::{LeaderEpoch, Offset};
use carrick_storage::log::{LogError, Snapshot, TimestampOffset};
use kafka_protocol::messages::list_offsets_request::ListOffsetsPartition;
use kafka_protocol::messages::list_offsets_response::{
    ListOffsetsPartitionResponse, ListOffsetsTopicResponse,
};
use kafka_protocol::messages::{ApiKey, ListOffsetsRequest, ListOffsetsResponse};

use super::door::DoorError;
use super::error::{door_code, log_code, partition_code};
use super::{Api, Context, Reply, ResponseOf};
use crate::access::Operation;
use crate::partition::Partition;

const LATEST: i64 = -1;
const EARLIEST: i64 = -2;
const MAX_TIMESTAMP: i64 = -3;
const EARLIEST_LOCAL: i64 = -4;
const LATEST_TIERED: i64 = -5;
const EARLIEST_PENDING_UPLOAD: i64 = -6;

/// "There is none", for timestamps.
const NO_TIMESTAMP: i64 = -1;

pub struct ListOffsets;

impl Api for ListOffsets {
    const KEY: ApiKey = ApiKey::ListOffsets;
    const VERSIONS: RangeInclusive<i16> = 1..=11;
    type Request = ListOffsetsRequest;

    fn handle(ctx: &Context, version: i16, request: Self::Request) -> Reply<ResponseOf<Self>> {
        let committed_only = request.isolation_level == 1;
        let mut seen = HashSet::new();
        let mut twice = HashSet::new();
        for topic in &request.topics {
            for partition in &topic.partitions {
                let key = (topic.name.clone(), partition.partition_index);
                if !seen.insert(key.clone()) {
                    twice.insert(key);
                }
            }
        }
        let topics = request.topics.into_iter().map(|asked| {
            let topic = ctx.topic(&asked.name, Operation::Describe);
            let partitions = asked.partitions.iter().map(|wanted| {
                let index = wanted.partition_index;
                let is_double = twice.contains(&(asked.name.clone(), index));
                let found = match &topic {
                    Err(error @ DoorError::NotAllowed(_)) => Err(door_code(*error)),
                    _ if is_double => Err(ErrorCode::INVALID_REQUEST),
                    Err(error) => Err(door_code(*error)),
                    Ok(topic) => ctx
                        .partition(topic, index)
                        .map_err(door_code)
                        .and_then(|partition| find(&partition, version, wanted, committed_only)),
                };
                respond(version, index, found)
            });
            let partitions = partitions.collect();
            ListOffsetsTopicResponse::default()
                .with_name(asked.name)
                .with_partitions(partitions)
        });
        Reply::Now(ListOffsetsResponse::default().with_topics(topics.collect()))
    }
}

fn find(
    partition: &Partition,
    version: i16,
    wanted: &ListOffsetsPartition,
    committed_only: bool,
) -> Result<Option<TimestampOffset>, ErrorCode> {
    partition
        .check_reader(LeaderEpoch(wanted.current_leader_epoch))
        .map_err(|error| partition_code(&error))?;
    let log = partition.snapshot();
    let bound = if committed_only {
        log.last_stable()
    } else {
        log.high_watermark()
    };
    let at = |offset, leader_epoch| {
        Ok(Some(TimestampOffset {
            timestamp_ms: NO_TIMESTAMP,
            offset,
            leader_epoch,
        }))
    };
    let found = match wanted.timestamp {
        LATEST => at(bound, partition.leader_epoch()),
        EARLIEST => at(log.log_start(), first_epoch(&log)),
        EARLIEST_LOCAL if version >= 8 => at(log.log_start(), first_epoch(&log)),
        MAX_TIMESTAMP if version >= 7 => log
            .max_timestamp()
            .map(|found| found.filter(|found| found.offset < bound)),
        LATEST_TIERED if version >= 9 => Ok(None),
        EARLIEST_PENDING_UPLOAD if version >= 11 => Ok(None),
        timestamp_ms if timestamp_ms >= 0 => log.offset_for_timestamp(timestamp_ms, bound),
        _ => return Err(ErrorCode::UNSUPPORTED_VERSION),
    };
    found.map_err(|error: LogError| log_code(&error))
}

fn first_epoch(log: &Snapshot) -> LeaderEpoch {
    log.epochs()
        .epoch_at(log.log_start())
        .unwrap_or(LeaderEpoch::NONE)
}

fn respond(
    version: i16,
    index: i32,
    found: Result<Option<TimestampOffset>, ErrorCode>,
) -> ListOffsetsPartitionResponse {
    let (code, found) = match found {
        Ok(found) => (ErrorCode::NONE, found),
        Err(code) => (code, None),
    };
    let found = found.unwrap_or(TimestampOffset {
        timestamp_ms: NO_TIMESTAMP,
        offset: Offset::NONE,
        leader_epoch: LeaderEpoch::NONE,
    });
    let response = ListOffsetsPartitionResponse::default()
        .with_partition_index(index)
        .with_error_code(code.0)
        .with_timestamp(found.timestamp_ms)
        .with_offset(found.offset.0);
    match version {
        4.. => response.with_leader_epoch(found.leader_epoch.0),
        _ => response,
    }
}
