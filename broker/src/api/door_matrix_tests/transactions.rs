//! Transactions and their producers.

use bytes::Bytes;
use carrick_protocol::error_code::ErrorCode;
use carrick_protocol::newer;
use kafka_protocol::messages::add_partitions_to_txn_request::{
    AddPartitionsToTxnTopic, AddPartitionsToTxnTransaction,
};
use kafka_protocol::messages::describe_producers_request::TopicRequest;
use kafka_protocol::messages::txn_offset_commit_request::{
    TxnOffsetCommitRequestPartition, TxnOffsetCommitRequestTopic,
};
use kafka_protocol::messages::write_txn_markers_request::{
    WritableTxnMarker, WritableTxnMarkerTopic,
};
use kafka_protocol::messages::*;

use super::{
    CLUSTER, G, NO_CLUSTER, NO_GROUP, NO_ID, NO_TOPIC, Outcome, Row, T, U, X, add, code, group,
    handled, id, row, shown, writer,
};
use crate::access::Operation::*;
use crate::api::add_offsets_to_txn::AddOffsetsToTxn;
use crate::api::add_partitions_to_txn::AddPartitionsToTxn;
use crate::api::describe_producers::DescribeProducers;
use crate::api::describe_transactions::DescribeTransactions;
use crate::api::end_txn::EndTxn;
use crate::api::list_transactions::ListTransactions;
use crate::api::txn_offset_commit::TxnOffsetCommit;
use crate::api::write_txn_markers::WriteTxnMarkers;
use crate::broker::Broker;
use crate::testing::wire;

pub(super) fn rows() -> Vec<Row> {
    let mut rows = additions();
    rows.extend(ends());
    rows.extend(descriptions());
    rows
}

fn add_between_brokers(broker: &Broker) -> AddPartitionsToTxnRequest {
    let (producer, epoch) = writer(broker);
    let topic = AddPartitionsToTxnTopic::default()
        .with_name(wire("u"))
        .with_partitions(vec![0]);
    let transaction = AddPartitionsToTxnTransaction::default()
        .with_transactional_id(id("x"))
        .with_producer_id(producer)
        .with_producer_epoch(epoch)
        .with_topics(vec![topic]);
    AddPartitionsToTxnRequest::default().with_transactions(vec![transaction])
}

fn added_between_brokers(answer: &AddPartitionsToTxnResponse) -> Outcome {
    match answer.error_code {
        0 => {
            let topic = &answer.results_by_transaction[0].topic_results[0];
            shown(topic.results_by_partition[0].partition_error_code == 0)
        }
        error => code(error),
    }
}

fn commit_offsets(broker: &Broker) -> TxnOffsetCommitRequest {
    let (producer, epoch) = writer(broker);
    let partition = TxnOffsetCommitRequestPartition::default().with_committed_offset(1);
    let topic = TxnOffsetCommitRequestTopic::default()
        .with_name(wire("t"))
        .with_partitions(vec![partition]);
    TxnOffsetCommitRequest::default()
        .with_transactional_id(id("x"))
        .with_group_id(group("g"))
        .with_producer_id(producer)
        .with_producer_epoch(epoch)
        .with_generation_id(-1)
        .with_topics(vec![topic])
}

fn commit_offsets_by_id(broker: &Broker) -> TxnOffsetCommitRequest {
    let mut request = commit_offsets(broker);
    let topic = &mut request.topics[0];
    topic.name = TopicName::default();
    // Where the decoder of this version puts it.
    let id = broker.topic("t").unwrap().id().0;
    let bytes = Bytes::copy_from_slice(id.as_bytes());
    topic.unknown_tagged_fields.insert(-2, bytes);
    assert_eq!(newer::topic_id(topic), id);
    request
}

fn additions() -> Vec<Row> {
    vec![
        row::<AddPartitionsToTxn>(
            "of a client",
            3,
            |broker| add(broker, "u"),
            |it| {
                let topic = &it.results_by_topic_v3_and_below[0];
                code(topic.results_by_partition[0].partition_error_code)
            },
        )
        .needs(Write, X, NO_ID)
        .needs(Write, U, NO_TOPIC)
        .changes(),
        row::<AddPartitionsToTxn>(
            "of a client, to a topic of Kafka's own",
            3,
            |broker| add(broker, "__consumer_offsets"),
            |it| {
                let topic = &it.results_by_topic_v3_and_below[0];
                code(topic.results_by_partition[0].partition_error_code)
            },
        )
        .needs(Write, X, NO_ID)
        .answers(ErrorCode::TOPIC_AUTHORIZATION_FAILED),
        row::<AddPartitionsToTxn>(
            "between brokers",
            4,
            add_between_brokers,
            added_between_brokers,
        )
        .needs(ClusterAction, CLUSTER, NO_CLUSTER)
        .changes(),
        row::<AddOffsetsToTxn>(
            "of a group",
            3,
            |broker| {
                let (producer, epoch) = writer(broker);
                AddOffsetsToTxnRequest::default()
                    .with_transactional_id(id("x"))
                    .with_producer_id(producer)
                    .with_producer_epoch(epoch)
                    .with_group_id(group("g"))
            },
            |it| code(it.error_code),
        )
        .needs(Write, X, NO_ID)
        .needs(Read, G, NO_GROUP)
        .changes(),
        row::<TxnOffsetCommit>("adding the group", 5, commit_offsets, |it| {
            code(it.topics[0].partitions[0].error_code)
        })
        .needs(Write, X, NO_ID)
        .needs(Read, G, NO_GROUP)
        .needs(Read, T, NO_TOPIC)
        .changes(),
        handled::<TxnOffsetCommit>("by id", 6, commit_offsets_by_id, |it| {
            code(it.topics[0].partitions[0].error_code)
        })
        .needs(Write, X, NO_ID)
        .needs(Read, G, NO_GROUP)
        .needs(Read, T, NO_TOPIC)
        .changes(),
    ]
}

fn mark(broker: &Broker) -> WriteTxnMarkersRequest {
    let (producer, epoch) = writer(broker);
    let topic = WritableTxnMarkerTopic::default()
        .with_name(wire("t"))
        .with_partition_indexes(vec![0]);
    let marker = WritableTxnMarker::default()
        .with_producer_id(producer)
        .with_producer_epoch(epoch)
        .with_topics(vec![topic]);
    WriteTxnMarkersRequest::default().with_markers(vec![marker])
}

fn ends() -> Vec<Row> {
    vec![
        row::<EndTxn>(
            "abort",
            3,
            |broker| {
                let (producer, epoch) = writer(broker);
                EndTxnRequest::default()
                    .with_transactional_id(id("x"))
                    .with_producer_id(producer)
                    .with_producer_epoch(epoch)
            },
            |it| code(it.error_code),
        )
        .needs(Write, X, NO_ID)
        .changes(),
        row::<WriteTxnMarkers>("abort", 1, mark, |it| {
            code(it.markers[0].topics[0].partitions[0].error_code)
        })
        .needs_one_of(vec![(Alter, CLUSTER), (ClusterAction, CLUSTER)], NO_CLUSTER)
        .changes(),
    ]
}

fn descriptions() -> Vec<Row> {
    vec![
        row::<DescribeTransactions>(
            "one",
            0,
            |_| DescribeTransactionsRequest::default().with_transactional_ids(vec![id("x")]),
            |it| {
                let state = &it.transaction_states[0];
                match state.error_code {
                    0 => shown(!state.topics.is_empty()),
                    error => code(error),
                }
            },
        )
        .needs(Describe, X, NO_ID)
        .needs(Describe, T, Outcome::LeftOut),
        row::<ListTransactions>(
            "all",
            1,
            |_| ListTransactionsRequest::default().with_duration_filter(-1),
            |it| shown(!it.transaction_states.is_empty()),
        )
        .needs(Describe, X, Outcome::LeftOut),
        row::<ListTransactions>(
            "by a pattern",
            2,
            |_| {
                ListTransactionsRequest::default()
                    .with_duration_filter(-1)
                    .with_transactional_id_pattern(Some("x".into()))
            },
            |it| shown(!it.transaction_states.is_empty()),
        )
        .needs(Describe, X, Outcome::LeftOut),
        row::<DescribeProducers>(
            "of a partition",
            0,
            |_| {
                let topic = TopicRequest::default()
                    .with_name(wire("t"))
                    .with_partition_indexes(vec![0]);
                DescribeProducersRequest::default().with_topics(vec![topic])
            },
            |it| code(it.topics[0].partitions[0].error_code),
        )
        .needs(Read, T, NO_TOPIC),
    ]
}
