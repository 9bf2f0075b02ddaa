//! What is refused of what producers send.

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
