//! kafka-transactions over a transaction that hangs, and over some that do not; and Kafka's transactional copier.

use std::time::Duration;

use anyhow::{Context, bail, ensure};
use harness::{Peer, Result, Tools, wait_until};
use serde_json::{Value, json};

use super::{expect, expect_rows, table};

const TRANSACTIONS: &str = "kafka-transactions";

pub fn run(tools: &mut Tools) -> Result<()> {
    for topic in ["orders", "copies"] {
        tools.run("kafka-topics", &["--create", "--topic", topic])?;
    }
    copier(tools)?;
    open_and_aborted(tools)
}

/// Kafka's own consume-transform-produce loop, whose output and committed offset must agree.
fn copier(tools: &mut Tools) -> Result<()> {
    let args = [
        "--topic",
        "orders",
        "--num-records",
        "500",
        "--record-size",
        "50",
        "--throughput",
        "-1",
        "--transactional-id",
        "loader",
        "--transaction-duration-ms",
        "50",
    ];
    expect(
        &tools.run("kafka-producer-perf-test", &args)?,
        &["500 records sent"],
    )?;
    let bootstrap = tools.bootstrap().to_owned();
    let mut args = vec![
        "--broker-list",
        &bootstrap,
        "--input-topic",
        "orders",
        "--input-partition",
        "0",
    ];
    args.extend([
        "--output-topic",
        "copies",
        "--transactional-id",
        "copier",
        "--consumer-group",
        "copiers",
    ]);
    args.extend([
        "--max-messages",
        "500",
        "--transaction-size",
        "60",
        "--enable-random-aborts",
    ]);
    let text = tools
        .run_bare("transactional-message-copier", &args, "")?
        .succeeded("copier")?;
    let last: Value = serde_json::from_str(text.lines().last().context("it said nothing")?)?;
    ensure!(
        last["totalProcessed"] == 500 && last["remaining"] == 0,
        "{last}"
    );

    let copied = read_committed(tools, "copies")?;
    ensure!(copied == 500, "{copied} were copied");
    let text = tools.run(
        "kafka-consumer-groups",
        &["--describe", "--group", "copiers"],
    )?;
    ensure!(table(&text)[1][5] == "0", "{text}");
    Ok(())
}

/// A transaction that somebody left open: seen, found not to hang, cut off in its partition, ended by force.
fn open_and_aborted(tools: &mut Tools) -> Result<()> {
    let mut writer = Peer::java(tools.bootstrap())?;
    let open = json!({
        "topic": "orders", "partition": 0, "count": 5, "transactional_id": "stuck", "outcome": "open",
    });
    writer.call("transaction", open)?;
    let stuck = listed(tools, "stuck")?;
    ensure!(stuck.state == "Ongoing", "{stuck:?}");
    let loader = listed(tools, "loader")?;
    ensure!(loader.state == "CompleteCommit", "{loader:?}");
    let all = tools.run(TRANSACTIONS, &["list"])?;
    expect(&all, &["loader", "copier", "stuck"])?;
    described(tools, &stuck)?;
    let start = open_since(tools, &stuck)?.context("the producer has nothing open")?;
    let hanging = [
        "find-hanging",
        "--broker-id",
        "1",
        "--max-transaction-timeout",
        "0",
    ];
    let text = tools.run(TRANSACTIONS, &hanging)?;
    ensure!(
        table(&text).len() == 1,
        "its coordinator knows it, so it does not hang:\n{text}"
    );

    let abort = [
        "abort",
        "--topic",
        "orders",
        "--partition",
        "0",
        "--start-offset",
        &start,
    ];
    expect_rows(&tools.run(TRANSACTIONS, &abort)?, &[])?;
    wait_until(
        "nothing is open in the partition",
        Duration::from_secs(10),
        || Ok(open_since(tools, &stuck)?.map_or(Ok(()), Err)),
    )?;
    let force = ["forceTerminateTransaction", "--transactionalId", "stuck"];
    tools.run(TRANSACTIONS, &force)?;
    let ended = listed(tools, "stuck")?;
    ensure!(ended.state == "Empty", "{ended:?}");
    let read = read_committed(tools, "orders")?;
    ensure!(read == 500, "{read} records are committed in orders");
    Ok(())
}

/// A transactional id as `kafka-transactions list` shows it.
#[derive(Debug)]
struct Listed {
    id: String,
    producer: String,
    state: String,
}

fn listed(tools: &mut Tools, id: &str) -> Result<Listed> {
    let args = ["list", "--transactional-id-pattern", id];
    let text = tools.run(TRANSACTIONS, &args)?;
    let rows = table(&text);
    ensure!(
        rows.len() == 2 && rows[1][0] == id,
        "only {id} was asked for:\n{text}"
    );
    Ok(Listed {
        id: id.to_owned(),
        producer: rows[1][2].to_owned(),
        state: rows[1][3].to_owned(),
    })
}

fn described(tools: &mut Tools, stuck: &Listed) -> Result<()> {
    let args = ["describe", "--transactional-id", &stuck.id];
    let text = tools.run(TRANSACTIONS, &args)?;
    expect(&text, &["Ongoing", "60000", "orders-0", &stuck.producer])?;
    let nobody = ["describe", "--transactional-id", "nobody"];
    expect(
        &tools.refusal(TRANSACTIONS, &nobody)?,
        &["the ID could not be found"],
    )
}

/// The first offset of what the producer has open in orders-0.
fn open_since(tools: &mut Tools, of: &Listed) -> Result<Option<String>> {
    let args = [
        "describe-producers",
        "--topic",
        "orders",
        "--partition",
        "0",
    ];
    let text = tools.run(TRANSACTIONS, &args)?;
    let rows = table(&text);
    let Some(row) = rows.iter().find(|r| r[0] == of.producer) else {
        bail!("{of:?} is not among the producers:\n{text}");
    };
    let start = row.last().filter(|s| **s != "None");
    Ok(start.map(|s| (*s).to_owned()))
}

/// How many committed records a topic has, as the console consumer counts them.
fn read_committed(tools: &mut Tools, topic: &str) -> Result<usize> {
    let mut args = vec!["--topic", topic, "--from-beginning"];
    args.extend([
        "--isolation-level",
        "read_committed",
        "--timeout-ms",
        "3000",
    ]);
    Ok(tools.run("kafka-console-consumer", &args)?.lines().count())
}
