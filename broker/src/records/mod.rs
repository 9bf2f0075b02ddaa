//! What Carrick keeps in RocksDB: one file per key, each with its layout and a round-trip test.
//!
//! Prefix bytes, never reused: 1 cluster, 2 topic, 3 topic_config, 4 producer_id_block, 5 group,
//! 6 group_offset, 7 link, 8 mirror, 9 rpo_report, 10 transaction, 11 pending_offset,
//! 12 consumer_group, 13 consumer_member, 14 consumer_target, 15 group_config, 16 client_quota,
//! 17 broker_config, 18 link_secret, 19 group_sync, 20 source_sight, 21 retired_topic,
//! 22 transaction_part.

pub mod broker_config;
pub mod client_quota;
pub mod cluster;
pub mod consumer_group;
pub mod consumer_member;
pub mod consumer_target;
pub mod group;
pub mod group_config;
pub mod group_offset;
pub mod group_sync;
pub mod link;
pub mod link_secret;
pub mod mirror;
mod names;
pub mod pending_offset;
pub mod producer_id_block;
pub mod retired_topic;
pub mod rpo_report;
pub mod source_sight;
pub mod topic;
pub mod topic_config;
pub mod transaction;
pub mod transaction_part;
