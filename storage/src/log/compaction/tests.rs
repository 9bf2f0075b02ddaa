//! Cleaning as a log's users see it. The random histories are in `model.rs`.

mod crash;
mod edges;
mod model;

use std::cell::Cell;
use std::io;

use carrick_protocol::batch::{BatchBuilder, Batches, RecordView, records};
use carrick_protocol::ids::{LeaderEpoch, ProducerId};
use tempfile::TempDir;

use super::super::Placement;
use super::super::tests::checked;
use super::*;

thread_local! {
    /// How many file operations of a swap this thread may still do.
    static STEPS_LEFT: Cell<Option<u32>> = const { Cell::new(None) };
}

/// Makes this thread die after this many file operations of a swap, or live.
fn die_after(steps: Option<u32>) {
    STEPS_LEFT.set(steps);
}

pub(super) fn step() -> io::Result<()> {
    match STEPS_LEFT.get() {
        Some(0) => Err(io::Error::other("the process dies here")),
        Some(left) => {
            STEPS_LEFT.set(Some(left - 1));
            Ok(())
        }
        None => Ok(()),
    }
}

const NEXT: Placement = Placement::Next {
    leader_epoch: LeaderEpoch(0),
    log_append_time_ms: None,
};

fn small() -> LogConfig {
    LogConfig {
        segment_max_bytes: 1200,
        index_interval_bytes: 150,
        ..LogConfig::default()
    }
}

const ROOMY: CleanLimits = CleanLimits {
    map_bytes: 1 << 20,
    load_factor: 0.9,
};

fn open(dir: &TempDir) -> Log {
    let (mut log, _) = Log::open(dir.path(), small(), 0).unwrap();
    log.set_high_watermark(log.end());
    log
}

fn append(log: &mut Log, batch: &[u8]) {
    log.append(&checked(batch), NEXT, 0).unwrap();
    log.set_high_watermark(log.end());
}

/// One record of 100 bytes or a tombstone.
fn record(key: &str, value: Option<u8>, timestamp_ms: i64) -> Vec<u8> {
    let value = value.map(|n| vec![n; 100]);
    let builder = BatchBuilder::new();
    let batch = builder.record(timestamp_ms, Some(key.as_bytes()), value.as_deref());
    batch.build().to_vec()
}

/// Begins a cleaning of all that may be cleaned.
fn begin(log: &Log, rules: CleanRules, limits: CleanLimits, now_ms: i64) -> Pass {
    log.flush_handle().flush().unwrap();
    let to_clean = log.to_clean();
    let cleanable = to_clean.cleanable(&rules, now_ms).unwrap();
    let setting = Setting {
        config: *log.config(),
        rules,
        limits,
        last_records: log.last_records(),
        now_ms,
    };
    to_clean.begin(cleanable, setting, &mut |_| true).unwrap()
}

/// Swaps in all that a cleaning makes.
fn finish(log: &mut Log, mut pass: Pass) -> Result<Pass, CleanError> {
    while let Some(new) = pass.next(&mut |_| true)? {
        assert!(log.swap_in(new)?);
    }
    log.finish_cleaning(&pass)?;
    Ok(pass)
}

fn clean(log: &mut Log, rules: CleanRules, now_ms: i64) -> CleanStats {
    let pass = begin(log, rules, ROOMY, now_ms);
    finish(log, pass).unwrap().stats()
}

/// All batches of a log.
fn batches(log: &Log) -> Vec<Vec<u8>> {
    let snapshot = log.reader().snapshot();
    let mut all = Vec::new();
    let mut next = snapshot.log_start();
    loop {
        let bytes = snapshot.read(next, snapshot.end(), 700, true).unwrap();
        if bytes.is_empty() {
            return all;
        }
        for batch in Batches::new(&bytes) {
            let batch = batch.unwrap();
            batch.verify_crc().unwrap();
            next = batch.header.next_offset();
            all.push(batch.bytes.to_vec());
        }
    }
}

fn all_records(log: &Log) -> Vec<RecordView> {
    let batches = batches(log);
    let read = |bytes: &Vec<u8>| {
        let batch = Batch::parse(bytes).unwrap();
        records(&batch, 1 << 20)
            .unwrap()
            .map(Result::unwrap)
            .collect::<Vec<_>>()
    };
    batches.iter().flat_map(read).collect()
}

/// Offset, key, and whether there is a value.
fn left(log: &Log) -> Vec<(i64, String, bool)> {
    let text = |record: &RecordView| {
        String::from_utf8(record.key.clone().unwrap_or_default().to_vec()).unwrap()
    };
    all_records(log)
        .iter()
        .map(|record| (record.offset.0, text(record), record.value.is_some()))
        .collect()
}

fn names(dir: &TempDir) -> Vec<String> {
    let entries = std::fs::read_dir(dir.path()).unwrap();
    let mut names: Vec<String> = entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

/// Nothing of a cleaning lies around.
fn assert_tidy(dir: &TempDir) {
    for name in names(dir) {
        assert!(
            !name.ends_with(".cleaned") && !name.ends_with(".swap"),
            "{name} is left"
        );
    }
}
