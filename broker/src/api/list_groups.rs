//! ListGroups (key 16), versions 0–5.
//!
//! - v4 (KIP-518): filter by states, whatever their case; v5 (KIP-848): filter by types, of which
//!   there is only `classic` here.

use std::ops::RangeInclusive;

use kafka_protocol::messages::list_groups_response::ListedGroup;
use kafka_protocol::messages::{ApiKey, ListGroupsRequest, ListGroupsResponse};
use kafka_protocol::protocol::StrBytes;

use super::groups::{text, wire_group_id};
use super::{Api, Context, Reply, ResponseOf};

/// ListGroups.
pub struct ListGroups;

const CLASSIC: &str = "classic";

impl Api for ListGroups {
    const KEY: ApiKey = ApiKey::ListGroups;
    const VERSIONS: RangeInclusive<i16> = 0..=5;
    type Request = ListGroupsRequest;

    fn handle(ctx: &Context, version: i16, request: Self::Request) -> Reply<ResponseOf<Self>> {
        let mut response = ListGroupsResponse::default();
        if !passes(&request.types_filter, CLASSIC) {
            return Reply::Now(response);
        }
        for group in ctx.broker.groups.list() {
            if !passes(&request.states_filter, group.state.name()) {
                continue;
            }
            let mut listed = ListedGroup::default()
                .with_group_id(wire_group_id(&group.group_id))
                .with_protocol_type(text(&group.protocol_type));
            if version >= 4 {
                listed.group_state = text(group.state.name());
            }
            if version >= 5 {
                listed.group_type = text(CLASSIC);
            }
            response.groups.push(listed);
        }
        Reply::Now(response)
    }
}

/// Whether the filter is empty or names `value`.
fn passes(filter: &[StrBytes], value: &str) -> bool {
    filter.is_empty()
        || filter
            .iter()
            .any(|name| name.trim().eq_ignore_ascii_case(value))
}
