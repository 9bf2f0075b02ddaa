//! Configs of brokers, changed while they run. Cases follow DynamicBrokerReconfigurationTest,
//! DynamicConfigChangeTest and PlaintextAdminIntegrationTest.

use carrick_protocol::error_code::ErrorCode;
use kafka_protocol::messages::ListConfigResourcesRequest;

use super::configs::*;
use crate::testing::{TestBroker, TestClient, batch};

const DONE: (ErrorCode, String) = (ErrorCode::NONE, String::new());
const OWN: (i8, &str) = (BROKER, "1");
const ALL: (i8, &str) = (BROKER, "");

/// Name, value and source of each synonym.
async fn synonyms(
    client: &mut TestClient,
    resource: (i8, &str),
    key: &str,
) -> Vec<(String, String, i8)> {
    let config = described(client, resource.0, resource.1, key).await;
    let synonyms = config.synonyms.into_iter();
    let value = |value: Option<kafka_protocol::protocol::StrBytes>| value.unwrap_or_default();
    synonyms
        .map(|s| (s.name.to_string(), value(s.value).to_string(), s.source))
        .collect()
}

fn origin(name: &str, value: &str, source: i8) -> (String, String, i8) {
    (name.to_owned(), value.to_owned(), source)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_default_of_topics_changes_on_all_that_inherit_it_and_comes_back() {
    let it = TestBroker::start(&["message.max.bytes=1000"]).await;
    let (plain, own) = (
        it.create("plain", 1),
        it.create_with("own", 1, &[("max.message.bytes", "600")]),
    );
    let mut client = it.client().await;
    let large = "x".repeat(2_000);
    let code = client
        .produce("plain", 0, -1, batch(&[&large]))
        .await
        .error_code;
    assert_eq!(code, ErrorCode::MESSAGE_TOO_LARGE.0);
    let set = [(SET, "message.max.bytes", Some("5000"))];
    assert_eq!(incremental(&mut client, ALL, &set).await, DONE);
    let code = client
        .produce("plain", 0, -1, batch(&[&large]))
        .await
        .error_code;
    assert_eq!(code, 0);
    assert_eq!(own.state().config.max_message_bytes, 600);
    // This broker's own value wins over the default of all.
    let set = [(SET, "message.max.bytes", Some("7000"))];
    assert_eq!(incremental(&mut client, OWN, &set).await, DONE);
    assert_eq!(plain.state().config.max_message_bytes, 7_000);
    let name = "message.max.bytes";
    let all = [
        origin("max.message.bytes", "600", 1),
        origin(name, "7000", 2),
        origin(name, "5000", 3),
        origin(name, "1000", 4),
        origin(name, "1048588", 5),
    ];
    let of_topic = synonyms(&mut client, (TOPIC, "own"), "max.message.bytes").await;
    assert_eq!(of_topic, all);
    assert_eq!(synonyms(&mut client, OWN, name).await, all[1..]);
    assert_eq!(synonyms(&mut client, ALL, name).await, all[2..3]);
    // Both are kept over a restart.
    let it = it.restart(&["message.max.bytes=1000"]).await;
    let plain = it.broker().topic("plain").unwrap();
    assert_eq!(plain.state().config.max_message_bytes, 7_000);
    let mut client = it.client().await;
    let delete = [(DELETE, name, None)];
    assert_eq!(incremental(&mut client, OWN, &delete).await, DONE);
    assert_eq!(plain.state().config.max_message_bytes, 5_000);
    assert_eq!(incremental(&mut client, ALL, &delete).await, DONE);
    assert_eq!(plain.state().config.max_message_bytes, 1_000);
    let none = describe(&mut client, BROKER, "", None).await;
    let left: Vec<_> = none.configs.iter().map(|c| c.name.as_str()).collect();
    assert_eq!((none.error_code, left), (0, vec!["min.insync.replicas"]));
}

/// As at a Kafka with eligible leader replicas (KIP-966).
#[tokio::test(flavor = "multi_thread")]
async fn min_insync_replicas_is_always_a_default_of_all_brokers_and_of_no_single_one() {
    let name = "min.insync.replicas";
    let it = TestBroker::start(&[]).await;
    it.create("plain", 1);
    let mut client = it.client().await;
    let unset = [origin(name, "1", 3), origin(name, "1", 5)];
    for resource in [(TOPIC, "plain"), OWN] {
        assert_eq!(synonyms(&mut client, resource, name).await, unset);
        let shown = described(&mut client, resource.0, resource.1, name).await;
        assert_eq!(shown.config_source, 3);
    }
    let refused = [
        (OWN, (SET, name, Some("2")), "Broker-level"),
        (ALL, (DELETE, name, None), "Cluster-level"),
    ];
    for (resource, change, expected) in refused {
        let (code, message) = incremental(&mut client, resource, &[change]).await;
        assert_eq!(code, ErrorCode::INVALID_CONFIG);
        assert!(message.starts_with(expected), "{message}");
    }
    let set = [(SET, name, Some("2"))];
    assert_eq!(incremental(&mut client, ALL, &set).await, DONE);
    let it = it.restart(&["min.insync.replicas=3"]).await;
    let mut client = it.client().await;
    let set = [
        origin(name, "2", 3),
        origin(name, "3", 4),
        origin(name, "1", 5),
    ];
    assert_eq!(synonyms(&mut client, (TOPIC, "plain"), name).await, set);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_read_at_start_only_is_refused_by_name() {
    let it = TestBroker::start(&[]).await;
    let mut client = it.client().await;
    let mixed = [
        (SET, "node.id", Some("7")),
        (SET, "log.retention.ms", Some("5")),
    ];
    let refused = incremental(&mut client, OWN, &mixed).await;
    let expected = "Cannot update these configs dynamically: [node.id]".to_owned();
    assert_eq!(refused, (ErrorCode::INVALID_REQUEST, expected));
    let refused = [
        (
            OWN,
            (SET, "message.max.bytes", Some("x")),
            "Invalid value x",
        ),
        (OWN, (SET, "no.such.config", Some("x")), "no.such.config"),
        (
            OWN,
            (SET, "message.max.bytes", None),
            "Null value not supported for : message",
        ),
        (
            (BROKER, "2"),
            (SET, "message.max.bytes", Some("1")),
            "Unexpected broker id",
        ),
        (
            (BROKER, "x"),
            (SET, "message.max.bytes", Some("1")),
            "must be an integer",
        ),
        (
            (BROKER_LOGGER, "1"),
            (SET, "root", Some("INFO")),
            "levels of loggers",
        ),
        (
            (CLIENT_METRICS, "m"),
            (SET, "interval.ms", Some("1")),
            "Client metrics",
        ),
    ];
    for (resource, change, expected) in refused {
        let (code, message) = incremental(&mut client, resource, &[change]).await;
        assert_eq!(code, ErrorCode::INVALID_REQUEST, "{message}");
        assert!(message.contains(expected), "{message}");
    }
    let append = [(APPEND, "message.max.bytes", Some("1"))];
    let (code, _) = incremental(&mut client, OWN, &append).await;
    assert_eq!(code, ErrorCode::INVALID_CONFIG);
    let retention = described(&mut client, BROKER, "1", "log.retention.ms").await;
    assert_eq!((retention.value, retention.read_only), (None, false));
}

#[tokio::test(flavor = "multi_thread")]
async fn words_of_a_list_are_added_and_taken_out() {
    let it = TestBroker::start(&[]).await;
    let topic = it.create("t", 1);
    let mut client = it.client().await;
    let policy = "log.cleanup.policy";
    let append = [(APPEND, policy, Some("compact"))];
    assert_eq!(incremental(&mut client, OWN, &append).await, DONE);
    assert!(topic.state().config.compact && topic.state().config.delete);
    let subtract = [(SUBTRACT, policy, Some("delete"))];
    assert_eq!(incremental(&mut client, OWN, &subtract).await, DONE);
    assert!(topic.state().config.compact && !topic.state().config.delete);
}

#[tokio::test(flavor = "multi_thread")]
async fn fewer_connections_are_let_in_once_the_limit_is_lower() {
    let it = TestBroker::start(&[]).await;
    let mut client = it.client().await;
    let set = [(SET, "max.connections.per.ip", Some("1"))];
    assert_eq!(incremental(&mut client, OWN, &set).await, DONE);
    let mut another = it.client().await;
    assert!(another.frame().await.is_none());
    let delete = [(DELETE, "max.connections.per.ip", None)];
    assert_eq!(incremental(&mut client, OWN, &delete).await, DONE);
    let mut another = it.client().await;
    assert!(
        another
            .call(1, &ListConfigResourcesRequest::default())
            .await
            .error_code
            == 0
    );
}

// Follows KafkaApisTest.testListConfigResources*.
#[tokio::test(flavor = "multi_thread")]
async fn resources_with_configs_are_listed_by_type() {
    let it = TestBroker::start(&[]).await;
    it.create("t", 1);
    let mut client = it.client().await;
    let mut list = async |version, types: &[i8]| {
        let request = ListConfigResourcesRequest::default().with_resource_types(types.to_vec());
        let answer = client.call(version, &request).await;
        let resources = answer.config_resources.into_iter();
        let resources = resources.map(|r| (r.resource_type, r.resource_name.to_string()));
        (ErrorCode(answer.error_code), resources.collect::<Vec<_>>())
    };
    let one = |kind, name: &str| (kind, name.to_owned());
    let (t, broker, logger) = (one(TOPIC, "t"), one(BROKER, "1"), one(BROKER_LOGGER, "1"));
    let all = vec![t.clone(), broker.clone(), logger];
    assert_eq!(list(1, &[]).await, (ErrorCode::NONE, all));
    assert_eq!(
        list(1, &[TOPIC, BROKER]).await,
        (ErrorCode::NONE, vec![t, broker])
    );
    assert_eq!(list(1, &[CLIENT_METRICS]).await, (ErrorCode::NONE, vec![]));
    assert_eq!(list(0, &[]).await, (ErrorCode::NONE, vec![]));
    assert_eq!(
        list(1, &[77]).await,
        (ErrorCode::UNSUPPORTED_VERSION, vec![])
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_shows_one_logger() {
    let it = TestBroker::start(&[]).await;
    let mut client = it.client().await;
    let root = described(&mut client, BROKER_LOGGER, "1", "root").await;
    assert_eq!((root.config_source, root.read_only), (6, true));
    let metrics = describe(&mut client, CLIENT_METRICS, "m", None).await;
    assert_eq!((metrics.error_code, metrics.configs.len()), (0, 0));
}
