//! Heartbeat (key 12), versions 0–4.
//!
//! A member is alive; it learns of a rebalance by REBALANCE_IN_PROGRESS. v3 (KIP-345): static
//! members.

use std::ops::RangeInclusive;

use kafka_protocol::messages::{self, ApiKey, HeartbeatResponse};

use super::error::group_code;
use super::groups::{group_id, instance_id};
use super::{Api, Context, Reply, ResponseOf};
use crate::group::classic::HeartbeatRequest;

/// Heartbeat.
pub struct Heartbeat;

impl Api for Heartbeat {
    const KEY: ApiKey = ApiKey::Heartbeat;
    const VERSIONS: RangeInclusive<i16> = 0..=4;
    type Request = messages::HeartbeatRequest;

    fn handle(ctx: &Context, _version: i16, request: Self::Request) -> Reply<ResponseOf<Self>> {
        let beat = HeartbeatRequest {
            member_id: request.member_id.as_str().into(),
            instance_id: instance_id(request.group_instance_id.as_ref()),
            generation: request.generation_id,
        };
        let result = ctx
            .broker
            .groups
            .heartbeat(&group_id(&request.group_id), &beat);
        let code = result.map_or_else(|error| group_code(error).0, |()| 0);
        Reply::Now(HeartbeatResponse::default().with_error_code(code))
    }
}
