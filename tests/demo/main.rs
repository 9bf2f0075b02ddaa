//! `make demo`: a source cluster with real-looking topics, a link, byte identity, a refused write, the loss of the
//! source, a failover with its report, and the unchanged client going on at Carrick.
//!
//! `--source kafka` (default) starts a real Apache Kafka; `--source carrick` a second Carrick, which needs no Java.
//! Everything runs on loopback in temporary folders and is gone afterwards.

use std::path::PathBuf;
use std::time::Instant;

use anyhow::{Context, bail};
use harness::{Carrick, Kafka, Peer, Result, segments};
use serde_json::{Value, json};

const LINK: &str = "dr";
/// Name, partitions, records a partition, codec.
const TOPICS: [(&str, i32, i64, &str); 4] = [
    ("orders", 4, 40_000, "lz4"),
    ("payments", 2, 20_000, "zstd"),
    ("clicks", 4, 60_000, "snappy"),
    ("audit", 1, 10_000, "gzip"),
];

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let source = match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [] | ["--source", "kafka"] => Source::kafka()?,
        ["--source", "carrick"] => Source::carrick()?,
        _ => bail!("usage: demo [--source kafka|carrick]"),
    };
    Demo {
        source,
        carrick: Carrick::start()?,
        started: Instant::now(),
        seen: Vec::new(),
    }
    .run()
}

/// The cluster that will be lost.
enum Source {
    Kafka(Kafka, Peer),
    Carrick(Box<Carrick>, Peer),
}

impl Source {
    fn kafka() -> Result<Self> {
        say("starting a real Apache Kafka as the source");
        let kafka = Kafka::start()?;
        let client = Peer::java(&kafka.bootstrap())?;
        Ok(Self::Kafka(kafka, client))
    }

    fn carrick() -> Result<Self> {
        say("starting a second Carrick as the source");
        let carrick = Carrick::start()?;
        let client = Peer::librdkafka(&carrick.bootstrap())?;
        Ok(Self::Carrick(Box::new(carrick), client))
    }

    fn client(&mut self) -> &mut Peer {
        match self {
            Self::Kafka(_, client) | Self::Carrick(_, client) => client,
        }
    }

    /// A client of the same library, pointed at Carrick.
    fn another_client(&self, carrick: &Carrick) -> Result<Peer> {
        match self {
            Self::Kafka(..) => Peer::java(&carrick.bootstrap()),
            Self::Carrick(..) => Peer::librdkafka(&carrick.bootstrap()),
        }
    }

    fn bootstrap(&self) -> String {
        match self {
            Self::Kafka(kafka, _) => kafka.bootstrap(),
            Self::Carrick(carrick, _) => carrick.bootstrap(),
        }
    }

    fn partition_dir(&self, topic: &str, partition: i32) -> PathBuf {
        match self {
            Self::Kafka(kafka, _) => kafka.partition_dir(1, topic, partition),
            Self::Carrick(carrick, _) => carrick.partition_dir(topic, partition),
        }
    }

    fn kill(&mut self) {
        match self {
            Self::Kafka(kafka, _) => kafka.kill_all(),
            Self::Carrick(carrick, _) => carrick.kill(),
        }
    }

    /// Topics that only Kafka's own machinery can make: transactions, and a compacted one.
    fn write_special(&mut self) -> Result<Vec<(&'static str, i32)>> {
        let Self::Kafka(_, client) = self else {
            return Ok(Vec::new());
        };
        client.call("create_topic", json!({"topic": "ledger"}))?;
        for outcome in ["commit", "abort", "commit"] {
            let fields = json!({"topic": "ledger", "count": 500, "transactional_id": "bank", "outcome": outcome});
            client.call("transaction", fields)?;
        }
        let configs = json!({"cleanup.policy": "compact", "segment.bytes": "1048576", "min.cleanable.dirty.ratio": "0.01"});
        client.call(
            "create_topic",
            json!({"topic": "accounts", "configs": configs}),
        )?;
        client.call(
            "produce",
            json!({"topic": "accounts", "count": 15_000, "keys": 60, "max_bytes": 400}),
        )?;
        Ok(vec![("ledger", 1), ("accounts", 1)])
    }
}

struct Demo {
    source: Source,
    carrick: Carrick,
    started: Instant,
    seen: Vec<String>,
}

impl Demo {
    fn run(mut self) -> Result<()> {
        let topics = self.fill()?;
        self.create_link(&topics)?;
        self.verify(&topics)?;
        self.show_refusal()?;
        self.lose_the_source()?;
        self.go_on()?;
        say("what happened");
        for line in &self.seen {
            println!("  - {line}");
        }
        println!(
            "  - {:.1} s from the first topic to here",
            self.started.elapsed().as_secs_f64()
        );
        Ok(())
    }

    fn fill(&mut self) -> Result<Vec<(&'static str, i32)>> {
        say("filling topics at the source: lz4, zstd, snappy, gzip, transactions, a compacted one");
        self.started = Instant::now();
        for (topic, partitions, count, codec) in TOPICS {
            let client = self.source.client();
            client.call(
                "create_topic",
                json!({"topic": topic, "partitions": partitions}),
            )?;
            for partition in 0..partitions {
                let fields = json!({"topic": topic, "partition": partition, "count": count,
                    "compression": codec, "min_bytes": 80, "max_bytes": 500, "keys": 1000});
                client.call("produce", fields)?;
            }
            println!(
                "  {topic}: {} records in {partitions} partitions, {codec}",
                count * i64::from(partitions)
            );
        }
        let mut topics: Vec<(&str, i32)> = TOPICS.iter().map(|t| (t.0, t.1)).collect();
        topics.extend(self.source.write_special()?);
        Ok(topics)
    }

    /// Shows a command as a person would type it, runs it, shows what it prints. Its progress bar goes straight to
    /// the terminal, if there is one.
    fn command(&self, args: &[&str]) -> Result<String> {
        println!("\n  $ carrick {}", args.join(" "));
        let text = self.carrick.cli_text(args)?;
        for line in text.lines() {
            println!("    {line}");
        }
        Ok(text)
    }

    fn create_link(&mut self, topics: &[(&str, i32)]) -> Result<()> {
        say("linking Carrick to the source and mirroring its topics");
        let bootstrap = self.source.bootstrap();
        self.command(&["link", "create", LINK, "--bootstrap-server", &bootstrap])?;
        let mut args = vec!["mirror", "create", "--wait", "--link", LINK];
        args.extend(topics.iter().map(|t| t.0));
        let begin = Instant::now();
        self.command(&args)?;
        let took = begin.elapsed().as_secs_f64();
        self.seen
            .push(format!("{} topics mirrored in {took:.2} s", topics.len()));
        Ok(())
    }

    fn verify(&mut self, topics: &[(&str, i32)]) -> Result<()> {
        say("verifying byte identity, against the source and file against file");
        self.command(&["mirror", "verify", topics[0].0])?;
        let (mut batches, mut bytes) = (0, 0);
        for (topic, partitions) in topics {
            let mirror = self.carrick.describe_mirror(topic)?;
            for partition in 0..*partitions {
                let (from, to) = range(&mirror, partition)?;
                let theirs = self.source.partition_dir(topic, partition);
                let ours = self.carrick.partition_dir(topic, partition);
                // The cleaner may have been through the compacted topic since: only its uncleaned end is the same then.
                let compared = match segments::compare(&theirs, &ours, from, to) {
                    Err(_) if *topic == "accounts" => continue,
                    other => other?,
                };
                batches += compared.batches;
                bytes += compared.bytes;
            }
        }
        println!("\n  {batches} batches, {bytes} bytes in the .log files of both sides: identical");
        self.seen.push(format!(
            "{batches} batches ({bytes} bytes) identical on both disks"
        ));
        Ok(())
    }

    fn show_refusal(&mut self) -> Result<()> {
        say("writing to a mirror with a stock client");
        let mut client = self.source.another_client(&self.carrick)?;
        let refusal = client.refusal("produce", json!({"topic": "orders", "count": 1}))?;
        println!("  {} is refused: {refusal}", client.library());
        self.seen
            .push(format!("a write to a mirror is refused: {}", refusal.code));
        Ok(())
    }

    fn lose_the_source(&mut self) -> Result<()> {
        say("killing the source (SIGKILL) and failing over");
        let lost = Instant::now();
        self.source.kill();
        self.command(&["mirror", "failover", "--all", "--link", LINK])?;
        let took = lost.elapsed().as_secs_f64();
        self.seen.push(format!(
            "failed over {took:.2} s after the source was killed, with a report"
        ));
        Ok(())
    }

    fn go_on(&mut self) -> Result<()> {
        say("the same client continues at Carrick");
        let client = self.source.client();
        client.point_at(&self.carrick.bootstrap());
        let acked = client.call(
            "produce",
            json!({"topic": "orders", "partition": 0, "count": 1000}),
        )?;
        let read = client.call("consume", json!({"topic": "orders", "partition": 0}))?;
        println!(
            "  {} wrote offsets {} to {}",
            client.library(),
            acked["first_offset"],
            acked["last_offset"]
        );
        println!(
            "  {} read {} records of orders-0",
            client.library(),
            read["count"]
        );
        let expected = TOPICS[0].2 + 1000;
        if read["count"] != json!(expected) || acked["first_offset"] != json!(TOPICS[0].2) {
            bail!("expected {expected} records from offset 0 on: {read} {acked}");
        }
        self.seen.push(format!(
            "{} read its {expected} records and continued writing at offset {}",
            client.library(),
            TOPICS[0].2
        ));
        Ok(())
    }
}

fn range(mirror: &Value, partition: i32) -> Result<(i64, i64)> {
    let lags = mirror["mirror_lags"].as_array().context("lags")?;
    let lag = lags
        .iter()
        .find(|l| l["partition"] == json!(partition))
        .context("the partition")?;
    Ok((
        lag["mirror_log_start_offset"].as_i64().unwrap_or(0),
        lag["mirror_end_offset"].as_i64().context("its end")?,
    ))
}

fn say(what: &str) {
    println!("\n== {what}");
}
