//! A source of three brokers in three racks: which one is read, what happens to a mirror when
//! brokers fail under load, when an unclean election loses records, and when a topic is created
//! again.

use std::thread::{self, JoinHandle};
use std::time::{SystemTime, UNIX_EPOCH};

use carrick_protocol::batch::BatchHeader;
use harness::kafka::Setup;
use harness::{Kafka, Peer, Result, segments, wait_until};
use serde_json::{Value, json};

use crate::world::{LIMIT, LINK, World, range};

/// Brokers 1, 2 and 3 in racks a, b and c. The first is the controller, too, and stays.
fn three_racks() -> Result<Kafka> {
    Kafka::start_as(Setup {
        properties: &[
            "replica.selector.class=org.apache.kafka.common.replica.RackAwareReplicaSelector",
            "broker.session.timeout.ms=3000",
            "broker.heartbeat.interval.ms=500",
            "replica.lag.time.max.ms=5000",
            // A writer that asks for a deleted topic would create it again, before the story does.
            "auto.create.topics.enable=false",
        ],
        own: &[&["broker.rack=a"], &["broker.rack=b"], &["broker.rack=c"]],
        logs_requests: true,
        ..Setup::default()
    })
}

/// A separate client that writes to a topic while the test does other things.
fn write_meanwhile(bootstrap: String, fields: Value) -> JoinHandle<Result<Value>> {
    thread::spawn(move || Peer::java(&bootstrap)?.call("produce", fields))
}

fn ended(load: JoinHandle<Result<Value>>) -> Result<Value> {
    load.join()
        .map_err(|_| anyhow::anyhow!("the writer panicked"))?
}

impl World {
    fn replicated(&mut self, topic: &str, assignment: Value, configs: Value) -> Result<()> {
        let fields = json!({"topic": topic, "assignment": assignment, "configs": configs});
        self.source.call("create_topic", fields)?;
        Ok(())
    }

    fn wait_status(&self, topic: &str, status: &str) -> Result<Value> {
        wait_until(&format!("{topic} is {status}"), LIMIT, || {
            let mirror = self.carrick.describe_mirror(topic)?;
            Ok(if mirror["mirror_status"] == json!(status) {
                Ok(mirror)
            } else {
                Err(mirror.to_string())
            })
        })
    }

    /// Waits until a topic's first partition is fetched from that broker.
    fn wait_read_at(&self, topic: &str, broker: i32) -> Result<()> {
        wait_until(
            &format!("{topic} is read at broker {broker}"),
            LIMIT,
            || {
                let mirror = self.carrick.describe_mirror(topic)?;
                let replica = &mirror["mirror_lags"][0]["source_replica_id"];
                Ok(if *replica == json!(broker) {
                    Ok(())
                } else {
                    Err(mirror.to_string())
                })
            },
        )
    }

    /// Bytes of records that a broker has sent to the link, as its own request log has them.
    fn served(&self, broker: usize) -> u64 {
        let log = self.kafka.log(broker);
        let to_link = log
            .lines()
            .filter(|line| line.contains("\"FETCH\"") && line.contains("carrick-link-dr"));
        let sizes = to_link.flat_map(|line| line.split("\"recordsSizeInBytes\":").skip(1));
        let digits = sizes.map(|rest| rest.split(|c: char| !c.is_ascii_digit()).next());
        digits
            .filter_map(|digits| digits?.parse::<u64>().ok())
            .sum()
    }

    fn assert_same_as_broker(&mut self, broker: usize, topic: &str, partition: i32) -> Result<i64> {
        let (from, to) = self.source_range(topic, partition)?;
        let source = self.kafka.partition_dir(broker, topic, partition);
        let mirror = self.carrick.partition_dir(topic, partition);
        println!(
            "{topic}-{partition}: {:?}",
            segments::compare(&source, &mirror, from, to)?
        );
        Ok(to)
    }
}

#[test]
fn a_cluster_of_three_is_read_nearby_and_its_losses_are_named() -> Result<()> {
    let mut world = World::start_with(three_racks()?)?;
    let configs = ["client.rack=c", "metadata.max.age.ms=3000"];
    world
        .carrick
        .link(LINK, &world.kafka.bootstrap(), &configs)?;
    the_replica_nearby_serves_the_link(&mut world)?;
    brokers_go_and_come_under_load(&mut world)?;
    a_topic_made_anew_under_load_is_not_mixed_with_the_old_one(&mut world)
}

fn the_replica_nearby_serves_the_link(world: &mut World) -> Result<()> {
    world.replicated("near", json!([[1, 3]]), json!({}))?;
    let fields = json!({"topic": "near", "count": 2000, "min_bytes": 500, "max_bytes": 500});
    world.source.call("produce", fields)?;
    world.carrick.mirror(LINK, &["near"])?;
    world.wait_caught_up("near", 1)?;
    world.wait_read_at("near", 3)?;
    let (leader, nearby) = (world.served(1), world.served(3));
    println!("the leader has served {leader} bytes, the replica nearby {nearby}");
    assert!(nearby > 1_000_000 && leader == 0, "{leader} {nearby}");
    Ok(())
}

/// `kept` and `cut` lose records by an unclean election; `moving` loses none.
fn brokers_go_and_come_under_load(world: &mut World) -> Result<()> {
    let unclean = json!({"unclean.leader.election.enable": "true", "min.insync.replicas": "1"});
    for topic in ["kept", "cut"] {
        world.replicated(topic, json!([[2, 3]]), unclean.clone())?;
        world
            .source
            .call("produce", json!({"topic": topic, "count": 100}))?;
    }
    world.replicated(
        "moving",
        json!([[1, 2, 3], [2, 3, 1], [3, 1, 2]]),
        json!({}),
    )?;
    world.carrick.mirror(LINK, &["kept", "cut", "moving"])?;
    let load = |partition| json!({"topic": "moving", "partition": partition, "count": 4000, "spread_ms": 12_000});
    let loads: Vec<_> = (0..3)
        .map(|partition| write_meanwhile(world.kafka.bootstrap(), load(partition)))
        .collect();

    world.kafka.stop(3)?;
    world.wait_read_at("near", 1)?;
    for topic in ["kept", "cut"] {
        world
            .source
            .call("produce", json!({"topic": topic, "count": 50}))?;
        world.wait_caught_up(topic, 1)?;
    }
    world.kafka.kill(2);
    world.kafka.restart(3)?;
    for topic in ["kept", "cut"] {
        // Written at the new leader, where the 50 above have never been.
        world
            .source
            .call("produce", json!({"topic": topic, "count": 20}))?;
        assert_eq!(
            world.source_range(topic, 0)?,
            (0, 120),
            "{topic} was truncated"
        );
    }
    world.kafka.restart(2)?;

    both_ways_out_of_a_truncation(world)?;

    for load in loads {
        assert_eq!(ended(load)?["acked"], json!(4000));
    }
    world.wait_caught_up("moving", 3)?;
    for partition in 0..3 {
        assert!(world.assert_same_as_broker(1, "moving", partition)? >= 4000);
    }
    world.wait_status("moving", "ACTIVE")?;
    // Back in its place, the replica nearby is named again.
    world.wait_read_at("near", 3)
}

/// Failover keeps what the source has lost, `resume` consents to its removal.
fn both_ways_out_of_a_truncation(world: &mut World) -> Result<()> {
    for topic in ["kept", "cut"] {
        let mirror = world.wait_status(topic, "FAILED")?;
        assert_eq!(
            mirror["mirror_topic_error"],
            json!("UNEXPECTED_TRUNCATION"),
            "{mirror}"
        );
        let steps = mirror["next_steps"].to_string();
        assert!(
            steps.contains("resume") && steps.contains("failover"),
            "{mirror}"
        );
        assert_eq!(
            range(&mut world.destination, topic, 0)?,
            (0, 150),
            "nothing is removed unasked"
        );
    }
    world
        .carrick
        .cli(&["mirror", "failover", "kept", "--link", LINK])?;
    let kept = world
        .destination
        .call("consume", json!({"topic": "kept"}))?;
    assert_eq!(
        kept["count"],
        json!(150),
        "failover keeps what the source has lost"
    );
    world
        .carrick
        .cli(&["mirror", "resume", "cut", "--link", LINK])?;
    world.carrick.wait_caught_up("cut", &[120], LIMIT)?;
    assert_eq!(world.assert_same_as_broker(3, "cut", 0)?, 120);
    Ok(())
}

fn a_topic_made_anew_under_load_is_not_mixed_with_the_old_one(world: &mut World) -> Result<()> {
    world.replicated("reborn", json!([[1, 2, 3]]), json!({}))?;
    world
        .source
        .call("produce", json!({"topic": "reborn", "count": 500}))?;
    world.carrick.mirror(LINK, &["reborn"])?;
    world.carrick.wait_caught_up("reborn", &[500], LIMIT)?;
    let load = json!({"topic": "reborn", "count": 3000, "spread_ms": 3000, "idempotent": "false"});
    let load = write_meanwhile(world.kafka.bootstrap(), load);
    wait_until("the writer is at work", LIMIT, || {
        let (_, end) = world.source_range("reborn", 0)?;
        Ok(if end > 500 {
            Ok(())
        } else {
            Err(end.to_string())
        })
    })?;
    world
        .source
        .call("delete_topic", json!({"topic": "reborn"}))?;
    let gone_at_ms = i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH)?.as_millis())?;
    wait_until("the topic can be made anew", LIMIT, || {
        let again = world.replicated("reborn", json!([[2, 3, 1]]), json!({}));
        Ok(again.map_err(|error| format!("{error:#}")))
    })?;

    let mirror = world.wait_status("reborn", "FAILED")?;
    let error = mirror["mirror_topic_error"].as_str().unwrap_or_default();
    let names = ["SOURCE_TOPIC_ID_CHANGED", "SOURCE_TOPIC_MAY_BE_DELETED"];
    assert!(names.contains(&error), "{mirror}");
    println!("{}", ended(load)?);
    let (_, new_end) = world.source_range("reborn", 0)?;
    assert!(new_end > 0, "the writer went on in the new topic");
    let batches = segments::batches(&world.carrick.partition_dir("reborn", 0), 0, i64::MAX)?;
    let (mut end, mut youngest_ms) = (0, 0);
    for (_, batch) in &batches {
        let header = BatchHeader::parse(batch)?;
        end = header.next_offset().0;
        youngest_ms = youngest_ms.max(header.max_timestamp_ms);
    }
    println!(
        "the old topic up to {end}, its last record {} ms before it was gone",
        gone_at_ms - youngest_ms
    );
    // A broker learns of the deletion a moment after the client: until then it accepts records. The
    // writer continues for much longer.
    assert!(
        end >= 500 && youngest_ms <= gone_at_ms + 1_000,
        "{end}, {youngest_ms} and {gone_at_ms}"
    );

    world
        .destination
        .call("delete_topic", json!({"topic": "reborn"}))?;
    world.carrick.mirror(LINK, &["reborn"])?;
    world.wait_caught_up("reborn", 1)?;
    assert_eq!(world.assert_same_as_broker(2, "reborn", 0)?, new_end);
    Ok(())
}
