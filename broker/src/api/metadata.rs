//! Metadata.

use std::ops::RangeInclusive;

use kafka_protocol::messages::{ApiKey, MetadataRequest};

use super::{Api, Context, Reply, ResponseOf};

/// Metadata.
pub struct Metadata;

impl Api for Metadata {
    const KEY: ApiKey = ApiKey::Metadata;
    const VERSIONS: RangeInclusive<i16> = 0..=13;
    type Request = MetadataRequest;

    fn handle(ctx: &Context, version: i16, request: Self::Request) -> Reply<ResponseOf<Self>> {
        unimplemented!("{} {version} {request:?}", ctx.client_id())
    }
}
