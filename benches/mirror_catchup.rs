//! How fast does a mirror catch up with a source that is far ahead, and what does it cost? Next to it, from the same
//! source in the same run: the topic fetched over one connection and thrown away.
//!
//! Prints every round; the median is what counts. Each round mirrors into a new data folder. `MIRROR_CATCHUP_MB` (1024) sets the
//! topic's size, `MIRROR_CATCHUP_ROUNDS` (5) how often.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use benches::cpu;
use benches::raw_fetch::fetch_and_discard;
use harness::{Carrick, Kafka, Peer};
use serde_json::json;

const TOPIC: &str = "load";
const PARTITIONS: i32 = 4;
const RECORD_BYTES: u64 = 1024;
const MIB: f64 = 1024.0 * 1024.0;

struct Figure {
    name: &'static str,
    seconds: f64,
    cpu_seconds: f64,
    bytes: u64,
}

fn main() -> Result<()> {
    let number = |name: &str, default| std::env::var(name).map_or(Ok(default), |v| v.parse());
    let megabytes: u64 = number("MIRROR_CATCHUP_MB", 1024)?;
    let rounds = number("MIRROR_CATCHUP_ROUNDS", 5)?.max(1);
    let kafka = Kafka::start()?;
    let ends = fill(&kafka, megabytes)?;
    // The first read warms the page cache for both.
    fetch_and_discard(&kafka.address(1), TOPIC, &ends)?;
    let (mut raws, mut mirrors) = (Vec::new(), Vec::new());
    for _ in 0..rounds {
        raws.push(raw(&kafka, &ends)?);
        mirrors.push(mirror(&kafka, &ends)?);
    }
    report(&raws, &mirrors)
}

fn fill(kafka: &Kafka, megabytes: u64) -> Result<Vec<i64>> {
    let mut client = Peer::librdkafka(&kafka.bootstrap())?;
    let fields = json!({"topic": TOPIC, "partitions": PARTITIONS});
    client.call("create_topic", fields)?;
    let count = megabytes * 1024 * 1024 / RECORD_BYTES / u64::from(PARTITIONS.cast_unsigned());
    let mut ends = Vec::new();
    for partition in 0..PARTITIONS {
        let fields = json!({"topic": TOPIC, "partition": partition, "count": count,
            "min_bytes": RECORD_BYTES, "max_bytes": RECORD_BYTES, "config": {"linger.ms": "20"}});
        let last = client.call("produce", fields)?["last_offset"].as_i64();
        ends.push(last.context("no last offset")? + 1);
    }
    Ok(ends)
}

fn raw(kafka: &Kafka, ends: &[i64]) -> Result<Figure> {
    let (begin, cpu_before) = (Instant::now(), cpu::seconds(std::process::id())?);
    let read = fetch_and_discard(&kafka.address(1), TOPIC, ends)?;
    Ok(Figure {
        name: "raw fetch, discarded",
        seconds: begin.elapsed().as_secs_f64(),
        cpu_seconds: cpu::seconds(std::process::id())? - cpu_before,
        bytes: read.batch_bytes,
    })
}

fn mirror(kafka: &Kafka, ends: &[i64]) -> Result<Figure> {
    let carrick = Carrick::start()?;
    carrick.link("bench", &kafka.bootstrap(), &[])?;
    let id = carrick.id().context("carrick is not running")?;
    let cpu_before = cpu::seconds(id)?;
    let begin = Instant::now();
    carrick.mirror("bench", &[TOPIC])?;
    carrick.wait_caught_up(TOPIC, ends, Duration::from_secs(300))?;
    let seconds = begin.elapsed().as_secs_f64();
    let cpu_seconds = cpu::seconds(id)? - cpu_before;
    let mut bytes = 0;
    for (partition, end) in (0..).zip(ends) {
        let (source, ours) = (
            kafka.partition_dir(1, TOPIC, partition),
            carrick.partition_dir(TOPIC, partition),
        );
        bytes += harness::segments::compare(&source, &ours, 0, *end)?.bytes as u64;
    }
    Ok(Figure {
        name: "mirrored by carrick",
        seconds,
        cpu_seconds,
        bytes,
    })
}

fn report(raws: &[Figure], mirrors: &[Figure]) -> Result<()> {
    println!(
        "{:<24}{:>9}{:>9}{:>9}{:>12}",
        "", "seconds", "MiB/s", "CPU s", "CPU s/GiB"
    );
    for (raw, mirror) in raws.iter().zip(mirrors) {
        raw.print();
        mirror.print();
        let percent = raw.seconds / mirror.seconds * 100.0;
        println!("{percent:>22.0} % of the raw rate");
    }
    let bytes = raws[0].bytes;
    ensure!(
        raws.iter().chain(mirrors).all(|f| f.bytes == bytes),
        "stored bytes are not the source's"
    );
    let seconds = |figures: &[Figure]| median(figures.iter().map(|f| f.seconds));
    println!(
        "stored bytes = source bytes = {bytes}; medians: {:.0} % of the raw rate, {:.2} CPU s/GiB",
        seconds(raws) / seconds(mirrors) * 100.0,
        median(mirrors.iter().map(Figure::cpu_seconds_per_gib)),
    );
    Ok(())
}

impl Figure {
    #[expect(clippy::cast_precision_loss, reason = "figures for people")]
    fn mib(&self) -> f64 {
        self.bytes as f64 / MIB
    }

    fn cpu_seconds_per_gib(&self) -> f64 {
        self.cpu_seconds / (self.mib() / 1024.0)
    }

    fn print(&self) {
        println!(
            "{:<24}{:>9.2}{:>9.0}{:>9.2}{:>12.2}",
            self.name,
            self.seconds,
            self.mib() / self.seconds,
            self.cpu_seconds,
            self.cpu_seconds_per_gib(),
        );
    }
}

fn median(figures: impl Iterator<Item = f64>) -> f64 {
    let mut figures: Vec<f64> = figures.collect();
    figures.sort_by(f64::total_cmp);
    figures[figures.len() / 2]
}
