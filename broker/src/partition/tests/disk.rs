//! Who waits for the disk, and what is seen before it has what was written.

use super::*;

fn log_files(it: &Fixture) -> usize {
    let folder = std::fs::read_dir(it.dir.path().join("t-0")).unwrap();
    let names = folder.map(|entry| entry.unwrap().file_name());
    let is_log = |name: &std::ffi::OsString| name.to_string_lossy().ends_with(".log");
    names.filter(is_log).count()
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
            .mirror_append(&lease(1), &bytes, Offset(20))
            .unwrap();
    }
    let before = log_files(&it);
    it.partition.mirror_trim_to(&lease(1), Offset(15)).unwrap();
    assert_eq!(it.partition.snapshot().log_start(), Offset(15));
    assert_eq!(log_files(&it), before, "it does not wait for the disk");
    while log_files(&it) == before {
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
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
