//! `rest.listeners`: where the REST API listens.

use std::net::{SocketAddr, ToSocketAddrs};

use crate::config::def::list;
use crate::config::{ConfigError, Values};

/// The addresses that `rest.listeners` names; default `http://127.0.0.1:8090`.
///
/// # Errors
/// An item that is no address, or asks for TLS.
pub fn addresses(values: &Values) -> Result<Vec<SocketAddr>, ConfigError> {
    const NAME: &str = "rest.listeners";
    const HTTP_ONLY: &str =
        "must be http://host:port (there is no TLS: terminate it in a proxy in front)";
    let text = values.text(NAME).unwrap_or_default();
    let mut addresses = Vec::new();
    for item in list(&text) {
        let wrong = |reason: String| ConfigError::value(NAME, item, reason);
        let address = item
            .strip_prefix("http://")
            .ok_or_else(|| wrong(HTTP_ONLY.to_owned()))?;
        let address = address.trim_end_matches('/');
        let mut found = address
            .to_socket_addrs()
            .map_err(|error| wrong(error.to_string()))?;
        addresses.push(
            found
                .next()
                .ok_or_else(|| wrong("resolves to no address".to_owned()))?,
        );
    }
    Ok(addresses)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tls_is_refused_by_name() {
        let values = crate::testing::values(&["rest.listeners=https://127.0.0.1:8090"]);
        let error = addresses(&values).unwrap_err().to_string();
        assert!(error.contains("there is no TLS"), "{error}");
    }
}
