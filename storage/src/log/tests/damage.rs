//! What is left after crashes and bad disks.

use std::fs;

use super::*;
use crate::testing::{files, flip_bit, overwrite, tear, zero_tail};

/// A log of `batches` batches of one record each in one segment, dropped without a close.
fn crashed(dir: &TempDir, batches: usize) -> Vec<u8> {
    let mut log = open(dir, LogConfig::default());
    for _ in 0..batches {
        log.append(&checked(&batch(1)), NEXT, 0).unwrap();
    }
    read_all(&log.reader().snapshot(), Offset(0), usize::MAX)
}

fn contents(log: &Log) -> Vec<u8> {
    read_all(&log.reader().snapshot(), log.start(), usize::MAX)
}

#[test]
fn a_kill_loses_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let bytes = crashed(&dir, 20);
    let (log, recovered) = reopen(&dir, LogConfig::default());
    assert_eq!(contents(&log), bytes);
    let all = bytes.len() as u64;
    assert_eq!(
        recovered,
        Recovered {
            scanned_bytes: all,
            ..Recovered::default()
        }
    );
}

#[test]
fn a_torn_tail_is_cut_at_every_length() {
    let dir = tempfile::tempdir().unwrap();
    let bytes = crashed(&dir, 3);
    let one = bytes.len() / 3;
    let log_file = &files(dir.path(), "log").unwrap()[0];
    for len in (0..bytes.len()).rev().step_by(13) {
        tear(log_file, len as u64).unwrap();
        let (log, recovered) = reopen(&dir, LogConfig::default());
        assert_eq!(contents(&log), bytes[..len / one * one]);
        assert!(recovered.cut_bytes <= (len % one) as u64);
        drop(log);
        fs::write(log_file, &bytes).unwrap();
    }
}

#[test]
fn zeroed_pages_and_flipped_bits_cut_the_log_there() {
    let dir = tempfile::tempdir().unwrap();
    let bytes = crashed(&dir, 5);
    let one = bytes.len() / 5;
    let log_file = &files(dir.path(), "log").unwrap()[0];
    zero_tail(log_file, (3 * one + 40) as u64).unwrap();
    let (log, recovered) = reopen(&dir, LogConfig::default());
    assert_eq!(contents(&log), bytes[..3 * one]);
    assert!((1..=40).contains(&recovered.cut_bytes), "{recovered:?}");
    drop(log);
    flip_bit(log_file, (one + 70) as u64, 3).unwrap();
    let (mut log, recovered) = reopen(&dir, LogConfig::default());
    assert_eq!(contents(&log), bytes[..one]);
    // The last byte of a batch is a zero, and zeros at the end do not count.
    assert_eq!(recovered.cut_bytes, 2 * one as u64 - 1);
    assert_eq!(
        log.append(&checked(&batch(1)), NEXT, 0)
            .unwrap()
            .first_offset,
        Offset(1)
    );
}

#[test]
fn garbage_after_the_last_batch_is_cut_and_not_read_again() {
    let dir = tempfile::tempdir().unwrap();
    let bytes = crashed(&dir, 2);
    let log_file = &files(dir.path(), "log").unwrap()[0];
    overwrite(log_file, bytes.len() as u64, &[0xab; 5000]).unwrap();
    let (mut log, recovered) = reopen(&dir, LogConfig::default());
    assert_eq!(recovered.cut_bytes, 5000);
    log.append(&checked(&batch(1)), NEXT, 0).unwrap();
    drop(log);
    let (log, recovered) = reopen(&dir, LogConfig::default());
    assert_eq!((log.end(), recovered.cut_bytes), (Offset(3), 0));
}

#[test]
fn a_lost_middle_ends_the_log_and_later_segments_go() {
    let dir = tempfile::tempdir().unwrap();
    let mut log = open(&dir, small());
    for _ in 0..60 {
        log.append(&checked(&batch(1)), NEXT, 0).unwrap();
    }
    let bases = bases(&log.reader().snapshot());
    drop(log);
    let second = &files(dir.path(), "log").unwrap()[1];
    zero_tail(second, 400).unwrap();
    let (log, recovered) = reopen(&dir, small());
    assert_eq!(log.end(), Offset(bases[1] + 2));
    assert_eq!(files(dir.path(), "log").unwrap().len(), 2);
    assert!(recovered.cut_bytes > 0);
}

#[test]
fn missing_and_broken_indexes_of_old_segments_are_rebuilt() {
    let dir = tempfile::tempdir().unwrap();
    let mut log = open(&dir, small());
    for n in 0..80 {
        log.append(&checked(&batch_at(0, 1, n)), NEXT, 0).unwrap();
    }
    log.flush_handle().flush().unwrap();
    let bytes = contents(&log);
    drop(log);
    let (index, times) = (
        files(dir.path(), "index").unwrap(),
        files(dir.path(), "timeindex").unwrap(),
    );
    let good: Vec<_> = index
        .iter()
        .chain(&times)
        .map(|path| fs::read(path).unwrap())
        .collect();
    fs::remove_file(&index[0]).unwrap();
    tear(&index[1], 13).unwrap();
    fs::remove_file(&times[2]).unwrap();
    overwrite(&times[3], 0, &[0x7f; 8]).unwrap();
    let (log, recovered) = reopen(&dir, small());
    assert_eq!(recovered.rebuilt_indexes, 4);
    assert_eq!(contents(&log), bytes);
    let now: Vec<_> = index
        .iter()
        .chain(&times)
        .map(|path| fs::read(path).unwrap())
        .collect();
    assert_eq!(now, good);
    let found = log
        .reader()
        .snapshot()
        .offset_for_timestamp(17, Offset(80))
        .unwrap();
    assert_eq!(found.unwrap().offset, Offset(17));
}

#[test]
fn indexes_missing_after_a_clean_close_are_rebuilt() {
    let dir = tempfile::tempdir().unwrap();
    let mut log = open(&dir, small());
    for _ in 0..60 {
        log.append(&checked(&batch(1)), NEXT, 0).unwrap();
    }
    let bytes = contents(&log);
    log.close().unwrap();
    for extension in ["index", "timeindex", "snapshot", "txnindex"] {
        for path in files(dir.path(), extension).unwrap() {
            fs::remove_file(path).unwrap();
        }
    }
    let (log, recovered) = reopen(&dir, small());
    assert!(!recovered.clean && recovered.rebuilt_indexes > 3);
    assert_eq!(contents(&log), bytes);
}

#[test]
fn a_closed_log_that_was_cut_behind_its_back_is_recovered() {
    let dir = tempfile::tempdir().unwrap();
    let mut log = open(&dir, LogConfig::default());
    for _ in 0..5 {
        log.append(&checked(&batch(1)), NEXT, 0).unwrap();
    }
    let bytes = contents(&log);
    log.close().unwrap();
    let log_file = &files(dir.path(), "log").unwrap()[0];
    tear(log_file, bytes.len() as u64 - 1).unwrap();
    let (log, recovered) = reopen(&dir, LogConfig::default());
    assert!(!recovered.clean);
    assert_eq!(contents(&log), bytes[..bytes.len() / 5 * 4]);
}

#[test]
fn without_checkpoint_and_epochs_everything_is_scanned() {
    let dir = tempfile::tempdir().unwrap();
    let mut log = open(&dir, small());
    for epoch in 0..60 {
        let leader_epoch = LeaderEpoch(epoch / 10);
        let placement = Placement::Next {
            leader_epoch,
            log_append_time_ms: None,
        };
        log.append(&checked(&batch(1)), placement, 0).unwrap();
    }
    let (bytes, epochs) = (contents(&log), log.epochs().clone());
    log.close().unwrap();
    fs::remove_file(dir.path().join("carrick.checkpoint")).unwrap();
    fs::write(dir.path().join("leader-epoch-checkpoint"), "damaged").unwrap();
    let (log, recovered) = reopen(&dir, small());
    assert_eq!(recovered.scanned_bytes, bytes.len() as u64);
    assert_eq!((contents(&log), log.epochs()), (bytes, &epochs));
}

#[test]
fn damaged_epochs_below_the_recovery_point_are_read_from_the_batches() {
    let dir = tempfile::tempdir().unwrap();
    let mut log = open(&dir, small());
    for epoch in 0..60 {
        let leader_epoch = LeaderEpoch(epoch / 10);
        let placement = Placement::Next {
            leader_epoch,
            log_append_time_ms: None,
        };
        log.append(&checked(&batch(1)), placement, 0).unwrap();
    }
    log.flush_handle().flush().unwrap();
    let epochs = log.epochs().clone();
    drop(log);
    fs::write(dir.path().join("leader-epoch-checkpoint"), "damaged").unwrap();
    assert_eq!(reopen(&dir, small()).0.epochs(), &epochs);
}

#[test]
fn what_a_crashed_truncation_left_is_cleared_away() {
    let dir = tempfile::tempdir().unwrap();
    let mut log = open(&dir, small());
    for _ in 0..60 {
        log.append(&checked(&batch(1)), NEXT, 0).unwrap();
    }
    log.advance_log_start(Offset(50)).unwrap();
    let bases = bases(&log.reader().snapshot());
    drop(log);
    let leftover = dir.path().join(format!("{:020}.log.cut", bases[0]));
    fs::write(&leftover, "half a copy").unwrap();
    for path in &files(dir.path(), "log").unwrap()[1..] {
        fs::remove_file(path).unwrap();
    }
    tear(&files(dir.path(), "log").unwrap()[0], 100).unwrap();
    let (log, _) = reopen(&dir, small());
    assert!(!leftover.exists());
    assert_eq!(
        (log.start(), log.end()),
        (Offset(50), Offset(50)),
        "the log start is kept"
    );
}

#[test]
fn a_log_whose_segments_are_all_gone_is_not_taken_for_an_empty_one() {
    for closed in [true, false] {
        let dir = tempfile::tempdir().unwrap();
        let mut log = open(&dir, LogConfig::default());
        log.append(&checked(&batch(1)), NEXT, 0).unwrap();
        log.flush_handle().flush().unwrap();
        if closed {
            log.close().unwrap();
        } else {
            drop(log);
        }
        fs::remove_file(&files(dir.path(), "log").unwrap()[0]).unwrap();
        let error = Log::open(dir.path(), LogConfig::default(), 0).unwrap_err();
        assert!(matches!(error, LogError::Corrupt { .. }), "{error}");
    }
    let dir = tempfile::tempdir().unwrap();
    let mut log = open(&dir, LogConfig::default());
    log.append(&checked(&batch(1)), NEXT, 0).unwrap();
    drop(log);
    // Nothing was ever flushed: a crash may leave nothing.
    fs::remove_file(&files(dir.path(), "log").unwrap()[0]).unwrap();
    assert_eq!(reopen(&dir, LogConfig::default()).0.end(), Offset(0));
}
