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

/// Who may do what.
#[derive(Debug, Default)]
pub struct Access {
    #[cfg(test)]
    refused: parking_lot::Mutex<Vec<(Operation, ResourceKind, String)>>,
}

impl Access {
    /// Whether the principal may.
    pub fn allows(&self, who: &Principal, operation: Operation, resource: Resource<'_>) -> bool {
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
        let named = (operation, resource.kind(), name_of(resource).to_owned());
        self.refused.lock().push(named);
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
fn name_of(resource: Resource<'_>) -> &str {
    match resource {
        Resource::Cluster => "",
        Resource::Topic(name) | Resource::Group(name) | Resource::TransactionalId(name) => name,
    }
}
