//! The vocabulary of Kafka's wire and configs: ids, record batches, frames, versions, error codes,
//! credentials, and the sans-I/O client side.
//!
//! Pure: no I/O, no clock, no runtime. Everything that reads bytes treats them as untrusted: it
//! returns errors, never panics, and allocates by no length that it has not checked.
//!
//! - [`ids`]: newtypes for offsets, epochs, names, ids.
//! - [`batch`]: record batches as views over bytes.
//! - [`frame`]: requests as a broker reads them, responses as it writes them.
//! - [`client`]: the other side.
//! - [`shapes`]: checks bodies before the codec allocates by what they say.
//! - [`newer`]: versions that the codec lacks.
//! - [`credentials`]: JAAS lines, PEM, SCRAM, secrets. [`properties`]: Java's `.properties` files.
//! - [`versions`]: what is really supported. [`error_code`]: Kafka's codes by name.

pub mod batch;
pub mod client;
pub mod credentials;
pub mod error_code;
pub mod frame;
pub mod ids;
pub mod newer;
pub mod properties;
pub mod shapes;
pub mod versions;

/// The generated messages and their traits, so that every crate uses the same release.
pub use kafka_protocol;
