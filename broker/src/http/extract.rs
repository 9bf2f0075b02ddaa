//! Extractors whose refusals are JSON, like every other error, and what resources share in paths,
//! queries and bodies.

use std::collections::BTreeMap;

use axum::body::Bytes;
use axum::extract::{FromRequest, FromRequestParts, Request};
use axum::http::header::HOST;
use axum::http::request::Parts;
use axum::http::uri::Authority;
use axum::http::{HeaderMap, StatusCode, Uri, Version};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::Shared;
use super::caller::Peer;
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

impl FromRequestParts<Shared> for Base {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, app: &Shared) -> Result<Self, ApiError> {
        let authority = authority(parts.version, &parts.uri, &parts.headers)?;
        let authority = authority.as_ref().map_or("localhost", Authority::as_str);
        let scheme = parts.extensions.get::<Peer>().map_or("http", Peer::scheme);
        Ok(Base(format!(
            "{scheme}://{authority}/kafka/v3/clusters/{}",
            app.cluster_id
        )))
    }
}

/// The host that the client addresses (RFC 9112, section 3.2): the address in the request line,
/// else `Host`; none for an HTTP/1.0 client that sends neither.
///
/// # Errors
/// 400: no `Host` in HTTP/1.1, more than one, or one that is no host.
pub fn authority(
    version: Version,
    uri: &Uri,
    headers: &HeaderMap,
) -> Result<Option<Authority>, ApiError> {
    let refused = |message: &str| ApiError::new(StatusCode::BAD_REQUEST, 400, message);
    let mut hosts = headers.get_all(HOST).iter();
    let host = match (hosts.next(), hosts.next()) {
        (Some(_), Some(_)) => return Err(refused("more than one Host header")),
        (None, _) if version >= Version::HTTP_11 => return Err(refused("no Host header")),
        (host, _) => host,
    };
    let no_host = || refused("the Host header is no host");
    let host = match host {
        Some(host) => Some(parse_authority(host.as_bytes()).ok_or_else(no_host)?),
        None => None,
    };
    match uri.authority() {
        Some(named) => {
            let named = parse_authority(named.as_str().as_bytes());
            Ok(Some(
                named.ok_or_else(|| refused("the address has no host"))?,
            ))
        }
        None => Ok(host),
    }
}

/// Reads `host` or `host:port`; user names and ports that are none don't belong there.
fn parse_authority(text: &[u8]) -> Option<Authority> {
    let authority = Authority::try_from(text).ok()?;
    let rest = authority.as_str().strip_prefix(authority.host())?;
    let port = rest.strip_prefix(':').unwrap_or(rest);
    let is_port = port.bytes().all(|byte| byte.is_ascii_digit());
    (is_port && !authority.host().is_empty()).then_some(authority)
}

/// The host of an authority like `localhost:8090` or `[::1]:8090`, without port and brackets.
pub fn host_of(authority: &Authority) -> String {
    let host = authority.host();
    host.trim_start_matches('[')
        .trim_end_matches(']')
        .to_ascii_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(version: Version, uri: &str, hosts: &[&'static str]) -> Option<String> {
        let mut headers = HeaderMap::new();
        for host in hosts {
            headers.append(HOST, host.parse().expect("a value"));
        }
        let said = authority(version, &uri.parse().expect("an address"), &headers).ok()?;
        Some(said.map(|said| said.to_string()).unwrap_or_default())
    }

    #[test]
    fn a_request_says_once_whom_it_means() {
        let (new, old) = (Version::HTTP_11, Version::HTTP_10);
        for host in ["localhost", "10.0.0.7:8090", "[::1]:8090", "x.example:"] {
            assert_eq!(said(new, "/", &[host]).as_deref(), Some(host));
        }
        assert_eq!(said(new, "/", &[]), None);
        assert_eq!(said(old, "/", &[]).as_deref(), Some(""));
        assert_eq!(said(new, "/", &["localhost", "localhost"]), None);
        assert_eq!(said(old, "/", &["localhost", "evil.example"]), None);
        for host in [
            "",
            ":8090",
            "a b",
            "user@localhost",
            "localhost:x",
            "localhost/evil",
            "a:1:2",
        ] {
            assert_eq!(said(new, "/", &[host]), None, "{host}");
        }
    }

    #[test]
    fn the_address_in_the_request_line_wins() {
        let whole = "http://localhost:1/kafka";
        let said = |hosts: &[&'static str]| said(Version::HTTP_11, whole, hosts);
        assert_eq!(said(&["evil.example"]).as_deref(), Some("localhost:1"));
        assert_eq!(said(&[]), None);
    }
}
