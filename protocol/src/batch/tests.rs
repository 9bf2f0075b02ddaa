//! Record batches: what is parsed, built, patched and refused.

mod checked;
mod producers;

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
        // The header may be refused before its CRC is checked.
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
