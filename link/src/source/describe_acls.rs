//! DescribeAcls (API key 29): all ACLs of the source.
//!
//! Versions 1 to 3; any broker has all of them. A source without an authorizer answers
//! `SECURITY_DISABLED`.

use std::ops::RangeInclusive;

use carrick_protocol::error_code::ErrorCode;
use kafka_protocol::messages as wire;
use kafka_protocol::messages::describe_acls_response::DescribeAclsResource;

use super::SourceError;
use super::connection::Connection;
use crate::acls::{Acl, AclOperation, AclPattern, AclPermission, AclResource, SourceAcls};

pub(super) const VERSIONS: RangeInclusive<i16> = 1..=3;
/// Each kind, pattern, operation or permission.
const ANY: i8 = 1;

/// Asks one broker.
pub(super) async fn describe_acls(connection: &Connection) -> Result<SourceAcls, SourceError> {
    let response = connection.call(|_| request()).await?;
    let code = ErrorCode(response.error_code);
    if code.is_err() {
        let words = response.error_message.map(|words| words.to_string());
        return Err(connection.refused::<wire::DescribeAclsRequest>(code, words));
    }
    Ok(from_wire(&response))
}

fn request() -> wire::DescribeAclsRequest {
    wire::DescribeAclsRequest::default()
        .with_resource_type_filter(ANY)
        .with_resource_name_filter(None)
        .with_pattern_type_filter(ANY)
        .with_principal_filter(None)
        .with_host_filter(None)
        .with_operation(ANY)
        .with_permission_type(ANY)
}

fn from_wire(response: &wire::DescribeAclsResponse) -> SourceAcls {
    let mut found = SourceAcls::default();
    for resource in &response.resources {
        for acl in acls_of(resource) {
            match acl {
                Some(acl) => found.acls.push(acl),
                None => found.unknown += 1,
            }
        }
    }
    found
}

fn acls_of(resource: &DescribeAclsResource) -> impl Iterator<Item = Option<Acl>> + '_ {
    resource.acls.iter().map(|acl| {
        Some(Acl {
            resource: AclResource::from_code(resource.resource_type)?,
            pattern: AclPattern::from_code(resource.pattern_type)?,
            name: resource.resource_name.to_string(),
            principal: acl.principal.to_string(),
            host: acl.host.to_string(),
            operation: AclOperation::from_code(acl.operation)?,
            permission: AclPermission::from_code(acl.permission_type)?,
        })
    })
}

#[cfg(test)]
mod tests {
    use carrick_protocol::client::encode_request;
    use kafka_protocol::messages::describe_acls_response::AclDescription;

    use super::super::api::wire_text;
    use super::*;

    #[test]
    fn every_version_can_be_written() {
        for version in VERSIONS {
            encode_request(1, "c", &request(), version).unwrap();
        }
    }

    #[test]
    fn acls_are_read_and_unknown_ones_counted() {
        let acl = |operation| {
            AclDescription::default()
                .with_principal(wire_text("User:app"))
                .with_host(wire_text("*"))
                .with_operation(operation)
                .with_permission_type(3)
        };
        let resource = |kind| {
            DescribeAclsResource::default()
                .with_resource_type(kind)
                .with_resource_name(wire_text("orders"))
                .with_pattern_type(4)
                .with_acls(vec![acl(3), acl(99)])
        };
        let response =
            wire::DescribeAclsResponse::default().with_resources(vec![resource(2), resource(77)]);
        let found = from_wire(&response);
        assert_eq!(found.unknown, 3);
        let texts: Vec<String> = found.acls.iter().map(ToString::to_string).collect();
        assert_eq!(
            texts,
            [r#"ALLOW "User:app" from "*" to READ TOPIC:PREFIXED:"orders""#]
        );
    }
}
