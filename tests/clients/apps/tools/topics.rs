//! kafka-topics: a topic's life.

use anyhow::ensure;
use harness::{Result, Tools};

use super::{expect, expect_rows};

const TOPICS: &str = "kafka-topics";

pub fn run(tools: &mut Tools) -> Result<()> {
    create(tools)?;
    describe(tools)?;
    grow_and_delete(tools)
}

fn create(tools: &mut Tools) -> Result<()> {
    let mut args = vec!["--create", "--topic", "orders", "--partitions", "2"];
    args.extend(["--config", "retention.ms=3600000"]);
    args.extend(["--config", "cleanup.policy=compact,delete"]);
    expect(&tools.run(TOPICS, &args)?, &["Created topic orders."])?;
    let again = tools.refusal(TOPICS, &["--create", "--topic", "orders"])?;
    expect(&again, &["Topic 'orders' already exists."])?;
    tools.run(
        TOPICS,
        &["--create", "--topic", "orders", "--if-not-exists"],
    )?;
    tools.run(
        TOPICS,
        &[
            "--create",
            "--topic",
            "placed",
            "--replica-assignment",
            "1,1,1",
        ],
    )?;

    let wrong = [
        "--create",
        "--topic",
        "bad",
        "--config",
        "retention.ms=soon",
    ];
    expect(&tools.refusal(TOPICS, &wrong)?, &["Invalid value soon"])?;
    let three = ["--create", "--topic", "three", "--replication-factor", "3"];
    tools.run(TOPICS, &three)?;
    let shown = tools.run(TOPICS, &["--describe", "--topic", "three"])?;
    expect(&shown, &["ReplicationFactor: 1"])?;
    tools.run(TOPICS, &["--delete", "--topic", "three"])?;
    let name = tools.refusal(TOPICS, &["--create", "--topic", "no/slash"])?;
    expect(&name, &["InvalidTopicException"])?;
    expect_rows(&tools.run(TOPICS, &["--list"])?, &["orders", "placed"])
}

fn describe(tools: &mut Tools) -> Result<()> {
    let text = tools.run(TOPICS, &["--describe", "--topic", "orders"])?;
    expect(
        &text,
        &["Topic: orders", "PartitionCount: 2", "ReplicationFactor: 1"],
    )?;
    expect(
        &text,
        &["cleanup.policy=compact,delete", "retention.ms=3600000"],
    )?;
    for partition in 0..2 {
        let line =
            format!("\tTopic: orders\tPartition: {partition}\tLeader: 1\tReplicas: 1\tIsr: 1");
        expect(&text, &[&line])?;
    }
    let overrides = tools.run(TOPICS, &["--describe", "--topics-with-overrides"])?;
    ensure!(overrides.contains("orders"), "{overrides}");
    for broken in [
        "--under-replicated-partitions",
        "--unavailable-partitions",
        "--under-min-isr-partitions",
    ] {
        expect_rows(&tools.run(TOPICS, &["--describe", broken])?, &[])?;
    }
    let at_min = tools.run(TOPICS, &["--describe", "--at-min-isr-partitions"])?;
    ensure!(
        at_min.lines().count() == 5,
        "five partitions have one replica:\n{at_min}"
    );
    let missing = tools.refusal(TOPICS, &["--describe", "--topic", "nowhere"])?;
    expect(&missing, &["Topic 'nowhere' does not exist as expected"])
}

fn grow_and_delete(tools: &mut Tools) -> Result<()> {
    tools.run(
        TOPICS,
        &["--alter", "--topic", "orders", "--partitions", "3"],
    )?;
    let text = tools.run(TOPICS, &["--describe", "--topic", "orders"])?;
    expect(&text, &["PartitionCount: 3", "Partition: 2"])?;
    let fewer = tools.refusal(
        TOPICS,
        &["--alter", "--topic", "orders", "--partitions", "1"],
    )?;
    expect(&fewer, &["InvalidPartitionsException"])?;
    tools.run(TOPICS, &["--delete", "--topic", "orders"])?;
    let again = tools.refusal(TOPICS, &["--delete", "--topic", "orders"])?;
    expect(&again, &["Topic 'orders' does not exist as expected"])?;
    expect_rows(&tools.run(TOPICS, &["--list"])?, &["placed"])
}
