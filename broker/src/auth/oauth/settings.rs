//! The settings of OAUTHBEARER, by Kafka's names. Java classes are not loaded: those of Kafka that
//! do what is done here are accepted, others keep the broker from starting.

use std::path::PathBuf;
use std::time::Duration;

use carrick_link::web;
use carrick_protocol::credentials::{Mechanism, jaas};

use crate::config::{ConfigError, ListenerValues};

/// As properties name it.
pub const MECHANISM: &str = "OAUTHBEARER";
pub const URL: &str = "sasl.oauthbearer.jwks.endpoint.url";
const REFRESH: &str = "sasl.oauthbearer.jwks.endpoint.refresh.ms";
const BACKOFF: &str = "sasl.oauthbearer.jwks.endpoint.retry.backoff.ms";
const BACKOFF_MAX: &str = "sasl.oauthbearer.jwks.endpoint.retry.backoff.max.ms";
const JAAS: &str = "sasl.jaas.config";
const PACKAGE: &str = "org.apache.kafka.common.security.oauthbearer.";

/// Where a class may be named, and those of Kafka's that check tokens as it is done here.
const CLASSES: [(&str, &[&str]); 2] = [
    (
        "sasl.server.callback.handler.class",
        &[
            "OAuthBearerValidatorCallbackHandler",
            "secured.OAuthBearerValidatorCallbackHandler",
        ],
    ),
    (
        "sasl.oauthbearer.jwt.validator.class",
        &["DefaultJwtValidator", "BrokerJwtValidator"],
    ),
];

/// What a token must have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Expected {
    /// One of these, if there are any.
    pub audiences: Vec<String>,
    pub issuer: Option<String>,
    pub clock_skew_seconds: u32,
    /// The claim with the user's name.
    pub user_claim: String,
    pub scope_claim: String,
}

/// Where the provider's keys are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Location {
    File(PathBuf),
    /// `https:` or `http:`
    Web(String),
}

/// When they are fetched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pace {
    pub refresh: Duration,
    pub backoff_ms: u64,
    pub backoff_max_ms: u64,
}

/// The settings of one listener.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    pub location: Location,
    /// The authorities that may sign the provider's certificate.
    pub trust: web::Trust,
    pub pace: Pace,
    pub expected: Expected,
}

impl Settings {
    /// Reads them.
    ///
    /// # Errors
    /// The setting that is missing or wrong.
    pub fn of(listener: &ListenerValues<'_>) -> Result<Self, ConfigError> {
        let of = listener.mechanism(MECHANISM);
        for (setting, accepted) in CLASSES {
            check_class(&of, setting, accepted)?;
        }
        let text = |setting: &str| of.text(setting).filter(|text| !text.is_empty());
        let claim = |setting: &str| {
            text(setting).ok_or_else(|| of.wrong(setting, "must name a claim of the token"))
        };
        let millis = |setting: &str| match of.long(setting) {
            0.. => Ok(of.millis(setting)),
            _ => Err(of.wrong(setting, "must be at least 0")),
        };
        Ok(Self {
            location: location(&of)?,
            trust: trust(&of)?,
            pace: Pace {
                refresh: Duration::from_millis(millis(REFRESH)?.max(1000)),
                backoff_ms: millis(BACKOFF)?,
                backoff_max_ms: millis(BACKOFF_MAX)?,
            },
            expected: Expected {
                audiences: of.list("sasl.oauthbearer.expected.audience"),
                issuer: text("sasl.oauthbearer.expected.issuer"),
                clock_skew_seconds: u32::try_from(of.int("sasl.oauthbearer.clock.skew.seconds"))
                    .map_err(|_| {
                        of.wrong("sasl.oauthbearer.clock.skew.seconds", "must be at least 0")
                    })?,
                user_claim: claim("sasl.oauthbearer.sub.claim.name")?,
                scope_claim: claim("sasl.oauthbearer.scope.claim.name")?,
            },
        })
    }
}

fn location(of: &ListenerValues<'_>) -> Result<Location, ConfigError> {
    let url = of.text(URL).unwrap_or_default();
    let scheme = url
        .split_once(':')
        .map(|(scheme, _)| scheme.to_ascii_lowercase());
    match scheme.as_deref() {
        Some("http" | "https") => Ok(Location::Web(url)),
        Some("file") => {
            let path = web::file_path(&url).ok_or_else(|| {
                of.wrong(
                    URL,
                    "is no file on this host: write file:///path/to/keys.json",
                )
            })?;
            Ok(Location::File(path))
        }
        _ if url.is_empty() => Err(of.wrong(
            URL,
            "OAUTHBEARER needs it: the https:, http: or file: URL of the provider's public keys \
             (JWKS). Tokens without a signature are not accepted",
        )),
        _ => Err(of.wrong(URL, "must begin with https:, http: or file:")),
    }
}

/// By the listener's JAAS line, which Kafka wants, and which may say nothing.
fn trust(of: &ListenerValues<'_>) -> Result<web::Trust, ConfigError> {
    let Some(line) = of.own(JAAS).filter(|line| !line.is_empty()) else {
        return Ok(web::Trust::ThisHost);
    };
    let wrong = |reason: String| of.wrong(JAAS, reason);
    let module = jaas::parse(&line).map_err(wrong)?;
    let wanted = Mechanism::OAuthBearer.login_module();
    if module.class.rsplit('.').next() != Some(wanted) {
        return Err(wrong(format!("must name the login module {wanted}")));
    }
    web::Trust::of_options(&module.options).map_err(wrong)
}

fn check_class(
    of: &ListenerValues<'_>,
    setting: &str,
    accepted: &[&str],
) -> Result<(), ConfigError> {
    let Some(class) = of.text(setting).filter(|class| !class.is_empty()) else {
        return Ok(());
    };
    let is_kafkas = class
        .strip_prefix(PACKAGE)
        .is_some_and(|name| accepted.contains(&name));
    if is_kafkas {
        return Ok(());
    }
    let wanted = format!("{PACKAGE}{}", accepted[0]);
    let reason = format!(
        "Java classes are not loaded. Leave it out, or set it to {wanted}: tokens are checked as \
         that class does it"
    );
    Err(of.wrong(setting, reason))
}
