//! 500 consumers in 50 groups: how long until all of them are stable, after they start, after one member of each group
//! leaves, and after the broker is killed; and how much memory does the broker take?
//!
//! A group counts as stable when its members hold all partitions of its topic, each exactly once and each member some,
//! and every member has read a record that was written after the event.
//!
//! `GROUPS` (50), `MEMBERS` (10) and `BALANCER` (cooperative-sticky; range, roundrobin, server for KIP-848) change the load,
//! `SECONDS` (20) how long it is held.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, bail, ensure};
use benches::memory::{self, Watch};
use harness::{Carrick, Peer};
use serde_json::{Value, json};

const TOPICS: usize = 5;
const PARTITIONS: u64 = 20;
const RECORDS_PER_SECOND: u64 = 1000;
/// The members' own rebalance timeout: who is later is out of the group.
const REBALANCE_TIMEOUT: Duration = Duration::from_secs(60);
const MEMORY_LIMIT_MB: u64 = 300;

fn setting(name: &str, otherwise: u64) -> Result<u64> {
    Ok(std::env::var(name).map_or(Ok(otherwise), |value| value.parse())?)
}

struct Load {
    carrick: Carrick,
    swarm: Peer,
    watch: Watch,
    groups: u64,
}

fn main() -> Result<()> {
    let (groups, members) = (setting("GROUPS", 50)?, setting("MEMBERS", 10)?);
    let balancer = std::env::var("BALANCER").unwrap_or_else(|_| "cooperative-sticky".to_owned());
    println!(
        "{groups} groups of {members} members, {balancer}, {TOPICS} topics of {PARTITIONS} partitions"
    );
    let carrick = Carrick::start_with(&["group.initial.rebalance.delay.ms=3000"])?;
    let Some(mut swarm) = Peer::franz_go(&carrick.bootstrap())? else {
        bail!("there is no Go toolchain: the consumers are franz-go's");
    };
    let topics: Vec<String> = (0..TOPICS).map(|n| format!("load-{n}")).collect();
    for topic in &topics {
        swarm.call(
            "create_topic",
            json!({"topic": topic, "partitions": PARTITIONS}),
        )?;
    }
    let watch = Watch::start(carrick.id().context("carrick is not running")?);
    let mut load = Load {
        carrick,
        swarm,
        watch,
        groups,
    };
    load.report("idle, no consumer", None)?;
    load.run(&topics, members, &balancer)
}

impl Load {
    fn run(&mut self, topics: &[String], members: u64, balancer: &str) -> Result<()> {
        let begin = (Instant::now(), now_ms()?);
        self.swarm.call(
            "swarm_start",
            json!({"topics": topics, "partitions": PARTITIONS, "groups": self.groups,
                "members": members, "balancer": balancer, "rate": RECORDS_PER_SECOND}),
        )?;
        let started = self.wait_stable(begin)?;
        self.report("all have started", Some(started))?;
        std::thread::sleep(Duration::from_secs(setting("SECONDS", 20)?));
        self.report("at work", None)?;
        let begin = (Instant::now(), now_ms()?);
        self.swarm.call("swarm_leave", json!({}))?;
        let left = self.wait_stable(begin)?;
        self.report("one of each group has left", Some(left))?;
        let begin = (Instant::now(), now_ms()?);
        self.carrick.kill();
        self.carrick.restart()?;
        self.watch
            .follow(self.carrick.id().context("carrick is not running")?);
        let killed = self.wait_stable(begin)?;
        self.report("killed with SIGKILL, restarted", Some(killed))?;
        std::thread::sleep(Duration::from_secs(setting("SECONDS", 20)?));
        self.report("at work again", None)?;
        let end = self.state(0)?;
        println!("in the end: {end}");
        ensure!(end["lost"] == 0, "members were thrown out of their groups");
        self.swarm.call("swarm_stop", json!({}))?;
        Ok(())
    }

    fn state(&mut self, since_ms: u64) -> Result<Value> {
        self.swarm
            .call("swarm_state", json!({"since_ms": since_ms}))
    }

    fn wait_stable(&mut self, (begin, since_ms): (Instant, u64)) -> Result<Duration> {
        loop {
            let state = self.state(since_ms)?;
            if state["stable"] == self.groups && state["current"] == state["alive"] {
                return Ok(begin.elapsed());
            }
            ensure!(
                begin.elapsed() < REBALANCE_TIMEOUT,
                "not stable within the rebalance timeout: {state}"
            );
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    fn report(&self, what: &str, took: Option<Duration>) -> Result<()> {
        let pid = self.carrick.id().context("carrick is not running")?;
        let took = took.map_or_else(String::new, |took| format!("{:.2} s", took.as_secs_f64()));
        let mb = |kib: u64| kib * 1024 / 1_000_000;
        let (now, peak) = (
            mb(memory::status(pid, "RssAnon")?),
            mb(self.watch.take_peak_kib()),
        );
        println!(
            "{what:<32}{took:>9}   RssAnon {now:>4} MB, at most {peak:>4} MB   {} threads, {} files",
            memory::status(pid, "Threads")?,
            memory::open_files(pid)?
        );
        ensure!(peak < MEMORY_LIMIT_MB, "more than {MEMORY_LIMIT_MB} MB");
        Ok(())
    }
}

fn now_ms() -> Result<u64> {
    Ok(u64::try_from(
        SystemTime::now().duration_since(UNIX_EPOCH)?.as_millis(),
    )?)
}
