//! DescribeCluster, DescribeQuorum, DescribeTopicPartitions, DescribeLogDirs, and ACLs, of which there are none.

use carrick_protocol::error_code::ErrorCode;
use kafka_protocol::messages::create_acls_request::AclCreation;
use kafka_protocol::messages::delete_acls_request::DeleteAclsFilter;
use kafka_protocol::messages::describe_log_dirs_request::DescribableLogDirTopic;
use kafka_protocol::messages::describe_quorum_request::{
    PartitionData as QuorumPartition, TopicData as QuorumTopic,
};
use kafka_protocol::messages::describe_topic_partitions_request::{Cursor, TopicRequest};
use kafka_protocol::messages::{
    CreateAclsRequest, DeleteAclsRequest, DescribeAclsRequest, DescribeClusterRequest,
    DescribeLogDirsRequest, DescribeQuorumRequest, DescribeTopicPartitionsRequest,
    DescribeTopicPartitionsResponse,
};

use crate::testing::{TestBroker, batch, wire};

#[tokio::test(flavor = "multi_thread")]
async fn the_cluster_is_this_broker_at_its_advertised_address() {
    let it = TestBroker::start(&["broker.rack=r1"]).await;
    let mut client = it.client().await;
    for version in 0..=2 {
        let request = DescribeClusterRequest::default()
            .with_include_cluster_authorized_operations(version > 0);
        let response = client.call(version, &request).await;
        assert_eq!((response.error_code, response.controller_id.0), (0, 1));
        assert_eq!(*response.cluster_id, *it.broker().cluster_id);
        assert_eq!(response.brokers.len(), 1);
        assert_eq!(
            response.brokers[0].port,
            i32::from(it.broker().endpoints[0].bound.port())
        );
        assert_eq!(response.brokers[0].rack.as_deref(), Some("r1"));
        assert_eq!(response.cluster_authorized_operations > 0, version > 0);
    }
    let kinds = [
        (2, ErrorCode::MISMATCHED_ENDPOINT_TYPE),
        (9, ErrorCode::UNSUPPORTED_ENDPOINT_TYPE),
    ];
    for (kind, code) in kinds {
        let request = DescribeClusterRequest::default().with_endpoint_type(kind);
        let response = client.call(2, &request).await;
        assert_eq!(ErrorCode(response.error_code), code);
        assert!(response.brokers.is_empty());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_quorum_is_this_broker_and_its_offset_grows_with_metadata() {
    let it = TestBroker::start(&[]).await;
    let mut client = it.client().await;
    let asked = |topic: &str, partition: i32| {
        let partition = QuorumPartition::default().with_partition_index(partition);
        QuorumTopic::default()
            .with_topic_name(wire(topic))
            .with_partitions(vec![partition])
    };
    let mut before = -1;
    for version in 0..=2 {
        let metadata = vec![asked("__cluster_metadata", 0)];
        let request = DescribeQuorumRequest::default().with_topics(metadata);
        let mut response = client.call(version, &request).await;
        assert_eq!(response.error_code, 0);
        let partition = response.topics.remove(0).partitions.remove(0);
        assert_eq!((partition.error_code, partition.leader_id.0), (0, 1));
        assert!(partition.high_watermark > before, "{partition:?}");
        before = partition.high_watermark;
        let [voter] = &partition.current_voters[..] else {
            panic!("{partition:?}");
        };
        assert_eq!((voter.replica_id.0, voter.log_end_offset), (1, before));
        assert_eq!(voter.last_caught_up_timestamp > 0, version > 0);
        assert!(partition.observers.is_empty());
        assert_eq!(response.nodes.len(), usize::from(version == 2));
        for node in response.nodes {
            let port = it.broker().endpoints[0].bound.port();
            assert_eq!((node.node_id.0, node.listeners[0].port), (1, port));
        }
        it.create(&format!("topic-{version}"), 1);
    }
    for topics in [
        vec![asked("orders", 0)],
        vec![asked("__cluster_metadata", 1)],
        vec![asked("__cluster_metadata", 0), asked("orders", 3)],
    ] {
        let request = DescribeQuorumRequest::default().with_topics(topics.clone());
        let response = client.call(2, &request).await;
        let codes: Vec<_> = response
            .topics
            .iter()
            .map(|topic| ErrorCode(topic.partitions[0].error_code))
            .collect();
        assert_eq!(
            codes,
            vec![ErrorCode::UNKNOWN_TOPIC_OR_PARTITION; topics.len()]
        );
    }
    let many = vec![asked("orders", 0); 101];
    let request = DescribeQuorumRequest::default().with_topics(many);
    let response = client.call(2, &request).await;
    let code = ErrorCode(response.error_code);
    assert_eq!(
        (code, response.topics.len()),
        (ErrorCode::INVALID_REQUEST, 0)
    );
}

/// Topic, code, partitions of a page.
fn shown(page: &DescribeTopicPartitionsResponse) -> Vec<(String, ErrorCode, Vec<i32>)> {
    let topic = |topic: &kafka_protocol::messages::describe_topic_partitions_response::DescribeTopicPartitionsResponseTopic| {
        let partitions = topic.partitions.iter().map(|partition| partition.partition_index);
        let name = topic.name.as_ref().unwrap().to_string();
        (name, ErrorCode(topic.error_code), partitions.collect())
    };
    page.topics.iter().map(topic).collect()
}

fn topic(name: &str, partitions: std::ops::Range<i32>) -> (String, ErrorCode, Vec<i32>) {
    (name.to_owned(), ErrorCode::NONE, partitions.collect())
}

#[tokio::test(flavor = "multi_thread")]
async fn topics_come_in_pages_that_a_cursor_joins() {
    let it = TestBroker::start(&["max.request.partition.size.limit=4"]).await;
    for (name, partitions) in [("b", 3), ("a", 2), ("c", 1)] {
        it.create(name, partitions);
    }
    let mut client = it.client().await;
    let mut request = DescribeTopicPartitionsRequest::default().with_response_partition_limit(2000);
    let page = client.call(0, &request).await;
    assert_eq!(
        shown(&page),
        [topic("a", 0..2), topic("b", 0..2)],
        "the broker's limit"
    );
    let cursor = page.next_cursor.unwrap();
    assert_eq!(
        (cursor.topic_name.as_str(), cursor.partition_index),
        ("b", 2)
    );
    request.cursor = Some(
        Cursor::default()
            .with_topic_name(wire("b"))
            .with_partition_index(2),
    );
    let page = client.call(0, &request).await;
    assert_eq!(shown(&page), [topic("b", 2..3), topic("c", 0..1)]);
    assert!(page.next_cursor.is_none());
    request.response_partition_limit = 1;
    let page = client.call(0, &request).await;
    assert_eq!(shown(&page), [topic("b", 2..3)], "the client's limit");
    assert_eq!(page.next_cursor.unwrap().topic_name.as_str(), "c");
}

#[tokio::test(flavor = "multi_thread")]
async fn named_topics_are_answered_even_if_unknown_and_a_cursor_must_be_one_of_them() {
    let it = TestBroker::start(&[]).await;
    let id = it.create("a", 1).id();
    let mut client = it.client().await;
    let names = ["no/slash", "a", "gone"];
    let topics = names.map(|name| TopicRequest::default().with_name(wire(name)));
    let mut request = DescribeTopicPartitionsRequest::default()
        .with_response_partition_limit(10)
        .with_topics(topics.to_vec());
    let page = client.call(0, &request).await;
    let failed = |name: &str, code| (name.to_owned(), code, Vec::new());
    let gone = failed("gone", ErrorCode::UNKNOWN_TOPIC_OR_PARTITION);
    let slash = failed("no/slash", ErrorCode::INVALID_TOPIC_EXCEPTION);
    assert_eq!(shown(&page), [topic("a", 0..1), gone, slash]);
    assert_eq!(page.topics[0].topic_id, id.0);
    for (name, partition) in [("b", 0), ("a", -1)] {
        let cursor = Cursor::default()
            .with_topic_name(wire(name))
            .with_partition_index(partition);
        request.cursor = Some(cursor);
        let page = client.call(0, &request).await;
        assert_eq!(page.topics.len(), 3);
        assert!(
            page.topics
                .iter()
                .all(|t| t.error_code == ErrorCode::INVALID_REQUEST.0)
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_data_folder_shows_the_sizes_of_its_partitions() {
    let it = TestBroker::start(&[]).await;
    it.create("a", 1);
    it.create("b", 2);
    let mut client = it.client().await;
    let records = batch(&["some", "records"]);
    let bytes = i64::try_from(records.len()).unwrap();
    client.produce("a", 0, -1, records).await;
    for version in 1..=4 {
        let request = DescribeLogDirsRequest::default().with_topics(None);
        let dir = client.call(version, &request).await.results.remove(0);
        assert_eq!((dir.error_code, dir.topics.len()), (0, 2));
        assert!(std::path::Path::new(dir.log_dir.as_str()).is_absolute());
        assert_eq!(dir.topics[0].partitions[0].partition_size, bytes);
        assert_eq!(dir.topics[1].partitions.len(), 2);
        assert_eq!(
            dir.total_bytes >= dir.usable_bytes && dir.usable_bytes > 0,
            version >= 4
        );
    }
    let asked = |name: &str| {
        DescribableLogDirTopic::default()
            .with_topic(wire(name))
            .with_partitions(vec![1, 9])
    };
    let topics = ["a", "b", "gone"].map(asked).to_vec();
    let request = DescribeLogDirsRequest::default().with_topics(Some(topics));
    let dir = client.call(4, &request).await.results.remove(0);
    assert_eq!(dir.topics.len(), 1);
    assert_eq!(dir.topics[0].partitions[0].partition_index, 1);
}

/// `AclApis` without an authorizer.
#[tokio::test(flavor = "multi_thread")]
async fn who_asks_for_acls_is_told_that_there_is_no_authorizer() {
    let it = TestBroker::start(&["authorizer.class.name="]).await;
    let mut client = it.client().await;
    let disabled = ErrorCode::SECURITY_DISABLED.0;
    for version in 1..=3 {
        let described = client.call(version, &DescribeAclsRequest::default()).await;
        assert_eq!(described.error_code, disabled);
        let creations = vec![AclCreation::default(); 2];
        let request = CreateAclsRequest::default().with_creations(creations);
        let codes = client.call(version, &request).await.results;
        let codes: Vec<_> = codes.iter().map(|result| result.error_code).collect();
        assert_eq!(codes, [disabled; 2]);
        let filters = vec![DeleteAclsFilter::default()];
        let request = DeleteAclsRequest::default().with_filters(filters);
        let deleted = client.call(version, &request).await.filter_results;
        assert_eq!(deleted[0].error_code, disabled);
    }
}
