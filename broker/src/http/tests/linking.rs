//! The parts of REST v3 that linking.md lists and the first story does not cover: checks without
//! change, selections, filters, lags, and promotions that are cancelled.

use super::*;

/// A source with topics `a`, `b` and `other`, and a broker that mirrors them over the link `west`.
pub(super) async fn mirroring() -> (Rig, Rig) {
    let (source, rig) = (Rig::start().await, Rig::start().await);
    let body = json!({"configs": [{"name": "bootstrap.servers", "value": source.bootstrap()}]});
    let (status, answer) = rig.call("POST", "/links?link_name=west", Some(body)).await;
    assert_eq!(status, 204, "{answer}");
    for topic in ["a", "b", "other"] {
        source.topic_with_records(topic, 10).await;
        let body = json!({"source_topic_name": topic});
        let (status, answer) = rig.call("POST", "/links/west/mirrors", Some(body)).await;
        assert_eq!(status, 204, "{answer}");
        rig.wait_for_end(topic, 30).await;
    }
    (source, rig)
}

fn names(answer: &Value) -> Vec<&str> {
    let data = answer["data"].as_array().map(Vec::as_slice);
    let names = data.unwrap_or_default().iter();
    names
        .filter_map(|mirror| mirror["mirror_topic_name"].as_str())
        .collect()
}

pub(super) async fn stop(source: Rig, rig: Rig) {
    source.running.shutdown().await;
    rig.running.shutdown().await;
}

#[test]
fn lags_are_shown_of_partitions_topics_and_links() {
    runtime().block_on(async {
        let (source, rig) = mirroring().await;
        let (_, mirror) = rig.call("GET", "/links/west/mirrors/a", None).await;
        let lag = &mirror["mirror_lags"][0];
        for name in [
            "lag",
            "lag_at_least",
            "lag_bytes_estimate",
            "lag_bytes_estimate_at_least",
        ] {
            assert_eq!(lag[name], 0, "{name}: {mirror}");
        }
        assert!(lag["unknown_since_ms"].is_null(), "{lag}");
        assert_eq!(mirror["lag_summary"]["partitions"], 1);
        let (_, link) = rig.call("GET", "/links/west", None).await;
        assert_eq!(link["lag_summary"]["partitions"], 3, "{link}");
        let (_, answer) = rig
            .call(
                "POST",
                "/links/west/mirrors:pause",
                Some(json!({"all": true})),
            )
            .await;
        assert_eq!(names(&answer), ["a", "b", "other"]);
        let begun = Instant::now();
        let summary = loop {
            let (_, links) = rig.call("GET", "/links", None).await;
            let summary = links["data"][0]["lag_summary"].clone();
            if summary["unknown_partitions"] == 3 {
                break summary;
            }
            assert!(begun.elapsed() < LIMIT, "{links}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        };
        assert!(summary["lag_max"].is_null(), "paused: nobody knows");
        assert_eq!(summary["lag_max_at_least"], 0, "{summary}");
        assert!(summary["unknown_since_ms"].is_i64(), "{summary}");
        stop(source, rig).await;
    });
}

#[test]
fn mirrors_are_filtered_by_status_and_selected_by_pattern() {
    runtime().block_on(async {
        let (source, rig) = mirroring().await;
        let body = || Some(json!({"mirror_topic_name_pattern": "a|b"}));
        let path = "/links/west/mirrors:pause";
        let (status, answer) = rig
            .call("POST", &format!("{path}?validate_only=true"), body())
            .await;
        assert_eq!((status, names(&answer)), (200, vec!["a", "b"]));
        let paused = "/links/-/mirrors?mirror_status=PAUSED";
        assert!(names(&rig.call("GET", paused, None).await.1).is_empty());
        rig.call("POST", path, body()).await;
        let (_, answer) = rig.call("GET", paused, None).await;
        assert_eq!(names(&answer), ["a", "b"]);
        let (status, _) = rig
            .call("GET", "/links/west/mirrors?mirror_status=NONSENSE", None)
            .await;
        assert_eq!(status, 400);
        for wrong in [
            json!({"mirror_topic_name_pattern": "("}),
            json!({"mirror_topic_name_pattern": "nothing.*"}),
            json!({}),
        ] {
            let (status, answer) = rig.call("POST", path, Some(wrong)).await;
            assert_eq!(status, 400, "{answer}");
        }
        stop(source, rig).await;
    });
}

#[test]
fn what_is_only_validated_changes_nothing_and_links_are_deleted_by_force() {
    runtime().block_on(async {
        let (source, rig) = mirroring().await;
        let body = json!({"configs": [{"name": "bootstrap.servers", "value": "127.0.0.1:1"}]});
        let path = "/links?link_name=east&validate_only=true";
        let (status, _) = rig.call("POST", path, Some(body.clone())).await;
        assert_eq!(status, 503, "nobody listens there");
        let path = format!("{path}&validate_link=false");
        assert_eq!(rig.call("POST", &path, Some(body.clone())).await.0, 204);
        assert_eq!(rig.call("GET", "/links/east", None).await.0, 404);
        let path = "/links?link_name=east&validate_link=false";
        assert_eq!(rig.call("POST", path, Some(body)).await.0, 204);
        assert_eq!(rig.call("DELETE", "/links/east", None).await.0, 200);

        let change = json!({"data": [{"name": "client.id", "value": "x"}]});
        let path = "/links/west/configs:alter?validate_only=true";
        assert_eq!(rig.call("PUT", path, Some(change)).await.0, 204);
        let (_, config) = rig.call("GET", "/links/west/configs/client.id", None).await;
        assert_eq!(config["value"], "");

        let value = async |name: &str| {
            let path = format!("/links/west/configs/{name}");
            rig.call("GET", &path, None).await.1["value"].clone()
        };
        let path = "/links/west/configs/client.id?validate_only=true";
        let body = json!({"value": "y"});
        assert_eq!(rig.call("PUT", path, Some(body)).await.0, 204);
        assert_eq!(value("client.id").await, "", "only validated");
        let servers = value("bootstrap.servers").await;
        let nowhere = json!({"value": "127.0.0.1:1"});
        let several = json!({"data": [{"name": "bootstrap.servers", "value": "127.0.0.1:1"}]});
        for (path, body) in [
            ("configs/bootstrap.servers", nowhere),
            ("configs:alter", several.clone()),
            ("configs:alter?validate_only=true", several.clone()),
        ] {
            let path = format!("/links/west/{path}");
            let (status, answer) = rig.call("PUT", &path, Some(body)).await;
            assert_eq!(status, 503, "nobody listens there: {answer}");
        }
        assert_eq!(value("bootstrap.servers").await, servers);
        let path = "/links/west/configs:alter?validate_only=true&validate_link=false";
        assert_eq!(rig.call("PUT", path, Some(several)).await.0, 204);

        let all = || Some(json!({"all": true}));
        for action in ["promote", "failover"] {
            let path = format!("/links/west/mirrors:{action}?validate_only=true");
            let (status, answer) = rig.call("POST", &path, all()).await;
            assert_eq!((status, names(&answer).len()), (200, 3));
            assert_eq!(answer["data"][0]["report"]["dry_run"], true, "{answer}");
        }
        let (_, answer) = rig
            .call("GET", "/links/west/mirrors?mirror_status=ACTIVE", None)
            .await;
        assert_eq!(names(&answer).len(), 3);

        assert_eq!(rig.call("DELETE", "/links/west", None).await.0, 400);
        let path = "/links/west?validate_only=true";
        assert_eq!(rig.call("DELETE", path, None).await.0, 400);
        let path = "/links/west?validate_only=true&force=true";
        assert_eq!(rig.call("DELETE", path, None).await.0, 200);
        let path = "/links/west?force=true";
        assert_eq!(rig.call("DELETE", path, None).await.0, 200);
        assert!(!rig.running.broker.topic("a").unwrap().is_mirror());
        stop(source, rig).await;
    });
}

#[test]
fn only_a_promotion_under_way_can_be_cancelled() {
    runtime().block_on(async {
        let (source, rig) = mirroring().await;
        let path = "/links/west/mirrors:cancel-promote";
        let one = json!({"mirror_topic_names": ["a"]});
        let (status, answer) = rig.call("POST", path, Some(one)).await;
        assert_eq!(status, 200);
        assert_eq!(answer["data"][0]["error_code"], 40002, "{answer}");
        let (_, answer) = rig.call("POST", path, Some(json!({"all": true}))).await;
        assert!(names(&answer).is_empty(), "{answer}");
        let (_, mirror) = rig.call("GET", "/links/west/mirrors/a", None).await;
        assert_eq!(mirror["mirror_status"], "ACTIVE");
        stop(source, rig).await;
    });
}
