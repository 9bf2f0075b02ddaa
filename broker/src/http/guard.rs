//! Protection against web pages.
//!
//! The API has no credentials: anyone who reaches the listener may use it, and a browser on the
//! same machine reaches loopback on behalf of any page. Three checks stop that, after one that
//! applies to every request: it names its host once ([`authority`]).
//! - `Host` must be an address or `localhost` on a loopback listener: a page whose own name was
//!   made to point here (DNS rebinding) sends that name. On other listeners the operator decides
//!   which names the machine has, so it is not checked.
//! - `Origin`, which browsers add to requests of scripts, must be this very address.
//! - `POST` and `PUT` must have `content-type: application/json`, which no HTML form can send.

use std::net::IpAddr;

use axum::extract::{Request, State};
use axum::http::header::{CONTENT_TYPE, HeaderName, ORIGIN};
use axum::http::uri::Authority;
use axum::http::{HeaderMap, Method, StatusCode};
use axum::middleware::Next;
use axum::response::Response;

use super::error::ApiError;
use super::extract::{authority, host_of};

/// What the checks depend on.
#[derive(Debug, Clone, Copy)]
pub struct Guard {
    /// The listener can only be reached from this machine.
    pub loopback: bool,
}

/// Lets a request pass, or refuses it.
///
/// # Errors
/// 400 for a `Host` that is none, 403 for a foreign `Host` or `Origin`, 415 for another content type.
pub async fn guard(
    State(guard): State<Guard>,
    request: Request,
    next: Next,
) -> Result<Response, ApiError> {
    let said = authority(request.version(), request.uri(), request.headers())?;
    check(
        guard.loopback,
        request.method(),
        said.as_ref(),
        request.headers(),
    )?;
    Ok(next.run(request).await)
}

fn check(
    loopback: bool,
    method: &Method,
    said: Option<&Authority>,
    headers: &HeaderMap,
) -> Result<(), ApiError> {
    let host = said.map_or("", Authority::as_str);
    if loopback && !said.is_some_and(is_local) {
        return Err(forbidden(format!(
            "this listener does not accept the host '{host}'"
        )));
    }
    if let Some(origin) = text(headers, &ORIGIN)
        && origin.strip_prefix("http://") != Some(host)
    {
        return Err(forbidden(format!(
            "requests of pages from '{origin}' are refused"
        )));
    }
    if method != Method::POST && method != Method::PUT {
        return Ok(());
    }
    let content_type = text(headers, &CONTENT_TYPE).unwrap_or_default();
    let essence = content_type.split(';').next().unwrap_or_default().trim();
    if essence.eq_ignore_ascii_case("application/json") {
        return Ok(());
    }
    let message = format!("content-type must be application/json, not '{content_type}'");
    Err(ApiError::new(
        StatusCode::UNSUPPORTED_MEDIA_TYPE,
        415,
        message,
    ))
}

/// A header's value; one that is no text counts as a foreign one.
fn text<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    headers.get(name).map(|value| value.to_str().unwrap_or("?"))
}

fn is_local(authority: &Authority) -> bool {
    let host = host_of(authority);
    host == "localhost" || host.parse::<IpAddr>().is_ok()
}

fn forbidden(message: String) -> ApiError {
    ApiError::new(StatusCode::FORBIDDEN, 403, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(loopback: bool, method: &Method, headers: &HeaderMap) -> Result<(), ApiError> {
        let host = headers.get("host").expect("a host").to_str().expect("text");
        let host: Authority = host.parse().expect("a host");
        super::check(loopback, method, Some(&host), headers)
    }

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.insert(*name, value.parse().expect("a value"));
        }
        headers
    }

    #[test]
    fn addresses_and_localhost_are_local_names_are_not() {
        for host in [
            "127.0.0.1:8090",
            "localhost",
            "LOCALHOST:1",
            "[::1]:8090",
            "10.0.0.7",
        ] {
            assert!(is_local(&host.parse().expect("a host")), "{host}");
        }
        for host in [
            "evil.example:8090",
            "127.0.0.1.evil.example",
            "localhost.evil.example",
        ] {
            assert!(!is_local(&host.parse().expect("a host")), "{host}");
        }
    }

    #[test]
    fn a_rebound_name_is_refused_on_loopback_only() {
        assert!(super::check(true, &Method::GET, None, &HeaderMap::new()).is_err());
        let headers = headers(&[("host", "evil.example:8090")]);
        assert!(check(true, &Method::GET, &headers).is_err());
        assert!(check(false, &Method::GET, &headers).is_ok());
    }

    #[test]
    fn a_foreign_page_is_refused_whatever_it_asks() {
        let foreign = headers(&[
            ("host", "127.0.0.1:8090"),
            ("origin", "http://evil.example"),
        ]);
        assert!(check(true, &Method::GET, &foreign).is_err());
        let null = headers(&[("host", "127.0.0.1:8090"), ("origin", "null")]);
        assert!(check(false, &Method::DELETE, &null).is_err());
        let own = headers(&[
            ("host", "127.0.0.1:8090"),
            ("origin", "http://127.0.0.1:8090"),
        ]);
        assert!(check(true, &Method::GET, &own).is_ok());
    }

    #[test]
    fn a_form_cannot_post() {
        let form = headers(&[("host", "localhost"), ("content-type", "text/plain")]);
        assert!(check(true, &Method::POST, &form).is_err());
        assert!(check(true, &Method::PUT, &headers(&[("host", "localhost")])).is_err());
        let json = headers(&[
            ("host", "localhost"),
            ("content-type", "Application/JSON; charset=utf-8"),
        ]);
        assert!(check(true, &Method::POST, &json).is_ok());
    }
}
