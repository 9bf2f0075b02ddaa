//! ACLs as requests and answers have them.

use std::sync::Arc;

use carrick_protocol::error_code::ErrorCode;
use kafka_protocol::messages::create_acls_request::AclCreation;
use kafka_protocol::messages::delete_acls_request::DeleteAclsFilter;
use kafka_protocol::messages::{DescribeAclsRequest, delete_acls_response, describe_acls_response};
use kafka_protocol::protocol::StrBytes;

use super::Context;
use super::admin::Refusal;
use super::groups::text;
use crate::access::{
    Acls, Binding, Filter, Operation, Pattern, PatternFilter, Permission, ResourceKind, check,
};

/// The codes of filters that stand for all, and for what applies to a resource.
pub(super) const ANY: i8 = 1;
pub(super) const MATCH: i8 = 2;

/// The ACLs, for a principal that may do that with the cluster.
///
/// # Errors
/// `disabled` without an authorizer.
pub(super) fn acls(
    ctx: &Context,
    operation: Operation,
    disabled: &str,
) -> Result<Arc<Acls>, Refusal> {
    let acls = ctx.cluster(operation)?.acls();
    acls.ok_or_else(|| Refusal::new(ErrorCode::SECURITY_DISABLED, disabled))
}

/// An ACL that can be set.
pub(super) fn binding(asked: &AclCreation) -> Result<Binding, Refusal> {
    let invalid = |what: &str, code: i8| {
        let name = if code == ANY { "ANY" } else { "UNKNOWN" };
        Refusal::invalid(format!("Invalid {what} {name}"))
    };
    let kind = ResourceKind::from_code(asked.resource_type)
        .ok_or_else(|| invalid("resourceType", asked.resource_type))?;
    let pattern = Pattern::from_code(asked.resource_pattern_type).ok_or_else(|| {
        match asked.resource_pattern_type {
            MATCH => Refusal::invalid("Invalid patternType MATCH"),
            code => invalid("patternType", code),
        }
    })?;
    let operation = Operation::from_code(asked.operation)
        .ok_or_else(|| invalid("operation", asked.operation))?;
    let permission = Permission::from_code(asked.permission_type)
        .ok_or_else(|| invalid("permissionType", asked.permission_type))?;
    let binding = Binding {
        kind,
        pattern,
        name: asked.resource_name.to_string(),
        principal: asked.principal.to_string(),
        host: asked.host.to_string(),
        operation,
        permission,
    };
    check(&binding)?;
    Ok(binding)
}

/// The codes of a filter: resource type, pattern type, operation, permission type.
struct Codes(i8, i8, i8, i8);

fn filter(
    Codes(kind, pattern, operation, permission): Codes,
    [name, principal, host]: [&Option<StrBytes>; 3],
) -> Result<Filter, Refusal> {
    let no_pattern = || Refusal::invalid("Unknown patternFilter.");
    let no_entry = || Refusal::invalid("Unknown entryFilter.");
    let kind = unless_any(kind, ResourceKind::from_code).ok_or_else(no_pattern)?;
    let pattern = match pattern {
        ANY => PatternFilter::Any,
        MATCH => PatternFilter::Match,
        code => PatternFilter::Only(Pattern::from_code(code).ok_or_else(no_pattern)?),
    };
    let operation = unless_any(operation, Operation::from_code).ok_or_else(no_entry)?;
    let permission = unless_any(permission, Permission::from_code).ok_or_else(no_entry)?;
    let text = |given: &Option<StrBytes>| given.as_ref().map(|it| it.to_string());
    Ok(Filter {
        kind,
        pattern,
        name: text(name),
        principal: text(principal),
        host: text(host),
        operation,
        permission,
    })
}

/// `Some(None)` for every one, `None` if there is no such.
fn unless_any<T>(code: i8, from_code: fn(i8) -> Option<T>) -> Option<Option<T>> {
    match code {
        ANY => Some(None),
        code => from_code(code).map(Some),
    }
}

pub(super) fn described_filter(asked: &DescribeAclsRequest) -> Result<Filter, Refusal> {
    let codes = Codes(
        asked.resource_type_filter,
        asked.pattern_type_filter,
        asked.operation,
        asked.permission_type,
    );
    let texts = [
        &asked.resource_name_filter,
        &asked.principal_filter,
        &asked.host_filter,
    ];
    filter(codes, texts)
}

pub(super) fn deleted_filter(asked: &DeleteAclsFilter) -> Result<Filter, Refusal> {
    let codes = Codes(
        asked.resource_type_filter,
        asked.pattern_type_filter,
        asked.operation,
        asked.permission_type,
    );
    let texts = [
        &asked.resource_name_filter,
        &asked.principal_filter,
        &asked.host_filter,
    ];
    filter(codes, texts)
}

/// The resource of an ACL, without ACLs.
pub(super) fn resource(binding: &Binding) -> describe_acls_response::DescribeAclsResource {
    describe_acls_response::DescribeAclsResource::default()
        .with_resource_type(binding.kind.code())
        .with_resource_name(text(&binding.name))
        .with_pattern_type(binding.pattern.code())
}

pub(super) fn description(binding: &Binding) -> describe_acls_response::AclDescription {
    describe_acls_response::AclDescription::default()
        .with_principal(text(&binding.principal))
        .with_host(text(&binding.host))
        .with_operation(binding.operation.code())
        .with_permission_type(binding.permission.code())
}

pub(super) fn deleted(binding: &Binding) -> delete_acls_response::DeleteAclsMatchingAcl {
    delete_acls_response::DeleteAclsMatchingAcl::default()
        .with_resource_type(binding.kind.code())
        .with_resource_name(text(&binding.name))
        .with_pattern_type(binding.pattern.code())
        .with_principal(text(&binding.principal))
        .with_host(text(&binding.host))
        .with_operation(binding.operation.code())
        .with_permission_type(binding.permission.code())
}
