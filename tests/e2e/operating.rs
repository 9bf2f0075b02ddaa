//! What an operator sees: properties files of Kafka brokers, the log of a start, refusals. No source is needed.

use std::net::TcpStream;
use std::path::Path;
use std::path::PathBuf;
use std::process::{Command, Output};
use std::time::Duration;

use anyhow::Context;
use harness::carrick::binary;
use harness::process::{Process, free_ports, repository};
use harness::{Carrick, Peer, Result, wait_until};
use serde_json::json;

use crate::world::{LIMIT, range};

/// Runs `carrick serve` with these overrides until it has ended by itself.
/// Exit code and output of a start that is to be refused.
fn refused(overrides: &[&str]) -> Result<(Option<i32>, String)> {
    let mut command = Command::new(binary()?);
    command.arg("serve").env_remove("RUST_LOG");
    for value in overrides {
        command.args(["--override", value]);
    }
    let log = tempfile::NamedTempFile::new()?;
    let mut process = Process::spawn("carrick", command, log.path())?;
    let status = process.wait_ended(LIMIT)?;
    Ok((status.code(), process.log()))
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn the_log_of_a_start_says_what_starts_and_where() -> Result<()> {
    let carrick = Carrick::start()?;
    let log = carrick.log();
    let line = |text: &str| log.lines().find(|line| line.contains(text)).unwrap_or("");
    let first = line("carrick starts");
    assert_eq!(log.lines().next(), Some(first), "{log}");
    for part in [
        concat!("version=\"", env!("CARGO_PKG_VERSION"), "\""),
        "commit=",
        &format!("data_folder={}", carrick.data_dir().display()),
    ] {
        assert!(first.contains(part), "{part}: {first}");
    }
    let served = line("clients are served");
    let (address, url) = (carrick.bootstrap(), carrick.url());
    for part in [
        format!("PLAINTEXT://{address} (advertised as {address})"),
        format!("rest=\"{url}\""),
        "cluster_id=".to_owned(),
    ] {
        assert!(served.contains(&part), "{part}: {served}");
    }
    let version = Command::new(binary()?).arg("--version").output()?;
    let version = String::from_utf8_lossy(&version.stdout).into_owned();
    assert!(
        version.starts_with(concat!("carrick ", env!("CARGO_PKG_VERSION"))),
        "{version}"
    );
    Ok(())
}

#[test]
fn a_refused_start_says_why_once() -> Result<()> {
    let carrick = Carrick::start()?;
    let [port] = free_ports()?;
    let folder = tempfile::tempdir()?;
    let data = format!("log.dirs={}", folder.path().join("data").display());
    let rest = format!("rest.listeners={}", carrick.url());
    let listeners = format!("listeners=PLAINTEXT://127.0.0.1:{port}");
    let (code, text) = refused(&[&data, &rest, &listeners])?;
    assert_eq!(code, Some(1), "{text}");
    assert_eq!(text.matches("Address already in use").count(), 1, "{text}");
    assert!(
        text.contains(&format!("cannot listen on {}", carrick.url())),
        "{text}"
    );
    let missing = Command::new(binary()?)
        .args(["serve", "--config", "/nowhere/carrick.properties"])
        .output()?;
    let text = stderr(&missing);
    assert_eq!(text.matches("No such file").count(), 1, "{text}");
    Ok(())
}

#[test]
fn a_file_that_asks_for_security_that_is_not_there_starts_nothing() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let data = folder.path().join("data");
    let (code, text) = refused(&[
        &format!("log.dirs={}", data.display()),
        "listeners=PLAINTEXT://127.0.0.1:0",
        "principal.builder.class=com.example.Principals",
        "listener.name.plaintext.ssl.engine.factory.class=com.example.Engine",
    ])?;
    assert_eq!(code, Some(1), "{text}");
    for name in [
        "principal.builder.class: Java classes are not loaded",
        "listener.name.plaintext.ssl.engine.factory.class: Java classes are not loaded",
    ] {
        assert!(text.contains(name), "{name}: {text}");
    }
    assert!(!data.exists(), "nothing was made");
    Ok(())
}

#[test]
fn files_that_kafka_ships_start_a_broker() -> Result<()> {
    let stock = repository().join("broker/src/config/testdata");
    for name in [
        "kafka-2.8-zookeeper",
        "kafka-3.9-zookeeper",
        "kafka-3.9-kraft",
        "kafka-4.3-server",
        "kafka-4.3-broker",
    ] {
        let file = stock.join(format!("{name}.properties"));
        let carrick = Carrick::start_from(&file)?;
        let mut client = Peer::java(&carrick.bootstrap())?;
        client.call("create_topic", json!({"topic": "orders"}))?;
        client.call("produce", json!({"topic": "orders", "count": 3}))?;
        let log = carrick.log();
        let ignored = log
            .matches("these Kafka properties have no effect here")
            .count();
        assert_eq!(ignored, 1, "{name}: {log}");
        assert!(!log.contains("ERROR"), "{name}: {log}");
    }
    Ok(())
}

#[test]
fn recovery_of_many_logs_is_summed_up() -> Result<()> {
    let mut carrick = Carrick::start()?;
    carrick.cli(&["topic", "create", "wide", "--partitions", "300"])?;
    let mut client = Peer::java(&carrick.bootstrap())?;
    client.call("produce", json!({"topic": "wide", "count": 900}))?;
    drop(client);
    carrick.kill();
    let before = carrick.log().lines().count();
    carrick.restart()?;
    let log = carrick.log();
    let lines: Vec<&str> = log.lines().skip(before).collect();
    let summary = lines.iter().filter(|line| line.contains("logs opened"));
    let summary: Vec<_> = summary.collect();
    assert_eq!(summary.len(), 1, "{lines:#?}");
    assert!(summary[0].contains("partitions=300"), "{summary:?}");
    assert!(summary[0].contains("not_closed_cleanly="), "{summary:?}");
    assert!(lines.len() < 20, "{lines:#?}");
    assert!(Path::new(&carrick.partition_dir("wide", 299)).is_dir());
    Ok(())
}

/// Topics and partitions of each that take a start some time to recover.
const SLOW: (usize, usize) = (4, 500);

#[test]
fn http_answers_while_logs_are_recovered_and_a_signal_stops_it() -> Result<()> {
    let mut carrick = Carrick::start_with(&["num.recovery.threads.per.data.dir=1"])?;
    let partitions = SLOW.1.to_string();
    for topic in 0..SLOW.0 {
        let name = format!("wide-{topic}");
        carrick.cli(&["topic", "create", &name, "--partitions", &partitions])?;
    }
    let mut client = Peer::java(&carrick.bootstrap())?;
    client.call("produce", json!({"topic": "wide-0", "count": 500}))?;
    drop(client);
    carrick.kill();

    carrick.begin_restart()?;
    let (status, text) = carrick.get("/healthz")?;
    assert_eq!((status, &*text), (200, "ok\n"));
    wait_until("it opens logs", Duration::from_secs(60), || {
        let (status, text) = carrick.get("/readyz")?;
        let done = text
            .split_once("opening logs ")
            .map(|(_, counts)| counts.to_owned());
        Ok(match done {
            Some(counts) if status == 503 && !counts.starts_with("0/") => Ok(()),
            _ => Err(format!("{status} {text}")),
        })
    })?;
    assert!(
        TcpStream::connect(carrick.bootstrap()).is_err(),
        "it cannot serve clients yet"
    );
    let (status, text) = carrick.get("/kafka/v3/clusters")?;
    assert_eq!(status, 503, "{text}");
    assert!(text.contains("\"error_code\":50003"), "{text}");
    let (status, _) = carrick.get("/metrics")?;
    assert_eq!(status, 200);

    carrick.stop()?;
    let log = carrick.log();
    assert!(
        log.contains("the start was cancelled at: opening logs "),
        "{log}"
    );

    // What was recovered before is not recovered again, and nothing is lost.
    let before = log.lines().count();
    carrick.restart()?;
    let log = carrick.log();
    let opened = log
        .lines()
        .skip(before)
        .find(|line| line.contains("logs opened"));
    let opened = opened.unwrap_or_default();
    let field = |name: &str| -> Option<usize> {
        let (_, rest) = opened.split_once(&format!("{name}="))?;
        rest.split(' ').next()?.parse().ok()
    };
    let all = SLOW.0 * SLOW.1;
    assert_eq!(field("partitions"), Some(all), "{opened}");
    assert!(
        field("not_closed_cleanly").is_some_and(|logs| logs < all),
        "{opened}"
    );
    let mut client = Peer::java(&carrick.bootstrap())?;
    let mut records = 0;
    for partition in 0..i32::try_from(SLOW.1)? {
        records += range(&mut client, "wide-0", partition)?.1;
    }
    assert_eq!(records, 500);
    Ok(())
}

/// How many files of partitions a broker has open.
fn open_partition_files(carrick: &Carrick) -> Result<Vec<PathBuf>> {
    let id = carrick.id().context("carrick is not running")?;
    let (data, meta) = (
        carrick.data_dir(),
        carrick.data_dir().join("__carrick_meta"),
    );
    let mut open = Vec::new();
    for entry in std::fs::read_dir(format!("/proc/{id}/fd"))? {
        // One that was just closed has no link any more.
        let Ok(to) = std::fs::read_link(entry?.path()) else {
            continue;
        };
        // The data folder itself and files in it, such as its lock, are no partition's.
        let is_partitions = to.starts_with(&data) && !to.starts_with(&meta);
        if is_partitions && to != data && to.parent() != Some(&data) {
            open.push(to);
        }
    }
    Ok(open)
}

/// Waits until partitions have at most `max` files open: a flush opens others for a moment.
fn wait_for_open_files(carrick: &Carrick, max: usize) -> Result<()> {
    let what = format!("at most {max} files of partitions to be open");
    wait_until(&what, Duration::from_secs(60), || {
        let open = open_partition_files(carrick)?;
        Ok(match open.len() <= max {
            true => Ok(()),
            false => Err(format!("open are {open:?}")),
        })
    })
}

#[test]
fn quiet_partitions_have_no_open_file_and_busy_ones_have_one() -> Result<()> {
    const PARTITIONS: usize = 200;
    let mut carrick = Carrick::start_with(&["log.retention.check.interval.ms=1000"])?;
    let mut client = Peer::librdkafka(&carrick.bootstrap())?;
    client.call(
        "create_topic",
        json!({"topic": "t", "partitions": PARTITIONS}),
    )?;
    wait_for_open_files(&carrick, 0)?;
    for partition in 0..10 {
        let fields = json!({"topic": "t", "partition": partition, "count": 3});
        client.call("produce", fields)?;
        wait_for_open_files(&carrick, partition + 1)?;
    }
    // Housekeeping closes them again.
    wait_for_open_files(&carrick, 0)?;
    let fields = json!({"topic": "t", "partition": 3, "count": 3});
    client.call("produce", fields)?;
    carrick.kill();
    carrick.restart()?;
    wait_for_open_files(&carrick, 0)?;
    Ok(())
}
