//! Many mirrors in one step: created, paused, resumed and failed over by one command each.
//!
//! `CARRICK_MANY_TOPICS` sets how many topics of four partitions there are; 100 unless it is set. When it is, each
//! partition holds a record, else the first of each topic.

use std::time::{Duration, Instant};

use harness::{Carrick, Peer, Result, wait_until};
use serde_json::{Value, json};

use crate::world::{LIMIT, LINK};

const PARTITIONS: usize = 4;

fn long_size() -> Option<usize> {
    std::env::var("CARRICK_MANY_TOPICS").ok()?.parse().ok()
}

fn topics_wanted() -> usize {
    long_size().unwrap_or(100)
}

/// Number of partitions of each topic that hold a record.
fn filled() -> usize {
    long_size().map_or(1, |_| PARTITIONS)
}

/// A machine that is loaded, and the long size, take their time.
fn limit() -> Duration {
    LIMIT + Duration::from_millis(u64::try_from(topics_wanted()).unwrap_or(0) * 100)
}

/// A source with this many topics, a record in the first partitions of each, and a destination with
/// a link to it.
fn both(topics: usize) -> Result<(Carrick, Carrick)> {
    let partitions = format!("num.partitions={PARTITIONS}");
    let source = Carrick::start_with(&[&partitions])?;
    let mut writer = Peer::java(&source.bootstrap())?;
    for topic in 0..topics {
        let topic = format!("topic-{topic:04}");
        for partition in 0..filled() {
            let fields = json!({"topic": topic, "partition": partition, "count": 1});
            writer.call("produce", fields)?;
        }
    }
    let here = Carrick::start()?;
    here.link(LINK, &source.bootstrap(), &[])?;
    Ok((source, here))
}

/// Runs one command and says how long it took, process and all.
fn timed(here: &Carrick, what: &str, args: &[&str]) -> Result<(Value, Duration)> {
    let begun = Instant::now();
    let answer = here.cli(args)?;
    let took = begun.elapsed();
    println!("{what}: {} ms", took.as_millis());
    Ok((answer, took))
}

/// What the broker says that the steps of the failover took.
fn print_steps(here: &Carrick) {
    let log = here.log();
    let lines = log.lines().filter(|line| line.contains("failed over"));
    for line in lines {
        println!("  {line}");
    }
}

fn mirrors(here: &Carrick) -> Result<Vec<Value>> {
    let list = here.cli(&["mirror", "list", "--link", LINK])?;
    Ok(list.as_array().cloned().unwrap_or_default())
}

fn wait_all(here: &Carrick, what: &str, is_so: impl Fn(&Value) -> bool) -> Result<()> {
    let begun = Instant::now();
    wait_until(what, limit(), || {
        let mirrors = mirrors(here)?;
        let other = mirrors.iter().find(|mirror| !is_so(mirror));
        Ok(match other {
            Some(other) => Err(other.to_string()),
            None => Ok(()),
        })
    })?;
    println!("{what}: {} ms more", begun.elapsed().as_millis());
    Ok(())
}

fn has_status(mirror: &Value, status: &str) -> bool {
    mirror["mirror_status"] == status
}

fn is_caught_up(mirror: &Value) -> bool {
    let lags = mirror["mirror_lags"]
        .as_array()
        .cloned()
        .unwrap_or_default();
    let at_end = |lag: &Value| {
        let is_filled = lag["partition"].as_u64() < u64::try_from(filled()).ok();
        lag["mirror_end_offset"] == i32::from(is_filled)
    };
    lags.len() == PARTITIONS && lags.iter().all(at_end)
}

#[test]
fn many_mirrors_are_created_paused_resumed_and_failed_over_by_one_command_each() -> Result<()> {
    let topics = topics_wanted();
    println!("{topics} topics, {} partitions", topics * PARTITIONS);
    let (source, mut here) = both(topics)?;
    let args = ["mirror", "create", "--all", "--link", LINK];
    let (created, _) = timed(&here, "created", &args)?;
    assert_eq!(created.as_array().map(Vec::len), Some(topics));
    wait_all(&here, "all mirrored", is_caught_up)?;

    let pattern = ["mirror", "pause", "--pattern", "topic-.*0", "--link", LINK];
    let (paused, _) = timed(&here, "paused a tenth", &pattern)?;
    assert_eq!(paused.as_array().map(Vec::len), Some(topics.div_ceil(10)));
    timed(
        &here,
        "paused all",
        &["mirror", "pause", "--all", "--link", LINK],
    )?;
    wait_all(&here, "all paused", |mirror| has_status(mirror, "PAUSED"))?;
    timed(
        &here,
        "resumed all",
        &["mirror", "resume", "--all", "--link", LINK],
    )?;
    wait_all(&here, "all active", |mirror| has_status(mirror, "ACTIVE"))?;

    drop(source);
    let args = ["mirror", "failover", "--all", "--link", LINK];
    let (outcomes, _) = timed(&here, "failed over, the source gone", &args)?;
    print_steps(&here);
    let outcomes = outcomes.as_array().cloned().unwrap_or_default();
    assert_eq!(outcomes.len(), topics);
    for outcome in &outcomes {
        assert!(has_status(outcome, "STOPPED"), "{outcome}");
        let partitions = outcome["report"]["partitions"].as_array();
        assert_eq!(partitions.map(Vec::len), Some(PARTITIONS), "{outcome}");
    }
    here.kill();
    here.restart()?;
    let stopped = mirrors(&here)?;
    assert_eq!(stopped.len(), topics);
    assert!(stopped.iter().all(|mirror| has_status(mirror, "STOPPED")));
    let mut writer = Peer::java(&here.bootstrap())?;
    for topic in ["topic-0000".to_owned(), format!("topic-{:04}", topics - 1)] {
        let written = writer.call(
            "produce",
            json!({"topic": topic, "partition": 3, "count": 1}),
        );
        written?;
    }
    Ok(())
}

#[test]
fn many_mirrors_are_failed_over_while_the_source_answers() -> Result<()> {
    let topics = topics_wanted().div_ceil(2);
    let (source, here) = both(topics)?;
    let args = ["mirror", "create", "--all", "--link", LINK];
    timed(&here, "created", &args)?;
    wait_all(&here, "all mirrored", is_caught_up)?;
    let args = ["mirror", "failover", "--all", "--link", LINK];
    let (outcomes, _) = timed(&here, "failed over, the source there", &args)?;
    print_steps(&here);
    let outcomes = outcomes.as_array().cloned().unwrap_or_default();
    assert_eq!(outcomes.len(), topics);
    for outcome in &outcomes {
        assert!(has_status(outcome, "STOPPED"), "{outcome}");
    }
    drop(source);
    Ok(())
}
