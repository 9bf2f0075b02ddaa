//! Metadata (API key 3): topics, their ids, partitions and leaders.
//!
//! Versions 1 to 13: v4 forbids auto-creation (before it, naming an unknown topic may create it, so names
//! are then looked up in the list of all topics); v7 leader epochs; v10 topic ids; v13 a top-level error.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeInclusive;

use carrick_protocol::error_code::ErrorCode;
use carrick_protocol::ids::{LeaderEpoch, NodeId, TopicId, TopicName};
use kafka_protocol::messages as wire;
use kafka_protocol::messages::metadata_request::MetadataRequestTopic;
use kafka_protocol::messages::metadata_response::{
    MetadataResponsePartition, MetadataResponseTopic,
};

use super::api::{topic_name, wire_topic};
use super::connection::Connection;
use super::{
    ClusterInfo, ClusterMetadata, SourceBroker, SourceError, SourcePartition, SourceTopic,
    TopicSelection,
};

pub(super) const VERSIONS: RangeInclusive<i16> = 1..=13;
/// The first version that can be told not to create the topics it names.
const FIRST_WITHOUT_AUTO_CREATION: i16 = 4;

/// Asks for the topics of `selection`.
pub(super) async fn metadata(
    connection: &Connection,
    selection: &TopicSelection,
) -> Result<ClusterMetadata, SourceError> {
    let response = connection
        .call(|version| request(selection, version))
        .await?;
    let code = ErrorCode(response.error_code);
    if code.is_err() {
        return Err(connection.refused::<wire::MetadataRequest>(code, None));
    }
    from_wire(response, selection).map_err(|detail| connection.broken("Metadata", detail))
}

/// Asks for brokers, controller and cluster id only.
pub(super) async fn cluster(connection: &Connection) -> Result<ClusterInfo, SourceError> {
    Ok(metadata(connection, &TopicSelection::Names(Vec::new()))
        .await?
        .cluster)
}

fn request(selection: &TopicSelection, version: i16) -> wire::MetadataRequest {
    let names = match selection {
        TopicSelection::All => None,
        TopicSelection::Names(names) if names.is_empty() => Some(names),
        TopicSelection::Names(_) if version < FIRST_WITHOUT_AUTO_CREATION => None,
        TopicSelection::Names(names) => Some(names),
    };
    let topics = names.map(|names| {
        let topic = |name| MetadataRequestTopic::default().with_name(Some(wire_topic(name)));
        names.iter().map(topic).collect()
    });
    wire::MetadataRequest::default()
        .with_topics(topics)
        .with_allow_auto_topic_creation(version < FIRST_WITHOUT_AUTO_CREATION)
}

fn from_wire(
    response: wire::MetadataResponse,
    selection: &TopicSelection,
) -> Result<ClusterMetadata, String> {
    let brokers = response.brokers.iter().map(|broker| {
        let port = u16::try_from(broker.port).map_err(|_| format!("port {}", broker.port))?;
        Ok(SourceBroker {
            id: NodeId(broker.node_id.0),
            host: broker.host.to_string(),
            port,
            rack: broker.rack.as_ref().map(|rack| rack.to_string()),
        })
    });
    let cluster = ClusterInfo {
        cluster_id: response.cluster_id.map(|id| id.to_string()),
        controller: (response.controller_id.0 >= 0).then_some(NodeId(response.controller_id.0)),
        brokers: brokers.collect::<Result<_, String>>()?,
    };
    let topics = response
        .topics
        .into_iter()
        .map(topic)
        .collect::<Result<Vec<_>, _>>()?;
    let topics = match selection {
        TopicSelection::All => topics,
        TopicSelection::Names(names) => only(topics, names),
    };
    Ok(ClusterMetadata { cluster, topics })
}

/// The topics that were asked for: an old source may have listed them all.
fn only(topics: Vec<SourceTopic>, names: &[TopicName]) -> Vec<SourceTopic> {
    let mut found: BTreeMap<TopicName, SourceTopic> = topics
        .into_iter()
        .map(|topic| (topic.name.clone(), topic))
        .collect();
    let names: BTreeSet<&TopicName> = names.iter().collect();
    let missing = |name: &TopicName| SourceTopic {
        name: name.clone(),
        id: TopicId::ZERO,
        error: ErrorCode::UNKNOWN_TOPIC_OR_PARTITION,
        is_internal: false,
        partitions: Vec::new(),
    };
    names
        .into_iter()
        .map(|name| found.remove(name).unwrap_or_else(|| missing(name)))
        .collect()
}

fn topic(topic: MetadataResponseTopic) -> Result<SourceTopic, String> {
    let name = topic.name.ok_or("it holds a topic without a name")?;
    let mut partitions: Vec<_> = topic.partitions.iter().map(partition).collect();
    partitions.sort_by_key(|partition| partition.partition);
    Ok(SourceTopic {
        name: topic_name(&name.0)?,
        id: TopicId(topic.topic_id),
        error: ErrorCode(topic.error_code),
        is_internal: topic.is_internal,
        partitions,
    })
}

fn partition(partition: &MetadataResponsePartition) -> SourcePartition {
    SourcePartition {
        partition: partition.partition_index,
        error: ErrorCode(partition.error_code),
        leader: (partition.leader_id.0 >= 0).then_some(NodeId(partition.leader_id.0)),
        leader_epoch: LeaderEpoch(partition.leader_epoch),
    }
}

#[cfg(test)]
mod tests {
    use carrick_protocol::client::encode_request;

    use super::super::api::wire_text;
    use super::*;

    fn name(name: &str) -> TopicName {
        TopicName::new(name).unwrap()
    }

    #[test]
    fn every_version_can_be_written_and_creates_nothing() {
        for version in VERSIONS {
            for selection in [
                TopicSelection::All,
                TopicSelection::Names(vec![]),
                TopicSelection::Names(vec![name("a")]),
            ] {
                let request = request(&selection, version);
                encode_request(1, "c", &request, version).unwrap();
                let names = request.topics.is_some_and(|topics| !topics.is_empty());
                assert!(!names || !request.allow_auto_topic_creation);
            }
        }
    }

    #[test]
    fn topics_that_are_not_in_the_answer_are_unknown() {
        let listed = MetadataResponseTopic::default()
            .with_name(Some(wire_topic(&name("other"))))
            .with_partitions(vec![]);
        let response = wire::MetadataResponse::default().with_topics(vec![listed]);
        let selection = TopicSelection::Names(vec![name("a")]);
        let topics = from_wire(response, &selection).unwrap().topics;
        assert_eq!(topics.len(), 1);
        assert_eq!(topics[0].error, ErrorCode::UNKNOWN_TOPIC_OR_PARTITION);
    }

    #[test]
    fn partitions_are_sorted_and_a_missing_leader_is_none() {
        let partition = |index, leader| {
            MetadataResponsePartition::default()
                .with_partition_index(index)
                .with_leader_id(wire::BrokerId(leader))
                .with_leader_epoch(4)
        };
        let listed = MetadataResponseTopic::default()
            .with_name(Some(wire_topic(&name("a"))))
            .with_partitions(vec![partition(1, -1), partition(0, 3)]);
        let response = wire::MetadataResponse::default()
            .with_topics(vec![listed])
            .with_cluster_id(Some(wire_text("x")));
        let metadata = from_wire(response, &TopicSelection::All).unwrap();
        assert_eq!(metadata.cluster.cluster_id.as_deref(), Some("x"));
        let leaders: Vec<_> = metadata
            .topic("a")
            .unwrap()
            .partitions
            .iter()
            .map(|p| p.leader)
            .collect();
        assert_eq!(leaders, [Some(NodeId(3)), None]);
    }
}
