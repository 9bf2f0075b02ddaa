//! Rewriting a stored batch: with what compaction keeps of it, or with another codec (Kafka's
//! `MemoryRecords.filterTo`, `MemoryRecordsBuilder`).
//!
//! Invariants:
//! - base offset, last offset, leader epoch, producer id, epoch and sequence, the transactional and
//!   the control bit stay the same, whatever happens to the records (asserted);
//! - a record that is kept keeps its offset, timestamp, key, value and headers byte by byte: only
//!   its timestamp delta changes, and only where the base timestamp moves.

use std::borrow::Cow;
use std::ops::Range;

use super::compression::{Codec, compress, decompress};
use super::cursor::{RawRecord, read_record, read_varint, read_varlong, write_varlong};
use super::header::{
    ATTRIBUTES_AT, Attributes, CRC_AT, HEADER_BYTES, LENGTH_AT, LENGTH_PREFIX_BYTES,
    MAX_TIMESTAMP_AT, NO_TIMESTAMP, TimestampType,
};
use super::records::timestamp_of;
use super::{Batch, BatchError, BatchHeader, CheckedBatches, Compression, crc_of};
use crate::ids::Offset;

const BASE_TIMESTAMP_AT: usize = 27;
const RECORD_COUNT_AT: usize = 57;

/// A record inside of an [`Unpacked`] batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StoredRecord<'a> {
    pub offset: Offset,
    /// Its timestamp in ms.
    pub timestamp_ms: i64,
    pub key: Option<&'a [u8]>,
    /// Its value; none is a tombstone.
    pub value: Option<&'a [u8]>,
    /// Its headers as they are encoded: equal bytes are equal headers.
    pub headers: &'a [u8],
}

/// A batch whose records lie decompressed in memory.
#[derive(Clone, Debug)]
pub struct Unpacked<'a> {
    batch: Batch<'a>,
    body: Cow<'a, [u8]>,
}

/// The records of a batch that stay, see [`Unpacked::retain`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kept {
    /// Their place in the decompressed records.
    places: Vec<Range<usize>>,
    /// Whether nothing was left out.
    pub all: bool,
    /// Whether one of them has no value.
    pub has_tombstones: bool,
    max_timestamp_ms: i64,
}

impl Kept {
    pub fn len(&self) -> usize {
        self.places.len()
    }

    pub fn is_empty(&self) -> bool {
        self.places.is_empty()
    }
}

impl<'a> Unpacked<'a> {
    /// Decompresses the records of `batch` into at most `limit_bytes`.
    pub fn new(batch: Batch<'a>, limit_bytes: usize) -> Result<Self, BatchError> {
        let body = match batch.header.compression()? {
            _ if batch.body().is_empty() => Cow::Borrowed(batch.body()),
            Compression::None => Cow::Borrowed(batch.body()),
            codec => Cow::Owned(decompress(codec, batch.body(), limit_bytes)?),
        };
        Ok(Unpacked { batch, body })
    }

    /// Calls `each` with every record in order, until it returns false.
    pub fn for_each(
        &self,
        mut each: impl FnMut(&StoredRecord<'_>) -> bool,
    ) -> Result<(), BatchError> {
        self.walk(|record, _| each(&record))
    }

    fn walk(
        &self,
        mut each: impl FnMut(StoredRecord<'_>, Range<usize>) -> bool,
    ) -> Result<(), BatchError> {
        let header = &self.batch.header;
        let mut rest = &self.body[..];
        for index in 0..header.record_count {
            let start = self.body.len() - rest.len();
            let raw =
                read_record(&mut rest).map_err(|problem| BatchError::Record { index, problem })?;
            if !each(view(header, &raw), start..self.body.len() - rest.len()) {
                return Ok(());
            }
        }
        match rest.len() {
            0 => Ok(()),
            trailing => Err(BatchError::TrailingBytes(trailing)),
        }
    }

    /// Selects the records for which `stays` returns true.
    pub fn retain(
        &self,
        mut stays: impl FnMut(&StoredRecord<'_>) -> bool,
    ) -> Result<Kept, BatchError> {
        let mut kept = Kept {
            places: Vec::new(),
            all: true,
            has_tombstones: false,
            max_timestamp_ms: NO_TIMESTAMP,
        };
        self.walk(|record, place| {
            if stays(&record) {
                kept.places.push(place);
                kept.has_tombstones |= record.value.is_none();
                kept.max_timestamp_ms = kept.max_timestamp_ms.max(record.timestamp_ms);
            } else {
                kept.all = false;
            }
            true
        })?;
        Ok(kept)
    }

    /// The batch with the records that stay, under its codec. With `delete_horizon_ms` that
    /// becomes its base timestamp, and the attribute bit says so (KIP-534).
    ///
    /// Errors: what is left cannot be compressed or is larger than a batch can be.
    pub fn rebuild(
        &self,
        kept: &Kept,
        delete_horizon_ms: Option<i64>,
    ) -> Result<CheckedBatches, BatchError> {
        let header = &self.batch.header;
        let mut body = Vec::with_capacity(self.body.len());
        for place in &kept.places {
            let record = self.body.get(place.clone()).unwrap_or_default();
            match delete_horizon_ms {
                None => body.extend_from_slice(record),
                Some(base_ms) => rebase(header, base_ms, record, &mut body)?,
            }
        }
        let codec = header.compression()?;
        let mut out = with_body(self.batch.bytes, &pack(codec.into(), &body)?)?;
        if let Some(horizon_ms) = delete_horizon_ms {
            let bits = header.attributes.0 | Attributes::DELETE_HORIZON;
            put(&mut out, ATTRIBUTES_AT, &bits.to_be_bytes());
            put(&mut out, BASE_TIMESTAMP_AT, &horizon_ms.to_be_bytes());
        }
        let count = kept.places.len() as i32;
        put(&mut out, RECORD_COUNT_AT, &count.to_be_bytes());
        if header.timestamp_type() == TimestampType::CreateTime {
            put(
                &mut out,
                MAX_TIMESTAMP_AT,
                &kept.max_timestamp_ms.to_be_bytes(),
            );
        }
        sealed(out, header)
    }

    /// The batch with all of its records under another codec.
    ///
    /// Errors: as [`Unpacked::rebuild`].
    pub fn recompress(&self, codec: Codec) -> Result<CheckedBatches, BatchError> {
        let mut out = with_body(self.batch.bytes, &pack(codec, &self.body)?)?;
        let bits = self.batch.header.attributes.0 & !Attributes::CODEC;
        let bits = bits | codec.compression.code();
        put(&mut out, ATTRIBUTES_AT, &bits.to_be_bytes());
        sealed(out, &self.batch.header)
    }
}

/// The batch of `header` without any record, for the sequence numbers that it carries
/// (`DefaultRecordBatch.writeEmptyHeader`).
pub fn emptied(batch: &Batch<'_>) -> Result<CheckedBatches, BatchError> {
    let mut out = batch.bytes.get(..HEADER_BYTES).unwrap_or_default().to_vec();
    let keep = Attributes::LOG_APPEND_TIME | Attributes::TRANSACTIONAL | Attributes::CONTROL;
    let bits = batch.header.attributes.0 & keep;
    let length = (HEADER_BYTES - LENGTH_PREFIX_BYTES) as i32;
    put(&mut out, LENGTH_AT, &length.to_be_bytes());
    put(&mut out, ATTRIBUTES_AT, &bits.to_be_bytes());
    put(&mut out, BASE_TIMESTAMP_AT, &NO_TIMESTAMP.to_be_bytes());
    put(&mut out, RECORD_COUNT_AT, &0_i32.to_be_bytes());
    sealed(out, &batch.header)
}

fn view<'a>(header: &BatchHeader, raw: &RawRecord<'a>) -> StoredRecord<'a> {
    StoredRecord {
        offset: header.base_offset + i64::from(raw.offset_delta),
        timestamp_ms: timestamp_of(header, raw.timestamp_delta_ms),
        key: raw.key,
        value: raw.value,
        headers: raw.headers.bytes(),
    }
}

/// Copies a record, with its timestamp relative to another base.
fn rebase(
    header: &BatchHeader,
    base_ms: i64,
    record: &[u8],
    out: &mut Vec<u8>,
) -> Result<(), BatchError> {
    let malformed = |problem| BatchError::Record { index: 0, problem };
    let mut rest = record;
    read_varint(&mut rest).map_err(malformed)?;
    let (attributes, mut rest) = rest.split_first().ok_or(malformed("no attributes"))?;
    let delta_ms = read_varlong(&mut rest).map_err(malformed)?;
    let timestamp_ms = timestamp_of(header, delta_ms);
    let mut front = vec![*attributes];
    write_varlong(&mut front, timestamp_ms.wrapping_sub(base_ms));
    write_varlong(out, (front.len() + rest.len()) as i64);
    out.extend_from_slice(&front);
    out.extend_from_slice(rest);
    Ok(())
}

fn pack(codec: Codec, body: &[u8]) -> Result<Cow<'_, [u8]>, BatchError> {
    if codec.compression == Compression::None {
        return Ok(Cow::Borrowed(body));
    }
    let packed = compress(codec, body).map_err(|error| BatchError::Compress {
        codec: codec.compression,
        detail: error.to_string(),
    })?;
    Ok(Cow::Owned(packed))
}

/// The header of `batch` before `body`; the CRC is still to be set.
fn with_body(batch: &[u8], body: &[u8]) -> Result<Vec<u8>, BatchError> {
    let length = HEADER_BYTES - LENGTH_PREFIX_BYTES + body.len();
    let length = i32::try_from(length).map_err(|_| BatchError::TooLarge {
        limit_bytes: i32::MAX as usize,
    })?;
    let mut out = Vec::with_capacity(HEADER_BYTES + body.len());
    out.extend_from_slice(batch.get(..HEADER_BYTES).unwrap_or_default());
    put(&mut out, LENGTH_AT, &length.to_be_bytes());
    out.extend_from_slice(body);
    Ok(out)
}

fn put(out: &mut [u8], at: usize, bytes: &[u8]) {
    if let Some(place) = out.get_mut(at..at + bytes.len()) {
        place.copy_from_slice(bytes);
    }
}

/// Sets the CRC: the batch is whole now.
fn sealed(mut out: Vec<u8>, before: &BatchHeader) -> Result<CheckedBatches, BatchError> {
    let crc = crc_of(&out);
    put(&mut out, CRC_AT, &crc.to_be_bytes());
    let sealed = CheckedBatches::sealed(out.into())?;
    assert_eq!(
        kept_of(before),
        kept_of(sealed.first()),
        "a rewritten batch keeps what its producer and its readers know it by"
    );
    Ok(sealed)
}

/// The header fields that a rewritten batch keeps.
fn kept_of(header: &BatchHeader) -> impl PartialEq + std::fmt::Debug + use<> {
    let offsets = (header.base_offset, header.last_offset_delta);
    let producer = (
        header.producer_id,
        header.producer_epoch,
        header.base_sequence,
    );
    let bits = (header.is_transactional(), header.is_control());
    (offsets, header.leader_epoch, producer, bits)
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use proptest::prelude::*;

    use super::*;
    use crate::batch::{BatchBuilder, records};
    use crate::ids::{LeaderEpoch, ProducerId};

    const LIMIT: usize = 1 << 20;

    fn sample(codec: Compression) -> Vec<u8> {
        let mut builder = BatchBuilder::new()
            .base_offset(Offset(100))
            .leader_epoch(LeaderEpoch(3))
            .compression(codec)
            .producer(ProducerId(7), 2, 40)
            .transactional(true);
        let twice: [(&str, Option<&[u8]>); 3] = [("h", Some(b"1")), ("h", None), ("", Some(b""))];
        builder.push(5_000, Some(b"a"), Some(b"1"), &twice);
        builder.push(4_000, Some(b"b"), None, &[]);
        builder.push(9_000, Some(b"c"), Some(b"3"), &[]);
        builder.skip(2).build().to_vec()
    }

    fn parsed(bytes: &[u8]) -> Batch<'_> {
        let batch = Batch::parse(bytes).unwrap();
        assert_eq!(batch.bytes.len(), bytes.len());
        batch.verify_crc().unwrap();
        batch
    }

    fn same_but_records(a: &BatchHeader, b: &BatchHeader) {
        assert_eq!(
            (a.base_offset, a.last_offset_delta, a.leader_epoch),
            (b.base_offset, b.last_offset_delta, b.leader_epoch)
        );
        assert_eq!(
            (a.producer_id, a.producer_epoch, a.base_sequence),
            (b.producer_id, b.producer_epoch, b.base_sequence)
        );
        assert_eq!(
            (a.is_transactional(), a.is_control(), a.timestamp_type()),
            (b.is_transactional(), b.is_control(), b.timestamp_type())
        );
    }

    #[test]
    fn what_stays_is_the_same_under_every_codec_and_horizon() {
        for codec in Compression::ALL {
            for horizon in [None, Some(77_000)] {
                let bytes = sample(codec);
                let batch = parsed(&bytes);
                let before: Vec<_> = records(&batch, LIMIT)
                    .unwrap()
                    .map(Result::unwrap)
                    .collect();
                let unpacked = Unpacked::new(batch, LIMIT).unwrap();
                let kept = unpacked
                    .retain(|record| record.offset != Offset(102))
                    .unwrap();
                assert!(!kept.all && kept.has_tombstones && kept.len() == 2);
                let rebuilt = unpacked.rebuild(&kept, horizon).unwrap();
                let after = parsed(rebuilt.bytes());
                same_but_records(&batch.header, &after.header);
                assert_eq!(after.header.compression().unwrap(), codec);
                assert_eq!(after.header.max_timestamp_ms, 5_000);
                assert_eq!(
                    after.header.attributes.has_delete_horizon(),
                    horizon.is_some()
                );
                assert_eq!(after.header.base_timestamp_ms, horizon.unwrap_or(5_000));
                let left: Vec<_> = records(&after, LIMIT)
                    .unwrap()
                    .map(Result::unwrap)
                    .collect();
                assert_eq!(left, before[..2]);
                assert_eq!(left[0].headers.len(), 3);
            }
        }
    }

    #[test]
    fn broker_timestamps_survive_a_horizon() {
        let bytes = BatchBuilder::new()
            .record(5, Some(b"a"), None)
            .log_append_time(1_234)
            .build();
        let unpacked = Unpacked::new(parsed(&bytes), LIMIT).unwrap();
        let kept = unpacked.retain(|_| true).unwrap();
        let rebuilt = unpacked.rebuild(&kept, Some(9_999)).unwrap();
        let after = parsed(rebuilt.bytes());
        assert_eq!(after.header.max_timestamp_ms, 1_234);
        let record = records(&after, LIMIT).unwrap().next().unwrap().unwrap();
        assert_eq!(record.timestamp_ms, 1_234);
    }

    #[test]
    fn an_emptied_batch_keeps_what_its_producer_needs() {
        let bytes = sample(Compression::Zstd);
        let before = parsed(&bytes);
        let empty = emptied(&before).unwrap();
        let after = parsed(empty.bytes());
        assert_eq!(empty.bytes().len(), HEADER_BYTES);
        same_but_records(&before.header, &after.header);
        assert_eq!(
            after.header.max_timestamp_ms,
            before.header.max_timestamp_ms
        );
        assert_eq!(after.header.record_count, 0);
        assert_eq!(after.header.compression(), Ok(Compression::None));
        assert_eq!(records(&after, LIMIT).unwrap().count(), 0);
        assert!(
            Unpacked::new(after, LIMIT)
                .unwrap()
                .retain(|_| true)
                .unwrap()
                .is_empty()
        );
    }

    proptest! {
        #[test]
        fn recompression_changes_the_codec_and_nothing_else(
            from in 0i16..5, to in 0i16..5,
            values in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..50), 1..20),
        ) {
            let from = Compression::from_code(from).unwrap();
            let to = Compression::from_code(to).unwrap();
            let mut builder = BatchBuilder::new().compression(from).base_offset(Offset(9));
            for (n, value) in values.iter().enumerate() {
                builder.push(n as i64 * 10, None, Some(value), &[("x", None)]);
            }
            let bytes = builder.build();
            let batch = parsed(&bytes);
            let packed = Unpacked::new(batch, LIMIT).unwrap().recompress(to.into()).unwrap();
            let after = parsed(packed.bytes());
            same_but_records(&batch.header, &after.header);
            prop_assert_eq!(after.header.compression().unwrap(), to);
            prop_assert_eq!(after.header.record_count, batch.header.record_count);
            let all = |batch: &Batch<'_>| -> Vec<(Offset, i64, Option<Bytes>)> {
                let read = records(batch, LIMIT).unwrap().map(Result::unwrap);
                read.map(|r| (r.offset, r.timestamp_ms, r.value)).collect()
            };
            prop_assert_eq!(all(&batch), all(&after));
        }

        #[test]
        fn damaged_batches_are_errors(
            at in 61usize..150, flip in 1u8.., code in 0i16..5,
        ) {
            let mut bytes = sample(Compression::from_code(code).unwrap());
            let at = at.min(bytes.len() - 1);
            bytes[at] ^= flip;
            if let Ok(batch) = Batch::parse(&bytes)
                && let Ok(unpacked) = Unpacked::new(batch, LIMIT)
                && let Ok(kept) = unpacked.retain(|_| true)
            {
                let _ = unpacked.rebuild(&kept, Some(1));
            }
        }
    }
}
