//! Snapshots: what survives, which one is loaded, what damage does.

use super::super::tests::{batch, marker, transactional};
use super::*;
use carrick_protocol::batch::{BatchHeader, ControlKind, ControlMarker};
use proptest::prelude::*;

fn sample() -> Producers {
    let mut producers = Producers::new();
    for i in 0..7 {
        producers.apply_in_time(&batch(1, 0, i * 3, i64::from(i) * 3, 3), None);
    }
    producers.apply_in_time(&transactional(batch(2, 4, 0, 21, 2)), None);
    let (header, said) = marker(ControlKind::Commit, 3, 0, 23);
    producers.apply_in_time(&header, said);
    producers.note_producer_id(ProducerId(99));
    producers
}

fn same(left: &Producers, right: &Producers) -> bool {
    left.entries == right.entries
        && left.open == right.open
        && left.max_producer_id == right.max_producer_id
}

fn reload(dir: &Path, from: i64, end: i64) -> (Producers, i64) {
    let mut producers = Producers::new();
    let replay = producers.reload(dir, Offset(from), Offset(end)).unwrap();
    (producers, replay.0)
}

fn offsets(dir: &Path) -> Vec<i64> {
    list_snapshots(dir)
        .unwrap()
        .into_iter()
        .map(|at| at.0)
        .collect()
}

#[test]
fn everything_but_the_high_watermark_survives() {
    let dir = tempfile::tempdir().unwrap();
    let state = sample();
    state.write_snapshot(dir.path(), Offset(25)).unwrap();
    assert!(dir.path().join("00000000000000000025.snapshot").exists());
    let (loaded, replay) = reload(dir.path(), 0, 25);
    assert_eq!(replay, 25);
    assert!(same(&loaded, &state));
    assert_eq!(loaded.max_producer_id(), ProducerId(99));
    let known = loaded.get(ProducerId(1)).unwrap();
    assert_eq!(
        known.batches().len(),
        5,
        "a retry is recognised after a restart"
    );
}

#[test]
fn the_newest_snapshot_within_the_log_is_loaded_and_those_past_its_end_go() {
    let dir = tempfile::tempdir().unwrap();
    for at in [5, 10, 20, 30] {
        let mut state = Producers::new();
        state.apply_in_time(&batch(at, 0, 0, 0, 1), None);
        state.write_snapshot(dir.path(), Offset(at)).unwrap();
    }
    std::fs::write(dir.path().join("7.snapshot"), "not named like one").unwrap();
    let (loaded, replay) = reload(dir.path(), 0, 25);
    assert_eq!((replay, loaded.max_producer_id().0), (20, 20));
    assert_eq!(offsets(dir.path()), [5, 10, 20]);
    let (loaded, replay) = reload(dir.path(), 21, 25);
    assert_eq!(
        (replay, loaded.len()),
        (21, 0),
        "an older one would leave a hole"
    );
    assert_eq!(offsets(dir.path()), [5, 10, 20]);
}

#[test]
fn reloading_keeps_the_largest_producer_id_seen() {
    let dir = tempfile::tempdir().unwrap();
    let mut state = sample();
    let replay = state.reload(dir.path(), Offset(0), Offset(0)).unwrap();
    assert_eq!(replay, Offset(0));
    assert!(state.is_empty());
    assert_eq!(state.max_producer_id(), ProducerId(99));
}

#[test]
fn a_damaged_snapshot_is_deleted_and_an_older_one_loaded() {
    let dir = tempfile::tempdir().unwrap();
    sample().write_snapshot(dir.path(), Offset(25)).unwrap();
    std::fs::write(path(dir.path(), Offset(30)), &encode(&sample())[..40]).unwrap();
    let (loaded, replay) = reload(dir.path(), 0, 99);
    assert_eq!(replay, 25);
    assert!(same(&loaded, &sample()));
    assert_eq!(offsets(dir.path()), [25]);
}

#[test]
fn snapshots_without_a_segment_go_but_for_the_one_written_at_close() {
    let dir = tempfile::tempdir().unwrap();
    let stray = |segments: &[i64]| {
        for at in [5, 10, 20, 30] {
            Producers::new()
                .write_snapshot(dir.path(), Offset(at))
                .unwrap();
        }
        let segments: Vec<Offset> = segments.iter().map(|at| Offset(*at)).collect();
        remove_stray_snapshots(dir.path(), &segments).unwrap();
        offsets(dir.path())
    };
    assert_eq!(stray(&[0, 10, 25]), [10, 30]);
    assert_eq!(stray(&[0, 10, 30]), [10, 30]);
    assert_eq!(stray(&[0, 10, 40]), [10]);
    assert_eq!(stray(&[]), [30]);
    delete_snapshots_outside(dir.path(), Offset(31), Offset(99)).unwrap();
    assert!(offsets(dir.path()).is_empty());
}

#[test]
fn contradicting_entries_are_damage() {
    let mut entry = ProducerEntry::new(ProducerId(1));
    entry.transaction_first_offset = Some(Offset(5));
    let twice = vec![entry.clone(), entry.clone()];
    assert!(Producers::from_entries(ProducerId(1), twice).is_none());
    let other = ProducerEntry {
        producer_id: ProducerId(2),
        ..entry.clone()
    };
    assert!(Producers::from_entries(ProducerId(1), vec![entry, other]).is_none());
}

fn log() -> impl Strategy<Value = Vec<(BatchHeader, Option<ControlMarker>)>> {
    let step = (0..4_i64, 0..3_i16, 0..5_i32, 0..6_u8);
    proptest::collection::vec(step, 0..60).prop_map(|steps| {
        let to_batch = |(offset, (id, epoch, sequence, what))| match what {
            0 => marker(ControlKind::Abort, id, epoch, offset),
            1 => marker(ControlKind::Commit, id, epoch, offset),
            2 | 3 => (transactional(batch(id, epoch, sequence, offset, 1)), None),
            _ => (batch(id, epoch, sequence, offset, 1), None),
        };
        (0..).zip(steps).map(to_batch).collect()
    })
}

/// What the version before wrote: no time of the last append.
fn encode_version_1(state: &Producers) -> Vec<u8> {
    let mut body = Vec::new();
    body.put_u32(state.entries.len() as u32);
    body.put_i64(state.max_producer_id.0);
    for entry in state.entries.values() {
        let mut bytes = Vec::new();
        encode_entry(entry, &mut bytes);
        bytes.drain(22..30);
        body.extend_from_slice(&bytes);
    }
    let mut out = [MAGIC.as_slice(), &[1]].concat();
    out.put_u32(crc32c::crc32c(&body));
    out.extend_from_slice(&body);
    out
}

#[test]
fn a_snapshot_of_the_version_before_was_appended_when_it_was_written() {
    let dir = tempfile::tempdir().unwrap();
    let file = path(dir.path(), Offset(25));
    std::fs::write(&file, encode_version_1(&sample())).unwrap();
    let written = std::time::UNIX_EPOCH + std::time::Duration::from_millis(1_234_567);
    let opened = std::fs::File::options().write(true).open(&file).unwrap();
    opened.set_modified(written).unwrap();
    let (loaded, replay) = reload(dir.path(), 0, 25);
    assert_eq!(replay, 25);
    let mut expected = sample();
    for entry in expected.entries.values_mut() {
        assert_ne!(entry.appended_ms, 1_234_567);
        entry.appended_ms = 1_234_567;
    }
    assert!(same(&loaded, &expected));
}

proptest! {
    #[test]
    fn a_snapshot_and_the_rest_give_what_the_whole_log_gives(log in log(), cut in 0..60_usize) {
        let cut = cut.min(log.len());
        let dir = tempfile::tempdir().unwrap();
        let mut whole = Producers::new();
        let mut aborted = Vec::new();
        for (index, (header, said)) in log.iter().enumerate() {
            if index == cut {
                whole.write_snapshot(dir.path(), header.base_offset).unwrap();
            }
            let abort = whole.apply_in_time(header, *said);
            aborted.extend(abort.filter(|_| index >= cut));
        }
        if cut == log.len() {
            whole.write_snapshot(dir.path(), Offset(cut as i64)).unwrap();
        }
        let (mut resumed, from) = reload(dir.path(), 0, log.len() as i64);
        prop_assert_eq!(from, cut as i64);
        let replayed: Vec<_> =
            log[cut..].iter().filter_map(|(header, said)| resumed.apply_in_time(header, *said)).collect();
        prop_assert!(same(&resumed, &whole));
        prop_assert_eq!(replayed, aborted);
    }

    #[test]
    fn a_flipped_bit_is_noticed(position in any::<prop::sample::Index>(), bit in 0..8) {
        let mut bytes = encode(&sample());
        let position = position.index(bytes.len());
        bytes[position] ^= 1_u8 << bit;
        prop_assert!(decode(&bytes, 0).is_err());
    }

    #[test]
    fn arbitrary_bytes_with_a_right_checksum_never_panic(body: Vec<u8>) {
        let mut bytes = [MAGIC.as_slice(), &[VERSION]].concat();
        bytes.put_u32(crc32c::crc32c(&body));
        bytes.extend_from_slice(&body);
        let _ = decode(&bytes, 0);
        let _ = decode(&body, 0);
    }
}
