//! The Kafka protocol: one file per API key, all of them listed once, in [`table`].

pub mod context;
pub mod error;
pub mod table;

pub mod api_versions;
pub mod delete_groups;
pub mod describe_groups;
pub mod fetch;
pub mod find_coordinator;
mod groups;
pub mod heartbeat;
pub mod init_producer_id;
pub mod join_group;
pub mod leave_group;
pub mod list_groups;
pub mod list_offsets;
pub mod metadata;
pub mod offset_commit;
pub mod offset_delete;
pub mod offset_fetch;
pub mod offset_for_leader_epoch;
pub mod produce;
pub mod sync_group;

pub use context::{Connection, Context};
pub use table::{Api, BoxFuture, Frame, Reply, ResponseOf};
