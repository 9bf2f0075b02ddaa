//! DescribeConfigs, IncrementalAlterConfigs, AlterConfigs.

use carrick_protocol::error_code::ErrorCode;
use kafka_protocol::messages::describe_configs_request::DescribeConfigsResource;
use kafka_protocol::messages::describe_configs_response::{
    DescribeConfigsResourceResult, DescribeConfigsResult,
};
use kafka_protocol::messages::{
    AlterConfigsRequest, DescribeConfigsRequest, IncrementalAlterConfigsRequest,
    alter_configs_request, incremental_alter_configs_request,
};
use kafka_protocol::protocol::StrBytes;

use crate::testing::{TestBroker, TestClient};

pub(super) const TOPIC: i8 = 2;
pub(super) const BROKER: i8 = 4;
pub(super) const BROKER_LOGGER: i8 = 8;
pub(super) const CLIENT_METRICS: i8 = 16;
pub(super) const SET: i8 = 0;
pub(super) const DELETE: i8 = 1;
pub(super) const APPEND: i8 = 2;
pub(super) const SUBTRACT: i8 = 3;

/// Operation, config, value.
pub(super) type Change<'a> = (i8, &'a str, Option<&'a str>);

pub(super) fn text(text: &str) -> StrBytes {
    StrBytes::from_string(text.to_owned())
}

pub(super) async fn describe(
    client: &mut TestClient,
    kind: i8,
    name: &str,
    keys: Option<&[&str]>,
) -> DescribeConfigsResult {
    let resource = DescribeConfigsResource::default()
        .with_resource_type(kind)
        .with_resource_name(text(name))
        .with_configuration_keys(keys.map(|keys| keys.iter().map(|key| text(key)).collect()));
    let request = DescribeConfigsRequest::default()
        .with_resources(vec![resource])
        .with_include_synonyms(true)
        .with_include_documentation(true);
    client.call(4, &request).await.results.remove(0)
}

pub(super) async fn described(
    client: &mut TestClient,
    kind: i8,
    name: &str,
    key: &str,
) -> DescribeConfigsResourceResult {
    let mut result = describe(client, kind, name, Some(&[key])).await;
    assert_eq!(result.configs.len(), 1, "{:?}", result.error_message);
    result.configs.remove(0)
}

pub(super) async fn incremental(
    client: &mut TestClient,
    (kind, name): (i8, &str),
    changes: &[Change<'_>],
) -> (ErrorCode, String) {
    use incremental_alter_configs_request::{AlterConfigsResource, AlterableConfig};
    let configs = changes.iter().map(|(operation, name, value)| {
        AlterableConfig::default()
            .with_name(text(name))
            .with_config_operation(*operation)
            .with_value(value.map(text))
    });
    let resource = AlterConfigsResource::default()
        .with_resource_type(kind)
        .with_resource_name(text(name))
        .with_configs(configs.collect());
    let request = IncrementalAlterConfigsRequest::default().with_resources(vec![resource]);
    let result = client.call(1, &request).await.responses.remove(0);
    (
        ErrorCode(result.error_code),
        result.error_message.unwrap_or_default().to_string(),
    )
}

fn replacing(name: &str, configs: &[(&str, &str)]) -> AlterConfigsRequest {
    use alter_configs_request::{AlterConfigsResource, AlterableConfig};
    let configs = configs.iter().map(|(name, value)| {
        AlterableConfig::default()
            .with_name(text(name))
            .with_value(Some(text(value)))
    });
    let resource = AlterConfigsResource::default()
        .with_resource_type(TOPIC)
        .with_resource_name(text(name))
        .with_configs(configs.collect());
    AlterConfigsRequest::default().with_resources(vec![resource])
}

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_shows_all_configs_with_type_source_and_synonyms() {
    let it = TestBroker::start(&["log.retention.hours=2"]).await;
    it.create_with("t", 1, &[("retention.ms", "77")]);
    let mut client = it.client().await;
    let all = describe(&mut client, TOPIC, "t", None).await;
    assert!(all.configs.len() > 30 && all.configs.iter().all(|c| c.documentation.is_some()));
    let retention = described(&mut client, TOPIC, "t", "retention.ms").await;
    assert_eq!(retention.value.as_deref(), Some("77"));
    assert_eq!((retention.config_source, retention.config_type), (1, 5));
    assert!(!retention.read_only && !retention.is_sensitive);
    let synonyms: Vec<_> = retention
        .synonyms
        .iter()
        .map(|synonym| {
            (
                synonym.name.as_str(),
                synonym.value.as_deref().unwrap(),
                synonym.source,
            )
        })
        .collect();
    let hours = "log.retention.hours";
    assert_eq!(
        synonyms,
        [
            ("retention.ms", "77", 1),
            (hours, "2", 4),
            (hours, "168", 5)
        ]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_shows_its_properties_read_only() {
    let it = TestBroker::start(&["num.partitions=9"]).await;
    let mut client = it.client().await;
    let partitions = described(&mut client, BROKER, "1", "num.partitions").await;
    assert_eq!(
        (partitions.value.as_deref(), partitions.config_source),
        (Some("9"), 4)
    );
    assert!(partitions.read_only);
    let defaults = describe(&mut client, BROKER, "", None).await;
    assert_eq!((defaults.error_code, defaults.configs.len()), (0, 1));
    let other = describe(&mut client, BROKER, "2", None).await;
    assert_eq!(ErrorCode(other.error_code), ErrorCode::INVALID_REQUEST);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_described_is_refused() {
    let it = TestBroker::start(&[]).await;
    let mut client = it.client().await;
    let cases = [
        (TOPIC, "gone", ErrorCode::UNKNOWN_TOPIC_OR_PARTITION),
        (TOPIC, "no/slash", ErrorCode::INVALID_TOPIC_EXCEPTION),
        (BROKER, "one", ErrorCode::INVALID_REQUEST),
        (BROKER_LOGGER, "", ErrorCode::INVALID_REQUEST),
        (BROKER_LOGGER, "2", ErrorCode::INVALID_REQUEST),
        (CLIENT_METRICS, "", ErrorCode::INVALID_REQUEST),
        (32, "", ErrorCode::INVALID_REQUEST),
        (99, "?", ErrorCode::INVALID_REQUEST),
    ];
    for (kind, name, code) in cases {
        let result = describe(&mut client, kind, name, None).await;
        assert_eq!(ErrorCode(result.error_code), code, "{kind} {name}");
        assert!(
            result
                .error_message
                .is_some_and(|message| !message.is_empty())
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_version_of_the_config_apis_is_answered() {
    let it = TestBroker::start(&[]).await;
    it.create("t", 1);
    let mut client = it.client().await;
    for version in 1..=4 {
        let resource = DescribeConfigsResource::default()
            .with_resource_type(TOPIC)
            .with_resource_name(text("t"))
            .with_configuration_keys(None);
        let request = DescribeConfigsRequest::default().with_resources(vec![resource]);
        assert!(
            client.call(version, &request).await.results[0]
                .configs
                .len()
                > 30
        );
    }
    for version in 0..=2 {
        let response = client
            .call(version, &replacing("t", &[("retention.ms", "1")]))
            .await;
        assert_eq!(response.responses[0].error_code, 0);
    }
    let request = IncrementalAlterConfigsRequest::default();
    for version in 0..=1 {
        assert!(client.call(version, &request).await.responses.is_empty());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn single_configs_are_set_extended_cut_and_deleted() {
    let it = TestBroker::start(&[]).await;
    let topic = it.create("t", 1);
    let mut client = it.client().await;
    let policy = || topic.state().overrides.get("cleanup.policy").cloned();
    let done = (ErrorCode::NONE, String::new());
    let t = (TOPIC, "t");
    let append = [
        (APPEND, "cleanup.policy", Some("compact")),
        (SET, "retention.ms", Some("5")),
    ];
    assert_eq!(incremental(&mut client, t, &append).await, done);
    assert_eq!(policy().as_deref(), Some("delete,compact"));
    assert_eq!(
        topic.state().config.log.retention_ms,
        Some(5),
        "in force at once"
    );
    let subtract = [(SUBTRACT, "cleanup.policy", Some("delete"))];
    assert_eq!(incremental(&mut client, t, &subtract).await, done);
    assert_eq!(policy().as_deref(), Some("compact"));
    let delete = [
        (DELETE, "cleanup.policy", None),
        (DELETE, "retention.ms", None),
    ];
    assert_eq!(incremental(&mut client, t, &delete).await, done);
    assert!(topic.state().overrides.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn of_changes_with_a_wrong_one_none_is_made() {
    let it = TestBroker::start(&[]).await;
    let topic = it.create("t", 1);
    let mut client = it.client().await;
    let good = (SET, "compression.type", Some("producer"));
    let cases: [(i8, &str, Change<'_>, ErrorCode); 8] = [
        (
            TOPIC,
            "t",
            (SET, "retention.mss", Some("5")),
            ErrorCode::INVALID_CONFIG,
        ),
        (
            TOPIC,
            "t",
            (SET, "segment.bytes", Some("x")),
            ErrorCode::INVALID_CONFIG,
        ),
        (
            TOPIC,
            "t",
            (APPEND, "segment.ms", Some("5")),
            ErrorCode::INVALID_CONFIG,
        ),
        (
            TOPIC,
            "t",
            (SET, "segment.ms", None),
            ErrorCode::INVALID_REQUEST,
        ),
        (
            TOPIC,
            "t",
            (DELETE, "compression.type", None),
            ErrorCode::INVALID_REQUEST,
        ),
        (
            TOPIC,
            "t",
            (9, "segment.ms", Some("5")),
            ErrorCode::INVALID_REQUEST,
        ),
        (
            TOPIC,
            "gone",
            (SET, "segment.ms", Some("5")),
            ErrorCode::UNKNOWN_TOPIC_OR_PARTITION,
        ),
        (
            BROKER,
            "1",
            (SET, "node.id", Some("5")),
            ErrorCode::INVALID_REQUEST,
        ),
    ];
    for (kind, name, wrong, code) in cases {
        let refused = incremental(&mut client, (kind, name), &[good, wrong]).await;
        assert_eq!(refused.0, code, "{wrong:?}: {}", refused.1);
    }
    assert!(topic.state().overrides.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn replacing_configs_drops_what_is_not_named() {
    let it = TestBroker::start(&[]).await;
    let topic = it.create_with("t", 1, &[("retention.ms", "1"), ("segment.ms", "2")]);
    let mut client = it.client().await;
    let request = replacing("t", &[("segment.ms", "3")]);
    let dry_run = request.clone().with_validate_only(true);
    assert_eq!(client.call(2, &dry_run).await.responses[0].error_code, 0);
    assert_eq!(topic.state().overrides.len(), 2);
    assert_eq!(client.call(2, &request).await.responses[0].error_code, 0);
    let left: Vec<_> = topic.state().overrides.clone().into_iter().collect();
    assert_eq!(left, [("segment.ms".to_owned(), "3".to_owned())]);
    let twice = [request.resources.clone(), request.resources].concat();
    let response = client
        .call(2, &AlterConfigsRequest::default().with_resources(twice))
        .await;
    let codes: Vec<_> = response
        .responses
        .iter()
        .map(|r| ErrorCode(r.error_code))
        .collect();
    assert_eq!(codes, [ErrorCode::INVALID_REQUEST; 2]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_mirror_always_syncs_is_not_changed_here() {
    let it = TestBroker::start(&[]).await;
    let topic = it.create_mirror("m", 1);
    let mut client = it.client().await;
    for synced in [
        (SET, "cleanup.policy", Some("compact")),
        (SET, "max.message.bytes", Some("5")),
        (SET, "message.timestamp.type", Some("LogAppendTime")),
        (SET, "message.timestamp.after.max.ms", Some("5")),
        (SET, "message.timestamp.before.max.ms", Some("5")),
    ] {
        let refused = incremental(&mut client, (TOPIC, "m"), &[synced]).await;
        assert_eq!(refused.0, ErrorCode::INVALID_REQUEST);
        assert!(refused.1.contains("mirror topic 'm'"), "{}", refused.1);
    }
    assert!(topic.state().overrides.is_empty());
    let own = [(SET, "retention.ms", Some("5"))];
    assert_eq!(
        incremental(&mut client, (TOPIC, "m"), &own).await.0,
        ErrorCode::NONE
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn altered_configs_survive_a_restart() {
    let it = TestBroker::start(&[]).await;
    it.create("t", 1);
    let set = [(SET, "retention.ms", Some("5"))];
    let mut client = it.client().await;
    assert_eq!(
        incremental(&mut client, (TOPIC, "t"), &set).await.0,
        ErrorCode::NONE
    );
    let it = it.restart(&[]).await;
    let topic = it.broker().topic("t").unwrap();
    assert_eq!(topic.state().config.log.retention_ms, Some(5));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_resource_that_is_asked_for_twice_is_not_described() {
    let it = TestBroker::start(&[]).await;
    let resource = DescribeConfigsResource::default()
        .with_resource_type(BROKER)
        .with_resource_name(text("1"))
        .with_configuration_keys(None);
    let request = DescribeConfigsRequest::default().with_resources(vec![resource; 1000]);
    let response = it.client().await.call(4, &request).await;
    assert!(
        response
            .results
            .iter()
            .all(|result| result.configs.is_empty())
    );
    assert_eq!(
        ErrorCode(response.results[0].error_code),
        ErrorCode::INVALID_REQUEST
    );
}
