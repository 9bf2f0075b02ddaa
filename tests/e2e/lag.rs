//! How far behind a mirror is: known while the source answers, unknown since a moment while it is away, known again when
//! it is back, by itself, even if the link has failed meanwhile.

use harness::{Carrick, Result, wait_until};
use serde_json::{Value, json};

use crate::world::{LIMIT, LINK, World};

/// Waits until `condition` holds of the link as `link describe` shows it.
fn wait_link(carrick: &Carrick, what: &str, condition: impl Fn(&Value) -> bool) -> Result<Value> {
    wait_until(what, LIMIT, || {
        let link = carrick.cli(&["link", "describe", LINK])?["link"].clone();
        Ok(if condition(&link) {
            Ok(link)
        } else {
            Err(link.to_string())
        })
    })
}

/// The values of a metric family, without its labels.
fn samples(carrick: &Carrick, family: &str) -> Result<Vec<f64>> {
    let text = ureq::get(format!("{}/metrics", carrick.url()))
        .call()?
        .body_mut()
        .read_to_string()?;
    let of_family = text
        .lines()
        .filter_map(|line| line.strip_prefix(family)?.strip_prefix('{'));
    let values = of_family.filter_map(|line| line.rsplit(' ').next()?.parse().ok());
    Ok(values.collect())
}

#[test]
fn a_lag_that_nobody_knows_is_unknown_since_the_source_went_until_it_is_back() -> Result<()> {
    let mut world = World::start()?;
    world.topic("orders", 2, json!({}))?;
    let produce = json!({"topic": "orders", "partition": 0, "count": 100});
    world.source.call("produce", produce.clone())?;
    // Seconds until the link fails for good, not minutes.
    let configs = [
        "cluster.link.retry.timeout.ms=1000",
        "availability.check.ms=200",
    ];
    world
        .carrick
        .link(LINK, &world.kafka.bootstrap(), &configs)?;
    world.carrick.mirror(LINK, &["orders"])?;
    world.wait_caught_up("orders", 2)?;
    let known = wait_link(&world.carrick, "the lag is known", |link| {
        link["lag_summary"]["lag_max"] == json!(0)
    })?;
    assert_eq!(known["lag_summary"]["partitions"], json!(2), "{known}");
    assert_eq!(known["lag_summary"]["lag_bytes_estimate_total"], json!(0));

    world.kafka.kill_all();
    let failed = wait_link(&world.carrick, "the link has failed", |link| {
        link["link_state"] == json!("FAILED")
            && link["lag_summary"]["unknown_partitions"] == json!(2)
    })?;
    println!("{failed:#}");
    let summary = &failed["lag_summary"];
    assert!(summary["lag_max"].is_null() && summary["lag_total"].is_null());
    assert_eq!(summary["lag_max_at_least"], json!(0), "{summary}");
    let unknown_since = summary["unknown_since_ms"].as_i64();
    assert!(unknown_since.is_some_and(|at| at > 0), "{summary}");
    assert!(
        summary["lag_ms_max"].as_i64().is_some_and(|ms| ms > 0),
        "{summary}"
    );
    let mirror = world.carrick.describe_mirror("orders")?;
    for lag in mirror["mirror_lags"].as_array().into_iter().flatten() {
        assert!(
            lag["lag"].is_null() && lag["lag_bytes_estimate"].is_null(),
            "{lag}"
        );
        assert!(lag["unknown_since_ms"].as_i64() >= unknown_since, "{lag}");
    }
    assert!(samples(&world.carrick, "carrick_mirror_lag_records")?.is_empty());
    assert!(samples(&world.carrick, "carrick_link_lag_records_max")?.is_empty());
    let unknown = samples(&world.carrick, "carrick_link_lag_unknown_partitions")?;
    assert_eq!(unknown, [2.0]);

    world.kafka.restart(1)?;
    world.source.call("produce", produce)?;
    let back = wait_link(
        &world.carrick,
        "the link goes on and the lag is known",
        |link| link["link_state"] == json!("ACTIVE") && link["lag_summary"]["lag_max"] == json!(0),
    )?;
    assert_eq!(back["lag_summary"]["unknown_partitions"], json!(0));
    world.wait_caught_up("orders", 2)?;
    assert!(world.assert_identical("orders", 2)? > 0);
    Ok(())
}
