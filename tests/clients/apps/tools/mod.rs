//! Kafka's own command line tools of the release under test. Each cell is a small story told with them alone, and what
//! they print is compared with what they print against a real Kafka.

mod cluster;
mod configs;
mod data;
mod groups;
mod topics;
mod transactions;

use anyhow::ensure;
use harness::{Carrick, Result, Tools};

use super::application;
use crate::matrix::Row;

/// The tools' row.
pub fn row() -> Row {
    application("Kafka's own tools 4.3")
        .cell("kafka-topics", |_| with_carrick(topics::run))
        .cell("kafka-configs", |_| with_carrick(configs::run))
        .cell("console, perf and verifiable clients, dump-log", |_| {
            data::run()
        })
        .cell("kafka-consumer-groups, classic group", |_| {
            with_carrick(groups::classic)
        })
        .cell("kafka-consumer-groups, KIP-848 group", |_| {
            with_carrick(groups::consumer)
        })
        .cell("kafka-transactions", |_| with_carrick(transactions::run))
        .cell("get-offsets to reassign-partitions", |_| {
            with_carrick(cluster::run)
        })
}

fn with_carrick(story: fn(&mut Tools) -> Result<()>) -> Result<()> {
    let carrick = Carrick::start()?;
    story(&mut Tools::start(&carrick.bootstrap())?)
}

/// Fails unless `text` has every one of `parts` in it.
fn expect(text: &str, parts: &[&str]) -> Result<()> {
    for part in parts {
        ensure!(text.contains(part), "{part:?} is missing in:\n{text}");
    }
    Ok(())
}

/// The words of each line that is not empty.
fn table(text: &str) -> Vec<Vec<&str>> {
    let lines = text
        .lines()
        .map(|l| l.split_whitespace().collect::<Vec<_>>());
    lines.filter(|words| !words.is_empty()).collect()
}

/// Fails unless `text` has exactly these lines, in any order; words are separated by any number of blanks.
fn expect_rows(text: &str, rows: &[&str]) -> Result<()> {
    let mut found = table(text);
    let mut wanted: Vec<Vec<&str>> = rows.iter().flat_map(|r| table(r)).collect();
    found.sort_unstable();
    wanted.sort_unstable();
    ensure!(found == wanted, "expected {rows:#?}, found:\n{text}");
    Ok(())
}
