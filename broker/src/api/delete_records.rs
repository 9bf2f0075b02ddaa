//! DeleteRecords (key 21), versions 0–2 (KIP-107).
//!
//! Moves log starts up: to an offset, or with -1 to the high watermark. Durable when the answer is
//! sent. Past the high watermark: OFFSET_OUT_OF_RANGE. Below the log start: nothing happens, as in
//! Kafka. A mirror is refused with INVALID_REQUEST: its log start is its source's. A topic with
//! `cleanup.policy=compact` alone: POLICY_VIOLATION. An internal topic: INVALID_TOPIC_EXCEPTION.
//!
//! Segments wholly below the log start are deleted; a batch that contains it is still served whole.
//! A partition that is named twice is answered once, for the last offset. The timeout is ignored:
//! there are no followers to wait for.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;

use carrick_protocol::error_code::ErrorCode;
use carrick_protocol::ids::Offset;
use kafka_protocol::messages::delete_records_request::{
    DeleteRecordsPartition, DeleteRecordsTopic,
};
use kafka_protocol::messages::delete_records_response::{
    DeleteRecordsPartitionResult, DeleteRecordsTopicResult,
};
use kafka_protocol::messages::{ApiKey, DeleteRecordsRequest, DeleteRecordsResponse, TopicName};

use super::admin::{Refusal, blocking};
use super::{Api, Context, Reply, ResponseOf};
use crate::access::Operation;

pub struct DeleteRecords;

/// "Up to the high watermark" among offsets.
const HIGH_WATERMARK: i64 = -1;

/// The low watermark of a refusal.
const NO_LOW_WATERMARK: i64 = -1;

impl Api for DeleteRecords {
    const KEY: ApiKey = ApiKey::DeleteRecords;
    const VERSIONS: RangeInclusive<i16> = 0..=2;
    type Request = DeleteRecordsRequest;

    fn handle(ctx: &Context, _version: i16, request: Self::Request) -> Reply<ResponseOf<Self>> {
        let ctx = ctx.clone();
        Reply::Later(Box::pin(async move {
            let mut response = DeleteRecordsResponse::default();
            for topic in once_each(request.topics) {
                response.topics.push(delete_of_topic(&ctx, topic).await);
            }
            response
        }))
    }
}

/// Each topic and each partition once: of a partition that is named twice, the last offset counts, as
/// in Kafka.
fn once_each(topics: Vec<DeleteRecordsTopic>) -> Vec<DeleteRecordsTopic> {
    let mut by_topic: BTreeMap<TopicName, BTreeMap<i32, DeleteRecordsPartition>> = BTreeMap::new();
    for topic in topics {
        let partitions = topic.partitions.into_iter();
        let by_number = partitions.map(|partition| (partition.partition_index, partition));
        by_topic.entry(topic.name).or_default().extend(by_number);
    }
    let topics = by_topic.into_iter().map(|(name, partitions)| {
        DeleteRecordsTopic::default()
            .with_name(name)
            .with_partitions(partitions.into_values().collect())
    });
    topics.collect()
}

async fn delete_of_topic(ctx: &Context, topic: DeleteRecordsTopic) -> DeleteRecordsTopicResult {
    let mut result = DeleteRecordsTopicResult::default();
    for asked in topic.partitions {
        let deleted = delete(ctx, &topic.name, asked.partition_index, asked.offset).await;
        let (code, low_watermark) = match deleted {
            Ok(log_start) => (ErrorCode::NONE, log_start.0),
            Err(refusal) => {
                tracing::debug!(
                    topic = topic.name.as_str(),
                    partition = asked.partition_index,
                    reason = refusal.message,
                    "records not deleted"
                );
                (refusal.code, NO_LOW_WATERMARK)
            }
        };
        result.partitions.push(
            DeleteRecordsPartitionResult::default()
                .with_partition_index(asked.partition_index)
                .with_low_watermark(low_watermark)
                .with_error_code(code.0),
        );
    }
    result.with_name(topic.name)
}

async fn delete(
    ctx: &Context,
    topic: &str,
    partition: i32,
    offset: i64,
) -> Result<Offset, Refusal> {
    let found = ctx.topic(topic, Operation::Delete);
    if found.as_ref().is_ok_and(|t| t.is_internal()) {
        return Err(Refusal::new(
            ErrorCode::INVALID_TOPIC_EXCEPTION,
            "an internal topic",
        ));
    }
    let partition = found.and_then(|topic| ctx.partition(&topic, partition))?;
    let to = (offset != HIGH_WATERMARK).then_some(Offset(offset));
    blocking(move || partition.delete_records(to)).await
}
