//! DescribeProducers (key 61), version 0 (KIP-664).
//!
//! The producers that partitions know: id, epoch, last sequence and timestamp, the epoch of the
//! coordinator that wrote their last marker, and where their open transaction begins. A mirror
//! shows its source's. A partition that is requested twice is answered once.

use std::collections::BTreeSet;
use std::ops::RangeInclusive;

use carrick_protocol::error_code::ErrorCode;
use carrick_protocol::ids::TopicName;
use carrick_storage::log::{Log, ProducerEntry};
use kafka_protocol::messages::describe_producers_response::{
    PartitionResponse, ProducerState, TopicResponse,
};
use kafka_protocol::messages::{
    ApiKey, DescribeProducersRequest, DescribeProducersResponse, ProducerId,
};

use super::admin::{Refusal, outcome};
use super::{Api, Context, Reply, ResponseOf};
use crate::access::Operation;
use crate::topic::TopicError;

pub struct DescribeProducers;

/// "None" among offsets.
const NO_OFFSET: i64 = -1;

impl Api for DescribeProducers {
    const KEY: ApiKey = ApiKey::DescribeProducers;
    const VERSIONS: RangeInclusive<i16> = 0..=0;
    const LISTS: bool = true;
    type Request = DescribeProducersRequest;

    fn handle(ctx: &Context, version: i16, request: Self::Request) -> Reply<ResponseOf<Self>> {
        let mut answered = BTreeSet::new();
        let topics = request.topics.into_iter().map(|topic| {
            let numbers = topic.partition_indexes.iter().copied();
            let first = |number: &i32| answered.insert((topic.name.clone(), *number));
            let partitions = numbers.filter(first).map(|number| {
                let show = || shown_of(number, producers(ctx, &topic.name, number));
                let refused = |refusal| shown_of(number, Err(refusal));
                ctx.room.item(version, show, refused)
            });
            let partitions = partitions.collect();
            TopicResponse::default()
                .with_name(topic.name)
                .with_partitions(partitions)
        });
        Reply::Now(DescribeProducersResponse::default().with_topics(topics.collect()))
    }
}

fn shown_of(number: i32, producers: Result<Vec<ProducerState>, Refusal>) -> PartitionResponse {
    let (code, message) = outcome(&producers);
    PartitionResponse::default()
        .with_partition_index(number)
        .with_error_code(code)
        .with_error_message(message)
        .with_active_producers(producers.unwrap_or_default())
}

fn producers(ctx: &Context, topic: &str, partition: i32) -> Result<Vec<ProducerState>, Refusal> {
    TopicName::new(topic)
        .map_err(|error| Refusal::new(ErrorCode::INVALID_TOPIC_EXCEPTION, error.to_string()))?;
    let known = ctx.topic(topic, Operation::Read);
    let partition = known
        .and_then(|topic| ctx.partition(&topic, partition))
        .map_err(|error| error.or(TopicError::Unknown(format!("{topic}-{partition}"))))?;
    let entries = |log: &Log| log.producers().entries().map(shown).collect();
    Ok(partition.with_log(entries)?)
}

fn shown(entry: &ProducerEntry) -> ProducerState {
    let transaction = entry
        .transaction_first_offset
        .map_or(NO_OFFSET, |offset| offset.0);
    ProducerState::default()
        .with_producer_id(ProducerId(entry.producer_id.0))
        .with_producer_epoch(i32::from(entry.producer_epoch))
        .with_last_sequence(entry.last_sequence())
        .with_last_timestamp(entry.last_timestamp_ms)
        .with_coordinator_epoch(entry.coordinator_epoch)
        .with_current_txn_start_offset(transaction)
}
