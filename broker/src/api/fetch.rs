//! Fetch.

use std::ops::RangeInclusive;

use kafka_protocol::messages::{ApiKey, FetchRequest};

use super::{Api, Context, Reply, ResponseOf};

/// Fetch.
pub struct Fetch;

impl Api for Fetch {
    const KEY: ApiKey = ApiKey::Fetch;
    const VERSIONS: RangeInclusive<i16> = 4..=17;
    type Request = FetchRequest;

    fn handle(ctx: &Context, version: i16, request: Self::Request) -> Reply<ResponseOf<Self>> {
        unimplemented!("{} {version} {request:?}", ctx.client_id())
    }
}
