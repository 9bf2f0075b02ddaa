//! ACLs and users.

use carrick_protocol::credentials::Mechanism;
use kafka_protocol::messages::{
    AlterUserScramCredentialsRequest, CreateAclsRequest, DeleteAclsRequest,
};

use super::{Audited, CLUSTER, Lines};
use crate::access::{Operation, Pattern, Permission, ResourceKind};
use crate::api::ResponseOf;
use crate::api::acls::{ANY, MATCH};
use crate::api::alter_user_scram_credentials::AlterUserScramCredentials;
use crate::api::create_acls::CreateAcls;
use crate::api::delete_acls::DeleteAcls;
use crate::api::describe_user_scram_credentials::mechanism;

/// The name of a code. Filters have one for everything.
fn named(code: i8, name: fn(i8) -> Option<&'static str>) -> &'static str {
    match code {
        ANY => "ANY",
        code => name(code).unwrap_or("UNKNOWN"),
    }
}

fn operation(code: i8) -> &'static str {
    named(code, |code| Operation::from_code(code).map(Operation::name))
}

fn permission(code: i8) -> &'static str {
    named(code, |code| {
        Permission::from_code(code).map(Permission::name)
    })
}

fn pattern(code: i8) -> &'static str {
    named(code, |code| match code {
        MATCH => Some("MATCH"),
        code => Pattern::from_code(code).map(Pattern::name),
    })
}

fn scram(code: i8) -> &'static str {
    mechanism(code).map_or("UNKNOWN", Mechanism::name)
}

/// What the audit log calls the resource of an ACL.
fn kind(code: i8) -> &'static str {
    match ResourceKind::from_code(code) {
        Some(ResourceKind::Topic) => "topic",
        Some(ResourceKind::Group) => "group",
        Some(ResourceKind::Cluster) => "cluster",
        Some(ResourceKind::TransactionalId) => "transactional_id",
        Some(ResourceKind::DelegationToken) => "delegation_token",
        Some(ResourceKind::User) => "user",
        None if code == ANY => "any",
        None => "unknown",
    }
}

/// An ACL, or a filter of ACLs, but for its resource.
struct Rule<'a> {
    pattern: i8,
    principal: Option<&'a str>,
    host: Option<&'a str>,
    operation: i8,
    permission: i8,
}

impl Rule<'_> {
    fn text(&self) -> String {
        format!(
            "{} {} {} from {} ({})",
            permission(self.permission),
            self.principal.unwrap_or("any principal"),
            operation(self.operation),
            self.host.unwrap_or("any host"),
            pattern(self.pattern),
        )
    }
}

impl Audited for AlterUserScramCredentials {
    fn audit(
        asked: &AlterUserScramCredentialsRequest,
        answer: &ResponseOf<Self>,
        lines: &mut Lines<'_>,
    ) {
        let set = asked
            .upsertions
            .iter()
            .map(|it| (&it.name, "set", it.mechanism));
        let removed = asked.deletions.iter();
        let removed = removed.map(|it| (&it.name, "removed", it.mechanism));
        let changes: Vec<_> = set.chain(removed).collect();
        for done in &answer.results {
            let of_user = changes.iter().filter(|(name, ..)| **name == done.user);
            let each = of_user.map(|(_, verb, code)| format!("{} {verb}", scram(*code)));
            let detail = each.collect::<Vec<_>>().join(", ");
            lines.add(("user", &done.user), done.error_code, detail);
        }
    }
}

impl Audited for CreateAcls {
    fn audit(asked: &CreateAclsRequest, answer: &ResponseOf<Self>, lines: &mut Lines<'_>) {
        for (acl, done) in asked.creations.iter().zip(&answer.results) {
            let rule = Rule {
                pattern: acl.resource_pattern_type,
                principal: Some(&acl.principal),
                host: Some(&acl.host),
                operation: acl.operation,
                permission: acl.permission_type,
            };
            let target = (kind(acl.resource_type), acl.resource_name.as_str());
            lines.add(target, done.error_code, rule.text());
        }
    }
}

impl Audited for DeleteAcls {
    fn audit(asked: &DeleteAclsRequest, answer: &ResponseOf<Self>, lines: &mut Lines<'_>) {
        for (filter, done) in asked.filters.iter().zip(&answer.filter_results) {
            for acl in &done.matching_acls {
                let rule = Rule {
                    pattern: acl.pattern_type,
                    principal: Some(&acl.principal),
                    host: Some(&acl.host),
                    operation: acl.operation,
                    permission: acl.permission_type,
                };
                let target = (kind(acl.resource_type), acl.resource_name.as_str());
                lines.add(target, acl.error_code, rule.text());
            }
            if done.matching_acls.is_empty() {
                let rule = Rule {
                    pattern: filter.pattern_type_filter,
                    principal: filter.principal_filter.as_deref(),
                    host: filter.host_filter.as_deref(),
                    operation: filter.operation,
                    permission: filter.permission_type,
                };
                let kind = kind(filter.resource_type_filter);
                let name = filter.resource_name_filter.as_deref();
                let name = name.unwrap_or(match kind {
                    "cluster" => CLUSTER,
                    _ => "any name",
                });
                let detail = format!("nothing matches {}", rule.text());
                lines.add((kind, name), done.error_code, detail);
            }
        }
    }
}
