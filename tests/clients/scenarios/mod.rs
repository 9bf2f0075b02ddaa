//! What every client library is asked to do, one file a capability, and the words that the files share.

mod codecs;
mod configs;
mod group;
mod groups;
mod idempotence;
mod resume;
pub mod security;
mod topics;
mod transactions;

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use harness::{Carrick, Peer, Result, wait_until};
use serde_json::{Value, json};

use crate::library::Library;
use crate::matrix::Stage;

/// How long anything may take that a client is waited for.
const LIMIT: Duration = Duration::from_secs(60);

/// A capability: a column of the table.
pub struct Capability {
    /// The column's head.
    pub name: &'static str,
    /// The peers' operations that it consists of: a library may lack one of them.
    pub ops: &'static [&'static str],
    /// Shows that a library has it.
    pub run: fn(&Library, &mut Stage) -> Result<()>,
}

/// Every capability, in the order of the table.
pub const CAPABILITIES: &[Capability] = &[
    codecs::CAPABILITY,
    idempotence::CAPABILITY,
    group::CLASSIC,
    group::CONSUMER,
    resume::CAPABILITY,
    transactions::CAPABILITY,
    topics::CAPABILITY,
    configs::CAPABILITY,
    groups::CAPABILITY,
];

/// Every capability of security: a table of its own.
pub const SECURITY: &[Capability] = &[
    security::TLS,
    security::MTLS,
    security::PLAIN,
    security::SCRAM_256,
    security::SCRAM_512,
    security::OAUTHBEARER,
];

/// Sends `count` records to every one of `partitions` partitions of `topic`.
fn produce(writer: &mut Peer, topic: &str, partitions: i32, count: i64) -> Result<()> {
    for partition in 0..partitions {
        let fields = json!({"topic": topic, "partition": partition, "count": count});
        writer.call("produce", fields)?;
    }
    Ok(())
}

/// A member of a group, in a separate client process: dropping it is a crash.
struct Member {
    peer: Peer,
    consumed: u64,
}

impl Member {
    /// Starts a process that joins `group` over all of `topic`, by the group protocol that `protocol` names.
    fn join(
        library: &Library,
        carrick: &Carrick,
        group: &str,
        topic: &str,
        protocol: Option<&str>,
    ) -> Result<Self> {
        let mut peer = (library.start)(&carrick.bootstrap())?;
        let mut fields = json!({"name": "m", "group": group, "topic": topic, "session_ms": 6000});
        if let Some(protocol) = protocol {
            fields["protocol"] = json!(protocol);
        }
        peer.call("member_start", fields)?;
        Ok(Self { peer, consumed: 0 })
    }

    fn state(&mut self) -> Result<Value> {
        let state = self.peer.call("member_state", json!({"name": "m"}))?;
        self.consumed = state["consumed"].as_u64().unwrap_or(0);
        Ok(state)
    }

    fn assigned(&mut self) -> Result<Vec<i64>> {
        let state = self.state()?;
        let all = state["assigned"].as_array().cloned().unwrap_or_default();
        Ok(all.iter().filter_map(Value::as_i64).collect())
    }

    /// Leaves the group as the library does when it is closed.
    fn leave(mut self) -> Result<()> {
        self.peer.call("member_stop", json!({"name": "m"}))?;
        Ok(())
    }
}

/// Waits until the members have all partitions between them, in equal shares, none twice.
fn wait_shared(members: &mut [Member], partitions: usize) -> Result<()> {
    let share = partitions / members.len();
    let what = format!(
        "{partitions} partitions are shared by {} members",
        members.len()
    );
    wait_until(&what, LIMIT, || {
        let mut shares = Vec::new();
        for member in &mut *members {
            shares.push(member.assigned()?);
        }
        let mut all: Vec<i64> = shares.concat();
        all.sort_unstable();
        let whole = (0_i64..).take(partitions).eq(all.iter().copied());
        Ok(if whole && shares.iter().all(|s| s.len() == share) {
            Ok(())
        } else {
            Err(format!("{shares:?}"))
        })
    })
}

/// What `group` committed in every partition, as reported to the Java client.
fn wait_committed(
    java: &mut Peer,
    group: &str,
    topic: &str,
    partitions: usize,
    offset: i64,
) -> Result<()> {
    let what = format!("{offset} is committed in {partitions} partitions");
    wait_until(&what, LIMIT, || {
        let answer = java.call("group_offsets", json!({"group": group}))?;
        let of = |p: usize| answer["offsets"][format!("{topic}-{p}")].as_i64();
        Ok(if (0..partitions).all(|p| of(p) == Some(offset)) {
            Ok(())
        } else {
            Err(answer["offsets"].to_string())
        })
    })
}

/// Milliseconds since 1970. Older records than those of today fall to retention.
fn now_ms() -> Result<u64> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH)?;
    Ok(u64::try_from(now.as_millis())?)
}

/// The names in an answer's list.
fn names<'a>(answer: &'a Value, list: &str) -> Vec<&'a str> {
    let all = answer[list]
        .as_array()
        .map(Vec::as_slice)
        .unwrap_or_default();
    all.iter().filter_map(Value::as_str).collect()
}
