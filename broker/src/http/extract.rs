//! Extractors whose refusals are JSON, like every other error, and what resources share in paths,
//! queries and bodies.

use std::collections::BTreeMap;

use axum::body::Bytes;
use axum::extract::{FromRequest, FromRequestParts, Request};
use axum::http::header::HOST;
use axum::http::request::Parts;
use axum::http::{StatusCode, Uri};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::App;
use super::error::ApiError;
use super::model::ConfigData;

/// The parameters of the path.
pub struct Path<T>(pub T);

impl<T, S> FromRequestParts<S> for Path<T>
where
    T: DeserializeOwned + Send,
    S: Send + Sync,
{
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        match axum::extract::Path::<T>::from_request_parts(parts, state).await {
            Ok(axum::extract::Path(path)) => Ok(Path(path)),
            Err(rejection) => Err(ApiError::bad_request(rejection.body_text())),
        }
    }
}

/// The parameters of the query.
pub struct Query<T>(pub T);

impl<T, S> FromRequestParts<S> for Query<T>
where
    T: DeserializeOwned + Send,
    S: Send + Sync,
{
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        match axum::extract::Query::<T>::from_request_parts(parts, state).await {
            Ok(axum::extract::Query(query)) => Ok(Query(query)),
            Err(rejection) => Err(ApiError::bad_request(rejection.body_text())),
        }
    }
}

/// A JSON body. The content type has been checked ([`super::guard`]), and the whole body has
/// arrived ([`super::gate`]).
pub struct Body<T>(pub T);

impl<T, S> FromRequest<S> for Body<T>
where
    T: DeserializeOwned,
    S: Send + Sync,
{
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &S) -> Result<Self, ApiError> {
        let bytes = Bytes::from_request(request, state)
            .await
            .map_err(|rejection| {
                let code = i32::from(rejection.status().as_u16());
                ApiError::new(rejection.status(), code, rejection.body_text())
            })?;
        // A body that may be empty, for requests all of whose fields are optional.
        let text: &[u8] = if bytes.is_empty() { b"{}" } else { &bytes };
        serde_json::from_slice(text).map(Body).map_err(|error| {
            let message = format!("the body is invalid: {error}");
            ApiError::new(StatusCode::BAD_REQUEST, 400, message)
        })
    }
}

/// The part of a path that names a link.
#[derive(Debug, Deserialize)]
pub struct LinkPath {
    /// The link's name.
    pub link: String,
}

/// For what is so unless said otherwise.
pub(super) fn yes() -> bool {
    true
}

/// Configs of a body as a map; a name given twice is refused, a `null` value leaves it out.
pub(super) fn to_map(configs: Vec<ConfigData>) -> Result<BTreeMap<String, String>, ApiError> {
    let mut map = BTreeMap::new();
    for ConfigData { name, value } in configs {
        let Some(value) = value else { continue };
        if map.insert(name.clone(), value).is_some() {
            return Err(ApiError::bad_request(format!(
                "config '{name}' is given twice"
            )));
        }
    }
    Ok(map)
}

/// The address of this cluster, as the client reached it: what `self` links start with.
pub struct Base(String);

impl Base {
    /// The address of a resource below the cluster; `path` starts with a slash or is empty.
    pub fn at(&self, path: &str) -> String {
        format!("{}{path}", self.0)
    }
}

impl FromRequestParts<App> for Base {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, ApiError> {
        let host = parts.headers.get(HOST).and_then(|host| host.to_str().ok());
        let host = host
            .or_else(|| parts.uri.authority().map(|a| a.as_str()))
            .unwrap_or("localhost");
        Ok(Base(format!(
            "http://{host}/kafka/v3/clusters/{}",
            app.cluster_id
        )))
    }
}

/// The host of an authority like `localhost:8090` or `[::1]:8090`, without port and brackets.
pub fn host_of(authority: &str) -> Option<String> {
    let uri: Uri = format!("http://{authority}/").parse().ok()?;
    let host = uri.host()?;
    Some(
        host.trim_start_matches('[')
            .trim_end_matches(']')
            .to_ascii_lowercase(),
    )
}
