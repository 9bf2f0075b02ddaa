//! `TopicConfigsSync`: the topic configs of mirrors follow the source's.
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
use std::sync::Arc;

use carrick_protocol::error_code::ErrorCode;
use carrick_protocol::ids::TopicName;

use super::{Job, Note, Run, TaskError};
use crate::description::KeptConfig;
use crate::link::shared::LinkShared;
use crate::ports::TopicCatalog;
use crate::source::{SourceCluster, TopicConfigEntry};
use crate::state::TaskErrorCode;
use crate::tasks::source_code;

/// Every `topic.config.sync.ms`.
pub(crate) const JOB: Job = Job {
    name: "TopicConfigsSync",
    interval_ms: |config| Some(config.topic_config_sync_ms),
    run,
};

/// Always synced, immutable on a mirror.
pub const ALWAYS: &[&str] = &[
    "cleanup.policy",
    "max.message.bytes",
    "message.timestamp.after.max.ms",
    "message.timestamp.before.max.ms",
    "message.timestamp.type",
];

/// Topics in one DescribeConfigs request.
const TOPICS_PER_REQUEST: usize = 200;

/// How many topics a note names.
const NAMED_MAX: usize = 5;

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

/// Of a topic's own configs those that keep the source's values where this broker's defaults are
/// others.
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

/// The note about these topics.
fn note(catalog: &dyn TopicCatalog, topics: &[TopicName]) -> Note {
    let kept: Vec<String> = topics
        .iter()
        .filter_map(|topic| {
            let kept = kept(catalog, topic);
            let kept: Vec<String> = kept.iter().map(ToString::to_string).collect();
            (!kept.is_empty()).then(|| format!("{topic}: {}", kept.join(", ")))
        })
        .collect();
    if kept.is_empty() {
        return Note::new();
    }
    let mut named: Vec<String> = kept.iter().take(NAMED_MAX).cloned().collect();
    if kept.len() > NAMED_MAX {
        named.push(format!("and {} more topics", kept.len() - NAMED_MAX));
    }
    format!(
        "configs with the source's values where this broker's defaults differ: {}",
        named.join("; ")
    )
}

/// What to change of `present`, so that it is `wanted` in the two synced classes; other configs are
/// left alone.
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

fn run(link: &Arc<LinkShared>) -> Option<Run> {
    let inner = link.inner();
    let wanted = inner.mirrors.values().filter(|mirror| mirror.is_wanted());
    let mirrors: Vec<_> = wanted
        .map(|mirror| {
            let record = &mirror.record;
            (record.topic.clone(), record.source_topic.clone())
        })
        .collect();
    if mirrors.is_empty() {
        return None;
    }
    let (source, catalog) = (Arc::clone(&inner.source), Arc::clone(&link.ports.catalog));
    let include = inner.config.topic_config_sync_include.clone();
    Some(Box::pin(sync(source, catalog, mirrors, include)))
}

/// One run over these mirrors: (topic here, topic at the source).
pub(crate) async fn sync(
    source: Arc<dyn SourceCluster>,
    catalog: Arc<dyn TopicCatalog>,
    mirrors: Vec<(TopicName, TopicName)>,
    include: Vec<String>,
) -> Result<Note, TaskError> {
    let mut first_error = None;
    for chunk in mirrors.chunks(TOPICS_PER_REQUEST) {
        let names = chunk
            .iter()
            .map(|(_, source_topic)| source_topic.clone())
            .collect();
        let answers = source
            .topic_configs(names)
            .await
            .map_err(|error| (source_code(&error), error.to_string()))?;
        let mut desired = Vec::new();
        for ((topic, source_topic), answer) in chunk.iter().zip(answers) {
            match answer.error {
                ErrorCode::NONE => {
                    let wanted = wanted(&answer.entries, &include, &*catalog);
                    desired.push((topic.clone(), wanted));
                }
                error => {
                    let words = answer.error_message.unwrap_or_default();
                    let detail = format!("{error} for the source's topic '{source_topic}' {words}");
                    first_error.get_or_insert((code_of(error), detail));
                }
            }
        }
        let (catalog, include) = (Arc::clone(&catalog), include.clone());
        let stored = tokio::task::spawn_blocking(move || store(&*catalog, desired, &include)).await;
        match stored {
            Ok(Ok(())) => {}
            Ok(Err(error)) => {
                first_error.get_or_insert(error);
            }
            Err(_) => return Err((TaskErrorCode::UnknownError, "the task was stopped".into())),
        }
    }
    let topics: Vec<TopicName> = mirrors.into_iter().map(|(topic, _)| topic).collect();
    first_error.map_or_else(|| Ok(note(&*catalog, &topics)), Err)
}

fn store(
    catalog: &dyn TopicCatalog,
    desired: Vec<(TopicName, BTreeMap<String, String>)>,
    include: &[String],
) -> Result<(), TaskError> {
    let mut result = Ok(());
    for (topic, wanted) in desired {
        let done = catalog.configs(&topic).and_then(|present| {
            let changes = changes(&wanted, &present, include);
            if changes.is_empty() {
                Ok(())
            } else {
                catalog.set_configs(&topic, &changes)
            }
        });
        if let Err(error) = done {
            result = Err((
                TaskErrorCode::UnknownError,
                format!("topic '{topic}': {error}"),
            ));
        }
    }
    result
}

fn code_of(error: ErrorCode) -> TaskErrorCode {
    match error {
        ErrorCode::TOPIC_AUTHORIZATION_FAILED | ErrorCode::CLUSTER_AUTHORIZATION_FAILED => {
            TaskErrorCode::AuthorizationError
        }
        _ => TaskErrorCode::UnknownError,
    }
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
