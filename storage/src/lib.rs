//! Logs and metadata on disk. Synchronous: no runtime, no network, no topic API.
//!
//! - [`log`]: one partition's log of segments, mapped into memory.
//! - [`meta`]: typed keyspaces over RocksDB, for metadata only.

pub mod log;
pub mod meta;
