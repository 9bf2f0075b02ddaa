//! `security.protocol=SSL` and `SASL_SSL`: TLS between TCP and Kafka, with certificates from PEM or
//! PKCS#12.
//!
//! Follows Kafka's `DefaultSslEngineFactory` and `SslTransportLayer`. Files are read for each connection, so that a
//! certificate that was renewed on disk is used from the next connection on.
//!
//! Invariant: a certificate is trusted because it is signed by one of the trust store's authorities, or is one
//! of the store's certificates, and is valid now; and, unless the config says otherwise, names the host. Otherwise,
//! the connection is not used.

use std::io;
use std::path::Path;
use std::sync::Arc;

use carrick_protocol::credentials::is_authority;
use carrick_protocol::credentials::store::{FILE_MAX_BYTES, Identity, StoreError};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{verify_server_cert_signed_by_trust_anchor, verify_server_name};
use rustls::crypto::{
    CryptoProvider, WebPkiSupportedAlgorithms, ring, verify_tls12_signature, verify_tls13_signature,
};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::version::{TLS12, TLS13};
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme,
};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::tls_words::words;
use super::transport::{Io, Transport};
use super::{BoxFuture, SourceError};
use crate::authorities;
use crate::config::ConfigError;
use crate::config::security::{KeyStore, Tls};

/// TLS as a link's configs say.
pub(super) struct TlsTransport {
    tls: Arc<Tls>,
}

impl TlsTransport {
    pub(super) fn new(tls: Tls) -> Self {
        Self { tls: Arc::new(tls) }
    }

    async fn shake_hands(
        &self,
        stream: TcpStream,
        peer: &str,
        host: &str,
    ) -> Result<Io, SourceError> {
        let refused = |detail: String| SourceError::Authentication {
            peer: peer.to_owned(),
            detail,
        };
        let tls = Arc::clone(&self.tls);
        let config = tokio::task::spawn_blocking(move || client_config(&tls))
            .await
            .map_err(|_| SourceError::ShutDown)?
            .map_err(|error| refused(error.to_string()))?;
        let name = match ServerName::try_from(host.to_owned()) {
            Ok(name) => name,
            // It is checked against nothing, and an address is not sent.
            Err(_) if !self.tls.checks_host => stream
                .peer_addr()
                .map(|address| ServerName::from(address.ip()))
                .map_err(|error| closed(peer, &error))?,
            Err(_) => {
                return Err(refused(format!(
                    "no certificate can name the host '{host}'"
                )));
            }
        };
        let stream = TlsConnector::from(Arc::new(config))
            .connect(name, stream)
            .await
            .map_err(|error| match words(&error, &self.tls) {
                Some(detail) => refused(detail),
                None => closed(peer, &error),
            })?;
        let (reader, writer) = tokio::io::split(stream);
        Ok(Io {
            reader: Box::new(reader),
            writer: Box::new(writer),
        })
    }
}

/// The stream ended in the middle of the handshake, which a broker that stops does, too.
fn closed(peer: &str, error: &io::Error) -> SourceError {
    let detail = format!("in the TLS handshake: {error}; is this a Kafka broker's TLS listener?");
    SourceError::Closed {
        peer: peer.to_owned(),
        detail,
    }
}

impl Transport for TlsTransport {
    fn secure<'a>(
        &'a self,
        stream: TcpStream,
        peer: &'a str,
        host: &'a str,
    ) -> BoxFuture<'a, Result<Io, SourceError>> {
        Box::pin(self.shake_hands(stream, peer, host))
    }
}

/// Whether the certificates and keys that a link names can be read and used. Waits for the disk.
///
/// # Errors
/// The config that names what can't be used, and why.
pub(crate) fn check(tls: &Tls) -> Result<(), ConfigError> {
    client_config(tls).map(drop)
}

fn client_config(tls: &Tls) -> Result<ClientConfig, ConfigError> {
    let provider = Arc::new(provider(&tls.cipher_suites)?);
    let versions = match (tls.versions.v1_2, tls.versions.v1_3) {
        (true, true) => &[&TLS13, &TLS12][..],
        (true, false) => &[&TLS12],
        (false, _) => &[&TLS13],
    };
    let verifier = Verifier::new(tls, provider.signature_verification_algorithms)?;
    let unfit = |error: rustls::Error| {
        let reason = format!("fits no version of ssl.enabled.protocols: {error}");
        ConfigError::new("ssl.cipher.suites", reason)
    };
    let builder = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(versions)
        .map_err(unfit)?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier));
    match &tls.keystore {
        None => Ok(builder.with_no_client_auth()),
        Some(store) => {
            let Identity { key, chain } = identity(store)?;
            let setting = match store {
                KeyStore::File { .. } => "ssl.keystore.location",
                KeyStore::Inline { .. } => "ssl.keystore.key",
            };
            builder.with_client_auth_cert(chain, key).map_err(|error| {
                let reason = format!("can't be used as a client's certificate: {error}");
                ConfigError::new(setting, reason)
            })
        }
    }
}

/// The first key of the store, and its certificates.
fn identity(store: &KeyStore) -> Result<Identity, ConfigError> {
    let found = store.identities(read).map_err(unusable)?;
    found
        .into_iter()
        .next()
        .ok_or_else(|| ConfigError::new("ssl.keystore.location", "holds no private key"))
}

/// The ring provider, with the cipher suites that were asked for.
fn provider(names: &[String]) -> Result<CryptoProvider, ConfigError> {
    let mut provider = ring::default_provider();
    if !names.is_empty() {
        // Java's names are those of the standard; for TLS 1.3 rustls has its own prefix.
        provider.cipher_suites.retain(|suite| {
            let ours = format!("{:?}", suite.suite()).replace("TLS13_", "TLS_");
            names.contains(&ours)
        });
        if provider.cipher_suites.is_empty() {
            let reason = "names no supported cipher suite";
            return Err(ConfigError::new("ssl.cipher.suites", reason));
        }
    }
    Ok(provider)
}

fn unusable(error: StoreError) -> ConfigError {
    ConfigError::new(error.setting, error.reason)
}

fn read(path: &Path) -> Result<Vec<u8>, String> {
    let unreadable = |reason: String| {
        let path = path.display();
        format!("{path} on the broker's host can't be read: {reason}")
    };
    let metadata = std::fs::metadata(path).map_err(|error| unreadable(error.to_string()))?;
    let size_bytes = metadata.len();
    if size_bytes > FILE_MAX_BYTES {
        let reason = format!("it has {size_bytes} bytes, more than {FILE_MAX_BYTES}");
        return Err(unreadable(reason));
    }
    std::fs::read(path).map_err(|error| unreadable(error.to_string()))
}

/// The certificates that a link trusts.
#[derive(Debug)]
struct Verifier {
    roots: RootCertStore,
    /// Those of the trust store: a certificate that is one of them needs no other.
    trusted: Vec<CertificateDer<'static>>,
    checks_host: bool,
    algorithms: WebPkiSupportedAlgorithms,
}

impl Verifier {
    fn new(tls: &Tls, algorithms: WebPkiSupportedAlgorithms) -> Result<Self, ConfigError> {
        let name = match &tls.truststore {
            Some(store) => store.setting(),
            None => "ssl.truststore.location",
        };
        let trusted = match &tls.truststore {
            Some(store) => store.certificates(read).map_err(unusable)?,
            None => authorities::of_this_host().to_vec(),
        };
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(trusted.iter().cloned());
        if roots.is_empty() {
            let reason = match tls.truststore {
                Some(_) => "holds no certificate that can be read",
                None => "is not set, and this host has no trusted certificate authorities",
            };
            return Err(ConfigError::new(name, reason));
        }
        if tls.truststore.is_some() {
            let authorities = trusted.iter().filter(|it| is_authority(it));
            roots = RootCertStore::empty();
            roots.add_parsable_certificates(authorities.cloned());
        }
        Ok(Self {
            roots,
            trusted,
            checks_host: tls.checks_host,
            algorithms,
        })
    }
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let certificate = ParsedCertificate::try_from(end_entity)?;
        let signed = verify_server_cert_signed_by_trust_anchor(
            &certificate,
            &self.roots,
            intermediates,
            now,
            self.algorithms.all,
        );
        match signed {
            Err(error) if !(is_a_matter_of_signer(&error) && self.trusted.contains(end_entity)) => {
                return Err(error);
            }
            _ => {}
        }
        if self.checks_host {
            verify_server_name(&certificate, server_name)?;
        }
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, cert, dss, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, cert, dss, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

/// Errors that don't matter where the very certificate is trusted: Java looks at no signer then. (A certificate that
/// signed itself is often made as one of an authority.)
fn is_a_matter_of_signer(error: &rustls::Error) -> bool {
    match error {
        rustls::Error::InvalidCertificate(CertificateError::UnknownIssuer) => true,
        rustls::Error::InvalidCertificate(CertificateError::Other(other)) => {
            other.to_string().contains("CaUsedAsEndEntity")
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests;
