//! A mirror of a mirror: Kafka → Carrick → Carrick, with transactions and leader epochs, cut in the middle of the chain.

use carrick_protocol::batch::BatchHeader;
use harness::{Carrick, Peer, Result, segments, wait_until};
use serde_json::{Value, json};

use crate::world::{LIMIT, LINK, World, range};

/// The world's Carrick mirrors Kafka; another mirrors the world's Carrick.
struct Chain {
    world: World,
    last: Carrick,
    reader: Peer,
}

impl Chain {
    fn start() -> Result<Self> {
        let world = World::start()?;
        let last = Carrick::start()?;
        let reader = Peer::java(&last.bootstrap())?;
        Ok(Self {
            world,
            last,
            reader,
        })
    }

    /// Waits until the last of the chain has what the middle has, and compares their bytes.
    fn wait_same(&mut self) -> Result<i64> {
        let (from, end) = range(&mut self.world.destination, "orders", 0)?;
        self.last.wait_caught_up("orders", &[end], LIMIT)?;
        let middle = self.world.carrick.partition_dir("orders", 0);
        let last = self.last.partition_dir("orders", 0);
        println!("{:?}", segments::compare(&middle, &last, from, end)?);
        for isolation in ["read_uncommitted", "read_committed"] {
            let fields = json!({"topic": "orders", "isolation": isolation});
            let middle = self.world.destination.call("consume", fields.clone())?;
            assert_eq!(self.reader.call("consume", fields)?, middle, "{isolation}");
        }
        Ok(end)
    }

    /// The leader epoch of a partition's last batch.
    fn last_epoch(carrick: &Carrick) -> Result<i32> {
        let batches = segments::batches(&carrick.partition_dir("orders", 0), 0, i64::MAX)?;
        let (_, last) = batches.last().ok_or_else(|| anyhow::anyhow!("no batch"))?;
        Ok(BatchHeader::parse(last)?.leader_epoch.0)
    }
}

fn transaction(id: &str, count: u64, outcome: &str) -> Value {
    json!({"topic": "orders", "transactional_id": id, "count": count, "outcome": outcome})
}

#[test]
fn a_mirror_of_a_mirror_follows_it_through_its_failover_and_is_promoted_itself() -> Result<()> {
    let mut chain = Chain::start()?;
    chain.world.topic("orders", 1, json!({}))?;
    for (id, count, outcome) in [("a", 100, "commit"), ("b", 50, "abort"), ("c", 70, "open")] {
        let source = &mut chain.world.source;
        source.call("transaction", transaction(id, count, outcome))?;
    }
    chain.world.mirror(&["orders"])?;
    chain
        .last
        .link(LINK, &chain.world.carrick.bootstrap(), &[])?;
    chain.last.mirror(LINK, &["orders"])?;
    chain.world.wait_caught_up("orders", 1)?;
    chain.wait_same()?;

    // The middle is cut: an ABORT marker, a higher epoch, and from then on its own records and
    // transactions.
    chain.world.kafka.kill_all();
    let middle = &chain.world.carrick;
    middle.cli(&["mirror", "failover", "orders", "--link", LINK])?;
    let client = &mut chain.world.destination;
    client.call("produce", json!({"topic": "orders", "count": 40}))?;
    client.call("transaction", transaction("a", 30, "commit"))?;
    client.call("transaction", transaction("b", 20, "abort"))?;
    chain.wait_same()?;
    let fields = json!({"topic": "orders", "isolation": "read_committed"});
    let read = chain.reader.call("consume", fields)?;
    assert_eq!(read["count"], json!(100 + 40 + 30), "{read}");
    let epoch = Chain::last_epoch(&chain.last)?;

    // Killed, the middle comes back in a higher epoch.
    chain.world.carrick.kill();
    chain.world.carrick.restart()?;
    let client = &mut chain.world.destination;
    client.call("produce", json!({"topic": "orders", "count": 10}))?;
    let end = chain.wait_same()?;
    let source_epoch = Chain::last_epoch(&chain.last)?;
    assert!(source_epoch > epoch, "{source_epoch} after {epoch}");
    wait_until("the last link is active", LIMIT, || {
        let mirror = chain.last.describe_mirror("orders")?;
        let is_active = mirror["mirror_status"] == json!("ACTIVE");
        Ok(if is_active {
            Ok(())
        } else {
            Err(mirror.to_string())
        })
    })?;

    let outcome = chain
        .last
        .cli(&["mirror", "promote", "orders", "--link", LINK])?;
    let report = &outcome[0]["report"]["partitions"][0];
    assert_eq!(report["missing_records"], json!(0), "{outcome}");
    let acked = chain
        .reader
        .call("transaction", transaction("a", 5, "commit"))?;
    assert_eq!(acked["first_offset"], json!(end));
    let epoch = Chain::last_epoch(&chain.last)?;
    assert!(epoch > source_epoch, "{epoch} after {source_epoch}");
    println!("leader epochs: {source_epoch} in the middle, {epoch} at the end");
    Ok(())
}
