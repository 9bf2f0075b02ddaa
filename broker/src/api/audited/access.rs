//! ACLs and users.

use kafka_protocol::messages::{
    AlterUserScramCredentialsRequest, CreateAclsRequest, DeleteAclsRequest,
};

use super::{Audited, CLUSTER, Lines};
use crate::api::ResponseOf;
use crate::api::alter_user_scram_credentials::AlterUserScramCredentials;
use crate::api::create_acls::CreateAcls;
use crate::api::delete_acls::DeleteAcls;

/// `AclOperation`, `ScramMechanism`, `AclPermissionType`, `PatternType` and `ResourceType` by their
/// codes.
const OPERATIONS: [&str; 15] = [
    "UNKNOWN",
    "ANY",
    "ALL",
    "READ",
    "WRITE",
    "CREATE",
    "DELETE",
    "ALTER",
    "DESCRIBE",
    "CLUSTER_ACTION",
    "DESCRIBE_CONFIGS",
    "ALTER_CONFIGS",
    "IDEMPOTENT_WRITE",
    "CREATE_TOKENS",
    "DESCRIBE_TOKENS",
];
const MECHANISMS: [&str; 3] = ["UNKNOWN", "SCRAM-SHA-256", "SCRAM-SHA-512"];
const PERMISSIONS: [&str; 4] = ["UNKNOWN", "ANY", "DENY", "ALLOW"];
const PATTERNS: [&str; 5] = ["UNKNOWN", "ANY", "MATCH", "LITERAL", "PREFIXED"];
const KINDS: [&str; 8] = [
    "unknown",
    "any",
    "topic",
    "group",
    "cluster",
    "transactional_id",
    "delegation_token",
    "user",
];

fn named(names: &'static [&'static str], code: i8) -> &'static str {
    let at = usize::try_from(code).unwrap_or_default();
    names.get(at).copied().unwrap_or("unknown")
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
            named(&PERMISSIONS, self.permission),
            self.principal.unwrap_or("any principal"),
            named(&OPERATIONS, self.operation),
            self.host.unwrap_or("any host"),
            named(&PATTERNS, self.pattern),
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
            let each = of_user
                .map(|(_, verb, mechanism)| format!("{} {verb}", named(&MECHANISMS, *mechanism)));
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
            let target = (named(&KINDS, acl.resource_type), acl.resource_name.as_str());
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
                let target = (named(&KINDS, acl.resource_type), acl.resource_name.as_str());
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
                let kind = named(&KINDS, filter.resource_type_filter);
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
