//! A source that is far away: the path is kept full while a mirror is far behind, and left alone once it has caught up.

use std::time::Duration;

use harness::process::free_ports;
use harness::wan::{Path, Wan};
use harness::{Kafka, Result, wait_until};
use serde_json::json;

use crate::world::{LIMIT, World};

const TOPIC: &str = "far";
const PATH: Path = Path {
    round_trip: Duration::from_millis(50),
    bytes_per_second: 30_000_000,
    connection_bytes: None,
};

#[test]
fn a_mirror_over_a_long_path_catches_up_over_several_connections_and_closes_them() -> Result<()> {
    for partitions in [1, 5] {
        let [port] = free_ports()?;
        let advertised = format!("advertised.listeners=PLAINTEXT://127.0.0.1:{port}");
        let kafka = Kafka::start_cluster(1, &[&advertised])?;
        let wan = Wan::start(port, &kafka.address(1))?;
        let mut world = World::start_with(kafka)?;
        world.topic(TOPIC, partitions, json!({}))?;
        for partition in 0..partitions {
            let fields = json!({"topic": TOPIC, "partition": partition,
                "count": 60_000 / partitions, "min_bytes": 100, "max_bytes": 2_000});
            world.source.call("produce", fields)?;
        }
        wan.set(Some(PATH), &world.kafka.address(1));
        let before = wan.open();
        world.carrick.link("dr", &wan.address(), &[])?;
        world.carrick.mirror("dr", &[TOPIC])?;
        let most = wait_until("more connections for what is far behind", LIMIT, || {
            let open = wan.open();
            Ok(if open >= before + 6 {
                Ok(open)
            } else {
                Err(open.to_string())
            })
        })?;
        world.wait_caught_up(TOPIC, partitions)?;
        println!("{partitions} partitions: {before} connections before, {most} while far behind");
        assert!(world.assert_identical(TOPIC, partitions)? > 10);
        wait_until("the further connections to be closed", LIMIT, || {
            let open = wan.open();
            Ok(if open <= before + 4 {
                Ok(())
            } else {
                Err(open.to_string())
            })
        })?;
        let fields = json!({"topic": TOPIC, "partition": 0, "count": 10});
        world.source.call("produce", fields)?;
        world.wait_caught_up(TOPIC, partitions)?;
        assert!(world.assert_identical(TOPIC, partitions)? > 10);
        let verified = world.carrick.cli(&["mirror", "verify", TOPIC])?;
        assert_eq!(verified["outcome"], json!("IDENTICAL"), "{verified}");
    }
    Ok(())
}
