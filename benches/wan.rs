//! How much of a long path does a mirror that is far behind use? For comparison, over the same path: bytes copied by one
//! TCP connection. The mirror's rate counts from when a tenth has arrived; next to it, the time from its creation to its end.
//!
//! `WAN_MB` (1024) is the size of each topic, `WAN_RATE` (125) the path's megabytes a second, `WAN_RTT` (`10,50,100,200`)
//! its round trips in milliseconds, `WAN_PARTITIONS` (`1,8,100`) those of the topics. `WAN_CONNECTION_KB` limits what one
//! connection carries per round trip, as small socket buffers do (unset: the whole path).

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::str::FromStr;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use benches::memory::Watch;
use benches::raw_fetch::fetch_and_discard;
use harness::process::free_ports;
use harness::wan::{Path, Wan};
use harness::{Carrick, Kafka, Peer};
use serde_json::json;

const RECORD_BYTES: u64 = 8192;
/// The rate counts from when this part of a topic has arrived: until then the mirror is created and the path is measured.
const FROM_SHARE: u64 = 10;
const MB: f64 = 1e6;

const LIMIT: Duration = Duration::from_secs(600);

struct Topic {
    name: String,
    ends: Vec<i64>,
    /// Of its batches.
    bytes: u64,
}

/// What a mirror has shown.
struct Figure {
    /// Megabytes a second once it runs.
    steady: f64,
    /// From its creation to its end.
    seconds: f64,
    /// The most anonymous memory of its broker.
    peak_kib: u64,
}

#[expect(clippy::cast_precision_loss, reason = "figures for people")]
fn main() -> Result<()> {
    let megabytes: u64 = number("WAN_MB", 1024)?;
    let rate: u64 = number("WAN_RATE", 125)?;
    let round_trips = list("WAN_RTT", "10,50,100,200")?;
    let connection_bytes = match std::env::var("WAN_CONNECTION_KB") {
        Ok(text) => Some(text.parse::<u64>()? * 1000),
        Err(_) => None,
    };
    let [port] = free_ports()?;
    let advertised = format!("advertised.listeners=PLAINTEXT://127.0.0.1:{port}");
    let kafka = Kafka::start_cluster(1, &[&advertised])?;
    let wan = Wan::start(port, &kafka.address(1))?;
    let topics = list("WAN_PARTITIONS", "1,8,100")?
        .into_iter()
        .map(|partitions| fill(&wan, &kafka, megabytes, partitions))
        .collect::<Result<Vec<_>>>()?;
    println!("path of {rate} MB/s; topics of {megabytes} MB, records of {RECORD_BYTES} bytes");
    println!(
        "{:>7}{:>12}{:>11}{:>13}{:>10}{:>13}{:>11}{:>13}",
        "RTT ms",
        "partitions",
        "copy MB/s",
        "mirror MB/s",
        "of copy",
        "of the path",
        "seconds",
        "RssAnon MB"
    );
    for round_trip_ms in round_trips {
        let path = Path {
            round_trip: Duration::from_millis(round_trip_ms),
            bytes_per_second: rate * 1_000_000,
            connection_bytes,
        };
        for topic in &topics {
            let copied = copy(&wan, path, megabytes)?;
            let done = mirror(&wan, path, &kafka, topic)?;
            println!(
                "{round_trip_ms:>7}{:>12}{copied:>11.1}{:>13.1}{:>9.0}%{:>12.0}%{:>11.1}{:>13}",
                topic.ends.len(),
                done.steady,
                done.steady / copied * 100.0,
                done.steady / rate as f64 * 100.0,
                done.seconds,
                done.peak_kib / 1024,
            );
        }
    }
    Ok(())
}

fn number<T: FromStr>(name: &str, default: T) -> Result<T, T::Err> {
    std::env::var(name).map_or(Ok(default), |text| text.parse())
}

fn list(name: &str, default: &str) -> Result<Vec<u64>> {
    let text = std::env::var(name).unwrap_or_else(|_| default.to_owned());
    text.split(',')
        .map(|part| Ok(part.trim().parse()?))
        .collect()
}

fn fill(wan: &Wan, kafka: &Kafka, megabytes: u64, partitions: u64) -> Result<Topic> {
    let name = format!("load-{partitions}");
    let mut client = Peer::librdkafka(&wan.address())?;
    client.call(
        "create_topic",
        json!({"topic": name, "partitions": partitions}),
    )?;
    let count = megabytes * 1_000_000 / RECORD_BYTES / partitions;
    let mut ends: Vec<i64> = Vec::new();
    for partition in 0..partitions {
        let fields = json!({"topic": name, "partition": partition, "count": count,
            "min_bytes": RECORD_BYTES, "max_bytes": RECORD_BYTES, "config": {"linger.ms": "5"}});
        let last = client.call("produce", fields)?["last_offset"].as_i64();
        ends.push(last.context("no last offset")? + 1);
    }
    let read = fetch_and_discard(&kafka.address(1), &name, &ends)?;
    Ok(Topic {
        name,
        ends,
        bytes: read.batch_bytes,
    })
}

/// Megabytes a second of one TCP connection.
fn copy(wan: &Wan, path: Path, megabytes: u64) -> Result<f64> {
    let server = TcpListener::bind("127.0.0.1:0")?;
    wan.set(Some(path), &server.local_addr()?.to_string());
    let bytes = usize::try_from(megabytes * 1_000_000)?;
    let sending = std::thread::spawn(move || -> Result<()> {
        let (mut client, _) = server.accept()?;
        let part = vec![0; 1 << 20];
        let mut left = bytes;
        while left > 0 {
            let sent = left.min(part.len());
            client.write_all(&part[..sent])?;
            left -= sent;
        }
        Ok(())
    });
    let began = Instant::now();
    let mut client = TcpStream::connect(wan.address())?;
    let mut buffer = vec![0; 1 << 20];
    let mut came = 0;
    while came < bytes {
        let read = client.read(&mut buffer)?;
        ensure!(read > 0, "the copy ended after {came} bytes");
        came += read;
    }
    let rate = bytes as f64 / MB / began.elapsed().as_secs_f64();
    sending.join().ok().context("the sender panicked")??;
    Ok(rate)
}

fn mirror(wan: &Wan, path: Path, kafka: &Kafka, topic: &Topic) -> Result<Figure> {
    wan.set(Some(path), &kafka.address(1));
    let carrick = Carrick::start()?;
    carrick.link("bench", &wan.address(), &[])?;
    let watch = Watch::start(carrick.id().context("carrick is not running")?);
    let began = Instant::now();
    carrick.mirror("bench", &[&topic.name])?;
    let mut from = None;
    let all = loop {
        let bytes = carrick.mirrored_bytes(&topic.name)?;
        if from.is_none() && bytes * FROM_SHARE >= topic.bytes {
            from = Some((bytes, Instant::now()));
        }
        if bytes >= topic.bytes {
            break bytes;
        }
        ensure!(began.elapsed() < LIMIT, "{bytes} of {} bytes", topic.bytes);
        std::thread::sleep(Duration::from_millis(20));
    };
    let (before, since) = from.context("nothing came")?;
    let steady = (all - before) as f64 / MB / since.elapsed().as_secs_f64();
    let seconds = began.elapsed().as_secs_f64();
    carrick.wait_caught_up(&topic.name, &topic.ends, LIMIT)?;
    let mut bytes = 0;
    for (partition, end) in (0..).zip(&topic.ends) {
        let source = kafka.partition_dir(1, &topic.name, partition);
        let ours = carrick.partition_dir(&topic.name, partition);
        bytes += harness::segments::compare(&source, &ours, 0, *end)?.bytes;
    }
    ensure!(bytes as u64 == all, "{bytes} bytes stored, {all} counted");
    Ok(Figure {
        steady,
        seconds,
        peak_kib: watch.take_peak_kib(),
    })
}
