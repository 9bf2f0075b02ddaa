//! The configs of a mirror, as Kafka's own tool and those who compare topics with a declaration see them.

use std::collections::BTreeSet;
use std::time::Instant;

use anyhow::ensure;
use harness::{Kafka, Result, Tools};
use serde_json::{Value, json};

use crate::world::{LIMIT, LINK, World};

const TOPICS: &[&str] = &["plain", "compacted", "explicit"];

/// The configs that `kafka-configs --describe` shows as set on a topic: `name=value`.
fn own_configs(tools: &mut Tools, bootstrap: &str, topic: &str) -> Result<BTreeSet<String>> {
    let args = [
        "--bootstrap-server",
        bootstrap,
        "--describe",
        "--entity-type",
        "topics",
    ];
    let args = [&args[..], &["--entity-name", topic]].concat();
    let shown = tools.run_bare("kafka-configs", &args, "")?;
    let shown = shown.succeeded("kafka-configs")?;
    let lines = shown.lines().filter(|line| line.starts_with("  "));
    let configs = lines.filter_map(|line| line.split_whitespace().next());
    Ok(configs.map(str::to_owned).collect())
}

/// What is declared for all brokers of a cluster.
fn set_default(tools: &mut Tools, bootstrap: &str, config: &str) -> Result<()> {
    let args = [
        "--bootstrap-server",
        bootstrap,
        "--alter",
        "--add-config",
        config,
    ];
    let all = ["--entity-type", "brokers", "--entity-default"];
    let altered = tools.run_bare("kafka-configs", &[&args[..], &all].concat(), "")?;
    altered.succeeded("kafka-configs")?;
    Ok(())
}

/// Waits until a topic here has the source's configs, and these in addition.
fn wait_for_configs(world: &World, tools: &mut Tools, topic: &str, beside: &[&str]) -> Result<()> {
    let (kafka, carrick) = (world.kafka.bootstrap(), world.carrick.bootstrap());
    let begun = Instant::now();
    loop {
        let mut expected = own_configs(tools, &kafka, topic)?;
        expected.extend(beside.iter().map(|config| (*config).to_owned()));
        let found = own_configs(tools, &carrick, topic)?;
        if found == expected {
            println!("{topic}: {found:?}");
            return Ok(());
        }
        let waited = begun.elapsed();
        ensure!(
            waited < LIMIT,
            "{topic} has {found:?}, expected {expected:?}"
        );
    }
}

#[test]
fn a_mirror_has_no_config_that_its_source_topic_lacks_unless_the_defaults_differ() -> Result<()> {
    // Kafka's default, which is the one here.
    let kafka = Kafka::start_cluster(1, &["message.max.bytes=1048588"])?;
    let mut world = World::start_with(kafka)?;
    world.topic("plain", 1, json!({}))?;
    let compacted = json!({"cleanup.policy": "compact", "retention.ms": "1234567"});
    world.topic("compacted", 1, compacted)?;
    // As the default is, but declared.
    world.topic(
        "explicit",
        1,
        json!({"cleanup.policy": "delete", "max.message.bytes": "1048588"}),
    )?;
    // The source's broker knows a new topic a moment after it has answered.
    for topic in TOPICS {
        world
            .source
            .call("produce", json!({"topic": topic, "count": 1, "keys": 1}))?;
    }
    world.mirror(TOPICS)?;
    world.alter_link(&["topic.config.sync.ms=1000"])?;
    let mut tools = Tools::start(&world.carrick.bootstrap())?;
    for topic in TOPICS {
        wait_for_configs(&world, &mut tools, topic, &[])?;
        let mirror = world.carrick.describe_mirror(topic)?;
        let kept = mirror["kept_configs"].as_array().map_or(0, Vec::len);
        assert_eq!(kept, usize::from(*topic == "compacted"), "{mirror}");
    }

    // Now the source's brokers take more than this one would.
    set_default(
        &mut tools,
        &world.kafka.bootstrap(),
        "message.max.bytes=2000000",
    )?;
    let kept = "max.message.bytes=2000000";
    wait_for_configs(&world, &mut tools, "plain", &[kept])?;
    wait_for_configs(&world, &mut tools, "explicit", &[])?;
    let mirror = world.carrick.describe_mirror("plain")?;
    let expected =
        json!([{"name": "max.message.bytes", "value": "2000000", "default_value": "1048588"}]);
    assert_eq!(mirror["kept_configs"], expected);
    let note = note(&world)?;
    assert!(note.contains("plain: max.message.bytes=2000000"), "{note}");

    // With the same default here nothing has to be kept.
    set_default(
        &mut tools,
        &world.carrick.bootstrap(),
        "message.max.bytes=2000000",
    )?;
    wait_for_configs(&world, &mut tools, "plain", &[])?;
    wait_for_configs(&world, &mut tools, "explicit", &[])?;

    world
        .carrick
        .cli(&["mirror", "promote", "plain", "--link", LINK])?;
    world.carrick.cli(&[
        "mirror",
        "failover",
        "compacted",
        "explicit",
        "--link",
        LINK,
    ])?;
    for topic in TOPICS {
        wait_for_configs(&world, &mut tools, topic, &[])?;
    }
    let mirror = world.carrick.describe_mirror("explicit")?;
    let kept: Vec<&Value> = mirror["kept_configs"]
        .as_array()
        .into_iter()
        .flatten()
        .collect();
    assert_eq!(
        kept[0]["name"], "max.message.bytes",
        "told after the cut: {mirror}"
    );
    Ok(())
}

/// What the task that syncs topic configs has to say.
fn note(world: &World) -> Result<String> {
    let link = world.carrick.cli(&["link", "describe", LINK])?["link"].clone();
    let tasks = link["tasks"].as_array().cloned().unwrap_or_default();
    let task = tasks
        .into_iter()
        .find(|task| task["task_name"] == "TopicConfigsSync");
    Ok(task.map_or_else(String::new, |task| task["note"].to_string()))
}
