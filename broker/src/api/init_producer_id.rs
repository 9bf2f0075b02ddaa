//! InitProducerId.

use std::ops::RangeInclusive;

use kafka_protocol::messages::{ApiKey, InitProducerIdRequest};

use super::{Api, Context, Reply, ResponseOf};

/// InitProducerId.
pub struct InitProducerId;

impl Api for InitProducerId {
    const KEY: ApiKey = ApiKey::InitProducerId;
    const VERSIONS: RangeInclusive<i16> = 0..=5;
    type Request = InitProducerIdRequest;

    fn handle(ctx: &Context, version: i16, request: Self::Request) -> Reply<ResponseOf<Self>> {
        unimplemented!("{} {version} {request:?}", ctx.client_id())
    }
}
