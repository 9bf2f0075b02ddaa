//! Random histories of a log, compared after every step with a plain list of batches.

use carrick_protocol::batch::{Batch, ControlKind, ControlMarker, build_marker};
use carrick_protocol::ids::ProducerId;
use proptest::prelude::*;

use super::*;
use crate::testing::{flip_bit, overwrite, tear, zero_tail};

#[derive(Clone, Debug)]
enum Step {
    Next {
        records: i32,
        value_bytes: usize,
        timestamp_ms: i64,
        producer: i64,
        new_epoch: bool,
    },
    Exact {
        batches: i64,
        gap: i64,
        value_bytes: usize,
    },
    Marker {
        producer: i64,
        abort: bool,
    },
    AdvanceEnd {
        by: i64,
    },
    Truncate {
        percent: i64,
    },
    StartOver {
        by: i64,
    },
    AdvanceStart {
        percent: i64,
    },
    HighWatermark {
        percent: i64,
    },
    Retention {
        bytes: i64,
    },
    Flush,
    Close,
    Crash {
        damage: Damage,
        percent: usize,
    },
}

#[derive(Clone, Copy, Debug)]
enum Damage {
    None,
    Tear,
    Zero,
    Flip,
    Garbage,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let damage = prop_oneof![
        Just(Damage::None),
        Just(Damage::Tear),
        Just(Damage::Zero),
        Just(Damage::Flip),
        Just(Damage::Garbage),
    ];
    let percent = 0..=100_i64;
    let next = (
        1..4,
        1..300_usize,
        0..9000_i64,
        -3..3_i64,
        prop::bool::weighted(0.1),
    )
        .prop_map(
            |(records, value_bytes, timestamp_ms, producer, new_epoch)| Step::Next {
                records,
                value_bytes,
                timestamp_ms,
                producer,
                new_epoch,
            },
        );
    let step = prop_oneof![
        16 => next,
        6 => (1..12_i64, 0..4_i64, 1..200_usize)
            .prop_map(|(batches, gap, value_bytes)| Step::Exact { batches, gap, value_bytes }),
        4 => (0..3_i64, any::<bool>())
            .prop_map(|(producer, abort)| Step::Marker { producer, abort }),
        1 => (0..30_i64).prop_map(|by| Step::AdvanceEnd { by }),
        2 => percent.clone().prop_map(|percent| Step::Truncate { percent }),
        1 => (-20..20_i64).prop_map(|by| Step::StartOver { by }),
        1 => percent.clone().prop_map(|percent| Step::AdvanceStart { percent }),
        1 => percent.prop_map(|percent| Step::HighWatermark { percent }),
        1 => (0..9000_i64).prop_map(|bytes| Step::Retention { bytes }),
        2 => Just(Step::Flush),
        1 => Just(Step::Close),
        3 => (damage, 0..=100_usize)
            .prop_map(|(damage, percent)| Step::Crash { damage, percent }),
    ];
    prop::collection::vec(step, 1..50)
}

/// What the log should hold.
#[derive(Default)]
struct Model {
    batches: Vec<(BatchHeader, Vec<u8>)>,
    start: Offset,
    end: Offset,
    epoch: i32,
    /// Whether batches were deleted from the front: what was derived from them may be gone.
    trimmed: bool,
    sequences: [i32; 3],
}

impl Model {
    fn add(&mut self, bytes: &[u8]) {
        for batch in Batches::new(bytes) {
            let batch = batch.unwrap();
            assert!(batch.header.base_offset >= self.end);
            self.end = batch.header.next_offset();
            self.batches.push((batch.header, batch.bytes.to_vec()));
        }
    }

    fn at(&self, percent: i64) -> Offset {
        self.start + (self.end - self.start) * percent / 100
    }

    fn readable(&self) -> Vec<u8> {
        let readable = self
            .batches
            .iter()
            .filter(|(h, _)| h.next_offset() > self.start);
        readable
            .flat_map(|(_, bytes)| bytes.iter().copied())
            .collect()
    }

    fn clear(&mut self, at: Offset) {
        self.batches.clear();
        (self.start, self.end, self.trimmed) = (at, at, false);
    }
}

struct Run {
    dir: TempDir,
    config: LogConfig,
    log: Option<Log>,
    model: Model,
}

impl Run {
    fn new() -> Run {
        let dir = tempfile::tempdir().unwrap();
        let config = LogConfig {
            retention_ms: None,
            segment_max_bytes: 3000,
            ..small()
        };
        let log = Some(open(&dir, config));
        Run {
            dir,
            config,
            log,
            model: Model::default(),
        }
    }

    fn step(&mut self, step: &Step) {
        let (log, model) = (self.log.as_mut().unwrap(), &mut self.model);
        match *step {
            Step::Next {
                records,
                value_bytes,
                timestamp_ms,
                producer,
                new_epoch,
            } => {
                model.epoch += i32::from(new_epoch);
                let bytes = made(model, records, value_bytes, timestamp_ms, producer);
                append_next(log, model, &bytes);
            }
            Step::Marker { producer, abort } => {
                let kind = if abort {
                    ControlKind::Abort
                } else {
                    ControlKind::Commit
                };
                let marker = build_marker(kind, ProducerId(producer), 0, 5, 9000);
                append_next(log, model, marker.bytes());
            }
            Step::Exact {
                batches,
                gap,
                value_bytes,
            } => {
                append_exact(log, model, batches, gap, value_bytes);
            }
            Step::AdvanceEnd { by } => {
                model.end = model.end + by;
                log.advance_end(model.end).unwrap();
            }
            Step::Truncate { percent } => truncate(log, model, percent),
            Step::StartOver { by } => {
                let at = Offset((model.end.0 + by).max(0));
                log.truncate_fully_and_start_at(at).unwrap();
                model.clear(at);
            }
            Step::AdvanceStart { percent } => {
                let to = model.at(percent);
                model.trimmed |= to > model.start;
                model.start = to;
                assert_eq!(log.advance_log_start(to).unwrap(), to);
            }
            Step::HighWatermark { percent } => {
                log.set_high_watermark(model.at(percent));
            }
            Step::Retention { bytes } => {
                log.set_config(LogConfig {
                    retention_bytes: Some(bytes),
                    ..self.config
                });
                retain(log, model);
            }
            Step::Flush => {
                let durable = log.flush_handle().flush().unwrap();
                assert_eq!(durable, model.end);
                assert_eq!(log.flush_handle().durable_end(), model.end);
            }
            Step::Close => {
                self.log.take().unwrap().close().unwrap();
                let (log, recovered) = reopen(&self.dir, self.config);
                assert!(recovered.clean, "{recovered:?}");
                self.log = Some(log);
            }
            Step::Crash { damage, percent } => self.crash(damage, percent),
        }
    }

    /// Drops the log, damages its last segment past the durable end, and opens it.
    fn crash(&mut self, damage: Damage, percent: usize) {
        let log = self.log.take().unwrap();
        let durable = log.flush_handle().durable_end();
        let last = log.reader().snapshot().segments().pop().unwrap();
        drop(log);
        let model = &mut self.model;
        let in_last = |h: &BatchHeader| h.base_offset >= last.base_offset;
        let sizes = model.batches.iter().filter(|(h, _)| in_last(h));
        let ends: Vec<(usize, Offset)> = sizes
            .scan(0, |at, (h, bytes)| {
                *at += bytes.len();
                Some((*at, h.next_offset()))
            })
            .collect();
        let size = last.size_bytes as usize;
        assert_eq!(ends.last().map_or(0, |e| e.0), size);
        let durable_at = ends.iter().rfind(|e| e.1 <= durable).map_or(0, |e| e.0);
        let at = durable_at + (size - durable_at) * percent / 100;
        let good = match damage {
            Damage::None => size,
            Damage::Tear => {
                tear(&last.path, at as u64).unwrap();
                at
            }
            Damage::Zero => {
                zero_tail(&last.path, at as u64).unwrap();
                // A batch whose last bytes are zeros loses nothing by it.
                let lost = std::fs::read(&last.path).unwrap();
                let whole = model.batches.iter().filter(|(h, _)| in_last(h));
                let stored: Vec<u8> = whole.flat_map(|(_, b)| b.iter().copied()).collect();
                lost.iter()
                    .zip(&stored)
                    .position(|(a, b)| a != b)
                    .unwrap_or(size)
            }
            Damage::Flip if at < size => {
                let start = ends.iter().rfind(|e| e.0 <= at).map_or(0, |e| e.0);
                // Base offset and epoch are not covered by the CRC.
                let at = if at - start < 16 { start + 16 } else { at };
                flip_bit(&last.path, at as u64, (percent % 8) as u8).unwrap();
                at
            }
            Damage::Flip => size,
            Damage::Garbage => {
                overwrite(&last.path, size as u64, &[0x5a; 300]).unwrap();
                size
            }
        };
        let kept = ends.iter().filter(|e| e.0 <= good).count();
        if kept < ends.len() {
            model.end = if kept == 0 {
                last.base_offset
            } else {
                ends[kept - 1].1
            };
        }
        model.batches.retain(|(h, _)| h.next_offset() <= model.end);
        assert!(
            model.end >= durable || durable <= model.start,
            "what is durable is kept"
        );
        if model.start > model.end {
            model.clear(model.start);
        }
        self.log = Some(open(&self.dir, self.config));
    }

    fn check(&self, seed: usize) {
        let (log, model) = (self.log.as_ref().unwrap(), &self.model);
        let snapshot = log.reader().snapshot();
        assert_eq!((log.start(), log.end()), (model.start, model.end));
        assert_eq!(
            (snapshot.log_start(), snapshot.end()),
            (model.start, model.end)
        );
        assert_eq!(
            read_all(&snapshot, model.start, 1 + seed * 97 % 2500),
            model.readable()
        );
        assert_eq!(snapshot.size_bytes(), log.size_bytes());
        let (stable, high) = (snapshot.last_stable(), snapshot.high_watermark());
        assert!(model.start <= stable && stable <= high && high <= model.end);
        assert!(log.flush_handle().durable_end() <= model.end);
        if !model.trimmed {
            self.check_derived(log, &snapshot);
        }
    }

    /// Epochs, producers and aborted transactions are those of the batches.
    fn check_derived(&self, log: &Log, snapshot: &Snapshot) {
        let (mut epochs, mut producers) = (EpochHistory::default(), Producers::new());
        let mut aborted = Vec::new();
        for (header, bytes) in &self.model.batches {
            epochs.assign(header.leader_epoch, header.base_offset);
            let body = Batch::parse(bytes).unwrap().body();
            let marker = ControlMarker::read(header, body).unwrap();
            aborted.extend(producers.apply(header, marker, 0));
        }
        assert_eq!(log.epochs(), &epochs);
        assert_eq!(log.open_transactions(), producers.open_transactions());
        assert_eq!(
            snapshot.aborted(self.model.start, self.model.end).unwrap(),
            aborted
        );
        let sorted = |producers: &Producers| {
            let mut entries: Vec<String> = producers
                .entries()
                .map(|entry| format!("{entry:?}"))
                .collect();
            entries.sort();
            entries
        };
        assert_eq!(sorted(log.producers()), sorted(&producers));
    }
}

/// A batch of a plain (below 0) or transactional producer.
fn made(
    model: &mut Model,
    records: i32,
    value_bytes: usize,
    timestamp_ms: i64,
    producer: i64,
) -> Vec<u8> {
    let mut builder = BatchBuilder::new();
    if let Ok(at) = usize::try_from(producer) {
        builder = builder.producer(ProducerId(producer), 0, model.sequences[at]);
        builder = builder.transactional(true);
        model.sequences[at] += records;
    }
    for n in 0..i64::from(records) {
        builder.push(
            timestamp_ms + n,
            Some(b"key"),
            Some(&vec![2; value_bytes]),
            &[],
        );
    }
    builder.build().to_vec()
}

fn append_next(log: &mut Log, model: &mut Model, bytes: &[u8]) {
    let leader_epoch = LeaderEpoch(model.epoch);
    let placement = Placement::Next {
        leader_epoch,
        log_append_time_ms: None,
    };
    let appended = log.append(&checked(bytes), placement, 0).unwrap();
    assert_eq!(appended.first_offset, model.end);
    let mut patched = bytes.to_vec();
    carrick_protocol::batch::set_base_offset(&mut patched, model.end);
    carrick_protocol::batch::set_leader_epoch(&mut patched, leader_epoch);
    model.add(&patched);
    assert_eq!(appended.next_offset, model.end);
}

fn append_exact(log: &mut Log, model: &mut Model, batches: i64, gap: i64, value_bytes: usize) {
    let mut run = Vec::new();
    let mut base = model.end;
    for n in 0..batches {
        base = base + gap * (n % 3);
        let builder = BatchBuilder::new().base_offset(base);
        let builder = builder.leader_epoch(LeaderEpoch(model.epoch));
        run.extend_from_slice(
            &builder
                .record(n * 7, None, Some(&vec![1; value_bytes]))
                .build(),
        );
        base = base.next();
    }
    let appended = log.append(&checked(&run), Placement::Exact, 0).unwrap();
    model.add(&run);
    assert_eq!(appended.next_offset, model.end);
}

fn retain(log: &mut Log, model: &mut Model) {
    let start = log.apply_retention(0).unwrap();
    log.delete_below_start();
    assert!(start >= model.start && start <= log.high_watermark());
    model.trimmed |= start > model.start;
    model.start = start;
}

fn truncate(log: &mut Log, model: &mut Model, percent: i64) {
    let to = model.at(percent);
    let end = log.truncate_to(to).unwrap();
    if to >= model.end {
        return assert_eq!(end, model.end);
    }
    assert!(end <= to);
    if log.size_bytes() == 0 && log.start() == end {
        return model.clear(end);
    }
    model.batches.retain(|(h, _)| h.next_offset() <= to);
    assert!(
        model
            .batches
            .last()
            .is_none_or(|(h, _)| h.next_offset() <= end)
    );
    model.end = end;
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]
    #[test]
    fn a_log_is_what_a_list_of_batches_is(steps in steps()) {
        let mut run = Run::new();
        for (number, step) in steps.iter().enumerate() {
            run.step(step);
            run.check(number);
        }
    }
}
