//! Protection against web pages.
//!
//! A browser reaches loopback on behalf of any page that an operator has open, and may add
//! credentials by itself. Three checks stop that, after one that applies to every request: it names
//! its host once ([`authority`]).
//! - `Host` must be an address, `localhost`, or a name that this machine is known to have: a page
//!   whose own name was made to point here (DNS rebinding) sends that name. On loopback, only the
//!   names of `rest.allowed.hosts` are known besides.
//! - `Origin`, which browsers add to requests of scripts, must be this very address, scheme included.
//! - `POST` and `PUT` must have `content-type: application/json`, which no HTML form can send.

use std::net::IpAddr;
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::header::{CONTENT_TYPE, HeaderName, ORIGIN};
use axum::http::uri::Authority;
use axum::http::{HeaderMap, Method, StatusCode};
use axum::middleware::Next;
use axum::response::Response;

use super::error::ApiError;
use super::extract::{authority, host_of};

/// What the checks of one listener depend on.
#[derive(Debug, Clone)]
pub struct Guard {
    pub scheme: &'static str,
    /// Names that requests may give as `Host`; `*` is any.
    pub hosts: Arc<[String]>,
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
    check(&guard, request.method(), said.as_ref(), request.headers())?;
    Ok(next.run(request).await)
}

fn check(
    guard: &Guard,
    method: &Method,
    said: Option<&Authority>,
    headers: &HeaderMap,
) -> Result<(), ApiError> {
    let host = said.map_or("", Authority::as_str);
    let is_known = |said: &Authority| {
        let name = host_of(said);
        let mut known = guard.hosts.iter();
        known.any(|known| known == "*" || *known == name)
    };
    if !said.is_some_and(|said| is_local(said) || is_known(said)) {
        return Err(forbidden(format!(
            "this listener does not accept the host '{host}': if it is a name of this machine, \
             add it to rest.allowed.hosts"
        )));
    }
    if let Some(origin) = text(headers, &ORIGIN) {
        let own = origin.strip_prefix(guard.scheme);
        if own.and_then(|rest| rest.strip_prefix("://")) != Some(host) {
            return Err(forbidden(format!(
                "requests of pages from '{origin}' are refused"
            )));
        }
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

    fn guard(scheme: &'static str, hosts: &[&str]) -> Guard {
        let hosts = hosts.iter().map(|host| (*host).to_owned()).collect();
        Guard { scheme, hosts }
    }

    fn check(guard: &Guard, method: &Method, headers: &HeaderMap) -> Result<(), ApiError> {
        let host = headers.get("host").expect("a host").to_str().expect("text");
        let host: Authority = host.parse().expect("a host");
        super::check(guard, method, Some(&host), headers)
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
    fn a_rebound_name_is_refused_unless_it_is_known() {
        let (none, some) = (guard("http", &[]), guard("http", &["dr.example"]));
        assert!(super::check(&none, &Method::GET, None, &HeaderMap::new()).is_err());
        let of = |host| headers(&[("host", host)]);
        assert!(check(&none, &Method::GET, &of("evil.example:8090")).is_err());
        assert!(check(&some, &Method::GET, &of("evil.example:8090")).is_err());
        assert!(check(&some, &Method::GET, &of("evil.dr.example")).is_err());
        assert!(check(&some, &Method::GET, &of("DR.example:8090")).is_ok());
        let any = guard("http", &["*"]);
        assert!(check(&any, &Method::GET, &of("evil.example:8090")).is_ok());
    }

    #[test]
    fn a_foreign_page_is_refused_whatever_it_asks() {
        let of = |origin| headers(&[("host", "127.0.0.1:8090"), ("origin", origin)]);
        let (plain, tls) = (guard("http", &[]), guard("https", &[]));
        for foreign in ["http://evil.example", "null", "http://127.0.0.1:8091", ""] {
            assert!(
                check(&plain, &Method::GET, &of(foreign)).is_err(),
                "{foreign}"
            );
            assert!(
                check(&tls, &Method::DELETE, &of(foreign)).is_err(),
                "{foreign}"
            );
        }
        let own = of("http://127.0.0.1:8090");
        assert!(check(&plain, &Method::GET, &own).is_ok());
        assert!(check(&tls, &Method::GET, &own).is_err(), "another scheme");
        let own = of("https://127.0.0.1:8090");
        assert!(check(&tls, &Method::GET, &own).is_ok());
        assert!(check(&plain, &Method::GET, &own).is_err(), "another scheme");
    }

    #[test]
    fn a_form_cannot_post() {
        let form = headers(&[("host", "localhost"), ("content-type", "text/plain")]);
        assert!(check(&guard("http", &[]), &Method::POST, &form).is_err());
        assert!(
            check(
                &guard("http", &[]),
                &Method::PUT,
                &headers(&[("host", "localhost")])
            )
            .is_err()
        );
        let json = headers(&[
            ("host", "localhost"),
            ("content-type", "Application/JSON; charset=utf-8"),
        ]);
        assert!(check(&guard("http", &[]), &Method::POST, &json).is_ok());
    }
}
