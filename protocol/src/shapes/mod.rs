//! Preflight of message bodies: whether all lengths and counts fit in the bytes there are.
use bytes::Bytes;
use thiserror::Error;

/// Why a body does not have the shape of its API and version.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum ShapeError {
    /// There is no description: the API or this version is not read here.
    #[error("API key {api_key} version {version} is not supported")]
    Unsupported {
        /// The API.
        api_key: i16,
        /// Its version.
        version: i16,
    },
}

/// Walks a body.
pub fn preflight(
    api_key: i16,
    version: i16,
    is_request: bool,
    body: &Bytes,
) -> Result<(), ShapeError> {
    let _ = (api_key, version, is_request, body);
    unimplemented!()
}

/// Bytes of the tagged fields at the start of `bytes`, their count included.
pub(crate) fn tagged_fields_len(bytes: &[u8]) -> Option<usize> {
    let _ = bytes;
    unimplemented!()
}
