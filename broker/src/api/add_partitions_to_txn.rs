//! AddPartitionsToTxn (key 24), versions 0–5.
//!
//! Adds partitions to a producer's transaction, which begins with the first; answered when that is
//! on disk. All or nothing: if one of them can't be added, the others are OPERATION_NOT_ATTEMPTED.
//! A mirror is INVALID_REQUEST.
//!
//! - v2: PRODUCER_FENCED; before that INVALID_PRODUCER_EPOCH. v3: flexible.
//! - v4 (KIP-890): several transactions, and requests that only ask whether the partitions are in
//!   the transaction. Intended for requests between brokers, but any client may send it.
//! - v5: TRANSACTION_ABORTABLE.

use std::future::Future;
use std::ops::RangeInclusive;

use carrick_protocol::error_code::ErrorCode;
use carrick_protocol::ids::{INTERNAL_TOPICS, TopicPartition};
use kafka_protocol::messages::add_partitions_to_txn_request::{
    AddPartitionsToTxnTopic, AddPartitionsToTxnTransaction,
};
use kafka_protocol::messages::add_partitions_to_txn_response::{
    AddPartitionsToTxnPartitionResult, AddPartitionsToTxnResult, AddPartitionsToTxnTopicResult,
};
use kafka_protocol::messages::{AddPartitionsToTxnRequest, AddPartitionsToTxnResponse, ApiKey};

use super::door::{Cluster, DoorError};
use super::error::{door_code, txn_code};
use super::transactions::{fenced_since, producer, writable_id};
use super::{Api, Context, Reply, ResponseOf};
use crate::access::{Operation, ResourceKind};
use crate::transaction::{TxnError, Version};

pub struct AddPartitionsToTxn;

impl Api for AddPartitionsToTxn {
    const KEY: ApiKey = ApiKey::AddPartitionsToTxn;
    const VERSIONS: RangeInclusive<i16> = 0..=5;
    type Request = AddPartitionsToTxnRequest;

    fn handle(ctx: &Context, version: i16, request: Self::Request) -> Reply<ResponseOf<Self>> {
        if version >= 4 {
            if let Err(error) = ctx.cluster(Operation::ClusterAction) {
                let code = door_code(error).0;
                return Reply::Now(AddPartitionsToTxnResponse::default().with_error_code(code));
            }
            let begun: Vec<_> = request
                .transactions
                .into_iter()
                .map(|transaction| Begun::new(ctx, version, transaction))
                .collect();
            return Reply::Later(Box::pin(async move {
                let mut results = Vec::with_capacity(begun.len());
                for begun in begun {
                    let result = AddPartitionsToTxnResult::default()
                        .with_transactional_id(begun.transaction.transactional_id.clone())
                        .with_topic_results(begun.results(version).await);
                    results.push(result);
                }
                AddPartitionsToTxnResponse::default().with_results_by_transaction(results)
            }));
        }
        let transaction = AddPartitionsToTxnTransaction::default()
            .with_transactional_id(request.v3_and_below_transactional_id)
            .with_producer_id(request.v3_and_below_producer_id)
            .with_producer_epoch(request.v3_and_below_producer_epoch)
            .with_topics(request.v3_and_below_topics);
        let begun = Begun::new(ctx, version, transaction);
        Reply::Later(Box::pin(async move {
            let results = begun.results(version).await;
            AddPartitionsToTxnResponse::default().with_results_by_topic_v3_and_below(results)
        }))
    }
}

/// One transaction of a request, its ordered part done.
struct Begun {
    transaction: AddPartitionsToTxnTransaction,
    outcome: Outcome,
}

enum Outcome {
    /// One code for each partition, in order.
    Codes(Vec<ErrorCode>),
    /// One for all, when it is durable.
    Added(std::pin::Pin<Box<dyn Future<Output = Result<(), TxnError>> + Send>>),
}

impl Begun {
    fn new(ctx: &Context, version: i16, transaction: AddPartitionsToTxnTransaction) -> Self {
        let outcome = begin(ctx, version, &transaction);
        Self {
            transaction,
            outcome,
        }
    }

    async fn results(self, version: i16) -> Vec<AddPartitionsToTxnTopicResult> {
        let topics = self.transaction.topics;
        match self.outcome {
            Outcome::Codes(codes) => with_codes(topics, codes.into_iter()),
            Outcome::Added(added) => {
                let code = added.await.map_or_else(txn_code, |()| ErrorCode::NONE);
                let code = fenced_since(version, 2, code);
                with_codes(topics, std::iter::repeat(code))
            }
        }
    }
}

/// Up to v3 a client asks for itself; later a broker does, for any id and any topic.
fn begin(ctx: &Context, version: i16, transaction: &AddPartitionsToTxnTransaction) -> Outcome {
    let id = &transaction.transactional_id;
    let transactions = match version {
        4.. => ctx
            .cluster(Operation::ClusterAction)
            .map(Cluster::transactions),
        _ => ctx.transactional_id(id, Operation::Write),
    };
    let transactions = match transactions {
        Ok(transactions) => transactions,
        Err(error) => {
            let partitions = transaction
                .topics
                .iter()
                .map(|topic| topic.partitions.len());
            return Outcome::Codes(vec![door_code(error); partitions.sum()]);
        }
    };
    let found = resolve(ctx, version, &transaction.topics);
    if found.iter().any(Result::is_err) {
        let codes = found.into_iter().map(|found| match found {
            Ok(_) => ErrorCode::OPERATION_NOT_ATTEMPTED,
            Err(code) => code,
        });
        return Outcome::Codes(codes.collect());
    }
    let partitions: Vec<TopicPartition> = found.into_iter().flatten().collect();
    let who = producer(transaction.producer_id, transaction.producer_epoch);
    if transaction.verify_only {
        let verified = transactions.verify(id, who, &partitions).into_iter();
        let codes = verified.map(|verified| verified.map_or_else(txn_code, |()| ErrorCode::NONE));
        return Outcome::Codes(codes.collect());
    }
    let speaks = if version >= 4 {
        Version::V2
    } else {
        Version::V1
    };
    Outcome::Added(Box::pin(transactions.add(
        id,
        who,
        &partitions,
        &[],
        speaks,
    )))
}

fn resolve(
    ctx: &Context,
    version: i16,
    topics: &[AddPartitionsToTxnTopic],
) -> Vec<Result<TopicPartition, ErrorCode>> {
    let all = topics.iter().flat_map(|asked| {
        let topic = match version {
            4.. => ctx
                .cluster(Operation::ClusterAction)
                .and_then(|cluster| cluster.topic(&asked.name)),
            // No client writes to them in a transaction, whatever its rights.
            _ if INTERNAL_TOPICS.contains(&asked.name.as_str()) => {
                Err(DoorError::NotAllowed(ResourceKind::Topic))
            }
            _ => ctx.topic(&asked.name, Operation::Write),
        };
        let numbers = asked.partitions.iter();
        numbers
            .map(move |number| writable_id(ctx, topic.as_deref().map_err(|error| *error), *number))
    });
    all.collect()
}

fn with_codes(
    topics: Vec<AddPartitionsToTxnTopic>,
    mut codes: impl Iterator<Item = ErrorCode>,
) -> Vec<AddPartitionsToTxnTopicResult> {
    let results = topics.into_iter().map(|topic| {
        let partitions = topic.partitions.iter().zip(codes.by_ref());
        let results = partitions.map(|(number, code)| {
            AddPartitionsToTxnPartitionResult::default()
                .with_partition_index(*number)
                .with_partition_error_code(code.0)
        });
        AddPartitionsToTxnTopicResult::default()
            .with_results_by_partition(results.collect())
            .with_name(topic.name)
    });
    results.collect()
}
