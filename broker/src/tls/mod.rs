//! TLS for listeners: certificates and keys from their stores, whose certificates clients may show,
//! and which user a certificate is.
//!
//! Invariants:
//! - What is in force was read as a whole. If a file changes and can't be used, the old content stays
//!   in force, and the log and `/readyz` have the problem ([`watch`]).
//! - A certificate is trusted because it is signed by one of the trust store's authorities, or is one
//!   of the store's certificates, and is valid now, also in a session that is resumed. What is in the
//!   store and is no authority is trusted for itself alone.
//! - A new certificate or trust store ends all sessions that could be resumed.

mod client;
mod files;
mod handshake;
mod keys;
mod names;
mod rules;
#[cfg(test)]
pub mod testing;
#[cfg(test)]
mod tests;
mod version1;
mod watch;

use std::fmt;
use std::ops::RangeInclusive;
use std::sync::Arc;

use arc_swap::ArcSwap;
use carrick_protocol::credentials::store::{KeyStore, StoreError, TrustStore};
use parking_lot::Mutex;
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::CertificateDer;
use rustls::server::NoServerSessionStorage;
use rustls::version::{TLS12, TLS13};
use rustls::{ServerConfig, SupportedProtocolVersion};
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::config::{ConfigError, ListenerValues};
use crate::principal::Principal;
use files::Stamp;
use rules::MappingRules;

pub use handshake::Handshakes;
pub use watch::watch;

/// Whether clients show a certificate (`ssl.client.auth`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClientAuth {
    None,
    Requested,
    Required,
}

impl ClientAuth {
    /// As a listener's properties say.
    ///
    /// # Errors
    /// The value is none of Kafka's.
    pub fn of(values: &ListenerValues<'_>, text: Option<String>) -> Result<Self, ConfigError> {
        match text.unwrap_or_default().as_str() {
            "" | "none" => Ok(Self::None),
            "requested" => Ok(Self::Requested),
            "required" => Ok(Self::Required),
            _ => Err(values.wrong("ssl.client.auth", "must be none, requested or required")),
        }
    }

    /// Its name in properties.
    pub const fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Requested => "requested",
            Self::Required => "required",
        }
    }
}

/// Why a certificate makes nobody a user.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CertificateError {
    #[error("the client's certificate can't be read")]
    Unreadable,
    /// Its session began when it was valid.
    #[error("the client's certificate is not valid any more")]
    Expired,
    #[error("no rule of ssl.principal.mapping.rules matches the certificate's name '{0}'")]
    NoRule(String),
}

/// The TLS side of one listener.
pub struct ServerTls {
    /// The listener's name, for messages.
    name: String,
    settings: Settings,
    current: ArcSwap<Current>,
    /// The files that could not be used, and why.
    failed: Mutex<Option<(Vec<Stamp>, String)>>,
    /// When a certificate that ends soon was last warned of, seconds since the epoch.
    warned_s: Mutex<i64>,
}

/// What the properties say.
struct Settings {
    key_store: KeyStore,
    trust_store: Option<TrustStore>,
    client_auth: ClientAuth,
    provider: Arc<CryptoProvider>,
    versions: Vec<&'static SupportedProtocolVersion>,
    rules: MappingRules,
}

/// What is in force.
struct Current {
    config: Arc<ServerConfig>,
    /// Of the files that it was read from.
    stamps: Vec<Stamp>,
    /// When all of the listener's own certificates are valid, seconds since the epoch.
    valid_s: RangeInclusive<i64>,
}

impl ServerTls {
    /// For the listener `name` with these properties: reads the stores.
    ///
    /// # Errors
    /// What is missing or can't be used, with the name of the property.
    pub fn of(
        name: &str,
        values: &ListenerValues<'_>,
        client_auth: ClientAuth,
    ) -> Result<Arc<Self>, ConfigError> {
        let wrong = |error: StoreError| values.wrong(error.setting, error.reason);
        let given = |setting: &str| values.text(setting).filter(|value| !value.is_empty());
        let key_store = KeyStore::of(given).map_err(wrong)?.ok_or_else(|| {
            let reason = format!("is missing: listener {name} needs a certificate and its key");
            values.wrong("ssl.keystore.location", reason)
        })?;
        let trust_store = TrustStore::of(given).map_err(wrong)?;
        if client_auth != ClientAuth::None && trust_store.is_none() {
            let asked = client_auth.name();
            let reason = format!(
                "is missing: ssl.client.auth={asked} needs the authorities that sign clients' certificates"
            );
            return Err(values.wrong("ssl.truststore.location", reason));
        }
        let rules = values.text("ssl.principal.mapping.rules");
        let rules = MappingRules::parse(&rules.unwrap_or_default())
            .map_err(|reason| values.wrong("ssl.principal.mapping.rules", reason))?;
        let settings = Settings {
            key_store,
            trust_store,
            client_auth,
            provider: provider(values)?,
            versions: versions(values)?,
            rules,
        };
        let current = settings.read().map_err(wrong)?;
        Ok(Arc::new(Self {
            name: name.to_owned(),
            settings,
            current: ArcSwap::from_pointee(current),
            failed: Mutex::default(),
            warned_s: Mutex::default(),
        }))
    }

    /// What is in force now.
    pub fn config(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.current.load().config)
    }

    pub fn client_auth(&self) -> ClientAuth {
        self.settings.client_auth
    }

    /// Who has shown this chain, the client's own certificate first; without one, it is ANONYMOUS.
    ///
    /// # Errors
    /// The certificate has expired since, or no rule matches.
    pub fn principal(&self, chain: &[CertificateDer<'_>]) -> Result<Principal, CertificateError> {
        let Some(own) = chain.first() else {
            return Ok(Principal::anonymous());
        };
        let (_, own) = X509Certificate::from_der(own).map_err(|_| CertificateError::Unreadable)?;
        if !own.validity().is_valid() {
            return Err(CertificateError::Expired);
        }
        let name = names::distinguished_name(own.subject());
        match self.settings.rules.name(&name) {
            Some(user) => Ok(Principal::user(&user)),
            None => Err(CertificateError::NoRule(name)),
        }
    }
}

impl fmt::Debug for ServerTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServerTls")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

impl Settings {
    /// Reads the stores.
    fn read(&self) -> Result<Current, StoreError> {
        let stamps = self.stamps();
        let keys = keys::Keys::new(self.key_store.identities(files::read)?, &self.provider)?;
        let valid_s = keys.valid_s();
        let builder = ServerConfig::builder_with_provider(Arc::clone(&self.provider))
            .with_protocol_versions(&self.versions)
            .map_err(|error| unfit(&error))?;
        let builder = match &self.trust_store {
            Some(store) if self.client_auth != ClientAuth::None => {
                let trusted = store.certificates(files::read)?;
                let is_required = self.client_auth == ClientAuth::Required;
                let verifier = client::Verifier::new(trusted, is_required, &self.provider);
                let verifier = verifier.map_err(|reason| StoreError {
                    setting: store.setting(),
                    reason,
                })?;
                builder.with_client_cert_verifier(Arc::new(verifier))
            }
            _ => builder.with_no_client_auth(),
        };
        let mut config = builder.with_cert_resolver(Arc::new(keys));
        // Sessions are resumed by tickets, which cost no memory here.
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.ticketer = ring::Ticketer::new().map_err(|error| unfit(&error))?;
        Ok(Current {
            config: Arc::new(config),
            stamps,
            valid_s,
        })
    }

    /// The files' stamps now, of the key store first.
    fn stamps(&self) -> Vec<Stamp> {
        let trust_store = self.trust_store.as_ref().and_then(TrustStore::file);
        let files = [self.key_store.file(), trust_store];
        files.into_iter().flatten().map(Stamp::of).collect()
    }
}

fn unfit(error: &rustls::Error) -> StoreError {
    StoreError {
        setting: "ssl.cipher.suites",
        reason: format!("fits no version of ssl.enabled.protocols: {error}"),
    }
}

/// The ring provider, with the cipher suites that are set.
fn provider(values: &ListenerValues<'_>) -> Result<Arc<CryptoProvider>, ConfigError> {
    const NAME: &str = "ssl.cipher.suites";
    let mut provider = ring::default_provider();
    let names = values.list(NAME);
    if !names.is_empty() {
        // Java's names are those of the standard; for TLS 1.3 rustls has its own prefix.
        provider.cipher_suites.retain(|suite| {
            let ours = format!("{:?}", suite.suite()).replace("TLS13_", "TLS_");
            names.contains(&ours)
        });
        if provider.cipher_suites.is_empty() {
            return Err(values.wrong(NAME, "names no supported cipher suite"));
        }
    }
    Ok(Arc::new(provider))
}

fn versions(
    values: &ListenerValues<'_>,
) -> Result<Vec<&'static SupportedProtocolVersion>, ConfigError> {
    const NAME: &str = "ssl.enabled.protocols";
    const OLD: [&str; 4] = ["SSLv3", "TLSv1", "TLSv1.1", "SSLv2Hello"];
    let names = values.list(NAME);
    let is_known = |name: &&String| *name == "TLSv1.2" || *name == "TLSv1.3";
    let unknown = names
        .iter()
        .find(|name| !is_known(name) && !OLD.contains(&name.as_str()));
    if let Some(unknown) = unknown {
        return Err(values.wrong(NAME, format!("'{unknown}' must be TLSv1.2 or TLSv1.3")));
    }
    let has = |name: &str| names.is_empty() || names.iter().any(|known| known == name);
    let both = [("TLSv1.3", &TLS13), ("TLSv1.2", &TLS12)];
    let versions: Vec<_> = both.into_iter().filter(|(name, _)| has(name)).collect();
    if versions.is_empty() {
        return Err(values.wrong(
            NAME,
            "names neither TLSv1.2 nor TLSv1.3: older versions are broken",
        ));
    }
    Ok(versions.into_iter().map(|(_, version)| version).collect())
}
