//! Topic configs as DescribeConfigs and CreateTopics show them (`ConfigHelper` in Kafka).

use std::collections::BTreeMap;

use super::config::default_value;
use super::defs::TOPIC_CONFIGS;
use crate::config::Values;
use crate::config::describe::{Described, Origin, Source, origins};

/// All configs of a topic with these overrides, by name.
///
/// Unlike Kafka, which looks only at the first synonym, this names every synonym that has a value:
/// a `retention.ms` that comes from `log.retention.hours` says so.
pub fn describe(overrides: &BTreeMap<String, String>, broker: &Values) -> Vec<Described> {
    let shown = TOPIC_CONFIGS
        .iter()
        .filter(|known| !known.hidden || overrides.contains_key(known.def.name));
    let described = shown.map(|known| {
        let name = known.def.name;
        let own = overrides.get(name).map(|value| Origin {
            name,
            value: Some(value.clone()),
            source: Source::Topic,
        });
        let value = overrides
            .get(name)
            .cloned()
            .or_else(|| default_value(known, broker));
        let synonyms = known.synonyms.iter().map(|synonym| synonym.name);
        let origins = own.into_iter().chain(origins(synonyms, broker)).collect();
        Described::new(known.def, value, origins, false)
    });
    described.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::map;

    fn described(own: &[(&str, &str)], broker: &[(&str, &str)], name: &str) -> Option<Described> {
        let broker = Values::new(map(broker)).unwrap();
        describe(&map(own), &broker)
            .into_iter()
            .find(|config| config.def.name == name)
    }

    fn shown(own: &[(&str, &str)], broker: &[(&str, &str)], name: &str) -> (String, Source) {
        let config = described(own, broker, name).unwrap();
        (config.value.clone().unwrap(), config.source())
    }

    #[test]
    fn an_override_wins_over_the_broker_and_the_broker_over_the_default() {
        let broker = [("log.retention.hours", "2")];
        let name = "retention.ms";
        assert_eq!(
            shown(&[], &[], name),
            ("604800000".to_owned(), Source::Default)
        );
        assert_eq!(
            shown(&[], &broker, name),
            ("7200000".to_owned(), Source::StaticBroker)
        );
        let own = [(name, "5")];
        assert_eq!(shown(&own, &broker, name), ("5".to_owned(), Source::Topic));
        let names: Vec<_> = described(&own, &broker, name)
            .unwrap()
            .origins
            .iter()
            .map(|origin| (origin.name, origin.value.clone().unwrap()))
            .collect();
        let expected = [
            (name, "5"),
            ("log.retention.hours", "2"),
            ("log.retention.hours", "168"),
        ];
        assert_eq!(
            names,
            expected.map(|(name, value)| (name, value.to_owned()))
        );
    }

    #[test]
    fn hidden_configs_show_only_when_set() {
        let name = "internal.segment.bytes";
        assert!(described(&[], &[], name).is_none());
        assert!(described(&[(name, "8192")], &[], name).is_some());
    }
}
