//! The Kafka protocol: one file per API key, all of them listed once, in [`table`].

pub mod context;
pub mod error;
pub mod table;

pub mod api_versions;
pub mod fetch;
pub mod init_producer_id;
pub mod list_offsets;
pub mod metadata;
pub mod offset_for_leader_epoch;
pub mod produce;

pub use context::{Connection, Context};
pub use table::{Api, BoxFuture, Frame, Reply, ResponseOf};
