//! AddOffsetsToTxn (key 25), versions 0–4.
//!
//! Adds a group to a producer's transaction, which will commit its offsets (KIP-98); answered when
//! that is on disk.
//!
//! - v2: PRODUCER_FENCED; before that INVALID_PRODUCER_EPOCH. v3: flexible.
//! - v4: TRANSACTION_ABORTABLE (KIP-890). Producers that use transactions v2 never send it.

use std::ops::RangeInclusive;

use carrick_protocol::error_code::ErrorCode;
use kafka_protocol::messages::{AddOffsetsToTxnRequest, AddOffsetsToTxnResponse, ApiKey};

use super::error::{door_code, txn_code};
use super::groups::group_id;
use super::transactions::{fenced_since, producer};
use super::{Api, Context, Reply, ResponseOf};
use crate::access::Operation;
use crate::transaction::Version;

pub struct AddOffsetsToTxn;

impl Api for AddOffsetsToTxn {
    const KEY: ApiKey = ApiKey::AddOffsetsToTxn;
    const VERSIONS: RangeInclusive<i16> = 0..=4;
    type Request = AddOffsetsToTxnRequest;

    fn handle(ctx: &Context, version: i16, request: Self::Request) -> Reply<ResponseOf<Self>> {
        let who = producer(request.producer_id, request.producer_epoch);
        let groups = [group_id(&request.group_id)];
        let id = &request.transactional_id;
        let transactions = ctx
            .transactional_id(id, Operation::Write)
            .and_then(|transactions| ctx.group(&groups[0], Operation::Read).map(|_| transactions));
        let transactions = match transactions {
            Ok(transactions) => transactions,
            Err(error) => {
                let code = door_code(error).0;
                return Reply::Now(AddOffsetsToTxnResponse::default().with_error_code(code));
            }
        };
        let added = transactions.add(id, who, &[], &groups, Version::V1);
        Reply::Later(Box::pin(async move {
            let code = added.await.map_or_else(txn_code, |()| ErrorCode::NONE);
            AddOffsetsToTxnResponse::default().with_error_code(fenced_since(version, 2, code).0)
        }))
    }
}
