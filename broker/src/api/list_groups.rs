//! ListGroups (key 16), versions 0–5.
//!
//! - v4 (KIP-518): filter by states, whatever their case; v5 (KIP-848): filter by types, `classic`
//!   and `consumer` here.

use std::collections::HashSet;
use std::ops::RangeInclusive;

use kafka_protocol::messages::list_groups_response::ListedGroup;
use kafka_protocol::messages::{ApiKey, ListGroupsRequest, ListGroupsResponse};
use kafka_protocol::protocol::StrBytes;

use super::groups::{text, wire_group_id};
use super::{Api, Context, Reply, ResponseOf};
use crate::group::coordinator;

pub struct ListGroups;

impl Api for ListGroups {
    const KEY: ApiKey = ApiKey::ListGroups;
    const VERSIONS: RangeInclusive<i16> = 0..=5;
    const LISTS: bool = true;
    type Request = ListGroupsRequest;

    fn handle(ctx: &Context, version: i16, request: Self::Request) -> Reply<ResponseOf<Self>> {
        let states = Filter::new(&request.states_filter);
        let types = Filter::new(&request.types_filter);
        let mut response = ListGroupsResponse::default();
        for group in ctx.groups() {
            if !states.passes(group.state) || !types.passes(group.group_type) {
                continue;
            }
            let group = listed(version, &group);
            if let Err(refusal) = ctx.room.take_item(version, &group) {
                let failed = ListGroupsResponse::default();
                return Reply::Now(failed.with_error_code(refusal.code.0));
            }
            response.groups.push(group);
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

/// The names that are wanted, in lower case; `None` for all.
struct Filter(Option<HashSet<String>>);

impl Filter {
    /// Reads the names once, however many groups there are.
    fn new(names: &[StrBytes]) -> Self {
        let wanted = names.iter().map(|name| name.trim().to_ascii_lowercase());
        Self((!names.is_empty()).then(|| wanted.collect()))
    }

    /// Whether `value` is wanted.
    fn passes(&self, value: &str) -> bool {
        let wanted = self.0.as_ref();
        wanted.is_none_or(|wanted| wanted.contains(&value.to_ascii_lowercase()))
    }
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
        let passes = |names: &[&'static str]| {
            let names: Vec<_> = names
                .iter()
                .map(|name| StrBytes::from_static_str(name))
                .collect();
            Filter::new(&names).passes("Stable")
        };
        assert!(passes(&[]));
        assert!(passes(&["empty", " sTable "]));
        assert!(!passes(&["Empty"]));
    }
}
