//! Who waits for the disk, and what readers see before written data is on it.

use super::*;
use crate::testing::until;

fn log_files(it: &Fixture) -> usize {
    let folder = std::fs::read_dir(it.dir.path().join("t-0")).unwrap();
    let names = folder.map(|entry| entry.unwrap().file_name());
    let is_log = |name: &std::ffi::OsString| name.to_string_lossy().ends_with(".log");
    names.filter(is_log).count()
}

/// Mappings of files that have no name any more: they take space on the disk.
fn deleted_and_mapped(it: &Fixture) -> usize {
    let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
    let folder = it.dir.path().to_str().unwrap();
    let is_one = |line: &&str| line.contains(folder) && line.ends_with("(deleted)");
    maps.lines().filter(is_one).count()
}

/// From now on the epochs of the partition find no room on the disk.
fn fill_disk(it: &Fixture) {
    let temporary = it.dir.path().join("t-0/leader-epoch-checkpoint.tmp");
    std::os::unix::fs::symlink("/dev/full", temporary).unwrap();
}

#[tokio::test]
async fn what_a_mirror_trims_goes_once_its_log_start_is_on_the_disk() {
    let it = open_in(
        tempfile::tempdir().unwrap(),
        true,
        &[("internal.segment.bytes", "4096")],
    );
    it.partition.mirror_open(&lease(1)).unwrap();
    let large = "x".repeat(1500);
    for offset in 0..20 {
        let bytes = sourced(offset, 0, &[&large]);
        it.partition
            .mirror_append(&lease(1), &checked(&bytes), Offset(20))
            .unwrap();
    }
    let before = log_files(&it);
    it.partition.mirror_trim_to(&lease(1), Offset(15)).unwrap();
    assert_eq!(it.partition.snapshot().log_start(), Offset(15));
    assert_eq!(log_files(&it), before, "it does not wait for the disk");
    until("files go", || log_files(&it) < before).await;
    until("their space is free", || deleted_and_mapped(&it) == 0).await;
    it.partition.abandon();
    let it = open_in(it.dir, true, &[]);
    assert_eq!(it.partition.snapshot().log_start(), Offset(15));
}

#[tokio::test]
async fn the_first_record_after_a_clean_stop_is_seen_when_a_crash_would_show() {
    let background = [("flush.ms", "3600000")];
    let it = local(&background);
    it.produce(&batch(&["a"])).unwrap();
    it.partition.close().unwrap();
    let it = open_in(it.dir, false, &background);
    let watch = Watch::default();
    it.partition.watchers().register(&watch);
    it.produce(&batch(&["b"])).unwrap();
    // Long before the hour is over.
    while it.partition.snapshot().high_watermark() < Offset(2) {
        watch.moved().await;
    }
    assert!(it.durable_end() >= Offset(2));
    it.produce(&batch(&["c"])).unwrap();
    assert_eq!(it.partition.snapshot().high_watermark(), Offset(3));
    assert!(it.durable_end() < Offset(3), "that one is not waited for");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn deleted_records_free_their_segments_before_the_answer() {
    let it = local(&[("internal.segment.bytes", "4096")]);
    let large = "x".repeat(1500);
    for _ in 0..20 {
        it.produce_durably(&batch(&[&large])).await.unwrap();
    }
    let before = log_files(&it);
    assert_eq!(it.partition.delete_records(None).unwrap(), Offset(20));
    assert!(log_files(&it) < before);
    it.partition.abandon();
    let it = open_in(it.dir, false, &[]);
    assert_eq!(it.partition.snapshot().log_start(), Offset(20));
}

#[tokio::test]
async fn a_full_disk_gets_the_space_of_deleted_records() {
    let it = local(&[("internal.segment.bytes", "4096")]);
    let large = "x".repeat(1500);
    for epoch in 0..20 {
        it.partition.raise_leader_epoch(LeaderEpoch(epoch));
        it.produce_durably(&batch(&[&large])).await.unwrap();
    }
    let before = log_files(&it);
    fill_disk(&it);
    assert_eq!(
        it.partition.delete_records(Some(Offset(15))).unwrap(),
        Offset(15)
    );
    assert!(log_files(&it) < before);
}

#[tokio::test]
async fn a_full_disk_gets_the_space_of_old_segments_though_the_last_one_cannot_be_rolled() {
    let it = local(&[("internal.segment.bytes", "4096"), ("retention.ms", "1000")]);
    let large = "x".repeat(1500);
    for _ in 0..20 {
        it.produce_durably(&batch(&[&large])).await.unwrap();
    }
    let last = it
        .partition
        .snapshot()
        .segments()
        .pop()
        .unwrap()
        .base_offset;
    let snapshot = it.dir.path().join("t-0/00000000000000000020.snapshot");
    std::os::unix::fs::symlink("/dev/full", snapshot).unwrap();
    let later = now_ms() + 3_600_000;
    it.partition.apply_retention(later).unwrap_err();
    assert_eq!(it.partition.snapshot().log_start(), last);
    assert_eq!(log_files(&it), 1);
    it.partition.apply_retention(later).unwrap();
    assert_eq!(it.partition.snapshot().log_start(), Offset(20));
}

#[tokio::test]
async fn a_full_disk_gets_the_space_of_what_a_mirror_trims() {
    let overrides = [("internal.segment.bytes", "4096")];
    let it = open_in(tempfile::tempdir().unwrap(), true, &overrides);
    it.partition.mirror_open(&lease(1)).unwrap();
    let large = "x".repeat(1500);
    for offset in 0..20 {
        let bytes = sourced(offset, i32::try_from(offset).unwrap(), &[&large]);
        it.partition
            .mirror_append(&lease(1), &checked(&bytes), Offset(20))
            .unwrap();
    }
    until("all is flushed", || it.durable_end() == Offset(20)).await;
    let before = log_files(&it);
    fill_disk(&it);
    it.partition.mirror_trim_to(&lease(1), Offset(15)).unwrap();
    let is_gone = || log_files(&it) < before && deleted_and_mapped(&it) == 0;
    until("files and their space go", is_gone).await;
}

#[tokio::test]
async fn with_background_flushing_a_full_segment_is_flushed_at_once() {
    let it = local(&[("flush.ms", "3600000"), ("internal.segment.bytes", "4096")]);
    let large = "x".repeat(1500);
    while it.partition.snapshot().segments().len() == 1 {
        it.produce(&batch(&[&large])).unwrap();
    }
    let rolled = it.partition.snapshot().segments()[1].base_offset;
    until("the roll is flushed", || it.durable_end() >= rolled).await;
}
