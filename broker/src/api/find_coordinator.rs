//! FindCoordinator (key 10), versions 0–6.
//!
//! Which broker coordinates a group or a transactional id, by the view of the cluster, with its
//! advertised address on the listener that received the request. v4 (KIP-699): several keys in one
//! request.
//!
//! Key type 2 (share groups, v6) is refused with UNSUPPORTED_VERSION, which is immediately fatal in
//! the Java client: share groups are never advertised. Any other type is INVALID_REQUEST.

use std::ops::RangeInclusive;

use carrick_protocol::error_code::ErrorCode;
use kafka_protocol::messages::find_coordinator_response::Coordinator;
use kafka_protocol::messages::{ApiKey, BrokerId, FindCoordinatorRequest, FindCoordinatorResponse};
use kafka_protocol::protocol::StrBytes;

use super::error::door_code;
use super::groups::text;
use super::{Api, Context, Reply, ResponseOf};
use crate::cluster::Coordinated;

pub struct FindCoordinator;

const GROUP: i8 = 0;
const TRANSACTION: i8 = 1;
const SHARE: i8 = 2;

/// The coordinator, or the reason why there is none.
struct Found {
    node_id: i32,
    host: String,
    port: i32,
    code: ErrorCode,
    message: &'static str,
}

impl Api for FindCoordinator {
    const KEY: ApiKey = ApiKey::FindCoordinator;
    const VERSIONS: RangeInclusive<i16> = 0..=6;
    type Request = FindCoordinatorRequest;

    fn handle(ctx: &Context, version: i16, request: Self::Request) -> Reply<ResponseOf<Self>> {
        // Up to v3 there is one key, in a separate field.
        let mut keys = request.coordinator_keys;
        if version < 4 {
            keys = vec![request.key];
        }
        let found = |key: &StrBytes| find(ctx, version, request.key_type, key);
        Reply::Now(response(version, keys, found))
    }
}

/// An answer for each key; up to v3 there is only one.
fn response(
    version: i16,
    keys: Vec<StrBytes>,
    find: impl Fn(&StrBytes) -> Found,
) -> FindCoordinatorResponse {
    let response = FindCoordinatorResponse::default();
    if version < 4 {
        let found = find(&keys.into_iter().next().unwrap_or_default());
        return response
            .with_node_id(BrokerId(found.node_id))
            .with_host(text(&found.host))
            .with_port(found.port)
            .with_error_code(found.code.0)
            .with_error_message(Some(text(found.message)));
    }
    let coordinators = keys.into_iter().map(|key| {
        let found = find(&key);
        Coordinator::default()
            .with_key(key)
            .with_node_id(BrokerId(found.node_id))
            .with_host(text(&found.host))
            .with_port(found.port)
            .with_error_code(found.code.0)
            .with_error_message(Some(text(found.message)))
    });
    response.with_coordinators(coordinators.collect())
}

fn find(ctx: &Context, version: i16, key_type: i8, key: &str) -> Found {
    let of = match key_type {
        GROUP => Coordinated::Group(key),
        TRANSACTION => Coordinated::TransactionalId(key),
        SHARE if version >= 6 => {
            return nobody(
                ErrorCode::UNSUPPORTED_VERSION,
                "share groups are not supported by this broker",
            );
        }
        _ => return nobody(ErrorCode::INVALID_REQUEST, "unknown type of coordinator"),
    };
    let found = match ctx.coordinator(of) {
        Ok(found) => found,
        Err(error) => return nobody(door_code(error), ""),
    };
    let brokers = ctx.view().brokers(ctx.connection.listener);
    match brokers.into_iter().find(|it| Some(it.id) == found) {
        Some(member) => Found {
            node_id: member.id.0,
            host: member.host,
            port: i32::from(member.port),
            code: ErrorCode::NONE,
            message: "",
        },
        None => nobody(ErrorCode::COORDINATOR_NOT_AVAILABLE, ""),
    }
}

fn nobody(code: ErrorCode, message: &'static str) -> Found {
    Found {
        node_id: -1,
        host: String::new(),
        port: -1,
        code,
        message,
    }
}

#[cfg(test)]
mod tests {
    use super::super::groups::assert_encodes;
    use super::*;

    #[test]
    fn every_version_can_be_answered() {
        let refused = |_: &StrBytes| nobody(ErrorCode::UNSUPPORTED_VERSION, "no");
        assert_encodes::<FindCoordinator>(FindCoordinator::VERSIONS, |version| {
            response(version, vec!["key".into()], refused)
        });
        let several = response(4, vec!["a".into(), "b".into()], refused);
        assert_eq!(several.coordinators.len(), 2);
        assert_eq!(response(3, vec![], refused).node_id, BrokerId(-1));
    }
}
