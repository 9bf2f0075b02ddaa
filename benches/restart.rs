//! How long from start to ready with 1,000 partitions: after `kill -9`, and after a clean stop.
//!
//! `RESTART_PARTITIONS` (1000) sets their number.

use std::time::Instant;

use anyhow::Result;
use harness::{Carrick, Peer};
use serde_json::json;

const TOPICS: u64 = 10;

fn main() -> Result<()> {
    let partitions: u64 = std::env::var("RESTART_PARTITIONS").map_or(Ok(1000), |v| v.parse())?;
    let mut carrick = Carrick::start()?;
    let mut client = Peer::librdkafka(&carrick.bootstrap())?;
    for topic in 0..TOPICS {
        let name = format!("t{topic}");
        client.call(
            "create_topic",
            json!({"topic": name, "partitions": partitions / TOPICS}),
        )?;
        // No partition is named: records go to all of them.
        let fields = json!({"topic": name, "partition": -1, "count": partitions / TOPICS * 40, "max_bytes": 1000,
            "config": {"sticky.partitioning.linger.ms": "0"}});
        client.call("produce", fields)?;
    }
    carrick.kill();
    let begin = Instant::now();
    carrick.restart()?;
    println!(
        "{partitions} partitions, after kill -9: ready in {:.2} s",
        begin.elapsed().as_secs_f64()
    );
    carrick.stop()?;
    let begin = Instant::now();
    carrick.restart()?;
    println!(
        "{partitions} partitions, after a clean stop: ready in {:.2} s",
        begin.elapsed().as_secs_f64()
    );
    Ok(())
}
