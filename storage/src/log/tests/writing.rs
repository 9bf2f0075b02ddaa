//! How bytes get into a log, who waits for the disk, and which files are open.

use std::fs;

use carrick_protocol::batch::ControlKind;
use carrick_protocol::ids::ProducerId;

use super::*;
use crate::disk::syncs;
use crate::testing;

fn run_of(base: i64, batches: i64) -> Vec<u8> {
    let run = (base..base + batches).map(|n| batch_at(n, 1, n));
    run.collect::<Vec<_>>().concat()
}

/// Files of the log in `dir` that this process has open.
fn open_files(dir: &TempDir) -> usize {
    let all = fs::read_dir("/proc/self/fd").unwrap();
    let targets = all.filter_map(|entry| fs::read_link(entry.unwrap().path()).ok());
    targets.filter(|to| to.starts_with(dir.path())).count()
}

fn checkpoint(dir: &TempDir) -> Vec<u8> {
    fs::read(dir.path().join("carrick.checkpoint")).unwrap()
}

#[test]
fn behind_the_batches_there_are_zeros_and_few_of_them() {
    let dir = tempfile::tempdir().unwrap();
    let mut log = open(&dir, LogConfig::default());
    for n in 1..400 {
        let records = if n % 9 == 0 { 80 } else { 1 + n % 30 };
        log.append(&checked(&batch(records)), NEXT, 0).unwrap();
        let file = fs::read(log.active.path()).unwrap();
        let (batches, rest) = file.split_at(log.size_bytes() as usize);
        assert!(rest.len() <= batches.len().clamp(4096, 16 << 10) + 4096);
        assert!(rest.iter().all(|byte| *byte == 0));
        if n % 50 == 0 {
            assert!(batches == read_all(&log.reader().snapshot(), Offset(0), 9999));
        }
    }
}

#[test]
fn what_a_full_disk_took_of_a_run_is_cut_off_and_not_found_after_a_crash() {
    let large = |base| batch_at(base, 50, 0);
    let run: Vec<u8> = [2, 52, 102].into_iter().flat_map(large).collect();
    let (first, one) = (run_of(0, 2).len(), large(2).len());
    for room in [0, 1, one, one + 1, 2 * one, 3 * one - 1] {
        let dir = tempfile::tempdir().unwrap();
        let mut log = open(&dir, LogConfig::default());
        log.append(&checked(&run_of(0, 2)), Placement::Exact, 0)
            .unwrap();
        active::tests::set_room(first + room);
        let full = log.append(&checked(&run), Placement::Exact, 0).unwrap_err();
        active::tests::set_room(usize::MAX);
        assert!(matches!(full, LogError::DiskFull { .. }), "{full}");
        let len = fs::metadata(log.active.path()).unwrap().len();
        assert_eq!((log.end(), len), (Offset(2), first as u64));
        drop(log);
        let (mut log, recovered) = reopen(&dir, LogConfig::default());
        assert_eq!((log.end(), recovered.cut_bytes), (Offset(2), 0));
        log.append(&checked(&run), Placement::Exact, 0).unwrap();
        let stored = read_all(&log.reader().snapshot(), Offset(0), 1000);
        assert!(stored == [run_of(0, 2), run.clone()].concat());
    }
}

#[test]
fn a_disk_without_room_for_zeros_still_takes_batches() {
    let dir = tempfile::tempdir().unwrap();
    let mut log = open(&dir, LogConfig::default());
    let all = run_of(0, 40);
    active::tests::set_room(all.len());
    for n in 0..40 {
        log.append(&checked(&run_of(n, 1)), Placement::Exact, 0)
            .unwrap();
    }
    assert!(
        log.append(&checked(&run_of(40, 1)), Placement::Exact, 0)
            .is_err()
    );
    active::tests::set_room(usize::MAX);
    assert!(read_all(&log.reader().snapshot(), Offset(0), 1000) == all);
}

#[test]
fn the_zeros_that_older_versions_reserved_are_cut_off() {
    let dir = tempfile::tempdir().unwrap();
    let mut log = open(&dir, LogConfig::default());
    log.append(&checked(&run_of(0, 3)), Placement::Exact, 0)
        .unwrap();
    log.flush_handle().flush().unwrap();
    let path = log.active.path();
    drop(log);
    let file = fs::OpenOptions::new().write(true).open(&path).unwrap();
    file.set_len(64 << 10).unwrap();
    let (mut log, recovered) = reopen(&dir, LogConfig::default());
    assert_eq!(recovered.cut_bytes, 0);
    log.append(&checked(&run_of(3, 3)), Placement::Exact, 0)
        .unwrap();
    let all = run_of(0, 6);
    assert!(read_all(&log.reader().snapshot(), Offset(0), 500) == all);
    assert!(fs::read(&path).unwrap().starts_with(&all));
}

#[test]
fn a_reader_of_an_old_mapping_reads_on_while_the_file_grows() {
    let dir = tempfile::tempdir().unwrap();
    let mut log = open(&dir, LogConfig::default());
    log.append(&checked(&run_of(0, 3)), Placement::Exact, 0)
        .unwrap();
    let old = log.reader().snapshot();
    let held = old.read(Offset(0), Offset(3), 1 << 20, true).unwrap();
    // Many times what was mapped at first.
    for n in 1..400 {
        log.append(&checked(&run_of(n * 10, 10)), Placement::Exact, 0)
            .unwrap();
    }
    assert!(held == run_of(0, 3));
    assert!(read_all(&old, Offset(0), 200) == run_of(0, 3));
}

#[test]
fn nobody_waits_for_the_disk_at_an_append_a_roll_or_a_new_log_start() {
    let dir = tempfile::tempdir().unwrap();
    let mut log = open(&dir, small());
    log.append(&checked(&run_of(0, 30)), Placement::Exact, 0)
        .unwrap();
    log.close().unwrap();
    let mut log = open(&dir, small());
    let before = syncs();
    log.append(&checked(&run_of(30, 1)), Placement::Exact, 0)
        .unwrap();
    log.append(&checked(&run_of(31, 50)), Placement::Exact, 0)
        .unwrap();
    log.move_log_start(Offset(20)).unwrap();
    assert!(!log.crash_would_show());
    assert!(
        !log.delete_below_start(),
        "the log start is not on the disk"
    );
    assert_eq!(syncs(), before);
    log.flush_handle().flush().unwrap();
    assert!(log.crash_would_show() && syncs() > before);
    let files_before = testing::files(dir.path(), "log").unwrap().len();
    assert!(log.delete_below_start());
    assert!(testing::files(dir.path(), "log").unwrap().len() < files_before);
    drop(log);
    assert_eq!(open(&dir, small()).start(), Offset(20));
}

#[test]
fn a_clean_mark_that_outlives_a_power_loss_is_not_believed_of_what_came_after() {
    for (appended, config) in [(2, LogConfig::default()), (60, small())] {
        let dir = tempfile::tempdir().unwrap();
        let mut log = open(&dir, config);
        log.append(&checked(&run_of(0, 5)), Placement::Exact, 0)
            .unwrap();
        log.close().unwrap();
        let marked = checkpoint(&dir);
        let mut log = open(&dir, config);
        log.append(&checked(&run_of(5, appended)), Placement::Exact, 0)
            .unwrap();
        drop(log);
        // The batches reached the disk and the removal of the mark did not.
        fs::write(dir.path().join("carrick.checkpoint"), &marked).unwrap();
        let (log, recovered) = reopen(&dir, config);
        assert!(!recovered.clean);
        let scanned = run_of(5, appended).len() as u64;
        assert_eq!(recovered.scanned_bytes, scanned, "the rest is believed");
        let stored = read_all(&log.reader().snapshot(), Offset(0), 1000);
        assert!(stored == run_of(0, 5 + appended));
        drop(log);
        assert!(!reopen(&dir, config).1.clean, "the mark is gone");
    }
}

#[test]
fn a_quiet_log_has_no_open_file_and_one_that_is_written_to_has_one() {
    let dir = tempfile::tempdir().unwrap();
    let mut log = open(&dir, small());
    assert_eq!(open_files(&dir), 0);
    log.append(&checked(&run_of(0, 30)), Placement::Exact, 0)
        .unwrap();
    log.flush_handle().flush().unwrap();
    assert_eq!(open_files(&dir), 1);
    log.close().unwrap();
    let mut log = open(&dir, small());
    assert_eq!(open_files(&dir), 0);
    log.append(&checked(&run_of(30, 1)), Placement::Exact, 0)
        .unwrap();
    log.close_idle_file();
    assert_eq!(open_files(&dir), 1, "it is still to be synced");
    log.flush_handle().flush().unwrap();
    log.close_idle_file();
    assert_eq!(open_files(&dir), 0);
    log.append(&checked(&run_of(31, 1)), Placement::Exact, 0)
        .unwrap();
    assert_eq!(log.flush_handle().flush().unwrap(), Offset(32));
    let stored = read_all(&log.reader().snapshot(), Offset(0), 1000);
    assert!(stored == run_of(0, 32));
}

#[test]
fn a_flush_that_outlives_its_log_leaves_the_next_one_in_that_folder_alone() {
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().join("topic-0");
    let open = || Log::open(&folder, small(), 0).unwrap().0;
    let mut log = open();
    let epoch = |epoch| Placement::Next {
        leader_epoch: LeaderEpoch(epoch),
        log_append_time_ms: None,
    };
    log.append(&checked(&batch(3)), epoch(7), 0).unwrap();
    let late = log.flush_handle();
    drop(log);
    fs::rename(&folder, dir.path().join("topic-0.1-delete")).unwrap();
    let mut log = open();
    log.append(&checked(&batch(1)), epoch(2), 0).unwrap();
    late.flush().unwrap();
    drop(log);
    let log = open();
    assert_eq!(log.end(), Offset(1));
    let epochs = log.epochs().entries();
    assert_eq!(epochs.len(), 1);
    assert_eq!(epochs[0].epoch, LeaderEpoch(2));
    assert!(!folder.join("leader-epoch-checkpoint").exists());
}

#[test]
fn a_flush_that_may_open_few_files_goes_on_where_it_ended() {
    let dir = tempfile::tempdir().unwrap();
    let mut log = open(&dir, small());
    log.append(&checked(&run_of(0, 60)), Placement::Exact, 0)
        .unwrap();
    assert!(log.reader().snapshot().segments().len() > 3);
    let flushed = (0..20).find_map(|_| {
        files::tests::set_files_left(4);
        log.flush_handle().flush().ok()
    });
    files::tests::set_files(true);
    assert_eq!(flushed, Some(Offset(60)));
    let before = syncs();
    log.flush_handle().flush().unwrap();
    assert_eq!(syncs(), before, "nothing is left to do");
}

#[test]
fn the_snapshot_of_a_segment_is_synced_also_if_the_segment_before_it_goes_first() {
    let dir = tempfile::tempdir().unwrap();
    let mut log = open(&dir, small());
    log.append(&checked(&run_of(0, 1)), Placement::Exact, 0)
        .unwrap();
    log.flush_handle().flush().unwrap();
    let mut end = 1;
    while log.reader().snapshot().segments().len() == 1 {
        log.append(&checked(&run_of(end, 1)), Placement::Exact, 0)
            .unwrap();
        end += 1;
    }
    let base = log.reader().snapshot().segments()[1].base_offset;
    log.advance_log_start(base).unwrap();
    assert_eq!(bases(&log.reader().snapshot()), [base.0]);
    let before = syncs();
    log.flush_handle().flush().unwrap();
    assert_eq!(syncs() - before, 3, "snapshot, active segment and folder");
}

#[test]
fn a_segment_that_could_not_be_begun_leaves_no_snapshot_past_the_end() {
    for appended in [0, 3] {
        let dir = tempfile::tempdir().unwrap();
        let mut log = open(&dir, LogConfig::default());
        if appended > 0 {
            log.append(&checked(&run_of(0, appended)), Placement::Exact, 0)
                .unwrap();
        }
        files::tests::set_files(false);
        let refused = log.advance_end(Offset(8)).unwrap_err();
        files::tests::set_files(true);
        assert!(matches!(refused, LogError::Exhausted { .. }), "{refused}");
        // The gap is filled after all.
        for sequence in 0..12 {
            let data = transactions::data(1, 0, sequence);
            log.append(&checked(&data), NEXT, 0).unwrap();
        }
        let end = log.end().prev();
        assert_eq!(log.truncate_to(end).unwrap(), end);
        let found = log.producers().get(ProducerId(1)).unwrap();
        assert_eq!(found.last_sequence(), 10);
        assert_eq!(found.transaction_first_offset, Some(Offset(appended)));
    }
}

#[test]
fn aborted_transactions_that_a_power_loss_took_are_not_listed() {
    let dir = tempfile::tempdir().unwrap();
    let mut log = open(&dir, LogConfig::default());
    log.append(&checked(&run_of(0, 5)), Placement::Exact, 0)
        .unwrap();
    let path = log.active.path();
    log.close().unwrap();
    let (marked, batches) = (checkpoint(&dir), fs::read(&path).unwrap());
    let abort = |log: &mut Log| {
        let data = transactions::data(1, 0, 0);
        log.append(&checked(&data), NEXT, 0).unwrap();
        let marker = transactions::marker(1, ControlKind::Abort);
        log.append(&checked(&marker), NEXT, 0).unwrap();
    };
    let mut log = open(&dir, LogConfig::default());
    abort(&mut log);
    drop(log);
    // Of all that, only their index reached the disk.
    fs::write(dir.path().join("carrick.checkpoint"), marked).unwrap();
    fs::write(&path, batches).unwrap();
    let (mut log, recovered) = reopen(&dir, LogConfig::default());
    let aborted = |log: &Log| {
        let found = log.reader().snapshot().aborted(Offset(0), Offset(100));
        found.unwrap().len()
    };
    assert!(!recovered.clean, "until they are on the disk");
    assert_eq!((log.end(), aborted(&log)), (Offset(5), 0));
    abort(&mut log);
    assert_eq!(aborted(&log), 1);
}

#[test]
fn a_truncation_that_was_refused_for_want_of_files_leaves_the_log_also_after_a_restart() {
    let mut refused = 0;
    for files_left in 0..6 {
        let dir = tempfile::tempdir().unwrap();
        let mut log = open(&dir, small());
        log.append(&checked(&run_of(0, 30)), Placement::Exact, 0)
            .unwrap();
        log.flush_handle().flush().unwrap();
        files::tests::set_files_left(files_left);
        let truncated = log.truncate_fully_and_start_at(Offset(50));
        files::tests::set_files(true);
        drop(log);
        let log = open(&dir, small());
        if truncated.is_err_and(|error| error.passes()) {
            refused += 1;
            assert_eq!((log.start(), log.end()), (Offset(0), Offset(30)));
        } else {
            assert_eq!((log.start(), log.end()), (Offset(50), Offset(50)));
        }
    }
    assert!(refused > 0);
}
