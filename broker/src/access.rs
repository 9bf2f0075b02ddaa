//! What a principal may do with a resource, in the terms of Kafka's ACLs.
//!
//! There are no ACLs yet: every principal may do everything. The APIs' door still asks, for each
//! resource that a request names.

use crate::principal::Principal;

/// What is done with a resource (`AclOperation`); the number is its code on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operation {
    Read = 3,
    Write = 4,
    Create = 5,
    Delete = 6,
    Alter = 7,
    Describe = 8,
    ClusterAction = 9,
    DescribeConfigs = 10,
    AlterConfigs = 11,
    IdempotentWrite = 12,
}

impl Operation {
    /// Kafka's name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Read => "READ",
            Self::Write => "WRITE",
            Self::Create => "CREATE",
            Self::Delete => "DELETE",
            Self::Alter => "ALTER",
            Self::Describe => "DESCRIBE",
            Self::ClusterAction => "CLUSTER_ACTION",
            Self::DescribeConfigs => "DESCRIBE_CONFIGS",
            Self::AlterConfigs => "ALTER_CONFIGS",
            Self::IdempotentWrite => "IDEMPOTENT_WRITE",
        }
    }
}

/// What something is done with, by its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Resource<'a> {
    Cluster,
    Topic(&'a str),
    Group(&'a str),
    TransactionalId(&'a str),
}

/// The resource without its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ResourceKind {
    Cluster,
    Topic,
    Group,
    TransactionalId,
}

impl Resource<'_> {
    pub fn kind(self) -> ResourceKind {
        match self {
            Self::Cluster => ResourceKind::Cluster,
            Self::Topic(_) => ResourceKind::Topic,
            Self::Group(_) => ResourceKind::Group,
            Self::TransactionalId(_) => ResourceKind::TransactionalId,
        }
    }
}

impl ResourceKind {
    /// The operations that exist on it (`AclEntry.supportedOperations`).
    pub fn operations(self) -> &'static [Operation] {
        use Operation::{
            Alter, AlterConfigs, ClusterAction, Create, Delete, Describe, DescribeConfigs,
            IdempotentWrite, Read, Write,
        };
        match self {
            Self::Cluster => &[
                Create,
                ClusterAction,
                DescribeConfigs,
                AlterConfigs,
                IdempotentWrite,
                Alter,
                Describe,
            ],
            Self::Topic => &[
                Read,
                Write,
                Create,
                Describe,
                Delete,
                Alter,
                DescribeConfigs,
                AlterConfigs,
            ],
            Self::Group => &[Read, Describe, Delete, DescribeConfigs, AlterConfigs],
            Self::TransactionalId => &[Describe, Write],
        }
    }
}

/// An operation on a resource, which has a kind and a name.
#[cfg(test)]
pub type Asked = (Operation, ResourceKind, String);

/// Who may do what.
#[derive(Debug, Default)]
pub struct Access {
    #[cfg(test)]
    refused: parking_lot::Mutex<Vec<Asked>>,
    /// What was asked for since [`Access::watch`].
    #[cfg(test)]
    seen: parking_lot::Mutex<Option<Vec<Asked>>>,
}

impl Access {
    /// Whether the principal may.
    pub fn allows(&self, who: &Principal, operation: Operation, resource: Resource<'_>) -> bool {
        #[cfg(test)]
        self.note(operation, resource);
        #[cfg(test)]
        if self.is_refused(operation, resource) {
            tracing::debug!(%who, ?operation, ?resource, "refused");
            return false;
        }
        let _ = (who, operation, resource);
        true
    }
}

#[cfg(test)]
impl Access {
    /// From now on this is refused for everyone.
    pub fn refuse(&self, operation: Operation, resource: Resource<'_>) {
        self.refused.lock().push(asked(operation, resource));
    }

    /// From now on it is noted what is asked for.
    pub fn watch(&self) {
        *self.seen.lock() = Some(Vec::new());
    }

    /// What was asked for since [`Self::watch`], in order.
    pub fn seen(&self) -> Vec<Asked> {
        self.seen.lock().clone().unwrap_or_default()
    }

    fn note(&self, operation: Operation, resource: Resource<'_>) {
        if let Some(seen) = &mut *self.seen.lock() {
            seen.push(asked(operation, resource));
        }
    }

    /// From now on every operation is allowed again.
    pub fn refuse_nothing(&self) {
        self.refused.lock().clear();
    }

    fn is_refused(&self, operation: Operation, resource: Resource<'_>) -> bool {
        let (kind, name) = (resource.kind(), name_of(resource));
        let refused = self.refused.lock();
        refused
            .iter()
            .any(|(o, k, n)| *o == operation && *k == kind && n == name)
    }
}

#[cfg(test)]
fn asked(operation: Operation, resource: Resource<'_>) -> Asked {
    (operation, resource.kind(), name_of(resource).to_owned())
}

#[cfg(test)]
fn name_of(resource: Resource<'_>) -> &str {
    match resource {
        Resource::Cluster => "",
        Resource::Topic(name) | Resource::Group(name) | Resource::TransactionalId(name) => name,
    }
}
