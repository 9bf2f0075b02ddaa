//! SaslAuthenticate (key 36), versions 0–2.
//!
//! As [`SaslHandshake`](super::sasl_handshake): a login's own messages do not come here. v1 has the
//! session's lifetime (KIP-368), v2 is flexible.

use std::ops::RangeInclusive;

use carrick_protocol::error_code::ErrorCode;
use kafka_protocol::messages::{ApiKey, SaslAuthenticateRequest, SaslAuthenticateResponse};
use kafka_protocol::protocol::StrBytes;

use super::{Api, Context, Reply, ResponseOf};

pub struct SaslAuthenticate;

impl Api for SaslAuthenticate {
    const KEY: ApiKey = ApiKey::SaslAuthenticate;
    const VERSIONS: RangeInclusive<i16> = 0..=2;
    type Request = SaslAuthenticateRequest;

    fn handle(_ctx: &Context, _version: i16, _request: Self::Request) -> Reply<ResponseOf<Self>> {
        let text = "SaslAuthenticate request received after successful authentication";
        let response = SaslAuthenticateResponse::default()
            .with_error_code(ErrorCode::ILLEGAL_SASL_STATE.0)
            .with_error_message(Some(StrBytes::from_static_str(text)));
        Reply::Now(response)
    }
}
