//! CreateAcls (key 30), versions 1–3 (KIP-140, KIP-290).
//!
//! SECURITY_DISABLED for each, as `AclApis` answers without an authorizer.

use std::ops::RangeInclusive;

use carrick_protocol::error_code::ErrorCode;
use kafka_protocol::messages::create_acls_response::AclCreationResult;
use kafka_protocol::messages::{ApiKey, CreateAclsRequest, CreateAclsResponse};

use super::admin::Refusal;
use super::{Api, Context, Reply, ResponseOf};
use crate::access::Operation;

pub struct CreateAcls;

impl Api for CreateAcls {
    const KEY: ApiKey = ApiKey::CreateAcls;
    const VERSIONS: RangeInclusive<i16> = 1..=3;
    type Request = CreateAclsRequest;

    fn handle(ctx: &Context, _version: i16, request: Self::Request) -> Reply<ResponseOf<Self>> {
        let refusal = match ctx.cluster(Operation::Alter) {
            Ok(_) => Refusal::new(ErrorCode::SECURITY_DISABLED, "No Authorizer is configured."),
            Err(error) => error.into(),
        };
        let refused = AclCreationResult::default()
            .with_error_code(refusal.code.0)
            .with_error_message(refusal.wire_message());
        let results = vec![refused; request.creations.len()];
        Reply::Now(CreateAclsResponse::default().with_results(results))
    }
}
