//! InitProducerId (key 22), versions 0–5.
//!
//! A producer id for an idempotent producer (KIP-98), epoch 0. What a producer had before (v3,
//! KIP-360) is not looked at without a transactional id: it gets a new id, as in Kafka.
//!
//! - v4: PRODUCER_FENCED, v5: TRANSACTION_ABORTABLE (KIP-890): only with transactions.
//!
//! Not done: transactions. A transactional id is answered UNSUPPORTED_VERSION, which no client
//! retries (COORDINATOR_NOT_AVAILABLE would be retried for ever), with a line in the log.

use std::ops::RangeInclusive;
use std::sync::Arc;

use carrick_protocol::error_code::ErrorCode;
use kafka_protocol::messages::{ApiKey, InitProducerIdRequest, InitProducerIdResponse, ProducerId};

use super::{Api, Context, Reply, ResponseOf};

/// InitProducerId.
pub struct InitProducerId;

impl Api for InitProducerId {
    const KEY: ApiKey = ApiKey::InitProducerId;
    const VERSIONS: RangeInclusive<i16> = 0..=5;
    type Request = InitProducerIdRequest;

    fn handle(ctx: &Context, _version: i16, request: Self::Request) -> Reply<ResponseOf<Self>> {
        if let Some(id) = &request.transactional_id {
            let code = if id.is_empty() {
                ErrorCode::INVALID_REQUEST
            } else {
                let (id, peer) = (id.as_str(), ctx.connection.peer);
                tracing::warn!(transactional_id = id, %peer, "transactions are not supported yet");
                ErrorCode::UNSUPPORTED_VERSION
            };
            return Reply::Now(refused(code));
        }
        let producer_ids = Arc::clone(&ctx.broker.producer_ids);
        Reply::Later(Box::pin(async move {
            // Every thousandth id is a write to disk.
            let allocated = tokio::task::spawn_blocking(move || producer_ids.allocate()).await;
            match allocated {
                Ok(Ok(id)) => InitProducerIdResponse::default()
                    .with_producer_id(ProducerId(id.0))
                    .with_producer_epoch(0),
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
}

fn refused(code: ErrorCode) -> InitProducerIdResponse {
    InitProducerIdResponse::default()
        .with_error_code(code.0)
        .with_producer_id(ProducerId(-1))
        .with_producer_epoch(-1)
}
