//! Deleting from the front and from the end.

use super::*;

/// Retention, and what follows once its log start is on the disk.
fn retain(log: &mut Log, now_ms: i64) -> Offset {
    let start = log.apply_retention(now_ms).unwrap();
    log.flush_handle().flush().unwrap();
    assert!(log.delete_below_start());
    start
}

fn filled(dir: &TempDir, config: LogConfig, batches: i64) -> Log {
    let mut log = open(dir, config);
    for n in 0..batches {
        log.append(&checked(&batch_at(0, 1, 1000 * n)), NEXT, 1000 * n)
            .unwrap();
    }
    log
}

#[test]
fn old_segments_go_by_their_largest_timestamp() {
    let dir = tempfile::tempdir().unwrap();
    let config = LogConfig {
        retention_ms: Some(20_000),
        ..small()
    };
    let mut log = filled(&dir, config, 60);
    assert_eq!(
        retain(&mut log, 60_000),
        Offset(0),
        "nothing past the high watermark"
    );
    log.set_high_watermark(Offset(60));
    let start = retain(&mut log, 60_000);
    let expected = bases(&log.reader().snapshot())[0];
    assert_eq!(start, Offset(expected));
    assert!((27..=40).contains(&start.0), "{start}");
    assert_eq!(
        retain(&mut log, 1_000_000),
        Offset(60),
        "the active one is rolled"
    );
    assert_eq!(log.reader().snapshot().size_bytes(), 0);
    assert_eq!(crate::testing::files(dir.path(), "log").unwrap().len(), 1);
    drop(log);
    let (log, _) = reopen(&dir, config);
    assert_eq!((log.start(), log.end()), (Offset(60), Offset(60)));
}

#[test]
fn an_active_segment_that_cannot_be_rolled_keeps_no_older_one() {
    let dir = tempfile::tempdir().unwrap();
    let config = LogConfig {
        retention_ms: Some(20_000),
        ..small()
    };
    let mut log = filled(&dir, config, 60);
    log.set_high_watermark(Offset(60));
    let last = *bases(&log.reader().snapshot()).last().unwrap();
    // One for the new log start, none for a new segment.
    files::tests::set_files_left(1);
    let refused = log.apply_retention(1_000_000).unwrap_err();
    files::tests::set_files(true);
    assert!(matches!(refused, LogError::Exhausted { .. }), "{refused}");
    assert_eq!(log.start(), Offset(last));
    assert_eq!(retain(&mut log, 1_000_000), Offset(60));
}

#[test]
fn as_many_segments_go_as_leave_retention_bytes() {
    let dir = tempfile::tempdir().unwrap();
    let config = LogConfig {
        retention_ms: None,
        retention_bytes: Some(4000),
        ..small()
    };
    let mut log = filled(&dir, config, 60);
    log.set_high_watermark(Offset(60));
    retain(&mut log, 0);
    let first = log.reader().snapshot().segments()[0].size_bytes;
    assert!(log.size_bytes() >= 4000);
    assert!(log.size_bytes() - first < 4000);
    log.set_config(LogConfig {
        retention_bytes: Some(0),
        ..config
    });
    retain(&mut log, 0);
    assert_eq!(log.size_bytes(), 0);
    assert_eq!(log.end(), Offset(60));
}

#[test]
fn the_log_start_survives_and_lies_where_it_was_put() {
    let dir = tempfile::tempdir().unwrap();
    let mut log = filled(&dir, small(), 60);
    assert_eq!(log.advance_log_start(Offset(31)).unwrap(), Offset(31));
    assert_eq!(
        log.advance_log_start(Offset(7)).unwrap(),
        Offset(31),
        "never back"
    );
    assert_eq!(log.high_watermark(), Offset(31));
    let snapshot = log.reader().snapshot();
    assert!(bases(&snapshot)[0] <= 31 && bases(&snapshot)[1] > 31);
    assert!(snapshot.read(Offset(30), Offset(60), 1, true).is_err());
    drop(log);
    let (mut log, _) = reopen(&dir, small());
    assert_eq!(log.start(), Offset(31));
    assert_eq!(
        log.advance_log_start(Offset(1000)).unwrap(),
        Offset(60),
        "at most the end"
    );
    log.close().unwrap();
    assert_eq!(open(&dir, small()).start(), Offset(60));
}

#[test]
fn truncation_drops_whole_batches_and_survives() {
    let dir = tempfile::tempdir().unwrap();
    let mut log = open(&dir, small());
    for _ in 0..20 {
        log.append(&checked(&batch(5)), NEXT, 0).unwrap();
    }
    let before = read_all(&log.reader().snapshot(), Offset(0), 900);
    assert_eq!(
        log.truncate_to(Offset(100)).unwrap(),
        Offset(100),
        "nothing to drop"
    );
    assert_eq!(
        log.truncate_to(Offset(62)).unwrap(),
        Offset(60),
        "within a batch"
    );
    assert_eq!(log.flush_handle().durable_end(), Offset(0));
    log.append(&checked(&batch(5)), NEXT, 0).unwrap();
    drop(log);
    let (mut log, _) = reopen(&dir, small());
    assert_eq!(log.end(), Offset(65));
    let now = read_all(&log.reader().snapshot(), Offset(0), 900);
    assert_eq!(now, before[..now.len()]);
    assert_eq!(log.truncate_to(Offset(15)).unwrap(), Offset(15));
    assert_eq!(
        bases(&log.reader().snapshot()),
        [0, 15],
        "its segment is empty"
    );
}

#[test]
fn truncation_into_a_gap_makes_the_segment_before_it_active_again() {
    let dir = tempfile::tempdir().unwrap();
    let mut log = filled(&dir, small(), 20);
    log.advance_end(Offset(100)).unwrap();
    let held = log.reader().snapshot();
    assert_eq!(log.truncate_to(Offset(50)).unwrap(), Offset(20));
    for n in 20..60 {
        log.append(&checked(&batch_at(0, 1, 1000 * n)), NEXT, 0)
            .unwrap();
    }
    assert_eq!(headers(&read_all(&held, Offset(0), 300)).len(), 20);
    assert_eq!(
        headers(&read_all(&log.reader().snapshot(), Offset(0), 300)).len(),
        60
    );
    drop(log);
    assert_eq!(reopen(&dir, small()).0.end(), Offset(60));
}

#[test]
fn truncation_takes_the_recovery_point_back() {
    let dir = tempfile::tempdir().unwrap();
    let mut log = filled(&dir, LogConfig::default(), 10);
    log.flush_handle().flush().unwrap();
    log.truncate_to(Offset(4)).unwrap();
    assert_eq!(log.flush_handle().durable_end(), Offset(4));
    let tail = log.append(&checked(&batch(3)), NEXT, 0).unwrap().bytes as u64;
    drop(log);
    let (log, recovered) = reopen(&dir, LogConfig::default());
    assert_eq!((log.end(), recovered.scanned_bytes), (Offset(7), tail));
}

#[test]
fn truncation_below_the_log_start_leaves_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let mut log = filled(&dir, small(), 60);
    log.advance_log_start(Offset(31)).unwrap();
    assert_eq!(log.truncate_to(Offset(30)).unwrap(), Offset(30));
    assert_eq!(
        (log.start(), log.end(), log.size_bytes()),
        (Offset(30), Offset(30), 0)
    );
    log.append(&checked(&batch(1)), NEXT, 0).unwrap();
    drop(log);
    let (log, _) = reopen(&dir, small());
    assert_eq!((log.start(), log.end()), (Offset(30), Offset(31)));
}

#[test]
fn starting_over_forgets_everything_but_the_largest_producer_id() {
    let dir = tempfile::tempdir().unwrap();
    let mut log = filled(&dir, small(), 60);
    log.append(&checked(&transactions::data(9, 0, 0)), NEXT, 0)
        .unwrap();
    log.truncate_fully_and_start_at(Offset(500)).unwrap();
    assert!(log.producers().is_empty());
    assert_eq!(log.epochs().latest(), None);
    drop(log);
    let (log, _) = reopen(&dir, small());
    assert_eq!((log.start(), log.end()), (Offset(500), Offset(500)));
    assert_eq!(log.producers().max_producer_id().0, 9);
}

#[test]
fn deleted_segments_are_handed_out_once_to_be_let_go() {
    let dir = tempfile::tempdir().unwrap();
    let mut log = filled(&dir, small(), 60);
    assert!(log.take_deleted().is_empty());
    let before = crate::testing::files(dir.path(), "log").unwrap().len();
    log.advance_log_start(Offset(40)).unwrap();
    let after = crate::testing::files(dir.path(), "log").unwrap().len();
    assert!(after < before, "the names are gone at once");
    assert!(!log.take_deleted().is_empty());
    assert!(log.take_deleted().is_empty());
}
