//! `CarrickUser` *(own)*: users with SCRAM credentials. Passwords never travel: clients send what a
//! server keeps of them.

use serde::{Deserialize, Serialize};

use super::ResourceMetadata;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UserData {
    /// `CarrickUser`.
    pub kind: String,
    pub metadata: ResourceMetadata,
    pub user_name: String,
    pub credentials: Vec<CredentialKind>,
}

impl UserData {
    pub const KIND: &str = "CarrickUser";
    pub const LIST_KIND: &str = "CarrickUserList";
}

/// What is shown of a credential.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CredentialKind {
    /// `SCRAM-SHA-256` or `SCRAM-SHA-512`.
    pub mechanism: String,
    pub iterations: u32,
}

/// A credential as a server keeps it. It has no `Debug`.
#[derive(Clone, Serialize, Deserialize)]
pub struct CredentialData {
    pub user_name: String,
    pub mechanism: String,
    pub iterations: i64,
    /// In base64, like the keys.
    pub salt: String,
    pub stored_key: String,
    pub server_key: String,
}

/// The body of `POST /users`. It has no `Debug`.
#[derive(Clone, Serialize, Deserialize)]
pub struct SetCredentialsRequest {
    pub data: Vec<CredentialData>,
    /// A user who has a credential for the mechanism keeps it.
    #[serde(default)]
    pub keep_existing: bool,
}

/// The answer.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CredentialsSet {
    /// Credentials that were set.
    pub set: usize,
    /// Credentials that their users had already, and kept.
    pub kept: usize,
}
