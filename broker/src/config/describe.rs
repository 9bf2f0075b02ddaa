//! Configs as DescribeConfigs shows them: each with its value, and all the places that could give
//! it one.

use super::def::{Check, ConfigDef, Kind};
use super::dynamic;
use super::ignored::IGNORED;
use super::known::definition;
use super::unlisted::REMOVED;
use super::used::USED;
use super::values::Values;

/// Where a value comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// Set on the topic.
    Topic,
    /// Set on this broker while it runs.
    DynamicBroker,
    /// Set as the default of all brokers while they run.
    DynamicDefaultBroker,
    /// Set in the properties file or by `--override`.
    StaticBroker,
    Default,
    /// The level of a logger.
    Logger,
    /// Set on the group.
    Group,
}

impl Source {
    /// The code in responses (`DescribeConfigsResponse.ConfigSource`).
    pub const fn code(self) -> i8 {
        match self {
            Source::Topic => 1,
            Source::DynamicBroker => 2,
            Source::DynamicDefaultBroker => 3,
            Source::StaticBroker => 4,
            Source::Default => 5,
            Source::Logger => 6,
            Source::Group => 8,
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

#[derive(Debug, Clone)]
pub struct Described {
    /// Name, type and doc.
    pub def: ConfigDef,
    /// The current value; hidden when sensitive.
    pub value: Option<String>,
    /// The places that have a value, the current one first.
    pub origins: Vec<Origin>,
    /// Whether it stays as it is until the next start.
    pub read_only: bool,
}

impl Described {
    /// A config; sensitive values are dropped here, so that they can't be shown by mistake.
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

    /// Where the current value comes from.
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

/// The values that broker properties have by these names: what was set while the broker runs first,
/// then what was set before, then defaults.
pub fn origins<'a>(
    names: impl Iterator<Item = &'a str> + Clone + 'a,
    broker: &Values,
) -> Vec<Origin> {
    let defs = names.filter_map(definition);
    let layers = [
        (&broker.dynamic().own, Source::DynamicBroker),
        (&broker.dynamic().default, Source::DynamicDefaultBroker),
        (broker.set(), Source::StaticBroker),
    ];
    let set = layers.into_iter().flat_map(|(layer, source)| {
        defs.clone().filter_map(move |def| {
            let value = layer.get(def.name)?.trim().to_owned();
            Some(Origin {
                name: def.name,
                value: Some(value),
                source,
            })
        })
    });
    let defaults = defs.clone().filter_map(|def| {
        let value = Some(def.default?.to_owned());
        Some(Origin {
            name: def.name,
            value,
            source: Source::Default,
        })
    });
    set.chain(defaults).collect()
}

/// What only Kafka's authorizers read: not listed by the broker.
const OF_AUTHORIZERS: [&str; 2] = ["allow.everyone.if.no.acl.found", "super.users"];

/// All broker properties, those without effect included; those that Kafka 4.3 does not list where
/// they are set.
pub fn broker(values: &Values) -> Vec<Described> {
    let listed = IGNORED.iter().map(|(name, ..)| *name);
    let unlisted = REMOVED.iter().map(|(name, _)| *name);
    let used = USED.iter().map(|def| def.name);
    let names = used
        .filter(|name| !OF_AUTHORIZERS.contains(name) || values.is_set(name))
        .chain(listed.filter(|name| !dynamic::is_hidden(name) || values.is_set(name)))
        .chain(unlisted.filter(|name| values.is_set(name)));
    let described = names.filter_map(|name| {
        let origins = origins(std::iter::once(name), values);
        Some(Described::new(
            definition(name)?,
            values.text(name),
            origins,
            !dynamic::is_dynamic(name),
        ))
    });
    described.collect()
}

/// A logger's level.
pub fn logger(name: &'static str, level: String) -> Described {
    let def = ConfigDef {
        name,
        kind: Kind::String,
        default: None,
        check: Check::Any,
        doc: "Log level. Set at the start.",
    };
    let origin = Origin {
        name,
        value: Some(level.clone()),
        source: Source::Logger,
    };
    Described::new(def, Some(level), vec![origin], true)
}

/// What is set as the default of all brokers while they run.
pub fn broker_defaults(values: &Values) -> Vec<Described> {
    let set = values.dynamic().default.iter();
    let described = set.filter_map(|(name, value)| {
        let def = definition(name)?;
        let origin = Origin {
            name: def.name,
            value: Some(value.clone()),
            source: Source::DynamicDefaultBroker,
        };
        Some(Described::new(
            def,
            Some(value.clone()),
            vec![origin],
            false,
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
