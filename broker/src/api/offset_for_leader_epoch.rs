//! OffsetForLeaderEpoch.

use std::ops::RangeInclusive;

use kafka_protocol::messages::{ApiKey, OffsetForLeaderEpochRequest};

use super::{Api, Context, Reply, ResponseOf};

/// OffsetForLeaderEpoch.
pub struct OffsetForLeaderEpoch;

impl Api for OffsetForLeaderEpoch {
    const KEY: ApiKey = ApiKey::OffsetForLeaderEpoch;
    const VERSIONS: RangeInclusive<i16> = 2..=4;
    type Request = OffsetForLeaderEpochRequest;

    fn handle(ctx: &Context, version: i16, request: Self::Request) -> Reply<ResponseOf<Self>> {
        unimplemented!("{} {version} {request:?}", ctx.client_id())
    }
}
