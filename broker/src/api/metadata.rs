//! Metadata (key 3), versions 0–13.
//!
//! Brokers, topics, partitions and their leaders: here always this one broker. The address in the
//! answer is the advertised one of the listener that received the request.
//!
//! - v0: an empty list requests all topics; from v1 on `null` does, and an empty list requests
//!   none.
//! - v1: controller id, rack, internal topics. v2: cluster id. v5: offline replicas: this broker, where a
//!   log could not be opened at start. Such a partition is LEADER_NOT_AVAILABLE.
//! - v4 (KIP-4): `allow_auto_topic_creation`; before, always. Only if `auto.create.topics.enable`
//!   is set, too. The same answer already contains the topic, while Kafka first answers
//!   LEADER_NOT_AVAILABLE. Internal topics are never created: they are unknown.
//! - v7 (KIP-320): leader epoch, at least every epoch in the log.
//! - v8 (KIP-430): authorized operations; without authorization all of them, if requested.
//! - v10 (KIP-516): topic ids. v12: a topic may be requested by id.
//! - A topic that is requested twice is answered once, as in Kafka: a short request must not get an
//!   unbounded answer.
//! - v13 (KIP-1102): top-level error code, never set: there is no other cluster that a client could
//!   bootstrap from.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::ops::RangeInclusive;

use carrick_protocol::error_code::ErrorCode;
use carrick_protocol::ids::{NodeId, TopicId, TopicName};
use kafka_protocol::messages::metadata_request::MetadataRequestTopic;
use kafka_protocol::messages::metadata_response::{
    MetadataResponseBroker, MetadataResponsePartition, MetadataResponseTopic,
};
use kafka_protocol::messages::{self, ApiKey, BrokerId, MetadataRequest, MetadataResponse};
use kafka_protocol::protocol::StrBytes;

use super::door::DoorError;
use super::error::{door_code, topic_code};
use super::{Api, Context, Reply, ResponseOf};
use crate::access::{Operation, Resource};
use crate::cluster::{Leader, Placement};
use crate::topic::Topic;

/// "Not asked for" among authorized operations.
pub const NO_OPERATIONS: i32 = i32::MIN;

/// Topics that one request creates, at most. The others stay unknown until they are requested
/// again.
const CREATED_MAX: usize = 100;

/// Most bytes that a topic, and each of its partitions, take in an answer.
const PARTITION_BYTES: usize = 48;

/// Who leads an offline partition.
const NO_LEADER: BrokerId = BrokerId(-1);

pub struct Metadata;

impl Api for Metadata {
    const KEY: ApiKey = ApiKey::Metadata;
    const VERSIONS: RangeInclusive<i16> = 0..=13;
    const LISTS: bool = true;
    type Request = MetadataRequest;

    fn handle(ctx: &Context, version: i16, request: Self::Request) -> Reply<ResponseOf<Self>> {
        let creates = missing(ctx, version, &request);
        if creates.is_empty() {
            return Reply::Now(respond(ctx, version, &request));
        }
        let ctx = ctx.clone();
        Reply::Later(Box::pin(async move {
            let refused = create(&ctx, creates).await;
            let mut response = respond(&ctx, version, &request);
            for topic in &mut response.topics {
                let name = topic.name.as_ref().map(|name| name.0.as_str());
                if let Some(error) = name.and_then(|name| refused.get(name)) {
                    topic.error_code = error.0;
                }
            }
            response
        }))
    }
}

/// The topics that this request creates.
fn missing(ctx: &Context, version: i16, request: &MetadataRequest) -> BTreeSet<TopicName> {
    let allowed = version < 4 || request.allow_auto_topic_creation;
    if !allowed || !ctx.broker.topic_rules.auto_create {
        return BTreeSet::new();
    }
    let asked = request.topics.iter().flatten();
    asked
        .filter_map(name)
        .filter(|name| is_unknown(ctx, name))
        .filter_map(|name| TopicName::new(name.as_str()).ok())
        .filter(|name| !name.is_internal())
        .take(CREATED_MAX)
        .collect()
}

/// Creates topics on demand; answers which could not be, and why.
async fn create(ctx: &Context, mut names: BTreeSet<TopicName>) -> BTreeMap<TopicName, ErrorCode> {
    let mut refused = BTreeMap::new();
    let mut topics = None;
    names.retain(|name| match ctx.creating(name) {
        Ok(there) => {
            topics = Some(there);
            true
        }
        Err(error) => {
            refused.insert(name.clone(), door_code(error));
            false
        }
    });
    if let Some(topics) = topics {
        let rules = ctx.broker.topic_rules;
        let created = ctx.broker.on_demand.create(topics, rules, names).await;
        let failed = created.into_iter();
        refused.extend(failed.map(|(name, error)| (name, topic_code(&error))));
    }
    refused
}

fn is_unknown(ctx: &Context, name: &messages::TopicName) -> bool {
    // The answer to the request logs a refusal.
    let found = ctx
        .shows_topic(name)
        .then(|| ctx.topic(name, Operation::Describe));
    found.is_some_and(|found| found.is_err_and(|error| error == DoorError::NoSuchTopic))
}

/// The name of a topic that is requested by name. If there is an id, the name is ignored: clients
/// leave it empty.
fn name(asked: &MetadataRequestTopic) -> Option<&messages::TopicName> {
    asked.name.as_ref().filter(|_| asked.topic_id.is_nil())
}

fn respond(ctx: &Context, version: i16, request: &MetadataRequest) -> MetadataResponse {
    let show = Show {
        ctx,
        version,
        with_operations: request.include_topic_authorized_operations,
    };
    let mut seen = HashSet::new();
    let topics = match &request.topics {
        Some(topics) if version > 0 || !topics.is_empty() => topics
            .iter()
            // If there is an id, the name next to it is ignored.
            .filter(|asked| seen.insert((name(asked), asked.topic_id)))
            .map(|asked| show.asked(asked))
            .collect(),
        _ => {
            let topics = ctx.topics(Operation::Describe);
            topics
                .iter()
                .filter_map(|topic| show.topic(topic))
                .collect()
        }
    };
    let mut response = MetadataResponse::default()
        .with_brokers(brokers(ctx, version))
        .with_topics(topics);
    if version >= 1 {
        response.controller_id = BrokerId(ctx.view().controller().0);
    }
    if version >= 2 {
        response.cluster_id = Some(StrBytes::from_string(ctx.broker.cluster_id.to_string()));
    }
    if (8..=10).contains(&version) {
        response.cluster_authorized_operations = match request.include_cluster_authorized_operations
        {
            true => cluster_operations(ctx),
            false => NO_OPERATIONS,
        };
    }
    response
}

/// What the client may do with the cluster; nothing, if it may not even ask.
pub(super) fn cluster_operations(ctx: &Context) -> i32 {
    match ctx.cluster_if_allowed(Operation::Describe) {
        Ok(_) => ctx.operations(Resource::Cluster),
        Err(_) => 0,
    }
}

fn brokers(ctx: &Context, version: i16) -> Vec<MetadataResponseBroker> {
    let members = ctx.view().brokers(ctx.connection.listener).into_iter();
    let shown = members.map(|member| {
        let rack = member.rack.filter(|_| version >= 1);
        MetadataResponseBroker::default()
            .with_node_id(BrokerId(member.id.0))
            .with_host(StrBytes::from_string(member.host))
            .with_port(i32::from(member.port))
            .with_rack(rack.map(StrBytes::from_string))
    });
    shown.collect()
}

/// Brokers on the wire.
pub(super) fn nodes(brokers: &[NodeId]) -> Vec<BrokerId> {
    brokers.iter().map(|broker| BrokerId(broker.0)).collect()
}

/// A leader on the wire.
pub(super) fn leader_id(leader: Leader) -> BrokerId {
    leader.broker.map_or(NO_LEADER, |broker| BrokerId(broker.0))
}

/// What a client sees of a partition that has no leader.
pub(super) fn leader_code(placement: &Placement) -> ErrorCode {
    match placement.leader.broker {
        Some(_) => ErrorCode::NONE,
        None => ErrorCode::LEADER_NOT_AVAILABLE,
    }
}

/// How topics are shown in this version.
struct Show<'a> {
    ctx: &'a Context,
    version: i16,
    with_operations: bool,
}

impl Show<'_> {
    fn asked(&self, asked: &MetadataRequestTopic) -> MetadataResponseTopic {
        if let Some(name) = name(asked) {
            return match self.ctx.topic(name, Operation::Describe) {
                Ok(topic) => self
                    .topic(&topic)
                    .unwrap_or_else(|| self.error(asked, ErrorCode::UNKNOWN_TOPIC_OR_PARTITION)),
                Err(error) if error.is_not_there() && TopicName::new(name.as_str()).is_err() => {
                    self.error(asked, ErrorCode::INVALID_TOPIC_EXCEPTION)
                }
                Err(error) => self.error(asked, door_code(error)),
            };
        }
        match self.ctx.topic(TopicId(asked.topic_id), Operation::Describe) {
            Ok(topic) => self
                .topic(&topic)
                .unwrap_or_else(|| self.error(asked, ErrorCode::UNKNOWN_TOPIC_ID)),
            Err(error) => self.error(asked, door_code(error)),
        }
    }

    fn error(&self, asked: &MetadataRequestTopic, code: ErrorCode) -> MetadataResponseTopic {
        let mut topic = MetadataResponseTopic::default()
            .with_error_code(code.0)
            .with_name(name(asked).cloned());
        // A name became nullable with v12, when topics could be asked for by id.
        if topic.name.is_none() && self.version < 12 {
            topic.name = Some(Default::default());
        }
        if self.version >= 10 {
            topic.topic_id = asked.topic_id;
        }
        if self.version >= 8 {
            topic.topic_authorized_operations = NO_OPERATIONS;
        }
        topic
    }

    /// `None` if the topic was deleted since it was found: clients must not see it without its
    /// partitions.
    fn topic(&self, topic: &Topic) -> Option<MetadataResponseTopic> {
        let count = usize::try_from(topic.partition_count()).unwrap_or_default();
        let bytes = topic.name().len() + (1 + count) * PARTITION_BYTES;
        if let Err(refusal) = self.ctx.room.take(bytes) {
            let asked = MetadataRequestTopic::default()
                .with_name(Some(StrBytes::from_string(topic.name().to_string()).into()));
            let mut refused = self.error(&asked, refusal.code);
            if self.version >= 10 {
                refused.topic_id = topic.id().0;
            }
            return Some(refused);
        }
        let partitions = (0..topic.partition_count()).map(|number| self.partition(topic, number));
        let partitions: Option<Vec<_>> = partitions.collect();
        let name = StrBytes::from_string(topic.name().to_string());
        let mut shown = MetadataResponseTopic::default()
            .with_name(Some(name.into()))
            .with_partitions(partitions?);
        if self.version >= 1 {
            shown.is_internal = topic.is_internal();
        }
        if self.version >= 8 {
            shown.topic_authorized_operations = match self.with_operations {
                true => self.ctx.operations(Resource::Topic(topic.name())),
                false => NO_OPERATIONS,
            };
        }
        if self.version >= 10 {
            shown.topic_id = topic.id().0;
        }
        Some(shown)
    }

    fn partition(&self, topic: &Topic, number: i32) -> Option<MetadataResponsePartition> {
        let placement = self.ctx.view().placement(topic, number)?;
        let mut shown = MetadataResponsePartition::default()
            .with_error_code(leader_code(&placement).0)
            .with_partition_index(number)
            .with_leader_id(leader_id(placement.leader))
            .with_replica_nodes(nodes(&placement.replicas))
            .with_isr_nodes(nodes(&placement.in_sync));
        if self.version >= 5 {
            shown.offline_replicas = nodes(&placement.offline);
        }
        if self.version >= 7 {
            shown.leader_epoch = placement.leader.epoch.0;
        }
        Some(shown)
    }
}
