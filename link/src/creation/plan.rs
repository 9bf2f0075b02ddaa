//! The plan of new mirrors, from the source's answers about its topics.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use carrick_protocol::error_code::ErrorCode;
use carrick_protocol::ids::{Offset, TopicName, TopicPartition};

use super::{Each, Wish, all_failed, ok, then};
use crate::config::{LinkConfig, StartOffset};
use crate::error::LinkError;
use crate::lookup::offsets::list_each;
use crate::lookup::within;
use crate::ports::TopicCatalog;
use crate::record::{MirrorRecord, MirrorTopicSpec, NewMirrorTopic};
use crate::shared::LinkShared;
use crate::source::{OffsetSpec, SourceCluster, SourceTopic, TopicConfigs, TopicSelection, named};
use crate::state::{LinkState, MirrorError, MirrorStatus};
use crate::topic_configs;

/// The one config of a mirror that is not a topic config.
const START_OFFSET: &str = "mirror.start.offset.spec";

/// Topics with this prefix belong to some program, whether or not the source calls them internal.
const INTERNAL_PREFIX: &str = "__";

/// Where each partition of a topic begins, if not at the source's log start.
type Starts = Vec<(i32, Offset)>;

/// The source to ask, and the configs to ask with.
pub(super) struct Asking {
    source: Arc<dyn SourceCluster>,
    catalog: Arc<dyn TopicCatalog>,
    config: Arc<LinkConfig>,
    expected_cluster_id: Option<String>,
    start: StartOffset,
    own_configs: Vec<(String, String)>,
}

impl Asking {
    /// For mirrors with these configs.
    pub(super) fn of(
        shared: &LinkShared,
        configs: &BTreeMap<String, String>,
    ) -> Result<Self, LinkError> {
        let inner = shared.inner();
        if inner.state == LinkState::Failed {
            return Err(LinkError::LinkState {
                link: shared.name.clone(),
                reason: "has failed: see its description, clear the cause, and resume it first"
                    .into(),
            });
        }
        let config = Arc::clone(&inner.config);
        Ok(Self {
            source: Arc::clone(&inner.source),
            catalog: Arc::clone(&shared.ports.catalog),
            start: start_offset(&config, configs)?,
            own_configs: own_configs(&config, configs)?,
            expected_cluster_id: inner.record.source_cluster_id.clone(),
            config,
        })
    }

    /// The plan for mirrors of these topics.
    pub(super) async fn plan(
        &self,
        shared: &LinkShared,
        wishes: Vec<Wish>,
    ) -> Each<NewMirrorTopic> {
        let described = or_all_failed(wishes.len(), self.describe(&wishes).await);
        let found = ok(&described);
        let started = or_all_failed(found.len(), self.starts(&found).await);
        let started = then(described, with(found, started));
        let found = ok(&started);
        let configured = or_all_failed(found.len(), self.configs(&found).await);
        let complete = then(started, with(found, configured));
        let now_ms = shared.now_ms();
        let all = wishes.into_iter().zip(complete);
        all.map(|(wish, complete)| {
            let ((topic, start_offsets), configs) = complete?;
            Ok(self.new_mirror(shared, wish, &topic, start_offsets, configs, now_ms))
        })
        .collect()
    }

    fn new_mirror(
        &self,
        shared: &LinkShared,
        wish: Wish,
        found: &SourceTopic,
        start_offsets: Starts,
        configs: Vec<(String, String)>,
        now_ms: i64,
    ) -> NewMirrorTopic {
        let partitions = i32::try_from(found.partitions.len()).unwrap_or(i32::MAX);
        NewMirrorTopic {
            spec: MirrorTopicSpec {
                topic: wish.topic.clone(),
                source_topic_id: found.id,
                partitions,
                configs,
                own_configs: self.own_configs.clone(),
            },
            record: MirrorRecord {
                topic: wish.topic,
                link: shared.name.clone(),
                source_topic: wish.source_topic,
                source_topic_id: found.id,
                partitions,
                status: MirrorStatus::Active,
                status_since_ms: now_ms,
                error: MirrorError::NoError,
                error_detail: String::new(),
                pending_cut: None,
                start_offsets,
                created_ms: now_ms,
            },
        }
    }

    /// The source topics; an error for each that can't be mirrored.
    async fn describe(&self, wishes: &[Wish]) -> Result<Each<SourceTopic>, LinkError> {
        let names = wishes.iter().map(|wish| wish.source_topic.clone());
        let asking = self.source.metadata(TopicSelection::Names(names.collect()));
        let metadata = within(&self.config, asking).await?;
        if let (Some(expected), Some(found)) =
            (&self.expected_cluster_id, metadata.cluster.cluster_id)
            && *expected != found
        {
            let expected = expected.clone();
            return Err(LinkError::WrongCluster { expected, found });
        }
        let topics = metadata.topics.into_iter();
        let mut by_name: HashMap<TopicName, SourceTopic> =
            topics.map(|topic| (topic.name.clone(), topic)).collect();
        let found = wishes
            .iter()
            .map(|wish| mirrorable(&wish.source_topic, by_name.remove(&wish.source_topic)));
        Ok(found.collect())
    }

    async fn starts(&self, topics: &[SourceTopic]) -> Result<Each<Starts>, LinkError> {
        let spec = match self.start {
            StartOffset::Earliest => return Ok(topics.iter().map(|_| Ok(Starts::new())).collect()),
            StartOffset::Latest => OffsetSpec::Latest,
            StartOffset::Timestamp(timestamp_ms) => OffsetSpec::Timestamp(timestamp_ms),
        };
        let partitions = topics.iter().flat_map(|topic| {
            let partitions = topic.partitions.iter();
            partitions.map(|partition| TopicPartition::new(topic.name.clone(), partition.partition))
        });
        let mut offsets = HashMap::new();
        self.list(partitions.collect(), spec, &mut offsets).await?;
        // No record is that young: the partition begins with the next one written.
        let without = offsets
            .iter()
            .filter(|(_, offset)| **offset == Ok(None))
            .map(|(partition, _)| partition.clone());
        let without: Vec<_> = without.collect();
        if !without.is_empty() {
            self.list(without, OffsetSpec::Latest, &mut offsets).await?;
        }
        let start = |topic: &SourceTopic, partition: i32| {
            let key = TopicPartition::new(topic.name.clone(), partition);
            let offset = offsets.get(&key).cloned().unwrap_or(Ok(None))?;
            Ok((partition, offset.unwrap_or(Offset::ZERO)))
        };
        let all_of = |topic: &SourceTopic| {
            let partitions = topic.partitions.iter();
            partitions
                .map(|partition| start(topic, partition.partition))
                .collect()
        };
        Ok(topics.iter().map(all_of).collect())
    }

    async fn list(
        &self,
        partitions: Vec<TopicPartition>,
        spec: OffsetSpec,
        offsets: &mut HashMap<TopicPartition, Result<Option<Offset>, LinkError>>,
    ) -> Result<(), LinkError> {
        offsets.extend(list_each(&*self.source, &self.config, partitions, spec).await?);
        Ok(())
    }

    /// The configs that the new topics get from the source.
    async fn configs<T>(
        &self,
        topics: &[(SourceTopic, T)],
    ) -> Result<Each<Vec<(String, String)>>, LinkError> {
        let names = topics.iter().map(|(topic, _)| topic.name.clone());
        let asking = self.source.topic_configs(names.collect());
        let answers = within(&self.config, asking).await?.into_iter();
        let mut by_name: HashMap<TopicName, TopicConfigs> = answers
            .map(|answer| (answer.topic.clone(), answer))
            .collect();
        let wanted = |(topic, _): &(SourceTopic, T)| {
            let answer = by_name
                .remove(&topic.name)
                .ok_or_else(|| LinkError::NoSuchSourceTopic(topic.name.clone()))?;
            match answer.error {
                ErrorCode::NONE => {
                    let include = &self.config.topic_config_sync_include;
                    let wanted = topic_configs::wanted(&answer.entries, include, &*self.catalog);
                    Ok(wanted.into_iter().collect())
                }
                _ => Err(not_described(answer)),
            }
        };
        Ok(topics.iter().map(wanted).collect())
    }
}

fn or_all_failed<T>(count: usize, outcomes: Result<Each<T>, LinkError>) -> Each<T> {
    outcomes.unwrap_or_else(|error| all_failed(count, &error))
}

/// Pairs what is known with what was asked for now.
fn with<T, U>(known: Vec<T>, learnt: Each<U>) -> Each<(T, U)> {
    let pairs = known.into_iter().zip(learnt);
    pairs.map(|(known, learnt)| Ok((known, learnt?))).collect()
}

/// The start that the mirrors' configs, or else the link's, ask for.
fn start_offset(
    config: &LinkConfig,
    configs: &BTreeMap<String, String>,
) -> Result<StartOffset, LinkError> {
    match configs.get(START_OFFSET) {
        Some(value) => {
            let change = (START_OFFSET.to_owned(), Some(value.clone()));
            Ok(config.altered(&[change])?.start_offset)
        }
        None => Ok(config.start_offset),
    }
}

/// The topic configs to set on the mirrors themselves. Refuses those that a sync would overwrite.
fn own_configs(
    config: &LinkConfig,
    configs: &BTreeMap<String, String>,
) -> Result<Vec<(String, String)>, LinkError> {
    let own = configs.iter().filter(|(name, _)| *name != START_OFFSET);
    own.map(|(name, value)| {
        let refused = |reason: &str| LinkError::InvalidConfig {
            name: name.clone(),
            reason: reason.to_owned(),
        };
        if topic_configs::ALWAYS.contains(&name.as_str()) {
            return Err(refused("a mirror always has its source's value"));
        }
        if config.topic_config_sync_include.contains(name) {
            return Err(refused(
                "is synced from the source: leave it out of the link's \
                 topic.config.sync.include to set it here",
            ));
        }
        Ok((name.clone(), value.clone()))
    })
    .collect()
}

/// The topic, if it can be mirrored.
fn mirrorable(name: &TopicName, found: Option<SourceTopic>) -> Result<SourceTopic, LinkError> {
    let found = found.ok_or_else(|| LinkError::NoSuchSourceTopic(name.clone()))?;
    let refused = |error: String| LinkError::SourceTopic {
        topic: name.clone(),
        error,
    };
    match found.error {
        ErrorCode::NONE if found.is_internal || name.is_internal() => Err(LinkError::InvalidName(
            format!("'{name}' is internal at the source: such topics are not mirrored"),
        )),
        ErrorCode::NONE if found.partitions.is_empty() => Err(refused("no partitions".into())),
        ErrorCode::NONE => Ok(found),
        ErrorCode::UNKNOWN_TOPIC_OR_PARTITION => Err(LinkError::NoSuchSourceTopic(name.clone())),
        error => Err(refused(named(error, "DESCRIBE the topic"))),
    }
}

fn not_described(answer: TopicConfigs) -> LinkError {
    let words = answer.error_message.map(|words| format!(" ({words})"));
    LinkError::SourceTopic {
        topic: answer.topic,
        error: format!(
            "{} when asked for its configs; the link needs DESCRIBE_CONFIGS on it{}",
            answer.error,
            words.unwrap_or_default()
        ),
    }
}

/// The source's user topics: not the ones in which the source, or a tool next to it, keeps its own
/// data.
///
/// # Errors
/// `SourceUnavailable`.
pub(crate) async fn topics_at_source(shared: &LinkShared) -> Result<Vec<TopicName>, LinkError> {
    let (source, config) = {
        let inner = shared.inner();
        (Arc::clone(&inner.source), Arc::clone(&inner.config))
    };
    let metadata = within(&config, source.metadata(TopicSelection::All)).await?;
    let topics = metadata.topics.into_iter().filter(|topic| {
        let is_internal = topic.is_internal || topic.name.as_str().starts_with(INTERNAL_PREFIX);
        !is_internal && topic.error == ErrorCode::NONE
    });
    Ok(topics.map(|topic| topic.name).collect())
}
