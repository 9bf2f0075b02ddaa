//! DescribeTransactions (key 65), version 0 (KIP-664).
//!
//! The state of transactional ids, and the partitions in their transactions. An unknown id is
//! TRANSACTIONAL_ID_NOT_FOUND. One that is requested twice is answered once. Groups whose offsets
//! are in a transaction are not shown: Kafka shows them as partitions of `__consumer_offsets`,
//! which does not exist here.

use std::collections::{BTreeMap, HashSet};
use std::ops::RangeInclusive;

use carrick_protocol::error_code::ErrorCode;
use kafka_protocol::messages::describe_transactions_response::{TopicData, TransactionState};
use kafka_protocol::messages::{
    ApiKey, DescribeTransactionsRequest, DescribeTransactionsResponse, ProducerId, TransactionalId,
};

use super::error::{door_code, txn_code};
use super::groups::text;
use super::{Api, Context, Reply, ResponseOf};
use crate::access::Operation;
use crate::transaction::metadata::Metadata;

pub struct DescribeTransactions;

impl Api for DescribeTransactions {
    const KEY: ApiKey = ApiKey::DescribeTransactions;
    const VERSIONS: RangeInclusive<i16> = 0..=0;
    const LISTS: bool = true;
    type Request = DescribeTransactionsRequest;

    fn handle(ctx: &Context, version: i16, request: Self::Request) -> Reply<ResponseOf<Self>> {
        let mut seen = HashSet::new();
        let ids = request.transactional_ids.iter();
        let states = ids.filter(|id| seen.insert(*id)).map(|id| {
            let failed = |code: ErrorCode| {
                TransactionState::default()
                    .with_transactional_id(id.clone())
                    .with_error_code(code.0)
            };
            let describe = || match ctx.transactional_id(id, Operation::Describe) {
                Ok(transactions) => match transactions.describe(id) {
                    Ok(metadata) => described_as(ctx, id.clone(), &metadata),
                    Err(error) => failed(txn_code(error)),
                },
                Err(error) => failed(door_code(error)),
            };
            ctx.room
                .item(version, describe, |refusal| failed(refusal.code))
        });
        let response = DescribeTransactionsResponse::default();
        Reply::Now(response.with_transaction_states(states.collect()))
    }
}

fn described_as(ctx: &Context, id: TransactionalId, metadata: &Metadata) -> TransactionState {
    let mut by_topic: BTreeMap<&str, Vec<i32>> = BTreeMap::new();
    for partition in &metadata.partitions {
        if !ctx.shows_topic(&partition.topic) {
            continue;
        }
        let numbers = by_topic.entry(partition.topic.as_ref()).or_default();
        numbers.push(partition.partition);
    }
    let topics = by_topic.into_iter().map(|(topic, partitions)| {
        TopicData::default()
            .with_topic(text(topic).into())
            .with_partitions(partitions)
    });
    TransactionState::default()
        .with_transactional_id(id)
        .with_transaction_state(text(metadata.state.name()))
        .with_transaction_timeout_ms(metadata.timeout_ms)
        .with_transaction_start_time_ms(metadata.start_ms)
        .with_producer_id(ProducerId(metadata.producer_id.0))
        .with_producer_epoch(metadata.epoch)
        .with_topics(topics.collect())
}
