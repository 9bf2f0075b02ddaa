//! CreateTopics, DeleteTopics, CreatePartitions.

use carrick_protocol::error_code::ErrorCode;
use carrick_protocol::ids::TopicId;
use kafka_protocol::messages::create_partitions_request::{
    CreatePartitionsAssignment, CreatePartitionsTopic,
};
use kafka_protocol::messages::create_topics_request::{
    CreatableReplicaAssignment, CreatableTopic, CreatableTopicConfig,
};
use kafka_protocol::messages::create_topics_response::CreatableTopicResult;
use kafka_protocol::messages::delete_topics_request::DeleteTopicState;
use kafka_protocol::messages::metadata_request::MetadataRequestTopic;
use kafka_protocol::messages::{
    BrokerId, CreatePartitionsRequest, CreateTopicsRequest, DeleteTopicsRequest, MetadataRequest,
};
use kafka_protocol::protocol::StrBytes;

use crate::testing::{TestBroker, TestClient, batch, wire};

fn topic(name: &str, partitions: i32, replicas: i16) -> CreatableTopic {
    CreatableTopic::default()
        .with_name(wire(name))
        .with_num_partitions(partitions)
        .with_replication_factor(replicas)
}

fn assigned(name: &str, partitions: &[(i32, &[i32])]) -> CreatableTopic {
    let assignments = partitions.iter().map(|(number, brokers)| {
        CreatableReplicaAssignment::default()
            .with_partition_index(*number)
            .with_broker_ids(brokers.iter().map(|id| BrokerId(*id)).collect())
    });
    topic(name, -1, -1).with_assignments(assignments.collect())
}

fn with_config(topic: CreatableTopic, name: &str, value: Option<&str>) -> CreatableTopic {
    let config = CreatableTopicConfig::default()
        .with_name(StrBytes::from_string(name.to_owned()))
        .with_value(value.map(|value| StrBytes::from_string(value.to_owned())));
    topic.with_configs(vec![config])
}

async fn create(client: &mut TestClient, topics: Vec<CreatableTopic>) -> Vec<CreatableTopicResult> {
    client
        .call(7, &CreateTopicsRequest::default().with_topics(topics))
        .await
        .topics
}

async fn refusal(client: &mut TestClient, topic: CreatableTopic) -> (ErrorCode, String) {
    let result = create(client, vec![topic]).await.remove(0);
    (
        ErrorCode(result.error_code),
        result.error_message.unwrap_or_default().to_string(),
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn a_created_topic_is_there_with_its_id_and_its_configs() {
    let it = TestBroker::start(&["num.partitions=4"]).await;
    let mut client = it.client().await;
    let asked = with_config(topic("t", -1, -1), "retention.ms", Some("77"));
    let result = create(&mut client, vec![asked]).await.remove(0);
    assert_eq!((result.error_code, result.error_message), (0, None));
    let created = it.broker().topic("t").unwrap();
    assert_eq!(result.topic_id, created.id().0);
    assert_eq!((result.num_partitions, result.replication_factor), (4, 1));
    assert_eq!(created.partitions().len(), 4);
    let configs = result.configs.unwrap();
    let retention = configs
        .iter()
        .find(|config| config.name.as_str() == "retention.ms")
        .unwrap();
    assert_eq!(retention.value.as_deref(), Some("77"));
    assert_eq!(retention.config_source, 1, "DYNAMIC_TOPIC_CONFIG");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_version_of_the_topic_apis_is_answered() {
    let it = TestBroker::start(&[]).await;
    let mut client = it.client().await;
    for version in 2..=7 {
        let ok = topic(&format!("t{version}"), 1, 1);
        let bad = topic("bad", 1, 0);
        let request = CreateTopicsRequest::default().with_topics(vec![ok, bad]);
        let codes = client.call(version, &request).await.topics;
        let codes: Vec<_> = codes
            .iter()
            .map(|topic| ErrorCode(topic.error_code))
            .collect();
        assert_eq!(
            codes,
            [ErrorCode::NONE, ErrorCode::INVALID_REPLICATION_FACTOR]
        );
    }
    for version in 0..=3 {
        let grown = CreatePartitionsTopic::default()
            .with_name(wire("t2"))
            .with_count(i32::from(version) + 2)
            .with_assignments(None);
        let request = CreatePartitionsRequest::default().with_topics(vec![grown]);
        assert_eq!(
            client.call(version, &request).await.results[0].error_code,
            0
        );
    }
    for version in 1..=5 {
        let name = format!("t{}", version + 1);
        let request =
            DeleteTopicsRequest::default().with_topic_names(vec![wire(&name), wire("gone")]);
        let results = client.call(version, &request).await.responses;
        for result in results {
            let deleted = result.name == Some(wire(&name));
            assert_eq!(result.error_code == 0, deleted, "{result:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn validation_alone_creates_nothing() {
    let it = TestBroker::start(&[]).await;
    let mut client = it.client().await;
    let request = CreateTopicsRequest::default()
        .with_validate_only(true)
        .with_topics(vec![
            topic("t", 3, 1),
            with_config(topic("u", 1, 1), "nonsense", Some("1")),
        ]);
    let results = client.call(7, &request).await.topics;
    assert_eq!((results[0].error_code, results[0].num_partitions), (0, 3));
    assert_eq!(ErrorCode(results[1].error_code), ErrorCode::INVALID_CONFIG);
    assert!(it.broker().topics.list().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn impossible_topics_are_refused_with_their_reason() {
    let it = TestBroker::start(&["replication.factor.clamp=false"]).await;
    let mut client = it.client().await;
    it.create("there.is", 1);
    let cases = [
        (
            topic("r", 1, 3),
            ErrorCode::INVALID_REPLICATION_FACTOR,
            "only 1 broker(s)",
        ),
        (
            topic("r", 1, 0),
            ErrorCode::INVALID_REPLICATION_FACTOR,
            "larger than 0",
        ),
        (
            topic("p", 0, 1),
            ErrorCode::INVALID_PARTITIONS,
            "non-positive",
        ),
        (
            topic("no/slash", 1, 1),
            ErrorCode::INVALID_TOPIC_EXCEPTION,
            "'/'",
        ),
        (
            topic("there_is", 1, 1),
            ErrorCode::INVALID_TOPIC_EXCEPTION,
            "there.is",
        ),
        (
            topic("there.is", 1, 3),
            ErrorCode::TOPIC_ALREADY_EXISTS,
            "there.is",
        ),
        (
            topic("__cluster_metadata", 1, 1),
            ErrorCode::INVALID_REQUEST,
            "prohibited",
        ),
        (
            topic("much", 20_000, 1),
            ErrorCode::POLICY_VIOLATION,
            "Excessively",
        ),
        (
            with_config(topic("c", 1, 1), "segment.bytes", Some("lots")),
            ErrorCode::INVALID_CONFIG,
            "segment.bytes",
        ),
        (
            with_config(topic("c", 1, 1), "segment.bytes", None),
            ErrorCode::INVALID_CONFIG,
            "segment.bytes",
        ),
    ];
    for (asked, code, hint) in cases {
        let name = asked.name.to_string();
        let refused = refusal(&mut client, asked).await;
        assert_eq!(refused.0, code, "{name}: {}", refused.1);
        assert!(refused.1.contains(hint), "{name}: {}", refused.1);
    }
    assert_eq!(it.broker().topics.list().len(), 1);
}

/// As after a failover of a cluster of three: applications and tools keep asking for it.
#[tokio::test(flavor = "multi_thread")]
async fn a_topic_that_asks_for_three_replicas_gets_one_and_the_answer_says_so() {
    let it = TestBroker::start(&["default.replication.factor=3"]).await;
    let mut client = it.client().await;
    let here = it.broker().node_id.0;
    let asked = vec![
        topic("by-count", 2, 3),
        topic("by-default", 2, -1),
        assigned("by-hand", &[(0, &[here, 8, 9]), (1, &[9, here])]),
        assigned("elsewhere", &[(0, &[8, 9])]),
        assigned("twice", &[(0, &[here, here])]),
    ];
    let results = create(&mut client, asked).await;
    for result in &results[..3] {
        assert_eq!(result.error_code, 0, "{result:?}");
        assert_eq!((result.num_partitions, result.replication_factor), (2, 1));
    }
    for refused in &results[3..] {
        let code = ErrorCode(refused.error_code);
        assert_eq!(code, ErrorCode::INVALID_REPLICA_ASSIGNMENT, "{refused:?}");
    }
    let beside =
        CreatePartitionsAssignment::default().with_broker_ids(vec![BrokerId(8), BrokerId(here)]);
    let grown = CreatePartitionsTopic::default()
        .with_name(wire("by-count"))
        .with_count(3)
        .with_assignments(Some(vec![beside]));
    let request = CreatePartitionsRequest::default().with_topics(vec![grown]);
    assert_eq!(client.call(3, &request).await.results[0].error_code, 0);
    let shown = client
        .call(12, &MetadataRequest::default().with_topics(None))
        .await;
    assert_eq!(shown.topics.len(), 3);
    for partition in shown.topics.iter().flat_map(|topic| &topic.partitions) {
        assert_eq!(partition.replica_nodes, [BrokerId(here)]);
        assert_eq!(partition.isr_nodes, [BrokerId(here)]);
    }
    // A topic that asks for two in-sync replicas is written with one: the batch is on the disk by then.
    let demanding = with_config(topic("d", 1, 3), "min.insync.replicas", Some("2"));
    assert_eq!(create(&mut client, vec![demanding]).await[0].error_code, 0);
    let written = client.produce("d", 0, -1, batch(&["a"])).await;
    assert_eq!((written.error_code, written.base_offset), (0, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn without_the_clamp_a_default_of_three_replicas_makes_no_topic() {
    let strict = [
        "replication.factor.clamp=false",
        "default.replication.factor=3",
    ];
    let it = TestBroker::start(&strict).await;
    let mut client = it.client().await;
    let refused = refusal(&mut client, topic("t", 1, -1)).await.0;
    assert_eq!(refused, ErrorCode::INVALID_REPLICATION_FACTOR);
    let asked = MetadataRequestTopic::default().with_name(Some(wire("t")));
    let request = MetadataRequest::default()
        .with_allow_auto_topic_creation(true)
        .with_topics(Some(vec![asked]));
    let shown = client.call(12, &request).await;
    let code = ErrorCode(shown.topics[0].error_code);
    assert_eq!(code, ErrorCode::INVALID_REPLICATION_FACTOR);
    assert!(it.broker().topics.list().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_manual_assignment_names_this_broker_for_every_partition() {
    let it = TestBroker::start(&["node.id=7", "replication.factor.clamp=false"]).await;
    let mut client = it.client().await;
    let good = assigned("good", &[(1, &[7]), (0, &[7])]);
    assert_eq!(refusal(&mut client, good).await.0, ErrorCode::NONE);
    assert_eq!(it.broker().topic("good").unwrap().partitions().len(), 2);
    let wrong: [&[(i32, &[i32])]; 6] = [
        &[(0, &[1])],
        &[(0, &[7, 8])],
        &[(0, &[7, 7])],
        &[(0, &[])],
        &[(0, &[7]), (0, &[7])],
        &[(0, &[7]), (2, &[7])],
    ];
    for partitions in wrong {
        let refused = refusal(&mut client, assigned("bad", partitions)).await;
        assert_eq!(
            refused.0,
            ErrorCode::INVALID_REPLICA_ASSIGNMENT,
            "{}",
            refused.1
        );
    }
    let both = assigned("bad", &[(0, &[7])]).with_num_partitions(1);
    assert_eq!(
        refusal(&mut client, both).await.0,
        ErrorCode::INVALID_REQUEST
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_asked_for_twice_is_answered_once_and_not_created() {
    let it = TestBroker::start(&[]).await;
    let mut client = it.client().await;
    let asked = vec![topic("t", 1, 1), topic("u", 1, 1), topic("t", 2, 1)];
    let results = create(&mut client, asked).await;
    let codes: Vec<_> = results
        .iter()
        .map(|result| (result.name.to_string(), ErrorCode(result.error_code)))
        .collect();
    let twice = ("t".to_owned(), ErrorCode::INVALID_REQUEST);
    assert_eq!(codes, [twice, ("u".to_owned(), ErrorCode::NONE)]);
    assert!(it.broker().topic("t").is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn topics_are_deleted_by_name_and_by_id_but_not_by_both() {
    let it = TestBroker::start(&[]).await;
    let mut client = it.client().await;
    let ids = ["a", "b", "c", "d"].map(|name| it.create(name, 2).id());
    let by_name = |name: &str| DeleteTopicState::default().with_name(Some(wire(name)));
    let by_id = |id: TopicId| {
        DeleteTopicState::default()
            .with_name(None)
            .with_topic_id(id.0)
    };
    let unknown = TopicId::random();
    let request = DeleteTopicsRequest::default().with_topics(vec![
        by_name("a"),
        by_id(ids[1]),
        by_name("c").with_topic_id(ids[2].0),
        by_name("d"),
        by_id(ids[3]),
        by_name("gone"),
        by_id(unknown),
        by_id(TopicId::ZERO),
    ]);
    let results = client.call(6, &request).await.responses;
    let code = |name: Option<&str>, id: TopicId| {
        let of =
            |result: &&kafka_protocol::messages::delete_topics_response::DeletableTopicResult| {
                result.name.as_ref().map(|name| name.as_str()) == name && result.topic_id == id.0
            };
        ErrorCode(
            results
                .iter()
                .find(of)
                .unwrap_or_else(|| panic!("{name:?}"))
                .error_code,
        )
    };
    assert_eq!(code(Some("a"), ids[0]), ErrorCode::NONE);
    assert_eq!(code(Some("b"), ids[1]), ErrorCode::NONE);
    assert_eq!(code(Some("c"), ids[2]), ErrorCode::INVALID_REQUEST);
    assert_eq!(code(Some("d"), TopicId::ZERO), ErrorCode::INVALID_REQUEST);
    assert_eq!(
        code(Some("gone"), TopicId::ZERO),
        ErrorCode::UNKNOWN_TOPIC_OR_PARTITION
    );
    assert_eq!(code(None, unknown), ErrorCode::UNKNOWN_TOPIC_ID);
    assert_eq!(code(None, TopicId::ZERO), ErrorCode::INVALID_REQUEST);
    let left: Vec<_> = it
        .broker()
        .topics
        .list()
        .iter()
        .map(|t| t.name().to_string())
        .collect();
    assert_eq!(left, ["c", "d"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_deleted_when_deletion_is_disabled() {
    let it = TestBroker::start(&["delete.topic.enable=false"]).await;
    let mut client = it.client().await;
    it.create("t", 1);
    let request = DeleteTopicsRequest::default().with_topic_names(vec![wire("t")]);
    let codes = [
        (2, ErrorCode::INVALID_REQUEST),
        (5, ErrorCode::TOPIC_DELETION_DISABLED),
    ];
    for (version, code) in codes {
        let response = client.call(version, &request).await;
        assert_eq!(ErrorCode(response.responses[0].error_code), code);
    }
    assert!(it.broker().topic("t").is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_topic_stays_away_and_its_successor_is_another_topic() {
    let it = TestBroker::start(&[]).await;
    let first = it.create("t", 2).id();
    let mut client = it.client().await;
    let request = DeleteTopicsRequest::default().with_topic_names(vec![wire("t")]);
    assert_eq!(client.call(5, &request).await.responses[0].error_code, 0);
    let it = it.restart(&[]).await;
    assert!(it.broker().topic("t").is_none());
    assert_ne!(it.create("t", 1).id(), first);
    assert_eq!(
        it.broker().topic("t").unwrap().partitions()[0]
            .snapshot()
            .end()
            .0,
        0
    );
}

fn grow(name: &str, count: i32, assignments: Option<&[i32]>) -> CreatePartitionsTopic {
    let assignment =
        |id: &i32| CreatePartitionsAssignment::default().with_broker_ids(vec![BrokerId(*id)]);
    CreatePartitionsTopic::default()
        .with_name(wire(name))
        .with_count(count)
        .with_assignments(assignments.map(|ids| ids.iter().map(assignment).collect()))
}

#[tokio::test(flavor = "multi_thread")]
async fn topics_only_grow() {
    let it = TestBroker::start(&[]).await;
    let mut client = it.client().await;
    let created = it.create("t", 2);
    it.create_mirror("m", 2);
    let cases = [
        (grow("t", 2, None), ErrorCode::INVALID_PARTITIONS),
        (grow("t", 1, None), ErrorCode::INVALID_PARTITIONS),
        (
            grow("t", 4, Some(&[1])),
            ErrorCode::INVALID_REPLICA_ASSIGNMENT,
        ),
        (
            grow("t", 4, Some(&[1, 2])),
            ErrorCode::INVALID_REPLICA_ASSIGNMENT,
        ),
        (grow("gone", 4, None), ErrorCode::UNKNOWN_TOPIC_OR_PARTITION),
        (grow("m", 4, None), ErrorCode::INVALID_REQUEST),
    ];
    for (asked, code) in cases {
        let request = CreatePartitionsRequest::default().with_topics(vec![asked]);
        let result = client.call(3, &request).await.results.remove(0);
        assert_eq!(
            ErrorCode(result.error_code),
            code,
            "{:?}",
            result.error_message
        );
    }
    assert_eq!(created.partitions().len(), 2);
    for (validate_only, count) in [(true, 2), (false, 4)] {
        let request = CreatePartitionsRequest::default()
            .with_topics(vec![grow("t", 4, Some(&[1, 1]))])
            .with_validate_only(validate_only);
        assert_eq!(client.call(3, &request).await.results[0].error_code, 0);
        assert_eq!(created.partitions().len(), count);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mirror_that_must_not_grow_is_named() {
    let it = TestBroker::start(&[]).await;
    it.create_mirror("orders", 1);
    let request = CreatePartitionsRequest::default().with_topics(vec![grow("orders", 2, None)]);
    let result = it.client().await.call(3, &request).await.results.remove(0);
    let message = result.error_message.unwrap();
    assert!(
        message.contains("read-only mirror topic 'orders'"),
        "{message}"
    );
}
