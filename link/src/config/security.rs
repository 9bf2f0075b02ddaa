//! TLS (`ssl.*`) and SASL (`sasl.*`) to the source.
//!
//! Follows Kafka's `DefaultSslEngineFactory`, `JaasContext` and KIP-651 (PEM), so that a client's
//! properties file works as it is. What is not supported is refused by name, and the error says
//! what to use instead. Configs that `security.protocol` does not use are ignored, as in Kafka.

use carrick_protocol::credentials::store::StoreError;
pub use carrick_protocol::credentials::store::{KeyStore, TrustStore};
use carrick_protocol::credentials::{Mechanism, Secret, jaas};

use super::oauth::OAuth;
use super::reader::{ConfigError, Reader};
pub use super::value::TlsVersions;
use super::value::{self, checks_host, versions};

const LOGIN_HANDLER: &str = "sasl.login.callback.handler.class";

/// TLS and SASL, as configured.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Security {
    /// TLS, if it is used.
    pub tls: Option<Tls>,
    /// SASL, if it is used.
    pub sasl: Option<Sasl>,
    /// Why no connection is possible: a stored secret could not be read.
    pub fault: Option<String>,
}

/// TLS to the source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tls {
    /// Certificates that the source's must be signed by; `None`: those of this host.
    pub truststore: Option<TrustStore>,
    /// Who we are, if we say.
    pub keystore: Option<KeyStore>,
    /// The certificate must be for the host that is connected to.
    pub checks_host: bool,
    /// `TLSv1.2`, `TLSv1.3` or both.
    pub versions: TlsVersions,
    /// `ssl.cipher.suites` by their standard names; empty for all.
    pub cipher_suites: Vec<String>,
}

/// SASL to the source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sasl {
    pub mechanism: Mechanism,
    pub login: Login,
}

/// What shows who the link is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Login {
    Password {
        username: Secret,
        password: Secret,
        /// User and password are a delegation token's (KIP-48); SCRAM only.
        is_token: bool,
    },
    /// OAUTHBEARER
    Token(Box<OAuth>),
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
                "names the wrong login module: sasl.mechanism={mechanism} needs {wanted}"
            )));
        }
        if mechanism == Mechanism::OAuthBearer {
            let login = Login::Token(Box::new(OAuth::read(of, &module.options)?));
            return Ok(Self { mechanism, login });
        }
        if of.given(LOGIN_HANDLER).is_some() {
            let reason = "is for OAUTHBEARER: leave it out";
            return Err(ConfigError::new(LOGIN_HANDLER, reason));
        }
        let mut option = |name: &str| {
            let missing = || wrong(format!("has no option {name}=\"…\""));
            let value = module.options.remove(name);
            value.filter(|value| !value.is_empty()).ok_or_else(missing)
        };
        let (username, password) = (option("username")?, option("password")?);
        let token = module.options.get("tokenauth");
        let login = Login::Password {
            username: Secret::new(username),
            password: Secret::new(password),
            is_token: token.is_some_and(|value| value.eq_ignore_ascii_case("true")),
        };
        Ok(Self { mechanism, login })
    }
}

fn mechanism(name: &str) -> Result<Mechanism, String> {
    Mechanism::named(name).ok_or_else(|| {
        let all = "PLAIN, SCRAM-SHA-256, SCRAM-SHA-512 or OAUTHBEARER";
        match name {
            "GSSAPI" => format!("GSSAPI (Kafka's default) is not supported: use {all}"),
            _ => format!("must be {all}"),
        }
    })
}

impl Tls {
    fn read(of: &Reader<'_>) -> Result<Self, ConfigError> {
        Ok(Self {
            truststore: TrustStore::of(|name| of.given(name)).map_err(wrong)?,
            keystore: KeyStore::of(|name| of.given(name)).map_err(wrong)?,
            checks_host: of.read("ssl.endpoint.identification.algorithm", checks_host)?,
            versions: of.read("ssl.enabled.protocols", versions)?,
            cipher_suites: of.read("ssl.cipher.suites", |text| {
                Ok(value::split_list(text).map(str::to_owned).collect())
            })?,
        })
    }
}

fn wrong(error: StoreError) -> ConfigError {
    ConfigError::new(error.setting, error.reason)
}

#[cfg(test)]
mod tests;
