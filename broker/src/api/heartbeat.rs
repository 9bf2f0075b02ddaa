//! Heartbeat (key 12), versions 0–4.
//!
//! A member is alive; it learns of a rebalance by REBALANCE_IN_PROGRESS. v3 (KIP-345): static
//! members.

use std::ops::RangeInclusive;

use carrick_protocol::error_code::ErrorCode;
use kafka_protocol::messages::{self, ApiKey, HeartbeatResponse};

use super::error::{door_code, group_code};
use super::groups::{group_id, instance_id};
use super::{Api, Context, Reply, ResponseOf};
use crate::access::Operation;
use crate::group::classic::HeartbeatRequest;

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
        let group = group_id(&request.group_id);
        let code = match ctx.group(&group, Operation::Read) {
            Ok(groups) => match groups.heartbeat(&group, &beat) {
                Ok(()) => ErrorCode::NONE,
                Err(error) => group_code(error),
            },
            Err(error) => door_code(error),
        };
        Reply::Now(HeartbeatResponse::default().with_error_code(code.0))
    }
}
