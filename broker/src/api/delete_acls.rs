//! DeleteAcls (key 31), versions 1–3 (KIP-140, KIP-290).
//!
//! SECURITY_DISABLED for each filter, as `AclApis` answers without an authorizer.

use std::ops::RangeInclusive;

use carrick_protocol::error_code::ErrorCode;
use kafka_protocol::messages::delete_acls_response::DeleteAclsFilterResult;
use kafka_protocol::messages::{ApiKey, DeleteAclsRequest, DeleteAclsResponse};
use kafka_protocol::protocol::StrBytes;

use super::{Api, Context, Reply, ResponseOf};

/// DeleteAcls.
pub struct DeleteAcls;

impl Api for DeleteAcls {
    const KEY: ApiKey = ApiKey::DeleteAcls;
    const VERSIONS: RangeInclusive<i16> = 1..=3;
    type Request = DeleteAclsRequest;

    fn handle(_ctx: &Context, _version: i16, request: Self::Request) -> Reply<ResponseOf<Self>> {
        let message = StrBytes::from_static_str("No Authorizer is configured.");
        let refused = DeleteAclsFilterResult::default()
            .with_error_code(ErrorCode::SECURITY_DISABLED.0)
            .with_error_message(Some(message));
        let results = vec![refused; request.filters.len()];
        Reply::Now(DeleteAclsResponse::default().with_filter_results(results))
    }
}
