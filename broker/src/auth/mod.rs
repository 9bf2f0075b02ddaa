//! Who clients are: users with their SCRAM credentials, and how a client shows which of them it is.
//!
//! Invariants: a secret is compared in constant time, and never shown; whether a user exists does not
//! show in how, or how fast, a wrong password is refused; what a client sends is read within limits.

#![allow(
    dead_code,
    unused_imports,
    reason = "listeners that ask for a login are being built"
)]

mod decoy;
pub mod oauth;
mod password;
mod users;

pub use password::PasswordError;
pub use users::{Change, UserError, Users};
