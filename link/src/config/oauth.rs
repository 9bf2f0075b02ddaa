//! OAUTHBEARER to the source: where tokens come from, and when they are renewed. Kafka's names and
//! classes, so that a client's properties file works as it is.

use std::collections::BTreeMap;
use std::path::PathBuf;

use carrick_protocol::credentials::{Secret, bearer};

use super::reader::{ConfigError, Reader};
use super::value;
use crate::web;

const URL: &str = "sasl.oauthbearer.token.endpoint.url";
const CLIENT_ID: &str = "sasl.oauthbearer.client.credentials.client.id";
const CLIENT_SECRET: &str = "sasl.oauthbearer.client.credentials.client.secret";
const RETRIEVER: &str = "sasl.oauthbearer.jwt.retriever.class";
const VALIDATOR: &str = "sasl.oauthbearer.jwt.validator.class";
const HANDLER: &str = "sasl.login.callback.handler.class";
const PACKAGE: &str = "org.apache.kafka.common.security.oauthbearer.";

/// How the link gets and shows tokens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OAuth {
    pub from: TokenFrom,
    pub refresh: Refresh,
    /// `sasl.login.retry.backoff.ms`
    pub retry_backoff_ms: u64,
    /// `sasl.login.retry.backoff.max.ms`: also for how long all attempts together may begin.
    pub retry_backoff_max_ms: u64,
    /// SASL extensions (KIP-342).
    pub extensions: BTreeMap<String, String>,
}

/// Where tokens come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TokenFrom {
    /// A file that something else renews.
    File(PathBuf),
    /// The provider, which asks for client id and secret.
    Endpoint(Endpoint),
}

/// A provider's token endpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    pub url: String,
    pub client_id: Secret,
    pub client_secret: Secret,
    pub scope: Option<String>,
    /// Whether id, secret and scope are encoded as RFC 6749 has it. Kafka's default is not to.
    pub encodes: bool,
    /// The authorities that may sign the endpoint's certificate.
    pub trust: web::Trust,
    pub limits: web::Limits,
}

/// `sasl.login.refresh.…`
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Refresh {
    /// Part of a token's lifetime after which it is renewed.
    pub factor_thousandths: u32,
    /// At most that much later, at random.
    pub jitter_thousandths: u32,
    pub min_period_seconds: u32,
    pub buffer_seconds: u32,
}

/// The options of a JAAS line.
pub(super) type Options = BTreeMap<String, String>;

impl OAuth {
    pub(super) fn read(of: &Reader<'_>, options: &Options) -> Result<Self, ConfigError> {
        let accepted = [
            "OAuthBearerLoginCallbackHandler",
            "secured.OAuthBearerLoginCallbackHandler",
        ];
        check_class(of, HANDLER, &accepted)?;
        check_class(
            of,
            VALIDATOR,
            &["DefaultJwtValidator", "ClientJwtValidator"],
        )?;
        let from = token_from(of, options)?;
        let retriever = match from {
            TokenFrom::File(_) => "FileJwtRetriever",
            TokenFrom::Endpoint(_) => "ClientCredentialsJwtRetriever",
        };
        check_class(of, RETRIEVER, &["DefaultJwtRetriever", retriever])?;
        Ok(Self {
            from,
            refresh: Refresh {
                factor_thousandths: of
                    .read("sasl.login.refresh.window.factor", value::thousandths)?,
                jitter_thousandths: of
                    .read("sasl.login.refresh.window.jitter", value::thousandths)?,
                min_period_seconds: of.number("sasl.login.refresh.min.period.seconds")?,
                buffer_seconds: of.number("sasl.login.refresh.buffer.seconds")?,
            },
            retry_backoff_ms: of.number("sasl.login.retry.backoff.ms")?,
            retry_backoff_max_ms: of.number("sasl.login.retry.backoff.max.ms")?,
            extensions: extensions(options)?,
        })
    }
}

fn jaas(reason: impl Into<String>) -> ConfigError {
    ConfigError::new("sasl.jaas.config", reason)
}

fn token_from(of: &Reader<'_>, options: &Options) -> Result<TokenFrom, ConfigError> {
    if options
        .keys()
        .any(|name| name.starts_with("unsecuredLogin"))
    {
        return Err(jaas(
            "asks for tokens without a signature: they are not supported",
        ));
    }
    let url = of.given(URL).ok_or_else(|| {
        let reason =
            "is missing: OAUTHBEARER needs it. Tokens without a signature are not supported";
        ConfigError::new(URL, reason)
    })?;
    let wrong = |reason: String| ConfigError::new(URL, reason);
    if url.to_ascii_lowercase().starts_with("file:") {
        let path = web::file_path(&url);
        let reason = "is no file on the broker's host: write file:///path/to/token";
        return path
            .map(TokenFrom::File)
            .ok_or_else(|| wrong(reason.to_owned()));
    }
    web::check_url(&url).map_err(|reason| wrong(format!("{reason}, or a file: URL")))?;
    // The config wins over the JAAS option, as in Kafka.
    let given = |name: &'static str, option: &str| {
        let value = of.given(name).or_else(|| options.get(option).cloned());
        value
            .map(|value| value.trim().to_owned())
            .filter(|value| !value.is_empty())
    };
    let needed = |name: &'static str, option: &str| {
        let reason =
            format!("is missing: set it, or the option {option}=\"…\" of sasl.jaas.config");
        given(name, option)
            .map(Secret::new)
            .ok_or_else(|| ConfigError::new(name, reason))
    };
    let limits = web::Limits::default();
    let millis = |name: &'static str, default: std::time::Duration| match of.given(name) {
        None => Ok(default),
        Some(_) => of.number(name).map(std::time::Duration::from_millis),
    };
    Ok(TokenFrom::Endpoint(Endpoint {
        client_id: needed(CLIENT_ID, "clientId")?,
        client_secret: needed(CLIENT_SECRET, "clientSecret")?,
        scope: given("sasl.oauthbearer.scope", "scope"),
        trust: web::Trust::of_options(options).map_err(jaas)?,
        encodes: of.read("sasl.oauthbearer.header.urlencode", value::boolean)?,
        limits: web::Limits {
            connect: millis("sasl.login.connect.timeout.ms", limits.connect)?,
            read: millis("sasl.login.read.timeout.ms", limits.read)?,
            ..limits
        },
        url,
    }))
}

/// Options that begin with `extension_`.
fn extensions(options: &Options) -> Result<BTreeMap<String, String>, ConfigError> {
    let mut extensions = BTreeMap::new();
    for (option, value) in options {
        let Some(key) = option.strip_prefix("extension_") else {
            continue;
        };
        bearer::check_extension(key, value)
            .map_err(|reason| jaas(format!("has a wrong extension: {reason}")))?;
        if key == "auth" {
            return Err(jaas("can't have an extension named 'auth'"));
        }
        extensions.insert(key.to_owned(), value.clone());
    }
    Ok(extensions)
}

/// Java classes are not loaded; those of Kafka's that do what is done here are accepted.
fn check_class(of: &Reader<'_>, name: &str, accepted: &[&str]) -> Result<(), ConfigError> {
    let Some(class) = of.given(name) else {
        return Ok(());
    };
    let is_kafkas = class
        .strip_prefix(PACKAGE)
        .is_some_and(|name| accepted.contains(&name));
    if is_kafkas {
        return Ok(());
    }
    let accepted: Vec<String> = accepted.iter().map(|it| format!("{PACKAGE}{it}")).collect();
    let reason = format!(
        "Java classes are not loaded: leave it out, or set it to {}, whose work is built in",
        accepted.join(" or ")
    );
    Err(ConfigError::new(name, reason))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::config::LinkConfig;
    use crate::config::security::Login;

    const MODULE: &str = "org.apache.kafka.common.security.oauthbearer.OAuthBearerLoginModule";

    fn parse(pairs: &[(&str, &str)]) -> Result<OAuth, ConfigError> {
        let mut values = BTreeMap::from([
            ("bootstrap.servers".to_owned(), "a:9092".to_owned()),
            ("security.protocol".to_owned(), "SASL_SSL".to_owned()),
            ("sasl.mechanism".to_owned(), "OAUTHBEARER".to_owned()),
        ]);
        let pairs = pairs.iter();
        values.extend(pairs.map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
        let config = LinkConfig::parse(&values)?;
        assert!(!format!("{config:?} {:?}", config.security).contains("hunter2"));
        match config.security.sasl.unwrap().login {
            Login::Token(oauth) => Ok(*oauth),
            Login::Password { .. } => panic!("a password"),
        }
    }

    #[test]
    fn a_client_s_file_with_its_credentials_in_the_jaas_line_is_taken_as_it_is() {
        let jaas = format!(
            "{MODULE} required clientId=\"me\" clientSecret=\"hunter2\" scope=\"a b\" \
             extension_logicalCluster=\"lkc-1\" extension_identityPoolId=\"pool-1\";"
        );
        let oauth = parse(&[
            (URL, "https://id.example/token"),
            ("sasl.jaas.config", &jaas),
            (
                HANDLER,
                "org.apache.kafka.common.security.oauthbearer.secured.OAuthBearerLoginCallbackHandler",
            ),
            ("sasl.login.read.timeout.ms", "1234"),
        ]);
        let oauth = oauth.unwrap();
        let TokenFrom::Endpoint(endpoint) = &oauth.from else {
            panic!("{:?}", oauth.from);
        };
        assert_eq!(endpoint.client_id.expose(), "me");
        assert_eq!(endpoint.client_secret.expose(), "hunter2");
        assert_eq!(endpoint.scope.as_deref(), Some("a b"));
        assert_eq!(endpoint.limits.read, Duration::from_millis(1234));
        assert_eq!(endpoint.limits.connect, Duration::from_secs(10));
        assert!(!endpoint.encodes);
        assert_eq!(oauth.refresh.factor_thousandths, 800);
        assert_eq!(oauth.refresh.jitter_thousandths, 50);
        let extensions: Vec<_> = oauth.extensions.keys().collect();
        assert_eq!(extensions, ["identityPoolId", "logicalCluster"]);
    }

    #[test]
    fn configs_of_kafka_4_win_over_the_jaas_line_and_a_token_may_be_in_a_file() {
        let jaas = format!("{MODULE} required clientId=\"x\" clientSecret=\"y\";");
        let oauth = parse(&[
            (URL, "https://id.example/token"),
            ("sasl.jaas.config", &jaas),
            (CLIENT_ID, "me"),
            (CLIENT_SECRET, "hunter2"),
            ("sasl.oauthbearer.scope", "s"),
            ("sasl.oauthbearer.header.urlencode", "true"),
        ]);
        match oauth.unwrap().from {
            TokenFrom::Endpoint(endpoint) => {
                assert_eq!(endpoint.client_id.expose(), "me");
                assert_eq!(endpoint.scope.as_deref(), Some("s"));
                assert!(endpoint.encodes);
            }
            other => panic!("{other:?}"),
        }
        let oauth = parse(&[
            (URL, "file:///run/token"),
            ("sasl.jaas.config", &format!("{MODULE} required;")),
            (
                RETRIEVER,
                "org.apache.kafka.common.security.oauthbearer.FileJwtRetriever",
            ),
        ]);
        assert_eq!(oauth.unwrap().from, TokenFrom::File("/run/token".into()));
    }

    #[test]
    fn what_cannot_be_done_is_refused_by_name() {
        let good = format!("{MODULE} required clientId=x clientSecret=\"hunter2\";");
        let empty = format!("{MODULE} required;");
        let unsecured = format!("{MODULE} required unsecuredLoginStringClaim_sub=\"hunter2\";");
        let extension =
            format!("{MODULE} required clientId=x clientSecret=\"hunter2\" extension_auth=\"a\";");
        let number =
            format!("{MODULE} required clientId=x clientSecret=\"hunter2\" extension_a1=\"a\";");
        let url = (URL, "https://id.example/token");
        #[rustfmt::skip]
        let table: [(&str, &[(&str, &str)]); 12] = [
            (URL, &[("sasl.jaas.config", &good)]),
            (URL, &[(URL, "ftp://a/b"), ("sasl.jaas.config", &good)]),
            (URL, &[(URL, "file://host/x"), ("sasl.jaas.config", &good)]),
            (CLIENT_ID, &[url, ("sasl.jaas.config", &empty)]),
            (CLIENT_SECRET, &[url, ("sasl.jaas.config", &empty), (CLIENT_ID, "x")]),
            ("sasl.jaas.config", &[url]),
            ("sasl.jaas.config", &[url, ("sasl.jaas.config", &unsecured)]),
            ("sasl.jaas.config", &[url, ("sasl.jaas.config", &extension)]),
            ("sasl.jaas.config", &[url, ("sasl.jaas.config", &number)]),
            (HANDLER, &[url, ("sasl.jaas.config", &good), (HANDLER, "com.example.Mine")]),
            (RETRIEVER, &[url, ("sasl.jaas.config", &good), (RETRIEVER, "org.apache.kafka.common.security.oauthbearer.JwtBearerJwtRetriever")]),
            (VALIDATOR, &[url, ("sasl.jaas.config", &good), (VALIDATOR, "x.Y")]),
        ];
        for (name, pairs) in table {
            let error = parse(pairs).unwrap_err();
            assert_eq!(error.name, name, "{pairs:?}");
            assert!(!error.to_string().contains("hunter2"), "{error}");
        }
    }
}
