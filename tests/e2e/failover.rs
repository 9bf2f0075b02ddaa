//! The source is lost: the mirror is cut at once and says honestly what is missing.

use harness::process::free_ports;
use harness::proxy::Proxy;
use harness::{Carrick, Kafka, Peer, Result, wait_until};
use serde_json::json;

use crate::world::{LIMIT, LINK, World, range};

/// A committed transaction of 100, one left open with 70, 30 plain records after it; and a separate
/// topic.
fn write_and_mirror(world: &mut World) -> Result<()> {
    world.topic("orders", 1, json!({}))?;
    world.topic("quiet", 1, json!({}))?;
    let commit =
        json!({"topic": "orders", "transactional_id": "done", "count": 100, "outcome": "commit"});
    world.source.call("transaction", commit)?;
    let open =
        json!({"topic": "orders", "transactional_id": "cut", "count": 70, "outcome": "open"});
    world.source.call("transaction", open)?;
    world
        .source
        .call("produce", json!({"topic": "orders", "count": 30}))?;
    world
        .source
        .call("produce", json!({"topic": "quiet", "count": 10}))?;
    world.mirror(&["orders", "quiet"])?;
    world.wait_caught_up("orders", 1)?;
    world.wait_caught_up("quiet", 1)?;
    Ok(())
}

#[test]
fn failover_with_the_source_dead_passes_open_transactions_and_reports_what_is_missing() -> Result<()>
{
    let mut world = World::start()?;
    write_and_mirror(&mut world)?;
    // These the mirror must not get: it is paused while they are written, and the source is gone before it resumes.
    world
        .carrick
        .cli(&["mirror", "pause", "orders", "--link", LINK])?;
    world
        .source
        .call("produce", json!({"topic": "orders", "count": 25}))?;
    let (_, source_end) = world.source_range("orders", 0)?;
    let (_, mirror_end) = range(&mut world.destination, "orders", 0)?;
    assert_eq!(source_end - mirror_end, 25);
    world.kafka.kill_all();

    wait_until("the loss of the source is noticed", LIMIT, || {
        let state = world.carrick.describe_mirror("quiet")?["mirror_status"].clone();
        Ok(if state == json!("SOURCE_UNAVAILABLE") {
            Ok(())
        } else {
            Err(state.to_string())
        })
    })?;
    let dry = world
        .carrick
        .cli(&["mirror", "failover", "--all", "--link", LINK, "--dry-run"])?;
    assert_ne!(
        world.carrick.describe_mirror("orders")?["mirror_status"],
        json!("STOPPED"),
        "{dry}"
    );

    let report = world
        .carrick
        .cli(&["mirror", "failover", "--all", "--link", LINK])?;
    println!("{report:#}");
    let text = report.to_string();
    assert!(text.contains("orders") && text.contains("quiet"), "{text}");
    // The source was lost with records that nobody here has heard of: certainty would be a lie.
    for topic in 0..2 {
        let partition = &report[topic]["report"]["partitions"][0];
        assert_eq!(partition["exact"], json!(false), "{text}");
        assert!(partition["source_seen_at_ms"].is_i64(), "{text}");
    }

    let fields = json!({"topic": "orders", "isolation": "read_committed"});
    let committed = world.destination.call("consume", fields)?;
    assert_eq!(
        committed["count"],
        json!(130),
        "the open transaction is passed, its records hidden"
    );

    let acked = world
        .destination
        .call("produce", json!({"topic": "orders", "count": 40}))?;
    // One ABORT marker stands between the mirror's end and the first local record.
    assert_eq!(acked["first_offset"], json!(mirror_end + 1));
    world.carrick.kill();
    world.carrick.restart()?;
    let fields = json!({"topic": "orders", "isolation": "read_committed"});
    let after = world.destination.call("consume", fields)?;
    assert_eq!(
        after["count"],
        json!(170),
        "what was acked here survives kill -9"
    );
    assert_eq!(
        world.carrick.describe_mirror("orders")?["mirror_status"],
        json!("STOPPED")
    );
    Ok(())
}

#[test]
fn a_failover_in_the_middle_of_catching_up_counts_what_is_known_to_be_missing() -> Result<()> {
    let [relay_port] = free_ports()?;
    let advertised = format!("advertised.listeners=PLAINTEXT://127.0.0.1:{relay_port}");
    let mut kafka = Kafka::start_cluster(1, &[&advertised])?;
    let relay = Proxy::start(relay_port, &kafka.address(1))?;
    let carrick = Carrick::start()?;
    let mut source = Peer::java(&relay.address())?;
    source.call("create_topic", json!({"topic": "orders"}))?;
    let fields = json!({"topic": "orders", "count": 10_000, "min_bytes": 2000, "max_bytes": 2000});
    source.call("produce", fields)?;
    carrick.link(LINK, &relay.address(), &["replica.fetch.max.bytes=500000"])?;
    relay.close_after(5_000_000);
    carrick.mirror(LINK, &["orders"])?;
    wait_until("the wire is cut for good", LIMIT, || {
        Ok(if relay.cuts() == 1 {
            Ok(())
        } else {
            Err("not yet".into())
        })
    })?;
    kafka.kill_all();

    let outcome = carrick.cli(&["mirror", "failover", "orders", "--link", LINK])?;
    println!("{outcome:#}");
    let report = &outcome[0]["report"]["partitions"][0];
    let mut destination = Peer::java(&carrick.bootstrap())?;
    let (_, end) = range(&mut destination, "orders", 0)?;
    assert!(end > 0 && end < 10_000, "cut in the middle: {end}");
    assert_eq!(report["last_mirrored_offset"], json!(end - 1));
    assert_eq!(report["source_high_watermark"], json!(10_000));
    assert_eq!(report["missing_records"], json!(10_000 - end));
    assert_eq!(
        report["exact"],
        json!(false),
        "what came later nobody knows"
    );
    let acked = destination.call("produce", json!({"topic": "orders", "count": 1}))?;
    assert_eq!(acked["first_offset"], json!(end));
    Ok(())
}

#[test]
fn lag_is_unknown_rather_than_zero_when_the_source_is_gone() -> Result<()> {
    let mut world = World::start()?;
    world.topic("orders", 1, json!({}))?;
    world
        .source
        .call("produce", json!({"topic": "orders", "count": 10}))?;
    world.mirror(&["orders"])?;
    world.wait_caught_up("orders", 1)?;
    world.kafka.kill_all();
    wait_until("SOURCE_UNAVAILABLE", LIMIT, || {
        let mirror = world.carrick.describe_mirror("orders")?;
        let noticed = mirror["mirror_status"] == json!("SOURCE_UNAVAILABLE");
        Ok(if noticed {
            Ok(())
        } else {
            Err(mirror.to_string())
        })
    })?;
    let mirror = world.carrick.describe_mirror("orders")?;
    let lag = &mirror["mirror_lags"][0];
    assert!(
        lag["lag"].is_null(),
        "not a number that nobody knows: {mirror}"
    );
    assert!(
        lag["unknown_since_ms"].as_i64().is_some_and(|t| t > 0),
        "{mirror}"
    );
    Ok(())
}
