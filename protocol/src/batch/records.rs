//! The records of a batch, decoded: for timestamp look-ups, compaction, the command line, tests.

use std::iter::FusedIterator;

use bytes::Bytes;

use super::compression::decompress;
use super::cursor::{RawRecord, read_record};
use super::{Batch, BatchError, BatchHeader, Compression, TimestampType};
use crate::ids::Offset;

/// A header of a record. Kafka allows the same key twice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordHeader {
    /// Its key, UTF-8 by agreement.
    pub key: Bytes,
    pub value: Option<Bytes>,
}

/// A decoded record; keys and values share the decompressed buffer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordView {
    pub offset: Offset,
    /// Its timestamp in ms: the batch's max timestamp under LogAppendTime.
    pub timestamp_ms: i64,
    pub key: Option<Bytes>,
    /// Its value; none is a tombstone in a compacted topic.
    pub value: Option<Bytes>,
    /// Its headers, in order.
    pub headers: Vec<RecordHeader>,
}

/// Iterator over the records of a batch, see [`records()`]. Ends after an error.
#[derive(Clone, Debug)]
pub struct Records {
    header: BatchHeader,
    body: Bytes,
    position: usize,
    index: i32,
}

/// Decodes the records of `batch`, decompressing into at most `limit_bytes`.
///
/// The first error ends the iteration; bytes after the last record are an error too. Neither the
/// CRC nor the offsets inside are checked.
pub fn records(batch: &Batch<'_>, limit_bytes: usize) -> Result<Records, BatchError> {
    records_of(&batch.header, batch.body(), limit_bytes)
}

pub(super) fn records_of(
    header: &BatchHeader,
    body: &[u8],
    limit_bytes: usize,
) -> Result<Records, BatchError> {
    let body = match header.compression()? {
        // A batch that compaction emptied has no stream to decompress.
        _ if body.is_empty() => Bytes::new(),
        Compression::None if body.len() > limit_bytes => {
            return Err(BatchError::TooLarge { limit_bytes });
        }
        Compression::None => Bytes::copy_from_slice(body),
        codec => decompress(codec, body, limit_bytes)?.into(),
    };
    Ok(Records {
        header: *header,
        body,
        position: 0,
        index: 0,
    })
}

impl Records {
    fn view(&self, raw: &RawRecord<'_>) -> RecordView {
        let share = |field: &[u8]| self.body.slice_ref(field);
        let header = &self.header;
        RecordView {
            offset: header.base_offset + i64::from(raw.offset_delta),
            timestamp_ms: timestamp_of(header, raw.timestamp_delta_ms),
            key: raw.key.map(share),
            value: raw.value.map(share),
            headers: raw
                .headers
                .map(|(key, value)| RecordHeader {
                    key: share(key),
                    value: value.map(share),
                })
                .collect(),
        }
    }

    fn end(&mut self) -> Option<Result<RecordView, BatchError>> {
        let trailing = self.body.len() - self.position;
        self.position = self.body.len();
        (trailing > 0).then_some(Err(BatchError::TrailingBytes(trailing)))
    }
}

/// Timestamp of a record with the given delta.
pub(crate) fn timestamp_of(header: &BatchHeader, delta_ms: i64) -> i64 {
    match header.timestamp_type() {
        TimestampType::CreateTime => header.base_timestamp_ms.wrapping_add(delta_ms),
        TimestampType::LogAppendTime => header.max_timestamp_ms,
    }
}

impl Iterator for Records {
    type Item = Result<RecordView, BatchError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.index >= self.header.record_count {
            return self.end();
        }
        let mut rest = &self.body[self.position..];
        match read_record(&mut rest) {
            Ok(raw) => {
                let view = self.view(&raw);
                self.position = self.body.len() - rest.len();
                self.index += 1;
                Some(Ok(view))
            }
            Err(problem) => {
                let index = self.index;
                self.index = self.header.record_count;
                self.position = self.body.len();
                Some(Err(BatchError::Record { index, problem }))
            }
        }
    }
}

impl FusedIterator for Records {}
