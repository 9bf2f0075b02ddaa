//! The vocabulary of Kafka's wire: ids, record batches, frames, versions, error codes, and the
//! sans-I/O client side.
//!
//! Pure: no I/O, no clock, no runtime. Everything that reads bytes treats them as a stranger's:
//! it returns errors, never panics, and allocates by no length that it has not checked.
//!
//! - [`ids`]: newtypes for offsets, epochs, names, ids.
//! - [`batch`]: record batches as views over bytes.

pub mod batch;
pub mod ids;
