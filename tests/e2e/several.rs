//! Several links from several sources into one broker: each keeps its names, and nobody takes another's.

use harness::{Carrick, Kafka, Peer, Result, wait_until};
use serde_json::{Value, json};

use crate::world::LIMIT;

const ENABLE: &str = "auto.create.mirror.topics.enable=true";
const FILTERS: &str = concat!(
    r#"auto.create.mirror.topics.filters={"topicFilters":["#,
    r#"{"name":"*","patternType":"LITERAL","filterType":"INCLUDE"},"#,
    r#"{"name":"private","patternType":"PREFIXED","filterType":"EXCLUDE"}]}"#
);

/// A source that holds this many records of "orders", and some of "private".
fn source(count: i64) -> Result<(Kafka, Peer)> {
    let kafka = Kafka::start()?;
    let mut writer = Peer::java(&kafka.bootstrap())?;
    for topic in ["orders", "private"] {
        writer.call("create_topic", json!({"topic": topic}))?;
        writer.call("produce", json!({"topic": topic, "count": count}))?;
    }
    Ok((kafka, writer))
}

fn task(carrick: &Carrick, link: &str) -> Result<Value> {
    let description = carrick.cli(&["link", "describe", link])?;
    let tasks = description["link"]["tasks"]
        .as_array()
        .cloned()
        .unwrap_or_default();
    let mut tasks = tasks.into_iter();
    let found = tasks.find(|task| task["task_name"] == "AutoCreateMirror");
    Ok(found.unwrap_or_default())
}

#[test]
fn two_sources_mirror_themselves_into_one_broker_and_a_third_link_is_refused() -> Result<()> {
    let (west, _west_writer) = source(100)?;
    let (east, mut east_writer) = source(300)?;
    let carrick = Carrick::start()?;
    carrick.link("west", &west.bootstrap(), &[ENABLE, FILTERS])?;
    let prefix = "cluster.link.prefix=east.";
    carrick.link("east", &east.bootstrap(), &[ENABLE, FILTERS, prefix])?;
    carrick.wait_caught_up("orders", &[100], LIMIT)?;
    carrick.wait_caught_up("east.orders", &[300], LIMIT)?;
    east_writer.call("produce", json!({"topic": "late", "count": 7}))?;
    carrick.wait_caught_up("east.late", &[7], LIMIT)?;
    for (kafka, topic, end) in [(&west, "orders", 100), (&east, "east.orders", 300)] {
        let source = kafka.partition_dir(1, "orders", 0);
        let here = carrick.partition_dir(topic, 0);
        println!(
            "{topic}: {:?}",
            harness::segments::compare(&source, &here, 0, end)?
        );
    }

    // The same names once more: by hand, and by itself.
    carrick.link("again", &east.bootstrap(), &[ENABLE, FILTERS])?;
    let refused = carrick.cli_output(&["mirror", "create", "orders", "--link", "again"])?;
    let words = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert_eq!(refused.status.code(), Some(1), "{words}");
    for told in ["TOPIC_EXISTS_ERROR", "link 'west'", "cluster.link.prefix"] {
        assert!(words.contains(told), "{words}");
    }
    wait_until("the collision to be told", LIMIT, || {
        let task = task(&carrick, "again")?;
        let is_told = task["errors"][0]["error_code"] == "TOPIC_EXISTS_ERROR";
        Ok(if is_told {
            Ok(())
        } else {
            Err(task.to_string())
        })
    })?;
    carrick.wait_caught_up("late", &[7], LIMIT)?;
    let mirrors = carrick.cli(&["mirror", "list"])?;
    let mut names: Vec<&str> = mirrors
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|mirror| mirror["mirror_topic_name"].as_str())
        .collect();
    names.sort_unstable();
    assert_eq!(names, ["east.late", "east.orders", "late", "orders"]);
    Ok(())
}
