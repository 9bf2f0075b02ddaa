//! DescribeAcls (key 29), versions 1–3 (KIP-140, KIP-290).
//!
//! Nothing is authorized here: SECURITY_DISABLED, as `AclApis` answers without an authorizer. Tools and
//! MirrorMaker 2 know what that means.

use std::ops::RangeInclusive;

use carrick_protocol::error_code::ErrorCode;
use kafka_protocol::messages::{ApiKey, DescribeAclsRequest, DescribeAclsResponse};

use super::admin::Refusal;
use super::{Api, Context, Reply, ResponseOf};
use crate::access::Operation;

pub struct DescribeAcls;

impl Api for DescribeAcls {
    const KEY: ApiKey = ApiKey::DescribeAcls;
    const VERSIONS: RangeInclusive<i16> = 1..=3;
    type Request = DescribeAclsRequest;

    fn handle(ctx: &Context, _version: i16, _request: Self::Request) -> Reply<ResponseOf<Self>> {
        let refusal = match ctx.cluster(Operation::Describe) {
            Ok(_) => Refusal::new(
                ErrorCode::SECURITY_DISABLED,
                "No Authorizer is configured on the broker",
            ),
            Err(error) => error.into(),
        };
        let response = DescribeAclsResponse::default()
            .with_error_code(refusal.code.0)
            .with_error_message(refusal.wire_message());
        Reply::Now(response)
    }
}
