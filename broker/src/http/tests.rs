//! Handlers over a real loopback socket: two brokers in this process, one the other's source.

mod access;
mod authn;
mod limits;
mod linking;
mod links;
mod problems;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use bytes::Bytes;
use carrick_protocol::batch::BatchBuilder;
use serde_json::{Value, json};
use tempfile::TempDir;
use ureq::http::Request;

use crate::partition::Produced;
use crate::run::RunningBroker;
use crate::testing::{TestBroker, append};

const LIMIT: Duration = Duration::from_secs(120);

/// A separate broker.
pub(crate) struct Rig {
    pub(crate) running: RunningBroker,
    dir: TempDir,
}

impl Rig {
    pub(crate) async fn start() -> Rig {
        Rig::start_in(tempfile::tempdir().unwrap()).await
    }

    /// With these properties.
    pub(crate) async fn start_with(overrides: &[&str]) -> Rig {
        let TestBroker { running, dir } = TestBroker::start(overrides).await;
        Rig { running, dir }
    }

    /// On a data folder that may hold something.
    pub(crate) async fn start_in(dir: TempDir) -> Rig {
        let TestBroker { running, dir } = TestBroker::start_in(dir, &[]).await;
        Rig { running, dir }
    }

    pub(crate) fn bootstrap(&self) -> String {
        self.running.broker.endpoints[0].bound.to_string()
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.running.rest_addresses()[0])
    }

    /// Sends a request below the cluster; status and JSON body.
    async fn call(&self, method: &str, path: &str, body: Option<Value>) -> (u16, Value) {
        let id = &self.running.broker.cluster_id;
        let url = format!("{}/kafka/v3/clusters/{id}{path}", self.url());
        send(method, &url, &[], body).await
    }

    /// A topic of one partition with `batches` batches of three records.
    pub(crate) async fn topic_with_records(&self, name: &str, batches: usize) {
        let body = json!({"topic_name": name, "partitions_count": 1});
        let (status, answer) = self.call("POST", "/topics", Some(body)).await;
        assert_eq!(status, 201, "{answer}");
        let topic = self.running.broker.topic(name).unwrap();
        let partition = topic.partition(0).unwrap();
        for _ in 0..batches {
            let mut batch = BatchBuilder::new();
            for at in 0..3 {
                batch = batch.record(1_000 + at, Some(b"key"), Some(b"value"));
            }
            let bytes: Bytes = batch.build().freeze();
            match append(&partition, &bytes, 5_000).unwrap() {
                Produced::Done(_) => {}
                Produced::Flushing(pending) => drop(pending.durable().await.unwrap()),
            }
        }
    }

    /// Waits until a mirror's first partition ends at `end`.
    async fn wait_for_end(&self, topic: &str, end: i64) -> Value {
        let begun = Instant::now();
        loop {
            let (_, mirror) = self
                .call("GET", &format!("/links/-/mirrors/{topic}"), None)
                .await;
            let lag = &mirror["mirror_lags"][0];
            if lag["mirror_end_offset"] == json!(end) && lag["lag"] == json!(0) {
                return mirror;
            }
            assert!(begun.elapsed() < LIMIT, "{mirror}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

/// Sends a request from a blocking thread, as the command line would.
async fn send(
    method: &str,
    url: &str,
    headers: &[(&str, &str)],
    body: Option<Value>,
) -> (u16, Value) {
    let mut request = Request::builder().method(method).uri(url);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    if body.is_some() && !headers.iter().any(|(name, _)| *name == "content-type") {
        request = request.header("content-type", "application/json");
    }
    let body = body.map(|body| body.to_string()).unwrap_or_default();
    let request = request.body(body).unwrap();
    let answer = tokio::task::spawn_blocking(move || {
        let config = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .allow_non_standard_methods(true)
            .timeout_global(Some(LIMIT))
            .build();
        let mut response = ureq::Agent::from(config).run(request).unwrap();
        let status = response.status().as_u16();
        (status, response.body_mut().read_to_string().unwrap())
    });
    let (status, text) = answer.await.unwrap();
    let json = serde_json::from_str(&text).unwrap_or(Value::String(text));
    (status, json)
}

/// Sends the head of a POST that announces a body of `length` bytes, and none of the body; answers what came back first.
fn announce(base: &str, url: &str, length: usize) -> String {
    let host = base.trim_start_matches("http://");
    let path = url.trim_start_matches(base);
    let mut stream = TcpStream::connect(host).unwrap();
    stream.set_read_timeout(Some(LIMIT)).unwrap();
    let head = format!(
        "POST {path} HTTP/1.1\r\nhost: {host}\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).unwrap();
    let mut answer = [0; 256];
    let read = stream.read(&mut answer).unwrap();
    String::from_utf8_lossy(&answer[..read]).into_owned()
}

pub(crate) fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap()
}

#[test]
fn the_cluster_is_named_and_every_refusal_is_json() {
    runtime().block_on(async {
        let rig = Rig::start().await;
        let (status, clusters) = send(
            "GET",
            &format!("{}/kafka/v3/clusters", rig.url()),
            &[],
            None,
        )
        .await;
        assert_eq!(status, 200);
        assert_eq!(clusters["kind"], "KafkaClusterList");
        assert_eq!(
            clusters["data"][0]["cluster_id"],
            json!(&*rig.running.broker.cluster_id)
        );

        let other = format!("{}/kafka/v3/clusters/other/links", rig.url());
        let (status, answer) = send("GET", &other, &[], None).await;
        let code = &answer["error_code"];
        assert_eq!((status, code), (404, &json!(404)), "{answer}");
        for (method, path, body, status, code) in REFUSALS {
            let body = (!body.is_empty()).then(|| serde_json::from_str(body).unwrap());
            let (got, answer) = rig.call(method, path, body).await;
            let got = (got, answer["error_code"].as_i64().unwrap());
            assert_eq!(got, (*status, *code), "{path}: {answer}");
            assert!(!answer["message"].as_str().unwrap().is_empty(), "{path}");
        }
        rig.running.shutdown().await;
    });
}

/// Method, path, body, and the status and code that answer them.
#[rustfmt::skip]
const REFUSALS: &[(&str, &str, &str, u16, i64)] = &[
    ("GET", "/no/such/route", "", 404, 404),
    ("DELETE", "/links", "", 405, 405),
    ("GET", "/links/none", "", 404, 40411),
    ("GET", "/links/none/configs", "", 404, 40411),
    ("DELETE", "/links/none", "", 404, 40411),
    ("GET", "/links/none/mirrors", "", 404, 40411),
    ("GET", "/links/-/mirrors/none", "", 404, 40412),
    ("GET", "/links/-/mirrors?mirror_status=NONSENSE", "", 400, 40002),
    ("GET", "/topics/none", "", 404, 40403),
    ("DELETE", "/topics/none", "", 404, 40403),
    ("POST", "/links", "{}", 400, 40002),
    ("POST", "/links?link_name=a&validate_only=maybe", "{}", 400, 40002),
    ("POST", "/links?link_name=a", r#"{"configs": 5}"#, 400, 400),
    ("POST", "/links?link_name=a", r#"{"configs": []}"#, 400, 40002),
    ("POST", "/links?link_name=a%2Fb", r#"{"configs": []}"#, 400, 40002),
    ("POST", "/topics", r#"{"topic_name": "a/b"}"#, 400, 40002),
    ("POST", "/topics", r#"{"topic_name": "a", "partitions_count": 0}"#, 400, 40002),
    ("POST", "/topics", r#"{"topic_name": "a", "replication_factor": 0}"#, 400, 40002),
    ("POST", "/topics", r#"{"topic_name": "__cluster_metadata"}"#, 400, 40002),
];

#[test]
fn a_web_page_can_do_nothing_and_a_large_body_is_refused() {
    runtime().block_on(async {
        let rig = Rig::start().await;
        let id = &rig.running.broker.cluster_id;
        let url = format!("{}/kafka/v3/clusters/{id}/topics", rig.url());
        let body = || Some(json!({"topic_name": "a"}));
        let page = [("origin", "http://evil.example")];
        assert_eq!(send("POST", &url, &page, body()).await.0, 403);
        let rebound = [("host", "evil.example")];
        assert_eq!(send("GET", &url, &rebound, None).await.0, 403);
        let form = [("content-type", "text/plain")];
        assert_eq!(send("POST", &url, &form, body()).await.0, 415);
        assert!(announce(&rig.url(), &url, 2 << 20).starts_with("HTTP/1.1 413 "));
        assert!(rig.running.broker.topics.list().is_empty());
        rig.running.shutdown().await;
    });
}

#[test]
fn topics_are_created_shown_and_deleted() {
    runtime().block_on(async {
        let rig = Rig::start().await;
        rig.topic_with_records("orders", 2).await;
        let (status, answer) = rig
            .call("POST", "/topics", Some(json!({"topic_name": "orders"})))
            .await;
        assert_eq!(
            (status, &answer["error_code"]),
            (400, &json!(40002)),
            "{answer}"
        );
        let (_, topics) = rig.call("GET", "/topics", None).await;
        assert_eq!(topics["kind"], "KafkaTopicList");
        assert_eq!(topics["data"][0]["topic_name"], "orders");
        let (_, topic) = rig.call("GET", "/topics/orders", None).await;
        assert_eq!(
            topic["partition_offsets"][0]["high_watermark"], 6,
            "{topic}"
        );
        assert_eq!(rig.call("DELETE", "/topics/orders", None).await.0, 204);
        assert_eq!(rig.call("GET", "/topics/orders", None).await.0, 404);
        rig.running.shutdown().await;
    });
}

#[test]
fn health_and_metrics_answer() {
    runtime().block_on(async {
        let rig = Rig::start().await;
        for path in ["healthz", "readyz"] {
            assert_eq!(
                send("GET", &format!("{}/{path}", rig.url()), &[], None)
                    .await
                    .0,
                200
            );
        }
        let (status, _) = send("GET", &format!("{}/metrics", rig.url()), &[], None).await;
        assert_eq!(status, 200);
        rig.running.shutdown().await;
    });
}

#[test]
fn a_link_mirrors_verifies_pauses_and_fails_over() {
    runtime().block_on(async {
        let (source, rig) = (Rig::start().await, Rig::start().await);
        source.topic_with_records("orders", 10).await;
        link(&rig, &source).await;
        // Confluent's CLI always asks for three replicas.
        let body = Some(json!({"source_topic_name": "orders", "replication_factor": 3}));
        let (status, answer) = rig.call("POST", "/links/west/mirrors", body.clone()).await;
        assert_eq!(status, 204, "{answer}");
        assert_eq!(rig.call("POST", "/links/west/mirrors", body).await.0, 400);
        let mirror = rig.wait_for_end("orders", 30).await;
        assert_eq!(mirror["mirror_status"], "ACTIVE", "{mirror}");

        let (_, metrics) = send("GET", &format!("{}/metrics", rig.url()), &[], None).await;
        let metrics = metrics.as_str().unwrap();
        assert!(
            metrics.contains("carrick_mirror_lag_records{link=\"west\",topic=\"orders\""),
            "{metrics}"
        );
        assert!(
            metrics.contains("carrick_transactions_open{} 0"),
            "{metrics}"
        );
        verified(&rig).await;

        let names = json!({"mirror_topic_names": ["orders"]});
        let (status, paused) = rig
            .call("POST", "/links/west/mirrors:pause", Some(names))
            .await;
        assert_eq!(
            (status, &paused["data"][0]["mirror_status"]),
            (200, &json!("PAUSED")),
            "{paused}"
        );
        failed_over(&rig).await;
        source.running.shutdown().await;
        rig.running.shutdown().await;
    });
}

async fn link(rig: &Rig, source: &Rig) {
    let configs = json!([{"name": "bootstrap.servers", "value": source.bootstrap()}]);
    let body = || Some(json!({"configs": configs}));
    let path = "/links?link_name=west&validate_only=true";
    assert_eq!(rig.call("POST", path, body()).await.0, 204);
    assert_eq!(
        rig.call("GET", "/links/west", None).await.0,
        404,
        "only validated"
    );
    let (status, answer) = rig.call("POST", "/links?link_name=west", body()).await;
    assert_eq!(status, 204, "{answer}");
    let (_, link) = rig
        .call("GET", "/links/west?include_tasks=true", None)
        .await;
    assert_eq!(
        link["source_cluster_id"],
        json!(&*source.running.broker.cluster_id),
        "{link}"
    );
    assert!(link["tasks"].is_array(), "{link}");
    let (status, answer) = rig.call("POST", "/links?link_name=west", body()).await;
    assert_eq!(
        (status, &answer["error_code"]),
        (400, &json!(40002)),
        "{answer}"
    );

    let change = Some(json!({"value": "7000"}));
    let path = "/links/west/configs/topic.config.sync.ms";
    assert_eq!(rig.call("PUT", path, change).await.0, 204);
    let (_, config) = rig.call("GET", path, None).await;
    assert_eq!(
        (&config["value"], &config["is_default"]),
        (&json!("7000"), &json!(false))
    );
    assert_eq!(rig.call("DELETE", path, None).await.0, 204);
    assert_eq!(
        rig.call("GET", "/links/west/configs/no.such", None).await.0,
        404
    );
    let wrong = json!({"data": [{"name": "no.such", "value": "1"}]});
    let (status, answer) = rig
        .call("PUT", "/links/west/configs:alter", Some(wrong))
        .await;
    assert_eq!(status, 400, "{answer}");
    assert!(
        answer["message"].as_str().unwrap().contains("no.such"),
        "{answer}"
    );
}

async fn verified(rig: &Rig) {
    let path = "/links/west/mirrors/orders:verify";
    let (status, lines) = rig.call("POST", path, Some(json!({}))).await;
    // One line is one JSON document; several are text.
    let last = match &lines {
        Value::String(text) => serde_json::from_str(text.lines().last().unwrap()).unwrap(),
        one => one.clone(),
    };
    assert_eq!(status, 200);
    assert_eq!(last["report"]["identical"], json!(true), "{lines}");
    assert!(last["report"]["batches"].as_u64().unwrap() > 0, "{lines}");
    let (status, _) = rig
        .call("POST", "/links/west/mirrors/none:verify", Some(json!({})))
        .await;
    assert_eq!(status, 404);
}

async fn failed_over(rig: &Rig) {
    let (status, answer) = rig.call("DELETE", "/links/west", None).await;
    assert_eq!(status, 400, "{answer}");
    assert!(
        answer["message"].as_str().unwrap().contains("orders"),
        "{answer}"
    );
    let path = "/links/west/mirrors:failover";
    let (status, dry) = rig
        .call(
            "POST",
            &format!("{path}?validate_only=true"),
            Some(json!({"all": true})),
        )
        .await;
    assert_eq!(
        (status, &dry["data"][0]["report"]["dry_run"]),
        (200, &json!(true)),
        "{dry}"
    );
    assert_eq!(
        rig.call("GET", "/links/west/mirrors/orders/report", None)
            .await
            .0,
        404
    );
    let (status, done) = rig.call("POST", path, Some(json!({"all": true}))).await;
    assert_eq!(
        (status, &done["data"][0]["mirror_status"]),
        (200, &json!("STOPPED")),
        "{done}"
    );
    let (status, report) = rig
        .call("GET", "/links/west/mirrors/orders/report", None)
        .await;
    assert_eq!(
        (status, &report["kind"]),
        (200, &json!("FAILOVER")),
        "{report}"
    );
    let names = json!({"mirror_topic_names": ["orders"]});
    let (status, again) = rig
        .call("POST", "/links/west/mirrors:resume", Some(names))
        .await;
    assert_eq!(status, 200);
    assert!(again["data"][0]["error_code"].is_number(), "{again}");
    assert_eq!(rig.call("DELETE", "/links/west", None).await.0, 200);
    let (_, topic) = rig.call("GET", "/topics/orders", None).await;
    assert_eq!(topic["is_mirror"], json!(false), "the topic stays");
}
