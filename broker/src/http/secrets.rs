//! `/secrets`: what protects stored secrets, and their rotation. No key and no secret is ever shown.

use std::sync::Arc;

use axum::Json;

use super::App;
use super::error::ApiError;
use super::extract::Base;
use super::model::ResourceMetadata;
use super::model::secrets::{RotationData, SecretsData};
use crate::access::Operation;
use crate::secrets::{SecretError, Vault};

/// What protects stored secrets.
///
/// # Errors
/// 403.
pub async fn read(app: App, base: Base) -> Result<Json<SecretsData>, ApiError> {
    let vault = Arc::clone(app.door.cluster(Operation::Describe)?.vault());
    let described = on_disk(&vault, Vault::describe).await?;
    Ok(Json(SecretsData {
        kind: SecretsData::KIND.to_owned(),
        metadata: ResourceMetadata::new(base.at("/secrets")),
        key_source: described.source,
        key_is_in_data_folder: described.is_in_data_folder,
        generation: described.current.map(|(generation, _)| generation),
        generation_time_ms: described.current.map(|(_, made_ms)| made_ms),
        older_generations: described.older,
        secrets: described.secrets,
        unreadable: described.unreadable,
    }))
}

/// Encrypts all secrets with a new key.
///
/// # Errors
/// 403; 503 if a rotation is in progress.
pub async fn rotate(app: App) -> Result<Json<RotationData>, ApiError> {
    app.noted.target("secrets", "all");
    let vault = Arc::clone(app.door.cluster(Operation::Alter)?.vault());
    let rotated = on_disk(&vault, Vault::rotate).await?;
    Ok(Json(RotationData {
        generation: rotated.generation,
        renewed: rotated.renewed,
        unreadable: rotated.unreadable,
        is_master_key_new: rotated.is_master_new,
    }))
}

async fn on_disk<T: Send + 'static>(
    vault: &Arc<Vault>,
    work: fn(&Vault) -> Result<T, SecretError>,
) -> Result<T, ApiError> {
    let vault = Arc::clone(vault);
    let done = tokio::task::spawn_blocking(move || work(&vault)).await;
    let done = done.map_err(|error| ApiError::internal(error.to_string()))?;
    Ok(done?)
}
