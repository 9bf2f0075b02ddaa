//! Clients' certificates of X.509 version 1, which `openssl x509 -req` makes and rustls can't read.
//!
//! Such a certificate has no extensions: neither a chain of authorities nor a purpose can be checked.
//! So it is trusted only if one of the trust store's authorities has signed it directly, or it is one of them.

use carrick_protocol::credentials::is_authority;
use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::{WebPkiSupportedAlgorithms, verify_tls13_signature_with_raw_key};
use rustls::pki_types::{
    CertificateDer, SignatureVerificationAlgorithm, SubjectPublicKeyInfoDer, UnixTime,
};
use rustls::{CertificateError, DigitallySignedStruct, Error};
use x509_parser::der_parser::asn1_rs::ToDer;
use x509_parser::prelude::{FromDer, X509Certificate, X509Version};
use x509_parser::x509::AlgorithmIdentifier as Algorithm;

/// The certificate, if it is one of version 1.
pub(super) fn read<'a>(certificate: &'a CertificateDer<'_>) -> Option<X509Certificate<'a>> {
    let (rest, read) = X509Certificate::from_der(certificate).ok()?;
    (rest.is_empty() && read.version() == X509Version::V1).then_some(read)
}

/// Checks that it is valid now, and signed by or one of `trusted`.
///
/// # Errors
/// As rustls has them.
pub(super) fn verify(
    it: &X509Certificate<'_>,
    trusted: &[CertificateDer<'_>],
    algorithms: &WebPkiSupportedAlgorithms,
    now: UnixTime,
) -> Result<(), Error> {
    check_time(it, now)?;
    let is_trusted = trusted.iter().any(|authority| {
        let may_sign = is_authority(authority);
        let Ok((_, authority)) = X509Certificate::from_der(authority) else {
            return false;
        };
        authority.as_raw() == it.as_raw() || may_sign && is_signed_by(it, &authority, algorithms)
    });
    match is_trusted {
        true => Ok(()),
        false => Err(CertificateError::UnknownIssuer.into()),
    }
}

/// # Errors
/// It is not valid yet, or not any more.
pub(super) fn check_time(it: &X509Certificate<'_>, now: UnixTime) -> Result<(), Error> {
    let now_s = i64::try_from(now.as_secs()).unwrap_or(i64::MAX);
    if now_s < it.validity().not_before.timestamp() {
        return Err(CertificateError::NotValidYet.into());
    }
    if now_s > it.validity().not_after.timestamp() {
        return Err(CertificateError::Expired.into());
    }
    Ok(())
}

fn is_signed_by(
    it: &X509Certificate<'_>,
    authority: &X509Certificate<'_>,
    algorithms: &WebPkiSupportedAlgorithms,
) -> bool {
    if authority.subject().as_raw() != it.issuer().as_raw() {
        return false;
    }
    let Some(signed_with) = identifier(&it.signature_algorithm) else {
        return false;
    };
    let mut fitting = algorithms
        .all
        .iter()
        .filter(|algorithm| algorithm.signature_alg_id().as_ref() == signed_with);
    let signature = it.signature_value.data.as_ref();
    fitting.any(|algorithm| {
        verifies(
            *algorithm,
            authority,
            it.tbs_certificate.as_ref(),
            signature,
        )
    })
}

/// Checks what the certificate's owner has signed in the handshake.
///
/// # Errors
/// As rustls has them.
pub(super) fn verify_signature(
    it: &X509Certificate<'_>,
    message: &[u8],
    dss: &DigitallySignedStruct,
    algorithms: &WebPkiSupportedAlgorithms,
    is_tls13: bool,
) -> Result<HandshakeSignatureValid, Error> {
    if is_tls13 {
        let key = SubjectPublicKeyInfoDer::from(it.public_key().raw);
        return verify_tls13_signature_with_raw_key(message, &key, dss, algorithms);
    }
    let of_scheme = algorithms
        .mapping
        .iter()
        .find(|(scheme, _)| *scheme == dss.scheme);
    let is_valid = of_scheme.is_some_and(|(_, fitting)| {
        let mut fitting = fitting.iter();
        fitting.any(|algorithm| verifies(*algorithm, it, message, dss.signature()))
    });
    match is_valid {
        true => Ok(HandshakeSignatureValid::assertion()),
        false => Err(CertificateError::BadSignature.into()),
    }
}

/// Whether this is the signature of the message by the owner of the certificate.
fn verifies(
    algorithm: &dyn SignatureVerificationAlgorithm,
    owner: &X509Certificate<'_>,
    message: &[u8],
    signature: &[u8],
) -> bool {
    let key = owner.public_key();
    let Some(of_key) = identifier(&key.algorithm) else {
        return false;
    };
    algorithm.public_key_alg_id().as_ref() == of_key
        && algorithm
            .verify_signature(&key.subject_public_key.data, message, signature)
            .is_ok()
}

/// What is within the sequence of an algorithm's identifier.
fn identifier(of: &Algorithm<'_>) -> Option<Vec<u8>> {
    let mut der = of.algorithm.to_der_vec().ok()?;
    if let Some(parameters) = &of.parameters {
        der.extend(parameters.to_der_vec().ok()?);
    }
    Some(der)
}
