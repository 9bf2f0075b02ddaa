//! Resources, and sets of operations on them.

pub use crate::records::acl::{Operation, ResourceKind};

/// What something is done with, by its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Resource<'a> {
    Cluster,
    Topic(&'a str),
    Group(&'a str),
    TransactionalId(&'a str),
}

/// The name of the cluster in ACLs.
pub const CLUSTER_NAME: &str = "kafka-cluster";

impl<'a> Resource<'a> {
    pub fn kind(self) -> ResourceKind {
        match self {
            Self::Cluster => ResourceKind::Cluster,
            Self::Topic(_) => ResourceKind::Topic,
            Self::Group(_) => ResourceKind::Group,
            Self::TransactionalId(_) => ResourceKind::TransactionalId,
        }
    }

    /// Its name in ACLs.
    pub fn name(self) -> &'a str {
        match self {
            Self::Cluster => CLUSTER_NAME,
            Self::Topic(name) | Self::Group(name) | Self::TransactionalId(name) => name,
        }
    }
}

impl ResourceKind {
    /// The operations that exist on it (`AclEntry.supportedOperations`).
    pub fn operations(self) -> &'static [Operation] {
        use Operation::{
            Alter, AlterConfigs, ClusterAction, Create, CreateTokens, Delete, Describe,
            DescribeConfigs, DescribeTokens, IdempotentWrite, Read, TwoPhaseCommit, Write,
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
            Self::TransactionalId => &[Describe, Write, TwoPhaseCommit],
            Self::DelegationToken => &[Describe],
            Self::User => &[CreateTokens, DescribeTokens],
        }
    }
}

/// Operations as bits by their codes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Operations(u16);

impl Operations {
    pub const NONE: Self = Self(0);
    /// Every one that a request may ask for.
    pub const EVERY: Self = Self(!0);

    pub const fn of(all: &[Operation]) -> Self {
        let mut bits = 0;
        let mut i = 0;
        while i < all.len() {
            bits |= 1 << all[i] as u16;
            i += 1;
        }
        Self(bits)
    }

    pub fn add(&mut self, operation: Operation) {
        self.0 |= 1 << operation as u16;
    }

    pub fn has(self, operation: Operation) -> bool {
        self.0 & (1 << operation as u16) != 0
    }

    pub fn has_any(self, others: Self) -> bool {
        self.0 & others.0 != 0
    }

    pub fn with(self, others: Self) -> Self {
        Self(self.0 | others.0)
    }

    pub fn without(self, others: Self) -> Self {
        Self(self.0 & !others.0)
    }
}
