//! Single rules, each by a small log.

use carrick_protocol::batch::{ControlKind, build_marker};

use super::*;

fn days(n: i64) -> i64 {
    n * 86_400_000
}

fn transactional(producer: i64, sequence: i32, key: &str) -> Vec<u8> {
    let batch = BatchBuilder::new()
        .producer(ProducerId(producer), 0, sequence)
        .transactional(true)
        .record(1_000, Some(key.as_bytes()), Some(b"value"));
    batch.build().to_vec()
}

fn end(producer: i64, kind: ControlKind) -> Vec<u8> {
    let marker = build_marker(kind, ProducerId(producer), 0, 1, 1_000);
    marker.bytes().to_vec()
}

fn roll(log: &mut Log) {
    log.roll(log.end()).unwrap();
}

#[test]
fn the_active_segment_and_what_is_not_stable_are_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let mut log = open(&dir);
    append(&mut log, &record("a", Some(1), 0));
    append(&mut log, &record("a", Some(2), 0));
    assert_eq!(clean(&mut log, CleanRules::default(), 0).bytes_read, 0);
    roll(&mut log);
    append(&mut log, &transactional(5, 0, "t"));
    roll(&mut log);
    append(&mut log, &record("a", Some(3), 0));
    roll(&mut log);
    append(&mut log, &record("z", Some(1), 0));
    clean(&mut log, CleanRules::default(), 0);
    let offsets: Vec<i64> = left(&log).iter().map(|r| r.0).collect();
    assert_eq!(offsets, [1, 2, 3, 4], "the open transaction is at 2");
    append(&mut log, &end(5, ControlKind::Commit));
    roll(&mut log);
    append(&mut log, &record("z", Some(2), 0));
    clean(&mut log, CleanRules::default(), 0);
    let offsets: Vec<i64> = left(&log).iter().map(|r| r.0).collect();
    assert_eq!(offsets, [2, 3, 4, 5, 6]);
}

#[test]
fn what_is_not_on_the_disk_for_sure_cleans_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let mut log = open(&dir);
    append(&mut log, &record("a", Some(1), 0));
    roll(&mut log);
    append(&mut log, &record("a", Some(2), 0));
    roll(&mut log);
    append(&mut log, &record("a", Some(3), 0));
    let cleanable = log.to_clean().cleanable(&CleanRules::default(), 0).unwrap();
    assert_eq!(cleanable.dirty_bytes, 0);
    log.flush_handle().flush().unwrap();
    let cleanable = log.to_clean().cleanable(&CleanRules::default(), 0).unwrap();
    assert_eq!((cleanable.upto, cleanable.ratio()), (Offset(2), 1.0));
}

#[test]
fn a_tombstone_stays_for_its_time_after_the_first_cleaning() {
    let dir = tempfile::tempdir().unwrap();
    let mut log = open(&dir);
    append(&mut log, &record("a", Some(1), 0));
    append(&mut log, &record("a", None, 0));
    append(&mut log, &record("b", Some(1), 0));
    let other = |log: &mut Log| {
        roll(log);
        append(log, &record("c", Some(1), 0));
        roll(log);
        append(log, &record("d", Some(1), 0));
    };
    other(&mut log);
    clean(&mut log, CleanRules::default(), days(100));
    let tombstone = (1, "a".to_owned(), false);
    assert!(left(&log).contains(&tombstone));
    let stored = batches(&log);
    let header = Batch::parse(&stored[0]).unwrap().header;
    assert!(header.attributes.has_delete_horizon());
    assert_eq!(header.base_timestamp_ms, days(101));
    other(&mut log);
    clean(&mut log, CleanRules::default(), days(101) - 1);
    assert!(left(&log).contains(&tombstone));
    other(&mut log);
    clean(&mut log, CleanRules::default(), days(101));
    assert!(!left(&log).contains(&tombstone));
    assert!(left(&log).contains(&(2, "b".to_owned(), true)));
}

#[test]
fn aborted_transactions_are_told_until_their_marker_is_spent() {
    let dir = tempfile::tempdir().unwrap();
    let mut log = open(&dir);
    append(&mut log, &transactional(7, 0, "t"));
    append(&mut log, &transactional(7, 1, "u"));
    append(&mut log, &end(7, ControlKind::Abort));
    append(&mut log, &record("t", Some(1), 0));
    let aborted = |log: &Log| {
        let snapshot = log.reader().snapshot();
        snapshot.aborted(Offset(0), log.end()).unwrap().len()
    };
    let later = |log: &mut Log, now_ms| {
        roll(log);
        append(log, &record("y", Some(1), 0));
        clean(log, CleanRules::default(), now_ms);
    };
    later(&mut log, 0);
    assert_eq!(left(&log)[1].0, 3, "marker and the plain record");
    assert_eq!(
        (aborted(&log), batches(&log).len()),
        (1, 4),
        "the last batch is there, empty"
    );
    log.producers.expire(i64::MAX, 0);
    later(&mut log, 10);
    assert_eq!(aborted(&log), 1, "a batch of it was still there");
    later(&mut log, 15);
    assert_eq!(
        aborted(&log),
        0,
        "nothing of it is left when the empty batch has gone"
    );
    later(&mut log, 20);
    let markers = |log: &Log| {
        let all = batches(log);
        all.iter()
            .filter(|b| Batch::parse(b).unwrap().header.is_control())
            .count()
    };
    assert_eq!(markers(&log), 1, "its horizon is set");
    later(&mut log, days(2));
    assert_eq!(markers(&log), 0);
}

#[test]
fn young_segments_wait_and_overdue_ones_do_not() {
    let dir = tempfile::tempdir().unwrap();
    let mut log = open(&dir);
    for n in 0..4 {
        append(&mut log, &record("a", Some(n), 1_000 * i64::from(n) + 1));
        roll(&mut log);
    }
    append(&mut log, &record("a", Some(9), 9_000));
    log.flush_handle().flush().unwrap();
    let at = |rules: CleanRules, now_ms| log.to_clean().cleanable(&rules, now_ms).unwrap();
    let lag = CleanRules {
        min_lag_ms: 1_000,
        ..CleanRules::default()
    };
    assert_eq!(at(lag, 2_500).upto, Offset(2));
    assert_eq!(at(lag, 50_000).upto, Offset(4));
    let never = CleanRules {
        min_dirty_ratio: 1.0,
        max_lag_ms: 5_000,
        ..CleanRules::default()
    };
    assert!(!at(never, 5_001).is_due(&never));
    assert!(at(never, 5_002).is_due(&never));
}

#[test]
fn readers_of_an_older_snapshot_read_on_and_small_segments_become_one() {
    let dir = tempfile::tempdir().unwrap();
    let mut log = open(&dir);
    for n in 0..40 {
        append(&mut log, &record(&format!("k{}", n % 4), Some(n), 1_000));
    }
    let held = log.reader().snapshot();
    let before = held.segments().len();
    clean(&mut log, CleanRules::default(), 0);
    let after = log.reader().snapshot().segments().len();
    assert!(after < before / 2, "{before} to {after}");
    let mut next = Offset(0);
    let mut records = 0;
    while next < held.end() {
        let bytes = held.read(next, held.end(), 1, true).unwrap();
        let header = Batch::parse(&bytes).unwrap().header;
        records += header.record_count;
        next = header.next_offset();
    }
    assert_eq!(records, 40);
    // Timestamps and offsets are found in the new segment.
    let snapshot = log.reader().snapshot();
    let found = snapshot
        .offset_for_timestamp(1_000, log.end())
        .unwrap()
        .unwrap();
    assert_eq!(found.offset.0, left(&log)[0].0);
}

#[test]
fn a_swap_is_refused_when_the_log_was_truncated_or_deleted_from_meanwhile() {
    let truncate = |log: &mut Log| assert_eq!(log.truncate_to(Offset(25)).unwrap(), Offset(25));
    let delete = |log: &mut Log| assert_eq!(log.advance_log_start(Offset(30)).unwrap(), Offset(30));
    for change in [truncate as fn(&mut Log), delete] {
        let dir = tempfile::tempdir().unwrap();
        let mut log = open(&dir);
        for n in 0..60 {
            append(&mut log, &record("a", Some(n), 0));
        }
        let mut pass = begin(&log, CleanRules::default(), ROOMY, 0);
        let new = pass.next(&mut |_| true).unwrap().unwrap();
        change(&mut log);
        let before = batches(&log);
        assert!(!log.swap_in(new).unwrap());
        assert_tidy(&dir);
        assert_eq!(batches(&log), before);
    }
}

#[test]
fn truncation_makes_dirty_what_is_written_again() {
    let dir = tempfile::tempdir().unwrap();
    let mut log = open(&dir);
    for n in 0..60 {
        append(&mut log, &record(&format!("k{n}"), Some(n), 0));
    }
    clean(&mut log, CleanRules::default(), 0);
    let cleaned = log.cleaned;
    assert!(cleaned > Offset(40));
    log.truncate_to(Offset(30)).unwrap();
    assert_eq!(log.cleaned, Offset(30));
    for n in 0..60 {
        append(&mut log, &record("k1", Some(n), 0));
    }
    drop(log);
    let mut log = open(&dir);
    assert_eq!(log.cleaned, Offset(30));
    clean(&mut log, CleanRules::default(), 0);
    let k1 = left(&log).into_iter().filter(|r| r.1 == "k1").count();
    assert!(k1 < 15, "{k1} are left, those of the active segment");
}

#[test]
fn a_damaged_batch_is_not_given_a_good_checksum() {
    let dir = tempfile::tempdir().unwrap();
    let mut log = open(&dir);
    for n in 0..40 {
        append(&mut log, &record("a", Some(n), 0));
    }
    log.close().unwrap();
    let path = &crate::testing::files(dir.path(), "log").unwrap()[0];
    crate::testing::flip_bit(path, 100, 3).unwrap();
    let mut log = open(&dir);
    let to_clean = log.to_clean();
    let cleanable = to_clean.cleanable(&CleanRules::default(), 0).unwrap();
    let setting = Setting {
        config: small(),
        rules: CleanRules::default(),
        limits: ROOMY,
        last_records: log.last_records(),
        now_ms: 0,
    };
    let begun = to_clean.begin(cleanable, setting, &mut |_| true);
    assert!(matches!(
        begun,
        Err(CleanError::Log(LogError::Corrupt { .. }))
    ));
    append(&mut log, &record("a", Some(1), 0));
}
