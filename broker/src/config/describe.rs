//! Configs as DescribeConfigs shows them: each with its value, and all the places that could give
//! it one.

use super::def::{ConfigDef, Kind};
use super::ignored::IGNORED;
use super::used::USED;
use super::values::{Values, definition};

/// Where a value comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// Set on the topic.
    Topic,
    /// Set in the properties file or by `--override`.
    StaticBroker,
    /// The default.
    Default,
}

impl Source {
    /// The code in responses (`DescribeConfigsResponse.ConfigSource`).
    pub const fn code(self) -> i8 {
        match self {
            Source::Topic => 1,
            Source::StaticBroker => 4,
            Source::Default => 5,
        }
    }
}

/// A place that gives a config a value: the config itself or a synonym.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin {
    /// The name it has there.
    pub name: &'static str,
    /// The value it has there, in the units it has there; hidden when sensitive.
    pub value: Option<String>,
    /// Which place it is.
    pub source: Source,
}

/// One config.
#[derive(Debug, Clone)]
pub struct Described {
    /// Name, type and doc.
    pub def: ConfigDef,
    /// The value in force; hidden when sensitive.
    pub value: Option<String>,
    /// Where values are, the one in force first.
    pub origins: Vec<Origin>,
    /// Whether it stays as it is until the next start.
    pub read_only: bool,
}

impl Described {
    /// A config; sensitive values are dropped here, so that nobody can show them by mistake.
    pub fn new(
        def: ConfigDef,
        value: Option<String>,
        mut origins: Vec<Origin>,
        read_only: bool,
    ) -> Self {
        if def.kind != Kind::Password {
            return Self {
                def,
                value,
                origins,
                read_only,
            };
        }
        for origin in &mut origins {
            origin.value = None;
        }
        Self {
            def,
            value: None,
            origins,
            read_only,
        }
    }

    /// Where the value in force comes from.
    pub fn source(&self) -> Source {
        self.origins
            .first()
            .map_or(Source::Default, |origin| origin.source)
    }

    /// Whether the value is never shown.
    pub fn is_sensitive(&self) -> bool {
        self.def.kind == Kind::Password
    }
}

/// The values that broker properties have by these names: what was set first, defaults after it.
pub fn origins<'a>(
    names: impl Iterator<Item = &'a str> + Clone + 'a,
    broker: &Values,
) -> Vec<Origin> {
    let defs = names.filter_map(definition);
    let set = defs
        .clone()
        .filter(|def| broker.is_set(def.name))
        .map(|def| Origin {
            name: def.name,
            value: broker.text(def.name),
            source: Source::StaticBroker,
        });
    let defaults = defs.filter_map(|def| {
        let value = Some(def.default?.to_owned());
        Some(Origin {
            name: def.name,
            value,
            source: Source::Default,
        })
    });
    set.chain(defaults).collect()
}

/// All broker properties, those without effect included. None can be changed while the broker runs.
pub fn broker(values: &Values) -> Vec<Described> {
    let names = USED
        .iter()
        .map(|def| def.name)
        .chain(IGNORED.iter().map(|(name, ..)| *name));
    let described = names.filter_map(|name| {
        let origins = origins(std::iter::once(name), values);
        Some(Described::new(
            definition(name)?,
            values.text(name),
            origins,
            true,
        ))
    });
    described.collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn described(set: &[(&str, &str)], name: &str) -> Described {
        let set = set
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        let values = Values::new(set.collect::<BTreeMap<_, _>>()).unwrap();
        broker(&values)
            .into_iter()
            .find(|config| config.def.name == name)
            .unwrap()
    }

    #[test]
    fn a_property_that_was_set_names_its_default_after_its_value() {
        let config = described(&[("num.partitions", "7")], "num.partitions");
        assert_eq!(config.value.as_deref(), Some("7"));
        assert_eq!(config.source(), Source::StaticBroker);
        let sources: Vec<_> = config.origins.iter().map(|origin| origin.source).collect();
        assert_eq!(sources, [Source::StaticBroker, Source::Default]);
        assert_eq!(described(&[], "num.partitions").source(), Source::Default);
    }

    #[test]
    fn passwords_are_never_shown() {
        let secret = "delegation.token.secret.key";
        let config = described(&[(secret, "hunter2")], secret);
        assert!(config.is_sensitive());
        assert_eq!(config.source(), Source::StaticBroker);
        assert!(!format!("{config:?}").contains("hunter2"));
    }
}
