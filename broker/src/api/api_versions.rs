//! ApiVersions (key 18), versions 0–4.
//!
//! A client's first request: which APIs there are, in which versions. The answer is derived from
//! [`APIS`].
//!
//! - v3 (KIP-511): client name and version; malformed ones are INVALID_REQUEST. Flexible body, yet
//!   the response's header stays version 0, so that any client can read it.
//! - v3 (KIP-584): features, from [`features`].
//! - v4: supported features with a minimum of 0 may be named.
//! - Any higher version is answered UNSUPPORTED_VERSION in a v0 body that names the range of this
//!   API, from which the client chooses.

use std::ops::RangeInclusive;

use carrick_protocol::error_code::ErrorCode;
use carrick_protocol::frame;
use kafka_protocol::messages::api_versions_response::ApiVersion;
use kafka_protocol::messages::{ApiKey, ApiVersionsRequest, ApiVersionsResponse};

use super::table::{APIS, Entry};
use super::{Api, Context, Frame, Reply, ResponseOf, features};

pub struct ApiVersions;

impl Api for ApiVersions {
    const KEY: ApiKey = ApiKey::ApiVersions;
    const VERSIONS: RangeInclusive<i16> = 0..=4;
    type Request = ApiVersionsRequest;

    fn handle(ctx: &Context, version: i16, request: Self::Request) -> Reply<ResponseOf<Self>> {
        if version >= 3 {
            let name = &request.client_software_name;
            let client_version = &request.client_software_version;
            if !is_valid(name) || !is_valid(client_version) {
                let code = ErrorCode::INVALID_REQUEST.0;
                return Reply::Now(ApiVersionsResponse::default().with_error_code(code));
            }
            tracing::debug!(peer = %ctx.connection.peer, %name, %client_version, "client");
        }
        let response = ApiVersionsResponse::default().with_api_keys(APIS.iter().map(row).collect());
        if version < 3 {
            return Reply::Now(response);
        }
        let response = response
            .with_supported_features(features::supported(version))
            .with_finalized_features_epoch(features::EPOCH)
            .with_finalized_features(features::finalized());
        Reply::Now(response)
    }
}

/// The answer to a version that is too high: v0, and only this API's range.
pub fn unsupported_version(correlation_id: i32) -> Result<Frame, frame::FrameError> {
    let own = APIS
        .iter()
        .filter(|entry| entry.key == ApiKey::ApiVersions)
        .map(row)
        .collect();
    let response = ApiVersionsResponse::default()
        .with_error_code(ErrorCode::UNSUPPORTED_VERSION.0)
        .with_api_keys(own);
    Ok(vec![frame::encode_response(
        correlation_id,
        0,
        &response,
        0,
    )?])
}

fn row(entry: &Entry) -> ApiVersion {
    ApiVersion::default()
        .with_api_key(entry.key as i16)
        .with_min_version(entry.advertised_min)
        .with_max_version(entry.max)
}

/// Kafka's pattern for client names and versions: `[a-zA-Z0-9](?:[a-zA-Z0-9\-.]*[a-zA-Z0-9])?`.
fn is_valid(text: &str) -> bool {
    let bytes = text.as_bytes();
    let ends = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_alphanumeric);
    ends(bytes.first())
        && ends(bytes.last())
        && bytes
            .iter()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_follow_kafkas_pattern() {
        for good in ["a", "apache-kafka-java", "4.3.1", "1-.-1"] {
            assert!(is_valid(good), "{good}");
        }
        for bad in ["", "-a", "a.", "a b", "librd\u{e4}"] {
            assert!(!is_valid(bad), "{bad}");
        }
    }
}
