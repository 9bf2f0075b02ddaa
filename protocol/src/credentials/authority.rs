//! Which certificates of a trust store may sign others.

use rustls::pki_types::CertificateDer;
use x509_parser::prelude::{FromDer, X509Certificate, X509Version};

/// Whether others may be signed with the key of this certificate, by the rules of Java's
/// `PKIXValidator` for what a trust store holds.
///
/// rustls takes every root for an authority, also a certificate that says it is none. Then anyone
/// whose own certificate is in a trust store could sign one in somebody else's name.
pub fn is_authority(certificate: &CertificateDer<'_>) -> bool {
    let Ok((_, it)) = X509Certificate::from_der(certificate) else {
        return false;
    };
    if it.version() != X509Version::V3 {
        // It can't say so. Whoever needs another's signature is no root.
        return it.subject().as_raw() == it.issuer().as_raw();
    }
    let may_sign = match it.key_usage() {
        Ok(None) => true,
        Ok(Some(usage)) => usage.value.key_cert_sign(),
        Err(_) => false,
    };
    may_sign && it.is_ca()
}
