//! Record batches (v2) as views over bytes.
//!
//! A broker stores and serves batches as they arrived: only [`records()`], [`Unpacked`] and
//! [`validate_produced`] decode records here. How far bytes were checked shows in their type: see
//! [`CheckedBatches`].
//!
//! Invariants:
//! - the CRC covers everything from the attributes on, so base offset and leader epoch can be
//!   patched in place and nothing else can;
//! - the next offset of a batch is `base + last_offset_delta + 1`, whatever its records say;
//! - all lengths come from a peer: an unchecked one never bounds a slice or sizes an allocation. A
//!   peer's mistake is an error, never a panic: property tests feed arbitrary bytes.

mod builder;
mod checked;
mod compression;
mod control;
mod cursor;
mod header;
mod patch;
mod records;
mod rewrite;
mod scan;
mod validate;

use bytes::Bytes;
use thiserror::Error;

pub use builder::BatchBuilder;
pub use checked::{CheckedBatches, ParsedBatches, Verified};
pub use compression::{Codec, Compression};
pub use control::{ControlKind, ControlMarker, build_marker};
pub use header::{
    Attributes, BatchHeader, HEADER_BYTES, LENGTH_PREFIX_BYTES, MAGIC_V2, NO_PRODUCER_EPOCH,
    NO_SEQUENCE, NO_TIMESTAMP, TimestampType,
};
pub use patch::{HeaderInLog, header_in_log, set_base_offset, set_leader_epoch, set_max_timestamp};
pub use records::{RecordHeader, RecordView, Records, records};
pub use rewrite::{Kept, StoredRecord, Unpacked, emptied};
pub use scan::find_record;
pub use validate::{
    BadRecord, ProduceRules, ProducedBatch, ProducedBatchError, RecordProblem, validate_produced,
};

use crate::ids::Offset;

/// What is wrong with a batch.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum BatchError {
    /// Fewer bytes than a header or than the batch says it has.
    #[error("{have} bytes where {need} are needed")]
    TooShort { need: usize, have: usize },
    /// A length field that does not cover the header.
    #[error("batch length {0} is smaller than a header")]
    Length(i32),
    /// A record format besides 2.
    #[error("record format {0} is not supported, only 2")]
    Magic(i8),
    /// The content does not match its checksum.
    #[error("CRC is {computed:08x}, the batch says {stored:08x}")]
    Crc { stored: u32, computed: u32 },
    /// Offsets that are negative or overflow.
    #[error("offsets from {base} with last delta {last_offset_delta} are no range")]
    OffsetRange {
        base: Offset,
        last_offset_delta: i32,
    },
    /// A negative record count.
    #[error("record count {0} is negative")]
    RecordCount(i32),
    /// A batch that begins before the end of the one before it.
    #[error("batch begins at {found}, before {expected}")]
    NonMonotonic {
        /// Smallest base offset it could have.
        expected: Offset,
        found: Offset,
    },
    /// A codec that does not exist.
    #[error("compression codec {0} does not exist")]
    Codec(i16),
    /// Compressed data that cannot be read.
    #[error("{codec} data cannot be read: {detail}")]
    Decompress { codec: Compression, detail: String },
    /// Records that cannot be compressed.
    #[error("records cannot be compressed with {codec}: {detail}")]
    Compress { codec: Compression, detail: String },
    /// Records that are larger than the reader allows.
    #[error("records are larger than {limit_bytes} bytes")]
    TooLarge {
        /// The reader's limit.
        limit_bytes: usize,
    },
    /// A record that is malformed.
    #[error("record {index} of the batch is malformed: {problem}")]
    Record {
        /// Its place in the batch, from 0.
        index: i32,
        problem: &'static str,
    },
    /// Bytes after the last record.
    #[error("{0} bytes after the last record")]
    TrailingBytes(usize),
    /// A control record whose key or value is malformed.
    #[error("control record is malformed: {0}")]
    Control(&'static str),
}

/// One batch: its header and all of its bytes (header included). Only parsing makes one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Batch<'a> {
    pub header: BatchHeader,
    /// The whole batch, exactly [`BatchHeader::size_bytes`] long.
    pub bytes: &'a [u8],
}

impl<'a> Batch<'a> {
    /// The batch at the start of `bytes`; what follows it is left alone.
    ///
    /// Errors: as [`BatchHeader::parse`], and [`BatchError::TooShort`] when the batch is cut.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, BatchError> {
        let header = BatchHeader::parse(bytes)?;
        let need = header.size_bytes();
        match bytes.get(..need) {
            Some(bytes) => Ok(Batch { header, bytes }),
            None => Err(BatchError::TooShort {
                need,
                have: bytes.len(),
            }),
        }
    }

    /// Checks the CRC-32C of the batch against its header.
    pub fn verify_crc(&self) -> Result<(), BatchError> {
        let computed = crc_of(self.bytes);
        if computed == self.header.crc {
            Ok(())
        } else {
            Err(BatchError::Crc {
                stored: self.header.crc,
                computed,
            })
        }
    }

    /// The batch as one that may be stored, if its checksum is correct. Shares `whole`, of which it
    /// must be a part.
    ///
    /// # Panics
    /// When the batch is not a view over `whole`.
    pub fn checked(&self, whole: &Bytes) -> Result<CheckedBatches, BatchError> {
        self.verify_crc()?;
        Ok(CheckedBatches::verified(self, whole))
    }

    /// The records as stored: compressed if the batch is.
    pub fn body(&self) -> &'a [u8] {
        self.bytes.get(HEADER_BYTES..).unwrap_or_default()
    }

    /// The batch as `Bytes` that share `whole`, of which it must be a part.
    ///
    /// # Panics
    /// When the batch is not a view over `whole`.
    pub fn slice_of(&self, whole: &Bytes) -> Bytes {
        whole.slice_ref(self.bytes)
    }
}

/// CRC-32C of what a batch's checksum covers.
pub(crate) fn crc_of(batch: &[u8]) -> u32 {
    crc32c::crc32c(batch.get(header::ATTRIBUTES_AT..).unwrap_or_default())
}

/// Iterates over the batches of a byte run.
///
/// A batch that is cut at the end just ends the iteration (Kafka cuts the last one of a fetch
/// response). After an error the iteration ends.
#[derive(Clone, Debug)]
pub struct Batches<'a> {
    bytes: &'a [u8],
    position: usize,
    failed: bool,
}

impl<'a> Batches<'a> {
    /// Starts at the first byte of `bytes`, which must be the start of a batch.
    pub fn new(bytes: &'a [u8]) -> Self {
        Batches {
            bytes,
            position: 0,
            failed: false,
        }
    }

    /// Bytes of the whole batches that were handed out so far.
    pub fn position(&self) -> usize {
        self.position
    }

    fn read_next(&self) -> Result<Option<Batch<'a>>, BatchError> {
        let rest = self.bytes.get(self.position..).unwrap_or_default();
        if let Some(magic) = rest.get(header::MAGIC_AT).map(|b| *b as i8)
            && magic != MAGIC_V2
        {
            return Err(BatchError::Magic(magic));
        }
        let Some(length) = rest
            .get(header::LENGTH_AT..)
            .and_then(|r| r.first_chunk::<4>())
        else {
            return Ok(None);
        };
        let length = i32::from_be_bytes(*length);
        header::check_length(length)?;
        if rest.len() - LENGTH_PREFIX_BYTES < usize::try_from(length).unwrap_or(usize::MAX) {
            return Ok(None);
        }
        Batch::parse(rest).map(Some)
    }
}

impl<'a> Iterator for Batches<'a> {
    type Item = Result<Batch<'a>, BatchError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.failed {
            return None;
        }
        match self.read_next() {
            Ok(Some(batch)) => {
                self.position += batch.bytes.len();
                Some(Ok(batch))
            }
            Ok(None) => None,
            Err(error) => {
                self.failed = true;
                Some(Err(error))
            }
        }
    }
}

#[cfg(test)]
mod tests;
