//! Idempotent producers whose records are older than `producer.id.expiration.ms`.

use std::time::{SystemTime, UNIX_EPOCH};

use carrick_protocol::ids::ProducerId;

use super::*;

const HOUR_MS: i64 = 3_600_000;

fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    i64::try_from(since.as_millis()).unwrap()
}

fn config() -> LogConfig {
    LogConfig {
        producer_expiration_ms: HOUR_MS,
        ..small()
    }
}

/// Batch number `n` of one producer, with a record of 1970.
fn old(n: i32) -> Vec<u8> {
    let builder = BatchBuilder::new().base_offset(Offset(n.into()));
    let builder = builder.producer(ProducerId(7), 0, n);
    builder.record(1000, None, Some(&[7; 300])).build().to_vec()
}

fn header(n: i32) -> BatchHeader {
    BatchHeader::parse(&old(n)).unwrap()
}

fn is_known(log: &Log, n: i32) -> bool {
    matches!(
        log.producers().check(&header(n)),
        Ok(Sequence::Duplicate { .. })
    )
}

#[test]
fn a_producer_of_old_records_is_known_after_a_roll_a_truncation_and_a_restart() {
    for placement in [NEXT, Placement::Exact] {
        let now_ms = now_ms();
        let dir = tempfile::tempdir().unwrap();
        let open = || Log::open(dir.path(), config(), now_ms).unwrap().0;
        let mut log = open();
        for n in 0..20 {
            log.append(&checked(&old(n)), placement, now_ms).unwrap();
        }
        assert!(log.reader().snapshot().segments().len() > 2, "it rolled");
        assert!(is_known(&log, 19) && is_known(&log, 15));
        log.truncate_to(Offset(18)).unwrap();
        assert!(is_known(&log, 17));
        log.append(&checked(&old(18)), placement, now_ms).unwrap();
        log.close().unwrap();
        let mut log = open();
        assert!(is_known(&log, 18), "after a clean restart");
        log.append(&checked(&old(19)), placement, now_ms).unwrap();
        drop(log);
        let mut log = open();
        assert!(is_known(&log, 19), "after a crash");
        assert_eq!(log.expire_producers(now_ms), 0);
    }
}

#[test]
fn it_is_forgotten_when_it_was_silent_for_that_long() {
    let now_ms = now_ms();
    let dir = tempfile::tempdir().unwrap();
    let mut log = Log::open(dir.path(), config(), now_ms).unwrap().0;
    for n in 0..22 {
        log.append(&checked(&old(n)), NEXT, now_ms - HOUR_MS / 2)
            .unwrap();
    }
    // The batches that are read back are then in a current file.
    log.truncate_to(Offset(20)).unwrap();
    assert_eq!(log.expire_producers(now_ms + HOUR_MS / 2 - 1), 0);
    let path = dir.path().to_path_buf();
    log.close().unwrap();
    let log = Log::open(&path, config(), now_ms + HOUR_MS / 2 - 1)
        .unwrap()
        .0;
    assert!(is_known(&log, 19), "the snapshot kept when it wrote");
    drop(log);
    let log = Log::open(&path, config(), now_ms + HOUR_MS / 2).unwrap().0;
    assert!(!is_known(&log, 19));
}
