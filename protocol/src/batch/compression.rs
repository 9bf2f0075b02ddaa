//! Compressing and, within a limit, decompressing the records of a batch.
//!
//! Invariant: output never exceeds the caller's limit (asserted), and no buffer is sized by a number
//! found in the data before that number was checked.

use std::fmt;
use std::io::{self, Read, Write};

use super::BatchError;

/// What xerial's snappy streams (Java's, hence Kafka's) begin with: magic, then two versions.
const XERIAL_MAGIC: [u8; 8] = [0x82, b'S', b'N', b'A', b'P', b'P', b'Y', 0];
const XERIAL_HEADER_BYTES: usize = 16;
const XERIAL_BLOCK_BYTES: usize = 32 * 1024;
/// Snappy's densest element is 3 bytes for 64, so a length past this is a lie.
const SNAPPY_MAX_RATIO: usize = 22;

/// Codec of a batch's records (attribute bits 0 to 2).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Compression {
    /// Stored as they are.
    #[default]
    None,
    /// gzip (RFC 1952).
    Gzip,
    /// Snappy, in xerial's framing or raw.
    Snappy,
    /// LZ4 frame format.
    Lz4,
    /// Zstandard (KIP-110).
    Zstd,
}

impl Compression {
    /// All codecs, in order of their codes.
    pub const ALL: [Compression; 5] = [
        Compression::None,
        Compression::Gzip,
        Compression::Snappy,
        Compression::Lz4,
        Compression::Zstd,
    ];

    /// The codec of a code in the attributes.
    pub fn from_code(code: i16) -> Result<Self, BatchError> {
        usize::try_from(code)
            .ok()
            .and_then(|code| Self::ALL.get(code).copied())
            .ok_or(BatchError::Codec(code))
    }

    /// The code in the attributes.
    pub fn code(self) -> i16 {
        match self {
            Compression::None => 0,
            Compression::Gzip => 1,
            Compression::Snappy => 2,
            Compression::Lz4 => 3,
            Compression::Zstd => 4,
        }
    }

    /// Kafka's name, as in `compression.type`.
    pub fn name(self) -> &'static str {
        match self {
            Compression::None => "none",
            Compression::Gzip => "gzip",
            Compression::Snappy => "snappy",
            Compression::Lz4 => "lz4",
            Compression::Zstd => "zstd",
        }
    }

    /// The codec of a name, as in `compression.type`; `None` for any other.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|codec| codec.name() == name)
    }
}

impl fmt::Display for Compression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Decompresses `data` (which is compressed: not [`Compression::None`] on a hot path) into at most
/// `limit_bytes`.
///
/// Zstandard windows up to 128 MiB are accepted, as by Kafka; they are address space rather than
/// memory until data fills them, and data is limited.
pub(crate) fn decompress(
    codec: Compression,
    data: &[u8],
    limit_bytes: usize,
) -> Result<Vec<u8>, BatchError> {
    let failed = |error: io::Error| BatchError::Decompress {
        codec,
        detail: error.to_string(),
    };
    let out = match codec {
        Compression::None if data.len() > limit_bytes => Err(BatchError::TooLarge { limit_bytes }),
        Compression::None => Ok(data.to_vec()),
        Compression::Gzip => read_limited(
            flate2::bufread::MultiGzDecoder::new(data),
            codec,
            data,
            limit_bytes,
        ),
        Compression::Snappy => snappy_decompress(data, limit_bytes),
        Compression::Lz4 => read_limited(
            lz4_flex::frame::FrameDecoder::new(data),
            codec,
            data,
            limit_bytes,
        ),
        Compression::Zstd => {
            let reader = zstd::stream::read::Decoder::with_buffer(data).map_err(failed)?;
            read_limited(reader, codec, data, limit_bytes)
        }
    }?;
    assert!(
        out.len() <= limit_bytes,
        "{} bytes of {codec} data",
        out.len()
    );
    Ok(out)
}

fn read_limited(
    reader: impl Read,
    codec: Compression,
    data: &[u8],
    limit_bytes: usize,
) -> Result<Vec<u8>, BatchError> {
    let mut out = Vec::with_capacity(data.len().saturating_mul(3).min(limit_bytes));
    let past_limit = u64::try_from(limit_bytes)
        .unwrap_or(u64::MAX)
        .saturating_add(1);
    match reader.take(past_limit).read_to_end(&mut out) {
        Ok(_) if out.len() > limit_bytes => Err(BatchError::TooLarge { limit_bytes }),
        Ok(_) => Ok(out),
        Err(error) => Err(BatchError::Decompress {
            codec,
            detail: error.to_string(),
        }),
    }
}

fn snappy_error(detail: impl ToString) -> BatchError {
    BatchError::Decompress {
        codec: Compression::Snappy,
        detail: detail.to_string(),
    }
}

fn snappy_decompress(data: &[u8], limit_bytes: usize) -> Result<Vec<u8>, BatchError> {
    let mut out = Vec::new();
    if !data.starts_with(&XERIAL_MAGIC) {
        snappy_block(data, &mut out, limit_bytes)?;
        return Ok(out);
    }
    let mut rest = data;
    while let Some(block) = next_frame(&mut rest)? {
        snappy_block(block, &mut out, limit_bytes)?;
    }
    Ok(out)
}

/// Decompresses snappy block by block, one held at a time. Errors are [`BatchError`]s inside.
pub(crate) struct SnappyReader<'a> {
    rest: &'a [u8],
    is_framed: bool,
    limit_bytes: usize,
    block: Vec<u8>,
    position: usize,
}

impl<'a> SnappyReader<'a> {
    /// Over a stream in xerial's framing, or a raw block.
    pub fn new(data: &'a [u8], limit_bytes: usize) -> Self {
        SnappyReader {
            rest: data,
            is_framed: data.starts_with(&XERIAL_MAGIC),
            limit_bytes,
            block: Vec::new(),
            position: 0,
        }
    }

    /// Decompresses the next block; there is one.
    fn next_block(&mut self) -> Result<(), BatchError> {
        let block = if self.is_framed {
            match next_frame(&mut self.rest)? {
                Some(block) => block,
                None => return Ok(()),
            }
        } else {
            std::mem::take(&mut self.rest)
        };
        self.block.clear();
        self.position = 0;
        snappy_block(block, &mut self.block, self.limit_bytes)
    }
}

impl Read for SnappyReader<'_> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        while self.position == self.block.len() && !self.rest.is_empty() {
            self.next_block().map_err(io::Error::other)?;
        }
        let left = self.block.get(self.position..).unwrap_or_default();
        let count = left.len().min(out.len());
        out[..count].copy_from_slice(&left[..count]);
        self.position += count;
        Ok(count)
    }
}

/// The next block of a stream in xerial's framing; streams may be concatenated, each with its
/// header.
fn next_frame<'a>(rest: &mut &'a [u8]) -> Result<Option<&'a [u8]>, BatchError> {
    while rest.starts_with(&XERIAL_MAGIC) {
        *rest = rest
            .get(XERIAL_HEADER_BYTES..)
            .ok_or_else(|| snappy_error("header is cut"))?;
    }
    if rest.is_empty() {
        return Ok(None);
    }
    let (length, after) = rest
        .split_first_chunk::<4>()
        .ok_or_else(|| snappy_error("length is cut"))?;
    let (block, after) = after
        .split_at_checked(u32::from_be_bytes(*length) as usize)
        .ok_or_else(|| snappy_error("block is cut"))?;
    *rest = after;
    Ok(Some(block))
}

fn snappy_block(block: &[u8], out: &mut Vec<u8>, limit_bytes: usize) -> Result<(), BatchError> {
    let length = snap::raw::decompress_len(block).map_err(snappy_error)?;
    if length > limit_bytes.saturating_sub(out.len()) {
        return Err(BatchError::TooLarge { limit_bytes });
    }
    if length > block.len().saturating_mul(SNAPPY_MAX_RATIO) {
        return Err(snappy_error("block is longer than its data can be"));
    }
    let start = out.len();
    out.resize(start + length, 0);
    let written = snap::raw::Decoder::new()
        .decompress(block, &mut out[start..])
        .map_err(snappy_error)?;
    out.truncate(start + written);
    Ok(())
}

/// A codec to compress with, and how hard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Codec {
    pub compression: Compression,
    /// Kafka's `compression.gzip.level` (-1 to 9) or `compression.zstd.level`; `None` for the
    /// codec's default. Other codecs have none here.
    pub level: Option<i32>,
}

impl From<Compression> for Codec {
    fn from(compression: Compression) -> Self {
        Codec {
            compression,
            level: None,
        }
    }
}

impl Codec {
    fn gzip_level(self) -> flate2::Compression {
        match self.level.map(u32::try_from) {
            Some(Ok(level)) => flate2::Compression::new(level.min(9)),
            _ => flate2::Compression::default(),
        }
    }
}

/// Compresses records for a batch, as Java's producer does (snappy in xerial's framing).
pub(crate) fn compress(codec: Codec, data: &[u8]) -> io::Result<Vec<u8>> {
    match codec.compression {
        Compression::None => Ok(data.to_vec()),
        Compression::Gzip => {
            let mut writer = flate2::write::GzEncoder::new(Vec::new(), codec.gzip_level());
            writer.write_all(data)?;
            writer.finish()
        }
        Compression::Snappy => {
            let mut out = XERIAL_MAGIC.to_vec();
            out.extend_from_slice(&1u32.to_be_bytes());
            out.extend_from_slice(&1u32.to_be_bytes());
            let mut encoder = snap::raw::Encoder::new();
            for block in data.chunks(XERIAL_BLOCK_BYTES) {
                let block = encoder.compress_vec(block).map_err(io::Error::other)?;
                // At most 32 KiB and a little: fits.
                out.extend_from_slice(&(block.len() as u32).to_be_bytes());
                out.extend_from_slice(&block);
            }
            Ok(out)
        }
        Compression::Lz4 => {
            let mut writer = lz4_flex::frame::FrameEncoder::new(Vec::new());
            writer.write_all(data)?;
            writer.finish().map_err(io::Error::other)
        }
        Compression::Zstd => zstd::stream::encode_all(data, codec.level.unwrap_or(0)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const LIMIT: usize = 1 << 20;

    #[test]
    fn raw_snappy_is_read_too() {
        let data = vec![7u8; 100_000];
        let raw = snap::raw::Encoder::new().compress_vec(&data).unwrap();
        assert_eq!(decompress(Compression::Snappy, &raw, LIMIT).unwrap(), data);
    }

    #[test]
    fn concatenated_xerial_streams_are_read() {
        let mut two = compress(Compression::Snappy.into(), b"one ").unwrap();
        two.extend(compress(Compression::Snappy.into(), b"two").unwrap());
        assert_eq!(
            decompress(Compression::Snappy, &two, LIMIT).unwrap(),
            b"one two"
        );
    }

    #[test]
    fn a_bomb_is_refused_at_the_limit() {
        let data = vec![0u8; 1 << 20];
        for codec in Compression::ALL {
            let bomb = compress(codec.into(), &data).unwrap();
            let limit_bytes = data.len() - 1;
            assert_eq!(
                decompress(codec, &bomb, limit_bytes),
                Err(BatchError::TooLarge { limit_bytes }),
                "{codec}"
            );
            assert_eq!(
                decompress(codec, &bomb, data.len()).unwrap(),
                data,
                "{codec}"
            );
        }
    }

    #[test]
    fn a_snappy_length_that_lies_is_refused_before_allocation() {
        // Varint 2^30 in front of one literal byte.
        let lie = [0x80, 0x80, 0x80, 0x80, 0x04, 0x00, b'x'];
        let error = decompress(Compression::Snappy, &lie, usize::MAX).unwrap_err();
        assert!(matches!(error, BatchError::Decompress { .. }), "{error}");
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(
            code in 0i16..5,
            data in proptest::collection::vec(any::<u8>(), 0..300),
        ) {
            let codec = Compression::from_code(code).unwrap();
            let _ = decompress(codec, &data, LIMIT);
        }

        #[test]
        fn damaged_streams_never_panic(
            code in 1i16..5,
            data in proptest::collection::vec(0u8..4, 0..2000),
            at in any::<prop::sample::Index>(),
            flip in 1u8..,
        ) {
            let codec = Compression::from_code(code).unwrap();
            let mut packed = compress(codec.into(), &data).unwrap();
            let at = at.index(packed.len());
            packed[at] ^= flip;
            let _ = decompress(codec, &packed, LIMIT);
        }
    }
}
