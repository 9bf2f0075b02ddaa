//! Which certificates of clients are trusted.

use std::sync::Arc;

use carrick_protocol::credentials::is_authority;
use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::{
    CryptoProvider, WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature,
};
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, RootCertStore,
    SignatureScheme,
};
use x509_parser::prelude::{FromDer, X509Certificate};

use super::version1;

/// Trusts certificates that are signed by one of the trust store's authorities, or are one of the
/// store's certificates.
#[derive(Debug)]
pub(super) struct Verifier {
    /// By the authorities; `None` if the store has none.
    signed: Option<Arc<dyn ClientCertVerifier>>,
    trusted: Vec<CertificateDer<'static>>,
    /// The names of all of `trusted`, by which clients choose what they show.
    hints: Vec<DistinguishedName>,
    is_required: bool,
    algorithms: WebPkiSupportedAlgorithms,
}

impl Verifier {
    /// # Errors
    /// None of the certificates can be read.
    pub(super) fn new(
        trusted: Vec<CertificateDer<'static>>,
        is_required: bool,
        provider: &Arc<CryptoProvider>,
    ) -> Result<Self, String> {
        let store = |those: &mut dyn Iterator<Item = &CertificateDer<'static>>| {
            let mut roots = RootCertStore::empty();
            roots.add_parsable_certificates(those.cloned());
            roots
        };
        let all = store(&mut trusted.iter());
        let unreadable = || "holds no certificate that can be read".to_owned();
        if all.is_empty() {
            return Err(unreadable());
        }
        let authorities = store(&mut trusted.iter().filter(|it| is_authority(it)));
        let signed = match authorities.is_empty() {
            true => None,
            false => {
                let authorities = Arc::new(authorities);
                let builder =
                    WebPkiClientVerifier::builder_with_provider(authorities, Arc::clone(provider));
                Some(builder.build().map_err(|_| unreadable())?)
            }
        };
        Ok(Self {
            signed,
            hints: all.subjects(),
            trusted,
            is_required,
            algorithms: provider.signature_verification_algorithms,
        })
    }
}

impl ClientCertVerifier for Verifier {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &self.hints
    }

    fn client_auth_mandatory(&self) -> bool {
        self.is_required
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        if let Some(old) = version1::read(end_entity) {
            version1::verify(&old, &self.trusted, &self.algorithms, now)?;
            return Ok(ClientCertVerified::assertion());
        }
        let signed = match &self.signed {
            Some(signed) => signed.verify_client_cert(end_entity, intermediates, now),
            None => Err(CertificateError::UnknownIssuer.into()),
        };
        match signed {
            Err(error) if is_a_matter_of_signer(&error) && self.trusted.contains(end_entity) => {
                check_time(end_entity, now)?;
                Ok(ClientCertVerified::assertion())
            }
            signed => signed,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        match version1::read(cert) {
            Some(old) => version1::verify_signature(&old, message, dss, &self.algorithms, false),
            None => verify_tls12_signature(message, cert, dss, &self.algorithms),
        }
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        match version1::read(cert) {
            Some(old) => version1::verify_signature(&old, message, dss, &self.algorithms, true),
            None => verify_tls13_signature(message, cert, dss, &self.algorithms),
        }
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

fn check_time(certificate: &CertificateDer<'_>, now: UnixTime) -> Result<(), Error> {
    let read = X509Certificate::from_der(certificate);
    let (_, it) = read.map_err(|_| Error::from(CertificateError::BadEncoding))?;
    version1::check_time(&it, now)
}

/// Errors that don't matter where the very certificate is trusted: Java looks at no signer then.
fn is_a_matter_of_signer(error: &Error) -> bool {
    match error {
        Error::InvalidCertificate(CertificateError::UnknownIssuer) => true,
        Error::InvalidCertificate(CertificateError::Other(other)) => {
            other.to_string().contains("CaUsedAsEndEntity")
        }
        _ => false,
    }
}
