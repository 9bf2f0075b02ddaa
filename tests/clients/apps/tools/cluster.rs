//! What is left: offsets, deletion of records, folders, leaders, reassignment, features, the cluster.

use anyhow::ensure;
use harness::{Result, Tools};
use serde_json::{Value, json};

use super::{expect, expect_rows};

pub fn run(tools: &mut Tools) -> Result<()> {
    tools.run("kafka-topics", &["--create", "--topic", "orders"])?;
    let args = [
        "--topic",
        "orders",
        "--num-records",
        "100",
        "--record-size",
        "50",
        "--throughput",
        "-1",
    ];
    tools.run("kafka-producer-perf-test", &args)?;
    let files = tempfile::tempdir()?;
    let file = |name: &str, content: &Value| -> Result<String> {
        let path = files.path().join(name);
        std::fs::write(&path, content.to_string())?;
        Ok(path.to_string_lossy().into_owned())
    };
    offsets(tools, &file)?;
    leaders(tools)?;
    reassignment(tools, &file)?;
    about(tools)
}

type File<'a> = &'a dyn Fn(&str, &Value) -> Result<String>;

fn offsets(tools: &mut Tools, file: File<'_>) -> Result<()> {
    let ends = tools.run("kafka-get-offsets", &["--topic", "orders"])?;
    expect_rows(&ends, &["orders:0:100"])?;
    let before = |offset: i64| json!({"version": 1, "partitions": [{"topic": "orders", "partition": 0, "offset": offset}]});
    for (asked, start) in [(40, "40"), (-1, "100")] {
        let path = file("delete.json", &before(asked))?;
        let text = tools.run("kafka-delete-records", &["--offset-json-file", &path])?;
        let line = format!("partition: orders-0\tlow_watermark: {start}");
        expect(&text, &["Records delete operation completed:", &line])?;
        let first = format!("orders:0:{start}");
        let starts = ["--topic", "orders", "--time", "earliest"];
        expect_rows(&tools.run("kafka-get-offsets", &starts)?, &[&first])?;
    }
    let path = file("delete.json", &before(101))?;
    let text = tools.run("kafka-delete-records", &["--offset-json-file", &path])?;
    expect(
        &text,
        &["partition: orders-0\terror: ", "OffsetOutOfRangeException"],
    )?;
    let later = [
        "--topic-partitions",
        "orders:0-1",
        "--time",
        "4102444800000",
    ];
    expect_rows(&tools.run("kafka-get-offsets", &later)?, &[])?;
    tools.run(
        "kafka-get-offsets",
        &["--topic", "orders", "--time", "max-timestamp"],
    )?;
    tools.run(
        "kafka-get-offsets",
        &["--topic", "orders", "--time", "latest-tiered"],
    )?;

    let text = tools.run("kafka-log-dirs", &["--describe", "--topic-list", "orders"])?;
    let json: Value = serde_json::from_str(text.lines().last().unwrap_or_default())?;
    let folder = &json["brokers"][0]["logDirs"][0];
    ensure!(
        json["brokers"][0]["broker"] == 1 && folder["error"].is_null(),
        "{text}"
    );
    let partitions = folder["partitions"].as_array().map_or(0, Vec::len);
    ensure!(partitions == 1, "{text}");
    Ok(())
}

fn leaders(tools: &mut Tools) -> Result<()> {
    let elect = "kafka-leader-election";
    let one = ["--topic", "orders", "--partition", "0"];
    for kind in ["preferred", "unclean"] {
        let text = tools.run(elect, &[&["--election-type", kind], &one[..]].concat())?;
        expect(
            &text,
            &["Valid replica already elected for partitions orders-0"],
        )?;
    }
    tools.run(
        elect,
        &["--election-type", "preferred", "--all-topic-partitions"],
    )?;
    let missing = [
        "--election-type",
        "preferred",
        "--topic",
        "nowhere",
        "--partition",
        "0",
    ];
    expect(
        &tools.refusal(elect, &missing)?,
        &["UnknownTopicOrPartitionException"],
    )
}

fn reassignment(tools: &mut Tools, file: File<'_>) -> Result<()> {
    let reassign = "kafka-reassign-partitions";
    let topics = file(
        "topics.json",
        &json!({"version": 1, "topics": [{"topic": "orders"}]}),
    )?;
    let text = tools.run(
        reassign,
        &[
            "--generate",
            "--topics-to-move-json-file",
            &topics,
            "--broker-list",
            "1",
        ],
    )?;
    expect(
        &text,
        &[
            "Proposed partition reassignment configuration",
            r#""partition":0,"replicas":[1]"#,
        ],
    )?;
    let to = |replicas: &[i32]| json!({"version": 1, "partitions": [{"topic": "orders", "partition": 0, "replicas": replicas}]});
    let same = file("same.json", &to(&[1]))?;
    let text = tools.run(reassign, &["--execute", "--reassignment-json-file", &same])?;
    expect(
        &text,
        &["Successfully started partition reassignment for orders-0"],
    )?;
    let text = tools.run(reassign, &["--verify", "--reassignment-json-file", &same])?;
    expect(&text, &["Reassignment of partition orders-0 is completed."])?;
    expect(
        &tools.run(reassign, &["--list"])?,
        &["No partition reassignments found."],
    )?;
    let text = tools.run(reassign, &["--cancel", "--reassignment-json-file", &same])?;
    expect(
        &text,
        &["None of the specified partition reassignments are active."],
    )?;
    let more = file("more.json", &to(&[1, 2]))?;
    let text = tools.refusal(reassign, &["--execute", "--reassignment-json-file", &more])?;
    expect(&text, &["Unknown broker id 2"])
}

fn about(tools: &mut Tools) -> Result<()> {
    let bootstrap = tools.bootstrap().to_owned();
    let versions = tools.run("kafka-broker-api-versions", &[])?;
    expect(
        &versions,
        &[
            "(id: 1 rack: null isFenced: false) -> (",
            "Produce(0): 0 to 13 [usable: 13]",
        ],
    )?;
    let features = tools.run("kafka-features", &["describe"])?;
    for (feature, level) in [("group.version", "1"), ("transaction.version", "2")] {
        ensure!(finalized(&features, feature) == Some(level), "{features}");
    }
    let status = tools.run("kafka-metadata-quorum", &["describe", "--status"])?;
    for fact in ["LeaderId:               1\n", "MaxFollowerLag:         0\n"] {
        expect(&status, &[fact])?;
    }
    expect(&status, &["CurrentVoters:          [{\"id\": 1,"])?;
    let replicas = tools.run("kafka-metadata-quorum", &["describe", "--replication"])?;
    let leader = super::table(&replicas)[1].clone();
    ensure!(leader[0] == "1" && leader.contains(&"Leader"), "{replicas}");
    let cluster = |tools: &mut Tools, what: &str| {
        let args = [what, "--bootstrap-server", &bootstrap];
        tools
            .run_bare("kafka-cluster", &args, "")?
            .succeeded("kafka-cluster")
    };
    expect(&cluster(tools, "cluster-id")?, &["Cluster ID: "])?;
    let endpoints = cluster(tools, "list-endpoints")?;
    ensure!(
        super::table(&endpoints)[1][..2] == ["1", "127.0.0.1"],
        "{endpoints}"
    );
    Ok(())
}

/// The level of a feature that the cluster has settled on.
fn finalized<'a>(features: &'a str, name: &str) -> Option<&'a str> {
    let line = features.lines().find(|l| l.contains(name))?;
    let mut words = line.split_whitespace();
    words.find(|w| *w == "FinalizedVersionLevel:")?;
    words.next()
}
