//! Look-ups by timestamp are those of a scan of all records.

use carrick_protocol::batch::Compression;
use proptest::prelude::*;

use super::*;

/// One batch with these timestamps.
fn stamped(timestamps: &[i64], compression: Compression) -> Vec<u8> {
    let mut builder = BatchBuilder::new().compression(compression);
    for timestamp in timestamps {
        builder.push(*timestamp, None, Some(&[1; 40]), &[]);
    }
    builder.build().to_vec()
}

#[test]
fn log_append_time_holds_for_every_record_of_a_batch() {
    let dir = tempfile::tempdir().unwrap();
    let mut log = open(&dir, small());
    for time_ms in [100, 200, 300] {
        let placement = Placement::Next {
            leader_epoch: LeaderEpoch(2),
            log_append_time_ms: Some(time_ms),
        };
        log.append(
            &checked(&stamped(&[1, 2, 3], Compression::None)),
            placement,
            0,
        )
        .unwrap();
    }
    let snapshot = log.reader().snapshot();
    let found = snapshot
        .offset_for_timestamp(101, Offset(9))
        .unwrap()
        .unwrap();
    let expected = TimestampOffset {
        timestamp_ms: 200,
        offset: Offset(3),
        leader_epoch: LeaderEpoch(2),
    };
    assert_eq!(found, expected);
    assert_eq!(snapshot.max_timestamp().unwrap().unwrap().offset, Offset(6));
}

#[test]
fn an_empty_log_and_records_without_time_have_no_timestamps() {
    let dir = tempfile::tempdir().unwrap();
    let mut log = open(&dir, small());
    assert_eq!(log.reader().snapshot().max_timestamp().unwrap(), None);
    log.append(&checked(&stamped(&[-1, -1], Compression::None)), NEXT, 0)
        .unwrap();
    let snapshot = log.reader().snapshot();
    assert_eq!(snapshot.max_timestamp().unwrap(), None);
    assert_eq!(snapshot.offset_for_timestamp(0, Offset(2)).unwrap(), None);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    #[test]
    fn lookups_equal_a_scan_of_all_records(
        batches in prop::collection::vec(
            (prop::collection::vec(0i64..400, 1..6), any::<bool>()), 1..60),
        close: bool, start in 0i64..40, upto in 0i64..300,
    ) {
        let dir = tempfile::tempdir().unwrap();
        let mut log = open(&dir, small());
        let mut records = Vec::new();
        for (timestamps, compressed) in &batches {
            let codec = if *compressed { Compression::Gzip } else { Compression::None };
            let first = log.append(&checked(&stamped(timestamps, codec)), NEXT, 0).unwrap().first_offset;
            records.extend((first.0..).zip(timestamps.iter().copied()));
        }
        log.advance_log_start(Offset(start)).unwrap();
        if close {
            log.close().unwrap();
            log = open(&dir, small());
        }
        let snapshot = log.reader().snapshot();
        let start = log.start().0;
        for target in (0..410).step_by(7) {
            let first = records.iter().find(|(o, t)| *o >= start && *t >= target);
            let expected = first.filter(|(o, _)| *o < upto).copied();
            let found = snapshot.offset_for_timestamp(target, Offset(upto)).unwrap();
            prop_assert_eq!(found.map(|f| (f.offset.0, f.timestamp_ms)), expected);
        }
        if start == 0 {
            let max = records.iter().map(|(_, t)| *t).max();
            let expected = records.iter().find(|(_, t)| Some(*t) == max).copied();
            let found = snapshot.max_timestamp().unwrap();
            prop_assert_eq!(found.map(|f| (f.offset.0, f.timestamp_ms)), expected);
        }
    }
}
