//! Makes batches: for markers, the command line, tests and benches. Batches from clients and
//! sources are never rebuilt.

use bytes::{BufMut, BytesMut};

use super::compression::{Compression, compress};
use super::cursor::write_varlong;
use super::header::{
    Attributes, CRC_AT, HEADER_BYTES, LENGTH_PREFIX_BYTES, MAGIC_V2, NO_PRODUCER_EPOCH,
    NO_SEQUENCE, NO_TIMESTAMP, TimestampType,
};
use super::{CheckedBatches, crc_of, set_max_timestamp};
use crate::ids::{LeaderEpoch, Offset, ProducerId};

/// Collects records and settings, then writes one batch.
///
/// Without settings: base offset 0, no leader epoch, no producer, CreateTime, uncompressed.
/// Offset deltas count from 0; [`BatchBuilder::skip`] leaves holes as compaction does.
#[derive(Clone, Debug)]
pub struct BatchBuilder {
    base_offset: Offset,
    leader_epoch: LeaderEpoch,
    attributes: i16,
    compression: Compression,
    producer_id: ProducerId,
    producer_epoch: i16,
    base_sequence: i32,
    log_append_time_ms: Option<i64>,
    timestamps_ms: Option<(i64, i64)>,
    next_delta: i32,
    record_count: i32,
    records: Vec<u8>,
    scratch: Vec<u8>,
}

impl Default for BatchBuilder {
    fn default() -> Self {
        BatchBuilder::new()
    }
}

impl BatchBuilder {
    pub fn new() -> Self {
        BatchBuilder {
            base_offset: Offset::ZERO,
            leader_epoch: LeaderEpoch::NONE,
            attributes: 0,
            compression: Compression::None,
            producer_id: ProducerId::NONE,
            producer_epoch: NO_PRODUCER_EPOCH,
            base_sequence: NO_SEQUENCE,
            log_append_time_ms: None,
            timestamps_ms: None,
            next_delta: 0,
            record_count: 0,
            records: Vec::new(),
            scratch: Vec::new(),
        }
    }

    pub fn base_offset(mut self, offset: Offset) -> Self {
        self.base_offset = offset;
        self
    }

    pub fn leader_epoch(mut self, epoch: LeaderEpoch) -> Self {
        self.leader_epoch = epoch;
        self
    }

    pub fn compression(mut self, codec: Compression) -> Self {
        self.compression = codec;
        self
    }

    /// Sets the idempotent producer and the sequence of the first record.
    pub fn producer(mut self, id: ProducerId, epoch: i16, base_sequence: i32) -> Self {
        (self.producer_id, self.producer_epoch, self.base_sequence) = (id, epoch, base_sequence);
        self
    }

    /// Sets or clears the transactional bit.
    pub fn transactional(self, on: bool) -> Self {
        self.bit(Attributes::TRANSACTIONAL, on)
    }

    /// Sets or clears the control bit.
    pub fn control(self, on: bool) -> Self {
        self.bit(Attributes::CONTROL, on)
    }

    /// Makes the timestamps the broker's.
    pub fn log_append_time(mut self, now_ms: i64) -> Self {
        self.log_append_time_ms = Some(now_ms);
        self
    }

    fn bit(mut self, bit: i16, on: bool) -> Self {
        self.attributes = if on {
            self.attributes | bit
        } else {
            self.attributes & !bit
        };
        self
    }

    /// Adds a record without headers.
    pub fn record(mut self, timestamp_ms: i64, key: Option<&[u8]>, value: Option<&[u8]>) -> Self {
        self.push(timestamp_ms, key, value, &[]);
        self
    }

    /// Leaves a hole of `offsets`: before the next record, or at the end of the batch.
    pub fn skip(mut self, offsets: i32) -> Self {
        self.next_delta = self.next_delta.saturating_add(offsets);
        self
    }

    /// Adds a record. Headers are key and value.
    pub fn push(
        &mut self,
        timestamp_ms: i64,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
        headers: &[(&str, Option<&[u8]>)],
    ) {
        let (base_ms, max_ms) = self.timestamps_ms.unwrap_or((timestamp_ms, timestamp_ms));
        self.timestamps_ms = Some((base_ms, max_ms.max(timestamp_ms)));
        let record = &mut self.scratch;
        record.clear();
        record.push(0);
        write_varlong(record, timestamp_ms.wrapping_sub(base_ms));
        write_varlong(record, i64::from(self.next_delta));
        write_field(record, key);
        write_field(record, value);
        write_varlong(record, headers.len() as i64);
        for (key, value) in headers {
            write_field(record, Some(key.as_bytes()));
            write_field(record, *value);
        }
        write_varlong(&mut self.records, record.len() as i64);
        self.records.extend_from_slice(record);
        self.next_delta = self.next_delta.saturating_add(1);
        self.record_count += 1;
    }

    pub fn record_count(&self) -> i32 {
        self.record_count
    }

    /// Bytes of the records pushed so far, before compression.
    pub fn records_bytes(&self) -> usize {
        self.records.len()
    }

    /// Writes a batch that may be stored.
    ///
    /// # Panics
    /// As [`build`](Self::build), and when its base offset is no offset.
    pub fn build_checked(&self) -> CheckedBatches {
        let built = CheckedBatches::sealed(self.build().freeze());
        #[expect(clippy::expect_used, reason = "a builder writes sound headers")]
        built.expect("a batch with a base offset of its own")
    }

    /// Writes the batch, CRC included.
    ///
    /// # Panics
    /// When the batch would be larger than 2 GiB.
    pub fn build(&self) -> BytesMut {
        let packed;
        let body = match self.compression {
            Compression::None => &self.records,
            codec => {
                #[expect(clippy::expect_used, reason = "writing to memory does not fail")]
                let bytes = compress(codec.into(), &self.records).expect("compress into memory");
                packed = bytes;
                &packed
            }
        };
        let length = HEADER_BYTES - LENGTH_PREFIX_BYTES + body.len();
        assert!(
            i32::try_from(length).is_ok(),
            "a batch is smaller than 2 GiB"
        );
        let (base_ms, max_ms) = self.timestamps_ms.unwrap_or((NO_TIMESTAMP, NO_TIMESTAMP));
        let mut out = BytesMut::with_capacity(HEADER_BYTES + body.len());
        out.put_i64(self.base_offset.0);
        out.put_i32(length as i32);
        out.put_i32(self.leader_epoch.0);
        out.put_i8(MAGIC_V2);
        out.put_u32(0);
        out.put_i16(self.attributes | self.compression.code());
        out.put_i32((self.next_delta - 1).max(0));
        out.put_i64(base_ms);
        out.put_i64(max_ms);
        out.put_i64(self.producer_id.0);
        out.put_i16(self.producer_epoch);
        out.put_i32(self.base_sequence);
        out.put_i32(self.record_count);
        out.put_slice(body);
        let crc = crc_of(&out);
        out[CRC_AT..CRC_AT + 4].copy_from_slice(&crc.to_be_bytes());
        if let Some(now_ms) = self.log_append_time_ms {
            set_max_timestamp(&mut out, TimestampType::LogAppendTime, now_ms);
        }
        out
    }
}

fn write_field(out: &mut Vec<u8>, field: Option<&[u8]>) {
    match field {
        Some(bytes) => {
            write_varlong(out, bytes.len() as i64);
            out.extend_from_slice(bytes);
        }
        None => write_varlong(out, -1),
    }
}
