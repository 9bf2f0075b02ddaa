//! Properties that ask for security that Carrick does not have. If the broker ignored them, it
//! would be open to everyone while its operator believes that it is secured. So it refuses to
//! start.
//!
//! A property asks for security if it keeps clients out or prevents others from reading the
//! traffic. Properties that only tune this (cipher suites, refresh times, details of mechanisms)
//! are ignored like other properties.

use super::listener;
use crate::config::error::Asked;
use crate::config::{ConfigError, LISTENER, SecurityProtocol, Values, listener_setting};

/// With which values a property asks for nothing.
#[derive(Clone, Copy)]
enum Harmless {
    Empty,
    /// Empty, or this one.
    Is(&'static str),
}

const TOKENS: &str = "there are no delegation tokens";
const CLASSES: &str = "Java classes are not loaded";

/// Name, its harmless value, what is missing.
#[rustfmt::skip]
static DEMANDS: &[(&str, Harmless, &str)] = &[
    ("delegation.token.master.key", Harmless::Empty, TOKENS),
    ("delegation.token.secret.key", Harmless::Empty, TOKENS),
    ("principal.builder.class", Harmless::Is(
        "org.apache.kafka.common.security.authenticator.DefaultKafkaPrincipalBuilder"), CLASSES),
    ("ssl.engine.factory.class", Harmless::Is(
        "org.apache.kafka.common.security.ssl.DefaultSslEngineFactory"), CLASSES),
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
pub fn refuse(values: &Values) -> Result<(), ConfigError> {
    let points = listener::client_protocols(values)?;
    let mut asked = Vec::new();
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

/// Whether `name`, which may end in a SASL mechanism, is a listener's.
fn is_one_of(points: &[(String, SecurityProtocol)], name: &str) -> bool {
    let name = name.to_ascii_uppercase();
    points.iter().any(|(listener, _)| {
        name.strip_prefix(listener.as_str())
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Kind, ignored, unlisted};

    fn load(overrides: &[&str]) -> Result<(), ConfigError> {
        refuse(&crate::testing::values(overrides))
    }

    /// The properties among these that ask for security, if that is why the start is refused.
    fn asked_for(overrides: &[&str]) -> Vec<String> {
        match load(overrides) {
            Err(ConfigError::Security(asked)) => {
                asked.into_iter().map(|asked| asked.name).collect()
            }
            Err(other) => panic!("{overrides:?}: {other}"),
            Ok(_) => Vec::new(),
        }
    }

    /// A property, and the name that the refusal gives.
    #[rustfmt::skip]
    const ASKING: &[(&str, &str)] = &[
        ("ssl.engine.factory.class=com.example.Factory", "ssl.engine.factory.class"),
        ("principal.builder.class=com.example.Principals", "principal.builder.class"),
        ("delegation.token.secret.key=hunter2", "delegation.token.secret.key"),
        ("delegation.token.master.key=hunter2", "delegation.token.master.key"),
    ];

    #[test]
    fn security_that_is_not_there_keeps_the_broker_from_starting() {
        for (property, name) in ASKING {
            assert_eq!(asked_for(&[property]), [*name]);
        }
    }

    #[test]
    fn a_property_that_asks_for_no_security_starts_the_broker() {
        for property in [
            "sasl.enabled.mechanisms=",
            "security.inter.broker.protocol=SASL_SSL",
            "ssl.client.auth=none",
            "ssl.keystore.location=/etc/kafka/server.p12",
            "listeners=SSL://:9093,SASL_SSL://:9094",
            "sasl.enabled.mechanisms=SCRAM-SHA-512",
            "connections.max.reauth.ms=3600000",
            "ssl.engine.factory.class=org.apache.kafka.common.security.ssl.DefaultSslEngineFactory",
            "connections.max.reauth.ms=0",
            "ssl.protocol=TLSv1.3",
            "ssl.enabled.protocols=TLSv1.2,TLSv1.3",
            "sasl.login.refresh.window.factor=0.8",
            "listener.name.elsewhere.ssl.keystore.location=/etc/kafka/server.jks",
            "listener.security.protocol.map=PLAINTEXT:PLAINTEXT,SSL:SSL,SASL_SSL:SASL_SSL",
        ] {
            assert_eq!(asked_for(&[property]), [""; 0], "{property}");
        }
    }

    #[test]
    fn a_refusal_of_security_names_every_property_the_next_step_and_no_secret() {
        let error = load(&["delegation.token.secret.key=open sesame"]);
        let text = error.unwrap_err().to_string();
        for part in [
            "delegation.token.secret.key: there are no delegation tokens",
            "Remove them only if you trust the network in front of the listeners",
        ] {
            assert!(text.contains(part), "{part}: {text}");
        }
        assert!(!text.contains("sesame"), "{text}");
    }

    /// If you add a security property, decide here whether it asks for security.
    #[test]
    fn every_known_property_of_security_is_a_demand_or_a_detail() {
        let areas = ["delegation.", "principal.", "sasl.", "security.", "ssl."];
        let known = ignored::IGNORED
            .iter()
            .map(|(name, kind, _)| (*name, *kind));
        let unlisted = unlisted::REMOVED.iter();
        let of_security = known
            .chain(unlisted.copied())
            .filter(|(name, _)| areas.iter().any(|area| name.starts_with(area)));
        let demands: Vec<_> = of_security
            .map(|(name, kind)| {
                let value = match kind {
                    Kind::Boolean => "false",
                    Kind::Int | Kind::Short | Kind::Long | Kind::Double => "1",
                    _ => "x",
                };
                (name, asked_for(&[&format!("{name}={value}")]))
            })
            .filter(|(name, asked)| asked == &[*name])
            .map(|(name, _)| name)
            .collect();
        let expected = [
            "delegation.token.secret.key",
            "principal.builder.class",
            "ssl.engine.factory.class",
            "delegation.token.master.key",
        ];
        assert_eq!(demands, expected);
    }
}
