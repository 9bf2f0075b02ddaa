//! DescribeQuorum (key 55), versions 0–2 (KIP-595, KIP-836, KIP-853).
//!
//! There is no quorum and no `__cluster_metadata`: this broker decides alone. So the answer names
//! it as the only voter and the leader, and tools that show a cluster's controllers are correct.
//! The offset is the number of metadata changes so far.
//!
//! - v1: when a voter last fetched; for the leader this is now, as in Kafka.
//! - v2: where its listeners are. They are the client listeners.
//! - Any other partition than `__cluster_metadata-0`, or more than that: UNKNOWN_TOPIC_OR_PARTITION
//!   for each, as in Kafka; more than [`PARTITIONS_MAX`] are INVALID_REQUEST.

use std::ops::RangeInclusive;

use carrick_protocol::error_code::ErrorCode;
use kafka_protocol::messages::describe_quorum_request::TopicData as AskedTopic;
use kafka_protocol::messages::describe_quorum_response::{
    Listener, Node, PartitionData, ReplicaState, TopicData,
};
use kafka_protocol::messages::{ApiKey, BrokerId, DescribeQuorumRequest, DescribeQuorumResponse};

use super::error::door_code;
use super::groups::text;
use super::{Api, Context, Reply, ResponseOf};
use crate::access::Operation;
use crate::broker::Broker;
use crate::clock;

pub struct DescribeQuorum;

/// Where Kafka keeps its metadata.
const METADATA_TOPIC: &str = "__cluster_metadata";

/// The only leader that there can be was never elected again.
const LEADER_EPOCH: i32 = 1;

/// Partitions that are answered one by one.
const PARTITIONS_MAX: usize = 100;

impl Api for DescribeQuorum {
    const KEY: ApiKey = ApiKey::DescribeQuorum;
    const VERSIONS: RangeInclusive<i16> = 0..=2;
    type Request = DescribeQuorumRequest;

    fn handle(ctx: &Context, version: i16, request: Self::Request) -> Reply<ResponseOf<Self>> {
        if let Err(error) = ctx.cluster(Operation::Describe) {
            let code = door_code(error).0;
            return Reply::Now(DescribeQuorumResponse::default().with_error_code(code));
        }
        let asked = request.topics.iter().map(|topic| topic.partitions.len());
        if asked.sum::<usize>() > PARTITIONS_MAX {
            let response = DescribeQuorumResponse::default()
                .with_error_code(ErrorCode::INVALID_REQUEST.0)
                .with_error_message(Some(text("There is one partition to ask for.")));
            return Reply::Now(response);
        }
        if !is_metadata_alone(&request.topics) {
            let topics = request.topics.into_iter().map(unknown).collect();
            return Reply::Now(DescribeQuorumResponse::default().with_topics(topics));
        }
        let broker = &ctx.broker;
        let mut response =
            DescribeQuorumResponse::default().with_topics(vec![metadata(broker, version)]);
        if version >= 2 {
            response.nodes = vec![node(broker)];
        }
        Reply::Now(response)
    }
}

fn is_metadata_alone(topics: &[AskedTopic]) -> bool {
    let [topic] = topics else { return false };
    let [partition] = &*topic.partitions else {
        return false;
    };
    topic.topic_name.as_str() == METADATA_TOPIC && partition.partition_index == 0
}

fn unknown(topic: AskedTopic) -> TopicData {
    let code = ErrorCode::UNKNOWN_TOPIC_OR_PARTITION;
    let partitions = topic.partitions.into_iter().map(|partition| {
        PartitionData::default()
            .with_partition_index(partition.partition_index)
            .with_error_code(code.0)
            .with_error_message(Some(text(
                "This server does not host this topic-partition.",
            )))
    });
    TopicData::default()
        .with_topic_name(topic.topic_name)
        .with_partitions(partitions.collect())
}

fn metadata(broker: &Broker, version: i16) -> TopicData {
    let changes = broker.metadata_changes();
    let mut voter = ReplicaState::default()
        .with_replica_id(BrokerId(broker.node_id.0))
        .with_log_end_offset(changes);
    if version >= 1 {
        let now_ms = clock::now_ms();
        voter.last_fetch_timestamp = now_ms;
        voter.last_caught_up_timestamp = now_ms;
    }
    let partition = PartitionData::default()
        .with_leader_id(BrokerId(broker.node_id.0))
        .with_leader_epoch(LEADER_EPOCH)
        .with_high_watermark(changes)
        .with_current_voters(vec![voter]);
    TopicData::default()
        .with_topic_name(kafka_protocol::messages::TopicName(text(METADATA_TOPIC)))
        .with_partitions(vec![partition])
}

fn node(broker: &Broker) -> Node {
    let listeners = broker.endpoints.iter().map(|endpoint| {
        Listener::default()
            .with_name(text(&endpoint.name))
            .with_host(text(&endpoint.host))
            .with_port(endpoint.port)
    });
    Node::default()
        .with_node_id(BrokerId(broker.node_id.0))
        .with_listeners(listeners.collect())
}
