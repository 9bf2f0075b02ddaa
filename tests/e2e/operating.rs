//! What an operator meets: files of Kafka brokers, the log of a start, refusals. No source is needed.

use std::path::Path;
use std::process::{Command, Output};

use harness::carrick::binary;
use harness::process::{free_ports, repository};
use harness::{Carrick, Peer, Result};
use serde_json::json;

/// Runs `carrick serve` with these overrides until it has ended by itself.
fn serve(overrides: &[&str]) -> Result<Output> {
    let mut command = Command::new(binary()?);
    command.arg("serve").env_remove("RUST_LOG");
    for value in overrides {
        command.args(["--override", value]);
    }
    Ok(command.output()?)
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
    let taken = serve(&[&data, &rest, &listeners])?;
    let text = stderr(&taken);
    assert_eq!(taken.status.code(), Some(1), "{text}");
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
fn a_file_that_asks_for_security_starts_nothing() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let data = folder.path().join("data");
    let refused = serve(&[
        &format!("log.dirs={}", data.display()),
        "listeners=SASL_PLAINTEXT://127.0.0.1:0",
        "sasl.enabled.mechanisms=SCRAM-SHA-512",
        "authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer",
        "allow.everyone.if.no.acl.found=false",
    ])?;
    let text = stderr(&refused);
    assert_eq!(refused.status.code(), Some(1), "{text}");
    for name in [
        "listener SASL_PLAINTEXT asks for SASL_PLAINTEXT",
        "sasl.enabled.mechanisms:",
        "authorizer.class.name:",
        "allow.everyone.if.no.acl.found:",
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
