//! JoinGroup (key 11), versions 0–9.
//!
//! A member joins its group, or joins again; answered when the rebalance has reached its
//! generation, perhaps minutes later.
//!
//! - v0: no rebalance timeout; the session timeout is used instead.
//! - v4 (KIP-394): a new dynamic member first gets MEMBER_ID_REQUIRED and an id.
//! - v5 (KIP-345): static members. v7: the protocol type is answered. v8 (KIP-800): a reason, for
//!   the log. v9 (KIP-814): a returning static leader may be told to skip the assignment.

use std::ops::RangeInclusive;

use bytes::Bytes;
use carrick_protocol::error_code::ErrorCode;
use kafka_protocol::messages::join_group_response::JoinGroupResponseMember;
use kafka_protocol::messages::{ApiKey, JoinGroupRequest, JoinGroupResponse};
use kafka_protocol::protocol::StrBytes;
use uuid::Uuid;

use super::error::{door_code, group_code};
use super::groups::{group_id, instance_id, text};
use super::{Api, Context, Reply, ResponseOf};
use crate::access::Operation;
use crate::group::classic::{JoinAnswer, JoinRequest, JoinedMember, MemberInfo, Protocol};
use crate::records::member_ids::MemberId;

pub struct JoinGroup;

impl Api for JoinGroup {
    const KEY: ApiKey = ApiKey::JoinGroup;
    const VERSIONS: RangeInclusive<i16> = 0..=9;
    const HOLDS_REQUEST: bool = false;
    type Request = JoinGroupRequest;

    fn handle(ctx: &Context, version: i16, request: Self::Request) -> Reply<ResponseOf<Self>> {
        let group = group_id(&request.group_id);
        if let Some(reason) = &request.reason {
            tracing::debug!(group = group.as_str(), member = %request.member_id, %reason, "joins");
        }
        let groups = match ctx.group(&group, Operation::Read) {
            Ok(groups) => groups,
            Err(error) => return Reply::Now(refused(version, door_code(error))),
        };
        let answer = groups.join(&group, join_request(ctx, version, request));
        Reply::Later(Box::pin(async move { response(version, answer.await) }))
    }
}

fn join_request(ctx: &Context, version: i16, request: JoinGroupRequest) -> JoinRequest {
    let instance_id = instance_id(request.group_instance_id.as_ref());
    let prefix = instance_id
        .as_ref()
        .map_or(ctx.client_id(), |instance| instance.as_str());
    let fresh_member_id = MemberId::from(format!("{prefix}-{}", Uuid::new_v4()));
    // Metadata is copied: a slice would keep the whole frame in memory while the member lives.
    let protocols = request.protocols.into_iter().map(|protocol| Protocol {
        name: protocol.name.as_str().into(),
        metadata: Bytes::copy_from_slice(&protocol.metadata),
    });
    JoinRequest {
        member_id: request.member_id.as_str().into(),
        fresh_member_id,
        protocol_type: request.protocol_type.as_str().into(),
        info: MemberInfo {
            instance_id,
            client_id: ctx.client_id().into(),
            client_host: ctx.client_host().into(),
            session_timeout_ms: request.session_timeout_ms,
            rebalance_timeout_ms: match version {
                0 => request.session_timeout_ms,
                _ => request.rebalance_timeout_ms,
            },
            protocols: protocols.collect(),
        },
        member_id_required: version >= 4,
        may_skip_assignment: version >= 9,
    }
}

fn response(version: i16, answer: JoinAnswer) -> JoinGroupResponse {
    let protocol_name = match answer.protocol_name {
        None if version < 7 => Some(StrBytes::default()),
        name => name.map(|name| text(&name)),
    };
    JoinGroupResponse::default()
        .with_error_code(answer.error.map_or(0, |error| group_code(error).0))
        .with_generation_id(answer.generation)
        .with_protocol_type(answer.protocol_type.map(|name| text(&name)))
        .with_protocol_name(protocol_name)
        .with_leader(text(answer.leader.as_str()))
        .with_skip_assignment(answer.skip_assignment)
        .with_member_id(text(answer.member_id.as_str()))
        .with_members(answer.members.into_iter().map(member).collect())
}

fn refused(version: i16, code: ErrorCode) -> JoinGroupResponse {
    let protocol_name = (version < 7).then(StrBytes::default);
    JoinGroupResponse::default()
        .with_error_code(code.0)
        .with_generation_id(-1)
        .with_protocol_name(protocol_name)
}

fn member(member: JoinedMember) -> JoinGroupResponseMember {
    JoinGroupResponseMember::default()
        .with_member_id(text(member.member_id.as_str()))
        .with_group_instance_id(member.instance_id.map(|instance| text(instance.as_str())))
        .with_metadata(member.metadata)
}

#[cfg(test)]
mod tests {
    use super::super::groups::assert_encodes;
    use super::*;
    use crate::group::GroupError;

    #[test]
    fn every_version_can_be_answered() {
        let refused = JoinAnswer::refused("m".into(), GroupError::MemberIdRequired);
        assert_encodes::<JoinGroup>(JoinGroup::VERSIONS, |version| {
            response(version, refused.clone())
        });
        assert_encodes::<JoinGroup>(JoinGroup::VERSIONS, |version| {
            let member = JoinedMember {
                member_id: "m".into(),
                instance_id: Some("i".into()),
                metadata: Bytes::from_static(b"x"),
            };
            let answer = JoinAnswer {
                error: None,
                member_id: "m".into(),
                generation: 1,
                protocol_type: Some("consumer".into()),
                protocol_name: Some("range".into()),
                leader: "m".into(),
                members: vec![member],
                skip_assignment: version >= 9,
            };
            response(version, answer)
        });
    }
}
