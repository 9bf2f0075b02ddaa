//! Records, and where they are.

use carrick_protocol::batch::BatchBuilder;
use carrick_protocol::error_code::ErrorCode;
use kafka_protocol::messages::fetch_request::{FetchPartition, FetchTopic, ReplicaState};
use kafka_protocol::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use kafka_protocol::messages::metadata_request::MetadataRequestTopic;
use kafka_protocol::messages::offset_for_leader_epoch_request::{
    OffsetForLeaderPartition, OffsetForLeaderTopic,
};
use kafka_protocol::messages::*;

use super::{
    ANY, CLUSTER, NEW, NO_CLUSTER, NO_ID, NO_TOPIC, Outcome, Row, T, U, X, Y, code, id, init, row,
    shown, writer,
};
use crate::access::Operation::*;
use crate::api::api_versions::ApiVersions;
use crate::api::fetch::Fetch;
use crate::api::init_producer_id::InitProducerId;
use crate::api::list_offsets::ListOffsets;
use crate::api::metadata::Metadata;
use crate::api::offset_for_leader_epoch::OffsetForLeaderEpoch;
use crate::api::produce::Produce;
use crate::api::sasl_authenticate::SaslAuthenticate;
use crate::api::sasl_handshake::SaslHandshake;
use crate::broker::Broker;
use crate::testing::{batch, produce, wire};

pub(super) fn rows() -> Vec<Row> {
    let mut rows = records();
    rows.extend(replicas());
    rows.extend(offsets());
    rows.extend(producers());
    rows.extend(metadata());
    rows.extend(logins());
    rows
}

fn logins() -> Vec<Row> {
    vec![
        row::<SaslHandshake>(
            "to a listener without SASL",
            1,
            |_| SaslHandshakeRequest::default().with_mechanism("PLAIN".into()),
            |it| code(it.error_code),
        )
        .answers(ErrorCode::ILLEGAL_SASL_STATE),
        row::<SaslAuthenticate>(
            "to a listener without SASL",
            2,
            |_| SaslAuthenticateRequest::default(),
            |it| code(it.error_code),
        )
        .answers(ErrorCode::ILLEGAL_SASL_STATE),
    ]
}

fn produced(answer: &ProduceResponse) -> Outcome {
    code(answer.responses[0].partition_responses[0].error_code)
}

fn fetched(answer: &FetchResponse) -> Outcome {
    match answer.responses.first() {
        Some(topic) => code(topic.partitions[0].error_code),
        None => code(answer.error_code),
    }
}

fn in_transaction(broker: &Broker, topic: &str) -> ProduceRequest {
    let (producer, epoch) = writer(broker);
    let records = BatchBuilder::new()
        .producer(carrick_protocol::ids::ProducerId(producer.0), epoch, 0)
        .transactional(true)
        .record(crate::clock::now_ms(), None, Some(b"a"))
        .build();
    produce(topic, 0, -1, records.freeze()).with_transactional_id(Some(id("x")))
}

fn fetch(topic: FetchTopic) -> FetchRequest {
    let partition = FetchPartition::default().with_partition_max_bytes(1 << 20);
    FetchRequest::default()
        .with_max_bytes(1 << 20)
        .with_session_epoch(-1)
        .with_topics(vec![topic.with_partitions(vec![partition])])
}

fn records() -> Vec<Row> {
    vec![
        row::<Produce>(
            "by name",
            9,
            |_| produce("t", 0, -1, batch(&["a"])),
            produced,
        )
        .needs(Write, T, NO_TOPIC)
        .changes(),
        row::<Produce>(
            "by id",
            13,
            |broker| {
                let mut request = produce("t", 0, -1, batch(&["a"]));
                request.topic_data[0].topic_id = broker.topic("t").unwrap().id().0;
                request
            },
            produced,
        )
        .needs(Write, T, NO_TOPIC)
        .changes(),
        row::<Produce>(
            "in a transaction",
            9,
            |it| in_transaction(it, "t"),
            produced,
        )
        .needs(Write, X, NO_ID)
        .needs(Write, T, NO_TOPIC)
        .changes(),
        row::<Produce>(
            "in a transaction, to no topic",
            9,
            |it| in_transaction(it, "new"),
            produced,
        )
        .needs(Write, X, NO_ID)
        .needs(Write, NEW, NO_TOPIC)
        .answers(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION),
        row::<Fetch>(
            "by name",
            12,
            |_| fetch(FetchTopic::default().with_topic(wire("t"))),
            fetched,
        )
        .needs(Read, T, NO_TOPIC),
        row::<Fetch>(
            "by id",
            16,
            |broker| fetch(FetchTopic::default().with_topic_id(broker.topic("t").unwrap().id().0)),
            fetched,
        )
        .needs(Read, T, NO_TOPIC),
    ]
}

fn replicas() -> Vec<Row> {
    vec![
        row::<Fetch>(
            "as a replica, by name",
            12,
            |_| fetch(FetchTopic::default().with_topic(wire("t"))).with_replica_id(BrokerId(2)),
            fetched,
        )
        .needs(ClusterAction, CLUSTER, NO_TOPIC),
        row::<Fetch>(
            "as a replica, by id",
            16,
            |broker| {
                let id = broker.topic("t").unwrap().id().0;
                let replica = ReplicaState::default().with_replica_id(BrokerId(2));
                fetch(FetchTopic::default().with_topic_id(id)).with_replica_state(replica)
            },
            fetched,
        )
        .needs(ClusterAction, CLUSTER, NO_TOPIC),
    ]
}

fn offsets() -> Vec<Row> {
    vec![
        row::<ListOffsets>(
            "the end",
            7,
            |_| {
                let partition = ListOffsetsPartition::default().with_timestamp(-1);
                let topic = ListOffsetsTopic::default()
                    .with_name(wire("t"))
                    .with_partitions(vec![partition]);
                ListOffsetsRequest::default().with_topics(vec![topic])
            },
            |answer| code(answer.topics[0].partitions[0].error_code),
        )
        .needs(Describe, T, NO_TOPIC),
        row::<ListOffsets>(
            "of a partition that is named twice",
            7,
            |_| {
                let partition = ListOffsetsPartition::default().with_timestamp(-1);
                let topic = ListOffsetsTopic::default()
                    .with_name(wire("t"))
                    .with_partitions(vec![partition.clone(), partition]);
                ListOffsetsRequest::default().with_topics(vec![topic])
            },
            |answer| code(answer.topics[0].partitions[0].error_code),
        )
        .needs(Describe, T, NO_TOPIC)
        .answers(ErrorCode::INVALID_REQUEST),
        row::<OffsetForLeaderEpoch>(
            "of a consumer",
            4,
            |_| {
                let partition = OffsetForLeaderPartition::default().with_current_leader_epoch(-1);
                let topic = OffsetForLeaderTopic::default()
                    .with_topic(wire("t"))
                    .with_partitions(vec![partition]);
                OffsetForLeaderEpochRequest::default().with_topics(vec![topic])
            },
            |answer| code(answer.topics[0].partitions[0].error_code),
        )
        .needs_one_of(vec![(ClusterAction, CLUSTER), (Describe, T)], NO_TOPIC),
    ]
}

fn producers() -> Vec<Row> {
    vec![
        row::<InitProducerId>(
            "with an id",
            4,
            |_| init(Some(id("y"))),
            |it| code(it.error_code),
        )
        .needs(Write, Y, NO_ID)
        .changes(),
        row::<InitProducerId>(
            "with an id and half a producer",
            4,
            |_| init(Some(id("y"))).with_producer_epoch(1),
            |it| code(it.error_code),
        )
        .needs(Write, Y, NO_ID)
        .answers(ErrorCode::INVALID_REQUEST),
        row::<InitProducerId>(
            "without an id, with half a producer",
            4,
            |_| init(None).with_producer_epoch(1),
            |it| code(it.error_code),
        )
        .needs_one_of(vec![(IdempotentWrite, CLUSTER), (Write, ANY)], NO_CLUSTER)
        .answers(ErrorCode::INVALID_REQUEST),
        // Who may write to any topic.
        row::<InitProducerId>("without an id", 4, |_| init(None), |it| code(it.error_code))
            .needs_one_of(vec![(IdempotentWrite, CLUSTER), (Write, ANY)], NO_CLUSTER),
    ]
}

fn asked(topic: MetadataRequestTopic) -> MetadataRequest {
    MetadataRequest::default()
        .with_topics(Some(vec![topic]))
        .with_allow_auto_topic_creation(true)
}

fn named(name: &str) -> MetadataRequestTopic {
    MetadataRequestTopic::default().with_name(Some(wire(name)))
}

fn first_topic(answer: &MetadataResponse) -> Outcome {
    code(answer.topics[0].error_code)
}

fn metadata() -> Vec<Row> {
    vec![
        row::<ApiVersions>(
            "all",
            3,
            |_| {
                ApiVersionsRequest::default()
                    .with_client_software_name("test".into())
                    .with_client_software_version("1".into())
            },
            |it| code(it.error_code),
        ),
        row::<Metadata>("by name", 12, |_| asked(named("t")), first_topic)
            .needs(Describe, T, NO_TOPIC),
        row::<Metadata>(
            "by id",
            12,
            |broker| {
                let id = broker.topic("t").unwrap().id().0;
                asked(
                    MetadataRequestTopic::default()
                        .with_topic_id(id)
                        .with_name(None),
                )
            },
            first_topic,
        )
        .needs(Describe, T, NO_TOPIC),
        row::<Metadata>("of a new topic", 12, |_| asked(named("new")), first_topic)
            .needs(Describe, NEW, NO_TOPIC)
            .needs_one_of(vec![(Create, CLUSTER), (Create, NEW)], NO_TOPIC)
            .changes(),
        row::<Metadata>(
            "of all topics",
            12,
            |_| MetadataRequest::default().with_topics(None),
            |it| shown(it.topics.len() == 2),
        )
        .needs(Describe, T, Outcome::LeftOut)
        .needs(Describe, U, Outcome::LeftOut),
        row::<Metadata>(
            "with operations",
            8,
            |_| {
                asked(named("t"))
                    .with_include_topic_authorized_operations(true)
                    .with_include_cluster_authorized_operations(true)
            },
            |answer| match answer.topics[0].error_code {
                0 => shown(answer.cluster_authorized_operations != 0),
                error => code(error),
            },
        )
        .needs(Describe, T, NO_TOPIC)
        .needs(Describe, CLUSTER, Outcome::LeftOut)
        .tells_operations(T)
        .tells_operations(CLUSTER),
    ]
}
