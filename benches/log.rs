//! What do an append to and a read from one partition's log cost, without network and protocol?

#![expect(
    clippy::expect_used,
    reason = "a bench that cannot prepare its log has nothing to measure"
)]

use std::hint::black_box;

use carrick_protocol::batch::{BatchBuilder, CheckedBatches};
use carrick_protocol::ids::{LeaderEpoch, Offset};
use carrick_storage::log::{Log, LogConfig, Placement};
use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};

const NOW_MS: i64 = 1_700_000_000_000;
/// Appends to one new log in one measured run.
const APPENDS: u64 = 64;

fn config() -> LogConfig {
    LogConfig {
        segment_max_bytes: 256 * 1024 * 1024,
        ..LogConfig::default()
    }
}

/// One batch of `records` records of 1 KiB.
fn batch(records: usize) -> CheckedBatches {
    let mut builder = BatchBuilder::new();
    for index in 0..records {
        let value = vec![u8::try_from(index % 251).unwrap_or(0); 1024];
        builder = builder.record(NOW_MS, None, Some(&value));
    }
    builder.build_checked()
}

fn next() -> Placement {
    Placement::Next {
        leader_epoch: LeaderEpoch(1),
        log_append_time_ms: None,
    }
}

fn produce(c: &mut Criterion) {
    let mut group = c.benchmark_group("log_append");
    for records in [1, 16, 256] {
        let batch = batch(records);
        group.throughput(Throughput::Bytes(APPENDS * batch.bytes().len() as u64));
        group.bench_function(format!("batch_of_{records}_kib"), |b| {
            let open = || {
                let dir = tempfile::tempdir().expect("a temporary folder");
                let log = Log::open(dir.path(), config(), NOW_MS)
                    .expect("a new log")
                    .0;
                (dir, log)
            };
            b.iter_batched_ref(
                open,
                |(_dir, log)| {
                    for _ in 0..APPENDS {
                        black_box(log.append(&batch, next(), NOW_MS).expect("room"));
                    }
                },
                BatchSize::PerIteration,
            );
        });
    }
    group.finish();
}

fn fetch(c: &mut Criterion) {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let mut log = Log::open(dir.path(), config(), NOW_MS)
        .expect("a new log")
        .0;
    let batch = batch(16);
    while log.size_bytes() < 128 * 1024 * 1024 {
        log.append(&batch, next(), NOW_MS).expect("room");
    }
    let (snapshot, end) = (log.reader().snapshot(), log.end());
    let mut group = c.benchmark_group("log_read");
    for max_bytes in [16 * 1024, 1024 * 1024] {
        group.bench_function(format!("{}_kib_at_any_offset", max_bytes / 1024), |b| {
            let mut at = 0;
            b.iter(|| {
                at = (at + 7919) % (end.0 - 2048);
                black_box(
                    snapshot
                        .read(Offset(at), end, max_bytes, true)
                        .expect("in range"),
                )
            });
        });
    }
    group.finish();
}

criterion_group!(benches, produce, fetch);
criterion_main!(benches);
