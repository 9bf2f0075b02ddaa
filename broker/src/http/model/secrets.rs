//! `CarrickSecrets` *(own)*: what protects the secrets that the broker stores.

use serde::{Deserialize, Serialize};

use super::ResourceMetadata;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SecretsData {
    /// `CarrickSecrets`.
    pub kind: String,
    pub metadata: ResourceMetadata,
    /// Where the master key comes from; never the key.
    pub key_source: String,
    /// Whether that is the data folder, with all that it protects.
    pub key_is_in_data_folder: bool,
    /// The data key that secrets are encrypted with; `null` before there is a secret.
    pub generation: Option<u32>,
    /// Since when there is this data key.
    pub generation_time_ms: Option<i64>,
    /// Data keys that older secrets still need.
    pub older_generations: usize,
    /// How many secrets are stored.
    pub secrets: usize,
    /// Secrets that can't be read, by name.
    pub unreadable: Vec<String>,
}

impl SecretsData {
    pub const KIND: &str = "CarrickSecrets";
}

/// The answer to a rotation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RotationData {
    /// The data key that secrets are encrypted with now.
    pub generation: u32,
    /// How many are.
    pub renewed: usize,
    /// Secrets that can't be read, by name: they stay as they are, and so do the keys that they need.
    pub unreadable: Vec<String>,
    /// Whether the master key is new, too.
    pub is_master_key_new: bool,
}
