//! Which topic configs of the source a mirror has.
//!
//! Three classes: always synced ([`ALWAYS`], with the source's effective value, so that a broker
//! default at the source counts); synced unless left out of `topic.config.sync.include` (what is
//! set on the source topic itself); never synced (the rest).
//!
//! A mirror has no config that isn't set on its source topic, unless it needs one to have the
//! source's value because the brokers' defaults differ. Otherwise tools that compare topics with
//! their declaration would find a difference. The task and the mirror's description name the
//! configs that are kept.

use std::collections::BTreeMap;

use carrick_protocol::ids::TopicName;

pub(crate) use crate::config::TOPIC_CONFIGS_ALWAYS_SYNCED as ALWAYS;
use crate::description::KeptConfig;
use crate::ports::TopicCatalog;
use crate::source::TopicConfigEntry;

/// The configs to set on a mirror, from the source's list.
pub(crate) fn wanted(
    entries: &[TopicConfigEntry],
    include: &[String],
    catalog: &dyn TopicCatalog,
) -> BTreeMap<String, String> {
    let is_meant = |entry: &&TopicConfigEntry| {
        let name = entry.name.as_str();
        let is_included = || include.iter().any(|included| included == name);
        let is_always = ALWAYS.contains(&name);
        match entry.is_topic_level {
            true => is_always || is_included(),
            false => is_always && entry.value != catalog.default_config(name),
        }
    };
    let meant = entries.iter().filter(is_meant);
    meant
        .filter_map(|entry| Some((entry.name.clone(), entry.value.clone()?)))
        .collect()
}

/// The configs that are set on the topic itself only because this broker's defaults differ from the
/// source's values.
pub(crate) fn kept(catalog: &dyn TopicCatalog, topic: &TopicName) -> Vec<KeptConfig> {
    let own = catalog.configs(topic).unwrap_or_default();
    let always = own
        .into_iter()
        .filter(|(name, _)| ALWAYS.contains(&name.as_str()));
    let differing = always.filter_map(|(name, value)| {
        let default = catalog.default_config(&name)?;
        (value != default).then_some(KeptConfig {
            name,
            value,
            default,
        })
    });
    differing.collect()
}

/// The changes that turn the configs `present` into those `wanted`, in the two synced classes; other
/// configs are left alone.
pub(crate) fn changes(
    wanted: &BTreeMap<String, String>,
    present: &[(String, String)],
    include: &[String],
) -> Vec<(String, Option<String>)> {
    let present: BTreeMap<&str, &str> = present
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_str()))
        .collect();
    let set = wanted
        .iter()
        .filter(|(name, value)| present.get(name.as_str()) != Some(&value.as_str()))
        .map(|(name, value)| (name.clone(), Some(value.clone())));
    let removed = present
        .keys()
        .filter(|name| ALWAYS.contains(name) || include.iter().any(|included| included == **name))
        .filter(|name| !wanted.contains_key(**name))
        .map(|name| ((*name).to_owned(), None));
    set.chain(removed).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::here::FakeHere;

    fn entry(name: &str, value: &str, is_topic_level: bool) -> TopicConfigEntry {
        TopicConfigEntry {
            name: name.into(),
            value: Some(value.into()),
            is_topic_level,
            is_sensitive: false,
        }
    }

    #[test]
    fn defaults_of_the_source_count_where_they_are_not_the_defaults_here() {
        let entries = [
            entry("cleanup.policy", "compact", false),
            entry("max.message.bytes", "1048588", false),
            entry("message.timestamp.type", "CreateTime", true),
            entry("retention.ms", "1000", false),
            entry("retention.bytes", "5", true),
            entry("segment.bytes", "7", true),
            entry("leader.replication.throttled.replicas", "*", true),
        ];
        let include = vec!["retention.ms".to_owned(), "retention.bytes".to_owned()];
        let wanted = wanted(&entries, &include, &FakeHere::new());
        let names: Vec<&str> = wanted.keys().map(String::as_str).collect();
        // A config that is set on the source topic is set here, whatever the default is.
        let expected = [
            "cleanup.policy",
            "message.timestamp.type",
            "retention.bytes",
        ];
        assert_eq!(names, expected);
    }

    #[test]
    fn what_is_reset_at_the_source_is_reset_here_and_own_configs_stay() {
        let include = vec!["retention.ms".to_owned()];
        let wanted = BTreeMap::from([("cleanup.policy".to_owned(), "delete".to_owned())]);
        let present = [
            ("cleanup.policy".to_owned(), "compact".to_owned()),
            ("max.message.bytes".to_owned(), "1048588".to_owned()),
            ("retention.ms".to_owned(), "1".to_owned()),
            ("segment.bytes".to_owned(), "2".to_owned()),
        ];
        assert_eq!(
            changes(&wanted, &present, &include),
            [
                ("cleanup.policy".to_owned(), Some("delete".to_owned())),
                ("max.message.bytes".to_owned(), None),
                ("retention.ms".to_owned(), None)
            ]
        );
        let now = [("cleanup.policy".to_owned(), "delete".to_owned())];
        assert!(changes(&wanted, &now, &include).is_empty());
    }
}
