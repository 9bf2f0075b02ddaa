//! DescribeLogDirs (key 35), versions 1–4 (KIP-113).
//!
//! The one data folder, and the sizes of the partitions in it: all of them, or the requested ones
//! (without those that don't exist, as in Kafka, and offline ones). Sizes are bytes of batches.
//!
//! - The offset lag is 0: there is no other replica to lag behind, and no future one.
//! - v3: an error code for the whole answer. v4 (KIP-827): size of the file system, and its free
//!   space.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::sync::Arc;

use carrick_protocol::error_code::ErrorCode;
use kafka_protocol::messages::describe_log_dirs_request::DescribableLogDirTopic;
use kafka_protocol::messages::describe_log_dirs_response::{
    DescribeLogDirsPartition, DescribeLogDirsResult, DescribeLogDirsTopic,
};
use kafka_protocol::messages::{
    ApiKey, DescribeLogDirsRequest, DescribeLogDirsResponse, TopicName,
};

use super::admin::{Refusal, blocking};
use super::error::door_code;
use super::groups::text;
use super::{Api, Context, Reply, ResponseOf};
use crate::access::Operation;
use crate::broker::Broker;
use crate::partition::Partition;
use crate::topic::Topic;

pub struct DescribeLogDirs;

impl Api for DescribeLogDirs {
    const KEY: ApiKey = ApiKey::DescribeLogDirs;
    const VERSIONS: RangeInclusive<i16> = 1..=4;
    const LISTS: bool = true;
    type Request = DescribeLogDirsRequest;

    fn handle(ctx: &Context, version: i16, request: Self::Request) -> Reply<ResponseOf<Self>> {
        if let Err(error) = ctx.cluster(Operation::Describe) {
            let code = door_code(error).0;
            return Reply::Now(DescribeLogDirsResponse::default().with_error_code(code));
        }
        let ctx = ctx.clone();
        Reply::Later(Box::pin(async move {
            let dir = described(&ctx, version, request.topics).await;
            DescribeLogDirsResponse::default().with_results(vec![dir])
        }))
    }
}

/// The data folder, as clients know it.
pub(super) fn folder(broker: &Broker) -> PathBuf {
    let folder = broker.data_dir.path();
    std::path::absolute(folder).unwrap_or_else(|_| folder.to_owned())
}

async fn described(
    ctx: &Context,
    version: i16,
    asked: Option<Vec<DescribableLogDirTopic>>,
) -> DescribeLogDirsResult {
    let broker = &ctx.broker;
    let name = text(&folder(broker).to_string_lossy());
    let result = DescribeLogDirsResult::default().with_log_dir(name);
    let data_dir = Arc::clone(&broker.data_dir);
    let space = blocking(move || {
        let space = data_dir.space();
        space.map_err(|e| Refusal::new(ErrorCode::KAFKA_STORAGE_ERROR, e.to_string()))
    });
    let space = match space.await {
        Ok(space) => space,
        Err(refusal) => {
            tracing::warn!(
                reason = refusal.message,
                "the data folder cannot be described"
            );
            return result.with_error_code(refusal.code.0);
        }
    };
    let topics = match topics(ctx, version, asked) {
        Ok(topics) => topics,
        Err(refusal) => return result.with_error_code(refusal.code.0),
    };
    result
        .with_topics(topics)
        .with_total_bytes(i64::try_from(space.total_bytes).unwrap_or(i64::MAX))
        .with_usable_bytes(i64::try_from(space.free_bytes).unwrap_or(i64::MAX))
}

/// All topics, or the requested ones, each partition once.
fn topics(
    ctx: &Context,
    version: i16,
    asked: Option<Vec<DescribableLogDirTopic>>,
) -> Result<Vec<DescribeLogDirsTopic>, Refusal> {
    let cluster = ctx.cluster(Operation::Describe)?;
    let mut shown_topics = Vec::new();
    let mut show = |topic: &Topic, partitions: &mut dyn Iterator<Item = Arc<Partition>>| {
        let sizes: Vec<_> = partitions
            .filter_map(|partition| size(&partition))
            .collect();
        let topic = shown(topic, sizes);
        ctx.room.take_item(version, &topic)?;
        shown_topics.push(topic);
        Ok::<(), Refusal>(())
    };
    let Some(asked) = asked else {
        for topic in cluster.topics() {
            show(&topic, &mut ctx.partitions_here(&topic).iter().cloned())?;
        }
        return Ok(shown_topics);
    };
    let mut by_topic: BTreeMap<TopicName, BTreeSet<i32>> = BTreeMap::new();
    for topic in asked {
        by_topic
            .entry(topic.topic)
            .or_default()
            .extend(topic.partitions);
    }
    for (name, numbers) in by_topic {
        let Ok(topic) = cluster.topic(&name) else {
            continue;
        };
        show(
            &topic,
            &mut numbers
                .into_iter()
                .filter_map(|number| ctx.partition(&topic, number).ok()),
        )?;
    }
    shown_topics.retain(|topic| !topic.partitions.is_empty());
    Ok(shown_topics)
}

fn shown(topic: &Topic, partitions: Vec<DescribeLogDirsPartition>) -> DescribeLogDirsTopic {
    DescribeLogDirsTopic::default()
        .with_name(text(topic.name()).into())
        .with_partitions(partitions)
}

/// `None` when it is offline.
fn size(partition: &Partition) -> Option<DescribeLogDirsPartition> {
    if partition.is_offline() {
        return None;
    }
    let bytes = partition.snapshot().size_bytes();
    let size = DescribeLogDirsPartition::default()
        .with_partition_index(partition.id().partition)
        .with_partition_size(i64::try_from(bytes).unwrap_or(i64::MAX));
    Some(size)
}
