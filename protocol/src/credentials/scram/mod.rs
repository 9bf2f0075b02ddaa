//! SCRAM (RFC 5802, RFC 7677) as Kafka speaks it: no channel binding, and passwords as their UTF-8 bytes
//! (Kafka leaves SASLprep out).
//!
//! [`keys`] is the arithmetic that client and server share, [`message`] the text of the messages,
//! within limits; [`Client`] is the client's side of a conversation, [`Server`] the other side, which
//! holds a [`Credential`] in place of the password.

mod client;
mod credential;
mod keys;
mod message;
mod server;

pub use client::{Client, ServerProof};
pub use credential::{Credential, CredentialError};
pub use keys::{ClientKey, Hash, SaltedPassword, ServerKey, StoredKey};
pub use message::{ITERATIONS_MAX, ITERATIONS_MIN, MESSAGE_MAX_BYTES, ServerFirst, escaped, text};
pub use server::{ClientFirst, Server};
