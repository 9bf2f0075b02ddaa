//! EndTxn (key 26), versions 0–5.
//!
//! Commits or aborts a producer's transaction; answered when that is decided durably. Markers
//! follow; the answer waits for them a little, so that the next transaction doesn't meet them. The
//! same request again has the same answer.
//!
//! - v2: PRODUCER_FENCED; before that INVALID_PRODUCER_EPOCH. v3: flexible.
//! - v4: TRANSACTION_ABORTABLE. v5 (KIP-890): the epoch is raised, and with it the producer id
//!   when epochs have run out; both are in the answer. A transaction may be aborted before it
//!   began.

use std::ops::RangeInclusive;

use carrick_protocol::error_code::ErrorCode;
use kafka_protocol::messages::{ApiKey, EndTxnRequest, EndTxnResponse, ProducerId};

use super::error::{door_code, txn_code};
use super::transactions::{fenced_since, producer};
use super::{Api, Context, Reply, ResponseOf};
use crate::access::Operation;
use crate::transaction::{Outcome, Producer, TxnError, Version};

pub struct EndTxn;

impl Api for EndTxn {
    const KEY: ApiKey = ApiKey::EndTxn;
    const VERSIONS: RangeInclusive<i16> = 0..=5;
    type Request = EndTxnRequest;

    fn handle(ctx: &Context, version: i16, request: Self::Request) -> Reply<ResponseOf<Self>> {
        let who = producer(request.producer_id, request.producer_epoch);
        let outcome = match request.committed {
            true => Outcome::Commit,
            false => Outcome::Abort,
        };
        let speaks = if version >= 5 {
            Version::V2
        } else {
            Version::V1
        };
        let id = &request.transactional_id;
        let transactions = match ctx.transactional_id(id, Operation::Write) {
            Ok(transactions) => transactions,
            Err(error) => {
                let code = door_code(error).0;
                return Reply::Now(EndTxnResponse::default().with_error_code(code));
            }
        };
        let ended = transactions.end(id, who, outcome, speaks);
        Reply::Later(Box::pin(async move { response(version, ended.await) }))
    }
}

fn response(version: i16, ended: Result<Producer, TxnError>) -> EndTxnResponse {
    match ended {
        Ok(producer) if version >= 5 => EndTxnResponse::default()
            .with_producer_id(ProducerId(producer.id.0))
            .with_producer_epoch(producer.epoch),
        Ok(_) => EndTxnResponse::default(),
        Err(error) => {
            let code: ErrorCode = fenced_since(version, 2, txn_code(error));
            EndTxnResponse::default().with_error_code(code.0)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::groups::assert_encodes;
    use super::*;

    #[test]
    fn every_version_can_be_answered() {
        let producer = Producer {
            id: carrick_protocol::ids::ProducerId(7),
            epoch: 3,
        };
        assert_encodes::<EndTxn>(EndTxn::VERSIONS, |version| response(version, Ok(producer)));
        let fenced = |version| response(version, Err(TxnError::Fenced));
        assert_encodes::<EndTxn>(EndTxn::VERSIONS, fenced);
        assert_eq!(fenced(1).error_code, ErrorCode::INVALID_PRODUCER_EPOCH.0);
        assert_eq!(fenced(2).error_code, ErrorCode::PRODUCER_FENCED.0);
    }
}
