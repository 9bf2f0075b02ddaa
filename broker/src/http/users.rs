//! `/users` *(own)*: users with SCRAM credentials. Salts and keys are taken, and never shown.

use std::sync::Arc;

use axum::Json;
use axum::http::StatusCode;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use carrick_protocol::credentials::Mechanism;
use carrick_protocol::credentials::scram::Credential;
use serde::Deserialize;

use super::App;
use super::error::ApiError;
use super::extract::{Base, Body, Path, Query};
use super::model::users::{
    CredentialData, CredentialKind, CredentialsSet, SetCredentialsRequest, UserData,
};
use super::model::{Collection, ResourceMetadata, escape};
use crate::access::Operation;
use crate::auth::{Given, UserError, Users};

/// Credentials of one request.
const CREDENTIALS_MAX: usize = 1_000;

/// Every user.
///
/// # Errors
/// 403.
pub async fn list(app: App, base: Base) -> Result<Json<Collection<UserData>>, ApiError> {
    let users = app.door.cluster(Operation::Describe)?.users();
    let names = users.names().into_iter();
    let users = names.map(|name| to_data(users, &base, name)).collect();
    let own = base.at("/users");
    Ok(Json(Collection::new(UserData::LIST_KIND, own, users)))
}

fn to_data(users: &Users, base: &Base, name: String) -> UserData {
    let credentials = users.mechanisms(&name).into_iter();
    let credentials = credentials.map(|(mechanism, iterations)| CredentialKind {
        mechanism: mechanism.name().to_owned(),
        iterations,
    });
    UserData {
        kind: UserData::KIND.to_owned(),
        metadata: ResourceMetadata::new(base.at(&format!("/users/{}", escape(&name)))),
        credentials: credentials.collect(),
        user_name: name,
    }
}

/// Sets credentials, those of one mechanism after those of another.
///
/// # Errors
/// 403; 400 if one of them cannot be set: then none of its mechanism is.
pub async fn set(
    app: App,
    Body(request): Body<SetCredentialsRequest>,
) -> Result<Json<CredentialsSet>, ApiError> {
    for given in request.data.iter().take(CREDENTIALS_MAX) {
        app.noted.also("user", &given.user_name);
    }
    let users = Arc::clone(app.door.cluster(Operation::Alter)?.users());
    if request.data.len() > CREDENTIALS_MAX {
        let text = format!("at most {CREDENTIALS_MAX} credentials at a time");
        return Err(ApiError::bad_request(text));
    }
    let given = request
        .data
        .iter()
        .map(read)
        .collect::<Result<Vec<_>, _>>()?;
    let keep = request.keep_existing;
    let brought = tokio::task::spawn_blocking(move || users.bring(given, keep)).await;
    let brought = brought.map_err(|error| ApiError::internal(error.to_string()))?;
    let brought = brought.map_err(|(user, error)| refusal(&user, &error))?;
    Ok(Json(CredentialsSet {
        set: brought.set,
        kept: brought.kept,
    }))
}

fn refusal(user: &str, error: &UserError) -> ApiError {
    let text = format!("user {user}: {error}");
    match error {
        UserError::NotStored(_) => ApiError::internal(text),
        _ => ApiError::bad_request(text),
    }
}

fn read(given: &CredentialData) -> Result<Given, ApiError> {
    let wrong = |reason: String| {
        ApiError::bad_request(format!("credential of user {}: {reason}", given.user_name))
    };
    let mechanism = Mechanism::named(&given.mechanism)
        .ok_or_else(|| wrong(format!("'{}' is not a mechanism", given.mechanism)))?;
    let bytes = |name: &str, text: &str| {
        let decoded = STANDARD.decode(text);
        decoded.map_err(|_| wrong(format!("{name} is not base64")))
    };
    let salt = bytes("salt", &given.salt)?;
    let stored_key = bytes("stored_key", &given.stored_key)?;
    let server_key = bytes("server_key", &given.server_key)?;
    let work = (&salt[..], given.iterations);
    let credential = Credential::stored(mechanism, work, (&stored_key, &server_key));
    Ok(Given {
        user: given.user_name.clone(),
        mechanism,
        credential: Arc::new(credential.map_err(|error| wrong(error.to_string()))?),
    })
}

/// The part of a path that names a user.
#[derive(Debug, Deserialize)]
pub struct UserPath {
    user: String,
}

/// `DELETE /users/{user}`
#[derive(Debug, Deserialize)]
pub struct DeleteQuery {
    /// Only this one.
    mechanism: Option<String>,
}

/// Removes a user's credentials, or one of them.
///
/// # Errors
/// 403; 404 if there is none.
pub async fn delete(
    app: App,
    Path(path): Path<UserPath>,
    Query(query): Query<DeleteQuery>,
) -> Result<StatusCode, ApiError> {
    app.noted.target("user", &path.user);
    let cluster = app.door.cluster(Operation::Alter)?;
    let users = Arc::clone(cluster.users());
    let mechanism = query.mechanism.map(|name| {
        let known = Mechanism::named(&name);
        known.ok_or_else(|| ApiError::bad_request(format!("'{name}' is not a mechanism")))
    });
    let mechanism = mechanism.transpose()?;
    let user = path.user.clone();
    let removed = tokio::task::spawn_blocking(move || users.forget(&user, mechanism)).await;
    match removed.map_err(|error| ApiError::internal(error.to_string()))? {
        Ok(()) => {
            cluster.note_removed(&path.user);
            Ok(StatusCode::NO_CONTENT)
        }
        Err(UserError::Unknown) => Err(ApiError::no_such_user(&path.user)),
        Err(error) => Err(refusal(&path.user, &error)),
    }
}
