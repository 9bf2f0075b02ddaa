//! `compression.type`, and the limits on sizes.

use carrick_protocol::batch::{Batch, Compression, RecordView, records};

use super::*;

fn sample(codec: Compression, value: &[u8]) -> Bytes {
    let mut builder = BatchBuilder::new()
        .compression(codec)
        .producer(ProducerId(3), 0, 0);
    let headers: [(&str, Option<&[u8]>); 2] = [("h", Some(b"1")), ("h", None)];
    let now_ms = now_ms();
    builder.push(now_ms, Some(b"a"), Some(value), &headers);
    builder.push(now_ms - 7, Some(b"b"), None, &[]);
    builder.build().freeze()
}

fn decoded(bytes: &[u8]) -> (Compression, Vec<RecordView>) {
    let batch = Batch::parse(bytes).unwrap();
    batch.verify_crc().unwrap();
    let codec = batch.header.compression().unwrap();
    let records = records(&batch, 1 << 20).unwrap();
    (codec, records.map(Result::unwrap).collect())
}

fn stored(it: &Fixture) -> Bytes {
    let snapshot = it.partition.snapshot();
    snapshot
        .read(Offset(0), snapshot.end(), 1 << 20, true)
        .unwrap()
}

#[test]
fn batches_are_stored_under_the_topics_codec_and_change_in_nothing_else() {
    for (name, wanted) in [
        ("uncompressed", Compression::None),
        ("gzip", Compression::Gzip),
        ("snappy", Compression::Snappy),
        ("lz4", Compression::Lz4),
        ("zstd", Compression::Zstd),
    ] {
        for sent in Compression::ALL {
            let it = local(&[("compression.type", name)]);
            let batch = sample(sent, &[b'v'; 300]);
            it.produce(&batch).unwrap();
            let stored = stored(&it);
            let (codec, records) = decoded(&stored);
            assert_eq!(
                (codec, &records),
                (wanted, &decoded(&batch).1),
                "{sent} to {name}"
            );
            let header = Batch::parse(&stored).unwrap().header;
            assert_eq!(
                (header.producer_id, header.base_sequence),
                (ProducerId(3), 0)
            );
            if sent == wanted {
                assert_eq!(stored[61..], batch[61..], "left as it was");
            }
        }
    }
}

#[test]
fn the_producers_codec_is_kept_by_default() {
    for sent in Compression::ALL {
        let it = local(&[]);
        it.produce(&sample(sent, b"v")).unwrap();
        assert_eq!(decoded(&stored(&it)).0, sent);
    }
}

#[test]
fn sizes_are_judged_again_when_the_codec_is_another() {
    let it = local(&[
        ("compression.type", "uncompressed"),
        ("max.message.bytes", "1000"),
    ]);
    let error = it
        .produce(&sample(Compression::Zstd, &[0; 5_000]))
        .unwrap_err();
    assert_eq!(partition_code(&error), ErrorCode::MESSAGE_TOO_LARGE);
    assert_eq!(it.partition.snapshot().end(), Offset(0));
    it.produce(&sample(Compression::Zstd, &[0; 500])).unwrap();
}

#[test]
fn a_batch_larger_than_a_segment_is_a_list_too_large() {
    let it = local(&[("internal.segment.bytes", "4096")]);
    let error = it
        .produce(&sample(Compression::None, &[0; 5_000]))
        .unwrap_err();
    assert_eq!(partition_code(&error), ErrorCode::RECORD_LIST_TOO_LARGE);
    it.produce(&sample(Compression::Zstd, &[0; 5_000])).unwrap();
}

#[test]
fn a_batch_that_unfolds_without_end_is_too_large() {
    let it = local(&[]);
    let bomb = sample(Compression::Zstd, &vec![0; 300 << 20]);
    assert!(bomb.len() < 1 << 20);
    let error = it.produce(&bomb).unwrap_err();
    assert_eq!(partition_code(&error), ErrorCode::MESSAGE_TOO_LARGE);
    it.produce(&sample(Compression::Zstd, &vec![0; 20 << 20]))
        .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_large_batch_is_checked_on_a_runtimes_threads_too() {
    let it = local(&[("compression.type", "gzip")]);
    it.produce(&sample(Compression::Zstd, &vec![0; 20 << 20]))
        .unwrap();
    assert_eq!(
        Batch::parse(&stored(&it)).unwrap().header.compression(),
        Ok(Compression::Gzip)
    );
}

#[test]
fn malformed_batches_have_kafkas_codes() {
    let it = local(&[]);
    let code = |bytes: Vec<u8>| partition_code(&it.produce(&bytes.into()).unwrap_err());
    let good = || sample(Compression::None, b"v").to_vec();
    let mut magic = good();
    magic[16] = 1;
    assert_eq!(code(magic), ErrorCode::INVALID_RECORD);
    assert_eq!(code(good()[..40].to_vec()), ErrorCode::INVALID_RECORD);
    let mut flipped = good();
    flipped[70] ^= 1;
    assert_eq!(code(flipped), ErrorCode::CORRUPT_MESSAGE);
    let stamped = BatchBuilder::new()
        .record(1, None, None)
        .log_append_time(5)
        .build();
    assert_eq!(code(stamped.to_vec()), ErrorCode::INVALID_TIMESTAMP);
}
