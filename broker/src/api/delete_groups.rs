//! DeleteGroups (key 42), versions 0–3 (KIP-229).
//!
//! Deletes groups without members, with their offsets; answered when that is on disk. A name that
//! stands there twice is answered once.
//!
//! - v3: an error message for each group.

use std::collections::BTreeSet;
use std::ops::RangeInclusive;

use carrick_protocol::newer;
use kafka_protocol::messages::delete_groups_response::DeletableGroupResult;
use kafka_protocol::messages::{ApiKey, DeleteGroupsRequest, DeleteGroupsResponse};

use super::error::{door_code, group_code};
use super::groups::{group_id, wire_group_id};
use super::{Api, Context, Reply, ResponseOf};
use crate::access::Operation;

pub struct DeleteGroups;

impl Api for DeleteGroups {
    const KEY: ApiKey = ApiKey::DeleteGroups;
    const VERSIONS: RangeInclusive<i16> = 0..=3;
    type Request = DeleteGroupsRequest;

    fn handle(ctx: &Context, version: i16, request: Self::Request) -> Reply<ResponseOf<Self>> {
        let groups: BTreeSet<_> = request.groups_names.iter().map(group_id).collect();
        let deletions: Vec<_> = groups
            .into_iter()
            .map(|group| {
                let groups = ctx.group(&group, Operation::Delete);
                let deleted = groups.map(|groups| groups.delete(&group));
                (group, deleted)
            })
            .collect();
        Reply::Later(Box::pin(async move {
            let mut response = DeleteGroupsResponse::default();
            for (group, deleted) in deletions {
                let failed = match deleted {
                    Ok(deleted) => deleted
                        .await
                        .err()
                        .map(|error| (group_code(error), error.to_string())),
                    Err(error) => Some((door_code(error), error.to_string())),
                };
                let mut result =
                    DeletableGroupResult::default().with_group_id(wire_group_id(&group));
                if let Some((code, message)) = failed {
                    result.error_code = code.0;
                    if version >= 3 {
                        result = newer::with_error_message(result, message);
                    }
                }
                response.results.push(result);
            }
            response
        }))
    }
}
