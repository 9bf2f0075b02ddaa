//! Requests as a broker reads them, responses as it writes them.
//!
//! A frame is a length i32 and that many bytes; the connection reads it whole, within its limit.
//! Request: header (api key i16, version i16, correlation id i32, client id nullable string, from
//! header version 2 on tagged fields) and body. Response: correlation id i32, from header version
//! 1 on tagged fields, and body (KIP-482).
//!
//! Invariant: only bytes that [`crate::shapes`] has walked reach the codec, because the codec
//! allocates by lengths that it reads.

use bytes::{Buf, BufMut, Bytes, BytesMut};
use kafka_protocol::messages::ApiKey;
use kafka_protocol::protocol::{Encodable, Request, StrBytes};
use thiserror::Error;

use crate::newer;
use crate::shapes::{self, ShapeError};

/// Bytes of a frame's length, which the length does not count.
pub const LENGTH_BYTES: usize = 4;

/// What is wrong with a frame.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum FrameError {
    /// The header is cut.
    #[error("the frame ends inside its header")]
    HeaderCut,
    /// The header's client id has a negative length or is no UTF-8.
    #[error("the client id is malformed")]
    ClientId,
    /// The header's tagged fields are malformed.
    #[error("the header's tagged fields are malformed")]
    HeaderTags,
    /// An API that does not exist.
    #[error("API key {0} does not exist")]
    UnknownApi(i16),
    /// The body does not have the shape of its API and version.
    #[error(transparent)]
    Shape(#[from] ShapeError),
    /// The codec refuses the body.
    #[error("API key {api_key} version {version}: {detail}")]
    Decode {
        api_key: i16,
        version: i16,
        /// What the codec says.
        detail: String,
    },
    /// Bytes after the body.
    #[error("API key {api_key} version {version}: {bytes} bytes after the body")]
    TrailingBytes {
        api_key: i16,
        version: i16,
        bytes: usize,
    },
    /// The codec refuses to write the message: a field is set that the version lacks, or it is
    /// larger than a frame can be.
    #[error("version {version} cannot be written: {detail}")]
    Encode {
        version: i16,
        /// What the codec says.
        detail: String,
    },
}

/// The header of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestHead {
    pub api_key: i16,
    /// The version of request and response.
    pub api_version: i16,
    /// Repeated in the response.
    pub correlation_id: i32,
    pub client_id: Option<StrBytes>,
}

/// Reads the header of a request, leaving the body in `frame` (without the frame's length).
///
/// Succeeds for any version of an existing API, since an ApiVersions request of an unknown version
/// must be answered. The client id shares the frame; nothing is allocated.
pub fn parse_request_head(frame: &mut Bytes) -> Result<RequestHead, FrameError> {
    let cut = |_| FrameError::HeaderCut;
    let api_key = frame.try_get_i16().map_err(cut)?;
    let api_version = frame.try_get_i16().map_err(cut)?;
    let api = ApiKey::try_from(api_key).map_err(|()| FrameError::UnknownApi(api_key))?;
    let correlation_id = frame.try_get_i32().map_err(cut)?;
    let client_id = match frame.try_get_i16().map_err(cut)? {
        -1 => None,
        length => {
            let length = usize::try_from(length).map_err(|_| FrameError::ClientId)?;
            if length > frame.len() {
                return Err(FrameError::HeaderCut);
            }
            let text = frame.split_to(length);
            Some(StrBytes::from_utf8(text).map_err(|_| FrameError::ClientId)?)
        }
    };
    if api.request_header_version(api_version) >= 2 {
        skip_tagged_fields(frame)?;
    }
    Ok(RequestHead {
        api_key,
        api_version,
        correlation_id,
        client_id,
    })
}

/// Skips the tagged fields of a header.
pub(crate) fn skip_tagged_fields(frame: &mut Bytes) -> Result<(), FrameError> {
    let skipped = shapes::tagged_fields_len(frame).map_err(|_| FrameError::HeaderTags)?;
    frame.advance(skipped);
    Ok(())
}

/// The body of a request whose shape was walked: the codec may see it.
#[derive(Clone, Debug)]
pub struct RequestBody {
    api_key: i16,
    version: i16,
    bytes: Bytes,
    elements: usize,
}

impl RequestBody {
    /// Walks the shape of a body. Bytes after the last field are ignored, as in Kafka.
    pub fn check(api_key: i16, version: i16, mut body: Bytes) -> Result<Self, FrameError> {
        let walked = shapes::preflight(api_key, version, true, &body)?;
        body.truncate(walked.length);
        Ok(Self {
            api_key,
            version,
            bytes: body,
            elements: walked.elements,
        })
    }

    /// Elements of all its arrays: what it takes in memory once decoded grows with their number,
    /// since a few bytes of a body become a struct.
    pub fn elements(&self) -> usize {
        self.elements
    }

    /// Decodes the body. Records and strings share the frame.
    pub fn decode<R: Request + 'static>(self) -> Result<R, FrameError> {
        match self.api_key == R::KEY {
            true => decode_checked(R::KEY, self.bytes, self.version, newer::read),
            false => Err(FrameError::UnknownApi(self.api_key)),
        }
    }
}

/// Decodes a body that passed the preflight.
pub(crate) fn decode_checked<M>(
    api_key: i16,
    mut body: Bytes,
    version: i16,
    decode: impl FnOnce(&mut Bytes, i16) -> Result<M, String>,
) -> Result<M, FrameError> {
    let message = decode(&mut body, version).map_err(|detail| FrameError::Decode {
        api_key,
        version,
        detail,
    })?;
    match body.len() {
        0 => Ok(message),
        bytes => Err(FrameError::TrailingBytes {
            api_key,
            version,
            bytes,
        }),
    }
}

/// Writes a response as a whole frame, length included. `header_version` is the response's
/// (`HeaderVersion::header_version`; always 0 for ApiVersions).
pub fn encode_response<M: Encodable + 'static>(
    correlation_id: i32,
    header_version: i16,
    response: &M,
    version: i16,
) -> Result<Bytes, FrameError> {
    let header_bytes = if header_version >= 1 { 5 } else { 4 };
    let put_header = |out: &mut BytesMut| {
        out.put_i32(correlation_id);
        if header_version >= 1 {
            out.put_u8(0);
        }
    };
    if let Some(body) = newer::by_hand(response, version) {
        let mut out = sized_frame(header_bytes + body.len(), version)?;
        put_header(&mut out);
        out.put_slice(&body);
        return Ok(out.freeze());
    }
    let version = newer::same_bytes::<M>(version);
    let mut out = start_frame(header_bytes, response, version)?;
    put_header(&mut out);
    finish_frame(out, response, version)
}

/// Reserves room for a frame and writes its length.
pub(crate) fn start_frame<M: Encodable>(
    header_bytes: usize,
    message: &M,
    version: i16,
) -> Result<BytesMut, FrameError> {
    let body_bytes = message
        .compute_size(version)
        .map_err(|error| FrameError::Encode {
            version,
            detail: error.to_string(),
        })?;
    sized_frame(header_bytes.saturating_add(body_bytes), version)
}

/// A frame with room for `length` bytes and that length written.
fn sized_frame(length: usize, version: i16) -> Result<BytesMut, FrameError> {
    let Ok(announced) = i32::try_from(length) else {
        let detail = format!("{length} bytes do not fit a frame");
        return Err(FrameError::Encode { version, detail });
    };
    let mut out = BytesMut::with_capacity(LENGTH_BYTES + length);
    out.put_i32(announced);
    Ok(out)
}

/// Writes the body behind length and header.
pub(crate) fn finish_frame<M: Encodable>(
    mut out: BytesMut,
    message: &M,
    version: i16,
) -> Result<Bytes, FrameError> {
    let fail = |detail: String| FrameError::Encode { version, detail };
    message
        .encode(&mut out, version)
        .map_err(|error| fail(error.to_string()))?;
    let announced = out
        .first_chunk::<4>()
        .map(|length| i32::from_be_bytes(*length));
    if announced.and_then(|length| usize::try_from(length).ok()) != Some(out.len() - LENGTH_BYTES) {
        return Err(fail(
            "the codec wrote another size than it computed".to_owned(),
        ));
    }
    Ok(out.freeze())
}

#[cfg(test)]
mod tests;
