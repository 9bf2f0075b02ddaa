//! Who clients are: users with their SCRAM credentials, and how a client shows which of them it is.
//!
//! Invariants: a secret is compared in constant time, and never shown; whether a user exists does not
//! show in how, or how fast, a wrong password is refused; what a client sends is read within limits.

mod bringing;
mod decoy;
mod exchange;
mod login;
#[cfg(test)]
mod login_tests;
mod mechanisms;
pub mod oauth;
mod password;
mod users;

pub use bringing::Given;
pub use login::{Known, Login, Step};
pub use mechanisms::Mechanisms;
pub use password::PasswordError;
pub use users::{Change, UserError, Users, random_text};
