//! Key stores and trust stores (`ssl.keystore.*`, `ssl.truststore.*`): PEM or PKCS#12, inline or in
//! a file, as Kafka's `DefaultSslEngineFactory` takes them.
//!
//! A file's content decides what it is, not `ssl.keystore.type`: Java, too, reads a PKCS#12 file
//! under the type JKS, which is Kafka's default. The caller reads the files.

use std::path::{Path, PathBuf};

use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use super::{Secret, pem, pkcs12};

/// The largest file that is a store.
pub const FILE_MAX_BYTES: u64 = 4 << 20;

const KEY_LOCATION: &str = "ssl.keystore.location";
const KEY_PASSWORD: &str = "ssl.keystore.password";
const KEY_TYPE: &str = "ssl.keystore.type";
const KEY: &str = "ssl.keystore.key";
const CHAIN: &str = "ssl.keystore.certificate.chain";
const PASSWORD_OF_KEY: &str = "ssl.key.password";
const TRUST_LOCATION: &str = "ssl.truststore.location";
const TRUST_PASSWORD: &str = "ssl.truststore.password";
const TRUST_TYPE: &str = "ssl.truststore.type";
const CERTIFICATES: &str = "ssl.truststore.certificates";

/// What is wrong with a store, and which setting to look at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoreError {
    pub setting: &'static str,
    pub reason: String,
}

fn wrong(setting: &'static str, reason: impl Into<String>) -> StoreError {
    let reason = reason.into();
    StoreError { setting, reason }
}

/// A private key, and its certificate followed by those that signed it.
#[derive(Debug)]
pub struct Identity {
    pub key: PrivateKeyDer<'static>,
    pub chain: Vec<CertificateDer<'static>>,
}

/// Where private keys and their certificates are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeyStore {
    File {
        path: PathBuf,
        /// Of a PKCS#12 file.
        password: Option<Secret>,
        /// Of an encrypted key in PEM.
        key_password: Option<Secret>,
    },
    /// PEM in the settings themselves.
    Inline {
        key: Secret,
        chain: Secret,
        key_password: Option<Secret>,
    },
}

/// Where trusted certificates are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TrustStore {
    File {
        path: PathBuf,
        /// Of a PKCS#12 file.
        password: Option<Secret>,
    },
    /// PEM in the setting itself.
    Inline(Secret),
}

impl KeyStore {
    /// The key store of these settings, if they name one. `given` has the value of a setting that is
    /// set.
    ///
    /// # Errors
    /// Settings that contradict each other.
    pub fn of(given: impl Fn(&str) -> Option<String>) -> Result<Option<Self>, StoreError> {
        let is_pem = is_pem(KEY_TYPE, given(KEY_TYPE))?;
        let password = given(KEY_PASSWORD).map(Secret::new);
        let key_password = given(PASSWORD_OF_KEY).map(Secret::new);
        let store = match (given(KEY_LOCATION), given(KEY), given(CHAIN)) {
            (None, None, None) => return Ok(None),
            (Some(_), Some(_), _) => return Err(both(KEY_LOCATION, KEY)),
            (Some(_), None, Some(_)) => return Err(both(KEY_LOCATION, CHAIN)),
            (None, None, Some(_)) => {
                return Err(wrong(KEY, format!("is missing: {CHAIN} needs it")));
            }
            (None, Some(_), None) => {
                return Err(wrong(CHAIN, format!("is missing: {KEY} needs it")));
            }
            (None, Some(_), Some(_)) if !is_pem => return Err(needs_pem(KEY_TYPE, KEY)),
            (Some(path), None, None) => Self::File {
                path: path.into(),
                password: password.clone(),
                key_password,
            },
            (None, Some(key), Some(chain)) => Self::Inline {
                key: Secret::new(key),
                chain: Secret::new(chain),
                key_password,
            },
        };
        no_password_with_pem(is_pem, KEY_PASSWORD, password.as_ref())?;
        Ok(Some(store))
    }

    /// The file that holds it.
    pub fn file(&self) -> Option<&Path> {
        match self {
            Self::File { path, .. } => Some(path),
            Self::Inline { .. } => None,
        }
    }

    /// Every key with its certificates, at least one. `read` reads a file.
    ///
    /// # Errors
    /// What can't be read or understood; no secret is part of it.
    pub fn identities(
        &self,
        read: impl FnOnce(&Path) -> Result<Vec<u8>, String>,
    ) -> Result<Vec<Identity>, StoreError> {
        match self {
            Self::Inline {
                key,
                chain,
                key_password,
            } => {
                let key = pem_key(key.expose(), key_password.as_ref(), KEY)?;
                let chain = pem::certificates(chain.expose());
                let chain = chain.map_err(|reason| wrong(CHAIN, reason))?;
                Ok(vec![identity(key, chain)])
            }
            Self::File {
                path,
                password,
                key_password,
            } => {
                let bytes = read(path).map_err(|reason| wrong(KEY_LOCATION, reason))?;
                let in_file = |reason| wrong(KEY_LOCATION, format!("{}: {reason}", path.display()));
                match Format::of(&bytes) {
                    Format::Pem(text) => {
                        no_password_with_pem(true, KEY_PASSWORD, password.as_ref())?;
                        let key = pem_key(&text, key_password.as_ref(), KEY_LOCATION)?;
                        let chain = pem::certificates(&text).map_err(in_file)?;
                        Ok(vec![identity(key, chain)])
                    }
                    Format::Pkcs12 => {
                        let Some(password) = password else {
                            return Err(wrong(KEY_PASSWORD, "is missing: a PKCS12 store needs it"));
                        };
                        one_password(password, key_password.as_ref())?;
                        let found = pkcs12::identities(&bytes, password.expose());
                        let found =
                            found.map_err(|error| error.of(KEY_LOCATION, KEY_PASSWORD, path))?;
                        let whole = found.into_iter().map(|it| identity(it.key, it.chain));
                        Ok(whole.collect())
                    }
                    Format::Jks => Err(in_file(jks(path, "keystore", KEY_LOCATION))),
                }
            }
        }
    }
}

impl TrustStore {
    /// The trust store of these settings, if they name one.
    ///
    /// # Errors
    /// Settings that contradict each other.
    pub fn of(given: impl Fn(&str) -> Option<String>) -> Result<Option<Self>, StoreError> {
        let is_pem = is_pem(TRUST_TYPE, given(TRUST_TYPE))?;
        let password = given(TRUST_PASSWORD).map(Secret::new);
        let store = match (given(TRUST_LOCATION), given(CERTIFICATES)) {
            (None, None) => return Ok(None),
            (Some(_), Some(_)) => return Err(both(TRUST_LOCATION, CERTIFICATES)),
            (None, Some(_)) if !is_pem => return Err(needs_pem(TRUST_TYPE, CERTIFICATES)),
            (Some(path), None) => Self::File {
                path: path.into(),
                password: password.clone(),
            },
            (None, Some(text)) => Self::Inline(Secret::new(text)),
        };
        no_password_with_pem(is_pem, TRUST_PASSWORD, password.as_ref())?;
        Ok(Some(store))
    }

    /// The file that holds it.
    pub fn file(&self) -> Option<&Path> {
        match self {
            Self::File { path, .. } => Some(path),
            Self::Inline(_) => None,
        }
    }

    /// The setting that names it.
    pub fn setting(&self) -> &'static str {
        match self {
            Self::File { .. } => TRUST_LOCATION,
            Self::Inline(_) => CERTIFICATES,
        }
    }

    /// Every trusted certificate, at least one. `read` reads a file.
    ///
    /// # Errors
    /// What can't be read or understood; no secret is part of it.
    pub fn certificates(
        &self,
        read: impl FnOnce(&Path) -> Result<Vec<u8>, String>,
    ) -> Result<Vec<CertificateDer<'static>>, StoreError> {
        match self {
            Self::Inline(text) => {
                pem::certificates(text.expose()).map_err(|reason| wrong(CERTIFICATES, reason))
            }
            Self::File { path, password } => {
                let bytes = read(path).map_err(|reason| wrong(TRUST_LOCATION, reason))?;
                let in_file =
                    |reason| wrong(TRUST_LOCATION, format!("{}: {reason}", path.display()));
                match Format::of(&bytes) {
                    Format::Pem(text) => {
                        no_password_with_pem(true, TRUST_PASSWORD, password.as_ref())?;
                        pem::certificates(&text).map_err(in_file)
                    }
                    Format::Pkcs12 => {
                        let password = password.as_ref().map_or("", Secret::expose);
                        let found = pkcs12::trusted(&bytes, password);
                        found.map_err(|error| error.of(TRUST_LOCATION, TRUST_PASSWORD, path))
                    }
                    Format::Jks => Err(in_file(jks(path, "truststore", TRUST_LOCATION))),
                }
            }
        }
    }
}

/// What a file is, by its first bytes.
enum Format {
    Pem(String),
    Pkcs12,
    /// JKS, or its sibling JCEKS.
    Jks,
}

impl Format {
    fn of(bytes: &[u8]) -> Self {
        match bytes {
            [0xfe, 0xed, 0xfe, 0xed, ..] | [0xce, 0xce, 0xce, 0xce, ..] => Self::Jks,
            [0x30, 0x80..=0x84, ..] => Self::Pkcs12,
            _ => Self::Pem(String::from_utf8_lossy(bytes).into_owned()),
        }
    }
}

fn jks(path: &Path, new: &str, setting: &str) -> String {
    let path = path.display();
    format!(
        "is a JKS store, which can't be read: convert it with `keytool -importkeystore -srckeystore \
         {path} -destkeystore {new}.p12 -deststoretype PKCS12`, then set {setting} to {new}.p12"
    )
}

fn is_pem(setting: &'static str, kind: Option<String>) -> Result<bool, StoreError> {
    match kind.unwrap_or_default().to_ascii_uppercase().as_str() {
        "PEM" => Ok(true),
        "" | "JKS" | "PKCS12" => Ok(false),
        _ => Err(wrong(setting, "must be PEM, PKCS12 or JKS")),
    }
}

fn identity(key: PrivateKeyDer<'static>, chain: Vec<CertificateDer<'static>>) -> Identity {
    let key = match chain.first() {
        Some(own) => pem::with_public_half(key, own),
        None => key,
    };
    Identity { key, chain }
}

fn pem_key(
    text: &str,
    password: Option<&Secret>,
    setting: &'static str,
) -> Result<PrivateKeyDer<'static>, StoreError> {
    let password = password.map(Secret::expose);
    pem::private_key(text, password).map_err(|reason| wrong(setting, reason))
}

fn both(one: &'static str, other: &str) -> StoreError {
    wrong(
        one,
        format!("can't be set together with {other}: remove one of them"),
    )
}

fn needs_pem(kind: &'static str, inline: &str) -> StoreError {
    wrong(kind, format!("must be PEM if {inline} is set"))
}

/// Kafka refuses it, too.
fn no_password_with_pem(
    is_pem: bool,
    setting: &'static str,
    password: Option<&Secret>,
) -> Result<(), StoreError> {
    match password.filter(|_| is_pem) {
        None => Ok(()),
        Some(_) => Err(wrong(
            setting,
            "is not used with PEM; a private key's own password is ssl.key.password",
        )),
    }
}

/// A PKCS#12 file has one password: keytool makes no other.
fn one_password(store: &Secret, key: Option<&Secret>) -> Result<(), StoreError> {
    match key.filter(|key| *key != store) {
        None => Ok(()),
        Some(_) => Err(wrong(
            PASSWORD_OF_KEY,
            format!("differs from {KEY_PASSWORD}: the keys of a PKCS12 store have its password"),
        )),
    }
}

#[cfg(test)]
mod tests;
