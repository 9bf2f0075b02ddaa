//! How much later does a record reach a consumer of a mirror than a consumer of the source? The same record, the same
//! run, one clock; next to it MirrorMaker 2 from the same source into a second Apache Kafka.
//!
//! `MIRROR_LAG_RATES` (1000,10000) are the records a second, `MIRROR_LAG_SECONDS` (20) how long each is held,
//! `MIRROR_LAG_ROUNDS` (2) how often all of it is done; `MIRROR_LAG_MM2=0` leaves MirrorMaker out.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use benches::latency::{self, Load, Place, Reader, percentile};
use harness::process::Process;
use harness::{Carrick, Kafka, Peer, kafka, wait_until};
use serde_json::json;

const TOPIC: &str = "load";
const PARTITIONS: i32 = 4;
const RECORD_BYTES: usize = 1024;
/// What is left out at the beginning of each load, seconds: connections and compilers warm up.
const WARM_UP_SECONDS: u64 = 3;
const LIMIT: Duration = Duration::from_secs(120);

fn main() -> Result<()> {
    let setting =
        |name: &str, otherwise: &str| std::env::var(name).unwrap_or_else(|_| otherwise.to_owned());
    let rates: Vec<u64> = setting("MIRROR_LAG_RATES", "1000,10000")
        .split(',')
        .map(str::parse)
        .collect::<std::result::Result<_, _>>()?;
    let seconds: u64 = setting("MIRROR_LAG_SECONDS", "20").parse()?;
    let rounds: u64 = setting("MIRROR_LAG_ROUNDS", "2").parse()?;
    let with_maker = setting("MIRROR_LAG_MM2", "1") != "0";

    let mut bench = Bench::start(seconds)?;
    header();
    for _ in 0..rounds {
        let carrick = bench.carrick()?;
        for rate in &rates {
            bench.measure("carrick", &carrick.1, *rate)?;
        }
        drop(carrick);
        if with_maker {
            let maker = bench.mirror_maker()?;
            for rate in &rates {
                bench.measure("MirrorMaker 2", &maker.place, *rate)?;
            }
        }
    }
    Ok(())
}

struct Bench {
    source: Kafka,
    place: Place,
    seconds: u64,
    runs: u64,
    clock: Instant,
}

/// MirrorMaker 2, what it writes to, and its folder.
struct Maker {
    place: Place,
    _process: Process,
    _target: Kafka,
    _folder: tempfile::TempDir,
}

impl Bench {
    fn start(seconds: u64) -> Result<Self> {
        let source = Kafka::start()?;
        let mut client = Peer::librdkafka(&source.bootstrap())?;
        let fields = json!({"topic": TOPIC, "partitions": PARTITIONS});
        client.call("create_topic", fields)?;
        let place = Place {
            address: source.address(1),
            topic: TOPIC.to_owned(),
            partitions: PARTITIONS,
        };
        let clock = Instant::now();
        let mut bench = Self {
            source,
            place,
            seconds,
            runs: 0,
            clock,
        };
        // The source's compiler warms up, for whoever is measured first.
        let load = bench.load(1_000, seconds.min(10));
        let reader = wait_until("the new topic has leaders", LIMIT, || {
            Ok(Reader::start(&bench.place, load).map_err(|error| error.to_string()))
        })?;
        latency::write(&bench.place, load)?;
        reader.finish()?;
        Ok(bench)
    }

    fn load(&mut self, per_second: u64, seconds: u64) -> Load {
        self.runs += 1;
        Load {
            per_second,
            seconds,
            record_bytes: RECORD_BYTES,
            run: self.runs,
            clock: self.clock,
        }
    }

    /// A Carrick that mirrors the topic from its present end on.
    fn carrick(&self) -> Result<(Carrick, Place)> {
        let carrick = Carrick::start()?;
        carrick.link(
            "bench",
            &self.source.bootstrap(),
            &["mirror.start.offset.spec=latest"],
        )?;
        carrick.mirror("bench", &[TOPIC])?;
        carrick.wait_caught_up(TOPIC, &latency::ends_of(&self.place)?, LIMIT)?;
        let place = Place {
            address: carrick.bootstrap(),
            ..self.place.clone()
        };
        Ok((carrick, place))
    }

    /// MirrorMaker 2 with its defaults, except one replica and no work other than the topic.
    fn mirror_maker(&mut self) -> Result<Maker> {
        let target = Kafka::start()?;
        let folder = tempfile::tempdir()?;
        let text = format!(
            "clusters=source, target\nsource.bootstrap.servers={}\ntarget.bootstrap.servers={}\n\
             source->target.enabled=true\nsource->target.topics={TOPIC}\n\
             source->target.emit.heartbeats.enabled=false\nsource->target.emit.checkpoints.enabled=false\n\
             source->target.source.consumer.auto.offset.reset=latest\n\
             target->source.enabled=false\ntarget->source.emit.heartbeats.enabled=false\n\
             replication.factor=1\ncheckpoints.topic.replication.factor=1\nheartbeats.topic.replication.factor=1\n\
             offset-syncs.topic.replication.factor=1\noffset.storage.replication.factor=1\n\
             status.storage.replication.factor=1\nconfig.storage.replication.factor=1\n",
            self.source.bootstrap(),
            target.bootstrap()
        );
        let properties = folder.path().join("mm2.properties");
        std::fs::write(&properties, text)?;
        let mut command = kafka::java_apps("-Xmx512m")?;
        command
            .arg("org.apache.kafka.connect.mirror.MirrorMaker")
            .arg(&properties);
        let process = Process::spawn("mirror maker", command, &folder.path().join("mm2.log"))?;
        let place = Place {
            address: target.address(1),
            topic: format!("source.{TOPIC}"),
            partitions: PARTITIONS,
        };
        // It copies once a record that was just written arrives.
        wait_until("MirrorMaker copies", LIMIT, || {
            let load = self.load(1_000, 1);
            let reader = match Reader::start(&place, load) {
                Ok(reader) => reader,
                Err(error) => return Ok(Err(error.to_string())),
            };
            latency::write(&self.place, load)?;
            let begin = Instant::now();
            while !reader.is_finished() && begin.elapsed() < Duration::from_secs(5) {
                std::thread::sleep(Duration::from_millis(50));
            }
            Ok(if reader.is_finished() {
                Ok(())
            } else {
                reader.abandon();
                Err("nothing came".to_owned())
            })
        })
        .with_context(|| process.log_tail())?;
        Ok(Maker {
            place,
            _process: process,
            _target: target,
            _folder: folder,
        })
    }

    fn measure(&mut self, what: &str, mirror: &Place, rate: u64) -> Result<()> {
        let load = self.load(rate, self.seconds + WARM_UP_SECONDS);
        let at_source = Reader::start(&self.place, load)?;
        let at_mirror = Reader::start(mirror, load)?;
        latency::write(&self.place, load)?;
        let warm = usize::try_from(rate * WARM_UP_SECONDS)?;
        let in_us = |latencies: Vec<u64>| -> Vec<i64> {
            let measured = latencies.into_iter().skip(warm);
            measured
                .map(|ns| i64::try_from(ns / 1_000).unwrap_or(i64::MAX))
                .collect()
        };
        report(
            what,
            rate,
            &in_us(at_source.finish()?),
            &in_us(at_mirror.finish()?),
        );
        Ok(())
    }
}

fn header() {
    println!(
        "milliseconds from the write on           source          mirror      difference   the same record\n\
         {:<16}{:>8}{:>8}{:>8}{:>8}{:>8}{:>8}{:>8}{:>9}{:>8}",
        "", "rec/s", "p50", "p99", "p50", "p99", "p50", "p99", "p50", "p99"
    );
}

fn report(what: &str, rate: u64, source: &[i64], mirror: &[i64]) {
    let later: Vec<i64> = mirror.iter().zip(source).map(|(m, s)| m - s).collect();
    #[expect(clippy::cast_precision_loss, reason = "figures for people")]
    let ms = |us: i64| us as f64 / 1_000.0;
    let [s50, s99] = [50, 99].map(|percent| ms(percentile(source, percent)));
    let [m50, m99] = [50, 99].map(|percent| ms(percentile(mirror, percent)));
    let [l50, l99] = [50, 99].map(|percent| ms(percentile(&later, percent)));
    println!(
        "{what:<16}{rate:>8}{s50:>8.2}{s99:>8.2}{m50:>8.2}{m99:>8.2}{:>+8.2}{:>+8.2}{l50:>+9.2}{l99:>+8.2}",
        m50 - s50,
        m99 - s99
    );
}
