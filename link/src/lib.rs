//! Mirrors a source cluster into something that implements this crate's ports.

pub mod config;
pub mod properties;
pub mod source;
