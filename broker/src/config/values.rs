//! Property values by name: set values over defaults. Values that were set while the broker runs
//! come first: for this broker, then the default for all brokers (KIP-226).

use std::collections::BTreeMap;

use super::def::{ConfigDef, Kind, list};
use super::dynamic::{self, Dynamic, DynamicError};
use super::error::ConfigError;
use super::families;
use super::known::{definition, nearest, used};

/// Whether these properties make sense together, for whoever reads them.
pub type CheckTogether = fn(&Values) -> Result<(), ConfigError>;

/// Broker properties. Every set name is known and its value checked.
///
/// The typed getters take names of [`USED`](super::used::USED); their defaults are checked by a test.
#[derive(Clone)]
pub struct Values {
    set: BTreeMap<String, String>,
    dynamic: Dynamic,
    ignored: Vec<String>,
}

impl Values {
    /// Checks names and values.
    ///
    /// # Errors
    /// The first name that is unknown, or value that doesn't fit.
    pub fn new(set: BTreeMap<String, String>) -> Result<Self, ConfigError> {
        let prefixes = chosen_prefixes(&set);
        let mut ignored = Vec::new();
        for (name, value) in &set {
            if let Some(def) = checked(name, &prefixes)? {
                let read = match name.starts_with(families::LISTENER) {
                    // Only those of listeners that are opened are read: `check_listener`.
                    true if is_reference(&set, value) => Ok(()),
                    true => def.check(value),
                    false => check_no_reference(&set, value).and_then(|()| def.check(value)),
                };
                read.map_err(|reason| ConfigError::value(name, shown(def, value), reason))?;
            } else {
                ignored.push(name.clone());
            }
        }
        let dynamic = Dynamic::default();
        Ok(Self {
            set,
            dynamic,
            ignored,
        })
    }

    /// Refuses references to config providers in the settings of a listener that is opened.
    ///
    /// # Errors
    /// The first one.
    pub fn check_listener(&self, name: &str) -> Result<(), ConfigError> {
        let prefix = format!("{}{}.", families::LISTENER, name.to_ascii_lowercase());
        let of_it = self
            .set
            .iter()
            .filter(|(name, _)| name.starts_with(&prefix));
        for (name, value) in of_it.filter(|(name, _)| !self.ignored.contains(name)) {
            check_no_reference(&self.set, value)
                .map_err(|reason| ConfigError::value(name, "[hidden]", reason))?;
        }
        Ok(())
    }

    /// The same properties, with others set while the broker runs. Those are checked already.
    pub fn with_dynamic(&self, dynamic: Dynamic) -> Self {
        Self {
            dynamic,
            ..self.clone()
        }
    }

    /// These properties with others set while the broker runs, all checked; `together` checks them
    /// as a whole.
    ///
    /// # Errors
    /// What is wrong with the names, then with the values, then with all together.
    pub fn reconfigured(
        &self,
        dynamic: Dynamic,
        together: CheckTogether,
    ) -> Result<Self, DynamicError> {
        for layer in [&dynamic.own, &dynamic.default] {
            dynamic::check(layer)?;
        }
        let values = self.with_dynamic(dynamic);
        together(&values).map_err(|error| DynamicError::Impossible(error.to_string()))?;
        Ok(values)
    }

    /// What was set while the broker runs.
    pub fn dynamic(&self) -> &Dynamic {
        &self.dynamic
    }

    /// Kafka names that were set and do nothing here, to be named in a warning.
    pub fn ignored(&self) -> &[String] {
        &self.ignored
    }

    /// Whether the name was set.
    pub fn is_set(&self, name: &str) -> bool {
        self.in_force(name).is_some()
    }

    /// What was set in the properties file or by `--override`.
    pub fn set(&self) -> &BTreeMap<String, String> {
        &self.set
    }

    fn in_force(&self, name: &str) -> Option<&String> {
        let Dynamic { own, default } = &self.dynamic;
        let layers = [own, default, &self.set];
        layers.into_iter().find_map(|layer| layer.get(name))
    }

    /// The value set, or the default; `None` where there is neither.
    pub fn text(&self, name: &str) -> Option<String> {
        match self.in_force(name) {
            Some(value) => Some(value.trim().to_owned()),
            None => definition(name)?.default.map(str::to_owned),
        }
    }

    /// A number of type long, int or short; 0 where there is neither value nor default.
    pub fn long(&self, name: &str) -> i64 {
        self.text(name)
            .and_then(|value| value.parse().ok())
            .unwrap_or_default()
    }

    /// A number of type double; 0 where there is neither value nor default.
    pub fn double(&self, name: &str) -> f64 {
        self.text(name)
            .and_then(|value| value.parse().ok())
            .unwrap_or_default()
    }

    /// A number of type int or short.
    pub fn int(&self, name: &str) -> i32 {
        i32::try_from(self.long(name)).unwrap_or(i32::MAX)
    }

    /// A count or number of bytes; negative ones are "no limit".
    pub fn size(&self, name: &str) -> usize {
        usize::try_from(self.long(name)).unwrap_or(usize::MAX)
    }

    /// A duration in ms; negative ones are "never".
    pub fn millis(&self, name: &str) -> u64 {
        u64::try_from(self.long(name)).unwrap_or(u64::MAX)
    }

    /// A truth value.
    pub fn boolean(&self, name: &str) -> bool {
        self.text(name)
            .is_some_and(|value| value.eq_ignore_ascii_case("true"))
    }
}

/// What the property's value must be; `None` if it has no effect here.
fn checked(name: &str, prefixes: &[String]) -> Result<Option<&'static ConfigDef>, ConfigError> {
    if let Some(def) = used(name) {
        return Ok(Some(def));
    }
    if definition(name).is_some() {
        return Ok(None);
    }
    if families::has(name, prefixes) {
        let setting = families::setting_of(name);
        let setting = setting.filter(|setting| families::is_of_listeners(setting));
        return Ok(setting.and_then(used));
    }
    let lower = name.to_ascii_lowercase();
    let did_you_mean = match families::has(&lower, prefixes) {
        true => Some(lower),
        false => nearest(name),
    };
    Err(ConfigError::UnknownName {
        name: name.to_owned(),
        did_you_mean,
    })
}

/// The value, unless it is a secret.
fn shown<'a>(def: &ConfigDef, value: &'a str) -> &'a str {
    match def.kind {
        Kind::Password => "[hidden]",
        _ => value,
    }
}

/// Properties that set the prefix of a plug-in's own names.
fn chosen_prefixes(set: &BTreeMap<String, String>) -> Vec<String> {
    const CHOOSE: [&str; 2] = [
        "remote.log.metadata.manager.impl.prefix",
        "remote.log.storage.manager.impl.prefix",
    ];
    let chosen = CHOOSE.iter().filter_map(|name| set.get(*name));
    chosen.map(|prefix| prefix.trim().to_owned()).collect()
}

/// Refuses a value that a config provider would have to look up: taken as it is, it would name a
/// folder or a host of that name.
fn check_no_reference(set: &BTreeMap<String, String>, value: &str) -> Result<(), String> {
    match is_reference(set, value) {
        true => {
            Err("config providers are not supported: put the value itself into the file".to_owned())
        }
        false => Ok(()),
    }
}

fn is_reference(set: &BTreeMap<String, String>, value: &str) -> bool {
    let providers = set.get("config.providers").map_or("", String::as_str);
    list(providers).any(|provider| value.contains(&format!("${{{provider}:")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::map;

    #[test]
    fn what_is_set_on_this_broker_wins_over_the_default_of_all_and_that_over_the_file() {
        let file = Values::new(map(&[
            ("log.retention.ms", "1"),
            ("log.retention.hours", "9"),
        ]));
        let file = file.unwrap();
        let default = map(&[("log.retention.ms", "2"), ("message.max.bytes", "7")]);
        let own = map(&[("log.retention.ms", "3")]);
        let with = |own: &BTreeMap<_, _>, default: &BTreeMap<_, _>| {
            let (own, default) = (own.clone(), default.clone());
            file.reconfigured(Dynamic { own, default }, |_| Ok(()))
                .unwrap()
        };
        assert_eq!(with(&own, &default).long("log.retention.ms"), 3);
        assert_eq!(with(&own, &default).long("message.max.bytes"), 7);
        assert_eq!(with(&map(&[]), &default).long("log.retention.ms"), 2);
        assert_eq!(with(&map(&[]), &map(&[])).long("log.retention.ms"), 1);
    }

    // Follows DynamicBrokerConfigTest.testConfigUpdateWithInvalidValue and
    // DynamicConfigChangeTest.testUpdateOfNonDynamicConfig.
    #[test]
    fn names_and_values_are_checked_in_kafkas_order() {
        let file = Values::new(map(&[])).unwrap();
        fn short_retention(values: &Values) -> Result<(), ConfigError> {
            match values.long("log.retention.ms") {
                -1..=7 => Ok(()),
                long => Err(ConfigError::value(
                    "log.retention.ms",
                    &long.to_string(),
                    "long",
                )),
            }
        }
        let refused = |set: &[(&str, &str)]| {
            let own = map(set);
            let dynamic = Dynamic {
                own,
                ..Dynamic::default()
            };
            file.reconfigured(dynamic, short_retention)
                .unwrap_err()
                .to_string()
        };
        assert_eq!(
            refused(&[("node.id", "5"), ("message.max.bytes", "x")]),
            "Cannot update these configs dynamically: [node.id]"
        );
        let invalid = refused(&[("message.max.bytes", "x")]);
        assert!(invalid.starts_with("Invalid value x for configuration message.max.bytes"));
        assert!(refused(&[("no.such.name", "1")]).contains("no.such.name"));
        assert!(refused(&[("log.retention.ms", "9")]).contains("Invalid dynamic"));
    }
}
