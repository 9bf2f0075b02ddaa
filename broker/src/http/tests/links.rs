//! No answer holds an address that leads nowhere.

use std::collections::{BTreeMap, BTreeSet};

use kafka_protocol::messages::offset_commit_request::{
    OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use kafka_protocol::messages::{GroupId, OffsetCommitRequest, TopicName};
use kafka_protocol::protocol::StrBytes;

use super::linking::stop;
use super::*;
use crate::testing::TestClient;

/// Group ids that an address must not take as they are, and the one that has no characters.
const GROUPS: [&str; 4] = ["g", "", "a/b ?#%", "größe"];

/// A broker whose answers hold every kind of resource, and all answers that name a new one.
async fn world() -> (Rig, Rig, Vec<Value>) {
    let (source, rig) = (Rig::start().await, Rig::start().await);
    for topic in ["a", "b"] {
        source.topic_with_records(topic, 10).await;
    }
    commit(&source).await;
    let configs = [
        ("bootstrap.servers", &*source.bootstrap()),
        ("consumer.offset.sync.enable", "true"),
        ("consumer.offset.sync.ms", "1000"),
        ("consumer.group.prefix.enable", "true"),
        ("cluster.link.prefix", "west."),
        ("consumer.offset.group.filters", EVERY_GROUP),
    ];
    let configs = configs.map(|(name, value)| json!({"name": name, "value": value}));
    let body = json!({ "configs": configs });
    let (status, answer) = rig.call("POST", "/links?link_name=west", Some(body)).await;
    assert_eq!(status, 204, "{answer}");
    let mut answers = Vec::new();
    for (path, body) in [
        (
            "/topics",
            json!({"topic_name": "own", "partitions_count": 3}),
        ),
        ("/links/west/mirrors:create", json!({"all": true})),
        (
            "/links/west/mirrors:pause",
            json!({"mirror_topic_names": ["west.b"]}),
        ),
        (
            "/links/west/mirrors:failover",
            json!({"mirror_topic_names": ["west.b"]}),
        ),
    ] {
        let (status, answer) = rig.call("POST", path, Some(body)).await;
        assert!(status < 300, "{path}: {answer}");
        answers.push(answer);
    }
    let begun = Instant::now();
    loop {
        let (_, groups) = rig.call("GET", "/links/west/groups", None).await;
        if groups["data"]
            .as_array()
            .is_some_and(|all| all.len() == GROUPS.len())
        {
            break;
        }
        assert!(begun.elapsed() < LIMIT, "{groups}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    (source, rig, answers)
}

const EVERY_GROUP: &str =
    r#"{"groupFilters":[{"name":"*","patternType":"LITERAL","filterType":"INCLUDE"}]}"#;

async fn commit(source: &Rig) {
    let mut client = TestClient::connect(source.bootstrap().parse().unwrap()).await;
    for group in GROUPS {
        let partition = OffsetCommitRequestPartition::default().with_committed_offset(3);
        let topic = OffsetCommitRequestTopic::default()
            .with_name(TopicName(StrBytes::from_static_str("a")))
            .with_partitions(vec![partition]);
        let request = OffsetCommitRequest::default()
            .with_group_id(GroupId(StrBytes::from_static_str(group)))
            .with_generation_id_or_member_epoch(-1)
            .with_topics(vec![topic]);
        let answer = client.call(7, &request).await;
        assert_eq!(answer.topics[0].partitions[0].error_code, 0, "{group:?}");
    }
}

/// All addresses in an answer, wherever they stand.
fn addresses(answer: &Value, found: &mut Vec<String>) {
    match answer {
        Value::String(text) if text.starts_with("http://") => found.push(text.clone()),
        Value::Array(items) => items.iter().for_each(|item| addresses(item, found)),
        Value::Object(fields) => fields.values().for_each(|value| addresses(value, found)),
        _ => {}
    }
}

#[test]
fn every_address_in_an_answer_leads_to_what_it_names() {
    runtime().block_on(async {
        let (source, rig, answers) = world().await;
        let mut waiting = vec![format!("{}/kafka/v3/clusters", rig.url())];
        answers
            .iter()
            .for_each(|answer| addresses(answer, &mut waiting));
        let (mut seen, mut kinds) = (BTreeSet::new(), BTreeMap::<String, usize>::new());
        while let Some(url) = waiting.pop() {
            if !seen.insert(url.clone()) {
                continue;
            }
            let (status, answer) = send("GET", &url, &[], None).await;
            assert_eq!(status, 200, "{url}: {answer}");
            assert_eq!(answer["metadata"]["self"], json!(url), "{answer}");
            *kinds
                .entry(answer["kind"].as_str().unwrap().to_owned())
                .or_default() += 1;
            addresses(&answer, &mut waiting);
        }
        for (kind, count) in [
            ("KafkaCluster", 1),
            ("KafkaTopic", 3),
            ("KafkaPartitionList", 3),
            ("KafkaPartition", 5),
            ("KafkaTopicConfigList", 3),
            ("KafkaLinkData", 1),
        ] {
            assert_eq!(kinds.get(kind), Some(&count), "{kind}: {kinds:?}");
        }
        assert!(kinds["KafkaTopicConfig"] >= 60, "{kinds:?}");
        stop(source, rig).await;
    });
}

#[test]
fn partitions_and_configs_of_a_topic_are_shown_as_kafka_describes_them() {
    runtime().block_on(async {
        let rig = Rig::start().await;
        rig.topic_with_records("orders", 2).await;
        let (_, partition) = rig.call("GET", "/topics/orders/partitions/0", None).await;
        assert_eq!(partition["partition_id"], 0, "{partition}");
        assert_eq!(partition["offsets"]["high_watermark"], 6, "{partition}");
        for path in ["/topics/orders/partitions/1", "/topics/none/partitions/0"] {
            assert_eq!(rig.call("GET", path, None).await.0, 404, "{path}");
        }
        assert_eq!(
            rig.call("GET", "/topics/orders/partitions/x", None).await.0,
            400
        );
        let (_, config) = rig
            .call("GET", "/topics/orders/configs/retention.ms", None)
            .await;
        assert_eq!(config["value"], "604800000", "{config}");
        assert_eq!(
            (&config["is_default"], &config["source"]),
            (&json!(true), &json!("DEFAULT_CONFIG"))
        );
        let body =
            json!({"topic_name": "short", "configs": [{"name": "retention.ms", "value": "7"}]});
        assert_eq!(rig.call("POST", "/topics", Some(body)).await.0, 201);
        let (_, config) = rig
            .call("GET", "/topics/short/configs/retention.ms", None)
            .await;
        assert_eq!(
            (&config["value"], &config["source"]),
            (&json!("7"), &json!("DYNAMIC_TOPIC_CONFIG"))
        );
        for path in ["/topics/orders/configs/no.such", "/topics/none/configs"] {
            assert_eq!(rig.call("GET", path, None).await.0, 404, "{path}");
        }
        rig.running.shutdown().await;
    });
}

/// What a raw request gets: the first line of the answer.
fn raw(rig: &Rig, head: &str) -> String {
    let mut stream = TcpStream::connect(rig.url().trim_start_matches("http://")).unwrap();
    stream.set_read_timeout(Some(LIMIT)).unwrap();
    let request = format!("{head}\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    let _ = stream.read_to_string(&mut answer);
    answer.lines().next().unwrap_or_default().to_owned()
}

#[test]
fn a_request_without_one_proper_host_is_refused() {
    runtime().block_on(async {
        let rig = Rig::start().await;
        for (host, status) in [
            ("\r\nhost: localhost", "200 "),
            ("\r\nhost: localhost\r\nhost: localhost", "400 "),
            ("\r\nhost: localhost\r\nHost: evil.example", "400 "),
            ("", "400 "),
            ("\r\nhost:", "400 "),
            ("\r\nhost: a@localhost", "400 "),
            ("\r\nhost: localhost:x", "400 "),
            ("\r\nhost: evil.example", "403 "),
        ] {
            let line = raw(&rig, &format!("GET /healthz HTTP/1.1{host}"));
            assert!(line.contains(status), "{host:?}: {line}");
        }
        let line = raw(
            &rig,
            "GET http://evil.example/healthz HTTP/1.1\r\nhost: localhost",
        );
        assert!(line.contains("403 "), "{line}");
        rig.running.shutdown().await;
    });
}
