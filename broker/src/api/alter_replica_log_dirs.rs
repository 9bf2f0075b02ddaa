//! AlterReplicaLogDirs (key 34), versions 1–2 (KIP-113).
//!
//! There is one data folder, and every partition is already in it: a move to it succeeds
//! immediately. Another folder is LOG_DIR_NOT_FOUND, a partition that does not exist
//! REPLICA_NOT_AVAILABLE and one that is offline KAFKA_STORAGE_ERROR, as in
//! `ReplicaManager.alterReplicaLogDirs`. v2 is flexible.

use std::ops::RangeInclusive;

use carrick_protocol::error_code::ErrorCode;
use kafka_protocol::messages::alter_replica_log_dirs_response::{
    AlterReplicaLogDirPartitionResult, AlterReplicaLogDirTopicResult,
};
use kafka_protocol::messages::{AlterReplicaLogDirsRequest, AlterReplicaLogDirsResponse, ApiKey};

use super::describe_log_dirs::folder;
use super::door::{Cluster, DoorError};
use super::error::door_code;
use super::{Api, Context, Reply, ResponseOf};
use crate::access::Operation;

pub struct AlterReplicaLogDirs;

impl Api for AlterReplicaLogDirs {
    const KEY: ApiKey = ApiKey::AlterReplicaLogDirs;
    const VERSIONS: RangeInclusive<i16> = 1..=2;
    type Request = AlterReplicaLogDirsRequest;

    fn handle(ctx: &Context, _version: i16, request: Self::Request) -> Reply<ResponseOf<Self>> {
        let cluster = ctx.cluster(Operation::Alter);
        let here = folder(&ctx.broker);
        let results = request.dirs.into_iter().flat_map(|dir| {
            let is_here = here.to_str() == Some(dir.path.as_str());
            dir.topics.into_iter().map(move |topic| {
                let partitions = topic.partitions.iter().map(|number| {
                    AlterReplicaLogDirPartitionResult::default()
                        .with_partition_index(*number)
                        .with_error_code(moved(ctx, cluster, is_here, &topic.name, *number).0)
                });
                let partitions = partitions.collect();
                AlterReplicaLogDirTopicResult::default()
                    .with_topic_name(topic.name)
                    .with_partitions(partitions)
            })
        });
        Reply::Now(AlterReplicaLogDirsResponse::default().with_results(results.collect()))
    }
}

fn moved(
    ctx: &Context,
    cluster: Result<Cluster<'_>, DoorError>,
    is_here: bool,
    topic: &str,
    number: i32,
) -> ErrorCode {
    let cluster = match cluster {
        Ok(cluster) => cluster,
        Err(error) => return door_code(error),
    };
    if !is_here {
        return ErrorCode::LOG_DIR_NOT_FOUND;
    }
    let topic = cluster.topic(topic);
    match topic.and_then(|topic| ctx.partition(&topic, number)) {
        Err(_) => ErrorCode::REPLICA_NOT_AVAILABLE,
        Ok(partition) if partition.is_offline() => ErrorCode::KAFKA_STORAGE_ERROR,
        Ok(_) => ErrorCode::NONE,
    }
}
