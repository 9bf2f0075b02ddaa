//! Administration of groups: list, describe, offsets (read, set), delete.

use harness::{Carrick, Peer, Result, wait_until};
use serde_json::{Value, json};

use super::{Capability, LIMIT, Member, names, produce, wait_committed, wait_shared};
use crate::library::Library;
use crate::matrix::Stage;

pub const CAPABILITY: Capability = Capability {
    name: "groups",
    ops: &[
        "list_groups",
        "describe_group",
        "group_offsets",
        "alter_offsets",
        "delete_group",
    ],
    run: list_describe_offsets_delete,
};

fn list_describe_offsets_delete(library: &Library, stage: &mut Stage) -> Result<()> {
    let carrick = Carrick::start()?;
    let java = stage.java(&carrick.bootstrap())?;
    let mut peer = (library.start)(&carrick.bootstrap())?;
    let has = |op| library.lacks(op).is_none();
    let group = json!({"group": "g"});
    java.call("create_topic", json!({"topic": "orders", "partitions": 2}))?;
    produce(java, "orders", 2, 10)?;
    let mut members = vec![Member::join(library, &carrick, "g", "orders", None)?];
    wait_shared(&mut members, 2)?;
    wait_committed(java, "g", "orders", 2, 10)?;

    if has("list_groups") {
        let listed = peer.call("list_groups", json!({}))?;
        assert_eq!(names(&listed, "groups"), ["g"]);
    }
    if has("describe_group") {
        let told = peer.call("describe_group", group.clone())?;
        assert_eq!(
            (state(&told), told["members"].as_u64()),
            ("stable".into(), Some(1))
        );
    }
    if has("delete_group") {
        peer.refusal("delete_group", group.clone())?;
    }
    for member in members {
        member.leave()?;
    }
    if has("describe_group") {
        wait_empty(&mut peer, &group)?;
    }
    check_offsets(library, &mut peer, java)?;
    if has("delete_group") {
        peer.call("delete_group", group.clone())?;
        let left = java.call("list_groups", json!({}))?;
        assert!(!names(&left, "groups").contains(&"g"), "it is gone: {left}");
    }
    Ok(())
}

/// Libraries differ in how they write a state's name.
fn state(told: &Value) -> String {
    told["state"].as_str().unwrap_or_default().to_lowercase()
}

fn wait_empty(peer: &mut Peer, group: &Value) -> Result<()> {
    wait_until("the group is empty", LIMIT, || {
        let told = peer.call("describe_group", group.clone())?;
        Ok(if state(&told) == "empty" {
            Ok(())
        } else {
            Err(told.to_string())
        })
    })
}

fn check_offsets(library: &Library, peer: &mut Peer, java: &mut Peer) -> Result<()> {
    let group = json!({"group": "g"});
    if library.lacks("alter_offsets").is_none() {
        let to = json!({"group": "g", "topic": "orders", "partition": 1, "offset": 4});
        peer.call("alter_offsets", to)?;
        let seen = java.call("group_offsets", group.clone())?;
        assert_eq!(seen["offsets"]["orders-1"], 4, "the Java client sees it");
    }
    if library.lacks("group_offsets").is_none() {
        let ours = peer.call("group_offsets", group.clone())?;
        let theirs = java.call("group_offsets", group)?;
        assert_eq!(ours["offsets"], theirs["offsets"]);
        assert_eq!(ours["offsets"]["orders-0"], 10);
    }
    Ok(())
}
