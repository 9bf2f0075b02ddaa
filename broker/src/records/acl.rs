//! Prefix 24: one ACL. The key is the ACL, so that none is stored twice.
//!
//! Key: resource kind u8 · pattern u8 · operation u8 · permission u8 · name string · principal string ·
//! host string. The numbers are the codes on Kafka's wire.
//! Value, version 1: version u8 = 1 · is local bool · count u32 · name of a link string, sorted.

use std::collections::BTreeSet;
use std::fmt;

use carrick_storage::codec::{DecodeError, Reader, Writer};

use super::Keyspace;

/// An enum of Kafka's, with the codes that it has on the wire and in records.
macro_rules! coded {
    ($(#[$doc:meta])* $name:ident { $($(#[$each:meta])* $variant:ident = $code:literal $text:literal,)* }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum $name { $($(#[$each])* $variant = $code,)* }

        impl $name {
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// `None` for a code that Kafka does not know, and for those of filters only.
            pub fn from_code(code: i8) -> Option<Self> {
                Self::ALL.iter().copied().find(|it| it.code() == code)
            }

            pub const fn code(self) -> i8 {
                self as i8
            }

            /// As Kafka's messages have it.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $text,)* }
            }
        }
    };
}

coded! {
    /// What is done with a resource (`AclOperation`).
    Operation {
        /// In ACLs only: each of the others.
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
    /// What something is done with (`ResourceType`).
    ResourceKind {
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
    Pattern {
        /// The resource of this name; all of them if it is `*`.
        Literal = 3 "LITERAL",
        /// Each resource whose name begins with this.
        Prefixed = 4 "PREFIXED",
    }
}

coded! {
    /// `AclPermissionType`.
    Permission {
        Deny = 2 "DENY",
        Allow = 3 "ALLOW",
    }
}

/// One ACL (`AclBinding`).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Binding {
    pub kind: ResourceKind,
    pub pattern: Pattern,
    pub name: String,
    /// A type, a colon, a name; `User:*` is everyone.
    pub principal: String,
    /// An address; `*` is every one.
    pub host: String,
    pub operation: Operation,
    pub permission: Permission,
}

impl fmt::Display for Binding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (kind, pattern) = (self.kind.name(), self.pattern.name());
        let (permission, operation) = (self.permission.name(), self.operation.name());
        write!(
            f,
            "{permission} {:?} from {:?} to {operation} {kind}:{pattern}:{:?}",
            self.principal, self.host, self.name
        )
    }
}

impl Binding {
    /// Whether both are about the same resources.
    pub fn is_of_same_pattern(&self, other: &Self) -> bool {
        let pattern = |it: &Self| (it.kind, it.pattern);
        pattern(self) == pattern(other) && self.name == other.name
    }
}

/// Who has set an ACL. It exists as long as there is anyone.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Origins {
    /// Set here, by a client.
    pub is_local: bool,
    /// The links by name that have brought it from their sources.
    pub links: BTreeSet<String>,
}

impl Origins {
    pub fn is_empty(&self) -> bool {
        !self.is_local && self.links.is_empty()
    }
}

pub struct AclKeyspace;

impl Keyspace for AclKeyspace {
    const PREFIX: u8 = 24;
    const NAME: &'static str = "acl";
    type Key = Binding;
    type Value = Origins;

    fn encode_key(key: &Binding, out: &mut Vec<u8>) {
        let codes = [
            key.kind.code(),
            key.pattern.code(),
            key.operation.code(),
            key.permission.code(),
        ];
        for code in codes {
            out.put_u8(code.cast_unsigned());
        }
        out.put_str(&key.name);
        out.put_str(&key.principal);
        out.put_str(&key.host);
    }

    fn decode_key(bytes: &[u8]) -> Result<Binding, DecodeError> {
        let mut reader = Reader::new(bytes);
        let kind = coded(&mut reader, "resource kind", ResourceKind::from_code)?;
        let pattern = coded(&mut reader, "pattern", Pattern::from_code)?;
        let operation = coded(&mut reader, "operation", Operation::from_code)?;
        let permission = coded(&mut reader, "permission", Permission::from_code)?;
        let binding = Binding {
            kind,
            pattern,
            name: reader.str()?.to_owned(),
            principal: reader.str()?.to_owned(),
            host: reader.str()?.to_owned(),
            operation,
            permission,
        };
        reader.finish()?;
        Ok(binding)
    }

    fn encode_value(value: &Origins, out: &mut Vec<u8>) {
        out.put_u8(1);
        out.put_bool(value.is_local);
        out.put_u32(u32::try_from(value.links.len()).unwrap_or(u32::MAX));
        for link in &value.links {
            out.put_str(link);
        }
    }

    fn decode_value(bytes: &[u8]) -> Result<Origins, DecodeError> {
        let mut reader = Reader::new(bytes);
        reader.version(1)?;
        let is_local = reader.bool()?;
        let count = reader.u32()?;
        let mut links = BTreeSet::new();
        for _ in 0..count {
            links.insert(reader.str()?.to_owned());
        }
        reader.finish()?;
        Ok(Origins { is_local, links })
    }
}

fn coded<T>(
    reader: &mut Reader<'_>,
    what: &str,
    from_code: fn(i8) -> Option<T>,
) -> Result<T, DecodeError> {
    let code = reader.u8()?;
    from_code(code.cast_signed()).ok_or_else(|| DecodeError::new(format!("{what} {code}")))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use proptest::sample::select;

    use super::*;

    fn any_binding() -> impl Strategy<Value = Binding> {
        let codes = (
            select(ResourceKind::ALL),
            select(Pattern::ALL),
            select(Operation::ALL),
            select(Permission::ALL),
        );
        (codes, ".{0,20}", ".{0,20}", ".{0,20}").prop_map(|(codes, name, principal, host)| {
            let (kind, pattern, operation, permission) = codes;
            Binding {
                kind,
                pattern,
                name,
                principal,
                host,
                operation,
                permission,
            }
        })
    }

    proptest! {
        #[test]
        fn a_record_reads_back(
            binding in any_binding(),
            is_local in any::<bool>(),
            links in prop::collection::btree_set(".{0,20}", 0..4),
        ) {
            let origins = Origins { is_local, links };
            let (mut key, mut value) = (Vec::new(), Vec::new());
            AclKeyspace::encode_key(&binding, &mut key);
            AclKeyspace::encode_value(&origins, &mut value);
            prop_assert_eq!(AclKeyspace::decode_key(&key).unwrap(), binding);
            prop_assert_eq!(AclKeyspace::decode_value(&value).unwrap(), origins);
        }

        #[test]
        fn garbage_is_refused_without_panic(bytes in prop::collection::vec(any::<u8>(), 0..60)) {
            let _ = AclKeyspace::decode_key(&bytes);
            let _ = AclKeyspace::decode_value(&bytes);
        }
    }

    // As `AclOperation`, `ResourceType`, `PatternType` and `AclPermissionType` number them.
    #[test]
    fn codes_are_kafkas() {
        assert_eq!(Operation::from_code(15), Some(Operation::TwoPhaseCommit));
        assert_eq!(ResourceKind::from_code(7), Some(ResourceKind::User));
        for code in [-1, 0, 1] {
            assert_eq!(Operation::from_code(code), None);
            assert_eq!(ResourceKind::from_code(code), None);
            assert_eq!(Pattern::from_code(code), None);
            assert_eq!(Permission::from_code(code), None);
        }
        assert_eq!(Pattern::from_code(2), None, "MATCH is for filters");
    }
}
