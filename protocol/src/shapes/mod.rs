//! Preflight of message bodies: whether all lengths and counts fit in the bytes there are.
//!
//! The codec sizes vectors by counts that it reads, so four bytes could ask for gigabytes. Hence
//! each body is walked first, by a short description of its fields (`parse` has the notation,
//! `requests` and `responses` the fields). The walk allocates nothing, looks at lengths only and
//! skips everything else, records included, so its cost grows with the number of fields rather
//! than with bytes.
//!
//! Invariants of a body that passed:
//! - every count was followed by at least count × smallest item bytes when it was read;
//! - all arrays and tagged fields together have at most [`REQUEST_ELEMENTS_MAX`] (or
//!   [`RESPONSE_ELEMENTS_MAX`]) elements;
//! - the body ends where the last field does.
//!
//! All of it comes from the wire, so a body that breaks one is an error.

mod parse;
mod requests;
mod responses;
#[cfg(any(test, feature = "testing"))]
mod sample;
mod walk;

use std::sync::LazyLock;

use thiserror::Error;

use self::parse::{Description, Program, compile};
use self::walk::Walk;

/// Most elements a request may hold: what the codec builds of one takes up to 100 bytes or so.
pub const REQUEST_ELEMENTS_MAX: usize = 1 << 20;
/// Most elements a response may hold: a source's metadata of a million partitions fits.
pub const RESPONSE_ELEMENTS_MAX: usize = 1 << 23;
/// Most tagged fields a header may hold.
const HEADER_TAGS_MAX: usize = 64;

/// Why a body does not have the shape of its API and version.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum ShapeError {
    /// There is no description: the API or this version is not read here.
    #[error("API key {api_key} version {version} is not supported")]
    Unsupported { api_key: i16, version: i16 },
    /// A length, count or tag that the body cannot have.
    #[error("API key {api_key} version {version}, byte {at} of the body: {problem}")]
    Malformed {
        api_key: i16,
        version: i16,
        /// Where in the body the walk stopped.
        at: usize,
        /// What is wrong there.
        problem: Problem,
    },
}

/// What is wrong with a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum Problem {
    /// The body ends inside a field.
    #[error("the body ends inside a field")]
    Cut,
    /// A length below -1.
    #[error("a length is negative")]
    NegativeLength,
    /// A null where there must be a value.
    #[error("a field that cannot be null is null")]
    Null,
    /// A struct that is neither there nor null.
    #[error("a nullable struct begins with neither 1 nor -1")]
    Presence,
    /// A varint of more than 32 bits.
    #[error("a varint has more than 32 bits")]
    Varint,
    /// More elements than a message may hold.
    #[error("too many elements")]
    Elements,
    /// A known tagged field with another size than its content.
    #[error("a tagged field does not have the size it says")]
    TagSize,
    /// Bytes after the last field of a response.
    #[error("bytes after the last field")]
    TrailingBytes,
}

/// Programs of one kind of message, by API key and version.
struct Table {
    by_key: Vec<Option<Versions>>,
}

struct Versions {
    first: i16,
    programs: Vec<Program>,
}

impl Table {
    fn new(descriptions: &[Description]) -> Self {
        let mut table = Table { by_key: Vec::new() };
        for description in descriptions {
            let Ok(key) = usize::try_from(description.api_key) else {
                continue;
            };
            let programs = description
                .versions
                .clone()
                .map_while(|v| compile(description, v));
            let versions = Versions {
                first: *description.versions.start(),
                programs: programs.collect(),
            };
            if table.by_key.len() <= key {
                table.by_key.resize_with(key + 1, || None);
            }
            table.by_key[key] = Some(versions);
        }
        table
    }

    fn program(&self, api_key: i16, version: i16) -> Option<&Program> {
        let versions = self.by_key.get(usize::try_from(api_key).ok()?)?.as_ref()?;
        let place = usize::try_from(version.checked_sub(versions.first)?).ok()?;
        versions.programs.get(place)
    }
}

static REQUESTS: LazyLock<Table> = LazyLock::new(|| Table::new(requests::REQUESTS));
static RESPONSES: LazyLock<Table> = LazyLock::new(|| Table::new(responses::RESPONSES));

/// A body that has the shape of its API and version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Walked {
    /// Bytes of what has the shape.
    pub length: usize,
    /// Elements of all its arrays and tagged fields together.
    pub elements: usize,
}

/// Walks a body and checks that the codec can decode it without allocating more than there is.
///
/// Errors: an API or version without description, or a body that does not have its shape. A body
/// that passes may still be refused by the codec (a string that is no UTF-8).
///
/// In a request, bytes may follow the body: Kafka ignores them (librdkafka leaves three after a
/// Metadata request for all topics). In a response they may not.
pub fn preflight(
    api_key: i16,
    version: i16,
    is_request: bool,
    body: &[u8],
) -> Result<Walked, ShapeError> {
    let (table, elements_max) = match is_request {
        true => (&REQUESTS, REQUEST_ELEMENTS_MAX),
        false => (&RESPONSES, RESPONSE_ELEMENTS_MAX),
    };
    let Some(program) = table.program(api_key, version) else {
        return Err(ShapeError::Unsupported { api_key, version });
    };
    let mut walk = Walk::new(body, elements_max);
    let walked = walk.program(program);
    let at = body.len() - walk.remaining();
    let problem = match walked {
        Ok(()) if is_request || at == body.len() => {
            return Ok(Walked {
                length: at,
                elements: elements_max - walk.elements_left(),
            });
        }
        Ok(()) => Problem::TrailingBytes,
        Err(problem) => problem,
    };
    Err(ShapeError::Malformed {
        api_key,
        version,
        at,
        problem,
    })
}

/// A well-formed body of a request, as the seed wants it; texts are often of `words`. `None` for what
/// is not read here.
#[cfg(any(test, feature = "testing"))]
pub fn sample_request(
    api_key: i16,
    version: i16,
    seed: u64,
    words: &'static [&'static str],
) -> Option<Vec<u8>> {
    let program = REQUESTS.program(api_key, version)?;
    let mut writer = sample::Writer::new(seed, sample::Fault::None, words);
    writer.program(program);
    Some(writer.out)
}

/// As [`sample_request`], but arrays of each depth hold the given number of copies of one item, and
/// deeper ones hold one.
#[cfg(any(test, feature = "testing"))]
pub fn repeated_request(
    api_key: i16,
    version: i16,
    seed: u64,
    words: &'static [&'static str],
    copies: &'static [usize],
) -> Option<Vec<u8>> {
    let program = REQUESTS.program(api_key, version)?;
    let mut writer = sample::Writer::new(seed, sample::Fault::None, words).with_copies(copies);
    writer.program(program);
    Some(writer.out)
}

/// Bytes of the tagged fields at the start of `bytes`, their count included: those of a header.
pub(crate) fn tagged_fields_len(bytes: &[u8]) -> Result<usize, Problem> {
    let mut walk = Walk::new(bytes, HEADER_TAGS_MAX);
    walk.tags(&[])?;
    Ok(bytes.len() - walk.remaining())
}

#[cfg(test)]
mod tests;
