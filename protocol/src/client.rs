//! The client side without I/O: requests to bytes, bytes to responses. The requests that a link
//! sends to its source.
//!
//! Responses are untrusted bytes just like requests: they are walked before they are decoded, and
//! only those with a shape can be decoded here. The records of a FetchResponse are slices of the
//! frame.

use bytes::{Buf, BufMut, Bytes};
use kafka_protocol::protocol::{Decodable, HeaderVersion, Request};

use crate::frame::{FrameError, decode_checked, finish_frame, skip_tagged_fields, start_frame};
use crate::shapes;

/// Longest client id a header can carry.
const CLIENT_ID_MAX_BYTES: usize = i16::MAX as usize;

/// Writes a request as a whole frame, length included.
///
/// Errors when a field is set that the version lacks, or the client id exceeds 32 KiB.
pub fn encode_request<R: Request>(
    correlation_id: i32,
    client_id: &str,
    request: &R,
    version: i16,
) -> Result<Bytes, FrameError> {
    if client_id.len() > CLIENT_ID_MAX_BYTES {
        return Err(FrameError::ClientId);
    }
    let flexible = R::header_version(version) >= 2;
    let header_bytes = 10 + client_id.len() + usize::from(flexible);
    let mut out = start_frame(header_bytes, request, version)?;
    out.put_i16(R::KEY);
    out.put_i16(version);
    out.put_i32(correlation_id);
    out.put_i16(client_id.len() as i16);
    out.put_slice(client_id.as_bytes());
    if flexible {
        out.put_u8(0);
    }
    finish_frame(out, request, version)
}

/// The correlation id of a response (without the frame's length), to find the request it answers.
pub fn response_correlation_id(frame: &[u8]) -> Result<i32, FrameError> {
    let id = frame.first_chunk::<4>().ok_or(FrameError::HeaderCut)?;
    Ok(i32::from_be_bytes(*id))
}

/// Decodes the response to a request of type `R` (without the frame's length).
///
/// `version` is the request's. A broker that does not know an ApiVersions version answers in
/// version 0 (KIP-511): decode that again with 0 when this fails or says UNSUPPORTED_VERSION.
pub fn decode_response<R: Request>(
    mut frame: Bytes,
    version: i16,
) -> Result<(i32, R::Response), FrameError> {
    let correlation_id = frame.try_get_i32().map_err(|_| FrameError::HeaderCut)?;
    if R::Response::header_version(version) >= 1 {
        skip_tagged_fields(&mut frame)?;
    }
    shapes::preflight(R::KEY, version, false, &frame)?;
    let decode = |body: &mut Bytes, version| {
        R::Response::decode(body, version).map_err(|error| error.to_string())
    };
    let response = decode_checked(R::KEY, frame, version, decode)?;
    Ok((correlation_id, response))
}

#[cfg(test)]
mod tests;
