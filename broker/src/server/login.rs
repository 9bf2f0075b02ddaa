//! Between accepting a connection and its first request: who the client is.
//!
//! A listener without SASL knows it already: by the certificate that the client has shown in the TLS
//! handshake, or not at all.

use super::{Arrival, Stream};
use crate::principal::Principal;
use crate::tls::CertificateError;

/// Who a client is.
#[derive(Debug)]
pub(super) struct Identity {
    pub(super) principal: Principal,
}

/// Why a client is not let in.
#[derive(Debug, thiserror::Error)]
pub(super) enum LoginError {
    /// The listener asks for SASL.
    #[error("listener {listener} asks for SASL, which is not there")]
    NoSasl { listener: String },
    #[error("the TLS handshake failed: {0}")]
    Tls(#[from] std::io::Error),
    #[error(transparent)]
    Certificate(#[from] CertificateError),
    #[error("no log-in within connection.authentication.timeout.ms")]
    TooSlow,
    #[error("it had not shaken hands or logged in when its place was needed for another one")]
    NoPlace,
}

/// Finds out who the client is. Reads no byte of the requests that follow. `shown` is the user of the
/// certificate that the client has shown, ANONYMOUS without one.
pub(super) async fn identify<S: Stream>(
    _stream: &mut S,
    arrival: &Arrival,
    shown: Principal,
) -> Result<Identity, LoginError> {
    let listener = arrival.listener();
    if listener.protocol.has_sasl() {
        let listener = listener.name.clone();
        return Err(LoginError::NoSasl { listener });
    }
    Ok(Identity { principal: shown })
}
