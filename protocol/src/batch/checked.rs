//! How far batches were checked, as types: bytes → [`ParsedBatches`] → [`CheckedBatches`].
//!
//! A log takes [`CheckedBatches`] only, and only this module makes them: from a peer's bytes by
//! [`ParsedBatches::verify`] and [`super::validate_produced`], from stored bytes by
//! [`Batch::checked`]. What builds or rewrites a batch returns one, too: it has just computed the
//! checksum.
//!
//! Invariants of [`CheckedBatches`]:
//! - there is at least one batch, and the bytes are exactly those of the batches;
//! - each header was parsed from its batch, so it is never parsed again;
//! - each CRC matches;
//! - each batch begins at or past the end of the one before it.

use std::ops::Range;

use bytes::{Bytes, BytesMut};

use super::{Batch, BatchError, BatchHeader, Batches, TimestampType, set_max_timestamp};
use crate::ids::Offset;

/// A sequence of whole batches, of which only the headers were checked.
#[derive(Clone, Debug)]
pub struct ParsedBatches {
    bytes: Bytes,
    headers: Vec<BatchHeader>,
    error: Option<BatchError>,
}

/// The outcome of [`ParsedBatches::verify`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verified {
    /// The batches before the damage; `None` if there are none.
    pub good: Option<CheckedBatches>,
    /// What is wrong with the batch after them.
    pub error: Option<BatchError>,
}

impl ParsedBatches {
    /// Parses the headers of the whole batches at the start of `bytes`. A batch that is cut at the
    /// end is left out.
    pub fn parse(bytes: &Bytes) -> ParsedBatches {
        let mut batches = Batches::new(bytes);
        let (mut headers, mut error) = (Vec::new(), None);
        for batch in batches.by_ref() {
            match batch {
                Ok(batch) => headers.push(batch.header),
                Err(found) => error = Some(found),
            }
        }
        ParsedBatches {
            bytes: bytes.slice(..batches.position()),
            headers,
            error,
        }
    }

    /// The headers, in order.
    pub fn headers(&self) -> &[BatchHeader] {
        &self.headers
    }

    /// What is wrong with the header after the last of [`headers`](Self::headers).
    pub fn error(&self) -> Option<&BatchError> {
        self.error.as_ref()
    }

    /// Verifies the CRC and the order of the batches with these numbers.
    ///
    /// # Panics
    /// When there are no such batches.
    pub fn verify(mut self, numbers: Range<usize>) -> Verified {
        let size = |headers: &[BatchHeader]| -> usize {
            headers.iter().map(BatchHeader::size_bytes).sum()
        };
        let start = size(&self.headers[..numbers.start]);
        self.headers.truncate(numbers.end);
        self.headers.drain(..numbers.start);
        let (mut good, mut end) = (0, start);
        let (mut next_offset, mut error) = (Offset::NONE, None);
        for header in &self.headers {
            let batch = Batch {
                header: *header,
                bytes: &self.bytes[end..end + header.size_bytes()],
            };
            let follows = match header.base_offset >= next_offset {
                true => Ok(()),
                false => Err(BatchError::NonMonotonic {
                    expected: next_offset,
                    found: header.base_offset,
                }),
            };
            if let Err(found) = follows.and_then(|()| batch.verify_crc()) {
                error = Some(found);
                break;
            }
            (good, end) = (good + 1, end + header.size_bytes());
            next_offset = header.next_offset();
        }
        self.headers.truncate(good);
        let bytes = self.bytes.slice(start..end);
        let headers = Headers::Many(self.headers);
        Verified {
            good: (good > 0).then(|| CheckedBatches::new(bytes, headers)),
            error,
        }
    }
}

/// Batches that may be stored: see the invariants of this module. Cheap to clone.
#[derive(Clone, Debug)]
pub struct CheckedBatches {
    bytes: Bytes,
    headers: Headers,
}

/// One batch, the usual case, needs no allocation.
#[derive(Clone, Debug)]
enum Headers {
    One([BatchHeader; 1]),
    Many(Vec<BatchHeader>),
}

impl CheckedBatches {
    fn new(bytes: Bytes, headers: Headers) -> CheckedBatches {
        let checked = CheckedBatches { bytes, headers };
        let sizes = checked.headers().iter().map(BatchHeader::size_bytes);
        assert_eq!(
            sizes.sum::<usize>(),
            checked.bytes.len(),
            "the bytes are those of the batches"
        );
        checked
    }

    /// Checks `bytes`, which must be whole batches and nothing else.
    ///
    /// Errors: as [`BatchHeader::parse`]; `TooShort` for bytes that are no whole batch, `Crc`,
    /// `NonMonotonic`.
    pub fn check(bytes: &Bytes) -> Result<CheckedBatches, BatchError> {
        let parsed = ParsedBatches::parse(bytes);
        let rest = bytes.len() - parsed.bytes.len();
        let cut = BatchError::TooShort {
            need: super::HEADER_BYTES.max(rest + 1),
            have: rest,
        };
        let count = parsed.headers.len();
        let broken = parsed.error.clone();
        let verified = parsed.verify(0..count);
        match (verified.error.or(broken), verified.good) {
            (Some(error), _) => Err(error),
            (None, Some(checked)) if rest == 0 => Ok(checked),
            (None, _) => Err(cut),
        }
    }

    /// One batch whose checksum was verified.
    pub(super) fn verified(batch: &Batch<'_>, whole: &Bytes) -> CheckedBatches {
        CheckedBatches::new(batch.slice_of(whole), Headers::One([batch.header]))
    }

    /// One batch whose checksum was computed just now.
    ///
    /// Errors: as [`Batch::parse`], for a batch that was built to be impossible.
    pub(super) fn sealed(bytes: Bytes) -> Result<CheckedBatches, BatchError> {
        let batch = Batch::parse(&bytes)?;
        debug_assert_eq!(batch.verify_crc(), Ok(()), "the checksum was just computed");
        let header = batch.header;
        Ok(CheckedBatches::new(bytes, Headers::One([header])))
    }

    pub fn headers(&self) -> &[BatchHeader] {
        match &self.headers {
            Headers::One(header) => header,
            Headers::Many(headers) => headers,
        }
    }

    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    pub fn first(&self) -> &BatchHeader {
        &self.headers()[0]
    }

    pub fn last(&self) -> &BatchHeader {
        let headers = self.headers();
        &headers[headers.len() - 1]
    }

    /// The batch, where there is only one.
    ///
    /// # Panics
    /// When there are several.
    pub fn only(&self) -> Batch<'_> {
        assert_eq!(self.headers().len(), 1, "one batch is meant");
        Batch {
            header: *self.first(),
            bytes: &self.bytes,
        }
    }

    /// Each batch, in order.
    pub fn iter(&self) -> impl Iterator<Item = Batch<'_>> {
        let mut rest = &self.bytes[..];
        self.headers().iter().map(move |header| {
            let (bytes, after) = rest.split_at(header.size_bytes());
            rest = after;
            Batch {
                header: *header,
                bytes,
            }
        })
    }

    /// The batch, if there is only one, with a different largest timestamp. Bytes that are shared
    /// are copied.
    ///
    /// # Panics
    /// When there are several batches.
    pub fn with_max_timestamp(self, kind: TimestampType, max_timestamp_ms: i64) -> CheckedBatches {
        let mut header = self.only().header;
        let mut bytes = BytesMut::from(self.bytes);
        set_max_timestamp(&mut bytes, kind, max_timestamp_ms);
        header.set_max_timestamp(&bytes, max_timestamp_ms);
        CheckedBatches::new(bytes.freeze(), Headers::One([header]))
    }
}

impl PartialEq for CheckedBatches {
    fn eq(&self, other: &Self) -> bool {
        self.bytes == other.bytes
    }
}

impl Eq for CheckedBatches {}
