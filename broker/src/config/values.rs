//! Property values by name: what was set over what is the default. What was set while the broker
//! runs comes first: on this broker, then as the default of all brokers (KIP-226).

use std::collections::BTreeMap;

use super::def::{Check, ConfigDef, list};
use super::dynamic::Dynamic;
use super::error::ConfigError;
use super::families;
use super::ignored::IGNORED;
use super::unlisted::{AUTHORIZERS, REMOVED};
use super::used::USED;

/// Names further away than this many edits aren't offered as what was meant.
const SUGGESTION_MAX_EDITS: usize = 4;

/// Broker properties. Every set name is known and its value checked.
///
/// The typed getters take names of [`USED`]; their defaults are checked by a test.
#[derive(Debug, Clone)]
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
            if let Some(def) = used(name) {
                check_no_reference(&set, value)
                    .and_then(|()| def.check(value))
                    .map_err(|reason| ConfigError::value(name, value, reason))?;
            } else if definition(name).is_some() || families::has(name, &prefixes) {
                ignored.push(name.clone());
            } else {
                return Err(ConfigError::UnknownName {
                    name: name.clone(),
                    did_you_mean: nearest(name),
                });
            }
        }
        let dynamic = Dynamic::default();
        Ok(Self {
            set,
            dynamic,
            ignored,
        })
    }

    /// The same properties, with others set while the broker runs. Those are checked already.
    pub fn with_dynamic(&self, dynamic: Dynamic) -> Self {
        Self {
            dynamic,
            ..self.clone()
        }
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

/// The definition of a broker property, used or ignored.
pub fn definition(name: &str) -> Option<ConfigDef> {
    if let Some(def) = used(name) {
        return Some(*def);
    }
    let unlisted = AUTHORIZERS.iter().chain(REMOVED);
    let mut known = unlisted.map(|(name, kind)| (*name, *kind, None));
    let listed = IGNORED.iter().find(|(known, ..)| *known == name).copied();
    let (name, kind, default) = listed.or_else(|| known.find(|(known, ..)| *known == name))?;
    let doc = "A Kafka property without effect here.";
    Some(ConfigDef {
        name,
        kind,
        default,
        check: Check::Any,
        doc,
    })
}

fn used(name: &str) -> Option<&'static ConfigDef> {
    USED.iter().find(|def| def.name == name)
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
    let providers = set.get("config.providers").map_or("", String::as_str);
    match list(providers).find(|provider| value.contains(&format!("${{{provider}:"))) {
        Some(_) => {
            Err("config providers are not built: put the value itself into the file".to_owned())
        }
        None => Ok(()),
    }
}

fn nearest(name: &str) -> Option<String> {
    let used = USED.iter().map(|def| def.name);
    let known = used.chain(IGNORED.iter().map(|(known, ..)| *known));
    known
        .map(|known| (strsim::damerau_levenshtein(known, name), known))
        .filter(|(edits, _)| *edits <= SUGGESTION_MAX_EDITS)
        .min()
        .map(|(_, known)| known.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_default_passes_its_own_check() {
        for def in USED {
            if let Some(default) = def.default {
                assert_eq!(def.check(default), Ok(()), "{}", def.name);
            }
        }
    }

    #[test]
    fn no_name_is_listed_twice() {
        let mut names: Vec<_> = USED.iter().map(|def| def.name).collect();
        names.extend(IGNORED.iter().map(|(name, ..)| *name));
        names.extend(AUTHORIZERS.iter().chain(REMOVED).map(|(name, _)| *name));
        let count = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), count);
    }
}
