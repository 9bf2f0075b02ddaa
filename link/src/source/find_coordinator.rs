//! FindCoordinator (API key 10): the coordinator of a group.
//!
//! Versions 0 to 6. From v4 on (KIP-699) one request asks for many groups; below that, many
//! requests are in flight together.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;

use carrick_protocol::error_code::ErrorCode;
use carrick_protocol::ids::{GroupId, NodeId};
use kafka_protocol::messages as wire;

use super::api::wire_text;
use super::connection::Connection;
use super::{SourceBroker, SourceError};

pub(super) const VERSIONS: RangeInclusive<i16> = 0..=6;
/// From here on a request names many groups.
const FIRST_BATCHED: i16 = 4;
const GROUPS_PER_REQUEST: usize = 200;
/// Requests for one group each that are sent before the first is answered.
const REQUESTS_IN_FLIGHT: usize = 32;

/// The coordinator of a group, or the reason why there is none.
pub(super) type Found = Result<SourceBroker, ErrorCode>;

/// Asks any broker; the answers are in the order of the questions.
pub(super) async fn find_coordinators(
    connection: &Connection,
    groups: &[GroupId],
) -> Result<Vec<Found>, SourceError> {
    let version = connection.version::<wire::FindCoordinatorRequest>()?;
    let mut found = Vec::with_capacity(groups.len());
    if version >= FIRST_BATCHED {
        for chunk in groups.chunks(GROUPS_PER_REQUEST) {
            let response = connection.call(|_| batched(chunk)).await?;
            let answers = from_batched(&response, chunk);
            found.extend(answers.map_err(|detail| connection.broken("FindCoordinator", detail))?);
        }
        return Ok(found);
    }
    for chunk in groups.chunks(REQUESTS_IN_FLIGHT) {
        let send = |group| connection.send(&single(group), version, std::time::Duration::ZERO);
        let replies: Vec<_> = chunk.iter().map(send).collect();
        for reply in replies {
            let answer = from_single(&reply.await?);
            found.push(answer.map_err(|detail| connection.broken("FindCoordinator", detail))?);
        }
    }
    Ok(found)
}

fn batched(groups: &[GroupId]) -> wire::FindCoordinatorRequest {
    let keys = groups.iter().map(|group| wire_text(group.as_str()));
    wire::FindCoordinatorRequest::default().with_coordinator_keys(keys.collect())
}

fn single(group: &GroupId) -> wire::FindCoordinatorRequest {
    wire::FindCoordinatorRequest::default().with_key(wire_text(group.as_str()))
}

fn from_batched(
    response: &wire::FindCoordinatorResponse,
    groups: &[GroupId],
) -> Result<Vec<Found>, String> {
    let answers: BTreeMap<&str, &wire::find_coordinator_response::Coordinator> = response
        .coordinators
        .iter()
        .map(|answer| (&*answer.key, answer))
        .collect();
    let found = |group: &GroupId| {
        let answer = answers.get(group.as_str());
        let answer = answer.ok_or_else(|| format!("its answer lacks group '{group}'"))?;
        broker(
            answer.error_code,
            answer.node_id.0,
            &answer.host,
            answer.port,
        )
    };
    groups.iter().map(found).collect()
}

fn from_single(response: &wire::FindCoordinatorResponse) -> Result<Found, String> {
    broker(
        response.error_code,
        response.node_id.0,
        &response.host,
        response.port,
    )
}

fn broker(code: i16, id: i32, host: &str, port: i32) -> Result<Found, String> {
    if code != ErrorCode::NONE.0 {
        return Ok(Err(ErrorCode(code)));
    }
    let port = u16::try_from(port).map_err(|_| format!("it has a port {port}"))?;
    Ok(Ok(SourceBroker {
        id: NodeId(id),
        host: host.to_owned(),
        port,
        rack: None,
    }))
}

#[cfg(test)]
mod tests {
    use carrick_protocol::client::encode_request;
    use kafka_protocol::messages::find_coordinator_response::Coordinator;

    use super::*;

    #[test]
    fn every_version_can_be_written() {
        let groups = [GroupId::new("a"), GroupId::new("b")];
        for version in VERSIONS {
            let request = match version >= FIRST_BATCHED {
                true => batched(&groups),
                false => single(&groups[0]),
            };
            encode_request(1, "c", &request, version).unwrap();
        }
    }

    #[test]
    fn answers_come_in_the_order_of_the_questions() {
        let answer = |group: &str, node: i32, code: i16| {
            Coordinator::default()
                .with_key(wire_text(group))
                .with_node_id(wire::BrokerId(node))
                .with_host(wire_text("h"))
                .with_port(9)
                .with_error_code(code)
        };
        let response = wire::FindCoordinatorResponse::default()
            .with_coordinators(vec![answer("b", 2, 0), answer("a", -1, 15)]);
        let groups = [GroupId::new("a"), GroupId::new("b")];
        let found = from_batched(&response, &groups).unwrap();
        assert_eq!(found[0], Err(ErrorCode::COORDINATOR_NOT_AVAILABLE));
        assert_eq!(found[1].as_ref().unwrap().id, NodeId(2));
        assert!(from_batched(&response, &[GroupId::new("c")]).is_err());
    }
}
