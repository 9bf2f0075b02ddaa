//! SyncGroup (key 14), versions 0–5.
//!
//! A member asks for its assignment, and the leader sends the assignments of all members; answered
//! when the leader's request has been stored.
//!
//! - v3 (KIP-345): static members.
//! - v5: protocol type and name are mandatory, and must be the group's.

use std::ops::RangeInclusive;

use bytes::Bytes;
use carrick_protocol::error_code::ErrorCode;
use kafka_protocol::messages::{ApiKey, SyncGroupRequest, SyncGroupResponse};
use kafka_protocol::protocol::StrBytes;

use super::error::{door_code, group_code};
use super::groups::{group_id, instance_id, text};
use super::{Api, Context, Reply, ResponseOf};
use crate::access::Operation;
use crate::group::classic::{SyncAnswer, SyncRequest};
use crate::records::member_ids::MemberId;

pub struct SyncGroup;

impl Api for SyncGroup {
    const KEY: ApiKey = ApiKey::SyncGroup;
    const VERSIONS: RangeInclusive<i16> = 0..=5;
    const HOLDS_REQUEST: bool = false;
    type Request = SyncGroupRequest;

    fn handle(ctx: &Context, version: i16, request: Self::Request) -> Reply<ResponseOf<Self>> {
        if version >= 5 && (request.protocol_type.is_none() || request.protocol_name.is_none()) {
            return Reply::Now(refused(ErrorCode::INCONSISTENT_GROUP_PROTOCOL));
        }
        let group = group_id(&request.group_id);
        let groups = match ctx.group(&group, Operation::Read) {
            Ok(groups) => groups,
            Err(error) => return Reply::Now(refused(door_code(error))),
        };
        let answer = groups.sync(&group, sync_request(request));
        Reply::Later(Box::pin(async move { response(answer.await) }))
    }
}

fn sync_request(request: SyncGroupRequest) -> SyncRequest {
    // Copied: a slice would keep the whole frame in memory while the generation lasts.
    let assignments = request.assignments.into_iter().map(|given| {
        let member_id = MemberId::from(given.member_id.as_str());
        (member_id, Bytes::copy_from_slice(&given.assignment))
    });
    SyncRequest {
        member_id: request.member_id.as_str().into(),
        instance_id: instance_id(request.group_instance_id.as_ref()),
        generation: request.generation_id,
        protocol_type: request
            .protocol_type
            .as_ref()
            .map(|name| name.as_str().into()),
        protocol_name: request
            .protocol_name
            .as_ref()
            .map(|name| name.as_str().into()),
        assignments: assignments.collect(),
    }
}

fn response(answer: SyncAnswer) -> SyncGroupResponse {
    let name = |name: std::sync::Arc<str>| -> StrBytes { text(&name) };
    match answer {
        Ok(synced) => SyncGroupResponse::default()
            .with_protocol_type(synced.protocol_type.map(name))
            .with_protocol_name(synced.protocol_name.map(name))
            .with_assignment(synced.assignment),
        Err(error) => refused(group_code(error)),
    }
}

fn refused(code: ErrorCode) -> SyncGroupResponse {
    SyncGroupResponse::default().with_error_code(code.0)
}

#[cfg(test)]
mod tests {
    use super::super::groups::assert_encodes;
    use super::*;

    #[test]
    fn every_version_can_be_answered() {
        let synced = crate::group::classic::Synced {
            protocol_type: Some("consumer".into()),
            protocol_name: Some("range".into()),
            assignment: Bytes::from_static(b"x"),
        };
        assert_encodes::<SyncGroup>(SyncGroup::VERSIONS, |_| response(Ok(synced.clone())));
        let refused = crate::group::GroupError::RebalanceInProgress;
        assert_encodes::<SyncGroup>(SyncGroup::VERSIONS, |_| response(Err(refused)));
    }
}
