//! ApiVersions.

use std::ops::RangeInclusive;

use kafka_protocol::messages::{ApiKey, ApiVersionsRequest};

use super::{Api, Context, Reply, ResponseOf};

/// ApiVersions.
pub struct ApiVersions;

impl Api for ApiVersions {
    const KEY: ApiKey = ApiKey::ApiVersions;
    const VERSIONS: RangeInclusive<i16> = 0..=4;
    type Request = ApiVersionsRequest;

    fn handle(ctx: &Context, version: i16, request: Self::Request) -> Reply<ResponseOf<Self>> {
        unimplemented!("{} {version} {request:?}", ctx.client_id())
    }
}
