//! CreateTopics (key 19), versions 2–7.
//!
//! Topics of one replica each, on this broker. -1 partitions are `num.partitions`; -1 replicas are
//! `default.replication.factor`. A replication factor above one is treated as one
//! (`replication.factor.clamp`; the answer and Metadata say so), or refused. `validate_only` checks
//! everything except the disk. Codes and texts match `ReplicationControlManager`.
//!
//! - v4 (KIP-464): clients may send -1 for both counts; accepted in every version, as in Kafka.
//! - v5 (KIP-525): the answer has the configs, the number of partitions and replicas. After some
//!   thousands of topics it says INVALID_REQUEST instead of the configs: a small request could ask for
//!   more than fits in memory.
//! - v7 (KIP-516): the answer has the topic id (zero with `validate_only`, because none was drawn).
//! - v6 (KIP-599): over `controller_mutation_rate`, a topic is THROTTLING_QUOTA_EXCEEDED; older
//!   clients are only told to wait.
//!
//! `__cluster_metadata` is refused, as in Kafka. A client that asks for another of Kafka's internal
//! topics gets it, as in Kafka; here it stays empty, and clients can't produce to it.
//!
//! Not supported: `create.topic.policy.class.name`. The timeout is ignored: the topic exists when
//! the answer is sent.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::sync::Arc;

use carrick_protocol::error_code::ErrorCode;
use carrick_protocol::ids::{TopicId, TopicName};
use kafka_protocol::messages::create_topics_request::{CreatableTopic, CreatableTopicConfig};
use kafka_protocol::messages::create_topics_response::{
    CreatableTopicConfigs, CreatableTopicResult,
};
use kafka_protocol::messages::{ApiKey, CreateTopicsRequest, CreateTopicsResponse};
use kafka_protocol::protocol::StrBytes;

use super::admin::{Refusal, blocking, repeated};
use super::error::door_code;
use super::groups::text;
use super::placement::partitions;
use super::room::Room;
use super::throttle::Mutations;
use super::{Api, Context, Reply, ResponseOf};
use crate::broker::Broker;
use crate::topic::describe::describe;
use crate::topic::replicas::{REPLICAS, Shortfall};
use crate::topic::{NewTopic, TopicError, Topics};

/// Partitions that one request may create; Kafka's `MAX_PARTITIONS_PER_BATCH`.
const PARTITIONS_PER_REQUEST_MAX: i64 = 10_000;

pub struct CreateTopics;

impl Api for CreateTopics {
    const KEY: ApiKey = ApiKey::CreateTopics;
    const VERSIONS: RangeInclusive<i16> = 2..=7;
    type Request = CreateTopicsRequest;

    fn handle(ctx: &Context, version: i16, request: Self::Request) -> Reply<ResponseOf<Self>> {
        let ctx = ctx.clone();
        let mut mutations = ctx.mutations(version >= 6);
        Reply::Later(Box::pin(async move {
            let topics = create_all(&ctx, version, request, &mut mutations).await;
            CreateTopicsResponse::default()
                .with_topics(topics)
                .with_throttle_time_ms(mutations.wait_ms())
        }))
    }
}

async fn create_all(
    ctx: &Context,
    version: i16,
    request: CreateTopicsRequest,
    mutations: &mut Mutations,
) -> Vec<CreatableTopicResult> {
    let too_many = partitions_asked_for(&ctx.broker, &request) > PARTITIONS_PER_REQUEST_MAX;
    let mut repeated = repeated(request.topics.iter().map(|topic| topic.name.clone()));
    let mut answered = repeated.clone();
    let room = Room::for_defaults();
    let mut results = Vec::with_capacity(request.topics.len());
    for topic in request.topics {
        let name = topic.name.clone();
        let created = if too_many {
            Err(Refusal::new(
                ErrorCode::POLICY_VIOLATION,
                "Excessively large number of partitions per request.",
            ))
        } else if repeated.remove(&name) {
            Err(Refusal::invalid("Duplicate topic name."))
        } else if !answered.insert(name.clone()) {
            continue;
        } else {
            let shown = (version, &room);
            create(ctx, shown, topic, request.validate_only, mutations).await
        };
        let result = created.unwrap_or_else(|refusal| {
            CreatableTopicResult::default()
                .with_error_code(refusal.code.0)
                .with_error_message(refusal.wire_message())
        });
        results.push(result.with_name(name));
    }
    results
}

fn partitions_asked_for(broker: &Broker, request: &CreateTopicsRequest) -> i64 {
    let count = |topic: &CreatableTopic| match topic.num_partitions {
        _ if !topic.assignments.is_empty() => topic.assignments.len() as i64,
        -1 => i64::from(broker.topic_rules.default_partitions),
        count => i64::from(count.max(0)),
    };
    request.topics.iter().map(count).sum()
}

async fn create(
    ctx: &Context,
    (version, room): (i16, &Room),
    topic: CreatableTopic,
    validate_only: bool,
    mutations: &mut Mutations,
) -> Result<CreatableTopicResult, Refusal> {
    let topics = match TopicName::new(topic.name.as_str()) {
        // For everyone, whatever their rights.
        Ok(name) if name.is_prohibited() => {
            return Err(TopicError::Internal(name.to_string()).into());
        }
        _ => ctx.creating(&topic.name)?,
    };
    let (new, shortfall) = plan(ctx, topics, topic)?;
    topics.check_new(&new)?;
    mutations.take(usize::try_from(new.partitions).unwrap_or_default())?;
    let mut result = CreatableTopicResult::default().with_error_message(None);
    if version >= 5 {
        describe_into(&mut result, ctx, &new, (version, room));
    }
    let topics = Arc::clone(topics);
    let id = blocking(move || match validate_only {
        true => topics.check_new(&new).map(|()| TopicId::ZERO),
        false => topics.create(new, Default::default()).map(|topic| {
            shortfall.log(topic.name());
            topic.id()
        }),
    });
    Ok(result.with_topic_id(id.await?.0))
}

/// What is to be created, as far as the request alone shows.
fn plan(
    ctx: &Context,
    topics: &Topics,
    topic: CreatableTopic,
) -> Result<(NewTopic, Shortfall), Refusal> {
    let name = TopicName::new(topic.name.as_str())
        .map_err(|error| Refusal::new(ErrorCode::INVALID_TOPIC_EXCEPTION, error.to_string()))?;
    // The counts of a topic that already exists don't matter: some clients create on every start.
    if topics.topic(&name).is_some() {
        return Err(TopicError::Exists(name.to_string()).into());
    }
    let (partitions, shortfall) = partitions(&ctx.broker, &topic)?;
    let configs = overrides(topic.configs)?;
    let new = NewTopic {
        name,
        id: None,
        partitions,
        configs,
        is_mirror: false,
    };
    Ok((new, shortfall))
}

fn overrides(configs: Vec<CreatableTopicConfig>) -> Result<BTreeMap<String, String>, Refusal> {
    let mut overrides = BTreeMap::new();
    for CreatableTopicConfig { name, value, .. } in configs {
        let Some(value) = value else {
            let message = format!("Null value not supported for topic configs: {name}");
            return Err(Refusal::new(ErrorCode::INVALID_CONFIG, message));
        };
        overrides.insert(name.to_string(), value.to_string());
    }
    Ok(overrides)
}

/// Fills in the topic's counts and configs, unless the client may not see those, or the answer has
/// no room for them.
fn describe_into(
    result: &mut CreatableTopicResult,
    ctx: &Context,
    new: &NewTopic,
    (version, room): (i16, &Room),
) {
    if let Some(error) = ctx.hides_configs(&new.name) {
        result.topic_config_error_code = door_code(error).0;
        result.configs = None;
        return;
    }
    result.num_partitions = new.partitions;
    result.replication_factor = REPLICAS;
    match configs(&ctx.broker, new, version, room) {
        Ok(configs) => result.configs = Some(configs),
        Err(refusal) => result.topic_config_error_code = refusal.code.0,
    }
}

/// All configs of a new topic, as far as the answer has room.
fn configs(
    broker: &Broker,
    new: &NewTopic,
    version: i16,
    room: &Room,
) -> Result<Vec<CreatableTopicConfigs>, Refusal> {
    room.take(0)?;
    let described = describe(&new.configs, &broker.properties.values()).into_iter();
    let configs = described.map(|config| {
        let shown = CreatableTopicConfigs::default()
            .with_name(StrBytes::from_static_str(config.def.name))
            .with_read_only(config.read_only)
            .with_config_source(config.source().code())
            .with_is_sensitive(config.is_sensitive())
            .with_value(config.value.as_deref().map(text));
        room.take_item(version, &shown).map(|()| shown)
    });
    configs.collect()
}
