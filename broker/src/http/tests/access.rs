//! Each route and each right that is missing: one row a route, and a route without a row fails.

use super::*;
use crate::access::Operation::{Alter, AlterConfigs, Create, Delete, Describe, DescribeConfigs};
use crate::access::{Operation, Resource};
use crate::http::routes::{CLUSTER, ROUTES};
use crate::testing::audit_lines;

/// What must be allowed.
type Need = (Operation, Resource<'static>);

const C: Resource<'static> = Resource::Cluster;
const T: Resource<'static> = Resource::Topic("t");
const NEW: Resource<'static> = Resource::Topic("new");
const G: Resource<'static> = Resource::Group("g");
const UNNAMED: Resource<'static> = Resource::Group("");

/// Method, route, path (of a link `west` whose source does not answer, and a topic `t`), body, and
/// what is needed. Two of them if the second is missing, too, where one of both is enough.
type Row = (
    &'static str,
    &'static str,
    &'static str,
    &'static str,
    &'static [&'static [Need]],
);

#[rustfmt::skip]
const ROWS: &[Row] = &[
    ("GET", "", "", "", &[]),
    ("GET", "/links", "/links", "", &[&[(Describe, C)]]),
    ("POST", "/links", "/links?link_name=a&validate_link=false&validate_only=true", r#"{"configs": [{"name": "bootstrap.servers", "value": "127.0.0.1:1"}]}"#, &[&[(Alter, C)]]),
    ("GET", "/links/{link}", "/links/west", "", &[&[(Describe, C)]]),
    ("DELETE", "/links/{link}", "/links/west?validate_only=true", "", &[&[(Alter, C)]]),
    ("GET", "/links/{link}/groups", "/links/west/groups", "", &[&[(Describe, C)]]),
    ("GET", "/links/{link}/groups/", "/links/west/groups/", "", &[&[(Describe, C)], &[(Describe, UNNAMED)]]),
    ("GET", "/links/{link}/groups/{group}", "/links/west/groups/g", "", &[&[(Describe, C)], &[(Describe, G)]]),
    ("GET", "/links/{link}/configs", "/links/west/configs", "", &[&[(DescribeConfigs, C)]]),
    ("GET", "/links/{link}/configs/{name}", "/links/west/configs/client.id", "", &[&[(DescribeConfigs, C)]]),
    ("PUT", "/links/{link}/configs/{name}", "/links/west/configs/topic.config.sync.ms?validate_only=true", r#"{"value": "9000"}"#, &[&[(AlterConfigs, C)]]),
    ("DELETE", "/links/{link}/configs/{name}", "/links/west/configs/topic.config.sync.ms?validate_only=true", "", &[&[(AlterConfigs, C)]]),
    ("PUT", "/links/{link}/configs:alter", "/links/west/configs:alter?validate_only=true", r#"{"data": []}"#, &[&[(AlterConfigs, C)]]),
    ("GET", "/links/{link}/reports", "/links/west/reports", "", &[&[(Describe, C)]]),
    ("GET", "/links/{link}/mirrors", "/links/west/mirrors", "", &[&[(Describe, C)]]),
    ("POST", "/links/{link}/mirrors", "/links/west/mirrors", r#"{"source_topic_name": "new"}"#, &[&[(Alter, C)], &[(Create, C), (Create, NEW)]]),
    ("POST", "/links/{link}/mirrors:create", "/links/west/mirrors:create?validate_only=true", r#"{"source_topic_names": ["new"]}"#, &[&[(Alter, C)]]),
    ("POST", "/links/{link}/mirrors:promote", "/links/west/mirrors:promote", r#"{"all": true}"#, &[&[(Alter, C)]]),
    ("POST", "/links/{link}/mirrors:failover", "/links/west/mirrors:failover", r#"{"all": true}"#, &[&[(Alter, C)]]),
    ("POST", "/links/{link}/mirrors:pause", "/links/west/mirrors:pause", r#"{"all": true}"#, &[&[(Alter, C)]]),
    ("POST", "/links/{link}/mirrors:resume", "/links/west/mirrors:resume", r#"{"all": true}"#, &[&[(Alter, C)]]),
    ("POST", "/links/{link}/mirrors:cancel-promote", "/links/west/mirrors:cancel-promote", r#"{"all": true}"#, &[&[(Alter, C)]]),
    ("GET", "/links/{link}/mirrors/{topic}", "/links/west/mirrors/t", "", &[&[(Describe, C)]]),
    ("POST", "/links/{link}/mirrors/{topic}", "/links/west/mirrors/t:verify", "{}", &[&[(Describe, C)]]),
    ("GET", "/links/{link}/mirrors/{topic}/report", "/links/west/mirrors/t/report", "", &[&[(Describe, C)]]),
    ("GET", "/secrets", "/secrets", "", &[&[(Describe, C)]]),
    ("POST", "/secrets:rotate", "/secrets:rotate", "{}", &[&[(Alter, C)]]),
    ("GET", "/users", "/users", "", &[&[(Describe, C)]]),
    ("POST", "/users", "/users", r#"{"data": [{"user_name": "ann", "mechanism": "SCRAM-SHA-256", "iterations": 4096, "salt": "c2FsdA==", "stored_key": "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=", "server_key": "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="}]}"#, &[&[(Alter, C)]]),
    ("DELETE", "/users/{user}", "/users/ann", "", &[&[(Alter, C)]]),
    ("GET", "/topics", "/topics", "", &[]),
    ("POST", "/topics", "/topics", r#"{"topic_name": "new"}"#, &[&[(Create, C), (Create, NEW)]]),
    ("GET", "/topics/{topic}", "/topics/t", "", &[&[(Describe, T)]]),
    ("DELETE", "/topics/{topic}", "/topics/t", "", &[&[(Delete, C), (Delete, T)], &[(Delete, C), (Describe, T)]]),
    ("GET", "/topics/{topic}/partitions", "/topics/t/partitions", "", &[&[(Describe, T)]]),
    ("GET", "/topics/{topic}/partitions/{partition}", "/topics/t/partitions/0", "", &[&[(Describe, T)]]),
    ("GET", "/topics/{topic}/configs", "/topics/t/configs", "", &[&[(DescribeConfigs, T)]]),
    ("GET", "/topics/{topic}/configs/{name}", "/topics/t/configs/retention.ms", "", &[&[(DescribeConfigs, T)]]),
];

/// Routes without a row, because they need no right or have a test of their own.
const OTHERS: &[(&str, &str)] = &[
    ("GET", "/healthz"),
    ("GET", "/readyz"),
    ("GET", "/metrics"),
    ("GET", "/kafka/v3/clusters"),
];

fn kafka_code(resource: Resource<'_>) -> i64 {
    match resource {
        Resource::Topic(_) => 29,
        Resource::Group(_) => 30,
        _ => 31,
    }
}

/// What is new in the audit log.
async fn audited(rig: &Rig, seen: &mut usize) -> Vec<Value> {
    let lines = audit_lines(&rig.running.broker, rig.dir.path()).await;
    let new = lines[*seen..].to_vec();
    *seen = lines.len();
    new
}

#[test]
fn every_route_has_a_row() {
    for route in ROUTES {
        let (method, path) = (route.method.as_str(), route.path());
        let below = path.strip_prefix(CLUSTER).unwrap_or("no");
        let row = ROWS.iter().any(|row| (row.0, row.1) == (method, below));
        assert!(row || OTHERS.contains(&(method, &path)), "{method} {path}");
    }
}

#[test]
fn a_right_that_is_missing_is_refused_named_and_noted() {
    runtime().block_on(async {
        let rig = staged().await;
        let access = std::sync::Arc::clone(&rig.running.broker.access);
        let mut seen = 0;
        for (method, route, path, body, needs) in ROWS {
            let body = || (!body.is_empty()).then(|| serde_json::from_str(body).unwrap());
            for need in *needs {
                for (operation, resource) in *need {
                    access.refuse(*operation, *resource);
                }
                audited(&rig, &mut seen).await;
                let (status, answer) = rig.call(method, path, body()).await;
                access.refuse_nothing();
                let what = format!("{method} {path} without {need:?}: {answer}");
                assert_eq!(
                    (status, &answer["error_code"]),
                    (403, &json!(40301)),
                    "{what}"
                );
                let (operation, resource) = need.last().unwrap();
                assert_eq!(answer["kafka_error_code"], kafka_code(*resource), "{what}");
                let lines = audited(&rig, &mut seen).await;
                let name = action(method, route);
                let denied = lines.iter().any(|line| {
                    line["outcome"] == "denied"
                        && line["action"] == name
                        && line["via"] == "rest"
                        && line["from"] == "127.0.0.1"
                        && line["operation"] == operation.name()
                });
                assert!(denied, "{what}: {lines:?}");
                assert!(
                    lines.iter().all(|line| line["outcome"] == "denied"),
                    "{what}: {lines:?}"
                );
            }
        }
        rig.running.shutdown().await;
    });
}

fn action(method: &str, route: &str) -> &'static str {
    let path = format!("{CLUSTER}{route}");
    let found = ROUTES
        .iter()
        .find(|it| it.method == *method && it.path() == path);
    found.unwrap().name
}

#[test]
fn a_change_leaves_a_line_in_the_audit_log_and_a_look_up_none() {
    runtime().block_on(async {
        let rig = staged().await;
        let mut seen = audited(&rig, &mut 0).await.len();
        for (method, route, path, body, _) in ROWS {
            let body = (!body.is_empty()).then(|| serde_json::from_str(body).unwrap());
            let (status, answer) = rig.call(method, path, body).await;
            assert_ne!(status, 403, "{method} {path}: {answer}");
            let lines = audited(&rig, &mut seen).await;
            let whole = format!("{CLUSTER}{route}");
            let route = ROUTES
                .iter()
                .find(|it| it.method == **method && it.path() == whole);
            let route = route.unwrap();
            let Some(kind) = route.changes else {
                assert!(lines.is_empty(), "{method} {path}: {lines:?}");
                continue;
            };
            assert!(!lines.is_empty(), "{method} {path}: {answer}");
            for line in &lines {
                let outcome = if status < 300 { "done" } else { "failed" };
                // A list of mirrors has an outcome for each: the source does not answer.
                let of_several = path.contains("mirrors:create");
                assert!(
                    line["outcome"] == outcome || of_several,
                    "{path}: {line} {answer}"
                );
                assert_eq!(line["action"], route.name, "{path}: {line}");
                assert_eq!(line["who"], "User:ANONYMOUS", "{path}: {line}");
                let is_dry_run = path.contains("validate_only=true");
                assert_eq!(
                    line["dry_run"].as_bool().unwrap_or_default(),
                    is_dry_run,
                    "{line}"
                );
                let of_nothing = path.contains("mirrors:") && !of_several;
                assert!(
                    of_nothing || line["resource_type"] == kind,
                    "{path}: {line}"
                );
            }
        }
        rig.running.shutdown().await;
    });
}

#[test]
fn nobody_makes_a_change_look_like_a_dry_run() {
    runtime().block_on(async {
        let rig = staged().await;
        let mut seen = audited(&rig, &mut 0).await.len();
        let topic = Some(json!({"topic_name": "new"}));
        for (method, path, body, is_dry_run) in [
            ("POST", "/topics?validate_only=true", topic, false),
            ("DELETE", "/topics/new?validate_only=true", None, false),
            ("DELETE", "/links/west?validate_only=tru%65", None, true),
        ] {
            let (status, answer) = rig.call(method, path, body).await;
            assert!(status < 300, "{path}: {answer}");
            let lines = audited(&rig, &mut seen).await;
            let dry_runs = lines.iter().filter(|line| line["dry_run"] == true).count();
            assert_eq!((lines.len(), dry_runs > 0), (1, is_dry_run), "{lines:?}");
        }
        rig.running.shutdown().await;
    });
}

#[test]
fn every_user_of_a_request_is_in_the_audit_log() {
    runtime().block_on(async {
        let rig = staged().await;
        let mut seen = audited(&rig, &mut 0).await.len();
        let keys = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";
        let set = |user: &str, salt: &str| {
            json!({
                "user_name": user, "mechanism": "SCRAM-SHA-256", "iterations": 4096,
                "salt": salt, "stored_key": keys, "server_key": keys,
            })
        };
        for (salt, outcome) in [("c2FsdA==", "done"), ("?", "failed")] {
            let body = json!({"data": [set("admin", salt), set("bob", salt)]});
            rig.call("POST", "/users", Some(body)).await;
            let lines = audited(&rig, &mut seen).await;
            let said: Vec<_> = lines
                .iter()
                .map(|line| (&line["resource"], &line["outcome"]))
                .collect();
            let outcome = json!(outcome);
            let expected = [(&json!("admin"), &outcome), (&json!("bob"), &outcome)];
            assert_eq!(said, expected);
        }
        rig.running.shutdown().await;
    });
}

#[test]
fn a_topic_is_shown_without_its_configs_to_those_who_may_not_see_them() {
    runtime().block_on(async {
        let rig = staged().await;
        let configs = json!([{"name": "retention.ms", "value": "7"}]);
        let body = json!({"topic_name": "new", "configs": configs});
        assert_eq!(rig.call("POST", "/topics", Some(body)).await.0, 201);
        let (_, shown) = rig.call("GET", "/topics/new", None).await;
        assert_eq!(shown["config_overrides"], configs, "{shown}");
        rig.running.broker.access.refuse(DescribeConfigs, NEW);
        let (status, shown) = rig.call("GET", "/topics/new", None).await;
        assert_eq!((status, &shown["topic_name"]), (200, &json!("new")));
        assert_eq!(shown.get("config_overrides"), None, "{shown}");
        rig.running.broker.access.refuse_nothing();
        rig.running.shutdown().await;
    });
}

/// A broker with a topic `t` and a link `west` whose source does not answer.
async fn staged() -> Rig {
    let rig = Rig::start().await;
    let (status, answer) = rig
        .call("POST", "/topics", Some(json!({"topic_name": "t"})))
        .await;
    assert_eq!(status, 201, "{answer}");
    let body = json!({"configs": [{"name": "bootstrap.servers", "value": "127.0.0.1:1"}]});
    let path = "/links?link_name=west&validate_link=false";
    let (status, answer) = rig.call("POST", path, Some(body)).await;
    assert_eq!(status, 204, "{answer}");
    rig
}

#[test]
fn a_mirror_that_the_caller_may_not_create_is_refused_and_the_others_are_not() {
    runtime().block_on(async {
        let rig = staged().await;
        let access = &rig.running.broker.access;
        access.refuse(Create, C);
        access.refuse(Create, NEW);
        let body = json!({"source_topic_names": ["new", "other"]});
        let (status, answer) = rig
            .call("POST", "/links/west/mirrors:create", Some(body))
            .await;
        assert_eq!(status, 200, "{answer}");
        let codes: Vec<_> = answer["data"]
            .as_array()
            .unwrap()
            .iter()
            .map(|it| it["error_code"].as_i64().unwrap())
            .collect();
        assert_eq!(codes, [40301, 50003], "{answer}");
        access.refuse_nothing();
        rig.running.shutdown().await;
    });
}

#[test]
fn lists_contain_what_the_caller_may_see() {
    runtime().block_on(async {
        let rig = staged().await;
        let access = &rig.running.broker.access;
        let (_, topics) = rig.call("GET", "/topics", None).await;
        assert_eq!(topics["data"].as_array().unwrap().len(), 1, "{topics}");
        access.refuse(Describe, T);
        let (status, topics) = rig.call("GET", "/topics", None).await;
        assert_eq!((status, topics["data"].as_array().unwrap().len()), (200, 0));
        access.refuse_nothing();
        rig.running.shutdown().await;
    });
}
