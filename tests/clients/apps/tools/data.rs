//! The clients among the tools: console, performance, verifiable; and kafka-dump-log over what they left behind.

use std::collections::BTreeSet;

use anyhow::{Context, ensure};
use harness::{Carrick, Result, Tools, kafka, tools};
use serde_json::Value;

use super::{expect, expect_rows};

pub fn run() -> Result<()> {
    let mut carrick = Carrick::start()?;
    let tools = &mut Tools::start(&carrick.bootstrap())?;
    console(tools)?;
    performance(tools)?;
    verifiable(tools)?;
    carrick.stop()?;
    dump(tools, &carrick)
}

fn console(tools: &mut Tools) -> Result<()> {
    tools.run("kafka-topics", &["--create", "--topic", "orders"])?;
    let bootstrap = tools.bootstrap().to_owned();
    let lines = "n:1\tbolt\t10\nn:2\tnut\t20\nn:3\tbolt\t30\n";
    let mut args = vec!["--bootstrap-server", &bootstrap, "--topic", "orders"];
    args.extend([
        "--compression-codec",
        "zstd",
        "--reader-property",
        "parse.key=true",
    ]);
    args.extend(["--reader-property", "parse.headers=true"]);
    tools
        .run_bare("kafka-console-producer", &args, lines)?
        .succeeded("kafka-console-producer")?;
    let mut args = vec![
        "--topic",
        "orders",
        "--from-beginning",
        "--max-messages",
        "3",
    ];
    args.extend([
        "--timeout-ms",
        "20000",
        "--isolation-level",
        "read_committed",
    ]);
    for part in ["key", "headers", "partition", "offset"] {
        args.push("--formatter-property");
        args.push(match part {
            "key" => "print.key=true",
            "headers" => "print.headers=true",
            "partition" => "print.partition=true",
            _ => "print.offset=true",
        });
    }
    let rows = [
        "Partition:0 Offset:0 n:1 bolt 10",
        "Partition:0 Offset:1 n:2 nut 20",
        "Partition:0 Offset:2 n:3 bolt 30",
    ];
    expect_rows(&tools.run("kafka-console-consumer", &args)?, &rows)?;
    let args = [
        "--topic",
        "orders",
        "--partition",
        "0",
        "--offset",
        "2",
        "--max-messages",
        "1",
        "--timeout-ms",
        "20000",
    ];
    expect_rows(&tools.run("kafka-console-consumer", &args)?, &["30"])
}

fn performance(tools: &mut Tools) -> Result<()> {
    tools.run(
        "kafka-topics",
        &["--create", "--topic", "load", "--partitions", "3"],
    )?;
    let mut args = vec![
        "--topic",
        "load",
        "--num-records",
        "5000",
        "--record-size",
        "200",
    ];
    args.extend([
        "--throughput",
        "-1",
        "--command-property",
        "compression.type=lz4",
    ]);
    expect(
        &tools.run("kafka-producer-perf-test", &args)?,
        &["5000 records sent, "],
    )?;
    let report = tools.run(
        "kafka-consumer-perf-test",
        &["--topic", "load", "--num-records", "5000"],
    )?;
    let line = report.lines().last().context("no report")?;
    let read = line.split(", ").nth(4).context("no count")?;
    ensure!(read == "5000", "{report}");
    let args = [
        "--topic",
        "latency",
        "--num-records",
        "20",
        "--producer-acks",
        "all",
        "--record-size",
        "30",
    ];
    expect(
        &tools.run("kafka-e2e-latency", &args)?,
        &["Avg latency: ", "Percentiles: 50th = "],
    )
}

/// These two end by signal or by count and write JSON, one line per event; each runs as a separate
/// process.
fn verifiable(tools: &mut Tools) -> Result<()> {
    tools.run(
        "kafka-topics",
        &["--create", "--topic", "checked", "--partitions", "2"],
    )?;
    let at = [
        "--bootstrap-server",
        tools.bootstrap(),
        "--topic",
        "checked",
        "--max-messages",
        "300",
    ];
    let sent = kafka::run_tool(tools::class("kafka-verifiable-producer")?, &at)?;
    let sent: BTreeSet<String> = events(&sent, "producer_send_success")?
        .iter()
        .map(|e| e["value"].as_str().unwrap_or_default().to_owned())
        .collect();
    ensure!(
        sent.len() == 300,
        "{} records were acknowledged",
        sent.len()
    );
    let args = [
        &at[..],
        &[
            "--group-id",
            "checkers",
            "--reset-policy",
            "earliest",
            "--verbose",
        ],
    ]
    .concat();
    let read = kafka::run_tool(tools::class("kafka-verifiable-consumer")?, &args)?;
    let seen: Vec<Value> = events(&read, "record_data")?;
    let values: BTreeSet<String> = seen
        .iter()
        .map(|e| e["value"].as_str().unwrap_or_default().to_owned())
        .collect();
    ensure!(
        seen.len() == 300 && values == sent,
        "{} records were read",
        seen.len()
    );
    let commits = events(&read, "offsets_committed")?;
    ensure!(
        !commits.is_empty() && commits.iter().all(|c| c["success"] == true),
        "{commits:?}"
    );
    Ok(())
}

fn events(text: &str, name: &str) -> Result<Vec<Value>> {
    let mut found = Vec::new();
    for line in text.lines().filter(|l| l.starts_with('{')) {
        let event: Value = serde_json::from_str(line)?;
        if event["name"] == name {
            found.push(event);
        }
    }
    Ok(found)
}

/// Segments are in Kafka's format: its own reader finds nothing wrong with them and with their indexes.
fn dump(tools: &mut Tools, carrick: &Carrick) -> Result<()> {
    let file = |topic, name| {
        let path = carrick.partition_dir(topic, 0).join(name);
        path.to_string_lossy().into_owned()
    };
    let log = file("orders", "00000000000000000000.log");
    let text = tools
        .run_bare("kafka-dump-log", &["--files", &log, "--print-data-log"], "")?
        .succeeded("kafka-dump-log")?;
    expect(
        &text,
        &[
            "Log starting offset: 0",
            "baseOffset: 0 lastOffset: ",
            "compresscodec: zstd",
        ],
    )?;
    expect(
        &text,
        &[
            "headerKeys: [n] key: bolt payload: 10",
            "headerKeys: [n] key: nut payload: 20",
        ],
    )?;
    ensure!(!text.contains("isvalid: false"), "{text}");
    for index in [
        "00000000000000000000.index",
        "00000000000000000000.timeindex",
    ] {
        let file = file("load", index);
        let text = tools
            .run_bare(
                "kafka-dump-log",
                &["--files", &file, "--verify-index-only"],
                "",
            )?
            .succeeded("kafka-dump-log")?;
        ensure!(!text.to_lowercase().contains("mismatch"), "{text}");
    }
    Ok(())
}
