//! AlterPartitionReassignments (key 45), versions 0–1 (KIP-455).
//!
//! A partition can only be where it is: a reassignment to this broker alone succeeds immediately,
//! any other is INVALID_REPLICA_ASSIGNMENT. No reassignment is ever in progress, so there is
//! nothing to cancel (no replicas): NO_REASSIGNMENT_IN_PROGRESS. v1 only adds whether the number of
//! replicas may change (KIP-860), which it cannot.

use std::ops::RangeInclusive;

use carrick_protocol::error_code::ErrorCode;
use kafka_protocol::messages::alter_partition_reassignments_request::{
    ReassignablePartition, ReassignableTopic,
};
use kafka_protocol::messages::alter_partition_reassignments_response::{
    ReassignablePartitionResponse, ReassignableTopicResponse,
};
use kafka_protocol::messages::{
    AlterPartitionReassignmentsRequest, AlterPartitionReassignmentsResponse, ApiKey,
};

use super::admin::{Refusal, outcome, short};
use super::door::Cluster;
use super::placement::check_replicas;
use super::{Api, Context, Reply, ResponseOf};
use crate::access::Operation;

pub struct AlterPartitionReassignments;

impl Api for AlterPartitionReassignments {
    const KEY: ApiKey = ApiKey::AlterPartitionReassignments;
    const VERSIONS: RangeInclusive<i16> = 0..=1;
    const LISTS: bool = true;
    type Request = AlterPartitionReassignmentsRequest;

    fn handle(ctx: &Context, version: i16, request: Self::Request) -> Reply<ResponseOf<Self>> {
        let cluster = match ctx.cluster(Operation::Alter) {
            Ok(cluster) => cluster,
            Err(error) => {
                let refusal = Refusal::from(error);
                let response = AlterPartitionReassignmentsResponse::default()
                    .with_error_code(refusal.code.0)
                    .with_error_message(refusal.wire_message());
                return Reply::Now(response);
            }
        };
        let topics = request.topics.into_iter();
        let topics = topics
            .map(|topic| reassigned(ctx, cluster, version, topic))
            .collect();
        let response = AlterPartitionReassignmentsResponse::default()
            .with_error_message(None)
            .with_responses(topics);
        Reply::Now(match version {
            0 => response,
            _ => {
                let allowed = request.allow_replication_factor_change;
                response.with_allow_replication_factor_change(allowed)
            }
        })
    }
}

fn reassigned(
    ctx: &Context,
    cluster: Cluster<'_>,
    version: i16,
    topic: ReassignableTopic,
) -> ReassignableTopicResponse {
    let partitions = topic.partitions.iter().map(|partition| {
        let answer = |(code, message)| {
            ReassignablePartitionResponse::default()
                .with_partition_index(partition.partition_index)
                .with_error_code(code)
                .with_error_message(message)
        };
        let reassign = || answer(outcome(&reassign(ctx, cluster, &topic.name, partition)));
        ctx.room
            .item(version, reassign, |refusal| answer((refusal.code.0, None)))
    });
    let partitions = partitions.collect();
    ReassignableTopicResponse::default()
        .with_name(topic.name)
        .with_partitions(partitions)
}

fn reassign(
    ctx: &Context,
    cluster: Cluster<'_>,
    name: &str,
    asked: &ReassignablePartition,
) -> Result<(), Refusal> {
    let unknown = |message| Refusal::new(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION, message);
    let topic = cluster
        .topic(name)
        .map_err(|_| unknown(format!("Unable to find a topic named {}.", short(name))))?;
    let number = asked.partition_index;
    ctx.partition(&topic, number)
        .map_err(|_| unknown(format!("Unable to find partition {name}:{number}.")))?;
    match &asked.replicas {
        Some(replicas) => check_replicas(ctx.broker.node_id, replicas),
        None => Err(Refusal::new(
            ErrorCode::NO_REASSIGNMENT_IN_PROGRESS,
            "No partition reassignment is in progress.",
        )),
    }
}
