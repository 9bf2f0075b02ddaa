//! Transactions: last stable offset, aborted index, and both after truncation and recovery.

use carrick_protocol::batch::{ControlKind, build_marker};
use carrick_protocol::ids::ProducerId;

use super::*;

/// A transactional batch of one record.
pub fn data(producer_id: i64, producer_epoch: i16, sequence: i32) -> Vec<u8> {
    BatchBuilder::new()
        .producer(ProducerId(producer_id), producer_epoch, sequence)
        .transactional(true)
        .record(1000, None, Some(&[3; 60]))
        .build()
        .to_vec()
}

pub fn marker(producer_id: i64, kind: ControlKind) -> Vec<u8> {
    let marker = build_marker(kind, ProducerId(producer_id), 0, 7, 2000);
    marker.bytes().to_vec()
}

fn aborted(log: &Log, from: i64, upto: i64) -> Vec<(i64, i64, i64)> {
    let found = log
        .reader()
        .snapshot()
        .aborted(Offset(from), Offset(upto))
        .unwrap();
    found
        .iter()
        .map(|t| (t.producer_id.0, t.first_offset.0, t.last_offset.0))
        .collect()
}

#[test]
fn the_last_stable_offset_waits_for_the_marker_and_for_the_high_watermark() {
    let dir = tempfile::tempdir().unwrap();
    let mut log = open(&dir, small());
    let stable = |log: &Log| log.reader().snapshot().last_stable().0;
    log.append(&checked(&batch(2)), NEXT, 0).unwrap();
    log.append(&checked(&data(1, 0, 0)), NEXT, 0).unwrap();
    log.set_high_watermark(Offset(3));
    assert_eq!(stable(&log), 2);
    assert_eq!(log.open_transactions().len(), 1);
    log.append(&checked(&marker(1, ControlKind::Commit)), NEXT, 0)
        .unwrap();
    assert_eq!(stable(&log), 2, "the marker lies above the high watermark");
    log.set_high_watermark(Offset(4));
    assert_eq!(stable(&log), 4);
    assert!(log.open_transactions().is_empty());
}

#[test]
fn aborted_transactions_are_found_across_segments_and_after_reopening() {
    let dir = tempfile::tempdir().unwrap();
    let mut log = open(&dir, small());
    let mut expected = Vec::new();
    for round in 0..12 {
        let first = log.end().0;
        for n in 0..5 {
            log.append(&checked(&data(round, 0, n)), NEXT, 0).unwrap();
        }
        let kind = if round % 3 == 0 {
            ControlKind::Commit
        } else {
            ControlKind::Abort
        };
        let last = log
            .append(&checked(&marker(round, kind)), NEXT, 0)
            .unwrap()
            .first_offset
            .0;
        if kind == ControlKind::Abort {
            expected.push((round, first, last));
        }
    }
    let held = log.reader().snapshot();
    assert!(held.segments().len() > 3);
    let check = |log: &Log| {
        assert_eq!(aborted(log, 0, 1000), expected);
        let within: Vec<_> = expected
            .iter()
            .filter(|t| t.2 >= 20 && t.1 < 40)
            .copied()
            .collect();
        assert_eq!(aborted(log, 20, 40), within);
    };
    check(&log);
    drop(log);
    let (log, _) = reopen(&dir, small());
    check(&log);
    log.close().unwrap();
    let (mut log, recovered) = reopen(&dir, small());
    assert!(recovered.clean);
    check(&log);
    log.truncate_to(Offset(23)).unwrap();
    let kept: Vec<_> = expected.iter().filter(|t| t.2 < 23).copied().collect();
    assert_eq!(aborted(&log, 0, 1000), kept);
    assert_eq!(log.open_transactions()[0].first_offset, Offset(18));
    assert_eq!(
        held.aborted(Offset(0), Offset(1000)).unwrap().len(),
        expected.len()
    );
    log.append(&checked(&marker(3, ControlKind::Abort)), NEXT, 0)
        .unwrap();
    assert_eq!(aborted(&log, 0, 1000).last(), Some(&(3, 18, 23)));
}

#[test]
fn a_run_with_markers_inside_is_appended_as_given() {
    let dir = tempfile::tempdir().unwrap();
    let mut log = open(&dir, small());
    let mut run = Vec::new();
    for round in 0..40 {
        let kind = if round % 2 == 0 {
            ControlKind::Abort
        } else {
            ControlKind::Commit
        };
        let batches = [data(1, 0, round), batch(2), marker(1, kind)];
        for mut bytes in batches {
            let base = headers(&run)
                .last()
                .map_or(Offset(0), BatchHeader::next_offset);
            carrick_protocol::batch::set_base_offset(&mut bytes, base);
            run.extend_from_slice(&bytes);
        }
    }
    log.append(&checked(&run), Placement::Exact, 0).unwrap();
    assert_eq!(read_all(&log.reader().snapshot(), Offset(0), 1000), run);
    assert_eq!(aborted(&log, 0, 1000).len(), 20);
}
