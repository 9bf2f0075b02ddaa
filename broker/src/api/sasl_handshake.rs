//! SaslHandshake (key 17), versions 0–1.
//!
//! Clients log in before their first request ([`crate::auth::Login`]); here it comes too late, or to
//! a listener without SASL: ILLEGAL_SASL_STATE, as `KafkaApis` answers. v0: messages of the mechanism
//! follow without headers; v1: within SaslAuthenticate.

use std::ops::RangeInclusive;

use carrick_protocol::error_code::ErrorCode;
use kafka_protocol::messages::{ApiKey, SaslHandshakeRequest, SaslHandshakeResponse};

use super::{Api, Context, Reply, ResponseOf};

pub struct SaslHandshake;

impl Api for SaslHandshake {
    const KEY: ApiKey = ApiKey::SaslHandshake;
    const VERSIONS: RangeInclusive<i16> = 0..=1;
    type Request = SaslHandshakeRequest;

    fn handle(_ctx: &Context, _version: i16, _request: Self::Request) -> Reply<ResponseOf<Self>> {
        let code = ErrorCode::ILLEGAL_SASL_STATE.0;
        Reply::Now(SaslHandshakeResponse::default().with_error_code(code))
    }
}
