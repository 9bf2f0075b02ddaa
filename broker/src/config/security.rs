//! Properties that ask for security that Carrick does not have. A broker that ignored them would be
//! open to everybody while its operator believes that it is secured, so it refuses to start.
//!
//! A property asks for security if it keeps clients out or keeps others from reading the traffic.
//! Properties that only tune this (cipher suites, refresh times, details of mechanisms) are ignored
//! like others.

use std::fmt;

use super::families::{LISTENER, listener_setting};
use super::{ConfigError, Values, listener};

/// One property that asks for security.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asked {
    /// The property.
    pub name: String,
    /// What it asks for, and what to do.
    pub reason: String,
}

impl fmt::Display for Asked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.name, self.reason)
    }
}

/// With which values a property asks for nothing.
#[derive(Clone, Copy)]
enum Harmless {
    /// Empty.
    Empty,
    /// Empty, or this one.
    Is(&'static str),
}

const ACLS: &str = "there are no ACLs: anyone who reaches a listener may do everything";
const SASL: &str = "there is no SASL: every client is ANONYMOUS";
const TLS: &str = "there is no TLS for clients: terminate it in a proxy in front of the listeners";
const PRINCIPAL: &str = "every client is ANONYMOUS, and Java classes are not loaded";

/// Name, its harmless value, what is missing.
#[rustfmt::skip]
static DEMANDS: &[(&str, Harmless, &str)] = &[
    ("allow.everyone.if.no.acl.found", Harmless::Is("true"), ACLS),
    ("authorizer.class.name", Harmless::Empty, ACLS),
    ("connections.max.reauth.ms", Harmless::Is("0"), SASL),
    ("delegation.token.master.key", Harmless::Empty, SASL),
    ("delegation.token.secret.key", Harmless::Empty, SASL),
    ("principal.builder.class", Harmless::Is(
        "org.apache.kafka.common.security.authenticator.DefaultKafkaPrincipalBuilder"), PRINCIPAL),
    ("sasl.enabled.mechanisms", Harmless::Empty, SASL),
    ("sasl.jaas.config", Harmless::Empty, SASL),
    ("sasl.server.callback.handler.class", Harmless::Empty, SASL),
    ("security.inter.broker.protocol", Harmless::Is("PLAINTEXT"),
        "there is no TLS, no SASL and no other broker"),
    ("ssl.client.auth", Harmless::Is("none"), TLS),
    ("ssl.engine.factory.class", Harmless::Empty, TLS),
    ("ssl.keystore.certificate.chain", Harmless::Empty, TLS),
    ("ssl.keystore.key", Harmless::Empty, TLS),
    ("ssl.keystore.location", Harmless::Empty, TLS),
    ("ssl.truststore.certificates", Harmless::Empty, TLS),
    ("ssl.truststore.location", Harmless::Empty, TLS),
    ("super.users", Harmless::Empty, ACLS),
];

/// What `name` asks for with this value, if anything.
fn asks(name: &str, value: &str) -> Option<&'static str> {
    let (_, harmless, reason) = DEMANDS.iter().find(|(known, ..)| *known == name)?;
    let value = value.trim();
    let is_harmless = match harmless {
        Harmless::Empty => value.is_empty(),
        Harmless::Is(word) => value.is_empty() || value.eq_ignore_ascii_case(word),
    };
    (!is_harmless).then_some(reason)
}

/// Refuses properties that ask for security, all of them by name.
///
/// # Errors
/// [`ConfigError::Security`].
pub(super) fn refuse(values: &Values) -> Result<(), ConfigError> {
    let points = listener::client_protocols(values)?;
    let mut asked = Vec::new();
    for (name, protocol) in &points {
        if listener::SECURE.contains(&protocol.as_str()) {
            asked.push(Asked {
                name: "listeners".to_owned(),
                reason: format!(
                    "listener {name} asks for {protocol}, which is not built: only PLAINTEXT is. Let a \
                     proxy in front of it end TLS, or take it out"
                ),
            });
        }
    }
    for (name, value) in values.set() {
        let setting = match name.strip_prefix(LISTENER).and_then(listener_setting) {
            // Settings of listeners that are not opened open nothing.
            Some((listener, setting)) if is_one_of(&points, listener) => setting,
            Some(_) => continue,
            None => name,
        };
        if let Some(reason) = asks(setting, value) {
            let (name, reason) = (name.clone(), reason.to_owned());
            asked.push(Asked { name, reason });
        }
    }
    if asked.is_empty() {
        return Ok(());
    }
    Err(ConfigError::Security(asked))
}

/// Whether `name`, which may have a SASL mechanism at its end, is that of a listener.
fn is_one_of(points: &[(String, String)], name: &str) -> bool {
    let name = name.to_ascii_uppercase();
    points.iter().any(|(listener, _)| {
        name.strip_prefix(listener.as_str())
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
    })
}
