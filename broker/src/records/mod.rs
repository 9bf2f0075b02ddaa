//! What Carrick stores in RocksDB: one file per key, each with its layout and a round-trip test.
//! Plain data: it knows no domain.
//!
//! [`keyspaces!`] lists them all. A keyspace belongs to one of two stores, and the compiler refuses
//! to write it through the other: what the cluster decides ([`crate::metadata`]), and what
//! coordinators of groups and transactions have recorded ([`crate::journal`]). Prefix bytes are
//! never reused.

pub mod acl;
pub mod broker_config;
pub mod client_quota;
pub mod cluster;
pub mod consumer_group;
pub mod consumer_member;
pub mod consumer_target;
pub mod data_key;
pub mod group;
pub mod group_config;
pub mod group_offset;
pub mod group_sync;
mod keyspace;
pub mod link;
pub mod link_secret;
pub mod member_ids;
pub mod mirror;
mod names;
pub mod pending_offset;
pub mod producer_id_block;
pub mod retired_topic;
pub mod rpo_report;
pub mod scram_credential;
pub mod sealed;
pub mod source_sight;
pub mod topic;
pub mod topic_config;
pub mod transaction;
pub mod transaction_part;

pub use keyspace::{
    Corrupt, Edit, Keyspace, OfCluster, OfCoordinators, Records, decode_key, decode_value,
    stored_key, stored_prefix,
};

/// Each keyspace with its prefix byte, by the store that it belongs to. Two with one prefix, or a
/// prefix that is not the one in its file, do not compile.
macro_rules! keyspaces {
    ($($store:ident { $($prefix:literal $keyspace:path,)* })*) => {
        $($(impl $store for $keyspace {})*)*

        const _: () = {
            $($(assert!(<$keyspace>::PREFIX == $prefix, "the file says another prefix");)*)*
        };

        /// Not reachable: for its compile error where a prefix is listed twice.
        #[deny(unreachable_patterns)]
        #[expect(dead_code, reason = "the compiler's check of its patterns is what it is for")]
        const fn are_unique(prefix: u8) -> bool {
            match prefix { $($($prefix => true,)*)* _ => false }
        }
    };
}

keyspaces! {
    OfCluster {
        1 cluster::ClusterKeyspace,
        2 topic::TopicKeyspace,
        3 topic_config::TopicConfigKeyspace,
        4 producer_id_block::ProducerIdBlockKeyspace,
        7 link::LinkKeyspace,
        8 mirror::MirrorKeyspace,
        9 rpo_report::RpoReportKeyspace,
        16 client_quota::ClientQuotaKeyspace,
        17 broker_config::BrokerConfigKeyspace,
        18 link_secret::LinkSecretKeyspace,
        19 group_sync::GroupSyncKeyspace,
        20 source_sight::SourceSightKeyspace,
        21 retired_topic::RetiredTopicKeyspace,
        23 scram_credential::ScramCredentialKeyspace,
        24 acl::AclKeyspace,
        26 data_key::DataKeyKeyspace,
    }
    OfCoordinators {
        5 group::Groups,
        6 group_offset::GroupOffsets,
        10 transaction::Transactions,
        11 pending_offset::PendingOffsets,
        12 consumer_group::ConsumerGroups,
        13 consumer_member::ConsumerMembers,
        14 consumer_target::ConsumerTargets,
        15 group_config::GroupConfigKeyspace,
        22 transaction_part::TransactionParts,
    }
}
