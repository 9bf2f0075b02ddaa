//! Produce.

use std::ops::RangeInclusive;

use kafka_protocol::messages::{ApiKey, ProduceRequest};

use super::{Api, Context, Reply, ResponseOf};

/// Produce.
pub struct Produce;

impl Api for Produce {
    const KEY: ApiKey = ApiKey::Produce;
    const VERSIONS: RangeInclusive<i16> = 3..=13;
    type Request = ProduceRequest;

    fn handle(ctx: &Context, version: i16, request: Self::Request) -> Reply<ResponseOf<Self>> {
        unimplemented!("{} {version} {request:?}", ctx.client_id())
    }
}
