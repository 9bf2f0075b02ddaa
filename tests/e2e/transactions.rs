//! The Java client's transactions on local topics.

use harness::peer::PeerError;
use harness::{Carrick, Peer, Result, wait_until};
use serde_json::{Value, json};

use crate::world::LIMIT;

/// A Carrick and two Java clients.
struct Local {
    carrick: Carrick,
    one: Peer,
    other: Peer,
}

impl Local {
    fn start(overrides: &[&str]) -> Result<Self> {
        let carrick = Carrick::start_with(overrides)?;
        let mut one = Peer::java(&carrick.bootstrap())?;
        let other = Peer::java(&carrick.bootstrap())?;
        for topic in ["orders", "bills"] {
            one.call("create_topic", json!({"topic": topic, "partitions": 1}))?;
        }
        Ok(Self {
            carrick,
            one,
            other,
        })
    }

    /// How many records a consumer with that isolation level reads, up to the end that it gets.
    fn count(&mut self, topic: &str, isolation: &str) -> Result<u64> {
        let fields = json!({"topic": topic, "isolation": isolation});
        let read = self.other.call("consume", fields)?;
        Ok(read["count"].as_u64().unwrap_or_default())
    }

    fn wait_committed(&mut self, topic: &str, wanted: u64) -> Result<()> {
        wait_until(&format!("{wanted} records are committed"), LIMIT, || {
            let count = self.count(topic, "read_committed")?;
            Ok(if count == wanted {
                Ok(())
            } else {
                Err(format!("{count}"))
            })
        })
    }

    fn group_offset(&mut self, group: &str) -> Result<Value> {
        let read = self.other.call("group_offsets", json!({"group": group}))?;
        Ok(read["offsets"]["orders-0"].clone())
    }
}

fn transaction(id: &str, count: u64, outcome: &str) -> Value {
    json!({"topic": "orders", "transactional_id": id, "count": count, "outcome": outcome})
}

fn assert_fenced(refused: std::result::Result<Value, PeerError>) {
    let codes = ["PRODUCER_FENCED", "INVALID_PRODUCER_EPOCH"];
    match refused {
        Err(error) => assert!(codes.contains(&error.code.as_str()), "{error}"),
        Ok(answer) => panic!("a zombie was let through: {answer}"),
    }
}

#[test]
fn committed_records_are_read_and_aborted_ones_are_not() -> Result<()> {
    let mut local = Local::start(&[])?;
    for round in 0..6 {
        let outcome = if round % 3 == 1 { "abort" } else { "commit" };
        let id = format!("t{}", round % 2);
        local
            .one
            .call("transaction", transaction(&id, 50, outcome))?;
        local
            .one
            .call("produce", json!({"topic": "orders", "count": 10}))?;
    }
    local.wait_committed("orders", 4 * 50 + 60)?;
    assert_eq!(local.count("orders", "read_uncommitted")?, 6 * 50 + 60);
    local
        .one
        .call("transaction", transaction("t2", 5, "open"))?;
    assert_eq!(local.count("orders", "read_committed")?, 4 * 50 + 60);
    local
        .one
        .call("transaction", transaction("t2", 5, "commit"))?;
    local.wait_committed("orders", 4 * 50 + 60 + 10)
}

#[test]
fn a_processor_commits_what_it_read_with_what_it_wrote() -> Result<()> {
    let mut local = Local::start(&[])?;
    local
        .one
        .call("produce", json!({"topic": "orders", "count": 100}))?;
    let process = |outcome: &str| {
        json!({"topic": "orders", "to": "bills", "group": "billing", "transactional_id": "biller",
            "isolation": "read_committed", "outcome": outcome})
    };
    local.one.call("process", process("abort"))?;
    assert_eq!(local.group_offset("billing")?, Value::Null);
    assert_eq!(local.count("bills", "read_committed")?, 0);
    let first = local.one.call("process", process("commit"))?;
    assert_eq!(first["count"], json!(100));
    local.wait_committed("bills", 100)?;
    assert_eq!(local.group_offset("billing")?, json!(100));
    local
        .one
        .call("produce", json!({"topic": "orders", "count": 7}))?;
    local.carrick.kill();
    local.carrick.restart()?;
    let second = local.one.call("process", process("commit"))?;
    assert_eq!(
        second["count"],
        json!(7),
        "what was committed is not read again"
    );
    local.wait_committed("bills", 107)
}

#[test]
fn a_zombie_is_fenced_by_the_next_instance_of_its_producer() -> Result<()> {
    let mut local = Local::start(&[])?;
    local
        .one
        .call("transaction", transaction("t", 10, "open"))?;
    local
        .other
        .call("transaction", transaction("t", 20, "commit"))?;
    let late = local
        .one
        .try_call("transaction", transaction("t", 30, "commit"))?;
    assert_fenced(late);
    local.wait_committed("orders", 20)
}

#[test]
fn a_transaction_whose_time_is_over_is_aborted_and_its_producer_fenced() -> Result<()> {
    let mut local =
        Local::start(&["transaction.abort.timed.out.transaction.cleanup.interval.ms=100"])?;
    let mut open = transaction("t", 10, "open");
    open["config"] = json!({"transaction.timeout.ms": "1000"});
    local.one.call("transaction", open)?;
    local
        .other
        .call("produce", json!({"topic": "orders", "count": 5}))?;
    local.wait_committed("orders", 5)?;
    let late = local
        .one
        .try_call("transaction", transaction("t", 1, "commit"))?;
    assert_fenced(late);
    assert_eq!(local.count("orders", "read_committed")?, 5);
    Ok(())
}

#[test]
fn a_transaction_goes_on_after_the_broker_was_killed_in_it() -> Result<()> {
    let mut local = Local::start(&[])?;
    local
        .one
        .call("transaction", transaction("kept", 10, "open"))?;
    local
        .other
        .call("transaction", transaction("lost", 10, "open"))?;
    local.carrick.kill();
    local.carrick.restart()?;
    local
        .one
        .call("transaction", transaction("kept", 10, "commit"))?;
    local
        .other
        .call("transaction", transaction("lost", 10, "abort"))?;
    local.wait_committed("orders", 20)?;
    assert_eq!(local.count("orders", "read_uncommitted")?, 40);
    Ok(())
}
