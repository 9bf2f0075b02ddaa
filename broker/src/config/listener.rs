//! Settings that a listener may have for itself (`AbstractConfig.valuesWithPrefixOverride` in
//! Kafka): `listener.name.<name>.<setting>` wins over `<setting>`.
//!
//! Names of listeners and SASL mechanisms are in lower case there.

use super::ConfigError;
use super::def::{Kind, list};
use super::families::LISTENER;
use super::known::definition;
use super::values::Values;

/// Properties as one listener sees them.
#[derive(Debug, Clone)]
pub struct ListenerValues<'a> {
    values: &'a Values,
    /// Prefixes of names, the strongest first. The last one is empty.
    prefixes: Vec<String>,
}

impl Values {
    /// The properties of the listener with this name.
    pub fn listener(&self, name: &str) -> ListenerValues<'_> {
        self.prefixed(format!("{LISTENER}{}.", name.to_ascii_lowercase()))
    }

    /// The properties of the REST API, whose prefix is `rest.`.
    pub fn rest(&self) -> ListenerValues<'_> {
        self.prefixed("rest.".to_owned())
    }

    fn prefixed(&self, prefix: String) -> ListenerValues<'_> {
        ListenerValues {
            values: self,
            prefixes: vec![prefix, String::new()],
        }
    }
}

impl<'a> ListenerValues<'a> {
    /// The same for one SASL mechanism: `listener.name.<name>.<mechanism>.<setting>` is the strongest.
    pub fn mechanism(&self, mechanism: &str) -> ListenerValues<'a> {
        let mut prefixes = self.prefixes.clone();
        let mechanism = mechanism.to_ascii_lowercase();
        prefixes.insert(0, format!("{}{mechanism}.", self.prefixes[0]));
        let values = self.values;
        ListenerValues { values, prefixes }
    }

    /// The value set, or the default; `None` where there is neither.
    pub fn text(&self, setting: &str) -> Option<String> {
        self.values.text(&self.name_of(setting))
    }

    /// The value of the strongest name alone: what the listener, or its mechanism, has for itself.
    pub fn own(&self, setting: &str) -> Option<String> {
        let name = self.own_name(setting);
        let is_set = self.values.is_set(&name);
        is_set.then(|| self.values.text(&name)).flatten()
    }

    /// The property that gives the setting its value, for messages.
    pub fn name_of(&self, setting: &str) -> String {
        let mut names = self
            .prefixes
            .iter()
            .map(|prefix| format!("{prefix}{setting}"));
        let set = names.find(|name| self.values.is_set(name));
        set.unwrap_or_else(|| setting.to_owned())
    }

    /// The name of the setting that only this listener, or its mechanism, has.
    pub fn own_name(&self, setting: &str) -> String {
        format!("{}{setting}", self.prefixes[0])
    }

    /// A number of type long, int or short; 0 where there is neither value nor default.
    pub fn long(&self, setting: &str) -> i64 {
        let number = self.text(setting).and_then(|value| value.parse().ok());
        number.unwrap_or_default()
    }

    /// A number of type int or short.
    pub fn int(&self, setting: &str) -> i32 {
        i32::try_from(self.long(setting)).unwrap_or(i32::MAX)
    }

    /// A count or number of bytes; negative ones are "no limit".
    pub fn size(&self, setting: &str) -> usize {
        usize::try_from(self.long(setting)).unwrap_or(usize::MAX)
    }

    /// A duration in ms; negative ones are "never".
    pub fn millis(&self, setting: &str) -> u64 {
        u64::try_from(self.long(setting)).unwrap_or(u64::MAX)
    }

    /// The words of a list.
    pub fn list(&self, setting: &str) -> Vec<String> {
        let text = self.text(setting).unwrap_or_default();
        list(&text).map(str::to_owned).collect()
    }

    /// The error that the setting's value is wrong: with the property's name, and the value unless it
    /// is a secret.
    pub fn wrong(&self, setting: &str, reason: impl Into<String>) -> ConfigError {
        let is_secret = definition(setting).is_none_or(|def| def.kind == Kind::Password);
        let value = match is_secret {
            true => "[hidden]".to_owned(),
            false => self.text(setting).unwrap_or_default(),
        };
        ConfigError::value(&self.name_of(setting), &value, reason)
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::values;

    #[test]
    fn a_listener_s_own_setting_wins_and_that_of_its_mechanism_wins_over_it() {
        let values = values(&[
            "ssl.client.auth=none",
            "listener.name.inside.ssl.client.auth=required",
            "sasl.server.max.receive.size=1",
            "listener.name.inside.sasl.server.max.receive.size=2",
            "listener.name.inside.scram-sha-256.sasl.server.max.receive.size=3",
        ]);
        let (inside, outside) = (values.listener("INSIDE"), values.listener("OUTSIDE"));
        assert_eq!(inside.text("ssl.client.auth").as_deref(), Some("required"));
        assert_eq!(outside.text("ssl.client.auth").as_deref(), Some("none"));
        assert_eq!(outside.own("ssl.client.auth"), None);
        assert_eq!(outside.text("ssl.protocol").as_deref(), Some("TLSv1.3"));
        let size = "sasl.server.max.receive.size";
        assert_eq!(inside.mechanism("SCRAM-SHA-256").size(size), 3);
        assert_eq!(inside.mechanism("PLAIN").size(size), 2);
        assert_eq!(inside.mechanism("PLAIN").own(size), None);
        assert_eq!(outside.mechanism("SCRAM-SHA-256").size(size), 1);
    }

    #[test]
    fn an_error_names_the_property_that_counts_and_hides_secrets() {
        let values = values(&[
            "listener.name.x.ssl.keystore.password=sesame",
            "ssl.keystore.location=/a",
        ]);
        let of = values.listener("X");
        let error = of.wrong("ssl.keystore.password", "bad").to_string();
        assert_eq!(
            error,
            "invalid value '[hidden]' for 'listener.name.x.ssl.keystore.password': bad"
        );
        let error = of.wrong("ssl.keystore.location", "bad").to_string();
        assert_eq!(error, "invalid value '/a' for 'ssl.keystore.location': bad");
    }
}
