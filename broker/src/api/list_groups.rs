//! ListGroups (key 16), versions 0–5.
//!
//! - v4 (KIP-518): filter by states, whatever their case; v5 (KIP-848): filter by types, `classic`
//!   and `consumer` here.

use std::ops::RangeInclusive;

use kafka_protocol::messages::list_groups_response::ListedGroup;
use kafka_protocol::messages::{ApiKey, ListGroupsRequest, ListGroupsResponse};
use kafka_protocol::protocol::StrBytes;

use super::groups::{text, wire_group_id};
use super::{Api, Context, Reply, ResponseOf};
use crate::group::coordinator;

/// ListGroups.
pub struct ListGroups;

impl Api for ListGroups {
    const KEY: ApiKey = ApiKey::ListGroups;
    const VERSIONS: RangeInclusive<i16> = 0..=5;
    type Request = ListGroupsRequest;

    fn handle(ctx: &Context, version: i16, request: Self::Request) -> Reply<ResponseOf<Self>> {
        let mut response = ListGroupsResponse::default();
        for group in ctx.broker.groups.list() {
            if !passes(&request.states_filter, group.state)
                || !passes(&request.types_filter, group.group_type)
            {
                continue;
            }
            response.groups.push(listed(version, &group));
        }
        Reply::Now(response)
    }
}

fn listed(version: i16, group: &coordinator::ListedGroup) -> ListedGroup {
    let mut listed = ListedGroup::default()
        .with_group_id(wire_group_id(&group.group_id))
        .with_protocol_type(text(&group.protocol_type));
    if version >= 4 {
        listed.group_state = text(group.state);
    }
    if version >= 5 {
        listed.group_type = text(group.group_type);
    }
    listed
}

/// Whether the filter is empty or names `value`.
fn passes(filter: &[StrBytes], value: &str) -> bool {
    filter.is_empty()
        || filter
            .iter()
            .any(|name| name.trim().eq_ignore_ascii_case(value))
}

#[cfg(test)]
mod tests {
    use super::super::groups::assert_encodes;
    use super::*;

    #[test]
    fn every_version_can_be_answered() {
        let group = coordinator::ListedGroup {
            group_id: carrick_protocol::ids::GroupId::new("g"),
            protocol_type: "consumer".into(),
            state: "Stable",
            group_type: "consumer",
        };
        assert_encodes::<ListGroups>(ListGroups::VERSIONS, |version| {
            ListGroupsResponse::default().with_groups(vec![listed(version, &group)])
        });
    }

    #[test]
    fn filters_do_not_mind_case_and_spaces() {
        let filter = |names: &[&'static str]| -> Vec<StrBytes> {
            names
                .iter()
                .map(|name| StrBytes::from_static_str(name))
                .collect()
        };
        assert!(passes(&[], "Stable"));
        assert!(passes(&filter(&["empty", " sTable "]), "Stable"));
        assert!(!passes(&filter(&["Empty"]), "Stable"));
    }
}
