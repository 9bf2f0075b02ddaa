//! Every batch at the mirror is the source's, byte for byte.

use std::path::Path;

use harness::{Carrick, Kafka, Result, segments, wait_until};
use serde_json::json;

use crate::world::{LIMIT, World};

#[test]
fn batches_of_every_codec_and_kind_are_the_sources_own() -> Result<()> {
    // What is compacted here, too, is not the source's any more.
    let carrick = Carrick::start_with(&["log.cleaner.enable=false"])?;
    let mut world = World::start_both(Kafka::start()?, carrick)?;
    for codec in ["none", "gzip", "snappy", "lz4", "zstd"] {
        world.topic(codec, 2, json!({}))?;
        for partition in 0..2 {
            let fields = json!({"topic": codec, "partition": partition, "count": 2000, "keys": 50,
                "compression": codec, "max_bytes": 2000, "config": {"linger.ms": "5"}});
            world.source.call("produce", fields)?;
        }
    }
    write_transactions(&mut world)?;
    write_sizes_up_to_5_mb(&mut world)?;
    write_compacted(&mut world)?;

    world.mirror(&[
        "none",
        "gzip",
        "snappy",
        "lz4",
        "zstd",
        "txn",
        "sizes",
        "compacted",
    ])?;

    for (topic, partitions) in [
        ("none", 2),
        ("gzip", 2),
        ("snappy", 2),
        ("lz4", 2),
        ("zstd", 2),
        ("txn", 1),
        ("sizes", 1),
        ("compacted", 1),
    ] {
        world.wait_caught_up(topic, partitions)?;
        assert!(
            world.assert_identical(topic, partitions)? > 0,
            "{topic} is empty"
        );
        let verified = world.carrick.cli(&["mirror", "verify", topic])?;
        assert_eq!(verified["identical"], json!(true), "{verified}");
    }
    Ok(())
}

/// Commits, aborts, and plain records between them.
fn write_transactions(world: &mut World) -> Result<()> {
    world.topic("txn", 1, json!({}))?;
    for round in 0..6 {
        let outcome = if round % 2 == 0 { "commit" } else { "abort" };
        let id = format!("writer-{}", round % 3);
        let fields =
            json!({"topic": "txn", "transactional_id": id, "count": 100, "outcome": outcome});
        world.source.call("transaction", fields)?;
        world
            .source
            .call("produce", json!({"topic": "txn", "count": 10}))?;
    }
    Ok(())
}

fn write_sizes_up_to_5_mb(world: &mut World) -> Result<()> {
    world.topic("sizes", 1, json!({"max.message.bytes": "8388608"}))?;
    for bytes in [1, 10, 1_000, 100_000, 1_000_000, 5_000_000, 1, 5_000_000] {
        let fields = json!({"topic": "sizes", "count": 2, "min_bytes": bytes, "max_bytes": bytes});
        world.source.call("produce", fields)?;
    }
    Ok(())
}

/// Small segments and few keys; returns when the source's cleaner has been through and has left gaps.
fn write_compacted(world: &mut World) -> Result<()> {
    let configs = json!({"cleanup.policy": "compact", "segment.bytes": "1048576",
        "min.cleanable.dirty.ratio": "0.01"});
    world.topic("compacted", 1, configs)?;
    // Many keys first, of which most never come again: what is kept of them leaves holes between and within batches.
    world.source.call(
        "produce",
        json!({"topic": "compacted", "count": 6000, "keys": 3000, "seed": 1}),
    )?;
    let fields =
        json!({"topic": "compacted", "count": 20_000, "keys": 40, "max_bytes": 400, "seed": 2});
    let end = world.source.call("produce", fields)?["last_offset"]
        .as_i64()
        .unwrap_or(0)
        + 1;
    let dir = world.kafka.partition_dir(1, "compacted", 0);
    wait_until("the source's cleaner has nothing left to do", LIMIT, || {
        cleaned_to_the_active_segment(&dir)
    })?;
    wait_until("the source's cleaner has left gaps", LIMIT, || {
        let batches = segments::batches(&dir, 0, end)?;
        let gaps = batches.windows(2).filter(|pair| {
            let header = carrick_protocol::batch::BatchHeader::parse(&pair[0].1);
            header.is_ok_and(|h| h.next_offset().0 < pair[1].0)
        });
        let gaps = gaps.count();
        Ok(if gaps > 0 {
            Ok(())
        } else {
            Err(format!("{} batches, no gap", batches.len()))
        })
    })
}

/// The cleaner's own checkpoint stands at the active segment: it will not rewrite this partition again, and what the
/// mirror fetches is what the comparison finds. Without this the cleaner may go through once more in between.
fn cleaned_to_the_active_segment(dir: &Path) -> Result<std::result::Result<(), String>> {
    let mut active = 0;
    for entry in std::fs::read_dir(dir)? {
        let name = entry?.file_name();
        let name = name.to_string_lossy();
        if let Some(base) = name.strip_suffix(".log") {
            active = active.max(base.parse::<i64>()?);
        }
    }
    let checkpoint = dir.with_file_name("cleaner-offset-checkpoint");
    let text = std::fs::read_to_string(&checkpoint).unwrap_or_default();
    let line = format!("compacted 0 {active}");
    Ok(if active > 0 && text.lines().any(|l| l == line) {
        Ok(())
    } else {
        Err(format!("active segment {active}, checkpoint {text:?}"))
    })
}
