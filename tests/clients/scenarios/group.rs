//! Groups: members share the partitions on join, leave and crash, and their offsets outlive a restart.

use std::time::Duration;

use harness::{Carrick, Peer, Result, wait_until};
use serde_json::{Value, json};

use crate::library::Library;
use crate::matrix::Stage;

const LIMIT: Duration = Duration::from_secs(60);
const PARTITIONS: i32 = 4;

fn join(peer: &mut Peer, name: &str, group: &str) -> Result<()> {
    let config = json!({"session.timeout.ms": "6000", "heartbeat.interval.ms": "500"});
    let mut fields = json!({"name": name, "group": group, "topic": "orders", "session_ms": 6000});
    if peer.library() == "java" {
        fields["config"] = config;
    }
    peer.call("member_start", fields)?;
    Ok(())
}

fn state(peer: &mut Peer, name: &str) -> Result<Value> {
    peer.call("member_state", json!({"name": name}))
}

fn assigned(state: &Value) -> Vec<i64> {
    let all = state["assigned"]
        .as_array()
        .map(Vec::as_slice)
        .unwrap_or_default();
    all.iter().filter_map(Value::as_i64).collect()
}

/// Waits until the members have all partitions between them, each some, none twice.
fn wait_shared(members: &mut [(&mut Peer, &str)]) -> Result<()> {
    wait_until("the partitions are shared", LIMIT, || {
        let mut shares = Vec::new();
        for (peer, name) in &mut *members {
            shares.push(assigned(&state(peer, name)?));
        }
        let mut all: Vec<i64> = shares.concat();
        all.sort_unstable();
        let whole = all == (0..i64::from(PARTITIONS)).collect::<Vec<_>>();
        Ok(if whole && shares.iter().all(|s| !s.is_empty()) {
            Ok(())
        } else {
            Err(format!("{shares:?}"))
        })
    })
}

fn wait_consumed(members: &mut [(&mut Peer, &str)], total: u64) -> Result<()> {
    wait_until(&format!("{total} records are consumed"), LIMIT, || {
        let mut sum = 0;
        for (peer, name) in &mut *members {
            sum += state(peer, name)?["consumed"].as_u64().unwrap_or(0);
        }
        Ok(if sum >= total {
            Ok(())
        } else {
            Err(sum.to_string())
        })
    })
}

fn wait_committed(peer: &mut Peer, group: &str, offset: i64) -> Result<()> {
    wait_until(
        &format!("{offset} is committed in every partition"),
        LIMIT,
        || {
            let mut all = Vec::new();
            for partition in 0..PARTITIONS {
                let fields = json!({"group": group, "topic": "orders", "partition": partition});
                all.push(
                    peer.call("committed", fields)?["offset"]
                        .as_i64()
                        .unwrap_or(-1),
                );
            }
            Ok(if all.iter().all(|o| *o == offset) {
                Ok(())
            } else {
                Err(format!("{all:?}"))
            })
        },
    )
}

fn produce(writer: &mut Peer, count: i64) -> Result<()> {
    for partition in 0..PARTITIONS {
        let fields = json!({"topic": "orders", "partition": partition, "count": count});
        writer.call("produce", fields)?;
    }
    Ok(())
}

/// Two members and a third that follows them.
pub fn share_leave_crash_and_resume(library: &Library, stage: &mut Stage) -> Result<()> {
    let mut carrick = Carrick::start()?;
    let bootstrap = carrick.bootstrap();
    let start = || (library.start)(&bootstrap);
    let mut first = start()?;
    let writer = stage.java(&bootstrap)?;
    writer.call(
        "create_topic",
        json!({"topic": "orders", "partitions": PARTITIONS}),
    )?;

    join(&mut first, "a", "g")?;
    wait_shared(&mut [(&mut first, "a")])?;
    let mut second = start()?;
    join(&mut second, "b", "g")?;
    wait_shared(&mut [(&mut first, "a"), (&mut second, "b")])?;
    produce(writer, 100)?;
    wait_consumed(&mut [(&mut first, "a"), (&mut second, "b")], 400)?;

    second.call("member_stop", json!({"name": "b"}))?;
    wait_shared(&mut [(&mut first, "a")])?;
    join(&mut second, "b", "g")?;
    wait_shared(&mut [(&mut first, "a"), (&mut second, "b")])?;
    drop(second);
    wait_shared(&mut [(&mut first, "a")])?;

    produce(writer, 50)?;
    wait_committed(writer, "g", 150)?;
    carrick.kill();
    carrick.restart()?;
    wait_committed(writer, "g", 150)?;
    produce(writer, 25)?;
    wait_committed(writer, "g", 175)?;
    drop(first);
    let mut third = start()?;
    join(&mut third, "c", "g")?;
    wait_shared(&mut [(&mut third, "c")])?;
    produce(writer, 10)?;
    wait_committed(writer, "g", 185)?;
    let seen = state(&mut third, "c")?["consumed"].as_u64().unwrap_or(0);
    assert_eq!(
        seen, 40,
        "the third goes on where the group was, and reads nothing again"
    );
    Ok(())
}
