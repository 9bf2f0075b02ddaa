//! A group of three processes that rebalances on join, leave and crash: each has its share, no partition has two
//! members, and every record is consumed once, because everything was committed before each change.

use harness::{Carrick, Peer, Result, wait_until};
use serde_json::json;

use super::{Capability, LIMIT, Member, produce, wait_committed, wait_shared};
use crate::library::Library;
use crate::matrix::Stage;

/// The classic protocol: JoinGroup, SyncGroup, Heartbeat.
pub const CLASSIC: Capability = Capability {
    name: "group",
    ops: &[],
    run: |library, stage| join_leave_and_crash(library, stage, None),
};

/// KIP-848: ConsumerGroupHeartbeat, assignment by the broker.
pub const CONSUMER: Capability = Capability {
    name: "group KIP-848",
    ops: &[],
    run: |library, stage| join_leave_and_crash(library, stage, Some("consumer")),
};

const PARTITIONS: usize = 6;
/// What a member of the new protocol gets from the broker, to notice a crash as soon as a classic one.
const CONSUMER_SESSION: &[&str] = &[
    "group.consumer.min.session.timeout.ms=6000",
    "group.consumer.session.timeout.ms=6000",
    "group.consumer.min.heartbeat.interval.ms=500",
    "group.consumer.heartbeat.interval.ms=500",
];

fn join_leave_and_crash(
    library: &Library,
    stage: &mut Stage,
    protocol: Option<&str>,
) -> Result<()> {
    let carrick = Carrick::start_with(protocol.map_or(&[], |_| CONSUMER_SESSION))?;
    let java = stage.java(&carrick.bootstrap())?;
    java.call(
        "create_topic",
        json!({"topic": "orders", "partitions": PARTITIONS}),
    )?;
    let mut group = Group {
        members: Vec::new(),
        gone: 0,
        produced: 0,
    };
    for _ in 0..3 {
        let member = Member::join(library, &carrick, "g", "orders", protocol)?;
        group.members.push(member);
        wait_shared(&mut group.members, PARTITIONS)?;
    }
    group.consume(java, 50)?;
    let told = java.call("describe_group", json!({"group": "g"}))?;
    assert_eq!(
        (told["state"].as_str(), told["members"].as_u64()),
        (Some("Stable"), Some(3))
    );
    let kind = told["type"].as_str().unwrap_or_default().to_lowercase();
    assert_eq!(kind, protocol.unwrap_or("classic"), "the group's protocol");

    group.next_leaver()?.leave()?;
    wait_shared(&mut group.members, PARTITIONS)?;
    group.consume(java, 20)?;

    drop(group.next_leaver()?);
    wait_shared(&mut group.members, PARTITIONS)?;
    group.consume(java, 10)
}

struct Group {
    members: Vec<Member>,
    /// Consumed by those who left.
    gone: u64,
    /// Per partition.
    produced: i64,
}

impl Group {
    /// Produces `count` more per partition, and waits until all is committed: each record was consumed once.
    fn consume(&mut self, java: &mut Peer, count: i64) -> Result<()> {
        let partitions = i32::try_from(PARTITIONS)?;
        produce(java, "orders", partitions, count)?;
        self.produced += count;
        wait_committed(java, "g", "orders", PARTITIONS, self.produced)?;
        let total = u64::try_from(self.produced * i64::from(partitions))?;
        let sum = wait_until(&format!("{total} are consumed"), LIMIT, || {
            let mut sum = self.gone;
            for member in &mut self.members {
                member.state()?;
                sum += member.consumed;
            }
            Ok(if sum >= total {
                Ok(sum)
            } else {
                Err(sum.to_string())
            })
        })?;
        assert_eq!(sum, total, "each record is consumed once");
        Ok(())
    }

    fn next_leaver(&mut self) -> Result<Member> {
        let mut member = self.members.remove(self.members.len() - 1);
        member.state()?;
        self.gone += member.consumed;
        Ok(member)
    }
}
