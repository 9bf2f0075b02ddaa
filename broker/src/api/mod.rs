//! The Kafka protocol: one file per API key, all of them listed once, in [`table`].

#[cfg(test)]
mod acl_tests;
mod audited;
pub mod context;
pub mod door;
#[cfg(test)]
mod door_matrix_tests;
#[cfg(test)]
mod door_tests;
pub mod error;
pub mod table;

pub mod acls;
mod add_offsets_to_txn;
pub mod add_partitions_to_txn;
mod admin;
#[cfg(test)]
mod admin_tests;
pub mod alter_client_quotas;
pub mod alter_configs;
pub mod alter_partition_reassignments;
pub mod alter_replica_log_dirs;
pub mod alter_user_scram_credentials;
pub mod api_versions;
#[cfg(test)]
mod by_topic_id_tests;
mod configs;
pub mod consumer_group_describe;
pub mod consumer_group_heartbeat;
pub mod create_acls;
pub mod create_partitions;
pub mod create_topics;
pub mod delete_acls;
pub mod delete_groups;
pub mod delete_records;
pub mod delete_topics;
pub mod describe_acls;
pub mod describe_client_quotas;
pub mod describe_cluster;
pub mod describe_configs;
pub mod describe_groups;
pub mod describe_log_dirs;
pub mod describe_producers;
pub mod describe_quorum;
pub mod describe_topic_partitions;
pub mod describe_transactions;
pub mod describe_user_scram_credentials;
pub mod elect_leaders;
pub mod end_txn;
pub mod features;
pub mod fetch;
pub mod find_coordinator;
mod groups;
pub mod heartbeat;
pub mod incremental_alter_configs;
pub mod init_producer_id;
pub mod join_group;
pub mod leave_group;
pub mod list_config_resources;
pub mod list_groups;
pub mod list_offsets;
pub mod list_partition_reassignments;
pub mod list_transactions;
pub mod metadata;
pub mod offset_commit;
pub mod offset_delete;
pub mod offset_fetch;
pub mod offset_for_leader_epoch;
mod placement;
pub mod produce;
mod reply;
pub mod room;
pub mod sasl_authenticate;
pub mod sasl_handshake;
pub mod sync_group;
pub mod throttle;
mod transactions;
pub mod txn_offset_commit;
pub mod write_txn_markers;

pub use context::{Connection, Context};
pub use reply::{BoxFuture, Encoded, Frame, Reply};
pub use table::{Api, Order, ResponseOf};
