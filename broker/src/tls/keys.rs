//! The listener's own keys and certificates.

use std::ops::RangeInclusive;
use std::sync::Arc;

use carrick_protocol::credentials::store::{Identity, StoreError};
use rustls::crypto::CryptoProvider;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::{Error, InconsistentKeys};
use x509_parser::prelude::{FromDer, X509Certificate};

/// Every key of the store, in its order: a client gets the first one that it can check.
#[derive(Debug)]
pub(super) struct Keys(Vec<Arc<CertifiedKey>>);

impl Keys {
    /// # Errors
    /// A key that can't be used, or that is not its certificate's.
    pub(super) fn new(
        identities: Vec<Identity>,
        provider: &CryptoProvider,
    ) -> Result<Self, StoreError> {
        let wrong = |reason: String| StoreError {
            setting: "ssl.keystore.location",
            reason,
        };
        let mut keys = Vec::new();
        for Identity { key, chain } in identities {
            let key = provider.key_provider.load_private_key(key);
            let key =
                key.map_err(|error| wrong(format!("holds a key that can't be used: {error}")))?;
            let key = CertifiedKey::new(chain, key);
            // That it can't be told is no error: rustls reads no certificates of X.509 version 1.
            if let Err(Error::InconsistentKeys(InconsistentKeys::KeyMismatch)) = key.keys_match() {
                return Err(wrong(
                    "holds a key that is not its certificate's".to_owned(),
                ));
            }
            keys.push(Arc::new(key));
        }
        Ok(Self(keys))
    }

    /// When all of the certificates are valid, seconds since the epoch.
    pub(super) fn valid_s(&self) -> RangeInclusive<i64> {
        let own = self.0.iter().filter_map(|key| key.cert.first());
        own.filter_map(|own| {
            let (_, own) = X509Certificate::from_der(own).ok()?;
            let validity = own.validity();
            Some(validity.not_before.timestamp()..=validity.not_after.timestamp())
        })
        .fold(i64::MIN..=i64::MAX, |all, one| {
            *all.start().max(one.start())..=*all.end().min(one.end())
        })
    }
}

impl ResolvesServerCert for Keys {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let schemes = hello.signature_schemes();
        let fits = |key: &&Arc<CertifiedKey>| key.key.choose_scheme(schemes).is_some();
        self.0.iter().find(fits).cloned()
    }
}
