//! Credentials in the form of Kafka's configs and SASL messages, for both sides of a connection: a
//! link presents them to its source, a listener checks its clients'.
//!
//! Pure: text and bytes in, text and bytes out. Nothing here reads a file, a clock or random
//! numbers. Invariant: no error and no `Debug` output shows a secret.

mod authority;
pub mod bearer;
pub mod jaas;
mod mechanism;
pub mod pem;
mod pkcs12;
mod sasl;
pub mod scram;
mod secret;
pub mod store;

pub use authority::is_authority;
pub use mechanism::Mechanism;
pub use sasl::are_equal;
pub use secret::Secret;
