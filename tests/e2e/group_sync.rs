//! Consumer groups move with their topics: each record once after a promotion, and after a failover again what the
//! report said, no more and no less.

use std::collections::BTreeSet;
use std::time::Instant;

use anyhow::Context;
use harness::{Result, wait_until};
use serde_json::{Value, json};

use crate::world::{EVERY_GROUP, LIMIT, LINK, World};

const PARTITIONS: i32 = 3;

impl World {
    /// A mirror of a topic with `records` in each partition; its groups are synced that often.
    fn syncing(topic: &str, records: i64, every_ms: u64) -> Result<Self> {
        let mut world = Self::start()?;
        world.topic(topic, PARTITIONS, json!({}))?;
        world.produce(topic, records)?;
        let configs = [
            "consumer.offset.sync.enable=true".to_owned(),
            format!("consumer.offset.sync.ms={every_ms}"),
            EVERY_GROUP.to_owned(),
        ];
        let configs: Vec<&str> = configs.iter().map(String::as_str).collect();
        world
            .carrick
            .link(LINK, &world.kafka.bootstrap(), &configs)?;
        world.carrick.mirror(LINK, &[topic])?;
        world.wait_caught_up(topic, PARTITIONS)?;
        Ok(world)
    }

    /// Number of records in each partition.
    fn produce(&mut self, topic: &str, count: i64) -> Result<()> {
        for partition in 0..PARTITIONS {
            let fields = json!({"topic": topic, "partition": partition, "count": count});
            self.source.call("produce", fields)?;
        }
        Ok(())
    }

    fn group(&self, group: &str) -> Result<Value> {
        self.carrick.cli(&["link", "groups", LINK, group])
    }

    /// Waits until the report of the group is such that `holds`.
    fn wait_group(&self, group: &str, what: &str, holds: impl Fn(&Value) -> bool) -> Result<Value> {
        wait_until(&format!("{group} to be {what}"), LIMIT, || {
            let output = self.carrick.cli_output(&["link", "groups", LINK, group])?;
            let said = String::from_utf8_lossy(&output.stdout).into_owned();
            let report = serde_json::from_str::<Value>(&said).unwrap_or_default();
            Ok(if holds(&report) {
                Ok(report)
            } else {
                Err(said)
            })
        })
    }
}

/// Reads as a member of a group; the records, as `partition:offset`.
fn read(peer: &mut harness::Peer, fields: Value) -> Result<Vec<String>> {
    let answer = peer.call("group_read", fields)?;
    let read = answer["read"].as_array().context("what was read")?;
    Ok(read
        .iter()
        .filter_map(|record| record.as_str().map(str::to_owned))
        .collect())
}

/// All records of the topic.
fn all(records: i64) -> BTreeSet<String> {
    let of = |partition| (0..records).map(move |offset| format!("{partition}:{offset}"));
    (0..PARTITIONS).flat_map(of).collect()
}

#[test]
fn groups_that_move_after_a_promotion_read_every_record_once() -> Result<()> {
    // The only sync in this story, once there is something to be synced, is the last one before the cut.
    let mut world = World::syncing("orders", 200, 3_600_000)?;
    let protocols = [("billing", "classic", 350), ("audit", "consumer", 120)];
    let mut first = Vec::new();
    for (group, protocol, count) in protocols {
        let fields =
            json!({"topic": "orders", "group": group, "protocol": protocol, "count": count});
        first.push(read(&mut world.source, fields)?);
    }
    let own = json!({"name": "m", "topic": "orders", "group": "in-use"});
    world.source.call(
        "commit",
        json!({"topic": "orders", "group": "in-use", "offset": 77}),
    )?;
    world.destination.call("member_start", own)?;
    wait_until("a member here to have read all", LIMIT, || {
        let state = world
            .destination
            .call("member_state", json!({"name": "m"}))?;
        Ok(if state["consumed"] == json!(600) {
            Ok(())
        } else {
            Err(state.to_string())
        })
    })?;

    world
        .carrick
        .cli(&["mirror", "promote", "orders", "--link", LINK])?;

    for ((group, protocol, count), first) in protocols.into_iter().zip(first) {
        assert_eq!(first.len(), count, "{group}");
        let report = world.group(group)?;
        println!("{report}");
        assert_eq!(report["sync_state"], json!("SYNCED"));
        assert_eq!(report["will_read_again"], json!(0));
        let fields = json!({"topic": "orders", "group": group, "protocol": protocol});
        let second = read(&mut world.destination, fields)?;
        println!(
            "{group} ({protocol}): {} at the source, {} here",
            first.len(),
            second.len()
        );
        let both: BTreeSet<String> = first.iter().chain(&second).cloned().collect();
        assert_eq!(both, all(200), "{group}: nothing is left out");
        assert_eq!(
            both.len(),
            first.len() + second.len(),
            "{group}: nothing is read twice"
        );
    }
    let skipped = world.group("in-use")?;
    assert_eq!(skipped["sync_state"], json!("SKIPPED"), "{skipped}");
    assert_eq!(skipped["error_code"], json!("CONSUMER_GROUP_IN_USE_ERROR"));
    let offsets = world
        .destination
        .call("group_offsets", json!({"group": "in-use"}))?;
    assert_eq!(
        offsets["offsets"]["orders-0"],
        json!(200),
        "its own: {offsets}"
    );
    world
        .destination
        .call("member_stop", json!({"name": "m"}))?;
    Ok(())
}

#[test]
fn after_a_failover_a_group_reads_again_exactly_what_the_report_said() -> Result<()> {
    let mut world = World::syncing("orders", 100, 1_000)?;
    let group = json!({"topic": "orders", "group": "billing"});
    assert_eq!(read(&mut world.source, group.clone())?.len(), 300);
    world.wait_group("billing", "at 100", |report| {
        report["partitions"].as_array().is_some_and(|all| {
            all.len() == 3 && all.iter().all(|part| part["synced_offset"] == json!(100))
        })
    })?;

    // The source waits for a gigabyte before it answers a fetch: the mirror falls behind while the
    // group continues.
    world.alter_link(&[
        "replica.fetch.min.bytes=1000000000",
        "replica.fetch.wait.max.ms=600000",
    ])?;
    world.produce("orders", 40)?;
    assert_eq!(read(&mut world.source, group.clone())?.len(), 120);
    let clamped = world.wait_group("billing", "clamped", |report| {
        report["clamped_partitions"] == json!(3)
            && report["partitions"]
                .as_array()
                .is_some_and(|all| all.iter().all(|part| part["source_offset"] == json!(140)))
    })?;
    println!("with a mirror that lags: {clamped}");
    assert_eq!(
        clamped["will_read_again"],
        json!(0),
        "those records are not here yet"
    );

    // Then it catches up, and the source is lost before the next sync.
    world.alter_link(&[
        "replica.fetch.min.bytes=1",
        "replica.fetch.wait.max.ms=500",
        "consumer.offset.sync.enable=false",
    ])?;
    world.wait_caught_up("orders", PARTITIONS)?;
    world.kafka.kill_all();
    world
        .carrick
        .cli(&["mirror", "failover", "orders", "--link", LINK])?;

    let report = world.group("billing")?;
    println!(
        "{}",
        world
            .carrick
            .cli_text(&["link", "groups", LINK, "billing"])?
    );
    let said = report["will_read_again"].as_u64().context("a number")?;
    assert!(said > 0, "{report}");
    assert_eq!(
        report["reads_again_at_most"],
        json!(said),
        "it had read all: {report}"
    );
    let again = read(&mut world.destination, group)?;
    println!("said: {said}, read again: {}", again.len());
    assert_eq!(again.len() as u64, said);
    let expected: BTreeSet<String> = report["partitions"]
        .as_array()
        .context("partitions")?
        .iter()
        .flat_map(|part| {
            let from = part["synced_offset"].as_i64().unwrap_or(-1);
            let partition = part["partition"].clone();
            (from..140).map(move |offset| format!("{partition}:{offset}"))
        })
        .collect();
    assert_eq!(again.into_iter().collect::<BTreeSet<_>>(), expected);
    Ok(())
}

#[test]
fn the_offsets_of_five_hundred_groups_are_synced_within_the_interval() -> Result<()> {
    const INTERVAL_MS: u64 = 30_000;
    let groups: usize = match std::env::var("CARRICK_SYNC_GROUPS") {
        Ok(number) => number.parse()?,
        Err(_) => 500,
    };
    let mut world = World::syncing("orders", 50, INTERVAL_MS)?;
    world.alter_link(&["consumer.offset.sync.enable=false"])?;
    let fields = json!({"topic": "orders", "group": "group-", "groups": groups, "offset": 33, "metadata": "text"});
    world.source.call("commit_groups", fields)?;
    world.alter_link(&["consumer.offset.sync.enable=true"])?;
    let began = Instant::now();
    wait_until("all groups to be synced", LIMIT, || {
        let answer = world.carrick.cli(&["link", "describe", LINK])?;
        let counts = &answer["link"]["group_counts"];
        let is_done = counts["synced"] == json!(groups);
        Ok(if is_done {
            Ok(())
        } else {
            Err(counts.to_string())
        })
    })?;
    println!(
        "{groups} groups synced in {} ms, every {INTERVAL_MS} ms",
        began.elapsed().as_millis()
    );
    let all = world.carrick.cli(&["link", "groups", LINK])?;
    let all = all.as_array().context("a list")?;
    assert_eq!(all.len(), groups);
    for group in all {
        assert_eq!(
            group["partitions"][0]["synced_offset"],
            json!(33),
            "{group}"
        );
        assert_eq!(group["partitions"][0]["clamped_by"], json!(0), "{group}");
    }
    for number in [0, groups / 2, groups - 1] {
        let fields = json!({"topic": "orders", "group": format!("group-{number}")});
        let committed = world.destination.call("committed", fields)?;
        assert_eq!(committed["offset"], json!(33));
        assert_eq!(committed["metadata"], json!("text"));
    }
    Ok(())
}
