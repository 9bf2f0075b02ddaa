//! Mirrors: creation.

use std::collections::BTreeMap;
use std::sync::Arc;

use carrick_protocol::error_code::ErrorCode;
use carrick_protocol::ids::{Offset, TopicName, TopicPartition};

use super::links::in_time;
use super::{LinkManager, NewMirror, show};
use crate::config::{LinkConfig, StartOffset};
use crate::description::MirrorDescription;
use crate::error::LinkError;
use crate::link::shared::LinkShared;
use crate::ports::CatalogError;
use crate::record::{MirrorRecord, MirrorTopicSpec};
use crate::source::{OffsetSpec, SourceCluster, SourceTopic, TopicSelection};
use crate::state::{LinkState, MirrorError, MirrorStatus};
use crate::tasks::configs;

/// The one config of a mirror that is not a topic config.
const START_OFFSET: &str = "mirror.start.offset.spec";

fn topic_name(name: &str) -> Result<TopicName, LinkError> {
    TopicName::new(name).map_err(|error| LinkError::InvalidName(error.to_string()))
}

impl LinkManager {
    pub(super) async fn do_create_mirror(
        &self,
        link: &str,
        new: NewMirror,
    ) -> Result<MirrorDescription, LinkError> {
        self.refuse_when_stopping()?;
        let shared = self.shared(link)?;
        let source_topic = topic_name(&new.source_topic)?;
        let topic = named_here(&shared, &source_topic, new.mirror_topic.as_deref())?;
        self.refuse_existing(&topic)?;
        refuse_second(&shared, &source_topic)?;
        let (config, source, state) = {
            let inner = shared.inner();
            (
                Arc::clone(&inner.config),
                Arc::clone(&inner.source),
                inner.state,
            )
        };
        if state == LinkState::Failed {
            return Err(LinkError::LinkState {
                link: shared.name.clone(),
                reason: "has failed: see its description, clear the cause, and resume it first"
                    .into(),
            });
        }
        let start = start_offset(&config, &new.configs)?;
        let expected = shared.inner().record.source_cluster_id.clone();
        let found = describe(&*source, &config, expected, &source_topic).await?;
        let start_offsets = resolve_start(&*source, &config, &found, start).await?;
        let configs = topic_configs(&*source, &config, &source_topic).await?;
        let now_ms = shared.now_ms();
        let partitions = i32::try_from(found.partitions.len()).unwrap_or(i32::MAX);
        let spec = MirrorTopicSpec {
            topic: topic.clone(),
            source_topic_id: found.id,
            partitions,
            configs,
        };
        let record = MirrorRecord {
            topic: topic.clone(),
            link: shared.name.clone(),
            source_topic,
            source_topic_id: found.id,
            partitions,
            status: MirrorStatus::Active,
            status_since_ms: now_ms,
            error: MirrorError::NoError,
            error_detail: String::new(),
            stopping: None,
            start_offsets,
            created_ms: now_ms,
        };
        // The source may take its time to answer: only now is anybody else kept waiting.
        let _admin = self.admin().await?;
        if !Arc::ptr_eq(&self.shared(link)?, &shared) {
            return Err(LinkError::NoSuchLink(link.to_owned()));
        }
        self.refuse_existing(&topic)?;
        refuse_second(&shared, &record.source_topic)?;
        store_mirror(&shared, spec, record).await?;
        tracing::info!(link = %shared.name, %topic, partitions, "mirror created");
        shared.reconcile();
        let inner = shared.inner();
        let mirror = inner.mirrors.get(&topic);
        let mirror = mirror.ok_or_else(|| LinkError::NotAMirror(topic.to_string()))?;
        Ok(show::mirror(&inner, mirror, now_ms))
    }

    /// No local topic, mirror or not, may have that name.
    fn refuse_existing(&self, topic: &TopicName) -> Result<(), LinkError> {
        for link in self.links.read().values() {
            if let Some(mirror) = link.inner().mirrors.get(topic)
                && mirror.record.status != MirrorStatus::Stopped
            {
                let link = mirror.record.link.clone();
                return Err(LinkError::MirrorExists {
                    topic: topic.clone(),
                    link,
                });
            }
        }
        match self.ports.catalog.partitions(topic) {
            Some(_) => Err(LinkError::TopicExists(topic.clone())),
            None => Ok(()),
        }
    }
}

/// What a topic of the source is called here. A link with a prefix gives every topic its prefix.
fn named_here(
    shared: &LinkShared,
    source_topic: &TopicName,
    wanted: Option<&str>,
) -> Result<TopicName, LinkError> {
    let prefix = shared.inner().config.prefix.clone();
    let named = topic_name(&format!("{prefix}{source_topic}"))?;
    match wanted {
        None => Ok(named),
        Some(wanted) if prefix.is_empty() => topic_name(wanted),
        Some(wanted) if wanted == named.as_str() => Ok(named),
        Some(_) => Err(LinkError::InvalidName(format!(
            "link '{}' has cluster.link.prefix '{prefix}': its mirror of '{source_topic}' is \
             named '{named}', leave the name out",
            shared.name
        ))),
    }
}

/// A link mirrors a source topic once: a fetch session can't hold a partition twice.
fn refuse_second(shared: &LinkShared, source_topic: &TopicName) -> Result<(), LinkError> {
    let inner = shared.inner();
    let twin = inner.mirrors.values().find(|mirror| {
        mirror.record.status != MirrorStatus::Stopped && mirror.record.source_topic == *source_topic
    });
    match twin {
        Some(twin) => Err(LinkError::SourceMirrored {
            source_topic: source_topic.clone(),
            link: shared.name.clone(),
            topic: twin.record.topic.clone(),
        }),
        None => Ok(()),
    }
}

async fn store_mirror(
    shared: &LinkShared,
    spec: MirrorTopicSpec,
    record: MirrorRecord,
) -> Result<(), LinkError> {
    let _change = shared.change.lock().await;
    let stored = record.clone();
    let created = shared
        .blocking(move |ports| ports.catalog.create_mirror(&spec, &stored))
        .await?;
    match created {
        Ok(()) => {}
        Err(CatalogError::TopicExists(topic)) => return Err(LinkError::TopicExists(topic)),
        Err(error) => return Err(error.into()),
    }
    let mut inner = shared.inner();
    // A stopped mirror of that name, whose topic was deleted, must not lend its figures to the new
    // one.
    inner.mirrors.remove(&record.topic);
    inner.put_mirror(record);
    Ok(())
}

/// The start that the mirror's configs, or else the link's, ask for.
fn start_offset(
    config: &LinkConfig,
    configs: &BTreeMap<String, String>,
) -> Result<StartOffset, LinkError> {
    if let Some(name) = configs.keys().find(|name| name.as_str() != START_OFFSET) {
        return Err(LinkError::InvalidConfig {
            name: name.clone(),
            reason: format!(
                "only {START_OFFSET} can be set on a mirror; topic configs follow the source's"
            ),
        });
    }
    match configs.get(START_OFFSET) {
        Some(value) => {
            let change = (START_OFFSET.to_owned(), Some(value.clone()));
            Ok(config.altered(&[change])?.start_offset)
        }
        None => Ok(config.start_offset),
    }
}

/// The source topic, if it can be mirrored.
async fn describe(
    source: &dyn SourceCluster,
    config: &LinkConfig,
    expected_cluster_id: Option<String>,
    name: &TopicName,
) -> Result<SourceTopic, LinkError> {
    let asking = source.metadata(TopicSelection::Names(vec![name.clone()]));
    let metadata = in_time(config, asking).await?;
    if let (Some(expected), Some(found)) = (expected_cluster_id, metadata.cluster.cluster_id)
        && expected != found
    {
        return Err(LinkError::WrongCluster { expected, found });
    }
    let found = metadata
        .topics
        .into_iter()
        .find(|topic| topic.name == *name)
        .ok_or_else(|| LinkError::NoSuchSourceTopic(name.clone()))?;
    let refused = |error: String| LinkError::SourceTopic {
        topic: name.clone(),
        error,
    };
    match found.error {
        ErrorCode::NONE if found.is_internal => Err(LinkError::InvalidName(format!(
            "'{name}' is internal to the source: such topics are not mirrored"
        ))),
        ErrorCode::NONE if found.partitions.is_empty() => Err(refused("no partitions".into())),
        ErrorCode::NONE => Ok(found),
        ErrorCode::UNKNOWN_TOPIC_OR_PARTITION => Err(LinkError::NoSuchSourceTopic(name.clone())),
        error => Err(refused(error.to_string())),
    }
}

/// Where each partition begins, if not at the source's log start.
async fn resolve_start(
    source: &dyn SourceCluster,
    config: &LinkConfig,
    topic: &SourceTopic,
    start: StartOffset,
) -> Result<Vec<(i32, Offset)>, LinkError> {
    let spec = match start {
        StartOffset::Earliest => return Ok(Vec::new()),
        StartOffset::Latest => OffsetSpec::Latest,
        StartOffset::Timestamp(timestamp_ms) => OffsetSpec::Timestamp(timestamp_ms),
    };
    let partitions: Vec<TopicPartition> = topic
        .partitions
        .iter()
        .map(|partition| TopicPartition::new(topic.name.clone(), partition.partition))
        .collect();
    let mut starts = Vec::with_capacity(partitions.len());
    let mut without = Vec::new();
    for (partition, offset) in list(source, config, &partitions, spec).await? {
        match offset {
            Some(offset) => starts.push((partition, offset)),
            None => without.push(TopicPartition::new(topic.name.clone(), partition)),
        }
    }
    // Nothing is that young: the partition begins with what is written next.
    if !without.is_empty() {
        for (partition, offset) in list(source, config, &without, OffsetSpec::Latest).await? {
            starts.push((partition, offset.unwrap_or(Offset::ZERO)));
        }
    }
    starts.sort_unstable();
    Ok(starts)
}

/// Offsets of partitions of one topic, in the order of the questions.
pub(super) async fn list(
    source: &dyn SourceCluster,
    config: &LinkConfig,
    partitions: &[TopicPartition],
    spec: OffsetSpec,
) -> Result<Vec<(i32, Option<Offset>)>, LinkError> {
    let queries = partitions
        .iter()
        .map(|partition| (partition.clone(), spec))
        .collect();
    let answers = in_time(config, source.list_offsets(queries)).await?;
    answers
        .into_iter()
        .map(|answer| match answer.error {
            ErrorCode::NONE => Ok((answer.partition.partition, answer.offset)),
            error => Err(LinkError::SourceTopic {
                topic: answer.partition.topic,
                error: format!("{error} for partition {}", answer.partition.partition),
            }),
        })
        .collect()
}

/// The configs that the new topic gets.
async fn topic_configs(
    source: &dyn SourceCluster,
    config: &LinkConfig,
    topic: &TopicName,
) -> Result<Vec<(String, String)>, LinkError> {
    let answers = in_time(config, source.topic_configs(vec![topic.clone()])).await?;
    let Some(answer) = answers.into_iter().next() else {
        return Err(LinkError::NoSuchSourceTopic(topic.clone()));
    };
    match answer.error {
        ErrorCode::NONE => {
            let wanted = configs::wanted(&answer.entries, &config.topic_config_sync_include);
            Ok(wanted.into_iter().collect())
        }
        error => Err(LinkError::SourceTopic {
            topic: topic.clone(),
            error: format!(
                "{error} to the question for its configs; the link needs DESCRIBE_CONFIGS on it{}",
                answer
                    .error_message
                    .map(|words| format!(" ({words})"))
                    .unwrap_or_default()
            ),
        }),
    }
}
