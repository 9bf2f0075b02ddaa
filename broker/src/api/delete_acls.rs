//! DeleteAcls (key 31), versions 1–3 (KIP-140, KIP-290).
//!
//! SECURITY_DISABLED for each filter, as `AclApis` answers without an authorizer.

use std::ops::RangeInclusive;

use carrick_protocol::error_code::ErrorCode;
use kafka_protocol::messages::delete_acls_response::DeleteAclsFilterResult;
use kafka_protocol::messages::{ApiKey, DeleteAclsRequest, DeleteAclsResponse};

use super::admin::Refusal;
use super::{Api, Context, Reply, ResponseOf};
use crate::access::Operation;

pub struct DeleteAcls;

impl Api for DeleteAcls {
    const KEY: ApiKey = ApiKey::DeleteAcls;
    const VERSIONS: RangeInclusive<i16> = 1..=3;
    type Request = DeleteAclsRequest;

    fn handle(ctx: &Context, _version: i16, request: Self::Request) -> Reply<ResponseOf<Self>> {
        let refusal = match ctx.cluster(Operation::Alter) {
            Ok(_) => Refusal::new(ErrorCode::SECURITY_DISABLED, "No Authorizer is configured."),
            Err(error) => error.into(),
        };
        let refused = DeleteAclsFilterResult::default()
            .with_error_code(refusal.code.0)
            .with_error_message(refusal.wire_message());
        let results = vec![refused; request.filters.len()];
        Reply::Now(DeleteAclsResponse::default().with_filter_results(results))
    }
}
