//! OffsetForLeaderEpoch (key 23), versions 2–4.
//!
//! Where an epoch ended: how a consumer or a follower finds out that a log was truncated (KIP-101,
//! KIP-320). The current epoch ends at the log's end; an unknown one has no end (-1).
//!
//! - v3: replica id, ignored: who may act for the cluster needs no right on the topic, whatever it says,
//!   as in Kafka. v4: flexible.

use std::ops::RangeInclusive;

use carrick_protocol::ids::LeaderEpoch;
use kafka_protocol::messages::offset_for_leader_epoch_request::OffsetForLeaderPartition;
use kafka_protocol::messages::offset_for_leader_epoch_response::{
    EpochEndOffset, OffsetForLeaderTopicResult,
};
use kafka_protocol::messages::{ApiKey, OffsetForLeaderEpochRequest, OffsetForLeaderEpochResponse};

use super::door::DoorError;
use super::error::{door_code, partition_code};
use super::{Api, Context, Reply, ResponseOf};
use crate::access::Operation;
use crate::topic::Topic;

pub struct OffsetForLeaderEpoch;

impl Api for OffsetForLeaderEpoch {
    const KEY: ApiKey = ApiKey::OffsetForLeaderEpoch;
    const VERSIONS: RangeInclusive<i16> = 2..=4;
    type Request = OffsetForLeaderEpochRequest;

    fn handle(ctx: &Context, _version: i16, request: Self::Request) -> Reply<ResponseOf<Self>> {
        // Brokers may, and who may see the topic (KIP-320).
        let cluster = ctx.cluster_if_allowed(Operation::ClusterAction);
        let topics = request.topics.into_iter().map(|asked| {
            let topic = match cluster {
                Ok(cluster) => cluster.topic(&asked.topic),
                Err(_) => ctx.topic(&asked.topic, Operation::Describe),
            };
            let partitions = asked
                .partitions
                .iter()
                .map(|wanted| find(ctx, topic.as_deref(), wanted))
                .collect();
            OffsetForLeaderTopicResult::default()
                .with_topic(asked.topic)
                .with_partitions(partitions)
        });
        Reply::Now(OffsetForLeaderEpochResponse::default().with_topics(topics.collect()))
    }
}

fn find(
    ctx: &Context,
    topic: Result<&Topic, &DoorError>,
    wanted: &OffsetForLeaderPartition,
) -> EpochEndOffset {
    let response = EpochEndOffset::default()
        .with_partition(wanted.partition)
        .with_leader_epoch(-1)
        .with_end_offset(-1);
    let found = topic.map_err(|error| *error);
    let partition = match found.and_then(|topic| ctx.partition(topic, wanted.partition)) {
        Ok(partition) => partition,
        Err(error) => return response.with_error_code(door_code(error).0),
    };
    let known = LeaderEpoch(wanted.current_leader_epoch);
    if let Err(error) = partition.check_reader(known) {
        return response.with_error_code(partition_code(&error).0);
    }
    match partition.leader_epoch_end(LeaderEpoch(wanted.leader_epoch)) {
        Some((epoch, end)) => response.with_leader_epoch(epoch.0).with_end_offset(end.0),
        None => response,
    }
}
