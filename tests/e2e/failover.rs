//! The source is lost: the mirror is cut at once and says honestly what is missing.

use std::time::Duration;

use harness::{Result, wait_until};
use serde_json::json;

use crate::world::{LIMIT, LINK, World, range};

/// A committed transaction of 100, one left open with 70, 30 plain records behind it; and a topic of its own.
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
fn lag_is_unknown_rather_than_zero_when_the_source_is_gone() -> Result<()> {
    let mut world = World::start()?;
    world.topic("orders", 1, json!({}))?;
    world
        .source
        .call("produce", json!({"topic": "orders", "count": 10}))?;
    world.mirror(&["orders"])?;
    world.wait_caught_up("orders", 1)?;
    world.kafka.kill_all();
    wait_until("SOURCE_UNAVAILABLE", Duration::from_secs(20), || {
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
