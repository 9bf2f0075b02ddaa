//! A mirror is read-only until it is promoted; then it is an ordinary topic that continues where
//! the source stopped.

use harness::{Peer, Result};
use serde_json::json;

use crate::world::{LINK, World, range};

/// Every client library that this machine can run.
fn libraries(bootstrap: &str) -> Result<Vec<Peer>> {
    let mut all = vec![Peer::java(bootstrap)?, Peer::librdkafka(bootstrap)?];
    match Peer::franz_go(bootstrap)? {
        Some(peer) => all.push(peer),
        None => println!("SKIPPED franz-go: no Go toolchain"),
    }
    Ok(all)
}

#[test]
fn writes_are_refused_before_and_accepted_after_promotion() -> Result<()> {
    let mut world = World::start()?;
    world.topic("orders", 1, json!({}))?;
    // A low producer id at the source is what a fresh allocator here would hand out first.
    let written = world
        .source
        .call("produce", json!({"topic": "orders", "count": 500}))?;
    world.mirror(&["orders"])?;
    world.wait_caught_up("orders", 1)?;

    let mut clients = libraries(&world.carrick.bootstrap())?;
    for client in &mut clients {
        for (op, fields) in [
            ("produce", json!({"topic": "orders", "count": 1})),
            ("delete_records", json!({"topic": "orders", "before": 3})),
            ("create_partitions", json!({"topic": "orders", "total": 2})),
        ] {
            let refusal = client.refusal(op, fields)?;
            println!("{} {op}: {refusal}", client.library());
            assert_eq!(
                refusal.code,
                "INVALID_REQUEST",
                "{} {op}: {refusal}",
                client.library()
            );
        }
    }
    assert_eq!(
        range(&mut world.destination, "orders", 0)?,
        (0, 500),
        "nothing was written"
    );

    let outcome = world
        .carrick
        .cli(&["mirror", "promote", "orders", "--link", LINK])?;
    println!("{outcome}");
    let partition = &outcome[0]["report"]["partitions"][0];
    let (exact, missing) = (&partition["exact"], &partition["missing_records"]);
    assert_eq!((exact, missing), (&json!(true), &json!(0)), "{outcome}");
    assert_eq!(
        world.carrick.describe_mirror("orders")?["mirror_status"],
        json!("STOPPED")
    );

    let mut next = written["last_offset"].as_i64().unwrap_or(-1) + 1;
    for client in &mut clients {
        let fields = json!({"topic": "orders", "count": 20, "partition": 0});
        let acked = client.call("produce", fields)?;
        assert_eq!(
            acked["first_offset"],
            json!(next),
            "{} goes on from the end",
            client.library()
        );
        assert_eq!(acked["acked"], json!(20), "{}", client.library());
        next += 20;
    }
    assert_eq!(
        range(&mut world.destination, "orders", 0)?.1,
        next,
        "no write was taken for an old one"
    );
    for client in &mut clients {
        client.call("delete_records", json!({"topic": "orders", "before": 3}))?;
    }
    clients[0].call("create_partitions", json!({"topic": "orders", "total": 2}))?;
    assert_eq!(range(&mut world.destination, "orders", 1)?, (0, 0));
    Ok(())
}

#[test]
fn promotion_is_refused_while_the_source_is_away_and_for_what_is_no_mirror() -> Result<()> {
    let mut world = World::start()?;
    world.topic("orders", 1, json!({}))?;
    world
        .source
        .call("produce", json!({"topic": "orders", "count": 50}))?;
    world.mirror(&["orders"])?;
    world.wait_caught_up("orders", 1)?;
    world
        .destination
        .call("create_topic", json!({"topic": "local"}))?;

    for topic in ["local", "nowhere"] {
        let output = world
            .carrick
            .cli_output(&["mirror", "promote", topic, "--link", LINK])?;
        assert_eq!(
            output.status.code(),
            Some(1),
            "{topic}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
    }
    world.kafka.kill_all();
    let output = world
        .carrick
        .cli_output(&["mirror", "promote", "orders", "--link", LINK])?;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(
        !said.contains("FailedError"),
        "Kafka's names, not Rust's: {said}"
    );
    assert!(
        said.contains("failover"),
        "names the step that is open: {said}"
    );
    Ok(())
}
