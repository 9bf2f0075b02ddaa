//! Who may sign certificates where a configuration names nobody.

use std::sync::OnceLock;

use rustls::pki_types::CertificateDer;

/// The authorities that this host trusts, read once.
pub(crate) fn of_this_host() -> &'static [CertificateDer<'static>] {
    static CERTIFICATES: OnceLock<Vec<CertificateDer<'static>>> = OnceLock::new();
    CERTIFICATES.get_or_init(|| rustls_native_certs::load_native_certs().certs)
}
