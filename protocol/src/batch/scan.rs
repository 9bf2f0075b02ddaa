//! Walks through the records of a batch without holding them: keys, values and headers are skipped
//! as the codec produces them (Kafka's `skipKeyValueIterator`).
//!
//! Invariant: memory is the codec's own window and one buffer, whatever the decompressed size.

use std::io::{self, BufRead, BufReader, Read};

use super::compression::{Compression, SnappyReader};
use super::cursor::read_varlong;
use super::records::timestamp_of;
use super::{Batch, BatchError, BatchHeader};
use crate::ids::Offset;

const BUFFER_BYTES: usize = 16 << 10;
/// The longest numbers of 32 and 64 bits.
const VARINT_MAX_BYTES: usize = 5;
const VARLONG_MAX_BYTES: usize = 10;

/// Which parts of a record are checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Scanned {
    pub timestamp_delta_ms: i64,
    pub offset_delta: i32,
    pub has_key: bool,
}

/// Calls `each` with every record of a batch with these `records`, as stored, until it returns
/// false; returns the number of decompressed bytes.
///
/// Errors: `TooLarge` past `limit_bytes`; records that are malformed, or more or fewer than the
/// header says.
pub(crate) fn scan(
    header: &BatchHeader,
    records: &[u8],
    limit_bytes: usize,
    mut each: impl FnMut(i32, Scanned) -> bool,
) -> Result<usize, BatchError> {
    let codec = header.compression()?;
    let reader: Box<dyn Read + '_> = match codec {
        Compression::None => {
            return Scan::new(records, codec, limit_bytes).run(header.record_count, each);
        }
        Compression::Gzip => Box::new(flate2::bufread::MultiGzDecoder::new(records)),
        Compression::Snappy => Box::new(SnappyReader::new(records, limit_bytes)),
        Compression::Lz4 => Box::new(lz4_flex::frame::FrameDecoder::new(records)),
        Compression::Zstd => Box::new(zstd::stream::read::Decoder::with_buffer(records).map_err(
            |error| BatchError::Decompress {
                codec,
                detail: error.to_string(),
            },
        )?),
    };
    let reader = BufReader::with_capacity(BUFFER_BYTES, reader);
    Scan::new(reader, codec, limit_bytes).run(header.record_count, &mut each)
}

/// The first record of `batch` that is `wanted`, by offset and timestamp in ms: its own. The batch
/// is unfolded to at most `limit_bytes`, and not held.
///
/// Errors: what is before the record is malformed.
pub fn find_record(
    batch: &Batch<'_>,
    limit_bytes: usize,
    wanted: impl Fn(Offset, i64) -> bool,
) -> Result<Option<(Offset, i64)>, BatchError> {
    let header = &batch.header;
    let mut found = None;
    if batch.body().is_empty() {
        // A batch that compaction emptied has no stream to decompress.
        return Ok(None);
    }
    scan(header, batch.body(), limit_bytes, |_, record| {
        let offset = header.base_offset + i64::from(record.offset_delta);
        let timestamp_ms = timestamp_of(header, record.timestamp_delta_ms);
        found = wanted(offset, timestamp_ms).then_some((offset, timestamp_ms));
        found.is_none()
    })?;
    Ok(found)
}

/// Why a record cannot be read.
enum Problem {
    Malformed(&'static str),
    Batch(BatchError),
}

struct Scan<R> {
    reader: R,
    codec: Compression,
    limit_bytes: usize,
    /// Bytes taken so far.
    taken: usize,
    /// Where the current record ends.
    record_end: usize,
}

impl<R: BufRead> Scan<R> {
    fn new(reader: R, codec: Compression, limit_bytes: usize) -> Self {
        Scan {
            reader,
            codec,
            limit_bytes,
            taken: 0,
            record_end: usize::MAX,
        }
    }

    fn run(
        mut self,
        record_count: i32,
        mut each: impl FnMut(i32, Scanned) -> bool,
    ) -> Result<usize, BatchError> {
        for index in 0..record_count {
            match self.record() {
                Ok(record) if each(index, record) => {}
                Ok(_) => return Ok(self.taken),
                Err(Problem::Malformed(problem)) => {
                    return Err(BatchError::Record { index, problem });
                }
                Err(Problem::Batch(error)) => return Err(error),
            }
        }
        match self.rest() {
            Ok(0) => Ok(self.taken),
            Ok(trailing) => Err(BatchError::TrailingBytes(trailing)),
            Err(Problem::Malformed(_)) => Err(BatchError::TrailingBytes(0)),
            Err(Problem::Batch(error)) => Err(error),
        }
    }

    fn record(&mut self) -> Result<Scanned, Problem> {
        self.record_end = usize::MAX;
        let length = self.varint()?;
        let length = usize::try_from(length).map_err(|_| Problem::Malformed("negative length"))?;
        self.record_end = self.taken.saturating_add(length);
        self.skip(1, "no attributes")?;
        let timestamp_delta_ms = self.varlong()?;
        let offset_delta = self.varint()?;
        let has_key = self.skip_field()?;
        self.skip_field()?;
        let headers = self.varint()?;
        if headers < 0 {
            return Err(Problem::Malformed("negative header count"));
        }
        for _ in 0..headers {
            if !self.skip_field()? {
                return Err(Problem::Malformed("header without a key"));
            }
            self.skip_field()?;
        }
        if self.taken != self.record_end {
            return Err(Problem::Malformed("bytes after the last header"));
        }
        Ok(Scanned {
            timestamp_delta_ms,
            offset_delta,
            has_key,
        })
    }

    /// Skips a key or a value; whether there is one.
    fn skip_field(&mut self) -> Result<bool, Problem> {
        let length = self.varint()?;
        let Ok(length) = usize::try_from(length) else {
            return Ok(false);
        };
        self.skip(length, "field longer than the record")?;
        Ok(true)
    }

    fn skip(&mut self, mut bytes: usize, cut: &'static str) -> Result<(), Problem> {
        if bytes > self.record_end - self.taken {
            return Err(Problem::Malformed(cut));
        }
        while bytes > 0 {
            let there = self.fill()?.len();
            if there == 0 {
                return Err(Problem::Malformed("longer than the batch"));
            }
            let now = there.min(bytes);
            self.take(now)?;
            bytes -= now;
        }
        Ok(())
    }

    fn varint(&mut self) -> Result<i32, Problem> {
        let value = self.zigzag(VARINT_MAX_BYTES)?;
        i32::try_from(value).map_err(|_| Problem::Malformed("varint exceeds 32 bits"))
    }

    fn varlong(&mut self) -> Result<i64, Problem> {
        self.zigzag(VARLONG_MAX_BYTES)
    }

    fn zigzag(&mut self, max_bytes: usize) -> Result<i64, Problem> {
        let mut bytes = [0; VARLONG_MAX_BYTES];
        for place in 0..max_bytes {
            let Some(byte) = self.fill()?.first().copied() else {
                return Err(Problem::Malformed("varint is cut"));
            };
            if self.taken >= self.record_end {
                return Err(Problem::Malformed("varint is cut"));
            }
            self.take(1)?;
            bytes[place] = byte;
            if byte & 0x80 == 0 {
                let mut whole = bytes.get(..=place).unwrap_or_default();
                return read_varlong(&mut whole).map_err(Problem::Malformed);
            }
        }
        Err(Problem::Malformed("varint is too long"))
    }

    /// What the codec has next; empty at its end.
    fn fill(&mut self) -> Result<&[u8], Problem> {
        let (codec, limit_bytes) = (self.codec, self.limit_bytes);
        self.reader.fill_buf().map_err(|error| {
            Problem::Batch(match error.downcast::<BatchError>() {
                Ok(error) => error,
                Err(error) if error.kind() == io::ErrorKind::FileTooLarge => {
                    BatchError::TooLarge { limit_bytes }
                }
                Err(error) => BatchError::Decompress {
                    codec,
                    detail: error.to_string(),
                },
            })
        })
    }

    fn take(&mut self, bytes: usize) -> Result<(), Problem> {
        self.reader.consume(bytes);
        self.taken += bytes;
        if self.taken > self.limit_bytes {
            let limit_bytes = self.limit_bytes;
            return Err(Problem::Batch(BatchError::TooLarge { limit_bytes }));
        }
        Ok(())
    }

    /// How many bytes follow the last record.
    fn rest(&mut self) -> Result<usize, Problem> {
        let mut rest = 0;
        loop {
            let there = self.fill()?.len();
            if there == 0 {
                return Ok(rest);
            }
            self.take(there)?;
            rest += there;
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::batch::{BatchBuilder, records};

    const LIMIT: usize = 1 << 20;

    proptest! {
        /// Whatever is in a batch, walking through it and decoding it agree.
        #[test]
        fn it_sees_what_decoding_sees(
            code in 0i16..5,
            fields in prop::collection::vec((any::<bool>(), 0usize..3000, any::<i64>()), 0..8),
            damage in prop::option::of((any::<prop::sample::Index>(), 1u8..)),
        ) {
            let codec = Compression::from_code(code).unwrap();
            let mut builder = BatchBuilder::new().compression(codec);
            for (has_key, size, timestamp_ms) in &fields {
                let value = vec![*size as u8; *size];
                let key = has_key.then_some(&b"key"[..]);
                builder.push(*timestamp_ms, key, Some(&value), &[("h", None), ("h", Some(b"x"))]);
            }
            let mut bytes = builder.build();
            if let Some((at, flip)) = damage {
                let at = super::super::HEADER_BYTES + at.index(bytes.len());
                if let Some(byte) = bytes.get_mut(at) {
                    *byte ^= flip;
                }
            }
            let batch = Batch::parse(&bytes).unwrap();
            let mut seen = Vec::new();
            let scanned = scan(&batch.header, batch.body(), LIMIT, |_, record| {
                seen.push((i64::from(record.offset_delta), record.has_key));
                true
            });
            let decoded: Result<Vec<_>, BatchError> =
                records(&batch, LIMIT).and_then(|records| records.collect());
            match decoded {
                // How much damage zstd finds in a frame without content depends on the size of the buffer it fills.
                Ok(decoded) if decoded.is_empty() => prop_assert!(seen.is_empty()),
                Ok(decoded) => {
                    let decoded: Vec<_> =
                        decoded.iter().map(|r| (r.offset.0, r.key.is_some())).collect();
                    prop_assert!(scanned.is_ok(), "{scanned:?}");
                    prop_assert_eq!(seen, decoded);
                }
                Err(error) => prop_assert!(scanned.is_err(), "{error}"),
            }
        }
    }
}
