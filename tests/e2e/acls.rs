//! Kafka's own tool for ACLs, and a Java client whose rights change while it is connected.

use anyhow::ensure;
use harness::carrick::Setup;
use harness::{Carrick, Peer, Result, Tools};
use serde_json::json;

const AUTHORIZER: &str =
    "authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer";
const EVERYONE: &str = "allow.everyone.if.no.acl.found=true";

/// The lines of `kafka-acls --list` that hold an ACL, in order.
fn listed(tools: &mut Tools, args: &[&str]) -> Result<Vec<String>> {
    let shown = tools.run("kafka-acls", &[&["--list"], args].concat())?;
    let lines = shown.lines().map(str::trim);
    let mut lines: Vec<_> = lines
        .filter(|line| line.starts_with("(principal="))
        .map(str::to_owned)
        .collect();
    lines.sort();
    Ok(lines)
}

fn allow(user: &str, operation: &str) -> String {
    format!("(principal=User:{user}, host=*, operation={operation}, permissionType=ALLOW)")
}

#[test]
fn kafka_acls_sets_lists_and_removes_what_producers_and_consumers_need() -> Result<()> {
    let carrick = Carrick::start_as(Setup {
        properties: &[AUTHORIZER, EVERYONE],
        ..Setup::default()
    })?;
    let mut tools = Tools::start(&carrick.bootstrap())?;
    let producer = [
        "--allow-principal",
        "User:writer",
        "--producer",
        "--topic",
        "orders-",
        "--resource-pattern-type",
        "prefixed",
        "--transactional-id",
        "payments",
    ];
    let consumer = [
        "--allow-principal",
        "User:reader",
        "--consumer",
        "--topic",
        "orders",
        "--group",
        "billing",
    ];
    let prefixed = ["--topic", "orders-", "--resource-pattern-type", "prefixed"];
    for args in [&producer[..], &consumer] {
        tools.run("kafka-acls", &[&["--add"], args].concat())?;
    }
    let writes = ["CREATE", "DESCRIBE", "WRITE"].map(|it| allow("writer", it));
    ensure!(listed(&mut tools, &prefixed)? == writes);
    let id = ["--transactional-id", "payments"];
    let id = [&id[..], &["--resource-pattern-type", "prefixed"]].concat();
    ensure!(listed(&mut tools, &id)? == ["DESCRIBE", "WRITE"].map(|it| allow("writer", it)));
    ensure!(listed(&mut tools, &["--group", "billing"])? == [allow("reader", "READ")]);
    // What applies to a topic, whatever its pattern.
    let applying = ["--topic", "orders-1", "--resource-pattern-type", "match"];
    ensure!(listed(&mut tools, &applying)? == writes);
    let of_reader = ["--principal", "User:reader", "--topic", "orders"];
    ensure!(listed(&mut tools, &of_reader)? == ["DESCRIBE", "READ"].map(|it| allow("reader", it)));

    // Without a prefix: `--add` and `--remove` with the same arguments are each other's opposite.
    tools.run(
        "kafka-acls",
        &[&["--remove", "--force"], &consumer[..]].concat(),
    )?;
    ensure!(listed(&mut tools, &["--group", "billing"])?.is_empty());
    let remove = [&["--remove", "--force"], &prefixed[..]].concat();
    tools.run("kafka-acls", &remove)?;
    tools.run("kafka-acls", &[&["--remove", "--force"], &id[..]].concat())?;
    ensure!(listed(&mut tools, &[])?.is_empty());

    let wrong = [
        "--add",
        "--allow-principal",
        "nobody",
        "--operation",
        "Read",
    ];
    let refused = tools.refusal("kafka-acls", &[&wrong[..], &["--topic", "t"]].concat())?;
    println!("refused: {refused}");
    Ok(())
}

#[test]
fn a_java_producer_that_loses_its_right_on_a_live_connection_is_told_so() -> Result<()> {
    let carrick = Carrick::start_as(Setup {
        properties: &[AUTHORIZER, EVERYONE],
        ..Setup::default()
    })?;
    let mut peer = Peer::java(&carrick.bootstrap())?;
    peer.call(
        "create_topic",
        json!({"topic": "orders", "partitions": 1, "configs": {}}),
    )?;
    let produce = json!({"topic": "orders", "count": 5});
    peer.call("produce", produce.clone())?;
    let right = |change: &str, user: &str| {
        json!({
            "change": change, "user": user, "resource": "TOPIC", "name": "orders",
            "operation": "WRITE",
        })
    };
    // A topic with an ACL is open to those alone who have one.
    peer.call("acl", right("add", "somebody"))?;
    let refused = peer.refusal("produce", produce.clone())?;
    println!("refused: {refused}");
    ensure!(refused.code == "TOPIC_AUTHORIZATION_FAILED", "{refused:?}");
    peer.call("acl", right("add", "ANONYMOUS"))?;
    peer.call("produce", produce)?;
    ensure!(
        carrick
            .log()
            .contains("Principal = User:ANONYMOUS is Denied operation = "),
        "denials are logged"
    );
    Ok(())
}
