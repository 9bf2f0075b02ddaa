//! Every release of Kafka that may be a source, and what a link asks of it.

use std::collections::BTreeSet;
use std::time::Instant;

use harness::kafka::{Setup, run_tool};
use harness::{Kafka, Release, Result, wait_until};
use serde_json::json;

use crate::world::{EVERY_GROUP, LIMIT, LINK, World};

/// Plain records, a committed and an aborted transaction in one partition; codecs in others.
fn write(world: &mut World) -> Result<()> {
    world.topic("orders", 3, json!({"cleanup.policy": "compact"}))?;
    for (partition, codec) in ["none", "lz4", "zstd"].into_iter().enumerate() {
        let fields = json!({"topic": "orders", "partition": partition, "count": 500, "keys": 50, "compression": codec});
        world.source.call("produce", fields)?;
    }
    for outcome in ["commit", "abort"] {
        let fields = json!({"topic": "orders", "partition": 0, "transactional_id": "writer", "count": 50, "keys": 5,
            "outcome": outcome});
        world.source.call("transaction", fields)?;
    }
    Ok(())
}

/// Mirrored byte for byte, promoted, written to.
fn mirrored_and_promoted(release: Release) -> Result<World> {
    let began = Instant::now();
    let kafka = Kafka::start_as(Setup {
        release,
        properties: &["quota.window.num=2"],
        ..Setup::default()
    })?;
    let mut world = World::start_with(kafka)?;
    write(&mut world)?;
    world.mirror(&["orders"])?;
    world.wait_caught_up("orders", 3)?;
    if release == Release::V2_8 {
        // `faults` covers the others.
        world.kafka.stop(1)?;
        world.kafka.restart(1)?;
    }
    world.source.call(
        "produce",
        json!({"topic": "orders", "partition": 1, "count": 100, "keys": 9}),
    )?;
    world.wait_caught_up("orders", 3)?;
    assert!(world.assert_identical("orders", 3)? > 0);
    let verified = world.carrick.cli(&["mirror", "verify", "orders"])?;
    assert_eq!(verified["identical"], json!(true), "{verified}");
    let configs = world
        .destination
        .call("describe_configs", json!({"topic": "orders"}))?;
    assert_eq!(configs["configs"]["cleanup.policy"], json!("compact"));

    let readers = json!({"topic": "orders", "partition": 1, "group": "readers", "offset": 42, "metadata": "text"});
    world.source.call("commit", readers.clone())?;
    world.alter_link(&["consumer.offset.sync.enable=true", EVERY_GROUP])?;

    let outcome = world
        .carrick
        .cli(&["mirror", "promote", "orders", "--link", LINK])?;
    let partition = &outcome[0]["report"]["partitions"][0];
    let (exact, missing) = (&partition["exact"], &partition["missing_records"]);
    assert_eq!((exact, missing), (&json!(true), &json!(0)), "{outcome}");
    let committed = world.destination.call("committed", readers)?;
    assert_eq!(committed["offset"], json!(42), "the group has moved, too");
    assert_eq!(committed["metadata"], json!("text"));
    for isolation in ["read_uncommitted", "read_committed"] {
        let fields = json!({"topic": "orders", "isolation": isolation});
        let source = world.source.call("consume", fields.clone())?;
        let mirror = world.destination.call("consume", fields)?;
        assert_eq!(source, mirror, "{isolation}");
    }
    let (_, end) = world.source_range("orders", 1)?;
    let fields = json!({"topic": "orders", "partition": 1, "count": 10, "keys": 3});
    let acked = world.destination.call("produce", fields)?;
    assert_eq!(
        acked["first_offset"],
        json!(end),
        "it goes on where the source was"
    );
    println!("{release:?}: {:?}", began.elapsed());
    Ok(world)
}

#[test]
fn kafka_2_8_is_mirrored_and_promoted() -> Result<()> {
    mirrored_and_promoted(Release::V2_8).map(drop)
}

#[test]
fn kafka_3_9_is_mirrored_and_promoted() -> Result<()> {
    mirrored_and_promoted(Release::V3_9).map(drop)
}

#[test]
fn kafka_4_3_is_mirrored_and_promoted_and_its_link_keeps_to_its_bytes_per_second() -> Result<()> {
    let mut world = mirrored_and_promoted(Release::Newest)?;
    let rate = "cluster.link.throttle.bytes.per.second";
    const RATE: usize = 2_000_000;
    for topic in ["limited", "freed", "capped"] {
        world.topic(topic, 2, json!({}))?;
        for partition in 0..2 {
            // Half of it can't be compressed, and nobody tries.
            let fields = json!({"topic": topic, "partition": partition, "count": 4_000, "min_bytes": 1000, "max_bytes": 1000});
            world.source.call("produce", fields)?;
        }
    }
    world
        .carrick
        .set_link_config(LINK, rate, &RATE.to_string())?;
    let began = Instant::now();
    world.carrick.mirror(LINK, &["limited"])?;
    world.wait_caught_up("limited", 2)?;
    let took = began.elapsed().as_secs_f64();
    let bytes = bytes(&world, "limited")?;
    println!(
        "{bytes} bytes in {took:.2} s at {RATE} bytes/s: {:.0} bytes/s",
        bytes as f64 / took
    );
    // A second's worth may come at once, and another had been asked for. Slower is what a busy machine may be.
    assert!(
        took >= bytes as f64 / RATE as f64 - 2.0,
        "{bytes} bytes in {took} s"
    );

    // Minutes' worth, of which the limit is taken away. What is still owed at the old rate would take a minute
    // or more at the new one: without a limit in between, nothing is owed.
    world.carrick.set_link_config(LINK, rate, "-1")?;
    world.carrick.set_link_config(LINK, rate, "10000")?;
    world.carrick.mirror(LINK, &["freed"])?;
    wait_until("something comes", LIMIT, || {
        let so_far = self::bytes(&world, "freed")?;
        Ok(if so_far > 0 {
            Ok(())
        } else {
            Err("nothing yet".into())
        })
    })?;
    assert!(
        self::bytes(&world, "freed")? < bytes / 2,
        "most is still to come"
    );
    world.carrick.set_link_config(LINK, rate, "-1")?;
    let began = Instant::now();
    world.wait_caught_up("freed", 2)?;
    println!("the rest without a limit in {:?}", began.elapsed());
    batches_beyond_every_limit_come_whole(&mut world)?;
    a_source_that_caps_the_link_is_not_lost(&mut world, bytes)
}

/// Batches of a megabyte, with limits of a kilobyte set while the link runs.
fn batches_beyond_every_limit_come_whole(world: &mut World) -> Result<()> {
    for limit in [
        "replica.fetch.max.bytes",
        "replica.fetch.response.max.bytes",
    ] {
        world.carrick.set_link_config(LINK, limit, "1000")?;
    }
    for topic in ["limited", "freed"] {
        let fields = json!({"topic": topic, "partition": 1, "count": 3, "min_bytes": 1_000_000, "max_bytes": 1_000_000});
        world.source.call("produce", fields)?;
        world.wait_caught_up(topic, 2)?;
        assert!(world.assert_identical(topic, 2)? > 0);
    }
    Ok(())
}

/// A quota at the source: its answers ask for patience, and bring nothing until it is over.
fn a_source_that_caps_the_link_is_not_lost(world: &mut World, bytes: usize) -> Result<()> {
    let bootstrap = world.kafka.bootstrap();
    #[rustfmt::skip]
    run_tool("kafka.admin.ConfigCommand", &[
        "--bootstrap-server", &bootstrap, "--alter", "--entity-type", "clients", "--entity-name", "carrick-link-dr",
        "--add-config", "consumer_byte_rate=2000000",
    ])?;
    for limit in [
        "replica.fetch.max.bytes",
        "replica.fetch.response.max.bytes",
    ] {
        world.carrick.set_link_config(LINK, limit, "1000000")?;
    }
    let began = Instant::now();
    world.carrick.mirror(LINK, &["capped"])?;
    let mut seen = BTreeSet::new();
    wait_until("all has come", LIMIT, || {
        let mirror = world.carrick.describe_mirror("capped")?;
        seen.insert(mirror["mirror_status"].to_string());
        let so_far = self::bytes(world, "capped")?;
        Ok(if so_far >= bytes {
            Ok(())
        } else {
            Err(mirror.to_string())
        })
    })?;
    let took = began.elapsed().as_secs_f64();
    println!("{bytes} bytes in {took:.2} s from a source that gives 2000000 bytes/s; {seen:?}");
    // Two seconds' worth may come before the quota is felt.
    assert!(took >= bytes as f64 / 2e6 - 3.0, "{took}");
    // A machine that is busy enough may find the source unavailable for a moment, with or without a quota.
    assert!(!seen.contains("\"FAILED\""), "{seen:?}");
    Ok(())
}

/// Bytes of a mirror since the broker's start.
fn bytes(world: &World, topic: &str) -> Result<usize> {
    let mirror = world.carrick.describe_mirror(topic)?;
    let lags = mirror["mirror_lags"]
        .as_array()
        .cloned()
        .unwrap_or_default();
    let sum: u64 = lags
        .iter()
        .filter_map(|lag| lag["mirrored_bytes"].as_u64())
        .sum();
    Ok(usize::try_from(sum)?)
}
