//! Applications that lose their source in the middle of their work and continue at Carrick.

use std::collections::BTreeSet;

use carrick_protocol::batch::BatchHeader;
use harness::process::free_ports;
use harness::proxy::Proxy;
use harness::{Carrick, Kafka, Peer, Result, segments, wait_until};
use serde_json::{Value, json};

use crate::world::{LIMIT, LINK, World};

fn number(answer: &Value, name: &str) -> i64 {
    answer[name].as_i64().unwrap_or(-1)
}

/// The source and Carrick under one address, as behind a name in the DNS; an operator changes whose it is.
struct OneName {
    kafka: Kafka,
    relay: Proxy,
    carrick: Carrick,
}

impl OneName {
    fn start() -> Result<Self> {
        let [port] = free_ports()?;
        let advertised = format!("advertised.listeners=PLAINTEXT://127.0.0.1:{port}");
        let kafka = Kafka::start_cluster(1, &[&advertised])?;
        let relay = Proxy::start(port, &kafka.address(1))?;
        let carrick = Carrick::start_with(&[&advertised])?;
        Ok(Self {
            kafka,
            relay,
            carrick,
        })
    }
}

/// The producer of each batch: its id, and the sequence of the first record.
fn sequences(carrick: &Carrick, from: i64, to: i64) -> Result<Vec<(i64, i32)>> {
    let batches = segments::batches(&carrick.partition_dir("orders", 0), from, to)?;
    let header = |(_, bytes): &(i64, Vec<u8>)| {
        let header = BatchHeader::parse(bytes)?;
        Ok((header.producer_id.0, header.base_sequence))
    };
    batches.iter().map(header).collect()
}

#[test]
fn an_idempotent_producer_goes_on_at_carrick_and_no_mirrored_batch_is_there_twice() -> Result<()> {
    let mut world = OneName::start()?;
    let mut source = Peer::java(&world.relay.address())?;
    source.call("create_topic", json!({"topic": "orders"}))?;
    world.carrick.link(LINK, &world.relay.address(), &[])?;
    world.carrick.mirror(LINK, &["orders"])?;
    let mut app = Peer::java_workers(&world.relay.address())?;
    let feeder = json!({"kind": "feeder", "name": "app", "topic": "orders", "partitions": 1});
    app.call("start", feeder)?;
    let mut acked = |least: i64| {
        wait_until("the application to be at work", LIMIT, || {
            let acked = number(&app.call("state", json!({"name": "app"}))?, "acked");
            Ok(if acked >= least {
                Ok(acked)
            } else {
                Err(acked.to_string())
            })
        })
    };
    acked(200)?;

    // In mid-send: the source takes batches whose acknowledgement never arrives; they are mirrored.
    world.relay.deafen("producer-");
    let known = wait_until("more to be mirrored than was acknowledged", LIMIT, || {
        let mirror = world.carrick.describe_mirror("orders")?;
        let end = number(&mirror["mirror_lags"][0], "mirror_end_offset");
        let acked = acked(0)?;
        Ok(if end >= acked + 20 {
            Ok(acked)
        } else {
            Err(format!("{end} mirrored, {acked} acknowledged"))
        })
    })?;
    world.kafka.kill_all();
    let outcome = world
        .carrick
        .cli(&["mirror", "failover", "orders", "--link", LINK])?;
    let cut_at = number(&outcome[0]["report"]["partitions"][0], "mirror_end");
    assert!(cut_at >= known + 20, "{outcome}");
    world.relay.lead_to(&world.carrick.bootstrap());
    acked(cut_at + 200)?;

    let told = app.call("stop", json!({"name": "app"}))?;
    assert_eq!(
        (&told["failures"], &told["restarts"]),
        (&json!({}), &json!(0))
    );
    let count = number(&told, "acked");
    let stored = app.call("tally", json!({"topic": "orders", "partitions": 1}))?;
    println!("{known} acknowledged by the source, {cut_at} mirrored, {count} in all: {stored}");
    assert_eq!(number(&stored, "records"), count, "none twice: {stored}");
    assert_eq!(number(&stored, "different"), count, "none lost: {stored}");
    let mirrored = sequences(&world.carrick, 0, cut_at)?;
    let local = sequences(&world.carrick, cut_at, i64::MAX)?;
    let producers: BTreeSet<i64> = mirrored.iter().chain(&local).map(|(id, _)| *id).collect();
    assert_eq!(producers.len(), 1, "the same producer id: {producers:?}");
    assert_eq!(
        local[0].1,
        i32::try_from(cut_at)?,
        "goes on after the last mirrored record"
    );
    Ok(())
}

/// How many records of a topic a `read_committed` reader gets.
fn committed(peer: &mut Peer, topic: &str) -> Result<i64> {
    let read = peer.call(
        "consume",
        json!({"topic": topic, "isolation": "read_committed"}),
    )?;
    Ok(number(&read, "count"))
}

impl World {
    /// Waits until the group has committed that offset of the input, at Carrick.
    fn wait_group_at(&mut self, offset: i64) -> Result<()> {
        wait_until(&format!("the group at {offset}"), LIMIT, || {
            let groups = self
                .destination
                .call("group_offsets", json!({"group": "movers"}))?;
            let read = number(&groups["offsets"], "input-0");
            Ok(if read == offset {
                Ok(())
            } else {
                Err(read.to_string())
            })
        })
    }
}

/// Writes numbers to the input while an application reads, processes and writes in transactions, and is killed in the
/// midst of them. Gives how many were written, and how many of them were processed.
fn kill_in_mid_transaction(world: &mut World, start: &Value) -> Result<(i64, i64)> {
    let mut feeder = Peer::java_workers(&world.kafka.bootstrap())?;
    let feed = json!({"kind": "feeder", "name": "feeder", "topic": "input", "partitions": 1});
    feeder.call("start", feed)?;
    let mut app = Peer::java_workers(&world.kafka.bootstrap())?;
    app.call("start", start.clone())?;
    wait_until("some transactions to be committed", LIMIT, || {
        let state = app.call("state", json!({"name": "app"}))?;
        Ok(if number(&state, "transactions") >= 3 {
            Ok(())
        } else {
            Err(state.to_string())
        })
    })?;
    drop(app);
    let fed = number(&feeder.call("state", json!({"name": "feeder"}))?, "acked");
    wait_until("some more to be written", LIMIT, || {
        let state = feeder.call("state", json!({"name": "feeder"}))?;
        Ok(if number(&state, "acked") >= fed + 200 {
            Ok(())
        } else {
            Err(state.to_string())
        })
    })?;
    let fed = number(&feeder.call("stop", json!({"name": "feeder"}))?, "acked");
    // It may have died between two transactions: this one is certainly open.
    let mut other = Peer::java(&world.kafka.bootstrap())?;
    let open = json!({"topic": "output", "transactional_id": "other", "count": 20, "outcome": "open",
        "config": {"transaction.timeout.ms": "900000"}});
    other.call("transaction", open)?;
    drop(other);
    let source = &mut world.source;
    wait_until("what was decided to be done", LIMIT, || {
        let groups = source.call("group_offsets", json!({"group": "movers"}))?;
        let read = number(&groups["offsets"], "input-0");
        let written = committed(source, "output")?;
        Ok(if read == written {
            Ok((fed, read))
        } else {
            Err(format!("{read} read, {written} written"))
        })
    })
}

#[test]
fn a_transactional_application_moves_and_each_record_comes_out_once() -> Result<()> {
    let mut world = World::start()?;
    for topic in ["input", "output"] {
        world.topic(topic, 1, json!({}))?;
    }
    let filters = r#"consumer.offset.group.filters={"groupFilters":[{"name":"movers","patternType":"LITERAL","filterType":"INCLUDE"}]}"#;
    let synced = [
        "consumer.offset.sync.enable=true",
        "consumer.offset.sync.ms=1000",
        filters,
    ];
    world
        .carrick
        .link(LINK, &world.kafka.bootstrap(), &synced)?;
    world.carrick.mirror(LINK, &["input", "output"])?;
    let start = json!({"kind": "processor", "name": "app", "topic": "input", "to": "output", "group": "movers",
        "transactional_id": "mover"});
    let (fed, read) = kill_in_mid_transaction(&mut world, &start)?;
    assert!(read > 0 && read < fed, "in the midst: {read} of {fed}");
    for topic in ["input", "output"] {
        world.wait_caught_up(topic, 1)?;
    }
    world.wait_group_at(read)?;
    world.kafka.kill_all();
    let outcome = world
        .carrick
        .cli(&["mirror", "failover", "--all", "--link", LINK])?;
    let output = &outcome[1]["report"]["partitions"][0];
    assert!(number(output, "open_transactions") >= 1, "{outcome}");
    assert_eq!(output["missing_records"], json!(0), "{outcome}");
    // All that was mirrored of the output is what the group had read: nothing is processed again.
    assert_eq!(committed(&mut world.destination, "output")?, read);

    let mut app = Peer::java_workers(&world.carrick.bootstrap())?;
    app.call("start", start)?;
    world.wait_group_at(fed)?;
    let told = app.call("stop", json!({"name": "app"}))?;
    assert_eq!(number(&told, "processed"), fed - read, "{told}");
    let out = app.call("tally", json!({"topic": "output", "partitions": 1}))?;
    println!("{read} processed at the source, the rest here: {out}");
    assert_eq!(number(&out, "records"), fed, "each once: {out}");
    assert_eq!(number(&out, "different"), fed, "{out}");
    Ok(())
}

/// The epoch in which the source leads a partition now, records or not.
fn source_epoch(world: &World) -> Result<i32> {
    let dir = world.kafka.partition_dir(1, "orders", 0);
    let text = std::fs::read_to_string(dir.join("leader-epoch-checkpoint"))?;
    let last = text.lines().last().and_then(|line| line.split(' ').next());
    Ok(last.unwrap_or_default().parse()?)
}

/// The leader epoch that Carrick gives to clients.
fn announced_epoch(world: &World) -> Result<i64> {
    let read =
        |path: &str| -> Result<Value> { Ok(serde_json::from_str(&world.carrick.get(path)?.1)?) };
    let clusters = read("/kafka/v3/clusters")?;
    let id = clusters["data"][0]["cluster_id"]
        .as_str()
        .unwrap_or_default();
    let topic = read(&format!("/kafka/v3/clusters/{id}/topics/orders"))?;
    let epoch = &topic["partition_offsets"][0]["leader_epoch"];
    Ok(epoch.as_i64().unwrap_or(-1))
}

/// A group that has committed offset 4 in that epoch reads the six records behind it, at Carrick.
fn reads_on(world: &mut World, group: &str, epoch: i32) -> Result<()> {
    let offset = json!({"group": group, "topic": "orders", "partition": 0, "offset": 4, "leader_epoch": epoch});
    world.destination.call("alter_offsets", offset)?;
    let member = json!({"name": group, "group": group, "topic": "orders"});
    world.destination.call("member_start", member)?;
    wait_until(&format!("{group} to read on"), LIMIT, || {
        let state = world
            .destination
            .call("member_state", json!({"name": group}))?;
        Ok(if number(&state, "consumed") >= 6 {
            Ok(())
        } else {
            Err(state.to_string())
        })
    })?;
    world
        .destination
        .call("member_stop", json!({"name": group}))?;
    Ok(())
}

#[test]
fn consumers_whose_commits_carry_a_later_epoch_than_any_record_read_on_at_the_mirror() -> Result<()>
{
    let mut world = World::start()?;
    world.topic("orders", 1, json!({}))?;
    let ten = json!({"topic": "orders", "count": 10});
    world.source.call("produce", ten)?;
    world.mirror(&["orders"])?;
    world.wait_caught_up("orders", 1)?;
    // A new leader epoch, and not a record in it.
    world.kafka.stop(1)?;
    world.kafka.restart(1)?;
    world.wait_caught_up("orders", 1)?;
    let epoch = wait_until("the source to lead in a later epoch", LIMIT, || {
        let epoch = source_epoch(&world)?;
        Ok(if epoch > 0 {
            Ok(epoch)
        } else {
            Err(epoch.to_string())
        })
    })?;
    // Nothing new is mirrored, so being caught up does not say that the link is back.
    wait_until("Carrick to know the epoch", LIMIT, || {
        let announced = announced_epoch(&world)?;
        Ok(if announced >= i64::from(epoch) {
            Ok(())
        } else {
            Err(announced.to_string())
        })
    })?;
    reads_on(&mut world, "while-it-mirrors", epoch)?;
    world.kafka.kill_all();
    world.carrick.kill();
    world.carrick.restart()?;
    reads_on(&mut world, "after-a-restart-without-the-source", epoch)?;
    world
        .carrick
        .cli(&["mirror", "failover", "orders", "--link", LINK])?;
    reads_on(&mut world, "after-the-failover", epoch)?;
    println!("the source led in epoch {epoch}");
    Ok(())
}
