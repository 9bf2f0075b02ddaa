//! A process that dies in the middle of a swap, at every step of it.

use std::fs;

use super::*;

/// A log of several segments with many values of few keys.
fn dirty(dir: &TempDir) -> Log {
    let mut log = open(dir);
    for n in 0..60 {
        append(
            &mut log,
            &record(["a", "b", "c"][n % 3], Some(n as u8), 1_000),
        );
    }
    log
}

/// Steps a swap of these takes, and what the log holds before and after it.
fn swap_of(prepare: impl Fn(&TempDir) -> Log, rules: CleanRules, now_ms: i64) {
    let whole = tempfile::tempdir().unwrap();
    let mut log = prepare(&whole);
    let before = batches(&log);
    clean(&mut log, rules, now_ms);
    let after = batches(&log);
    assert_ne!(before, after);
    drop(log);
    let (mut olds, mut news) = (0, 0);
    for steps in 0.. {
        let dir = tempfile::tempdir().unwrap();
        let mut log = prepare(&dir);
        let pass = begin(&log, rules, ROOMY, now_ms);
        assert_eq!(pass.merges.len(), 1, "one swap");
        die_after(Some(steps));
        let died = finish(&mut log, pass);
        die_after(None);
        let done = died.is_ok();
        let held = batches(&log);
        assert!(held == before || held == after, "readers have either, too");
        drop(log);
        let log = open(&dir);
        assert_tidy(&dir);
        let found = batches(&log);
        assert!(found == before || found == after, "step {steps}");
        assert!(!done || found == after);
        olds += u32::from(found == before);
        news += u32::from(found == after && !done);
        drop(log);
        // A second life finds the same.
        assert_eq!(batches(&open(&dir)), found);
        if done {
            break;
        }
    }
    assert!(olds >= 4 && news >= 4, "{olds} old, {news} new");
}

fn roomy() -> LogConfig {
    LogConfig {
        segment_max_bytes: 1200,
        ..LogConfig::default()
    }
}

/// Opens with segments so large that all sealed ones become one.
fn as_one(mut log: Log) -> Log {
    log.set_config(LogConfig {
        segment_max_bytes: 1 << 20,
        ..roomy()
    });
    log
}

#[test]
fn a_crash_at_any_step_leaves_the_old_segments_or_the_new_one() {
    swap_of(|dir| as_one(dirty(dir)), CleanRules::default(), 2_000);
}

#[test]
fn a_crash_while_all_of_a_log_goes_leaves_all_or_nothing() {
    let prepare = |dir: &TempDir| {
        let mut log = open(dir);
        for n in 0..30 {
            append(&mut log, &record("k", Some(n), 1_000));
        }
        let mut log = as_one(log);
        // The last value is in a different segment from all others, and is the first not cleaned.
        log.roll(log.end()).unwrap();
        append(&mut log, &record("k", None, 1_000));
        log.roll(Offset(log.end().0 + 5)).unwrap();
        let without_key = BatchBuilder::new().record(1_000, None, Some(b"goes"));
        append(&mut log, &without_key.build());
        log
    };
    // First the tombstone gets its horizon, then everything goes.
    let rules = CleanRules {
        delete_retention_ms: 10,
        ..CleanRules::default()
    };
    let prepared = |dir: &TempDir| {
        let mut log = prepare(dir);
        clean(&mut log, rules, 2_000);
        log.roll(Offset(log.end().0 + 5)).unwrap();
        append(&mut log, &record("z", Some(1), 1_000));
        log
    };
    let dir = tempfile::tempdir().unwrap();
    let mut log = prepared(&dir);
    assert_eq!(left(&log).len(), 3);
    clean(&mut log, rules, 5_000);
    assert_eq!(left(&log).len(), 1, "only the active segment has anything");
    swap_of(prepared, rules, 5_000);
}

#[test]
fn files_of_a_cleaning_that_never_counted_are_removed() {
    let dir = tempfile::tempdir().unwrap();
    let log = dirty(&dir);
    let before = batches(&log);
    log.close().unwrap();
    for kind in [
        "log.cleaned",
        "index.swap",
        "timeindex.cleaned",
        "txnindex.swap",
    ] {
        fs::write(dir.path().join(format!("{:020}.{kind}", 0)), b"left").unwrap();
    }
    let log = open(&dir);
    assert_tidy(&dir);
    assert_eq!(batches(&log), before);
}

#[test]
fn a_full_disk_leaves_the_log_as_it_was() {
    let dir = tempfile::tempdir().unwrap();
    let mut log = dirty(&dir);
    let before = batches(&log);
    let mut pass = begin(&log, CleanRules::default(), ROOMY, 0);
    assert!(matches!(
        pass.next(&mut |_| false),
        Err(CleanError::Stopped)
    ));
    assert_tidy(&dir);
    drop(pass);
    assert_eq!(batches(&log), before);
    clean(&mut log, CleanRules::default(), 0);
    assert!(batches(&log).len() < before.len());
}
