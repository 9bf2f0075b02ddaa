//! ListOffsets.

use std::ops::RangeInclusive;

use kafka_protocol::messages::{ApiKey, ListOffsetsRequest};

use super::{Api, Context, Reply, ResponseOf};

/// ListOffsets.
pub struct ListOffsets;

impl Api for ListOffsets {
    const KEY: ApiKey = ApiKey::ListOffsets;
    const VERSIONS: RangeInclusive<i16> = 1..=10;
    type Request = ListOffsetsRequest;

    fn handle(ctx: &Context, version: i16, request: Self::Request) -> Reply<ResponseOf<Self>> {
        unimplemented!("{} {version} {request:?}", ctx.client_id())
    }
}
