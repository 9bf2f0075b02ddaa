//! DescribeAcls (key 29), versions 1–3 (KIP-140, KIP-290).
//!
//! Nothing is authorized here: SECURITY_DISABLED, as `AclApis` answers without an authorizer. Tools and
//! MirrorMaker 2 know what that means.

use std::ops::RangeInclusive;

use carrick_protocol::error_code::ErrorCode;
use kafka_protocol::messages::{ApiKey, DescribeAclsRequest, DescribeAclsResponse};
use kafka_protocol::protocol::StrBytes;

use super::{Api, Context, Reply, ResponseOf};

/// DescribeAcls.
pub struct DescribeAcls;

impl Api for DescribeAcls {
    const KEY: ApiKey = ApiKey::DescribeAcls;
    const VERSIONS: RangeInclusive<i16> = 1..=3;
    type Request = DescribeAclsRequest;

    fn handle(_ctx: &Context, _version: i16, _request: Self::Request) -> Reply<ResponseOf<Self>> {
        let message = StrBytes::from_static_str("No Authorizer is configured on the broker");
        let response = DescribeAclsResponse::default()
            .with_error_code(ErrorCode::SECURITY_DISABLED.0)
            .with_error_message(Some(message));
        Reply::Now(response)
    }
}
