//! Random histories of records, transactions, cleanings, crashes and restarts, against a model
//! that knows every record ever written and says from the rules alone which must be there.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use carrick_protocol::batch::{Compression, ControlKind, build_marker};
use proptest::prelude::*;

use super::*;

const DAY_MS: i64 = 1_000;

#[derive(Clone, Debug)]
enum Op {
    /// Keys with values (or tombstones) by a producer: 0 is none, from 4 on transactional.
    Write {
        producer: u8,
        records: Vec<(Option<u8>, bool)>,
        codec: i16,
        hole: i32,
    },
    /// Ends the transaction of a producer, if it has one; the epoch may rise.
    End {
        producer: u8,
        commit: bool,
        bump: bool,
    },
    Wait {
        ms: i64,
    },
    Clean {
        keys: usize,
        dies_after: Option<u32>,
    },
    Restart {
        clean: bool,
    },
}

fn op() -> impl Strategy<Value = Op> {
    let record = (prop::option::weighted(0.95, 0u8..9), any::<bool>());
    prop_oneof![
        8 => (0u8..7, prop::collection::vec(record, 1..5), 0i16..5, prop_oneof![9 => Just(0), 1 => 1..3])
            .prop_map(|(producer, records, codec, hole)| Op::Write { producer, records, codec, hole }),
        4 => (4u8..7, any::<bool>(), any::<bool>())
            .prop_map(|(producer, commit, bump)| Op::End { producer, commit, bump }),
        2 => (0i64..2 * DAY_MS).prop_map(|ms| Op::Wait { ms }),
        3 => (prop_oneof![2 => 1usize..8, 3 => Just(1000)], prop::option::weighted(0.3, 0u32..14))
            .prop_map(|(keys, dies_after)| Op::Clean { keys, dies_after }),
        1 => any::<bool>().prop_map(|clean| Op::Restart { clean }),
    ]
}

#[derive(Clone, Debug, PartialEq)]
struct Record {
    offset: i64,
    timestamp_ms: i64,
    key: Option<Vec<u8>>,
    value: Option<Vec<u8>>,
    headers: usize,
}

/// What a batch is to its transaction.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Part {
    None,
    Data(u32),
    Marker(u32),
}

#[derive(Clone, Debug, PartialEq)]
struct Written {
    base: i64,
    last: i64,
    producer: i64,
    epoch: i16,
    sequence: i32,
    part: Part,
    horizon_ms: Option<i64>,
    records: Vec<Record>,
}

#[derive(Clone, Debug, Default)]
struct Producer {
    epoch: i16,
    next_sequence: i32,
    open: Option<u32>,
    last_data: Option<i64>,
}

#[derive(Default)]
struct Model {
    batches: Vec<Written>,
    /// Everything, in order: offset, key, value, transaction.
    history: Vec<(Record, Part)>,
    /// Transactions that ended: whether by commit.
    ended: HashMap<u32, bool>,
    producers: BTreeMap<i64, Producer>,
    transactions: u32,
    now_ms: i64,
}

struct Cleaning {
    first_dirty: i64,
    /// The map knows everything below.
    end: i64,
    /// All segments that are rewritten end here.
    covered: i64,
    upto: i64,
}

impl Model {
    fn is_aborted(&self, part: Part) -> bool {
        matches!(part, Part::Data(id) if self.ended.get(&id) == Some(&false))
    }

    /// What must be there after a cleaning.
    fn cleaned(&self, how: &Cleaning) -> Vec<Written> {
        let mut last_of_key: HashMap<&[u8], i64> = HashMap::new();
        let mut parts: BTreeSet<u32> = BTreeSet::new();
        for batch in &self.batches {
            if let Part::Data(id) = batch.part {
                parts.insert(id);
            }
            for record in &batch.records {
                let is_dirty = record.offset >= how.first_dirty && record.offset < how.end;
                if let (true, false, Some(key)) =
                    (is_dirty, self.is_aborted(batch.part), &record.key)
                    && !matches!(batch.part, Part::Marker(_))
                {
                    last_of_key.insert(key, record.offset);
                }
            }
        }
        let clean = |batch: &Written| self.clean_batch(batch, how, &last_of_key, &parts);
        self.batches.iter().filter_map(clean).collect()
    }

    fn clean_batch(
        &self,
        batch: &Written,
        how: &Cleaning,
        last_of_key: &HashMap<&[u8], i64>,
        parts: &BTreeSet<u32>,
    ) -> Option<Written> {
        if batch.base >= how.covered {
            return Some(batch.clone());
        }
        let mut left = batch.clone();
        let is_past = batch.horizon_ms.is_some_and(|ms| ms <= self.now_ms);
        let mut needs_horizon = false;
        match batch.part {
            Part::Marker(id) => {
                let is_spent = batch.records.is_empty() || !parts.contains(&id);
                if is_spent && is_past {
                    left.records.clear();
                }
                needs_horizon = is_spent;
            }
            part if self.is_aborted(part) => left.records.clear(),
            _ => left.records.retain(|record| {
                let Some(key) = &record.key else {
                    return record.offset >= how.end;
                };
                let last = last_of_key.get(&key[..]);
                let is_last = last.is_none_or(|last| record.offset >= *last);
                record.offset >= how.end || (is_last && (record.value.is_some() || !is_past))
            }),
        }
        if left.records.is_empty() {
            let producer = self.producers.get(&batch.producer);
            let is_last = producer.is_some_and(|producer| match producer.last_data {
                Some(offset) => offset == batch.last,
                None => matches!(batch.part, Part::Marker(_)) && producer.epoch == batch.epoch,
            });
            left.horizon_ms = None;
            return (is_last || batch.last + 1 == how.upto).then_some(left);
        }
        let is_data = !matches!(batch.part, Part::Marker(_));
        needs_horizon |= is_data && left.records.iter().any(|record| record.value.is_none());
        if needs_horizon && left.horizon_ms.is_none() {
            left.horizon_ms = Some(self.now_ms + DAY_MS);
        }
        Some(left)
    }

    /// The last committed value of every key, tombstones left out.
    fn committed(&self) -> BTreeMap<Vec<u8>, Vec<u8>> {
        let mut values = BTreeMap::new();
        let stable = self.first_open();
        for (record, part) in &self.history {
            if self.is_aborted(*part) || record.offset >= stable {
                continue;
            }
            match (&record.key, &record.value) {
                (Some(key), Some(value)) => values.insert(key.clone(), value.clone()),
                (Some(key), None) => values.remove(key),
                (None, _) => None,
            };
        }
        values
    }

    fn first_open(&self) -> i64 {
        let is_open = |part: &Part| matches!(part, Part::Data(id) if !self.ended.contains_key(id));
        let open = self.history.iter().find(|(_, part)| is_open(part));
        open.map_or(i64::MAX, |(record, _)| record.offset)
    }
}

/// What a reader of committed records ends up with.
fn read_committed(log: &Log) -> BTreeMap<Vec<u8>, Vec<u8>> {
    let snapshot = log.reader().snapshot();
    let mut coming = snapshot
        .aborted(snapshot.log_start(), snapshot.end())
        .unwrap();
    coming.sort_by_key(|transaction| transaction.first_offset);
    coming.reverse();
    let mut aborting = BTreeSet::new();
    let mut values = BTreeMap::new();
    for bytes in batches(log) {
        let batch = Batch::parse(&bytes).unwrap();
        let header = batch.header;
        if header.base_offset >= snapshot.last_stable() {
            break;
        }
        while coming
            .last()
            .is_some_and(|t| t.first_offset <= header.last_offset())
        {
            aborting.insert(coming.pop().unwrap().producer_id);
        }
        if header.is_control() {
            aborting.remove(&header.producer_id);
            continue;
        }
        if header.is_transactional() && aborting.contains(&header.producer_id) {
            continue;
        }
        for record in records(&batch, 1 << 20).unwrap() {
            let record = record.unwrap();
            let Some(key) = record.key else { continue };
            match record.value {
                Some(value) => values.insert(key.to_vec(), value.to_vec()),
                None => values.remove(&key[..]),
            };
        }
    }
    values
}

struct Run {
    dir: TempDir,
    log: Option<Log>,
    model: Model,
}

impl Run {
    fn new() -> Run {
        let dir = tempfile::tempdir().unwrap();
        let log = open(&dir);
        let model = Model {
            now_ms: 10 * DAY_MS,
            ..Model::default()
        };
        Run {
            dir,
            log: Some(log),
            model,
        }
    }

    fn log(&mut self) -> &mut Log {
        self.log.as_mut().unwrap()
    }

    fn apply(&mut self, op: &Op) {
        match op {
            Op::Write {
                producer,
                records,
                codec,
                hole,
            } => {
                self.write(i64::from(*producer), records, *codec, *hole);
            }
            Op::End {
                producer,
                commit,
                bump,
            } => self.end(i64::from(*producer), *commit, *bump),
            Op::Wait { ms } => self.model.now_ms += ms,
            Op::Clean { keys, dies_after } => self.clean(*keys, *dies_after),
            Op::Restart { clean } => {
                let log = self.log.take().unwrap();
                if *clean {
                    log.close().unwrap();
                }
                self.reopen();
            }
        }
        self.check();
    }

    fn reopen(&mut self) {
        drop(self.log.take());
        self.log = Some(open(&self.dir));
        assert_tidy(&self.dir);
    }

    fn write(&mut self, id: i64, given: &[(Option<u8>, bool)], codec: i16, hole: i32) {
        let base = self.log().end().0;
        let now_ms = self.model.now_ms;
        let model = &mut self.model;
        let mut builder = BatchBuilder::new().compression(Compression::from_code(codec).unwrap());
        let mut part = Part::None;
        let (mut epoch, mut sequence) = (-1, -1);
        if id > 0 {
            let producer = model.producers.entry(id).or_default();
            (epoch, sequence) = (producer.epoch, producer.next_sequence);
            builder = builder
                .producer(ProducerId(id), epoch, sequence)
                .transactional(id >= 4);
            let length = given.len() as i32 + hole;
            producer.next_sequence += length;
            producer.last_data = Some(base + i64::from(length) - 1);
            if id >= 4 {
                part = Part::Data(*producer.open.get_or_insert_with(|| {
                    model.transactions += 1;
                    model.transactions
                }));
            }
        }
        let mut records = Vec::new();
        for (n, (key, has_value)) in given.iter().enumerate() {
            let n = n as i64;
            let record = Record {
                offset: base + n,
                timestamp_ms: now_ms - 5 * n,
                key: key.map(|key| vec![key; 3]),
                value: has_value.then(|| format!("{base} {n} {}", "v".repeat(40)).into_bytes()),
                headers: usize::from(n == 1) * 2,
            };
            let headers: &[(&str, Option<&[u8]>)] = &[("h", Some(b"x")), ("h", None)];
            builder.push(
                record.timestamp_ms,
                record.key.as_deref(),
                record.value.as_deref(),
                &headers[..record.headers],
            );
            records.push(record);
        }
        let last = base + (given.len() as i32 + hole) as i64 - 1;
        model
            .history
            .extend(records.iter().map(|record| (record.clone(), part)));
        let horizon_ms = None;
        let producer = if id > 0 { id } else { -1 };
        model.batches.push(Written {
            base,
            last,
            producer,
            epoch,
            sequence,
            part,
            horizon_ms,
            records,
        });
        let batch = builder.skip(hole).build();
        append(self.log(), &batch);
    }

    fn end(&mut self, id: i64, commit: bool, bump: bool) {
        let base = self.log().end().0;
        let model = &mut self.model;
        let Some(producer) = model.producers.get_mut(&id) else {
            return;
        };
        let Some(transaction) = producer.open.take() else {
            return;
        };
        if bump {
            producer.epoch += 1;
            producer.next_sequence = 0;
            producer.last_data = None;
        }
        model.ended.insert(transaction, commit);
        let kind = if commit {
            ControlKind::Commit
        } else {
            ControlKind::Abort
        };
        let marker = build_marker(kind, ProducerId(id), producer.epoch, 3, model.now_ms);
        let batch = marker.bytes();
        let records = Batch::parse(batch)
            .map(|batch| written(&batch).records)
            .unwrap();
        let records = records.into_iter().map(|record| Record {
            offset: base,
            ..record
        });
        model.batches.push(Written {
            base,
            last: base,
            producer: id,
            epoch: producer.epoch,
            sequence: -1,
            part: Part::Marker(transaction),
            horizon_ms: None,
            records: records.collect(),
        });
        append(self.log(), batch);
    }

    fn clean(&mut self, keys: usize, dies_after: Option<u32>) {
        let rules = CleanRules {
            delete_retention_ms: DAY_MS,
            ..CleanRules::default()
        };
        let limits = CleanLimits {
            map_bytes: (keys + 1) * map::ENTRY_BYTES,
            load_factor: 1.0,
        };
        let now_ms = self.model.now_ms;
        let log = self.log.as_mut().unwrap();
        log.flush_handle().flush().unwrap();
        let cleanable = log.to_clean().cleanable(&rules, now_ms).unwrap();
        if cleanable.dirty_bytes == 0 {
            return;
        }
        let pass = begin(log, rules, limits, now_ms);
        let snapshot = log.reader().snapshot();
        let ranges: Vec<(i64, i64)> = pass
            .merges
            .iter()
            .map(|merge| {
                (
                    snapshot.base_of(merge.start).0,
                    snapshot.base_of(merge.end).0,
                )
            })
            .collect();
        let end = pass.map.latest().next().0;
        assert!(end > cleanable.first_dirty.0, "a cleaning gets on");
        let how = Cleaning {
            first_dirty: cleanable.first_dirty.0,
            end,
            covered: ranges.last().map_or(0, |range| range.1),
            upto: cleanable.upto.0,
        };
        let expected = self.model.cleaned(&how);
        die_after(dies_after);
        let done = finish(log, pass);
        die_after(None);
        if done.is_ok() {
            self.model.batches = expected;
            let open = log.to_clean();
            assert_eq!(open.cleaned.0, how.end, "what is clean is remembered");
            return;
        }
        self.reopen();
        let found: Vec<Written> = batches(self.log()).iter().map(|b| parsed(b)).collect();
        let before = std::mem::take(&mut self.model.batches);
        let mut adopted = Vec::new();
        let within = |all: &[Written], from: i64, to: i64| -> Vec<Written> {
            all.iter()
                .filter(|b| b.base >= from && b.base < to)
                .cloned()
                .collect()
        };
        let mut done_until = 0;
        for (from, to) in ranges {
            let (old, new) = (within(&before, from, to), within(&expected, from, to));
            let there = plain(within(&found, from, to));
            let is_new = there == plain(new.clone());
            assert!(
                is_new || there == plain(old.clone()),
                "neither old nor new: {from}..{to}"
            );
            adopted.extend(if is_new { new } else { old });
            done_until = to;
        }
        adopted.extend(within(&before, done_until, i64::MAX));
        self.model.batches = adopted;
    }

    fn check(&mut self) {
        let log = self.log.as_ref().unwrap();
        let found: Vec<Written> = batches(log).iter().map(|bytes| parsed(bytes)).collect();
        assert_eq!(found, plain(self.model.batches.clone()));
        assert_eq!(read_committed(log), self.model.committed());
        for (id, producer) in &self.model.producers {
            let known = log.producers().get(ProducerId(*id)).unwrap();
            let next = known.last_sequence() + 1;
            assert_eq!(
                (known.producer_epoch, next),
                (producer.epoch, producer.next_sequence)
            );
        }
    }
}

/// Without what the log does not tell: the number of the transaction.
fn plain(batches: Vec<Written>) -> Vec<Written> {
    let without = |part| match part {
        Part::None => Part::None,
        Part::Data(_) => Part::Data(0),
        Part::Marker(_) => Part::Marker(0),
    };
    let batches = batches.into_iter();
    batches
        .map(|batch| Written {
            part: without(batch.part),
            ..batch
        })
        .collect()
}

fn parsed(bytes: &[u8]) -> Written {
    written(&Batch::parse(bytes).unwrap())
}

fn written(batch: &Batch<'_>) -> Written {
    let header = &batch.header;
    let record = |record: RecordView| Record {
        offset: record.offset.0,
        timestamp_ms: record.timestamp_ms,
        key: record.key.map(|key| key.to_vec()),
        value: record.value.map(|value| value.to_vec()),
        headers: record.headers.len(),
    };
    let records = records(batch, 1 << 20).unwrap().map(Result::unwrap);
    Written {
        base: header.base_offset.0,
        last: header.last_offset().0,
        producer: header.producer_id.0,
        epoch: header.producer_epoch,
        sequence: header.base_sequence,
        part: match (header.is_control(), header.is_transactional()) {
            (true, _) => Part::Marker(0),
            (false, true) => Part::Data(0),
            (false, false) => Part::None,
        },
        horizon_ms: header
            .attributes
            .has_delete_horizon()
            .then_some(header.base_timestamp_ms),
        records: records.map(record).collect(),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, max_shrink_iters: 2000, ..ProptestConfig::default() })]

    #[test]
    fn survivors_are_exactly_those_of_the_model(ops in prop::collection::vec(op(), 1..120)) {
        let mut run = Run::new();
        for op in &ops {
            run.apply(op);
        }
        run.apply(&Op::Clean { keys: 1000, dies_after: None });
        run.apply(&Op::Wait { ms: 3 * DAY_MS });
        run.apply(&Op::Clean { keys: 1000, dies_after: None });
        run.apply(&Op::Restart { clean: false });
    }
}
