//! Record batches: what is parsed, built, patched and refused.

use bytes::{Bytes, BytesMut};
use proptest::prelude::*;

use super::*;
use crate::ids::{LeaderEpoch, ProducerId};

const LIMIT: usize = 1 << 20;

fn batch(base: i64, epoch: i32, records: i32) -> BytesMut {
    let mut builder = BatchBuilder::new()
        .base_offset(Offset(base))
        .leader_epoch(LeaderEpoch(epoch));
    for i in 0..records {
        builder = builder.record(1000 + i64::from(i), Some(b"k"), Some(b"value"));
    }
    builder.build()
}

fn parsed(bytes: &[u8]) -> Batch<'_> {
    Batch::parse(bytes).unwrap()
}

fn all_records(bytes: &[u8]) -> Vec<RecordView> {
    records(&parsed(bytes), LIMIT)
        .unwrap()
        .collect::<Result<_, _>>()
        .unwrap()
}

/// Batches written by Kafka 4.3's `MemoryRecords`, in hex: one of two records for each codec
/// (`none`, …, `zstd`), and the `marker` of a commit.
fn written_by_kafka(name: &str) -> Vec<u8> {
    let all = include_str!("kafka_4_3_batches.txt");
    let hex = all
        .lines()
        .find_map(|line| line.strip_prefix(name))
        .unwrap()
        .trim();
    (0..hex.len())
        .step_by(2)
        .map(|i| u8::from_str_radix(&hex[i..i + 2], 16).unwrap())
        .collect()
}

#[test]
fn batches_from_kafka_are_understood() {
    for codec in Compression::ALL {
        let bytes = written_by_kafka(codec.name());
        let batch = parsed(&bytes);
        batch.verify_crc().unwrap();
        let header = batch.header;
        assert_eq!(
            (header.base_offset, header.last_offset()),
            (Offset(7), Offset(8))
        );
        assert_eq!(header.leader_epoch, LeaderEpoch(3));
        assert_eq!(
            (header.producer_id, header.producer_epoch),
            (ProducerId(4711), 2)
        );
        assert_eq!((header.base_sequence, header.last_sequence()), (40, 41));
        assert_eq!(header.compression(), Ok(codec));
        let found = all_records(&bytes);
        assert_eq!(found[0].key.as_deref(), Some(&b"key"[..]));
        assert_eq!(
            found[0].value.as_deref(),
            Some(&b"a value, a value, a value"[..])
        );
        let headers: Vec<_> = found[0]
            .headers
            .iter()
            .map(|h| (&h.key[..], h.value.as_deref()))
            .collect();
        assert_eq!(headers, [(&b"h"[..], Some(&b"1"[..])), (b"h", None)]);
        assert_eq!(
            (found[1].key.as_ref(), found[1].value.as_ref()),
            (None, None)
        );
        assert_eq!(
            (found[1].offset, found[1].timestamp_ms),
            (Offset(8), 1_700_000_000_005)
        );
        assert_eq!(header.max_timestamp_ms, 1_700_000_000_005);
    }
}

#[test]
fn markers_are_kafkas_to_the_byte() {
    let marker = build_marker(
        ControlKind::Commit,
        ProducerId(4711),
        2,
        9,
        1_700_000_000_000,
    );
    let mut bytes = BytesMut::from(marker.bytes().clone());
    set_base_offset(&mut bytes, Offset(5));
    set_leader_epoch(&mut bytes, LeaderEpoch(3));
    assert_eq!(bytes, written_by_kafka("marker"));
}

#[test]
fn a_header_says_what_was_built() {
    let bytes = batch(0, 0, 1);
    let header = BatchHeader::parse(&bytes).unwrap();
    assert_eq!(header.size_bytes(), bytes.len());
    assert_eq!(header.last_offset(), Offset(0));
    assert_eq!(header.next_offset(), Offset(1));
    assert_eq!(
        (header.base_timestamp_ms, header.max_timestamp_ms),
        (1000, 1000)
    );
    assert!(!header.has_producer() && !header.is_control() && !header.is_transactional());
    assert_eq!(header.last_sequence(), NO_SEQUENCE);
}

#[test]
fn sequences_wrap_to_zero() {
    let mut header = BatchHeader::parse(&batch(0, 0, 3)).unwrap();
    header.base_sequence = i32::MAX - 1;
    assert_eq!(header.last_sequence(), 0);
    header.base_sequence = i32::MAX;
    assert_eq!(header.last_sequence(), 1);
    header.base_sequence = 5;
    assert_eq!(header.last_sequence(), 7);
}

#[test]
fn holes_count_for_the_next_offset() {
    let bytes = BatchBuilder::new()
        .base_offset(Offset(100))
        .skip(2)
        .record(1, None, Some(b"a"))
        .skip(3)
        .record(2, None, Some(b"b"))
        .skip(4)
        .build();
    let header = parsed(&bytes).header;
    assert_eq!((header.record_count, header.last_offset_delta), (2, 10));
    assert_eq!(header.next_offset(), Offset(111));
    let offsets: Vec<_> = all_records(&bytes)
        .iter()
        .map(|record| record.offset)
        .collect();
    assert_eq!(offsets, [Offset(102), Offset(106)]);
}

#[test]
fn an_emptied_batch_keeps_its_range() {
    for codec in Compression::ALL {
        let mut bytes = BatchBuilder::new().compression(codec).skip(5).build();
        // Compaction writes the bare header, whatever the codec says.
        bytes.truncate(HEADER_BYTES);
        bytes[header::LENGTH_AT..header::LENGTH_AT + 4].copy_from_slice(&49i32.to_be_bytes());
        assert_eq!(parsed(&bytes).header.next_offset(), Offset(5));
        assert_eq!(all_records(&bytes), []);
    }
}

#[test]
fn a_cut_batch_ends_the_iteration() {
    let (first, second) = (batch(0, 1, 2), batch(2, 1, 3));
    let whole = [&first[..], &second[..]].concat();
    for cut in 0..whole.len() {
        let mut batches = Batches::new(&whole[..cut]);
        let found = batches.by_ref().map(Result::unwrap).count();
        assert_eq!(found, usize::from(cut >= first.len()));
        assert_eq!(batches.position(), found * first.len());
    }
    assert_eq!(Batches::new(&whole).count(), 2);
}

#[test]
fn an_error_ends_the_iteration() {
    let mut whole = [&batch(0, 1, 2)[..], &batch(2, 1, 3)[..]].concat();
    whole[header::MAGIC_AT] = 1;
    let found: Vec<_> = Batches::new(&whole).collect();
    assert_eq!(found, [Err(BatchError::Magic(1))]);
}

#[test]
fn impossible_headers_are_refused() {
    let edit = |at: usize, value: &[u8]| {
        let mut bytes = batch(0, 0, 1);
        bytes[at..at + value.len()].copy_from_slice(value);
        BatchHeader::parse(&bytes).unwrap_err()
    };
    let short = batch(0, 0, 1);
    assert_eq!(
        BatchHeader::parse(&short[..60]),
        Err(BatchError::TooShort { need: 61, have: 60 })
    );
    assert_eq!(edit(8, &48i32.to_be_bytes()), BatchError::Length(48));
    assert_eq!(edit(8, &(-1i32).to_be_bytes()), BatchError::Length(-1));
    assert_eq!(edit(16, &[0]), BatchError::Magic(0));
    assert!(matches!(
        edit(0, &(-5i64).to_be_bytes()),
        BatchError::OffsetRange { .. }
    ));
    assert!(matches!(
        edit(0, &i64::MAX.to_be_bytes()),
        BatchError::OffsetRange { .. }
    ));
    assert!(matches!(
        edit(23, &(-1i32).to_be_bytes()),
        BatchError::OffsetRange { .. }
    ));
    assert_eq!(
        edit(57, &(-1i32).to_be_bytes()),
        BatchError::RecordCount(-1)
    );
}

fn run(batches: &[&[u8]]) -> Bytes {
    batches.concat().into()
}

#[test]
fn a_run_is_checked_with_its_headers() {
    let batches = [batch(10, 3, 2), batch(20, 5, 1), batch(21, 4, 4)];
    let whole = run(&[&batches[0], &batches[1], &batches[2]]);
    let checked = CheckedBatches::check(&whole).unwrap();
    assert_eq!(checked.bytes(), &whole);
    let stored: Vec<_> = checked.iter().collect();
    let expected: Vec<_> = batches.iter().map(|batch| parsed(batch)).collect();
    assert_eq!(stored, expected);
    let (first, last) = (checked.first(), checked.last());
    assert_eq!(first.base_offset, Offset(10));
    assert_eq!(last.next_offset(), Offset(25));
    assert_eq!(last.leader_epoch, LeaderEpoch(4));
    let one = Bytes::from(batches[0].to_vec());
    assert_eq!(
        CheckedBatches::check(&one).unwrap().only(),
        parsed(&batches[0])
    );
}

#[test]
fn what_is_no_run_of_whole_batches_is_not_checked() {
    let good = batch(10, 3, 2);
    for bytes in [
        Bytes::new(),
        run(&[&good, b"cut"]),
        run(&[&good, &good[..good.len() - 1]]),
    ] {
        let found = CheckedBatches::check(&bytes);
        assert!(matches!(found, Err(BatchError::TooShort { .. })));
    }
    let mut old = good.to_vec();
    old[header::MAGIC_AT] = 1;
    assert_eq!(
        CheckedBatches::check(&old.into()),
        Err(BatchError::Magic(1))
    );
}

#[test]
fn a_run_that_goes_back_is_refused() {
    let back = run(&[&batch(10, 3, 2), &batch(11, 3, 1)]);
    assert_eq!(
        CheckedBatches::check(&back),
        Err(BatchError::NonMonotonic {
            expected: Offset(12),
            found: Offset(11)
        })
    );
}

#[test]
fn what_lies_before_the_damage_is_good() {
    let mut damaged = batch(3, 0, 2);
    *damaged.last_mut().unwrap() ^= 1;
    let (first, second, last) = (batch(0, 0, 2), batch(2, 0, 1), batch(5, 0, 1));
    let whole = run(&[&first, &second, &damaged, &last, b"cut"]);
    let parsed = ParsedBatches::parse(&whole);
    assert_eq!((parsed.headers().len(), parsed.error()), (4, None));
    let good = |numbers| {
        let verified = parsed.clone().verify(numbers);
        (
            verified.good.map(|good| good.bytes().to_vec()),
            verified.error,
        )
    };
    assert_eq!(good(0..2), (Some([&first[..], &second].concat()), None));
    let (before, error) = good(1..4);
    assert_eq!(before, Some(second.to_vec()));
    assert!(matches!(error, Some(BatchError::Crc { .. })));
    let (before, error) = good(2..4);
    assert_eq!(before, None);
    assert!(matches!(error, Some(BatchError::Crc { .. })));
    assert_eq!(good(3..4), (Some(last.to_vec()), None));
    assert_eq!(good(1..1), (None, None));
}

#[test]
fn another_largest_timestamp_keeps_a_batch_checked() {
    let sent = Bytes::from(batch(0, 0, 3).to_vec());
    let copy = sent.clone();
    let checked = CheckedBatches::check(&sent).unwrap();
    let changed = checked.with_max_timestamp(TimestampType::LogAppendTime, 77);
    assert_eq!(sent, copy, "what somebody else holds is copied");
    assert_eq!(changed.only(), parsed(changed.bytes()));
    changed.only().verify_crc().unwrap();
    assert_eq!(changed.first().max_timestamp_ms, 77);
}

#[test]
fn log_append_time_holds_for_every_record() {
    let mut bytes = batch(0, 0, 3);
    set_max_timestamp(&mut bytes, TimestampType::LogAppendTime, 77);
    let stamped = parsed(&bytes);
    stamped.verify_crc().unwrap();
    assert_eq!(
        stamped.header.timestamp_type(),
        TimestampType::LogAppendTime
    );
    assert!(
        all_records(&bytes)
            .iter()
            .all(|record| record.timestamp_ms == 77)
    );
    set_max_timestamp(&mut bytes, TimestampType::CreateTime, 1002);
    assert_eq!(bytes, batch(0, 0, 3));
}

fn marker_of(batch: &Batch<'_>) -> Result<Option<ControlMarker>, BatchError> {
    ControlMarker::read(&batch.header, batch.body())
}

#[test]
fn markers_are_read_back() {
    for kind in [ControlKind::Abort, ControlKind::Commit] {
        let marker = build_marker(kind, ProducerId(7), 3, 11, 1234);
        let bytes = marker.bytes();
        let marker = parsed(bytes);
        marker.verify_crc().unwrap();
        assert!(marker.header.is_control() && marker.header.is_transactional());
        assert_eq!(
            (marker.header.producer_id, marker.header.producer_epoch),
            (ProducerId(7), 3)
        );
        assert_eq!(marker.header.base_sequence, NO_SEQUENCE);
        let expected = ControlMarker {
            kind,
            coordinator_epoch: 11,
        };
        assert_eq!(
            ControlMarker::read(&marker.header, marker.body()),
            Ok(Some(expected))
        );
    }
}

#[test]
fn other_control_records_are_told_apart() {
    let control = |key: &[u8], value: Option<&[u8]>| {
        let bytes = BatchBuilder::new()
            .control(true)
            .record(1, Some(key), value)
            .build();
        marker_of(&parsed(&bytes))
    };
    let other = ControlMarker {
        kind: ControlKind::Other(9),
        coordinator_epoch: -1,
    };
    assert_eq!(control(&[0, 0, 0, 9], None), Ok(Some(other)));
    assert!(control(&[0, 0, 0], None).is_err());
    assert!(control(&[0xff, 0, 0, 0], Some(&[0; 6])).is_err());
    assert!(control(&[0, 0, 0, 1], Some(&[0, 0, 1])).is_err());
    let empty = BatchBuilder::new().control(true).skip(1).build();
    assert_eq!(marker_of(&parsed(&empty)), Ok(None));
    assert_eq!(marker_of(&parsed(&batch(0, 0, 1))), Ok(None));
}

#[test]
fn headers_keep_order_and_duplicates() {
    let mut builder = BatchBuilder::new();
    let headers: [(&str, Option<&[u8]>); 3] = [("a", Some(b"1")), ("a", None), ("", Some(b""))];
    builder.push(5, None, None, &headers);
    let found = all_records(&builder.build());
    let found: Vec<_> = found[0]
        .headers
        .iter()
        .map(|header| {
            (
                std::str::from_utf8(&header.key).unwrap(),
                header.value.as_deref(),
            )
        })
        .collect();
    assert_eq!(found, headers);
}

mod producers {
    use super::*;

    fn verdict(bytes: &[u8]) -> Result<ProducedBatch, ProducedBatchError> {
        validated(bytes, &rules(false))
    }

    fn validated(bytes: &[u8], rules: &ProduceRules) -> Result<ProducedBatch, ProducedBatchError> {
        let whole = Bytes::copy_from_slice(bytes);
        validate_produced(&parsed(&whole), &whole, rules)
    }

    fn rules(require_keys: bool) -> ProduceRules {
        ProduceRules {
            limit_bytes: LIMIT,
            require_keys,
            timestamps_ms: None,
        }
    }

    fn bad(index: i32, problem: RecordProblem) -> BadRecord {
        BadRecord { index, problem }
    }

    #[test]
    fn a_sound_batch_passes_with_its_timestamps() {
        for compression in Compression::ALL {
            let bytes = BatchBuilder::new()
                .compression(compression)
                .producer(ProducerId(1), 0, 0)
                .record(50, Some(b"k"), None)
                .record(-1, Some(b"k"), None)
                .record(70, Some(b"k"), None)
                .build();
            let seen = validated(&bytes, &rules(true)).unwrap();
            assert_eq!(seen.max_timestamp_ms, 70);
            assert_eq!(seen.records_bytes, 24);
        }
    }

    #[test]
    fn what_only_brokers_write_is_refused() {
        use ProducedBatchError as E;
        let one = || BatchBuilder::new().record(1, None, None);
        assert_eq!(verdict(&one().control(true).build()), Err(E::Control));
        assert_eq!(
            verdict(&one().log_append_time(3).build()),
            Err(E::Records(vec![bad(0, RecordProblem::TimestampType)]))
        );
        assert_eq!(verdict(&batch(9, 0, 1)), Err(E::BaseOffset(Offset(9))));
        assert_eq!(verdict(&BatchBuilder::new().build()), Err(E::Empty));
        let count = Err(E::Count {
            record_count: 1,
            last_offset_delta: 1,
        });
        assert_eq!(verdict(&one().skip(1).build()), count);
        let producer =
            |id, epoch, sequence| verdict(&one().producer(ProducerId(id), epoch, sequence).build());
        assert!(matches!(producer(1, 0, -1), Err(E::Producer { .. })));
        assert!(matches!(producer(1, -1, 0), Err(E::Producer { .. })));
        assert!(producer(1, 0, 0).is_ok());
        assert!(matches!(
            verdict(&one().transactional(true).build()),
            Err(E::Producer { .. })
        ));
    }

    #[test]
    fn deltas_must_be_consecutive() {
        // A hole in front, of which the header says nothing.
        let mut bytes = BatchBuilder::new().skip(1).record(1, None, None).build();
        bytes[23..27].copy_from_slice(&0i32.to_be_bytes());
        let crc = crc_of(&bytes);
        bytes[17..21].copy_from_slice(&crc.to_be_bytes());
        assert_eq!(
            verdict(&bytes),
            Err(ProducedBatchError::Records(vec![bad(
                0,
                RecordProblem::OffsetDelta { found: 1 }
            )]))
        );
    }

    #[test]
    fn every_record_with_a_wrong_timestamp_or_without_a_key_is_named() {
        let bytes = BatchBuilder::new()
            .compression(Compression::Lz4)
            .record(50, Some(b"k"), None)
            .record(151, Some(b"k"), None)
            .record(-1, None, None)
            .record(9, Some(b"k"), None)
            .build();
        let rules = ProduceRules {
            timestamps_ms: Some((10, 150)),
            ..rules(true)
        };
        let out = |timestamp_ms| RecordProblem::Timestamp {
            timestamp_ms,
            earliest_ms: 10,
            latest_ms: 150,
        };
        let found = validated(&bytes, &rules).unwrap_err();
        let named = vec![
            bad(1, out(151)),
            bad(2, RecordProblem::NoKey),
            bad(3, out(9)),
        ];
        assert_eq!(found, ProducedBatchError::Records(named));
        assert!(found.to_string().ends_with("due to invalid timestamp"));
    }

    #[test]
    fn a_batch_that_unfolds_too_far_is_refused_under_every_codec() {
        let value = vec![0; 100_000];
        for codec in Compression::ALL {
            let bytes = BatchBuilder::new()
                .compression(codec)
                .record(1, None, Some(&value))
                .build();
            let at = |limit_bytes| {
                let rules = ProduceRules {
                    limit_bytes,
                    ..rules(false)
                };
                validated(&bytes, &rules)
            };
            let size = at(1 << 20).unwrap().records_bytes;
            assert!(at(size).is_ok());
            let limit_bytes = size - 1;
            let refused = ProducedBatchError::Batch(BatchError::TooLarge { limit_bytes });
            assert_eq!(at(limit_bytes), Err(refused), "{codec}");
        }
    }

    #[test]
    fn counts_inside_must_match() {
        for (count, error) in [
            (1, BatchError::TrailingBytes(8)),
            (
                3,
                BatchError::Record {
                    index: 2,
                    problem: "varint is cut",
                },
            ),
        ] {
            let bytes = BatchBuilder::new()
                .record(1, None, None)
                .record(1, None, None)
                .build();
            let mut bytes = bytes;
            bytes[23..27].copy_from_slice(&(count - 1i32).to_be_bytes());
            bytes[57..61].copy_from_slice(&count.to_be_bytes());
            let crc = crc_of(&bytes);
            bytes[17..21].copy_from_slice(&crc.to_be_bytes());
            let found = verdict(&bytes).unwrap_err();
            match (&found, &error) {
                (
                    ProducedBatchError::Batch(BatchError::TrailingBytes(_)),
                    BatchError::TrailingBytes(_),
                ) => {}
                _ => assert_eq!(found, ProducedBatchError::Batch(error)),
            }
        }
    }

    #[test]
    fn compacted_topics_need_keys_and_damage_shows() {
        let mut bytes = batch(0, 0, 1);
        assert!(validated(&bytes, &rules(true)).is_ok());
        let keyless = BatchBuilder::new().record(1, None, Some(b"v")).build();
        let found = validated(&keyless, &rules(true));
        assert_eq!(
            found,
            Err(ProducedBatchError::Records(vec![bad(
                0,
                RecordProblem::NoKey
            )]))
        );
        let last = bytes.len() - 1;
        bytes[last] ^= 1;
        assert!(matches!(
            verdict(&bytes),
            Err(ProducedBatchError::Batch(BatchError::Crc { .. }))
        ));
    }
}

type Field = Option<Vec<u8>>;
type Rec = (i64, Field, Field, Vec<(String, Field)>);

fn field() -> impl Strategy<Value = Field> {
    proptest::option::of(proptest::collection::vec(any::<u8>(), 0..40))
}

fn recs() -> impl Strategy<Value = Vec<Rec>> {
    let headers = proptest::collection::vec((".{0,6}", field()), 0..3);
    proptest::collection::vec((0i64..1 << 42, field(), field(), headers), 0..20)
}

fn build(compression: Compression, recs: &[Rec]) -> Bytes {
    let mut builder = BatchBuilder::new()
        .compression(compression)
        .base_offset(Offset(500));
    for (timestamp_ms, key, value, headers) in recs {
        let headers: Vec<_> = headers
            .iter()
            .map(|(key, value)| (key.as_str(), value.as_deref()))
            .collect();
        builder.push(*timestamp_ms, key.as_deref(), value.as_deref(), &headers);
    }
    builder.build().freeze()
}

proptest! {
    #[test]
    fn what_is_built_is_read_back(code in 0i16..5, recs in recs()) {
        let bytes = build(Compression::from_code(code).unwrap(), &recs);
        let built = parsed(&bytes);
        built.verify_crc().unwrap();
        prop_assert_eq!(built.bytes.len(), bytes.len());
        let found: Vec<Rec> = all_records(&bytes)
            .into_iter()
            .map(|r| {
                let headers = r.headers.into_iter().map(|h| {
                    (String::from_utf8(h.key.to_vec()).unwrap(), h.value.map(|v| v.to_vec()))
                });
                (
                    r.timestamp_ms,
                    r.key.map(|k| k.to_vec()),
                    r.value.map(|v| v.to_vec()),
                    headers.collect(),
                )
            })
            .collect();
        prop_assert_eq!(found, recs);
    }

    #[test]
    fn the_codecs_own_decoder_agrees(recs in recs()) {
        let bytes = build(Compression::None, &recs);
        let theirs =
            kafka_protocol::records::RecordBatchDecoder::decode(&mut bytes.clone()).unwrap();
        let ours = all_records(&bytes);
        prop_assert_eq!(theirs.records.len(), ours.len());
        for (theirs, ours) in theirs.records.iter().zip(&ours) {
            prop_assert_eq!(theirs.offset, ours.offset.0);
            prop_assert_eq!(theirs.timestamp, ours.timestamp_ms);
            prop_assert_eq!(&theirs.key, &ours.key);
            prop_assert_eq!(&theirs.value, &ours.value);
        }
    }

    #[test]
    fn patches_keep_the_crc_valid(
        base in 0i64..i64::MAX / 2,
        epoch in any::<i32>(),
        recs in recs(),
    ) {
        let mut bytes = BytesMut::from(&build(Compression::None, &recs)[..]);
        set_base_offset(&mut bytes, Offset(base));
        set_leader_epoch(&mut bytes, LeaderEpoch(epoch));
        let patched = parsed(&bytes);
        patched.verify_crc().unwrap();
        prop_assert_eq!(patched.header.base_offset, Offset(base));
        prop_assert_eq!(patched.header.leader_epoch, LeaderEpoch(epoch));
        prop_assert_eq!(patched.body(), &build(Compression::None, &recs)[HEADER_BYTES..]);
    }

    #[test]
    fn a_header_for_the_log_is_that_of_the_batch_patched_in_place(
        base in 0i64..i64::MAX / 2,
        epoch in any::<i32>(),
        time_ms in proptest::option::of(0i64..1 << 50),
        recs in recs(),
    ) {
        let given = build(Compression::None, &recs);
        let head = header_in_log(&parsed(&given), Offset(base), LeaderEpoch(epoch), time_ms);
        prop_assert_eq!(Ok(head.header), BatchHeader::parse(&head.bytes));
        let mut patched = BytesMut::from(&given[..]);
        set_base_offset(&mut patched, Offset(base));
        set_leader_epoch(&mut patched, LeaderEpoch(epoch));
        if let Some(time_ms) = time_ms {
            set_max_timestamp(&mut patched, TimestampType::LogAppendTime, time_ms);
        }
        prop_assert_eq!(&[&head.bytes, &given[HEADER_BYTES..]].concat(), &patched.to_vec());
    }

    #[test]
    fn any_flipped_bit_in_the_covered_range_shows(
        recs in recs(),
        at in any::<prop::sample::Index>(),
        bit in 0u8..8,
    ) {
        let mut bytes = BytesMut::from(&build(Compression::None, &recs)[..]);
        let at = header::CRC_AT + at.index(bytes.len() - header::CRC_AT);
        bytes[at] ^= 1 << bit;
        // The header may be refused before its CRC is looked at.
        let sound = Batch::parse(&bytes).is_ok_and(|batch| batch.verify_crc().is_ok());
        prop_assert!(!sound);
    }

    #[test]
    fn arbitrary_bytes_never_panic(data in proptest::collection::vec(any::<u8>(), 0..400)) {
        read_everything(&data);
    }

    #[test]
    fn damaged_batches_never_panic(
        code in 0i16..5,
        recs in recs(),
        edits in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
        cut in any::<prop::sample::Index>(),
    ) {
        let mut bytes = build(Compression::from_code(code).unwrap(), &recs).to_vec();
        for (at, value) in edits {
            let at = at.index(bytes.len());
            bytes[at] = value;
        }
        read_everything(&bytes);
        bytes.truncate(cut.index(bytes.len()));
        read_everything(&bytes);
    }
}

/// Every parser there is, on bytes that may be anything.
fn read_everything(data: &[u8]) {
    let _ = BatchHeader::parse(data);
    let whole = Bytes::copy_from_slice(data);
    let _ = CheckedBatches::check(&whole);
    for batch in Batches::new(&whole).chain([Batch::parse(&whole)]).flatten() {
        let header = batch.header;
        let _ = (
            header.last_offset(),
            header.next_offset(),
            header.last_sequence(),
        );
        let _ = batch.verify_crc();
        let _ = ControlMarker::read(&batch.header, batch.body());
        let rules = ProduceRules {
            limit_bytes: LIMIT,
            require_keys: true,
            timestamps_ms: Some((0, 9)),
        };
        let _ = validate_produced(&batch, &whole, &rules);
        if let Ok(records) = records(&batch, LIMIT) {
            records.for_each(drop);
        }
    }
}
