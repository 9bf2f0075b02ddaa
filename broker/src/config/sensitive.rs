//! Which properties are secrets. Their values are in no message, listing or `Debug`.

use std::collections::BTreeMap;
use std::fmt;

use super::Values;
use super::def::Kind;
use super::dynamic::Dynamic;
use super::families::setting_of;
use super::known::definition;

/// What shows instead of a secret.
pub const HIDDEN: &str = "[hidden]";

/// Whether the property's value is a secret, on one listener, of the REST API or on all.
pub fn is_sensitive(name: &str) -> bool {
    let setting = setting_of(name).unwrap_or(name);
    definition(setting).is_some_and(|def| def.kind == Kind::Password)
}

/// The value as messages may show it.
pub fn shown<'a>(name: &str, value: &'a str) -> &'a str {
    match is_sensitive(name) {
        true => HIDDEN,
        false => value,
    }
}

/// Names and values as logs may show them.
pub fn all_shown(set: &BTreeMap<String, String>) -> BTreeMap<&str, &str> {
    set.iter()
        .map(|(name, value)| (name.as_str(), shown(name, value)))
        .collect()
}

impl fmt::Debug for Values {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Values")
            .field("set", &all_shown(self.set()))
            .field("dynamic", self.dynamic())
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Dynamic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Dynamic")
            .field("own", &all_shown(&self.own))
            .field("default", &all_shown(&self.default))
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::ConfigError;
    use crate::testing::map;

    const SECRETS: [&str; 5] = [
        "ssl.key.password",
        "listener.name.outside.ssl.keystore.password",
        "listener.name.outside.scram-sha-256.sasl.jaas.config",
        "rest.ssl.keystore.password",
        "password.encoder.secret",
    ];

    #[test]
    fn a_secret_shows_in_no_message() {
        for name in SECRETS {
            assert!(is_sensitive(name), "{name}");
            let values = Values::new(map(&[(name, "sesame"), ("broker.rack", "r7")])).unwrap();
            let own = map(&[(name, "sesame")]);
            let values = values.with_dynamic(Dynamic {
                own,
                ..Dynamic::default()
            });
            let text = format!("{values:?}");
            assert!(text.contains(name) && text.contains("r7"), "{text}");
            assert!(!text.contains("sesame"), "{text}");
            let error = ConfigError::value(name, "sesame", "no").to_string();
            assert!(error.contains(name) && !error.contains("sesame"), "{error}");
        }
        for name in ["broker.rack", "listener.name.a.ssl.client.auth", "no.such"] {
            assert!(!is_sensitive(name), "{name}");
        }
    }
}
