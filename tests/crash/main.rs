//! Carrick is killed with SIGKILL at random points under load, and is whole afterwards.
//!
//! `CRASH_ROUNDS` kills in one run (25 of a mirror, 15 with transactions and groups); `CRASH_SEED` repeats a run's points
//! in time.

mod deletion;
mod stops;
mod transactions;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use harness::{Carrick, Kafka, Peer, Result, segments};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use rdkafka::ClientConfig;
use rdkafka::ClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::message::{DeliveryResult, Message};
use rdkafka::producer::{BaseRecord, Producer, ProducerContext, ThreadedProducer};
use serde_json::json;

const LIMIT: Duration = Duration::from_secs(120);

fn setting(name: &str, otherwise: u64) -> u64 {
    std::env::var(name)
        .ok()
        .and_then(|v| v.parse().ok())
        .unwrap_or(otherwise)
}

/// The points in time of a run, told so that it can be repeated.
fn random(rounds: u64) -> Result<StdRng> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH)?;
    let seed = setting("CRASH_SEED", u64::from(now.subsec_nanos()));
    println!("CRASH_SEED={seed} CRASH_ROUNDS={rounds}");
    Ok(StdRng::seed_from_u64(seed))
}

/// Sequence numbers whose delivery was confirmed by the broker.
#[derive(Clone, Default)]
struct Acked(Arc<parking_lot::Mutex<Vec<u64>>>);

impl ClientContext for Acked {}

impl ProducerContext for Acked {
    type DeliveryOpaque = Box<u64>;

    fn delivery(&self, result: &DeliveryResult<'_>, sequence: Box<u64>) {
        if result.is_ok() {
            self.0.lock().push(*sequence);
        }
    }
}

/// Writes numbered records to a local topic of `bootstrap` until stopped, riding out every restart.
fn write_locally(
    bootstrap: &str,
    stop: &Arc<AtomicBool>,
) -> Result<(Acked, thread::JoinHandle<u64>)> {
    let acked = Acked::default();
    let producer: ThreadedProducer<Acked> = ClientConfig::new()
        .set("bootstrap.servers", bootstrap)
        .set("enable.idempotence", "true")
        .set("message.timeout.ms", "300000")
        .set("reconnect.backoff.max.ms", "100")
        .set("linger.ms", "2")
        .create_with_context(acked.clone())?;
    let stop = stop.clone();
    let thread = thread::spawn(move || {
        let mut sequence = 0_u64;
        while !stop.load(Ordering::Acquire) {
            let payload = sequence.to_string();
            let record = BaseRecord::with_opaque_to("local", Box::new(sequence))
                .partition(0)
                .key("k")
                .payload(&payload);
            if producer.send(record).is_ok() {
                sequence += 1;
            }
            if sequence.is_multiple_of(20) {
                thread::sleep(Duration::from_millis(5));
            }
        }
        let _ = producer.flush(Duration::from_secs(60));
        sequence
    });
    Ok((acked, thread))
}

/// All payloads of the local topic, in offset order.
fn read_locally(bootstrap: &str, count: i64) -> Result<Vec<u64>> {
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", bootstrap)
        .set("group.id", "reader")
        .set("auto.offset.reset", "earliest")
        .create()?;
    let mut list = rdkafka::TopicPartitionList::new();
    list.add_partition_offset("local", 0, rdkafka::Offset::Beginning)?;
    consumer.assign(&list)?;
    let mut seen = Vec::new();
    while i64::try_from(seen.len())? < count {
        let message = consumer.poll(LIMIT);
        let message =
            message.ok_or_else(|| anyhow::anyhow!("only {} of {count}", seen.len()))??;
        let text = String::from_utf8_lossy(message.payload().unwrap_or_default()).into_owned();
        seen.push(text.parse()?);
    }
    Ok(seen)
}

/// Writes to the source's two partitions until stopped.
fn load_source(bootstrap: &str, stop: &Arc<AtomicBool>) -> Result<thread::JoinHandle<Result<u64>>> {
    let mut peer = Peer::java(bootstrap)?;
    let stop = stop.clone();
    Ok(thread::spawn(move || {
        let written = AtomicU64::new(0);
        let mut round = 0;
        while !stop.load(Ordering::Acquire) {
            round += 1;
            let codec = ["none", "lz4", "zstd", "gzip"][round % 4];
            let fields = json!({"topic": "orders", "partition": round % 2, "count": 3000, "keys": 9,
                "compression": codec, "max_bytes": 2500, "seed": round});
            peer.call("produce", fields)?;
            let outcome = if round % 3 == 0 { "abort" } else { "commit" };
            let fields = json!({"topic": "orders", "partition": round % 2, "count": 100,
                "transactional_id": "t", "outcome": outcome});
            peer.call("transaction", fields)?;
            written.fetch_add(3100, Ordering::AcqRel);
        }
        Ok(written.into_inner())
    }))
}

/// Waits until the mirror has all that the source has, and compares; gives the bytes compared.
fn wait_identical(source: &mut Peer, kafka: &Kafka, carrick: &Carrick) -> Result<usize> {
    let mut ends = Vec::new();
    for partition in 0..2 {
        let range = source.call(
            "offsets",
            json!({"topic": "orders", "partition": partition}),
        )?;
        ends.push(range["end"].as_i64().unwrap_or(-1));
    }
    carrick.wait_caught_up("orders", &ends, LIMIT)?;
    let mut bytes = 0;
    for (partition, end) in (0..).zip(&ends) {
        let (theirs, ours) = (
            kafka.partition_dir(1, "orders", partition),
            carrick.partition_dir("orders", partition),
        );
        bytes += segments::compare(&theirs, &ours, 0, *end)?.bytes;
    }
    Ok(bytes)
}

#[test]
fn killed_at_random_points_it_ends_identical_and_keeps_what_it_acked() -> Result<()> {
    let rounds = setting("CRASH_ROUNDS", 25);
    let mut random = random(rounds)?;

    let kafka = Kafka::start()?;
    let mut source = Peer::java(&kafka.bootstrap())?;
    let configs = json!({"segment.bytes": "4194304"});
    source.call(
        "create_topic",
        json!({"topic": "orders", "partitions": 2, "configs": configs}),
    )?;
    let mut carrick = Carrick::start_with(&["log.segment.bytes=2097152"])?;
    Peer::java(&carrick.bootstrap())?.call("create_topic", json!({"topic": "local"}))?;
    carrick.link("dr", &kafka.bootstrap(), &["reconnect.backoff.max.ms=100"])?;
    carrick.mirror("dr", &["orders"])?;

    let stop = Arc::new(AtomicBool::new(false));
    let load = load_source(&kafka.bootstrap(), &stop)?;
    let (acked, writer) = write_locally(&carrick.bootstrap(), &stop)?;
    let mut kills = 0;
    for _ in 0..rounds {
        thread::sleep(Duration::from_millis(random.random_range(20..1500)));
        carrick.kill();
        kills += 1;
        carrick.restart()?;
    }
    stop.store(true, Ordering::Release);
    let written = load
        .join()
        .map_err(|_| anyhow::anyhow!("the load panicked"))??;
    let sent = writer
        .join()
        .map_err(|_| anyhow::anyhow!("the writer panicked"))?;

    let bytes = wait_identical(&mut source, &kafka, &carrick)?;
    let range = Peer::java(&carrick.bootstrap())?.call("offsets", json!({"topic": "local"}))?;
    let stored = read_locally(&carrick.bootstrap(), range["end"].as_i64().unwrap_or(-1))?;
    let acked = acked.0.lock().clone();
    println!(
        "{kills} kills; mirrored {written} records, {bytes} bytes; local: {sent} sent, {} acked, {} stored",
        acked.len(),
        stored.len()
    );
    assert!(
        acked.len() > 100,
        "the local writer got through: {}",
        acked.len()
    );
    let mut sorted = stored.clone();
    sorted.sort_unstable();
    let lost: Vec<&u64> = acked
        .iter()
        .filter(|n| sorted.binary_search(n).is_err())
        .collect();
    assert!(lost.is_empty(), "acked and lost: {lost:?}");
    sorted.dedup();
    assert_eq!(
        sorted.len(),
        stored.len(),
        "an idempotent producer's retries are not stored twice"
    );
    Ok(())
}
