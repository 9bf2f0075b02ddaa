//! Mirrors a source cluster into something that implements this crate's ports.

pub mod clock;
pub mod config;
pub mod description;
pub mod error;
pub mod manager;
pub mod ports;
pub mod properties;
pub mod record;
pub mod report;
pub mod source;
pub mod state;
pub mod verify;

pub use error::LinkError;
pub use manager::LinkManager;
