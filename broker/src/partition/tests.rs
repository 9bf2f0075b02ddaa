//! Stories of one partition: produced to, mirrored, cut.

use std::collections::BTreeMap;

use bytes::Bytes;
use carrick_link::record::LinkName;
use carrick_protocol::batch::{BatchBuilder, Batches, ProducedBatchError};
use carrick_protocol::error_code::ErrorCode;
use carrick_protocol::ids::{ProducerId, TopicName};
use carrick_storage::log::SequenceError;
use proptest::prelude::*;
use tempfile::TempDir;

mod codecs;
mod disk;

use super::*;
use crate::api::error::partition_code;
use crate::clock::now_ms;
use crate::config::Values;
use crate::testing::{append, batch, checked, idempotent};

struct Fixture {
    partition: Arc<Partition>,
    dir: TempDir,
}

fn config(overrides: &[(&str, &str)]) -> Arc<TopicConfig> {
    let broker = Values::new(BTreeMap::new()).unwrap();
    let own = overrides
        .iter()
        .map(|(n, v)| ((*n).to_owned(), (*v).to_owned()))
        .collect();
    Arc::new(TopicConfig::resolve(&own, &broker))
}

fn open_in(dir: TempDir, is_mirror: bool, overrides: &[(&str, &str)]) -> Fixture {
    let (partition, _) = Partition::open(Opening {
        id: TopicPartition::new(TopicName::new("t").unwrap(), 0),
        dir: &dir.path().join("t-0"),
        config: config(overrides),
        leader_epoch: LeaderEpoch(0),
        is_mirror,
        flusher: Arc::new(Flusher::start(1).unwrap()),
        now_ms: now_ms(),
    })
    .unwrap();
    Fixture { partition, dir }
}

fn local(overrides: &[(&str, &str)]) -> Fixture {
    open_in(tempfile::tempdir().unwrap(), false, overrides)
}

fn mirror() -> Fixture {
    open_in(tempfile::tempdir().unwrap(), true, &[])
}

fn lease(epoch: u64) -> Lease {
    Lease {
        link: LinkName::new("l").unwrap(),
        epoch,
    }
}

impl Fixture {
    fn produce(&self, batch: &Bytes) -> Result<Produced, PartitionError> {
        append(&self.partition, batch, now_ms())
    }

    fn durable_end(&self) -> Offset {
        self.partition.flush.as_ref().unwrap().durable_end()
    }

    async fn produce_durably(&self, batch: &Bytes) -> Result<Offset, PartitionError> {
        match append(&self.partition, batch, now_ms())? {
            Produced::Done(appended) => Ok(appended.base_offset),
            Produced::Flushing(pending) => Ok(pending.durable().await?.base_offset),
        }
    }
}

/// A batch as a source holds it.
fn sourced(base: i64, epoch: i32, values: &[&str]) -> Bytes {
    let mut builder = BatchBuilder::new()
        .base_offset(Offset(base))
        .leader_epoch(LeaderEpoch(epoch));
    for value in values {
        builder = builder.record(now_ms(), None, Some(value.as_bytes()));
    }
    builder.build().freeze()
}

#[tokio::test]
async fn what_is_acked_by_all_is_durable_and_readable() {
    let it = local(&[]);
    assert_eq!(
        it.produce_durably(&batch(&["a", "b"])).await.unwrap(),
        Offset(0)
    );
    assert_eq!(it.produce_durably(&batch(&["c"])).await.unwrap(), Offset(2));
    assert_eq!(it.partition.snapshot().high_watermark(), Offset(3));
    assert_eq!(it.durable_end(), Offset(3));
}

#[tokio::test]
async fn an_append_with_acks_1_becomes_readable_by_itself() {
    let it = local(&[]);
    let watch = Watch::default();
    it.partition.watchers().register(&watch);
    it.produce(&batch(&["a"])).unwrap();
    while it.partition.snapshot().high_watermark() < Offset(1) {
        watch.moved().await;
    }
}

#[tokio::test]
async fn with_background_flushing_nobody_waits_for_the_disk() {
    let it = local(&[("flush.messages", "100")]);
    let produced = append(&it.partition, &batch(&["a"]), now_ms()).unwrap();
    assert!(matches!(produced, Produced::Done(_)));
    assert_eq!(it.partition.snapshot().high_watermark(), Offset(1));
    assert_eq!(it.durable_end(), Offset(0));
}

#[tokio::test]
async fn a_retry_of_any_of_the_last_five_batches_gets_its_first_offset() {
    let it = local(&[]);
    for sequence in 0..5 {
        it.produce_durably(&idempotent(7, 0, sequence, &["x"]))
            .await
            .unwrap();
    }
    for sequence in 0..5 {
        let offset = it
            .produce_durably(&idempotent(7, 0, sequence, &["x"]))
            .await
            .unwrap();
        assert_eq!(offset, Offset(i64::from(sequence)));
    }
    assert_eq!(it.partition.snapshot().end(), Offset(5));
    let gap = it.produce(&idempotent(7, 0, 9, &["x"])).unwrap_err();
    assert!(matches!(
        gap,
        PartitionError::Sequence(SequenceError::OutOfOrder { .. })
    ));
    it.produce_durably(&idempotent(7, 1, 0, &["x"]))
        .await
        .unwrap();
    let old = it.produce(&idempotent(7, 0, 5, &["x"])).unwrap_err();
    assert!(matches!(
        old,
        PartitionError::Sequence(SequenceError::Fenced { .. })
    ));
}

#[tokio::test]
async fn retries_are_recognized_after_a_restart() {
    let it = local(&[]);
    it.produce_durably(&idempotent(7, 0, 0, &["x", "y"]))
        .await
        .unwrap();
    it.partition.close().unwrap();
    let it = open_in(it.dir, false, &[]);
    let offset = it
        .produce_durably(&idempotent(7, 0, 0, &["x", "y"]))
        .await
        .unwrap();
    assert_eq!(offset, Offset(0));
    assert_eq!(it.partition.snapshot().end(), Offset(2));
}

#[test]
fn batches_that_break_a_rule_are_refused_and_nothing_is_written() {
    let it = local(&[
        ("max.message.bytes", "200"),
        ("message.timestamp.after.max.ms", "1000"),
    ]);
    let error = |batch: &Bytes| it.produce(batch).unwrap_err();
    assert!(matches!(error(&Bytes::new()), PartitionError::NoBatch));
    let large = "x".repeat(300);
    assert!(matches!(
        error(&batch(&[&large])),
        PartitionError::TooLarge { .. }
    ));
    let two = Bytes::from([batch(&["a"]), batch(&["b"])].concat());
    assert!(matches!(error(&two), PartitionError::TrailingBytes { .. }));
    let mut corrupt = batch(&["a"]).to_vec();
    *corrupt.last_mut().unwrap() ^= 1;
    assert!(matches!(
        error(&corrupt.into()),
        PartitionError::Produced(_)
    ));
    let future = BatchBuilder::new()
        .record(now_ms() + 60_000, None, None)
        .build()
        .freeze();
    let refused = error(&future);
    assert!(matches!(
        &refused,
        PartitionError::Produced(ProducedBatchError::Records(bad)) if bad.len() == 1
    ));
    assert_eq!(partition_code(&refused), ErrorCode::INVALID_TIMESTAMP);
    let transactional = BatchBuilder::new()
        .producer(ProducerId(1), 0, 0)
        .transactional(true)
        .record(now_ms(), None, None)
        .build()
        .freeze();
    assert!(matches!(
        error(&transactional),
        PartitionError::Transactional
    ));
    assert_eq!(it.partition.snapshot().end(), Offset(0));
}

#[test]
fn a_compacted_topic_wants_keys() {
    let it = local(&[("cleanup.policy", "compact")]);
    assert!(matches!(
        it.produce(&batch(&["a"])),
        Err(PartitionError::Produced(_))
    ));
}

#[tokio::test]
async fn log_append_time_is_stamped_and_told() {
    let it = local(&[("message.timestamp.type", "LogAppendTime")]);
    let produced = append(&it.partition, &batch(&["a"]), 12_345).unwrap();
    let Produced::Flushing(pending) = produced else {
        panic!("nothing to flush")
    };
    assert_eq!(pending.appended.log_append_time_ms, 12_345);
    let log = it.partition.snapshot();
    let stored = log.read(Offset(0), Offset(1), 1000, true).unwrap();
    let first = Batches::new(&stored).next().unwrap().unwrap();
    first.verify_crc().unwrap();
    assert_eq!(first.header.max_timestamp_ms, 12_345);
}

#[tokio::test]
async fn deleted_records_move_the_log_start_and_no_further_than_the_high_watermark() {
    let it = local(&[]);
    it.produce_durably(&batch(&["a", "b", "c"])).await.unwrap();
    assert_eq!(
        it.partition.delete_records(Some(Offset(2))).unwrap(),
        Offset(2)
    );
    assert!(matches!(
        it.partition.delete_records(Some(Offset(4))),
        Err(PartitionError::OutOfRange { .. })
    ));
    assert_eq!(it.partition.delete_records(None).unwrap(), Offset(3));
}

#[tokio::test]
async fn a_mirror_takes_bytes_from_its_link_only() {
    let it = mirror();
    it.partition.mirror_open(&lease(1)).unwrap();
    let first = sourced(5, 3, &["a", "b"]);
    assert_eq!(
        it.partition
            .mirror_append(&lease(1), &checked(&first), Offset(6))
            .unwrap(),
        Offset(7)
    );
    let log = it.partition.snapshot();
    assert_eq!((log.high_watermark(), log.end()), (Offset(6), Offset(7)));
    assert_eq!(log.read(Offset(5), Offset(7), 1000, true).unwrap(), first);
    assert_eq!(it.partition.leader_epoch(), LeaderEpoch(3));
    let refused = it.produce(&batch(&["x"])).unwrap_err();
    assert_eq!(
        refused.to_string(),
        "Cannot append records to read-only mirror topic 't'"
    );
    assert!(matches!(
        it.partition.delete_records(None),
        Err(PartitionError::ReadOnlyMirror { .. })
    ));
}

#[tokio::test]
async fn a_newer_lease_fences_the_older_and_nothing_is_written() {
    let it = mirror();
    it.partition.mirror_open(&lease(1)).unwrap();
    it.partition.mirror_open(&lease(2)).unwrap();
    let bytes = sourced(0, 0, &["a"]);
    let late = it
        .partition
        .mirror_append(&lease(1), &checked(&bytes), Offset(1));
    assert!(matches!(late, Err(PartitionError::LeaseFenced)));
    assert!(matches!(
        it.partition.mirror_open(&lease(1)),
        Err(PartitionError::LeaseFenced)
    ));
    assert_eq!(it.partition.snapshot().end(), Offset(0));
    it.partition
        .mirror_append(&lease(2), &checked(&bytes), Offset(1))
        .unwrap();
}

#[tokio::test]
async fn a_mirrors_epochs_and_offsets_never_go_back() {
    let it = mirror();
    it.partition.mirror_open(&lease(1)).unwrap();
    it.partition
        .mirror_append(&lease(1), &checked(&sourced(0, 5, &["a"])), Offset(1))
        .unwrap();
    let epoch = it
        .partition
        .mirror_append(&lease(1), &checked(&sourced(1, 4, &["b"])), Offset(2));
    assert!(matches!(epoch, Err(PartitionError::EpochWentBack { .. })));
    let offset = it
        .partition
        .mirror_append(&lease(1), &checked(&sourced(0, 5, &["b"])), Offset(2));
    assert!(matches!(
        offset,
        Err(PartitionError::Log(LogError::NonMonotonic { .. }))
    ));
    assert_eq!(it.partition.snapshot().end(), Offset(1));
    assert!(matches!(it.partition.mode(), Mode::Mirror { .. }));
}

#[tokio::test]
async fn a_cut_fences_aborts_bumps_and_opens_only_when_told() {
    let it = mirror();
    it.partition.mirror_open(&lease(1)).unwrap();
    let open = BatchBuilder::new()
        .leader_epoch(LeaderEpoch(8))
        .producer(ProducerId(77), 3, 0)
        .transactional(true)
        .record(now_ms(), None, Some(b"uncommitted"))
        .build()
        .freeze();
    it.partition
        .mirror_append(&lease(1), &checked(&open), Offset(1))
        .unwrap();
    assert_eq!(it.partition.snapshot().last_stable(), Offset(0));
    assert_eq!(it.partition.cut_dry_run().unwrap().aborted.len(), 1);

    let cut = it.partition.cut(now_ms()).unwrap();
    assert_eq!((cut.mirror_end, cut.end), (Offset(1), Offset(2)));
    assert_eq!(
        (cut.leader_epoch, cut.max_producer_id),
        (LeaderEpoch(9), ProducerId(77))
    );
    let log = it.partition.snapshot();
    assert_eq!(
        (log.last_stable(), log.high_watermark()),
        (Offset(2), Offset(2))
    );
    assert_eq!(log.aborted(Offset(0), Offset(2)).unwrap().len(), 1);
    let late =
        it.partition
            .mirror_append(&lease(1), &checked(&sourced(2, 8, &["late"])), Offset(3));
    assert!(matches!(late, Err(PartitionError::LeaseFenced)));
    assert!(matches!(
        it.produce(&batch(&["early"])),
        Err(PartitionError::ReadOnlyMirror { .. })
    ));

    let again = it.partition.cut(now_ms()).unwrap();
    assert!(again.aborted.is_empty() && again.end == Offset(2));
    it.partition.open_for_writes();
    assert_eq!(
        it.produce_durably(&batch(&["now"])).await.unwrap(),
        Offset(2)
    );
    let zombie = it.produce(&idempotent(77, 3, 1, &["zombie"])).unwrap_err();
    assert!(matches!(
        zombie,
        PartitionError::Sequence(SequenceError::Fenced { .. })
    ));
    assert!(matches!(
        it.partition.cut(now_ms()),
        Err(PartitionError::NotAMirror)
    ));
}

#[tokio::test]
async fn leader_epochs_are_checked_and_their_ends_known() {
    let it = local(&[]);
    it.produce_durably(&batch(&["a", "b"])).await.unwrap();
    it.partition.raise_leader_epoch(LeaderEpoch(4));
    let known = |epoch| it.partition.check_reader(LeaderEpoch(epoch));
    assert!(known(-1).is_ok() && known(4).is_ok());
    assert!(matches!(known(3), Err(PartitionError::FencedEpoch { .. })));
    assert!(matches!(known(5), Err(PartitionError::UnknownEpoch { .. })));
    let end = |epoch| it.partition.leader_epoch_end(LeaderEpoch(epoch));
    assert_eq!(end(0), Some((LeaderEpoch(0), Offset(2))));
    assert_eq!(end(3), Some((LeaderEpoch(0), Offset(2))));
    assert_eq!(end(4), Some((LeaderEpoch(4), Offset(2))));
    assert_eq!(end(5), None);
}

#[tokio::test]
async fn a_closed_partition_refuses_and_its_readers_keep_what_they_have() {
    let it = local(&[]);
    it.produce_durably(&batch(&["a"])).await.unwrap();
    let log = it.partition.snapshot();
    it.partition.close().unwrap();
    it.partition.close().unwrap();
    assert!(matches!(
        it.produce(&batch(&["b"])),
        Err(PartitionError::Closed)
    ));
    assert!(
        !log.read(Offset(0), Offset(1), 1000, true)
            .unwrap()
            .is_empty()
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]
    #[test]
    fn no_bytes_from_a_client_make_it_panic(
        mut bytes in prop::collection::vec(any::<u8>(), 0..200),
        honest_length in any::<bool>(),
    ) {
        let it = local(&[]);
        if bytes.len() > 61 && honest_length {
            let length = u32::try_from(bytes.len() - 12).unwrap();
            bytes[8..12].copy_from_slice(&length.to_be_bytes());
            bytes[16] = 2;
        }
        prop_assert!(it.produce(&bytes.into()).is_err());
    }
}

#[tokio::test]
async fn with_an_interval_records_reach_the_disk_after_it() {
    let it = local(&[("flush.ms", "5")]);
    it.produce(&batch(&["a"])).unwrap();
    while it.durable_end() < Offset(1) {
        tokio::time::sleep(std::time::Duration::from_millis(1)).await;
    }
    it.produce(&batch(&["b"])).unwrap();
    while it.durable_end() < Offset(2) {
        tokio::time::sleep(std::time::Duration::from_millis(1)).await;
    }
}

#[tokio::test]
async fn mirrored_records_reach_the_disk_without_being_asked() {
    let it = mirror();
    it.partition.mirror_open(&lease(1)).unwrap();
    it.partition
        .mirror_append(&lease(1), &checked(&sourced(0, 0, &["a"])), Offset(1))
        .unwrap();
    while it.durable_end() < Offset(1) {
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn retention_deletes_from_local_logs_and_leaves_mirrors_to_their_link() {
    let small = [
        ("internal.segment.bytes", "4096"),
        ("retention.bytes", "5000"),
    ];
    let large = "x".repeat(1500);
    let it = local(&small);
    for _ in 0..10 {
        it.produce_durably(&batch(&[&large])).await.unwrap();
    }
    it.partition.apply_retention(now_ms()).unwrap();
    let log = it.partition.snapshot();
    assert!(log.log_start() > Offset(0) && log.size_bytes() < 12_000);

    let it = open_in(tempfile::tempdir().unwrap(), true, &small);
    it.partition.mirror_open(&lease(1)).unwrap();
    for offset in 0..10 {
        let bytes = sourced(offset, 0, &[&large]);
        it.partition
            .mirror_append(&lease(1), &checked(&bytes), Offset(10))
            .unwrap();
    }
    it.partition.apply_retention(now_ms()).unwrap();
    assert_eq!(it.partition.snapshot().log_start(), Offset(0));
    it.partition.mirror_trim_to(&lease(1), Offset(7)).unwrap();
    assert_eq!(it.partition.snapshot().log_start(), Offset(7));
    assert!(it.partition.mirror_trim_to(&lease(1), Offset(11)).is_err());
    it.partition
        .mirror_truncate_to(&lease(1), Offset(9))
        .unwrap();
    assert_eq!(it.partition.snapshot().end(), Offset(9));
    it.partition.mirror_skip_to(&lease(1), Offset(20)).unwrap();
    assert_eq!(it.partition.mirror_position().next_offset, Offset(20));
}
