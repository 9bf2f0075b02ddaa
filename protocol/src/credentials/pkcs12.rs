//! PKCS#12 stores, as Java's keytool and openssl write them.
//!
//! Invariants: no error contains anything of the file or its password; what counts as trusted is what
//! Java trusts.

use std::path::Path;

use p12_keystore::error::Error;
use p12_keystore::{CertificateBag, Pkcs12Archive, PrivateKeyBag};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};

use super::store::StoreError;

/// Most certificates of one chain.
const CHAIN_MAX: usize = 32;

/// Why a store can't be used.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Pkcs12Error {
    WrongPassword,
    Unsupported,
    Damaged,
    NoKey,
    NothingTrusted,
}

impl Pkcs12Error {
    /// With the settings that name the store and its password.
    pub(super) fn of(
        self,
        location: &'static str,
        password: &'static str,
        path: &Path,
    ) -> StoreError {
        let path = path.display();
        let (setting, reason) = match self {
            Self::WrongPassword => (password, format!("does not open {path}")),
            Self::Unsupported => (
                location,
                format!(
                    "{path}: uses an encryption that is not supported: write it again with `keytool \
                     -importkeystore -srckeystore {path} -destkeystore new.p12 -deststoretype PKCS12`"
                ),
            ),
            Self::Damaged => (location, format!("{path}: is not a PKCS12 store in DER")),
            Self::NoKey => (
                location,
                format!("{path}: holds no private key with a certificate"),
            ),
            Self::NothingTrusted => (
                location,
                format!(
                    "{path}: holds no certificate that is marked as trusted: import them with `keytool \
                     -importcert`, or use PEM"
                ),
            ),
        };
        StoreError { setting, reason }
    }
}

/// A key and its certificates.
pub(super) struct Found {
    pub(super) key: PrivateKeyDer<'static>,
    pub(super) chain: Vec<CertificateDer<'static>>,
}

/// Every key that has a certificate, in the order of the file; none is an error.
pub(super) fn identities(bytes: &[u8], password: &str) -> Result<Vec<Found>, Pkcs12Error> {
    let store = open(bytes, password)?;
    let found: Vec<Found> = store
        .keys
        .iter()
        .filter_map(|key| {
            let chain = chain(own_certificate(&store, key)?, &store.certs);
            let key = PrivatePkcs8KeyDer::from(key.key.as_der().to_vec()).into();
            Some(Found { key, chain })
        })
        .collect();
    match found.is_empty() {
        true => Err(Pkcs12Error::NoKey),
        false => Ok(found),
    }
}

/// The certificates that Java trusts: those imported as trusted, and those of private keys.
pub(super) fn trusted(
    bytes: &[u8],
    password: &str,
) -> Result<Vec<CertificateDer<'static>>, Pkcs12Error> {
    let store = open(bytes, password)?;
    let imported = store.certs.iter().filter(|bag| bag.trusted);
    let own = store
        .keys
        .iter()
        .filter_map(|key| own_certificate(&store, key));
    let trusted: Vec<_> = imported.chain(own).map(der).collect();
    match trusted.is_empty() {
        true => Err(Pkcs12Error::NothingTrusted),
        false => Ok(trusted),
    }
}

fn open(bytes: &[u8], password: &str) -> Result<Pkcs12Archive, Pkcs12Error> {
    Pkcs12Archive::from_pkcs12(bytes, password).map_err(|error| match error {
        // A store without a MAC shows a wrong password only by what it is decrypted to.
        Error::MacError(_) | Error::Pkcs5Error(_) | Error::UnpadError => Pkcs12Error::WrongPassword,
        Error::UnsupportedEncryptionScheme
        | Error::UnsupportedMacAlgorithm
        | Error::UnsupportedCertificateType
        | Error::UnsupportedContentType
        | Error::InvalidParameters => Pkcs12Error::Unsupported,
        _ => Pkcs12Error::Damaged,
    })
}

/// The certificate of a key: by their common id, or the only one that it can be.
fn own_certificate<'a>(
    store: &'a Pkcs12Archive,
    key: &PrivateKeyBag,
) -> Option<&'a CertificateBag> {
    let mut certs = store.certs.iter();
    match &key.local_key_id {
        Some(id) => certs.find(|bag| bag.local_key_id.as_deref() == Some(id.as_ref())),
        None if store.keys.len() == 1 => certs.find(|bag| !bag.trusted),
        None => None,
    }
}

fn chain(own: &CertificateBag, all: &[CertificateBag]) -> Vec<CertificateDer<'static>> {
    let mut chain = vec![own];
    while let Some(last) = chain.last().filter(|_| chain.len() < CHAIN_MAX) {
        let issuer = all.iter().find(|bag| {
            bag.cert.subject() == last.cert.issuer() && chain.iter().all(|of| of.cert != bag.cert)
        });
        let Some(issuer) = issuer.filter(|_| last.cert.issuer() != last.cert.subject()) else {
            break;
        };
        chain.push(issuer);
    }
    chain.into_iter().map(der).collect()
}

fn der(bag: &CertificateBag) -> CertificateDer<'static> {
    CertificateDer::from(bag.cert.as_der().to_vec())
}
