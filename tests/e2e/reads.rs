//! Clients read the same from both sides.

use harness::Result;
use serde_json::{Value, json};

use crate::world::{World, range};

#[test]
fn consumers_of_both_isolation_levels_read_the_same_from_both_sides() -> Result<()> {
    let mut world = World::start()?;
    world.topic("orders", 1, json!({"segment.bytes": "1048576"}))?;
    for round in 0..8 {
        let outcome = if round % 3 == 1 { "abort" } else { "commit" };
        let fields = json!({"topic": "orders", "transactional_id": format!("t{}", round % 2),
            "count": 200, "max_bytes": 3000, "outcome": outcome, "compression": "lz4"});
        world.source.call("transaction", fields)?;
        world.source.call(
            "produce",
            json!({"topic": "orders", "count": 100, "keys": 7}),
        )?;
    }
    world.mirror(&["orders"])?;
    world.wait_caught_up("orders", 1)?;

    let mut counts = Vec::new();
    for isolation in ["read_uncommitted", "read_committed"] {
        let fields = json!({"topic": "orders", "isolation": isolation});
        let source = world.source.call("consume", fields.clone())?;
        let mirror = world.destination.call("consume", fields)?;
        assert_eq!(source, mirror, "{isolation}");
        counts.push(source["count"].as_u64().unwrap_or(0));
    }
    assert_eq!(
        counts,
        [2400, 1800],
        "aborted records are hidden from read_committed only"
    );
    Ok(())
}

#[test]
fn timestamps_are_found_at_the_same_offsets_on_both_sides() -> Result<()> {
    let mut world = World::start()?;
    world.topic(
        "times",
        1,
        json!({"segment.bytes": "1048576", "index.interval.bytes": "512"}),
    )?;
    let begin = 1_700_000_000_000_i64;
    for (round, codec) in ["none", "gzip", "zstd"].into_iter().enumerate() {
        // Each round starts before the last one ended: timestamps go back as well.
        let start = begin + i64::try_from(round)? * 15_000;
        let fields = json!({"topic": "times", "count": 2000, "timestamp_ms": start, "step_ms": 10,
            "compression": codec, "max_bytes": 1500});
        world.source.call("produce", fields)?;
    }
    world.mirror(&["times"])?;
    world.wait_caught_up("times", 1)?;

    let asked: Vec<i64> = (-2..62).map(|i| begin + i * 1_003).collect();
    let fields = json!({"topic": "times", "timestamps": asked});
    let source = world.source.call("offsets_for_times", fields.clone())?;
    let mirror = world.destination.call("offsets_for_times", fields)?;
    assert_eq!(source, mirror);
    let found = source["offsets"]
        .as_array()
        .map_or(0, |all| all.iter().filter(|o| o.is_string()).count());
    assert!(
        found > 40,
        "only {found} of the timestamps lie in the log: {source}"
    );
    Ok(())
}

#[test]
fn log_start_follows_the_source_even_into_the_middle_of_a_batch() -> Result<()> {
    let mut world = World::start()?;
    world.topic("trimmed", 1, json!({}))?;
    let fields = json!({"topic": "trimmed", "count": 5000, "config": {"linger.ms": "50"}});
    world.source.call("produce", fields)?;
    world.source.call(
        "delete_records",
        json!({"topic": "trimmed", "before": 1234}),
    )?;
    world.mirror(&["trimmed"])?;
    world.wait_caught_up("trimmed", 1)?;
    assert_eq!(range(&mut world.destination, "trimmed", 0)?, (1234, 5000));

    world.source.call(
        "delete_records",
        json!({"topic": "trimmed", "before": 4321}),
    )?;
    harness::wait_until(
        "the mirror's log start is 4321",
        crate::world::LIMIT,
        || {
            let seen = range(&mut world.destination, "trimmed", 0)?;
            Ok(if seen == (4321, 5000) {
                Ok(())
            } else {
                Err(format!("{seen:?}"))
            })
        },
    )?;
    let same: Vec<Value> = [&mut world.source, &mut world.destination]
        .into_iter()
        .map(|peer| peer.call("consume", json!({"topic": "trimmed"})))
        .collect::<Result<_>>()?;
    assert_eq!(same[0], same[1]);
    Ok(())
}
