//! What the link says to its source about itself and asks of it: TLS (`ssl.*`) and SASL (`sasl.*`).
//!
//! Follows Kafka's `DefaultSslEngineFactory`, `JaasContext` and KIP-651 (PEM), so that a client's properties file works
//! as it is. What cannot be done is refused by name, with the way out. Configs that `security.protocol` makes no use of
//! are not looked at, as in Kafka.

use std::fmt;
use std::path::PathBuf;

use super::{ConfigError, Reader, jaas, value};

/// How the source is spoken to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Security {
    /// TLS, if it is used.
    pub tls: Option<Tls>,
    /// SASL, if it is used.
    pub sasl: Option<Sasl>,
    /// Why it can't be spoken to: a secret that is stored here could not be read.
    pub fault: Option<String>,
}

/// A value that shows nowhere.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Hides `text`.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The value, for use.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[hidden]")
    }
}

/// Where PEM text is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Pem {
    /// In a file, which is read anew for each connection.
    File(PathBuf),
    /// In the config itself.
    Inline(Secret),
}

/// TLS to the source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tls {
    /// Certificates that the source's must be signed by; `None`: those of this host.
    pub truststore: Option<Pem>,
    /// Who we are, if we say.
    pub keystore: Option<KeyStore>,
    /// The certificate must be for the host that is connected to.
    pub checks_host: bool,
    /// `TLSv1.2`, `TLSv1.3` or both.
    pub versions: TlsVersions,
    /// `ssl.cipher.suites` by their standard names; empty for all.
    pub cipher_suites: Vec<String>,
}

/// Which versions of TLS may be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TlsVersions {
    /// TLS 1.2
    pub v1_2: bool,
    /// TLS 1.3
    pub v1_3: bool,
}

/// A client's certificate and key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyStore {
    /// The private key.
    pub key: Pem,
    /// The certificate and those that signed it; in one file with the key if it is a file.
    pub chain: Pem,
    /// What the key is encrypted with.
    pub key_password: Option<Secret>,
}

/// SASL to the source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sasl {
    /// How.
    pub mechanism: Mechanism,
    /// Who.
    pub username: Secret,
    /// The proof.
    pub password: Secret,
    /// User and password are a delegation token's (KIP-48); SCRAM only.
    pub is_token: bool,
}

/// SASL mechanisms.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mechanism {
    /// RFC 4616
    Plain,
    /// RFC 7677
    ScramSha256,
    /// RFC 7677 with SHA-512, as Kafka has it
    ScramSha512,
}

impl Mechanism {
    /// Its registered name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Plain => "PLAIN",
            Self::ScramSha256 => "SCRAM-SHA-256",
            Self::ScramSha512 => "SCRAM-SHA-512",
        }
    }

    fn login_module(self) -> &'static str {
        match self {
            Self::Plain => "PlainLoginModule",
            Self::ScramSha256 | Self::ScramSha512 => "ScramLoginModule",
        }
    }
}

impl Security {
    /// Kafka's name of it.
    pub fn protocol(&self) -> &'static str {
        match (&self.tls, &self.sasl) {
            (None, None) => "PLAINTEXT",
            (Some(_), None) => "SSL",
            (None, Some(_)) => "SASL_PLAINTEXT",
            (Some(_), Some(_)) => "SASL_SSL",
        }
    }

    /// Of a link one of whose secrets could not be read.
    pub(super) fn unreadable(name: &str, reason: &str) -> Self {
        Self {
            fault: Some(format!("{name} is stored and could not be read: {reason}")),
            ..Self::default()
        }
    }

    /// From the configs of a link.
    pub(super) fn read(of: &Reader<'_>) -> Result<Self, ConfigError> {
        let protocol = of.text("security.protocol")?;
        let tls = protocol
            .ends_with("SSL")
            .then(|| Tls::read(of))
            .transpose()?;
        let sasl = protocol
            .starts_with("SASL")
            .then(|| Sasl::read(of))
            .transpose()?;
        Ok(Self {
            tls,
            sasl,
            fault: None,
        })
    }
}

impl Sasl {
    fn read(of: &Reader<'_>) -> Result<Self, ConfigError> {
        let mechanism = of.read("sasl.mechanism", mechanism)?;
        let line = of
            .given("sasl.jaas.config")
            .ok_or_else(|| ConfigError::new("sasl.jaas.config", "is missing: SASL needs it"))?;
        let wrong = |reason: String| ConfigError::new("sasl.jaas.config", reason);
        let mut module = jaas::parse(&line).map_err(wrong)?;
        let wanted = mechanism.login_module();
        if module.class.rsplit('.').next() != Some(wanted) {
            let mechanism = mechanism.name();
            return Err(wrong(format!(
                "names another login module than {wanted}, which is the one of sasl.mechanism={mechanism}"
            )));
        }
        let mut option = |name: &str| {
            let missing = || wrong(format!("has no option {name}=\"…\""));
            let value = module.options.remove(name);
            value.filter(|value| !value.is_empty()).ok_or_else(missing)
        };
        let (username, password) = (option("username")?, option("password")?);
        let token = module.options.get("tokenauth");
        Ok(Self {
            mechanism,
            username: Secret(username),
            password: Secret(password),
            is_token: token.is_some_and(|value| value.eq_ignore_ascii_case("true")),
        })
    }
}

fn mechanism(name: &str) -> Result<Mechanism, String> {
    let known = [
        Mechanism::Plain,
        Mechanism::ScramSha256,
        Mechanism::ScramSha512,
    ];
    let found = known.into_iter().find(|known| known.name() == name);
    found.ok_or_else(|| match name {
        "GSSAPI" => {
            "GSSAPI (Kafka's default) is not supported: use PLAIN, SCRAM-SHA-256 or SCRAM-SHA-512"
                .into()
        }
        "OAUTHBEARER" => {
            "OAUTHBEARER is not supported: use PLAIN, SCRAM-SHA-256 or SCRAM-SHA-512".into()
        }
        _ => "must be PLAIN, SCRAM-SHA-256 or SCRAM-SHA-512".to_owned(),
    })
}

impl Tls {
    fn read(of: &Reader<'_>) -> Result<Self, ConfigError> {
        Ok(Self {
            truststore: truststore(of)?,
            keystore: keystore(of)?,
            checks_host: of.read("ssl.endpoint.identification.algorithm", checks_host)?,
            versions: of.read("ssl.enabled.protocols", versions)?,
            cipher_suites: of.read("ssl.cipher.suites", |text| {
                Ok(value::split_list(text).map(str::to_owned).collect())
            })?,
        })
    }
}

/// `https`, or nothing at all.
pub(super) fn checks_host(text: &str) -> Result<bool, String> {
    match text {
        "" => Ok(false),
        _ if text.eq_ignore_ascii_case("https") => Ok(true),
        _ => Err("must be https, or empty to trust certificates of any host".into()),
    }
}

/// Those of the list that are safe to use; older ones are left out.
pub(super) fn versions(text: &str) -> Result<TlsVersions, String> {
    let names = |wanted: &str| value::split_list(text).any(|name| name == wanted);
    let versions = TlsVersions {
        v1_2: names("TLSv1.2"),
        v1_3: names("TLSv1.3"),
    };
    let known = [
        "TLSv1.3",
        "TLSv1.2",
        "TLSv1.1",
        "TLSv1",
        "SSLv3",
        "SSLv2Hello",
    ];
    if value::split_list(text).any(|name| !known.contains(&name))
        || !(versions.v1_2 || versions.v1_3)
    {
        return Err("must name TLSv1.2, TLSv1.3 or both; older versions are not spoken".into());
    }
    Ok(versions)
}

fn truststore(of: &Reader<'_>) -> Result<Option<Pem>, ConfigError> {
    const TYPE: &str = "ssl.truststore.type";
    const LOCATION: &str = "ssl.truststore.location";
    const INLINE: &str = "ssl.truststore.certificates";
    let kind = of.text(TYPE)?.to_ascii_uppercase();
    let pem = match (of.given(LOCATION), of.given(INLINE)) {
        (None, None) => return Ok(None),
        (Some(_), Some(_)) => return Err(both(LOCATION, INLINE)),
        (Some(path), None) if kind != "PEM" => {
            let reason = format!(
                "a {kind} store can't be read (JKS is Kafka's default), only PEM: write its certificates to a \
                 file with `keytool -list -rfc -keystore {path} > ca.pem`, then set {LOCATION} to that \
                 file, {TYPE}=PEM, and leave ssl.truststore.password out"
            );
            return Err(ConfigError::new(TYPE, reason));
        }
        (None, Some(_)) if kind != "PEM" => return Err(needs_pem(TYPE, INLINE)),
        (Some(path), None) => Pem::File(path.into()),
        (None, Some(pem)) => Pem::Inline(Secret(pem)),
    };
    no_store_password(of, "ssl.truststore.password")?;
    Ok(Some(pem))
}

fn keystore(of: &Reader<'_>) -> Result<Option<KeyStore>, ConfigError> {
    const TYPE: &str = "ssl.keystore.type";
    const LOCATION: &str = "ssl.keystore.location";
    const KEY: &str = "ssl.keystore.key";
    const CHAIN: &str = "ssl.keystore.certificate.chain";
    let kind = of.text(TYPE)?.to_ascii_uppercase();
    let (key, chain) = match (of.given(LOCATION), of.given(KEY), of.given(CHAIN)) {
        (None, None, None) => return Ok(None),
        (Some(_), Some(_), _) => return Err(both(LOCATION, KEY)),
        (Some(_), None, Some(_)) => return Err(both(LOCATION, CHAIN)),
        (None, None, Some(_)) => {
            return Err(ConfigError::new(
                KEY,
                format!("is missing: {CHAIN} needs it"),
            ));
        }
        (None, Some(_), None) => {
            return Err(ConfigError::new(
                CHAIN,
                format!("is missing: {KEY} needs it"),
            ));
        }
        (Some(path), None, None) if kind != "PEM" => return Err(not_pem(TYPE, &kind, &path)),
        (None, Some(_), Some(_)) if kind != "PEM" => return Err(needs_pem(TYPE, KEY)),
        (Some(path), None, None) => (Pem::File(path.clone().into()), Pem::File(path.into())),
        (None, Some(key), Some(chain)) => (Pem::Inline(Secret(key)), Pem::Inline(Secret(chain))),
    };
    no_store_password(of, "ssl.keystore.password")?;
    Ok(Some(KeyStore {
        key,
        chain,
        key_password: of.given("ssl.key.password").map(Secret),
    }))
}

fn not_pem(name: &str, kind: &str, path: &str) -> ConfigError {
    let to_pem = |from: &str| format!("`openssl pkcs12 -in {from} -nodes -out keystore.pem`");
    let convert = match kind {
        "PKCS12" => to_pem(path),
        _ => format!(
            "`keytool -importkeystore -srckeystore {path} -destkeystore keystore.p12 -deststoretype PKCS12`, then {}",
            to_pem("keystore.p12")
        ),
    };
    let reason = format!(
        "a {kind} store can't be read (JKS is Kafka's default), only PEM: convert it with {convert}; then set \
         ssl.keystore.location to keystore.pem, {name}=PEM, and leave ssl.keystore.password out"
    );
    ConfigError::new(name, reason)
}

fn both(one: &str, other: &str) -> ConfigError {
    ConfigError::new(one, format!("is set, and {other} too: one of them must go"))
}

fn needs_pem(kind: &str, inline: &str) -> ConfigError {
    ConfigError::new(kind, format!("must be PEM where {inline} is set"))
}

/// Kafka refuses it with PEM, too.
fn no_store_password(of: &Reader<'_>, name: &str) -> Result<(), ConfigError> {
    match of.given(name) {
        None => Ok(()),
        Some(_) => Err(ConfigError::new(
            name,
            "has no meaning for PEM; a private key's own password is ssl.key.password",
        )),
    }
}

#[cfg(test)]
mod tests;
