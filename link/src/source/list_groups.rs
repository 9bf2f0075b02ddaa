//! ListGroups (API key 16): the groups that one broker coordinates.
//!
//! Versions 0 to 5, without filters: v4 brings states (KIP-518), v5 kinds of group (KIP-848). A
//! broker lists only the groups that the link's principal may describe.

use std::ops::RangeInclusive;

use carrick_protocol::error_code::ErrorCode;
use carrick_protocol::ids::GroupId;
use kafka_protocol::messages as wire;

use super::connection::Connection;
use super::{SourceError, SourceGroup};

pub(super) const VERSIONS: RangeInclusive<i16> = 0..=5;

/// Asks one broker.
pub(super) async fn list_groups(connection: &Connection) -> Result<Vec<SourceGroup>, SourceError> {
    let response = connection
        .call(|_| wire::ListGroupsRequest::default())
        .await?;
    let code = ErrorCode(response.error_code);
    if code.is_err() {
        return Err(connection.refused::<wire::ListGroupsRequest>(code, None));
    }
    let group = |group: &wire::list_groups_response::ListedGroup| SourceGroup {
        id: GroupId::new(&*group.group_id.0),
        protocol_type: group.protocol_type.to_string(),
        group_type: group.group_type.to_lowercase(),
        state: group.group_state.to_string(),
    };
    Ok(response.groups.iter().map(group).collect())
}

#[cfg(test)]
mod tests {
    use carrick_protocol::client::encode_request;

    use super::*;

    #[test]
    fn every_version_can_be_written() {
        for version in VERSIONS {
            encode_request(1, "c", &wire::ListGroupsRequest::default(), version).unwrap();
        }
    }
}
