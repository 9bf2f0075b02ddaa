//! The consumer protocol (KIP-848) with the clients that have it: kafka-clients and librdkafka.

use anyhow::Context;
use harness::{Carrick, Peer, Result, wait_until};
use serde_json::{Value, json};

use crate::world::LIMIT;

/// Short sessions and heartbeats, so that a crash is noticed soon.
const QUICK: &[&str] = &[
    "group.consumer.min.session.timeout.ms=6000",
    "group.consumer.session.timeout.ms=6000",
    "group.consumer.min.heartbeat.interval.ms=500",
    "group.consumer.heartbeat.interval.ms=500",
    "group.consumer.assignment.interval.ms=100",
    "group.min.session.timeout.ms=1000",
];

const TOPIC: &str = "orders";
const PARTITIONS: usize = 6;

/// A broker, a Java client that administers, and members in processes of their own.
struct Story {
    carrick: Carrick,
    admin: Peer,
    library: fn(&str) -> Result<Peer>,
    /// What members report in addition to their names: protocol, topic or expression.
    subscription: Value,
    members: Vec<(String, Peer)>,
}

impl Story {
    fn start(library: fn(&str) -> Result<Peer>, subscription: Value) -> Result<Self> {
        let carrick = Carrick::start_with(QUICK)?;
        let admin = Peer::java(&carrick.bootstrap())?;
        Ok(Self {
            carrick,
            admin,
            library,
            subscription,
            members: Vec::new(),
        })
    }

    fn topic(&mut self, name: &str, partitions: usize) -> Result<()> {
        let fields = json!({"topic": name, "partitions": partitions});
        self.admin.call("create_topic", fields)?;
        Ok(())
    }

    fn produce(&mut self, topic: &str, partitions: usize) -> Result<()> {
        for partition in 0..partitions {
            let fields = json!({"topic": topic, "partition": partition, "count": 50});
            self.admin.call("produce", fields)?;
        }
        Ok(())
    }

    fn join(&mut self, name: &str, protocol: &str) -> Result<()> {
        let mut peer = (self.library)(&self.carrick.bootstrap())?;
        let mut fields = self.subscription.clone();
        fields["name"] = json!(name);
        fields["group"] = json!("readers");
        fields["protocol"] = json!(protocol);
        peer.call("member_start", fields)?;
        self.members.push((name.to_owned(), peer));
        Ok(())
    }

    fn take(&mut self, name: &str) -> Result<Peer> {
        let at = self.members.iter().position(|(known, _)| known == name);
        let at = at.with_context(|| format!("{name} has not joined"))?;
        Ok(self.members.remove(at).1)
    }

    fn leave(&mut self, name: &str) -> Result<()> {
        self.take(name)?
            .call("member_stop", json!({"name": name}))?;
        Ok(())
    }

    /// The process is killed: nobody says goodbye.
    fn crash(&mut self, name: &str) -> Result<()> {
        self.take(name).map(drop)
    }

    /// Partitions and consumed records of each member.
    fn states(&mut self) -> Result<Vec<(Vec<u64>, u64)>> {
        let mut states = Vec::new();
        for (name, peer) in &mut self.members {
            let state = peer.call("member_state", json!({"name": name}))?;
            let assigned = state["assigned"].as_array().cloned().unwrap_or_default();
            let assigned = assigned.iter().filter_map(Value::as_u64).collect();
            states.push((assigned, state["consumed"].as_u64().unwrap_or(0)));
        }
        Ok(states)
    }

    /// Waits until the members share the partitions as evenly as can be.
    fn wait_shared(&mut self, partitions: usize) -> Result<()> {
        wait_until("every partition has one reader", LIMIT, || {
            let states = self.states()?;
            let sizes: Vec<usize> = states.iter().map(|(assigned, _)| assigned.len()).collect();
            let even = sizes
                .iter()
                .max()
                .zip(sizes.iter().min())
                .is_some_and(|(most, least)| most - least <= 1);
            let done = even && sizes.iter().sum::<usize>() == partitions;
            Ok(if done {
                Ok(())
            } else {
                Err(format!("{states:?}"))
            })
        })
    }

    /// Waits until `more` records have been read since `before`.
    fn wait_consumed(&mut self, before: u64, more: u64) -> Result<()> {
        wait_until("what was produced is read", LIMIT, || {
            let consumed = self.consumed()?;
            let done = consumed >= before + more;
            Ok(if done {
                Ok(())
            } else {
                Err(format!("{consumed} of {before} + {more}"))
            })
        })
    }

    fn consumed(&mut self) -> Result<u64> {
        Ok(self.states()?.iter().map(|(_, consumed)| consumed).sum())
    }

    fn group(&mut self) -> Result<(String, String, u64)> {
        let group = self
            .admin
            .call("describe_group", json!({"group": "readers"}))?;
        let text = |name: &str| group[name].as_str().unwrap_or_default().to_owned();
        let members = group["members"].as_u64().unwrap_or(0);
        Ok((text("type"), text("state"), members))
    }

    fn wait_group(&mut self, kind: &str, members: u64) -> Result<()> {
        let expected = (kind.to_owned(), "Stable".to_owned(), members);
        wait_until("the group is as expected", LIMIT, || {
            let group = self.group()?;
            Ok(if group == expected {
                Ok(())
            } else {
                Err(format!("{group:?}"))
            })
        })
    }
}

/// Three members join, one leaves, the broker is killed, one crashes: every partition is read all along.
fn members_come_and_go(library: fn(&str) -> Result<Peer>) -> Result<()> {
    let mut story = Story::start(library, json!({"topic": TOPIC}))?;
    story.topic(TOPIC, PARTITIONS)?;
    story.produce(TOPIC, PARTITIONS)?;
    for name in ["a", "b", "c"] {
        story.join(name, "consumer")?;
        story.wait_shared(PARTITIONS)?;
    }
    story.wait_group("Consumer", 3)?;
    story.wait_consumed(0, 300)?;
    story.leave("b")?;
    story.wait_shared(PARTITIONS)?;
    // Members continue with their ids and epochs: nothing is assigned again.
    let before = story.states()?;
    story.carrick.kill();
    story.carrick.restart()?;
    story.produce(TOPIC, PARTITIONS)?;
    let consumed = before.iter().map(|(_, consumed)| consumed).sum();
    story.wait_consumed(consumed, 300)?;
    let assigned = |states: &[(Vec<u64>, u64)]| -> Vec<Vec<u64>> {
        states
            .iter()
            .map(|(assigned, _)| assigned.clone())
            .collect()
    };
    assert_eq!(assigned(&story.states()?), assigned(&before));
    story.wait_group("Consumer", 2)?;
    story.crash("c")?;
    story.wait_shared(PARTITIONS)?;
    let consumed = story.consumed()?;
    story.produce(TOPIC, PARTITIONS)?;
    story.wait_consumed(consumed, 300)?;
    story.leave("a")
}

#[test]
fn members_of_kafka_clients_come_and_go() -> Result<()> {
    members_come_and_go(Peer::java)
}

#[test]
fn members_of_librdkafka_come_and_go() -> Result<()> {
    members_come_and_go(Peer::librdkafka)
}

/// Topics that match come and are read; others are not.
fn topics_are_found_by_expression(library: fn(&str) -> Result<Peer>) -> Result<()> {
    let mut story = Story::start(library, json!({"regex": "orders-.*"}))?;
    story.topic("orders-eu", 2)?;
    story.topic("bills", 1)?;
    story.join("a", "consumer")?;
    story.wait_shared(2)?;
    story.join("b", "consumer")?;
    story.wait_shared(2)?;
    story.topic("orders-us", 4)?;
    story.produce("orders-us", 4)?;
    story.wait_shared(6)?;
    story.wait_consumed(0, 200)?;
    story
        .admin
        .call("delete_topic", json!({"topic": "orders-eu"}))?;
    story.wait_shared(4)?;
    story.wait_group("Consumer", 2)
}

#[test]
fn topics_are_found_by_expression_with_kafka_clients() -> Result<()> {
    topics_are_found_by_expression(Peer::java)
}

#[test]
fn topics_are_found_by_expression_with_librdkafka() -> Result<()> {
    topics_are_found_by_expression(Peer::librdkafka)
}

#[test]
fn a_group_changes_its_protocol_member_by_member_and_back() -> Result<()> {
    let mut story = Story::start(Peer::java, json!({"topic": TOPIC}))?;
    story.topic(TOPIC, PARTITIONS)?;
    story.join("old-1", "classic")?;
    story.join("old-2", "classic")?;
    story.wait_shared(PARTITIONS)?;
    story.wait_group("Classic", 2)?;
    story.join("new-1", "consumer")?;
    story.wait_shared(PARTITIONS)?;
    story.wait_group("Consumer", 3)?;
    // In the middle of it, the broker dies.
    story.carrick.kill();
    story.carrick.restart()?;
    story.leave("old-1")?;
    story.join("new-2", "consumer")?;
    story.leave("old-2")?;
    story.wait_shared(PARTITIONS)?;
    story.wait_group("Consumer", 2)?;
    story.produce(TOPIC, PARTITIONS)?;
    story.wait_consumed(0, 300)?;
    // And back.
    story.leave("new-1")?;
    story.join("old-3", "classic")?;
    story.wait_shared(PARTITIONS)?;
    story.wait_group("Consumer", 2)?;
    story.leave("new-2")?;
    story.wait_shared(PARTITIONS)?;
    story.wait_group("Classic", 1)?;
    let consumed = story.consumed()?;
    story.produce(TOPIC, PARTITIONS)?;
    story.wait_consumed(consumed, 300)
}
