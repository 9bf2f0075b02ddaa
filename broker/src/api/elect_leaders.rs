//! ElectLeaders (key 43), versions 0–2 (KIP-183, KIP-460).
//!
//! There is one replica of each partition, which leads: ELECTION_NOT_NEEDED. If all partitions are
//! requested (no list), those that lead are left out, as in Kafka. A partition that is offline has
//! no replica that could lead: PREFERRED_LEADER_NOT_AVAILABLE, or ELIGIBLE_LEADERS_NOT_AVAILABLE
//! for an unclean election.
//!
//! - v1: the type of election, and a code for the whole. v2 is flexible.

use std::collections::BTreeSet;
use std::ops::RangeInclusive;

use carrick_protocol::error_code::ErrorCode;
use kafka_protocol::messages::elect_leaders_request::TopicPartitions;
use kafka_protocol::messages::elect_leaders_response::{PartitionResult, ReplicaElectionResult};
use kafka_protocol::messages::{ApiKey, ElectLeadersRequest, ElectLeadersResponse};

use super::admin::{Refusal, short};
use super::door::{Cluster, DoorError};
use super::error::door_code;
use super::groups::text;
use super::{Api, Context, Reply, ResponseOf};
use crate::access::Operation;

pub struct ElectLeaders;

#[derive(Clone, Copy)]
enum Election {
    Preferred,
    Unclean,
}

impl Api for ElectLeaders {
    const KEY: ApiKey = ApiKey::ElectLeaders;
    const VERSIONS: RangeInclusive<i16> = 0..=2;
    const LISTS: bool = true;
    type Request = ElectLeadersRequest;

    fn handle(ctx: &Context, version: i16, request: Self::Request) -> Reply<ResponseOf<Self>> {
        let response = ElectLeadersResponse::default();
        let cluster = ctx.cluster(Operation::Alter);
        let election = match request.election_type {
            _ if version == 0 || cluster.is_err() => Election::Preferred,
            0 => Election::Preferred,
            1 => Election::Unclean,
            _ => return Reply::Now(response.with_error_code(ErrorCode::INVALID_REQUEST.0)),
        };
        let response = match cluster {
            Err(error) if version >= 1 => response.with_error_code(door_code(error).0),
            _ => response,
        };
        let results = match (request.topic_partitions, cluster) {
            (None, Ok(cluster)) => all(ctx, cluster, version, election),
            (None, Err(_)) => Vec::new(),
            (Some(asked), cluster) => asked
                .into_iter()
                .map(|topic| one(ctx, cluster, version, election, topic))
                .collect(),
        };
        Reply::Now(response.with_replica_election_results(results))
    }
}

/// Of all partitions, those that have no leader.
fn all(
    ctx: &Context,
    cluster: Cluster<'_>,
    version: i16,
    election: Election,
) -> Vec<ReplicaElectionResult> {
    let offline = cluster.leaderless();
    let topics: BTreeSet<_> = offline.iter().map(|id| &id.topic).collect();
    let results = topics.into_iter().map(|topic| {
        let partitions = offline.iter().filter(|id| id.topic == *topic);
        let refusal = unavailable(election);
        let results = partitions.map(|id| result(ctx, version, id.partition, || refusal.clone()));
        ReplicaElectionResult::default()
            .with_topic(text(topic).into())
            .with_partition_result(results.collect())
    });
    results.collect()
}

fn one(
    ctx: &Context,
    cluster: Result<Cluster<'_>, DoorError>,
    version: i16,
    election: Election,
    asked: TopicPartitions,
) -> ReplicaElectionResult {
    let partitions: BTreeSet<_> = asked.partitions.into_iter().collect();
    let results = partitions.into_iter().map(|number| {
        let refusal = || match cluster {
            Ok(cluster) => elect(ctx, cluster, election, &asked.topic, number),
            Err(error) => error.into(),
        };
        result(ctx, version, number, refusal)
    });
    let results = results.collect();
    ReplicaElectionResult::default()
        .with_topic(asked.topic)
        .with_partition_result(results)
}

/// Why no leader is elected, which is always so.
fn elect(
    ctx: &Context,
    cluster: Cluster<'_>,
    election: Election,
    name: &str,
    number: i32,
) -> Refusal {
    let unknown = |what| Refusal::new(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION, what);
    let Ok(topic) = cluster.topic(name) else {
        return unknown(format!("No such topic as {}", short(name)));
    };
    match ctx.partition(&topic, number) {
        Err(_) => unknown(format!("No such partition as {name}-{number}")),
        Ok(partition) if partition.is_offline() => unavailable(election),
        Ok(_) => Refusal::new(
            ErrorCode::ELECTION_NOT_NEEDED,
            "Leader election not needed for topic partition.",
        ),
    }
}

fn unavailable(election: Election) -> Refusal {
    match election {
        Election::Preferred => Refusal::new(
            ErrorCode::PREFERRED_LEADER_NOT_AVAILABLE,
            "The preferred leader was not available.",
        ),
        Election::Unclean => Refusal::new(
            ErrorCode::ELIGIBLE_LEADERS_NOT_AVAILABLE,
            "Eligible topic partition leaders are not available.",
        ),
    }
}

fn result(
    ctx: &Context,
    version: i16,
    number: i32,
    refusal: impl FnOnce() -> Refusal,
) -> PartitionResult {
    let refused = |refusal: Refusal| {
        PartitionResult::default()
            .with_partition_id(number)
            .with_error_code(refusal.code.0)
            .with_error_message(refusal.wire_message())
    };
    ctx.room.item(
        version,
        || refused(refusal()),
        |no_room| refused(no_room).with_error_message(None),
    )
}
