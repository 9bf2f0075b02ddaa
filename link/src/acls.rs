//! ACLs as a link sees them: at its source, and as they are to be here.
//!
//! Numbers are the codes on Kafka's wire.

use std::fmt;

/// An enum of Kafka's with its codes and names.
macro_rules! coded {
    ($(#[$doc:meta])* $name:ident { $($variant:ident = $code:literal $text:literal,)* }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum $name { $($variant,)* }

        impl $name {
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            pub const fn code(self) -> i8 {
                match self { $(Self::$variant => $code,)* }
            }

            /// As Kafka's messages have it.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $text,)* }
            }

            /// `None` for a code that this version does not know.
            pub fn from_code(code: i8) -> Option<Self> {
                Self::ALL.iter().copied().find(|it| it.code() == code)
            }
        }
    };
}

coded! {
    /// What an ACL is about (`ResourceType`).
    AclResource {
        Topic = 2 "TOPIC",
        Group = 3 "GROUP",
        Cluster = 4 "CLUSTER",
        TransactionalId = 5 "TRANSACTIONAL_ID",
        DelegationToken = 6 "DELEGATION_TOKEN",
        User = 7 "USER",
    }
}

coded! {
    /// How the name of an ACL is meant (`PatternType`).
    AclPattern {
        Literal = 3 "LITERAL",
        Prefixed = 4 "PREFIXED",
    }
}

coded! {
    /// `AclOperation`.
    AclOperation {
        All = 2 "ALL",
        Read = 3 "READ",
        Write = 4 "WRITE",
        Create = 5 "CREATE",
        Delete = 6 "DELETE",
        Alter = 7 "ALTER",
        Describe = 8 "DESCRIBE",
        ClusterAction = 9 "CLUSTER_ACTION",
        DescribeConfigs = 10 "DESCRIBE_CONFIGS",
        AlterConfigs = 11 "ALTER_CONFIGS",
        IdempotentWrite = 12 "IDEMPOTENT_WRITE",
        CreateTokens = 13 "CREATE_TOKENS",
        DescribeTokens = 14 "DESCRIBE_TOKENS",
        TwoPhaseCommit = 15 "TWO_PHASE_COMMIT",
    }
}

coded! {
    /// `AclPermissionType`.
    AclPermission {
        Deny = 2 "DENY",
        Allow = 3 "ALLOW",
    }
}

/// The literal name that means every resource.
pub const EVERY_NAME: &str = "*";

/// One ACL (`AclBinding`).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Acl {
    pub resource: AclResource,
    pub pattern: AclPattern,
    pub name: String,
    /// Type, colon, name.
    pub principal: String,
    /// An address; `*` is every one.
    pub host: String,
    pub operation: AclOperation,
    pub permission: AclPermission,
}

impl fmt::Display for Acl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (permission, operation) = (self.permission.name(), self.operation.name());
        let (resource, pattern) = (self.resource.name(), self.pattern.name());
        write!(
            f,
            "{permission} {:?} from {:?} to {operation} {resource}:{pattern}:{:?}",
            self.principal, self.host, self.name
        )
    }
}

impl Acl {
    /// The ACL here: topics have the prefix in front of their names, and groups if `with_groups`.
    /// `*`, which at the source is each of its topics, is each topic with the prefix here.
    pub(crate) fn renamed(mut self, prefix: &str, with_groups: bool) -> Self {
        let is_renamed = match self.resource {
            AclResource::Topic => true,
            AclResource::Group => with_groups,
            _ => false,
        };
        if !is_renamed || prefix.is_empty() {
            return self;
        }
        if self.pattern == AclPattern::Literal && self.name == EVERY_NAME {
            self.pattern = AclPattern::Prefixed;
            self.name.clear();
        }
        self.name.insert_str(0, prefix);
        self
    }
}

/// What a source answers about its ACLs.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SourceAcls {
    pub acls: Vec<Acl>,
    /// ACLs about things that this version does not know.
    pub unknown: usize,
}

/// What a sync of ACLs has done.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AclsSynced {
    /// New since the last sync.
    pub added: usize,
    /// No longer wanted by the link.
    pub released: usize,
    /// ACLs of clients here that say the opposite of one of the link's, the first few.
    pub conflicts: Vec<Acl>,
    /// How many there are.
    pub conflict_count: usize,
}

/// The user `app` may read.
#[cfg(test)]
pub(crate) fn acl(resource: AclResource, pattern: AclPattern, name: &str) -> Acl {
    Acl {
        resource,
        pattern,
        name: name.to_owned(),
        principal: "User:app".to_owned(),
        host: "*".to_owned(),
        operation: AclOperation::Read,
        permission: AclPermission::Allow,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_renames_topics_and_on_demand_groups() {
        use AclPattern::{Literal, Prefixed};
        use AclResource::{Cluster, Group, Topic, TransactionalId};
        for (resource, (pattern, name), (to_pattern, to_name), with_groups) in [
            (Topic, (Literal, "orders"), (Literal, "west.orders"), false),
            (Topic, (Prefixed, "ord"), (Prefixed, "west.ord"), false),
            (Topic, (Literal, "*"), (Prefixed, "west."), false),
            (Group, (Literal, "app"), (Literal, "app"), false),
            (Group, (Literal, "app"), (Literal, "west.app"), true),
            (Group, (Literal, "*"), (Prefixed, "west."), true),
            (
                Cluster,
                (Literal, "kafka-cluster"),
                (Literal, "kafka-cluster"),
                true,
            ),
            (TransactionalId, (Literal, "*"), (Literal, "*"), true),
        ] {
            let renamed = acl(resource, pattern, name).renamed("west.", with_groups);
            assert_eq!(renamed, acl(resource, to_pattern, to_name));
            let same = acl(resource, pattern, name).renamed("", with_groups);
            assert_eq!(same, acl(resource, pattern, name));
        }
    }

    #[test]
    fn codes_read_back() {
        for resource in AclResource::ALL {
            assert_eq!(AclResource::from_code(resource.code()), Some(*resource));
        }
        for operation in AclOperation::ALL {
            assert_eq!(AclOperation::from_code(operation.code()), Some(*operation));
        }
        assert_eq!(AclResource::from_code(1), None);
        assert_eq!(AclPattern::from_code(2), None);
    }
}
