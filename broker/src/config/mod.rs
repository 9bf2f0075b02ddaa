//! Configuration: the only reader of files and flags. The ground floor: names, values, where a
//! value comes from, and changes while the broker runs. It does not know what the values are for;
//! each domain reads its own from [`Values`].
//!
//! Kafka's names in Java's properties format, then `--override name=value`. An unknown name is
//! refused, and the error suggests the nearest known one. A Kafka name without effect here is named
//! in one warning, unless it asks for security: then nothing starts (`server::security`).

pub mod change;
pub mod def;
pub mod describe;
pub mod dynamic;
pub mod error;
mod families;
pub mod file;
pub mod ignored;
pub mod known;
mod listener;
pub mod notes;
pub mod properties;
mod protocol;
pub mod sensitive;
#[cfg(test)]
mod tests;
pub mod unlisted;
pub mod used;
pub mod values;

pub use def::Kind;
pub use error::ConfigError;
pub use families::{LISTENER, listener_setting};
pub use file::read;
pub use listener::ListenerValues;
pub use properties::{Properties, PropertiesError};
pub use protocol::SecurityProtocol;
pub use sensitive::is_sensitive;
pub use values::Values;
