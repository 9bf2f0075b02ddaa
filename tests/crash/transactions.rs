//! Killed while transactions and groups are at work, with Java clients that ride it out:
//!
//! - every transaction that was acknowledged as committed exists; a `read_committed` reader never
//!   saw one that was aborted (or never asked to be committed), neither while it was written nor
//!   afterwards; and transactions are complete;
//! - a group's committed offset never lies below one that was acknowledged, and never goes back;
//! - reading, processing and writing in transactions leaves each record in the output exactly once.

use std::collections::{BTreeMap, BTreeSet};
use std::thread;
use std::time::Duration;

use harness::{Carrick, Peer, Result, wait_until};
use rand::RngExt;
use serde_json::{Value, json};

use super::{LIMIT, random, setting};

const PARTITIONS: u64 = 2;
const LEDGERS: [&str; 3] = ["anna", "bert", "cleo"];
/// Worker, its group, and its protocol.
const COMMITTERS: [(&str, &str, &str); 4] = [
    ("reader-0", "readers", "classic"),
    ("reader-1", "readers", "classic"),
    ("watcher-0", "watchers", "consumer"),
    ("watcher-1", "watchers", "consumer"),
];
const PROCESSORS: [&str; 2] = ["processor-0", "processor-1"];
const GROUPS: [&str; 3] = ["readers", "watchers", "processors"];

/// Offsets by group and partition.
type Offsets = BTreeMap<(String, String), i64>;

struct World {
    carrick: Carrick,
    admin: Peer,
    writers: Peer,
    groups: Peer,
    /// What was committed at the last check, or acknowledged before.
    known: Offsets,
}

impl World {
    fn start() -> Result<Self> {
        let carrick = Carrick::start_with(&[
            "transaction.abort.timed.out.transaction.cleanup.interval.ms=1000",
        ])?;
        let bootstrap = carrick.bootstrap();
        let mut admin = Peer::java(&bootstrap)?;
        for topic in ["input", "output", "ledger"] {
            admin.call(
                "create_topic",
                json!({"topic": topic, "partitions": PARTITIONS}),
            )?;
        }
        Ok(Self {
            admin,
            writers: Peer::java_workers(&bootstrap)?,
            groups: Peer::java_workers(&bootstrap)?,
            carrick,
            known: Offsets::new(),
        })
    }

    fn put_to_work(&mut self) -> Result<()> {
        let observer = json!({"kind": "observer", "name": "observer", "topic": "ledger", "partitions": PARTITIONS});
        self.writers.call("start", observer)?;
        for (seed, name) in LEDGERS.iter().enumerate() {
            let fields = json!({"kind": "ledger", "name": name, "topic": "ledger", "partitions": PARTITIONS,
                "transactional_id": name, "seed": seed});
            self.writers.call("start", fields)?;
        }
        let feeder =
            json!({"kind": "feeder", "name": "feeder", "topic": "input", "partitions": PARTITIONS});
        self.groups.call("start", feeder)?;
        for (name, group, protocol) in COMMITTERS {
            let fields = json!({"kind": "committer", "name": name, "topic": "input", "group": group,
                "protocol": protocol});
            self.groups.call("start", fields)?;
        }
        for name in PROCESSORS {
            let fields = json!({"kind": "processor", "name": name, "topic": "input", "to": "output",
                "group": "processors", "transactional_id": name});
            self.groups.call("start", fields)?;
        }
        wait_until("everybody is at work", LIMIT, || {
            let states = self.states()?;
            let busy = |state: &Value| {
                ["transactions", "commits"]
                    .iter()
                    .any(|n| state[n].as_u64() > Some(0))
                    || state["committed"].as_array().is_some_and(|c| !c.is_empty())
            };
            let idle: Vec<String> = states
                .into_iter()
                .filter(|s| !busy(s))
                .map(|s| s.to_string())
                .collect();
            // Two members share two partitions: each has one, and something to do.
            Ok(if idle.is_empty() {
                Ok(())
            } else {
                Err(idle.join(" "))
            })
        })
    }

    fn states(&mut self) -> Result<Vec<Value>> {
        let mut states = Vec::new();
        for name in LEDGERS {
            states.push(self.writers.call("state", json!({"name": name}))?);
        }
        for name in COMMITTERS
            .map(|(name, _, _)| name)
            .into_iter()
            .chain(PROCESSORS)
        {
            states.push(self.groups.call("state", json!({"name": name}))?);
        }
        Ok(states)
    }

    /// Kills it, and checks that no committed offset has gone back.
    fn crash(&mut self) -> Result<()> {
        self.carrick.kill();
        for (name, group, _) in COMMITTERS {
            let state = self.groups.call("state", json!({"name": name}))?;
            self.learn(group, &state["acked"]);
        }
        self.carrick.restart()?;
        self.check_offsets()
    }

    /// Raises what must not be lost.
    fn learn(&mut self, group: &str, offsets: &Value) {
        for (partition, offset) in offsets.as_object().into_iter().flatten() {
            let known = self
                .known
                .entry((group.to_owned(), partition.clone()))
                .or_insert(0);
            *known = (*known).max(offset.as_i64().unwrap_or(-1));
        }
    }

    fn check_offsets(&mut self) -> Result<()> {
        for group in GROUPS {
            let answer = self.admin.call("group_offsets", json!({"group": group}))?;
            let known: Vec<_> = self.known.iter().filter(|((g, _), _)| g == group).collect();
            for ((_, partition), offset) in known {
                let now = answer["offsets"][partition].as_i64().unwrap_or(-1);
                assert!(
                    now >= *offset,
                    "{group} {partition}: {offset} was committed, {now} is"
                );
            }
            self.learn(group, &answer["offsets"]);
        }
        Ok(())
    }

    /// Waits until the groups have read all of the input.
    fn wait_read(&mut self) -> Result<()> {
        let mut ends = BTreeMap::new();
        for partition in 0..PARTITIONS {
            let range = self
                .admin
                .call("offsets", json!({"topic": "input", "partition": partition}))?;
            ends.insert(format!("input-{partition}"), range["end"].clone());
        }
        for group in GROUPS {
            wait_until(&format!("{group} at {ends:?}"), LIMIT, || {
                let offsets =
                    self.admin.call("group_offsets", json!({"group": group}))?["offsets"].take();
                let done = ends
                    .iter()
                    .all(|(partition, end)| offsets[partition] == *end);
                Ok(if done {
                    Ok(())
                } else {
                    Err(offsets.to_string())
                })
            })?;
        }
        Ok(())
    }

    /// The transactions whose records a `read_committed` reader gets, with their number by partition.
    fn read_ledger(&mut self) -> Result<Value> {
        let fields = json!({"kind": "observer", "name": "again", "topic": "ledger", "partitions": PARTITIONS});
        self.writers.call("start", fields)?;
        Ok(self.writers.call("stop", json!({"name": "again"}))?["seen"].take())
    }

    /// Waits until no transaction of the topic is open any more.
    fn wait_stable(&mut self, topic: &str) -> Result<()> {
        let fields = json!({"topic": topic, "partitions": PARTITIONS, "ends_only": true});
        wait_until(&format!("all of {topic} is stable"), LIMIT, || {
            let ends = self.groups.call("tally", fields.clone())?;
            let done = ends["stable_end"] == ends["end"];
            Ok(if done { Ok(()) } else { Err(ends.to_string()) })
        })
    }

    fn tally(&mut self, topic: &str) -> Result<Value> {
        self.groups
            .call("tally", json!({"topic": topic, "partitions": PARTITIONS}))
    }
}

/// What a ledger was told about its transactions.
#[derive(Debug, Default)]
struct Told {
    committed: BTreeSet<u64>,
    aborted: BTreeSet<u64>,
    unknown: BTreeSet<u64>,
}

impl Told {
    fn of(state: &Value) -> Self {
        let numbers = |name: &str| {
            let all = state[name].as_array().into_iter().flatten();
            all.filter_map(Value::as_u64).collect()
        };
        Self {
            committed: numbers("committed"),
            aborted: numbers("aborted"),
            unknown: numbers("unknown"),
        }
    }
}

/// Which of a ledger's transactions were seen. Each must be whole: on all partitions, with all its records, once.
fn seen_of(name: &str, seen: &Value) -> BTreeSet<u64> {
    let mut partitions: BTreeMap<u64, u64> = BTreeMap::new();
    for (key, count) in seen.as_object().into_iter().flatten() {
        let parts: Vec<&str> = key.split(':').collect();
        if parts[0] == name {
            assert_eq!(
                count.to_string(),
                parts[2],
                "records of {key} (transaction, records, partition)"
            );
            *partitions
                .entry(parts[1].parse().unwrap_or(u64::MAX))
                .or_default() += 1;
        }
    }
    for (number, count) in &partitions {
        assert_eq!(
            *count, PARTITIONS,
            "partitions of transaction {number} of {name}"
        );
    }
    partitions.into_keys().collect()
}

fn check_ledger(name: &str, told: &Told, seen: &BTreeSet<u64>) {
    let lost: Vec<_> = told.committed.difference(seen).collect();
    assert!(lost.is_empty(), "{name}: committed and lost: {lost:?}");
    let wrong: Vec<_> = told.aborted.intersection(seen).collect();
    assert!(wrong.is_empty(), "{name}: aborted and seen: {wrong:?}");
    let stranger = seen
        .iter()
        .find(|n| !told.committed.contains(n) && !told.unknown.contains(n));
    assert_eq!(stranger, None, "{name}: nobody wrote that");
}

/// What the workers that make ledgers were told of their transactions.
fn stop_ledgers(world: &mut World) -> Result<BTreeMap<&'static str, Told>> {
    let mut ledgers = BTreeMap::new();
    for name in LEDGERS {
        let state = world.writers.call("stop", json!({"name": name}))?;
        println!(
            "{name}: restarts {}, {}",
            state["restarts"], state["failures"]
        );
        ledgers.insert(name, Told::of(&state));
    }
    Ok(ledgers)
}

/// Commits of offsets that were acknowledged, by groups and by transactions.
fn stop_groups(world: &mut World) -> Result<u64> {
    let committers = COMMITTERS.map(|(name, _, _)| name);
    let mut commits = 0;
    for name in committers.into_iter().chain(PROCESSORS) {
        let state = world.groups.call("stop", json!({"name": name}))?;
        println!(
            "{name}: restarts {}, {}",
            state["restarts"], state["failures"]
        );
        let acknowledged = state["commits"].as_u64();
        commits += acknowledged.or(state["transactions"].as_u64()).unwrap_or(0);
    }
    Ok(commits)
}

/// Every ledger holds what was committed and nothing else, for who read along and for who reads now.
fn check_ledgers(world: &mut World, ledgers: &BTreeMap<&str, Told>) -> Result<()> {
    let live = world.writers.call("stop", json!({"name": "observer"}))?["seen"].take();
    let after = world.read_ledger()?;
    for (name, told) in ledgers {
        let seen = seen_of(name, &live);
        check_ledger(name, told, &seen);
        let later = seen_of(name, &after);
        assert_eq!(
            seen, later,
            "{name}: seen while it was written, and afterwards"
        );
    }
    Ok(())
}

/// Each record that went in came out once.
fn check_output(output: &serde_json::Value, fed_count: u64) {
    let sum = fed_count * fed_count.saturating_sub(1) / 2;
    assert_eq!(
        output["records"], fed_count,
        "each record is in the output once: {output}"
    );
    assert_eq!(output["different"], fed_count, "{output}");
    assert_eq!(output["sum"], sum, "{output}");
}

#[test]
fn killed_with_transactions_and_groups_at_work_it_keeps_what_it_promised() -> Result<()> {
    let rounds = setting("CRASH_ROUNDS", 15);
    let mut random = random(rounds)?;
    let mut world = World::start()?;
    world.put_to_work()?;
    for _ in 0..rounds {
        thread::sleep(Duration::from_millis(random.random_range(50..2500)));
        world.crash()?;
    }
    let fed = world.groups.call("stop", json!({"name": "feeder"}))?;
    let fed_count = fed["acked"].as_u64().unwrap_or(0);
    assert_eq!(
        fed["failures"],
        json!({}),
        "all that was fed must be acknowledged"
    );
    world.wait_read()?;
    world.check_offsets()?;
    let ledgers = stop_ledgers(&mut world)?;
    let commits = stop_groups(&mut world)?;
    for topic in ["output", "ledger"] {
        world.wait_stable(topic)?;
    }
    check_ledgers(&mut world, &ledgers)?;
    let output = world.tally("output")?;
    let total = |of: fn(&Told) -> usize| ledgers.values().map(of).sum::<usize>();
    let (committed, aborted) = (
        total(|told| told.committed.len()),
        total(|told| told.aborted.len()),
    );
    let unknown = total(|told| told.unknown.len());
    println!(
        "{rounds} kills; transactions: {committed} committed, {aborted} aborted, {unknown} in doubt; \
         {fed_count} records in, {} out, {commits} offset commits acknowledged",
        output["records"]
    );
    check_output(&output, fed_count);
    assert!(
        committed > 50 && aborted > 20 && commits > 50,
        "there was work to do"
    );
    Ok(())
}
