//! Transactions: committed ones show, aborted ones never do, an open one holds `read_committed` back, a newer producer
//! of the same id fences the older, and read-process-write moves records and offsets together or not at all.

use harness::{Carrick, Peer, Result};
use serde_json::{Value, json};

use super::Capability;
use crate::library::Library;
use crate::matrix::Stage;

pub const CAPABILITY: Capability = Capability {
    name: "transactions",
    ops: &[],
    run: commit_abort_and_process,
};

fn commit_abort_and_process(library: &Library, stage: &mut Stage) -> Result<()> {
    let carrick = Carrick::start()?;
    let bootstrap = carrick.bootstrap();
    let java = stage.java(&bootstrap)?;
    let mut peer = (library.start)(&bootstrap)?;
    for topic in ["orders", "bills"] {
        java.call("create_topic", json!({"topic": topic}))?;
    }
    transaction(&mut peer, "t", 100, "commit")?;
    transaction(&mut peer, "t", 50, "abort")?;
    check_visible(&mut peer, java, "orders", 100, 150)?;
    transaction(&mut peer, "t", 30, "commit")?;
    check_visible(&mut peer, java, "orders", 130, 180)?;

    transaction(&mut peer, "t", 5, "open")?;
    check_visible(&mut peer, java, "orders", 130, 185)?;
    let mut newer = (library.start)(&bootstrap)?;
    transaction(&mut newer, "t", 7, "commit")?;
    check_visible(&mut peer, java, "orders", 137, 192)?;
    let late = fields("t", 1, "commit");
    peer.refusal("transaction", late)?;
    check_visible(&mut newer, java, "orders", 137, 192)?;

    process(&mut newer, "abort")?;
    assert_eq!(committed(java)?, None, "an aborted offset is none");
    check_visible(&mut newer, java, "bills", 0, 137)?;
    process(&mut newer, "commit")?;
    check_visible(&mut newer, java, "bills", 137, 274)?;
    let at = committed(java)?;
    assert!(
        at >= Some(192),
        "the offset went with the transaction: {at:?}"
    );
    Ok(())
}

fn fields(id: &str, count: u64, outcome: &str) -> Value {
    json!({
        "topic": "orders", "partition": 0, "transactional_id": id, "count": count, "outcome": outcome,
    })
}

fn transaction(peer: &mut Peer, id: &str, count: u64, outcome: &str) -> Result<()> {
    let done = peer.call("transaction", fields(id, count, outcome))?;
    assert_eq!(
        done["acked"], count,
        "the records of the transaction to {outcome}"
    );
    Ok(())
}

/// Reads all committed orders as a member of a group and writes them to the bills, in one transaction.
fn process(peer: &mut Peer, outcome: &str) -> Result<()> {
    let fields = json!({
        "topic": "orders", "partition": 0, "to": "bills", "group": "billing", "transactional_id": "billing-1",
        "isolation": "read_committed", "outcome": outcome,
    });
    let done = peer.call("process", fields)?;
    assert_eq!(done["count"], 137, "it reads what is committed");
    Ok(())
}

fn committed(java: &mut Peer) -> Result<Option<i64>> {
    let offsets = java.call("group_offsets", json!({"group": "billing"}))?;
    Ok(offsets["offsets"]["orders-0"].as_i64())
}

/// Both clients see the committed records with `read_committed`, and all with `read_uncommitted`.
fn check_visible(
    peer: &mut Peer,
    java: &mut Peer,
    topic: &str,
    committed: u64,
    all: u64,
) -> Result<()> {
    for reader in [peer, java] {
        for (isolation, expected) in [("read_committed", committed), ("read_uncommitted", all)] {
            let fields = json!({"topic": topic, "partition": 0, "isolation": isolation});
            let read = reader.call("consume", fields)?;
            let by = reader.library();
            assert_eq!(read["count"], expected, "{by} reads {topic} {isolation}");
        }
    }
    Ok(())
}
