//! Logs and metadata on disk. Synchronous: no runtime, no network, no topic API.
//!
//! - [`log`]: one partition's log of segments, mapped into memory.
//! - [`flush`]: group commit of logs on flusher threads.
//! - [`disk`]: the data folder, and file operations other than reading and writing.
//! - [`meta`]: keys and values in RocksDB, for metadata only.
//! - [`codec`]: the fields of records and checkpoints as bytes.
//! - [`testing`]: damage to files, for tests.

pub mod codec;
pub mod disk;
pub mod flush;
pub mod log;
pub mod meta;
pub mod testing;
