//! The source restarts, its connections are cut in mid-answer, its leaders move: the mirror ends identical.

use harness::process::free_ports;
use harness::proxy::Proxy;
use harness::{Carrick, Kafka, Peer, Result, segments, wait_until};
use serde_json::json;

use crate::world::{LIMIT, LINK, World, range};

#[test]
fn a_restarted_source_is_caught_up_with_from_the_exact_next_offset() -> Result<()> {
    let mut world = World::start()?;
    world.topic("orders", 2, json!({}))?;
    world.source.call(
        "produce",
        json!({"topic": "orders", "partition": 0, "count": 1000}),
    )?;
    world.mirror(&["orders"])?;
    world.wait_caught_up("orders", 2)?;
    for round in 0..3 {
        if round == 1 {
            world.kafka.kill(1);
        } else {
            world.kafka.stop(1)?;
        }
        world.kafka.restart(1)?;
        for partition in 0..2 {
            let fields = json!({"topic": "orders", "partition": partition, "count": 1000});
            world.source.call("produce", fields)?;
        }
    }
    world.wait_caught_up("orders", 2)?;
    assert!(world.assert_identical("orders", 2)? > 0);
    // The fetchers may be through before the link's own probe has found the source again.
    wait_until("the source is known to be back", LIMIT, || {
        let status = world.carrick.describe_mirror("orders")?["mirror_status"].clone();
        Ok(if status == json!("ACTIVE") {
            Ok(())
        } else {
            Err(status.to_string())
        })
    })
}

#[test]
fn connections_cut_in_the_middle_of_an_answer_leave_no_trace() -> Result<()> {
    // The broker advertises the relay, so that every connection of the link goes through it.
    let [relay_port] = free_ports()?;
    let advertised = format!("advertised.listeners=PLAINTEXT://127.0.0.1:{relay_port}");
    let kafka = Kafka::start_cluster(1, &[&advertised])?;
    let relay = Proxy::start(relay_port, &kafka.address(1))?;
    let carrick = Carrick::start()?;
    let mut source = Peer::java(&relay.address())?;
    source.call("create_topic", json!({"topic": "orders"}))?;
    let fields = json!({"topic": "orders", "count": 30_000, "min_bytes": 500, "max_bytes": 3000});
    source.call("produce", fields)?;
    let (_, end) = range(&mut source, "orders", 0)?;

    let lengths: Vec<i64> = (1..=10).map(|n| 1_500_000 + n * 234_567).collect();
    relay.cut_after_each(&lengths);
    carrick.link(LINK, &relay.address(), &["replica.fetch.max.bytes=1000000"])?;
    carrick.mirror(LINK, &["orders"])?;
    carrick.wait_caught_up("orders", &[end], LIMIT)?;
    println!("{} cuts", relay.cuts());
    assert_eq!(relay.cuts(), lengths.len());
    let source_dir = kafka.partition_dir(1, "orders", 0);
    let compared = segments::compare(&source_dir, &carrick.partition_dir("orders", 0), 0, end)?;
    assert!(compared.bytes > 10_000_000, "{compared:?}");
    Ok(())
}

#[test]
fn leaders_that_move_between_three_brokers_are_followed() -> Result<()> {
    let mut world = World::start_with(Kafka::start_cluster(3, &[])?)?;
    let fields = json!({"topic": "orders", "assignment": [[1, 2, 3], [2, 3, 1], [3, 1, 2]]});
    world.source.call("create_topic", fields)?;
    let write = |world: &mut World| -> Result<()> {
        for partition in 0..3 {
            let fields = json!({"topic": "orders", "partition": partition, "count": 500});
            world.source.call("produce", fields)?;
        }
        Ok(())
    };
    write(&mut world)?;
    world.mirror(&["orders"])?;
    for moved in [[2, 3, 1], [3, 1, 2]] {
        for partition in 0..3 {
            let fields = json!({"topic": "orders", "partition": partition, "replicas": moved});
            world.source.call("reassign", fields)?;
        }
        write(&mut world)?;
    }
    // A broker that dies takes its leaderships with it; the third is leader of all three by now.
    world.kafka.kill(3);
    write(&mut world)?;
    world.kafka.restart(3)?;
    write(&mut world)?;
    world.wait_caught_up("orders", 3)?;
    for partition in 0..3 {
        let (from, to) = world.source_range("orders", partition)?;
        let compared = segments::compare(
            &world.kafka.partition_dir(1, "orders", partition),
            &world.carrick.partition_dir("orders", partition),
            from,
            to,
        )?;
        println!("orders-{partition}: {compared:?}");
        assert_eq!(to, 2500);
    }
    Ok(())
}
