//! What every client library is asked to do, one file a capability.

pub mod group;
