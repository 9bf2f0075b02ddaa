//! ApiVersions (API key 18): what the peer supports, asked before anything else.
//!
//! v4 first. A broker that doesn't know v4 answers `UNSUPPORTED_VERSION` in the v0 format (KIP-511)
//! and includes its own range for ApiVersions: we ask again with the highest of those, or v0 if
//! there is none.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;

use bytes::Bytes;
use carrick_protocol::client::decode_response;
use carrick_protocol::error_code::ErrorCode;
use kafka_protocol::messages::{ApiVersionsRequest, ApiVersionsResponse};
use kafka_protocol::protocol::{Request, StrBytes};

use super::{Connection, common_version};
use crate::source::SourceError;
use crate::source::api::wire_text;

pub(in crate::source) const VERSIONS: RangeInclusive<i16> = 0..=4;
/// The first version that names the client's software.
const FIRST_WITH_SOFTWARE: i16 = 3;

/// Versions by API key.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct PeerVersions(BTreeMap<i16, RangeInclusive<i16>>);

impl PeerVersions {
    pub(super) fn of(&self, key: i16) -> Option<RangeInclusive<i16>> {
        self.0.get(&key).cloned()
    }
}

/// Asks the peer which versions it supports.
pub(super) async fn api_versions(connection: &Connection) -> Result<PeerVersions, SourceError> {
    let first = *VERSIONS.end();
    let response = ask(connection, first).await?;
    let response = match ErrorCode(response.error_code) {
        ErrorCode::UNSUPPORTED_VERSION => {
            let theirs = versions(&response).of(ApiVersionsRequest::KEY);
            let lower = *VERSIONS.start()..=first - 1;
            let next = theirs
                .and_then(|theirs| common_version(&lower, &theirs))
                .unwrap_or(0);
            ask(connection, next).await?
        }
        _ => response,
    };
    match ErrorCode(response.error_code) {
        ErrorCode::NONE => Ok(versions(&response)),
        code => Err(connection.refused::<ApiVersionsRequest>(code, None)),
    }
}

async fn ask(connection: &Connection, version: i16) -> Result<ApiVersionsResponse, SourceError> {
    let frame = connection
        .call_raw(&request(version), version)
        .await
        .map_err(|error| explain(error, connection.inner.settings.security.protocol()))?;
    let version = if is_unsupported(&frame) { 0 } else { version };
    match decode_response::<ApiVersionsRequest>(frame, version) {
        Ok((_, response)) => Ok(response),
        Err(error) => {
            let reason = connection
                .inner
                .not_kafka(format!("its first answer is garbled ({error})"));
            connection.inner.close(reason);
            Err(connection.inner.reason())
        }
    }
}

/// A port that isn't a listener for that protocol often just hangs up, or waits for more.
fn explain(error: SourceError, protocol: &str) -> SourceError {
    match error {
        SourceError::Closed { peer, detail } => SourceError::Closed {
            peer,
            detail: format!(
                "{detail}, before it had answered ApiVersions; is this a Kafka broker's {protocol} listener?"
            ),
        },
        SourceError::Timeout {
            peer,
            what,
            limit_ms,
        } => SourceError::Timeout {
            peer,
            what: format!("{what} (is this a Kafka broker's {protocol} listener?)"),
            limit_ms,
        },
        other => other,
    }
}

fn request(version: i16) -> ApiVersionsRequest {
    let request = ApiVersionsRequest::default();
    if version < FIRST_WITH_SOFTWARE {
        return request;
    }
    request
        .with_client_software_name(StrBytes::from_static_str("carrick"))
        .with_client_software_version(wire_text(env!("CARGO_PKG_VERSION")))
}

/// Error code 35 right after the correlation id: the rest is v0, whatever was asked.
fn is_unsupported(frame: &Bytes) -> bool {
    frame.get(4..6) == Some(&ErrorCode::UNSUPPORTED_VERSION.0.to_be_bytes())
}

fn versions(response: &ApiVersionsResponse) -> PeerVersions {
    let ranges = response
        .api_keys
        .iter()
        .map(|api| (api.api_key, api.min_version..=api.max_version));
    PeerVersions(ranges.collect())
}
