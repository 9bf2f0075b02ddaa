//! InitProducerId (key 22), versions 0–5.
//!
//! A producer id and epoch. Without a transactional id: always a new producer id with epoch 0
//! (KIP-98). With one: earlier instances of the producer are fenced. If one of them left a
//! transaction open, it is aborted first, and meanwhile the answer is CONCURRENT_TRANSACTIONS.
//!
//! - v3 (KIP-360): the producer id and epoch of a producer that continues after an error.
//! - v4: PRODUCER_FENCED; before that INVALID_PRODUCER_EPOCH. v5: TRANSACTION_ABORTABLE (KIP-890).
//! - v6 (two-phase commit, KIP-939) is not supported: it is unstable in Kafka 4.3, and the codec
//!   cannot read its requests.

use std::ops::RangeInclusive;
use std::sync::Arc;

use carrick_protocol::error_code::ErrorCode;
use carrick_protocol::ids::TransactionalId;
use kafka_protocol::messages::{ApiKey, InitProducerIdRequest, InitProducerIdResponse, ProducerId};

use super::error::{door_code, txn_code};
use super::transactions::{fenced_since, producer};
use super::{Api, Context, Reply, ResponseOf};
use crate::access::Operation;
use crate::transaction::Producer;
use crate::transaction::coordinator::InitRequest;

pub struct InitProducerId;

/// Neither a producer id nor an epoch.
const NONE: (ProducerId, i16) = (ProducerId(-1), -1);

impl Api for InitProducerId {
    const KEY: ApiKey = ApiKey::InitProducerId;
    const VERSIONS: RangeInclusive<i16> = 0..=5;
    type Request = InitProducerIdRequest;

    fn handle(ctx: &Context, version: i16, request: Self::Request) -> Reply<ResponseOf<Self>> {
        let expected = match (request.producer_id, request.producer_epoch) {
            NONE => Ok(None),
            (ProducerId(-1), _) | (_, -1) => Err(ErrorCode::INVALID_REQUEST),
            (id, epoch) => Ok(Some(producer(id, epoch))),
        };
        let Some(id) = request.transactional_id else {
            return match may_without_transactions(ctx).and(expected) {
                Ok(_) => without_transactions(ctx),
                Err(code) => Reply::Now(refused(code)),
            };
        };
        let id = TransactionalId::new(id.as_str());
        let transactions = ctx.transactional_id(id.as_str(), Operation::Write);
        let (transactions, expected) = match (transactions.map_err(door_code), expected) {
            (Ok(transactions), Ok(expected)) => (transactions, expected),
            (Err(code), _) | (_, Err(code)) => return Reply::Now(refused(code)),
        };
        let init = InitRequest {
            timeout_ms: request.transaction_timeout_ms,
            expected,
        };
        let initialized = transactions.init(id, init);
        Reply::Later(Box::pin(async move {
            match initialized.await {
                Ok(producer) => accepted(producer),
                Err(error) => refused(fenced_since(version, 4, txn_code(error))),
            }
        }))
    }
}

/// Kafka lets those have a producer id, too, who may write to any topic at all (KIP-679).
fn may_without_transactions(ctx: &Context) -> Result<(), ErrorCode> {
    let is_allowed = ctx.cluster_if_allowed(Operation::IdempotentWrite).is_ok();
    if is_allowed || ctx.may_write_somewhere() {
        return Ok(());
    }
    let refused = ctx.cluster(Operation::IdempotentWrite);
    refused.map(drop).map_err(door_code)
}

fn without_transactions(ctx: &Context) -> Reply<InitProducerIdResponse> {
    let producer_ids = Arc::clone(&ctx.broker.producer_ids);
    Reply::Later(Box::pin(async move {
        // Every thousandth id is a write to disk.
        let allocated = tokio::task::spawn_blocking(move || producer_ids.allocate()).await;
        match allocated {
            Ok(Ok(id)) => accepted(Producer { id, epoch: 0 }),
            Ok(Err(error)) => {
                tracing::error!(%error, "no producer id");
                refused(ErrorCode::KAFKA_STORAGE_ERROR)
            }
            Err(error) => {
                tracing::error!(%error, "no producer id");
                refused(ErrorCode::UNKNOWN_SERVER_ERROR)
            }
        }
    }))
}

fn accepted(producer: Producer) -> InitProducerIdResponse {
    InitProducerIdResponse::default()
        .with_producer_id(ProducerId(producer.id.0))
        .with_producer_epoch(producer.epoch)
}

fn refused(code: ErrorCode) -> InitProducerIdResponse {
    InitProducerIdResponse::default()
        .with_error_code(code.0)
        .with_producer_id(ProducerId(-1))
        .with_producer_epoch(-1)
}
