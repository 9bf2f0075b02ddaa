//! Administration of topics: create, describe, add partitions, delete. The Java client sees what the library did.

use harness::{Carrick, Result, wait_until};
use serde_json::json;

use super::{Capability, LIMIT};
use crate::library::Library;
use crate::matrix::Stage;

pub const CAPABILITY: Capability = Capability {
    name: "topics",
    ops: &[
        "create_topic",
        "describe_topic",
        "create_partitions",
        "delete_topic",
    ],
    run: create_describe_grow_delete,
};

fn create_describe_grow_delete(library: &Library, stage: &mut Stage) -> Result<()> {
    let carrick = Carrick::start()?;
    let java = stage.java(&carrick.bootstrap())?;
    let mut peer = (library.start)(&carrick.bootstrap())?;
    let has = |op| library.lacks(op).is_none();
    let topic = json!({"topic": "orders"});
    let mut new =
        json!({"topic": "orders", "partitions": 3, "configs": {"retention.ms": "3600000"}});
    new["replication"] = json!(1);
    peer.call("create_topic", new.clone())?;
    let again = peer.refusal("create_topic", new)?;
    let named = format!("{} {}", again.code, again.message);
    let plain: String = named.chars().filter(char::is_ascii_alphabetic).collect();
    assert!(
        plain.to_lowercase().contains("alreadyexist"),
        "it is refused by name: {named}"
    );
    let configs = java.call("describe_configs", topic.clone())?;
    assert_eq!(configs["configs"]["retention.ms"], "3600000");

    let mut count = 3;
    if has("create_partitions") {
        peer.call("create_partitions", json!({"topic": "orders", "total": 5}))?;
        count = 5;
    }
    let seen = java.call("describe_topic", topic.clone())?;
    assert_eq!(seen["partitions"], count, "the Java client sees them");
    if has("describe_topic") {
        let seen = peer.call("describe_topic", topic.clone())?;
        assert_eq!(seen["partitions"], count, "and so does the library");
    }
    peer.call("delete_topic", topic.clone())?;
    wait_until("the topic is gone", LIMIT, || {
        Ok(match java.try_call("describe_topic", topic.clone())? {
            Err(_) => Ok(()),
            Ok(still) => Err(still.to_string()),
        })
    })
}
