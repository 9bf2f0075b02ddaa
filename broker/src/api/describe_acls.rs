//! DescribeAcls (key 29), versions 1–3 (KIP-140, KIP-290).
//!
//! Those of links, too. v2 is flexible, v3 adds users as resources. Without an authorizer:
//! SECURITY_DISABLED, as `AclApis` answers. Tools and MirrorMaker 2 know what that means.

use std::ops::RangeInclusive;

use kafka_protocol::messages::describe_acls_response::DescribeAclsResource;
use kafka_protocol::messages::{ApiKey, DescribeAclsRequest, DescribeAclsResponse};

use super::acls::{acls, described_filter, description, resource};
use super::admin::Refusal;
use super::{Api, Context, Reply, ResponseOf};
use crate::access::{Binding, Operation};

pub struct DescribeAcls;

impl Api for DescribeAcls {
    const KEY: ApiKey = ApiKey::DescribeAcls;
    const VERSIONS: RangeInclusive<i16> = 1..=3;
    const LISTS: bool = true;
    type Request = DescribeAclsRequest;

    fn handle(ctx: &Context, version: i16, request: Self::Request) -> Reply<ResponseOf<Self>> {
        let response = DescribeAclsResponse::default();
        Reply::Now(match described(ctx, version, &request) {
            Ok(resources) => response.with_resources(resources),
            Err(refusal) => response
                .with_error_code(refusal.code.0)
                .with_error_message(refusal.wire_message()),
        })
    }
}

fn described(
    ctx: &Context,
    version: i16,
    request: &DescribeAclsRequest,
) -> Result<Vec<DescribeAclsResource>, Refusal> {
    let disabled = "No Authorizer is configured on the broker";
    let acls = acls(ctx, Operation::Describe, disabled)?;
    let filter = described_filter(request)?;
    let (all, mut resources) = (acls.all(), Vec::new());
    let mut last: Option<&Binding> = None;
    for (binding, _) in all.matching(&filter) {
        // ACLs of a pattern are next to each other.
        if last.is_none_or(|last| !last.is_of_same_pattern(binding)) {
            let resource = resource(binding);
            ctx.room.take_item(version, &resource)?;
            resources.push(resource);
        }
        let acl = description(binding);
        ctx.room.take_item(version, &acl)?;
        if let Some(resource) = resources.last_mut() {
            resource.acls.push(acl);
        }
        last = Some(binding);
    }
    Ok(resources)
}
