//! Carrick's cleaner and Kafka's, on the same bytes.

use std::collections::BTreeMap;
use std::path::Path;

use carrick_protocol::batch::{Batch, RecordView, records};
use harness::kafka::run_tool;
use harness::{Carrick, Kafka, Result, segments, wait_until};
use serde_json::{Value, json};

use crate::world::{LIMIT, LINK, World, range};

/// Cleaners that look often.
const BUSY: &str = "log.cleaner.backoff.ms=200";

/// What is left of a batch, but for the delete horizon, which goes by each side's clock.
#[derive(Debug, PartialEq)]
struct Left {
    base: i64,
    last: i64,
    producer: (i64, i16, i32),
    kind: (bool, bool, bool),
    records: Vec<RecordView>,
}

#[test]
fn the_same_survives_as_at_kafkas_own_cleaner() -> Result<()> {
    let kafka = Kafka::start_cluster(1, &[])?;
    let mut world = World::start_both(kafka, Carrick::start_with(&[BUSY])?)?;
    write_everything(&mut world)?;
    world.carrick.link(
        LINK,
        &world.kafka.bootstrap(),
        &["topic.config.sync.ms=500"],
    )?;
    world.carrick.mirror(LINK, &["events"])?;
    world.wait_caught_up("events", 1)?;
    assert!(world.assert_identical("events", 1)? > 100);

    let configs = json!({"cleanup.policy": "compact", "min.cleanable.dirty.ratio": "0.01"});
    world.source.call(
        "alter_configs",
        json!({"topic": "events", "configs": configs}),
    )?;
    let source = world.kafka.partition_dir(1, "events", 0);
    let mirror = world.carrick.partition_dir("events", 0);
    let end = range(&mut world.source, "events", 0)?.1;
    let active = active_segment(&source)?;
    assert_eq!(
        active_segment(&mirror)?,
        active,
        "rolled at the same offsets"
    );
    let done = format!("events 0 {active}");
    wait_for_line(&source.with_file_name("cleaner-offset-checkpoint"), &done)?;
    wait_for_line(
        &mirror.join("cleaner-offset-checkpoint"),
        &active.to_string(),
    )?;

    let (theirs, ours) = (left(&source, end)?, left(&mirror, end)?);
    let survivors: usize = ours.iter().map(|batch| batch.records.len()).sum();
    println!(
        "{survivors} of {end} records in {} batches are left",
        ours.len()
    );
    assert!((survivors as i64) < end / 2);
    let differ = theirs.iter().zip(&ours).find(|(a, b)| a != b);
    assert!(differ.is_none(), "{differ:#?}");
    assert_eq!(theirs.len(), ours.len());

    for isolation in ["read_uncommitted", "read_committed"] {
        let asked = json!({"topic": "events", "isolation": isolation});
        let there = world.source.call("consume", asked.clone())?;
        let here = world.destination.call("consume", asked)?;
        assert_eq!(there["content"], here["content"], "{isolation}");
        assert_eq!(there["count"], here["count"]);
    }
    let verified = world.carrick.cli(&["mirror", "verify", "events"])?;
    assert_eq!(verified["identical"], json!(true), "{verified}");
    check_with_kafkas_own_tool(&mirror, active)
}

/// Keys of every kind, values and tombstones, every codec, transactions of either end, and plain records
/// without keys, which compaction drops.
fn write_everything(world: &mut World) -> Result<()> {
    world.topic("events", 1, json!({"segment.bytes": "1048576"}))?;
    for (round, codec) in ["none", "gzip", "snappy", "lz4", "zstd"].iter().enumerate() {
        let fields = |count: u32| {
            json!({"topic": "events", "count": count, "keys": 1200, "max_bytes": 600,
                "tombstones": true, "compression": codec, "seed": round,
                "config": {"linger.ms": "5"}})
        };
        world.source.call("produce", fields(2500))?;
        for outcome in ["commit", "abort"] {
            let mut fields = fields(300);
            fields["transactional_id"] = format!("{codec}-{outcome}").into();
            fields["outcome"] = outcome.into();
            world.source.call("transaction", fields)?;
        }
    }
    // The segments before are not the active one.
    let last = json!({"topic": "events", "count": 40, "keys": 3, "min_bytes": 60_000,
        "max_bytes": 60_000});
    world.source.call("produce", last)?;
    Ok(())
}

fn active_segment(dir: &Path) -> Result<i64> {
    let mut active = 0;
    for entry in std::fs::read_dir(dir)? {
        let name = entry?.file_name();
        if let Some(base) = name.to_string_lossy().strip_suffix(".log") {
            active = active.max(base.parse()?);
        }
    }
    Ok(active)
}

fn wait_for_line(checkpoint: &Path, line: &str) -> Result<()> {
    wait_until("the cleaner has nothing left to do", LIMIT, || {
        let text = std::fs::read_to_string(checkpoint).unwrap_or_default();
        Ok(if text.lines().any(|found| found == line) {
            Ok(())
        } else {
            Err(format!("{text:?} has no {line:?}"))
        })
    })
}

fn left(dir: &Path, end: i64) -> Result<Vec<Left>> {
    let mut left = Vec::new();
    for (base, bytes) in segments::batches(dir, 0, end)? {
        let batch = Batch::parse(&bytes)?;
        batch.verify_crc()?;
        let header = &batch.header;
        left.push(Left {
            base,
            last: header.last_offset().0,
            producer: (
                header.producer_id.0,
                header.producer_epoch,
                header.base_sequence,
            ),
            kind: (
                header.is_control(),
                header.is_transactional(),
                header.attributes.has_delete_horizon(),
            ),
            records: records(&batch, 64 << 20)?.collect::<std::result::Result<_, _>>()?,
        });
    }
    Ok(left)
}

/// `kafka-dump-log` reads the cleaned segments and their indexes, and complains about none. The active segment has no
/// indexes on the disk yet.
fn check_with_kafkas_own_tool(dir: &Path, active: i64) -> Result<()> {
    let tool = "org.apache.kafka.tools.DumpLogSegments";
    let files = |extension: &str| -> Result<Vec<String>> {
        let mut files = Vec::new();
        for entry in std::fs::read_dir(dir)? {
            let path = entry?.path();
            let base = path
                .file_stem()
                .and_then(|stem| stem.to_str()?.parse().ok());
            let is_sealed = base.is_some_and(|base: i64| base < active);
            if is_sealed && path.extension().is_some_and(|e| e == extension) {
                files.push(path.display().to_string());
            }
        }
        Ok(files)
    };
    let read = [files("log")?, files("txnindex")?].concat().join(",");
    let dumped = run_tool(tool, &["--files", &read, "--deep-iteration"])?;
    assert!(dumped.contains("isvalid: true"), "batches are listed");
    let is_complaint = |line: &&str| line.contains("isvalid: false") || line.contains("Exception");
    let complaints: Vec<&str> = dumped.lines().filter(is_complaint).collect();
    assert!(complaints.is_empty(), "{complaints:?}");
    let indexes = files("index")?;
    let checked = run_tool(
        tool,
        &["--files", &indexes.join(","), "--index-sanity-check"],
    )?;
    let count = |verdict| checked.matches(verdict).count();
    let (passed, empty) = (count("passed sanity check"), count("is empty"));
    assert_eq!(passed + empty, indexes.len(), "{checked}");
    assert!(passed > 0, "{checked}");
    Ok(())
}

#[test]
fn real_clients_find_all_last_values_in_a_compacted_topic() -> Result<()> {
    let mut world = World::start_both(Kafka::start()?, Carrick::start_with(&[BUSY])?)?;
    let configs = json!({"cleanup.policy": "compact", "segment.bytes": "1048576",
        "min.cleanable.dirty.ratio": "0.01"});
    let created = json!({"topic": "t", "partitions": 1, "configs": configs});
    world.destination.call("create_topic", created)?;
    let produced = |count: u32, seed: u32| {
        json!({"topic": "t", "count": count, "keys": 60, "max_bytes": 500, "seed": seed,
            "compression": "lz4"})
    };
    let mut everything = BTreeMap::new();
    for seed in 0..4 {
        world.destination.call("produce", produced(4000, seed))?;
    }
    let dir = world.carrick.partition_dir("t", 0);
    let end = range(&mut world.destination, "t", 0)?.1;
    assert_eq!(end, 16_000);
    let active = active_segment(&dir)?;
    wait_for_line(&dir.join("cleaner-offset-checkpoint"), &active.to_string())?;
    for batch in left(&dir, end)? {
        for record in batch.records {
            everything.insert(record.key, record.value);
        }
    }
    assert_eq!(everything.len(), 60, "every key has a value");
    let read: Value = world.destination.call("consume", json!({"topic": "t"}))?;
    println!("{read} of {end}");
    let count = read["count"].as_i64().unwrap_or(0);
    assert!(count < end / 2 && count >= 60, "{read}");
    assert_eq!(read["end_offset"], json!(end));
    Ok(())
}
