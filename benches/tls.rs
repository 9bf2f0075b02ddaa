//! What does TLS cost? A mirror over TLS beside one over plaintext from the same source, then production and
//! consumption over TLS beside Apache Kafka with TLS: the same Java tools with the same settings, in the same run.
//!
//! Counts the CPU of the brokers alone. Rounds alternate; the medians are what counts. `TLS_MB` (1024) sets how much is
//! mirrored, written and read in each round, `TLS_ROUNDS` (3) how often; Apache Kafka warms up with a round that does
//! not count.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use benches::cpu;
use harness::certificates::Authority;
use harness::kafka::run_tool;
use harness::{Carrick, Kafka, carrick, kafka};
use tempfile::TempDir;

const TOPIC: &str = "load";
const PARTITIONS: i32 = 4;
const RECORD_BYTES: u64 = 1024;
const GIB: f64 = (1 << 30) as f64;
const LIMIT: Duration = Duration::from_secs(600);

/// What one round of one case took.
#[derive(Debug, Clone, Copy)]
struct Figure {
    seconds: f64,
    cpu_seconds: f64,
}

fn main() -> Result<()> {
    let number = |name: &str, default| std::env::var(name).map_or(Ok(default), |v| v.parse());
    let records = number("TLS_MB", 1024)? * 1024 * 1024 / RECORD_BYTES;
    let rounds = number("TLS_ROUNDS", 3)?.max(1);
    let files = Files::write()?;
    let both = Brokers::start(&files)?;
    both.fill(records)?;
    println!(
        "{:<44}{:>9}{:>9}{:>9}{:>12}",
        "", "seconds", "MiB/s", "CPU s", "CPU s/GiB"
    );
    let (mut plain, mut tls) = (Vec::new(), Vec::new());
    for _ in 0..rounds {
        plain.push(both.mirror("mirror, plaintext", &[], records)?);
        tls.push(both.mirror("mirror, TLS", &files.client(), records)?);
    }
    compare("mirror over TLS to plaintext", &tls, &plain);
    let kafka = Target::kafka(&both.kafka)?;
    let ours = Target::carrick(&both.carrick)?;
    kafka.round(&files, "warm-up", records)?;
    let mut figures = [const { Vec::new() }; 4];
    for round in 0..rounds {
        let name = format!("round-{round}");
        let [produced, consumed] = kafka.round(&files, &name, records)?;
        figures[0].push(produced);
        figures[1].push(consumed);
        let [produced, consumed] = ours.round(&files, &name, records)?;
        figures[2].push(produced);
        figures[3].push(consumed);
    }
    compare(
        "produce over TLS, Carrick to Kafka",
        &figures[2],
        &figures[0],
    );
    compare(
        "consume over TLS, Carrick to Kafka",
        &figures[3],
        &figures[1],
    );
    Ok(())
}

/// Certificates, and the properties that name them.
struct Files {
    folder: TempDir,
}

impl Files {
    fn write() -> Result<Self> {
        let folder = TempDir::new()?;
        let authority = Authority::new("bench")?;
        authority.write(folder.path(), "ca.pem")?;
        authority.write_identity(folder.path(), "broker.pem", "127.0.0.1")?;
        let files = Self { folder };
        std::fs::write(files.path("client.properties"), files.client().join("\n"))?;
        Ok(files)
    }

    fn path(&self, name: &str) -> String {
        self.folder.path().join(name).display().to_string()
    }

    fn broker(&self) -> [String; 2] {
        [
            "ssl.keystore.type=PEM".to_owned(),
            format!("ssl.keystore.location={}", self.path("broker.pem")),
        ]
    }

    fn client(&self) -> [String; 3] {
        [
            "security.protocol=SSL".to_owned(),
            "ssl.truststore.type=PEM".to_owned(),
            format!("ssl.truststore.location={}", self.path("ca.pem")),
        ]
    }
}

/// The two, with the same listeners and certificate.
struct Brokers {
    kafka: Kafka,
    carrick: Carrick,
}

impl Brokers {
    fn start(files: &Files) -> Result<Self> {
        let properties = files.broker();
        let properties: Vec<&str> = properties.iter().map(String::as_str).collect();
        let (properties, protocols) = (&properties[..], &["SSL"][..]);
        Ok(Self {
            kafka: Kafka::start_as(kafka::Setup {
                properties,
                protocols,
                ..kafka::Setup::default()
            })?,
            carrick: Carrick::start_as(carrick::Setup {
                properties,
                protocols,
            })?,
        })
    }

    /// Fills the topic that is mirrored.
    fn fill(&self, records: u64) -> Result<()> {
        let plain = self.kafka.bootstrap();
        create(&plain, TOPIC, None)?;
        produce(&plain, TOPIC, records, None)
    }

    /// Mirrors the source's topic into a new Carrick, over its TLS listener if `security` says so.
    fn mirror(&self, name: &str, security: &[String], records: u64) -> Result<Figure> {
        let carrick = Carrick::start()?;
        let source = match security {
            [] => self.kafka.bootstrap(),
            _ => self.kafka.listener(1, "SSL"),
        };
        let configs: Vec<&str> = security.iter().map(String::as_str).collect();
        carrick.link("bench", &source, &configs)?;
        let id = carrick.id().context("carrick is not running")?;
        let (begin, cpu_before) = (Instant::now(), cpu::seconds(id)?);
        carrick.mirror("bench", &[TOPIC])?;
        let ends = ends(&self.kafka.bootstrap(), TOPIC)?;
        ensure!(
            ends.iter().sum::<i64>() == i64::try_from(records)?,
            "the source has {ends:?}"
        );
        carrick.wait_caught_up(TOPIC, &ends, LIMIT)?;
        Ok(Figure::since(
            name,
            begin,
            cpu::seconds(id)? - cpu_before,
            records,
        ))
    }
}

/// A broker that is written to and read from.
struct Target {
    name: &'static str,
    id: u32,
    address: String,
}

impl Target {
    fn kafka(kafka: &Kafka) -> Result<Self> {
        Ok(Self {
            name: "Apache Kafka",
            id: kafka.process_id(1).context("kafka is not running")?,
            address: kafka.listener(1, "SSL"),
        })
    }

    fn carrick(carrick: &Carrick) -> Result<Self> {
        Ok(Self {
            name: "Carrick",
            id: carrick.id().context("carrick is not running")?,
            address: carrick.listener("SSL"),
        })
    }

    /// Writes and reads a topic of its own.
    fn round(&self, files: &Files, topic: &str, records: u64) -> Result<[Figure; 2]> {
        let config = files.path("client.properties");
        let config = Some(Path::new(&config));
        create(&self.address, topic, config)?;
        let (begin, before) = (Instant::now(), cpu::seconds(self.id)?);
        produce(&self.address, topic, records, config)?;
        let used = cpu::seconds(self.id)? - before;
        let produced = Figure::since(
            &format!("{topic}: produce, {}", self.name),
            begin,
            used,
            records,
        );
        let (begin, before) = (Instant::now(), cpu::seconds(self.id)?);
        consume(&self.address, topic, records, config)?;
        let used = cpu::seconds(self.id)? - before;
        let consumed = Figure::since(
            &format!("{topic}: consume, {}", self.name),
            begin,
            used,
            records,
        );
        Ok([produced, consumed])
    }
}

fn create(address: &str, topic: &str, config: Option<&Path>) -> Result<()> {
    let partitions = PARTITIONS.to_string();
    let mut args = vec![
        "--bootstrap-server",
        address,
        "--create",
        "--topic",
        topic,
        "--partitions",
        &partitions,
    ];
    let config = config.map(|it| it.display().to_string());
    if let Some(config) = &config {
        args.extend(["--command-config", config]);
    }
    run_tool("org.apache.kafka.tools.TopicCommand", &args).map(drop)
}

fn produce(address: &str, topic: &str, records: u64, config: Option<&Path>) -> Result<()> {
    let (records, bytes) = (records.to_string(), RECORD_BYTES.to_string());
    let server = format!("bootstrap.servers={address}");
    let mut args = vec![
        "--topic",
        topic,
        "--num-records",
        &records,
        "--record-size",
        &bytes,
        "--throughput",
        "-1",
        "--producer-props",
        &server,
        "acks=all",
        "linger.ms=5",
        "batch.size=65536",
    ];
    let config = config.map(|it| it.display().to_string());
    if let Some(config) = &config {
        args.extend(["--producer.config", config]);
    }
    run_tool("org.apache.kafka.tools.ProducerPerformance", &args).map(drop)
}

fn consume(address: &str, topic: &str, records: u64, config: Option<&Path>) -> Result<()> {
    let records = records.to_string();
    let mut args = vec![
        "--bootstrap-server",
        address,
        "--topic",
        topic,
        "--messages",
        &records,
        "--timeout",
        "60000",
    ];
    let config = config.map(|it| it.display().to_string());
    if let Some(config) = &config {
        args.extend(["--consumer.config", config]);
    }
    run_tool("org.apache.kafka.tools.ConsumerPerformance", &args).map(drop)
}

/// The partitions' ends.
fn ends(address: &str, topic: &str) -> Result<Vec<i64>> {
    let args = ["--bootstrap-server", address, "--topic", topic];
    let printed = run_tool("org.apache.kafka.tools.GetOffsetShell", &args)?;
    let each = printed.lines().map(|line| {
        let end = line.rsplit(':').next().context("no offset")?;
        end.trim().parse().context("an offset")
    });
    each.collect()
}

impl Figure {
    #[expect(clippy::cast_precision_loss, reason = "figures for people")]
    fn since(name: &str, begin: Instant, cpu_seconds: f64, records: u64) -> Self {
        let seconds = begin.elapsed().as_secs_f64();
        let gib = (records * RECORD_BYTES) as f64 / GIB;
        println!(
            "{name:<44}{seconds:>9.2}{:>9.0}{cpu_seconds:>9.2}{:>12.2}",
            gib * 1024.0 / seconds,
            cpu_seconds / gib
        );
        Self {
            seconds,
            cpu_seconds,
        }
    }
}

/// Prints how the medians compare.
fn compare(name: &str, these: &[Figure], those: &[Figure]) {
    let ratio =
        |of: fn(&Figure) -> f64| median(these.iter().map(of)) / median(those.iter().map(of));
    println!(
        "=> {name}: throughput {:.2}, CPU per GiB {:.2}",
        1.0 / ratio(|it| it.seconds),
        ratio(|it| it.cpu_seconds)
    );
}

fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut all: Vec<f64> = values.collect();
    all.sort_by(f64::total_cmp);
    all[all.len() / 2]
}
