//! Reads: limits, look-ups, and slices that outlive what they were read from.

use std::sync::atomic::{AtomicBool, Ordering};

use super::*;

/// Ends the other threads of a test, even if it fails.
struct SetOnDrop<'a>(&'a AtomicBool);

impl Drop for SetOnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Release);
    }
}

#[test]
fn reads_respect_their_limits() {
    let dir = tempfile::tempdir().unwrap();
    let mut log = open(&dir, LogConfig::default());
    let size = log.append(&checked(&batch(2)), NEXT, 0).unwrap().bytes;
    for _ in 0..4 {
        log.append(&checked(&batch(2)), NEXT, 0).unwrap();
    }
    let snapshot = log.reader().snapshot();
    let count = |from, upto, max_bytes, at_least_one| {
        headers(
            &snapshot
                .read(Offset(from), Offset(upto), max_bytes, at_least_one)
                .unwrap(),
        )
        .len()
    };
    assert_eq!(count(0, 10, size * 5, false), 5);
    assert_eq!(count(0, 10, usize::MAX, false), 5);
    assert_eq!(count(0, 10, size * 3 - 1, false), 2);
    assert_eq!(count(0, 10, size - 1, false), 0);
    assert_eq!(count(0, 10, 0, true), 1);
    assert_eq!(count(3, 10, size, true), 1, "from within the second batch");
    assert_eq!(count(0, 4, usize::MAX, true), 2);
    assert_eq!(count(0, 5, usize::MAX, true), 3, "the third begins below 5");
    assert_eq!(count(4, 4, usize::MAX, true), 0);
    assert_eq!(count(10, 10, usize::MAX, true), 0);
}

#[test]
fn reads_are_not_copies() {
    let dir = tempfile::tempdir().unwrap();
    let mut log = open(&dir, LogConfig::default());
    log.append(&checked(&batch(2)), NEXT, 0).unwrap();
    let snapshot = log.reader().snapshot();
    let one = snapshot.read(Offset(0), Offset(2), 1000, true).unwrap();
    let two = snapshot.read(Offset(0), Offset(2), 1000, true).unwrap();
    assert_eq!(one.as_ptr(), two.as_ptr());
}

#[test]
fn every_offset_is_found_as_by_a_scan() {
    let dir = tempfile::tempdir().unwrap();
    let mut log = open(&dir, small());
    let mut base = 0;
    for n in 0..200 {
        base += i64::from(n % 7 == 0) * 3;
        let records = 1 + (n * 5) % 4;
        base = log
            .append(&checked(&batch_at(base, records, 0)), Placement::Exact, 0)
            .unwrap()
            .next_offset
            .0;
    }
    for sealed in [false, true] {
        if sealed {
            log.close().unwrap();
            log = open(&dir, small());
        }
        let snapshot = log.reader().snapshot();
        let all = headers(&read_all(&snapshot, Offset(0), 1_000_000));
        for offset in 0..snapshot.end().0 {
            let expected = all
                .iter()
                .find(|h| h.last_offset() >= Offset(offset))
                .unwrap();
            let found = snapshot
                .read(Offset(offset), snapshot.end(), 0, true)
                .unwrap();
            assert_eq!(headers(&found), [*expected]);
        }
    }
}

#[test]
fn a_wrong_index_entry_is_not_believed() {
    let dir = tempfile::tempdir().unwrap();
    let mut log = open(&dir, small());
    for _ in 0..60 {
        log.append(&checked(&batch(1)), NEXT, 0).unwrap();
    }
    log.close().unwrap();
    for index in crate::testing::files(dir.path(), "index").unwrap() {
        let bytes = std::fs::read(&index).unwrap();
        for entry in 0..bytes.len() / 8 {
            crate::testing::flip_bit(&index, entry as u64 * 8 + 7, 1).unwrap();
        }
    }
    let log = open(&dir, small());
    let snapshot = log.reader().snapshot();
    for offset in 0..60 {
        let found = snapshot.read(Offset(offset), Offset(60), 0, true).unwrap();
        assert_eq!(headers(&found)[0].base_offset, Offset(offset));
    }
}

#[test]
fn slices_and_snapshots_outlive_truncation_retention_and_the_log() {
    let dir = tempfile::tempdir().unwrap();
    let mut log = open(&dir, small());
    for n in 0..60 {
        log.append(&checked(&batch_at(0, 1, n)), NEXT, 0).unwrap();
    }
    let snapshot = log.reader().snapshot();
    let held: Vec<_> = (0..60)
        .map(|offset| snapshot.read(Offset(offset), Offset(60), 0, true).unwrap())
        .collect();
    let copies: Vec<Vec<u8>> = held.iter().map(|bytes| bytes.to_vec()).collect();
    let untouched = log.reader().snapshot();
    log.truncate_to(Offset(25)).unwrap();
    for n in 0..60 {
        log.append(&checked(&batch_at(0, 1, 1000 + n)), NEXT, 0)
            .unwrap();
    }
    log.advance_log_start(Offset(20)).unwrap();
    log.truncate_fully_and_start_at(Offset(5)).unwrap();
    log.append(&checked(&batch(1)), NEXT, 0).unwrap();
    log.close().unwrap();
    drop(dir);
    assert_eq!(held, copies);
    assert_eq!(read_all(&untouched, Offset(0), 777), copies.concat());
}

#[test]
fn a_snapshot_that_was_never_read_reads_on_after_its_files_are_gone() {
    let dir = tempfile::tempdir().unwrap();
    let mut log = open(&dir, small());
    for n in 0..60 {
        log.append(&checked(&batch_at(0, 1, n)), NEXT, 0).unwrap();
    }
    log.close().unwrap();
    let mut log = open(&dir, small());
    let snapshot = log.reader().snapshot();
    log.advance_log_start(Offset(40)).unwrap();
    log.truncate_to(Offset(45)).unwrap();
    log.append(&checked(&batch_at(0, 1, 5)), NEXT, 0).unwrap();
    log.truncate_fully_and_start_at(Offset(0)).unwrap();
    log.append(&checked(&batch_at(0, 9, 5)), NEXT, 0).unwrap();
    assert_eq!(headers(&read_all(&snapshot, Offset(0), 300)).len(), 60);
    assert_eq!(
        snapshot
            .offset_for_timestamp(33, Offset(60))
            .unwrap()
            .unwrap()
            .offset,
        Offset(33)
    );
}

#[test]
fn readers_on_other_threads_see_a_growing_prefix() {
    let dir = tempfile::tempdir().unwrap();
    let mut log = open(
        &dir,
        LogConfig {
            segment_max_bytes: 50_000,
            ..small()
        },
    );
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for _ in 0..2 {
            let (reader, done) = (log.reader(), &done);
            scope.spawn(move || {
                let mut next = Offset(0);
                loop {
                    let last_round = done.load(Ordering::Acquire);
                    let snapshot = reader.snapshot();
                    assert!(snapshot.end() >= next, "the end never goes back");
                    let bytes = snapshot.read(next, snapshot.end(), 4000, true).unwrap();
                    for batch in Batches::new(&bytes) {
                        let batch = batch.unwrap();
                        batch.verify_crc().unwrap();
                        assert_eq!(batch.header.base_offset, next, "nothing is missing");
                        next = batch.header.next_offset();
                    }
                    if last_round && next == snapshot.end() {
                        return;
                    }
                }
            });
        }
        let flush = log.flush_handle();
        let _end_it = SetOnDrop(&done);
        for n in 0..1500 {
            log.append(&checked(&batch(1 + n % 3)), NEXT, 0).unwrap();
            if n % 100 == 0 {
                assert_eq!(flush.flush().unwrap(), log.end());
            }
        }
    });
    assert!(log.reader().snapshot().segments().len() > 3);
}

#[test]
fn flushes_on_another_thread_never_claim_what_was_truncated() {
    let dir = tempfile::tempdir().unwrap();
    let mut log = open(&dir, small());
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let flush = log.flush_handle();
        let (other, done_yet) = (log.flush_handle(), &done);
        scope.spawn(move || {
            while !done_yet.load(Ordering::Acquire) {
                other.flush().unwrap();
            }
        });
        let _end_it = SetOnDrop(&done);
        for n in 0..150 {
            log.append(&checked(&batch(1 + n % 5)), NEXT, 0).unwrap();
            if n % 6 == 5 {
                let end = log
                    .truncate_to(Offset(log.end().0 - 1 - i64::from(n % 11)))
                    .unwrap();
                assert_eq!(end, log.end());
            }
            if n % 50 == 49 {
                log.truncate_fully_and_start_at(Offset(log.end().0 / 2))
                    .unwrap();
            }
            assert!(flush.durable_end() <= log.end());
        }
    });
    assert_eq!(log.flush_handle().flush().unwrap(), log.end());
    let (start, end) = (log.start(), log.end());
    drop(log);
    let (log, recovered) = reopen(&dir, small());
    assert_eq!(
        (log.start(), log.end(), recovered.scanned_bytes),
        (start, end, 0)
    );
}
