//! The log as its users see it. Damage and long random histories are in the sub-modules.

mod damage;
mod model;
mod producers;
mod readers;
mod retention;
mod timestamps;
mod transactions;
mod writing;

use bytes::Bytes;
use carrick_protocol::batch::{BatchBuilder, BatchHeader, Batches, CheckedBatches};
use carrick_protocol::ids::{LeaderEpoch, Offset};
use tempfile::TempDir;

use super::*;

/// Placement of a client's batch in epoch 0.
const NEXT: Placement = Placement::Next {
    leader_epoch: LeaderEpoch(0),
    log_append_time_ms: None,
};

/// Small segments and dense indexes.
fn small() -> LogConfig {
    LogConfig {
        segment_max_bytes: 2000,
        index_interval_bytes: 200,
        ..LogConfig::default()
    }
}

fn open(dir: &TempDir, config: LogConfig) -> Log {
    Log::open(dir.path(), config, 0).unwrap().0
}

fn reopen(dir: &TempDir, config: LogConfig) -> (Log, Recovered) {
    Log::open(dir.path(), config, 0).unwrap()
}

/// A batch of `records` records with 100 bytes each; timestamps are those given, in ms.
fn batch_at(base: i64, records: i32, timestamp_ms: i64) -> Vec<u8> {
    let mut builder = BatchBuilder::new().base_offset(Offset(base));
    for n in 0..i64::from(records) {
        builder.push(timestamp_ms + n, None, Some(&[7; 100]), &[]);
    }
    builder.build().to_vec()
}

/// `run` as a log takes it.
pub(super) fn checked(run: &[u8]) -> CheckedBatches {
    CheckedBatches::check(&Bytes::copy_from_slice(run)).unwrap()
}

fn batch(records: i32) -> Vec<u8> {
    batch_at(0, records, 1000)
}

/// Everything from `from` to the end, read in pieces of `max_bytes`.
fn read_all(snapshot: &Snapshot, from: Offset, max_bytes: usize) -> Vec<u8> {
    let mut all = Vec::new();
    let mut next = from;
    loop {
        let bytes = snapshot
            .read(next, snapshot.end(), max_bytes, true)
            .unwrap();
        let Some(last) = headers(&bytes).last().copied() else {
            return all;
        };
        assert!(last.next_offset() > next, "reads go on");
        next = last.next_offset();
        all.extend_from_slice(&bytes);
    }
}

fn headers(bytes: &[u8]) -> Vec<BatchHeader> {
    let mut batches = Batches::new(bytes);
    let headers = batches
        .by_ref()
        .map(|batch| batch.unwrap().header)
        .collect();
    assert_eq!(
        batches.position(),
        bytes.len(),
        "only whole batches are handed out"
    );
    headers
}

fn bases(snapshot: &Snapshot) -> Vec<i64> {
    snapshot
        .segments()
        .iter()
        .map(|segment| segment.base_offset.0)
        .collect()
}

#[test]
fn a_new_log_is_empty() {
    let dir = tempfile::tempdir().unwrap();
    let (log, recovered) = reopen(&dir, small());
    assert_eq!(
        (log.start(), log.end(), log.size_bytes()),
        (Offset(0), Offset(0), 0)
    );
    assert_eq!(recovered, Recovered::default());
    let snapshot = log.reader().snapshot();
    assert!(
        snapshot
            .read(Offset(0), Offset(10), 1000, true)
            .unwrap()
            .is_empty()
    );
    let outside = snapshot.read(Offset(1), Offset(10), 1000, true);
    assert!(matches!(
        outside,
        Err(LogError::OutOfRange { end: Offset(0), .. })
    ));
}

#[test]
fn next_assigns_offsets_epoch_and_time_and_leaves_the_callers_bytes_alone() {
    let dir = tempfile::tempdir().unwrap();
    let mut log = open(&dir, small());
    let given = batch(3);
    let copy = given.clone();
    log.append(&checked(&given), NEXT, 0).unwrap();
    let placement = Placement::Next {
        leader_epoch: LeaderEpoch(4),
        log_append_time_ms: Some(9000),
    };
    let appended = log.append(&checked(&given), placement, 0).unwrap();
    assert_eq!(given, copy);
    let expected = Appended {
        first_offset: Offset(3),
        last_offset: Offset(5),
        next_offset: Offset(6),
        max_timestamp_ms: 9000,
        bytes: given.len(),
        has_rolled: false,
    };
    assert_eq!(appended, expected);
    let bytes = log
        .reader()
        .snapshot()
        .read(Offset(3), Offset(6), 1, true)
        .unwrap();
    let stored = Batches::new(&bytes).next().unwrap().unwrap();
    stored.verify_crc().unwrap();
    assert_eq!(stored.header.base_offset, Offset(3));
    assert_eq!(stored.header.leader_epoch, LeaderEpoch(4));
    assert_eq!(stored.header.max_timestamp_ms, 9000);
}

#[test]
fn exact_keeps_bytes_and_gaps_and_refuses_to_go_back() {
    let dir = tempfile::tempdir().unwrap();
    let mut log = open(&dir, small());
    let run = [batch_at(5, 2, 0), batch_at(7, 1, 0), batch_at(20, 3, 0)].concat();
    let appended = log.append(&checked(&run), Placement::Exact, 0).unwrap();
    assert_eq!(
        (appended.first_offset, appended.next_offset),
        (Offset(5), Offset(23))
    );
    let snapshot = log.reader().snapshot();
    assert_eq!(read_all(&snapshot, Offset(0), 1), run);
    let gap = snapshot.read(Offset(10), Offset(23), 1, true).unwrap();
    assert_eq!(headers(&gap)[0].base_offset, Offset(20));
    let back = log.append(&checked(&batch_at(22, 1, 0)), Placement::Exact, 0);
    assert!(matches!(
        back,
        Err(LogError::NonMonotonic {
            found: Offset(22),
            end: Offset(23)
        })
    ));
    assert_eq!(log.end(), Offset(23));
}

#[test]
fn without_offsets_left_the_log_stays_as_it_was() {
    let dir = tempfile::tempdir().unwrap();
    let mut log = open(&dir, small());
    let good = batch(2);
    let far = batch_at(i64::MAX - 2, 1, 0);
    log.append(&checked(&far), Placement::Exact, 0).unwrap();
    assert!(matches!(
        log.append(&checked(&good), NEXT, 0),
        Err(LogError::OffsetOverflow)
    ));
    assert_eq!(log.reader().snapshot().segments().len(), 1);
}

#[test]
fn segments_are_rolled_by_size_and_a_large_batch_has_its_own() {
    let dir = tempfile::tempdir().unwrap();
    let mut log = open(&dir, small());
    for records in [10, 10, 50, 1] {
        log.append(&checked(&batch(records)), NEXT, 0).unwrap();
    }
    let snapshot = log.reader().snapshot();
    assert_eq!(bases(&snapshot), [0, 10, 20, 70]);
    assert!(snapshot.segments()[2].size_bytes > 5000);
    let sealed = std::fs::metadata(&snapshot.segments()[0].path)
        .unwrap()
        .len();
    assert_eq!(
        sealed,
        snapshot.segments()[0].size_bytes,
        "sealed files have their real size"
    );
    assert_eq!(headers(&read_all(&snapshot, Offset(0), 1)).len(), 4);
}

#[test]
fn one_append_may_span_segments() {
    let dir = tempfile::tempdir().unwrap();
    let mut log = open(&dir, small());
    let run: Vec<u8> = (0..40).flat_map(|n| batch_at(n * 10, 3, n)).collect();
    log.append(&checked(&run), Placement::Exact, 0).unwrap();
    let snapshot = log.reader().snapshot();
    assert!(snapshot.segments().len() > 5, "{:?}", bases(&snapshot));
    assert_eq!(read_all(&snapshot, Offset(0), 1500), run);
}

#[test]
fn segments_are_rolled_by_age_of_their_first_record_or_of_themselves() {
    let dir = tempfile::tempdir().unwrap();
    let config = LogConfig {
        segment_max_age_ms: 500,
        ..LogConfig::default()
    };
    let mut log = open(&dir, config);
    log.append(&checked(&batch_at(0, 1, 1000)), NEXT, 0)
        .unwrap();
    log.append(&checked(&batch_at(0, 1, 1500)), NEXT, 9999)
        .unwrap();
    assert_eq!(bases(&log.reader().snapshot()), [0]);
    log.append(&checked(&batch_at(0, 1, 1501)), NEXT, 0)
        .unwrap();
    assert_eq!(bases(&log.reader().snapshot()), [0, 2]);
    log.append(&checked(&batch_at(0, 1, -1)), NEXT, 0).unwrap();
    assert_eq!(
        bases(&log.reader().snapshot()),
        [0, 2],
        "no timestamp, no age"
    );
}

#[test]
fn jitter_rolls_some_segments_earlier() {
    let dir = tempfile::tempdir().unwrap();
    let config = LogConfig {
        segment_max_age_ms: 1_000,
        segment_jitter_ms: 400,
        ..LogConfig::default()
    };
    let mut log = open(&dir, config);
    for n in 0..4_000 {
        log.append(&checked(&batch_at(0, 1, n * 10)), NEXT, 0)
            .unwrap();
    }
    let bases = bases(&log.reader().snapshot());
    let ages: Vec<i64> = bases.windows(2).map(|p| (p[1] - p[0]) * 10).collect();
    assert!(
        ages.iter().all(|age| (600..=1_010).contains(age)),
        "{ages:?}"
    );
    assert!(ages.iter().any(|age| *age < 900), "{ages:?}");
}

#[test]
fn a_full_index_rolls_the_segment() {
    let dir = tempfile::tempdir().unwrap();
    let config = LogConfig {
        index_interval_bytes: 1,
        index_max_bytes: 12 * 4,
        ..LogConfig::default()
    };
    let mut log = open(&dir, config);
    for n in 0..20 {
        log.append(&checked(&batch_at(0, 1, n)), NEXT, 0).unwrap();
    }
    let snapshot = log.reader().snapshot();
    assert!(snapshot.segments().len() >= 5, "{:?}", bases(&snapshot));
    for file in crate::testing::files(dir.path(), "timeindex").unwrap() {
        assert!(std::fs::metadata(file).unwrap().len() <= 12 * 4);
    }
}

#[test]
fn offsets_out_of_an_indexs_reach_roll_the_segment() {
    let dir = tempfile::tempdir().unwrap();
    let mut log = open(&dir, LogConfig::default());
    let far = i64::from(i32::MAX) + 1;
    for base in [far, far + 5, 3 * far] {
        log.append(&checked(&batch_at(base, 1, 0)), Placement::Exact, 0)
            .unwrap();
    }
    let snapshot = log.reader().snapshot();
    assert_eq!(bases(&snapshot), [far, 3 * far]);
    assert_eq!(headers(&read_all(&snapshot, Offset(0), 100)).len(), 3);
    log.close().unwrap();
    let (log, _) = reopen(&dir, LogConfig::default());
    assert_eq!(log.end(), Offset(3 * far + 1));
}

#[test]
fn the_end_moves_over_a_gap_without_bytes_and_stays_there() {
    let dir = tempfile::tempdir().unwrap();
    let mut log = open(&dir, small());
    log.append(&checked(&batch(2)), NEXT, 0).unwrap();
    log.advance_end(Offset(50)).unwrap();
    log.advance_end(Offset(60)).unwrap();
    assert!(matches!(
        log.advance_end(Offset(59)),
        Err(LogError::NonMonotonic { .. })
    ));
    assert_eq!(log.end(), Offset(60));
    let snapshot = log.reader().snapshot();
    assert!(
        snapshot
            .read(Offset(30), Offset(60), 100, true)
            .unwrap()
            .is_empty()
    );
    drop(log);
    let (mut log, _) = reopen(&dir, small());
    assert_eq!(log.end(), Offset(60));
    assert_eq!(
        log.append(&checked(&batch(1)), NEXT, 0)
            .unwrap()
            .first_offset,
        Offset(60)
    );
    let bytes = log
        .reader()
        .snapshot()
        .read(Offset(30), Offset(61), 100, true)
        .unwrap();
    assert_eq!(headers(&bytes)[0].base_offset, Offset(60));
}

#[test]
fn closing_marks_the_log_and_the_next_write_removes_the_mark() {
    let dir = tempfile::tempdir().unwrap();
    let mut log = open(&dir, small());
    for _ in 0..30 {
        log.append(&checked(&batch(3)), NEXT, 0).unwrap();
    }
    let before = read_all(&log.reader().snapshot(), Offset(0), 700);
    log.close().unwrap();
    for path in crate::testing::files(dir.path(), "log").unwrap() {
        assert!(
            !std::fs::read(path).unwrap().ends_with(&[0; 100]),
            "nothing is left behind the batches"
        );
    }
    let (log, recovered) = reopen(&dir, small());
    assert_eq!(
        recovered,
        Recovered {
            clean: true,
            ..Recovered::default()
        }
    );
    assert_eq!(read_all(&log.reader().snapshot(), Offset(0), 700), before);
    assert_eq!(log.flush_handle().durable_end(), Offset(90));
    drop(log);
    let (mut log, recovered) = reopen(&dir, small());
    assert!(recovered.clean, "reading does not remove the mark");
    log.append(&checked(&batch(3)), NEXT, 0).unwrap();
    drop(log);
    assert!(!reopen(&dir, small()).1.clean);
}

#[test]
fn a_flush_moves_the_durable_end_and_less_is_scanned() {
    let dir = tempfile::tempdir().unwrap();
    let mut log = open(&dir, small());
    let flush = log.flush_handle();
    for _ in 0..10 {
        log.append(&checked(&batch(3)), NEXT, 0).unwrap();
    }
    assert_eq!(flush.durable_end(), Offset(0));
    assert_eq!(flush.flush().unwrap(), Offset(30));
    assert_eq!(flush.flush().unwrap(), Offset(30));
    let tail = log.append(&checked(&batch(3)), NEXT, 0).unwrap().bytes as u64;
    assert_eq!(flush.durable_end(), Offset(30));
    drop(log);
    let (log, recovered) = reopen(&dir, small());
    assert_eq!(recovered.scanned_bytes, tail);
    assert_eq!(log.end(), Offset(33));
    assert_eq!(log.flush_handle().durable_end(), Offset(30));
    assert_eq!(log.flush_handle().flush().unwrap(), Offset(33));
}

#[test]
fn handles_know_their_log() {
    let (one, two) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (one, two) = (open(&one, small()), open(&two, small()));
    assert_eq!(one.flush_handle().log_id(), one.flush_handle().log_id());
    assert_ne!(one.flush_handle().log_id(), two.flush_handle().log_id());
}

#[test]
fn epochs_follow_the_batches() {
    let dir = tempfile::tempdir().unwrap();
    let mut log = open(&dir, small());
    for epoch in [0, 0, 3, 3, 5] {
        let placement = Placement::Next {
            leader_epoch: LeaderEpoch(epoch),
            log_append_time_ms: None,
        };
        log.append(&checked(&batch(10)), placement, 0).unwrap();
    }
    let check = |log: &Log| {
        let snapshot = log.reader().snapshot();
        assert_eq!(snapshot.last_epoch(), Some(LeaderEpoch(5)));
        let end = |epoch| snapshot.epoch_end(LeaderEpoch(epoch));
        assert_eq!(end(0), Some((LeaderEpoch(0), Offset(20))));
        assert_eq!(end(4), Some((LeaderEpoch(3), Offset(40))));
        assert_eq!(end(5), Some((LeaderEpoch(5), Offset(50))));
        assert_eq!(end(6), None);
    };
    check(&log);
    drop(log);
    let (log, _) = reopen(&dir, small());
    check(&log);
    log.close().unwrap();
    let (mut log, _) = reopen(&dir, small());
    check(&log);
    log.truncate_to(Offset(40)).unwrap();
    assert_eq!(log.epochs().latest(), Some(LeaderEpoch(3)));
}

#[test]
fn a_full_disk_is_an_error_and_appends_go_on_once_there_is_room() {
    let dir = tempfile::tempdir().unwrap();
    let mut log = open(&dir, LogConfig::default());
    active::tests::set_room(100_000);
    let mut stored = 0;
    let full = loop {
        match log.append(&checked(&batch(20)), NEXT, 0) {
            Ok(_) => stored += 1,
            Err(error) => break error,
        }
    };
    assert!(matches!(full, LogError::DiskFull { .. }), "{full}");
    assert!(
        log.size_bytes() > 90_000,
        "all the room is used: {}",
        log.size_bytes()
    );
    assert_eq!(
        headers(&read_all(&log.reader().snapshot(), Offset(0), 5000)).len(),
        stored
    );
    assert_eq!(log.flush_handle().flush().unwrap(), log.end());
    let whole = std::fs::metadata(log.active.path()).unwrap().len();
    assert_eq!(whole, log.size_bytes(), "what did not fit is cut off");
    active::tests::set_room(usize::MAX);
    log.append(&checked(&batch(20)), NEXT, 0).unwrap();
    drop(log);
    let (log, _) = reopen(&dir, LogConfig::default());
    assert_eq!(
        headers(&read_all(&log.reader().snapshot(), Offset(0), 5000)).len(),
        stored + 1
    );
}

#[test]
fn a_disk_that_is_full_at_a_roll_keeps_what_came_before() {
    let dir = tempfile::tempdir().unwrap();
    let mut log = open(&dir, small());
    log.append(&checked(&batch(10)), NEXT, 0).unwrap();
    active::tests::set_room(0);
    for _ in 0..3 {
        assert!(matches!(
            log.append(&checked(&batch(10)), NEXT, 0),
            Err(LogError::DiskFull { .. })
        ));
        assert_eq!(log.end(), Offset(10));
    }
    active::tests::set_room(usize::MAX);
    assert_eq!(
        log.append(&checked(&batch(10)), NEXT, 0)
            .unwrap()
            .first_offset,
        Offset(10)
    );
    drop(log);
    let (log, _) = reopen(&dir, small());
    assert_eq!(
        headers(&read_all(&log.reader().snapshot(), Offset(0), 1)).len(),
        2
    );
}

#[test]
fn no_file_descriptors_at_a_roll_or_a_flush_are_no_fault() {
    let dir = tempfile::tempdir().unwrap();
    let mut log = open(&dir, small());
    log.append(&checked(&batch(10)), NEXT, 0).unwrap();
    files::tests::set_files(false);
    for _ in 0..3 {
        let refused = log.append(&checked(&batch(10)), NEXT, 0).unwrap_err();
        assert!(matches!(refused, LogError::Exhausted { .. }), "{refused}");
        let flushed = log.flush_handle().flush().unwrap_err();
        assert!(matches!(flushed, LogError::Exhausted { .. }), "{flushed}");
    }
    assert_eq!(log.flush_handle().durable_end(), Offset(0));
    files::tests::set_files(true);
    log.append(&checked(&batch(10)), NEXT, 0).unwrap();
    assert_eq!(log.flush_handle().flush().unwrap(), Offset(20));
    log.close().unwrap();
    let (log, recovered) = reopen(&dir, small());
    assert!(recovered.clean);
    assert_eq!(log.end(), Offset(20));
}

#[test]
fn a_failed_sync_faults_the_log_for_good() {
    let dir = tempfile::tempdir().unwrap();
    let mut log = open(&dir, small());
    log.append(&checked(&batch(1)), NEXT, 0).unwrap();
    log.durability
        .fault(std::io::Error::other("the disk is gone"));
    let flush = log.flush_handle();
    assert!(matches!(flush.flush(), Err(LogError::Faulted(_))));
    assert!(matches!(flush.flush(), Err(LogError::Faulted(_))));
    assert!(matches!(
        log.append(&checked(&batch(1)), NEXT, 0),
        Err(LogError::Faulted(_))
    ));
    assert!(matches!(
        log.truncate_to(Offset(0)),
        Err(LogError::Faulted(_))
    ));
    assert_eq!(
        headers(&read_all(&log.reader().snapshot(), Offset(0), 1)).len(),
        1
    );
    assert!(matches!(log.close(), Err(LogError::Faulted(_))));
}
