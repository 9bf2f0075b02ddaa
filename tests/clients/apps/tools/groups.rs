//! kafka-consumer-groups and kafka-groups: a group seen while it lives, moved when it is empty, deleted.

use std::process::Command;
use std::time::Duration;

use anyhow::ensure;
use harness::process::Process;
use harness::{Result, Tools, kafka, tools as names, wait_until};

use super::{expect, expect_rows, table};

const GROUPS: &str = "kafka-consumer-groups";
const HEADER: &str =
    "GROUP TOPIC PARTITION CURRENT-OFFSET LOG-END-OFFSET LAG CONSUMER-ID HOST CLIENT-ID";

/// A group protocol: its name in a consumer's configs, the group's type and assignor as the tools show them.
struct Protocol {
    name: &'static str,
    kind: &'static str,
    assignor: &'static str,
}

/// The story with a group of the classic protocol.
pub fn classic(tools: &mut Tools) -> Result<()> {
    let (name, kind, assignor) = ("classic", "Classic", "range");
    run(
        tools,
        &Protocol {
            name,
            kind,
            assignor,
        },
    )
}

/// The story with a group of KIP-848.
pub fn consumer(tools: &mut Tools) -> Result<()> {
    let (name, kind, assignor) = ("consumer", "Consumer", "uniform");
    run(
        tools,
        &Protocol {
            name,
            kind,
            assignor,
        },
    )
}

fn run(tools: &mut Tools, protocol: &Protocol) -> Result<()> {
    tools.run(
        "kafka-topics",
        &["--create", "--topic", "orders", "--partitions", "2"],
    )?;
    let mut member = member(tools.bootstrap(), protocol)?;
    while_it_lives(tools, protocol)?;
    member.terminate(Duration::from_secs(20))?;
    listed(tools, protocol)?;
    produce(tools)?;
    reset(tools)?;
    delete(tools)
}

/// A member that polls until it is told to stop.
fn member(bootstrap: &str, protocol: &Protocol) -> Result<Process> {
    let mut command: Command = kafka::java("-Xmx128m")?;
    command.arg(names::class("kafka-console-consumer")?);
    command.args([
        "--bootstrap-server",
        bootstrap,
        "--topic",
        "orders",
        "--group",
        "billing",
    ]);
    command.args(["--command-property", "client.id=till", "--command-property"]);
    command.arg(format!("group.protocol={}", protocol.name));
    let log = tempfile::NamedTempFile::new()?;
    Process::spawn("console consumer", command, log.path())
}

fn while_it_lives(tools: &mut Tools, protocol: &Protocol) -> Result<()> {
    wait_until(
        "the member has both partitions",
        Duration::from_secs(30),
        || {
            let seen = tools.run_any(GROUPS, &["--describe", "--group", "billing", "--members"])?;
            let rows = table(&seen.out);
            let has = |words: &&Vec<&str>| {
                words.first() == Some(&"billing") && words.get(4) == Some(&"2")
            };
            Ok(rows.iter().find(has).map(|_| ()).ok_or(seen.out.clone()))
        },
    )?;
    let members = tools.run(
        GROUPS,
        &["--describe", "--group", "billing", "--members", "--verbose"],
    )?;
    expect(&members, &["till", "/127.0.0.1", "orders:0,1"])?;
    let state = tools.run(GROUPS, &["--describe", "--group", "billing", "--state"])?;
    ensure!(
        table(&state)[1][3..] == [protocol.assignor, "Stable", "1"],
        "{state}"
    );
    let busy = tools.run(GROUPS, &["--delete", "--group", "billing"])?;
    expect(
        &busy,
        &[
            "Group 'billing' could not be deleted due to",
            "GroupNotEmptyException",
        ],
    )?;
    let args = [
        "--reset-offsets",
        "--group",
        "billing",
        "--topic",
        "orders",
        "--to-earliest",
        "--execute",
    ];
    let refused = tools.run_any(GROUPS, &args)?;
    expect(
        &format!("{}{}", refused.out, refused.err),
        &["can only be reset if the group 'billing' is inactive"],
    )
}

fn listed(tools: &mut Tools, protocol: &Protocol) -> Result<()> {
    let typed = format!("billing {}", protocol.kind);
    expect_rows(&tools.run(GROUPS, &["--list"])?, &["billing"])?;
    expect_rows(
        &tools.run(GROUPS, &["--list", "--state"])?,
        &["GROUP STATE", "billing Empty"],
    )?;
    expect_rows(
        &tools.run(GROUPS, &["--list", "--type"])?,
        &["GROUP TYPE", &typed],
    )?;
    expect_rows(
        &tools.run(GROUPS, &["--list", "--state", "Stable"])?,
        &["GROUP STATE"],
    )?;
    let all = tools.run("kafka-groups", &["--list"])?;
    expect_rows(&all, &["GROUP TYPE PROTOCOL", &format!("{typed} consumer")])?;
    let args = ["--describe", "--group", "nobody"];
    expect(
        &tools.run(GROUPS, &args)?,
        &["GroupIdNotFoundException: Group nobody not found."],
    )
}

fn produce(tools: &mut Tools) -> Result<()> {
    for (key, count) in [("a", 4), ("b", 6)] {
        let lines = format!("{key}\tx\n").repeat(count);
        let bootstrap = tools.bootstrap().to_owned();
        let args = [
            "--bootstrap-server",
            &bootstrap,
            "--topic",
            "orders",
            "--reader-property",
            "parse.key=true",
        ];
        tools
            .run_bare("kafka-console-producer", &args, &lines)?
            .succeeded("producer")?;
    }
    Ok(())
}

/// The ends of both partitions: where the keys went is the producer's business.
fn ends(tools: &mut Tools) -> Result<[i64; 2]> {
    let text = tools.run("kafka-get-offsets", &["--topic", "orders"])?;
    let mut ends = [0; 2];
    for (line, end) in text.lines().zip(&mut ends) {
        *end = line.rsplit(':').next().unwrap_or_default().parse()?;
    }
    ensure!(ends.iter().sum::<i64>() == 10, "{text}");
    Ok(ends)
}

fn reset(tools: &mut Tools) -> Result<()> {
    let ends = ends(tools)?;
    let base = ["--reset-offsets", "--group", "billing", "--topic", "orders"];
    let mut to = |how: &[&str], expected: [i64; 2]| -> Result<()> {
        let text = tools.run(GROUPS, &[&base[..], how].concat())?;
        let text = text
            .lines()
            .filter(|l| !l.starts_with("Warn:"))
            .collect::<Vec<_>>()
            .join("\n");
        let rows = [0, 1].map(|p: usize| format!("billing orders {p} {}", expected[p]));
        expect_rows(
            &text,
            &["GROUP TOPIC PARTITION NEW-OFFSET", &rows[0], &rows[1]],
        )
    };
    to(&["--to-earliest", "--dry-run"], [0, 0])?;
    to(&["--to-latest", "--execute"], ends)?;
    to(
        &["--shift-by", "-1", "--execute"],
        ends.map(|e| (e - 1).max(0)),
    )?;
    to(&["--to-offset", "2", "--execute"], ends.map(|e| e.min(2)))?;
    to(
        &["--to-datetime", "2020-01-01T00:00:00.000", "--execute"],
        [0, 0],
    )?;
    to(&["--by-duration", "PT1H", "--execute"], [0, 0])?;
    to(&["--to-current", "--execute"], [0, 0])?;
    let text = tools.run(GROUPS, &["--describe", "--group", "billing"])?;
    let rows = [0, 1].map(|p: usize| format!("billing orders {p} 0 {0} {0} - - -", ends[p]));
    expect_rows(&text, &[HEADER, &rows[0], &rows[1]])?;
    let exported = tools.run(
        GROUPS,
        &[&base[..], &["--to-latest", "--export", "--dry-run"]].concat(),
    )?;
    let rows = [0, 1].map(|p: usize| format!("orders,{p},{}", ends[p]));
    expect_rows(&exported, &[&rows[0], &rows[1]])
}

fn delete(tools: &mut Tools) -> Result<()> {
    let gone = tools.run(
        GROUPS,
        &[
            "--delete-offsets",
            "--group",
            "billing",
            "--topic",
            "orders:1",
        ],
    )?;
    expect(
        &gone,
        &["Request succeeded for deleting offsets from group billing."],
    )?;
    let text = tools.run(GROUPS, &["--describe", "--group", "billing"])?;
    ensure!(table(&text).len() == 2, "one partition is left:\n{text}");
    let deleted = tools.run(GROUPS, &["--delete", "--group", "billing"])?;
    expect(
        &deleted,
        &["Deletion of requested consumer groups ('billing') was successful."],
    )?;
    let again = tools.run(GROUPS, &["--delete", "--group", "billing"])?;
    expect(
        &again,
        &["GroupIdNotFoundException: The group id does not exist."],
    )?;
    expect_rows(&tools.run(GROUPS, &["--list"])?, &[])
}
