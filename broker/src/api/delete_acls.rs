//! DeleteAcls (key 31), versions 1–3 (KIP-140, KIP-290).
//!
//! All ACLs that a filter wants are removed, those of links, too: a link brings them back as long as
//! its source has them. They are removed together, before the answer. v2 is flexible, v3 adds users
//! as resources.

use std::collections::BTreeSet;
use std::ops::RangeInclusive;

use kafka_protocol::messages::delete_acls_request::DeleteAclsFilter;
use kafka_protocol::messages::delete_acls_response::DeleteAclsFilterResult;
use kafka_protocol::messages::{ApiKey, DeleteAclsRequest, DeleteAclsResponse};

use super::acls::{acls, deleted, deleted_filter};
use super::admin::{Refusal, blocking};
use super::{Api, Context, Reply, ResponseOf};
use crate::access::{Acls, Binding, CHANGES_MAX, Change, Filter, Operation};

/// Filters that need a look at every ACL, at most.
const WIDE_FILTERS_MAX: usize = 1_000;

pub struct DeleteAcls;

impl Api for DeleteAcls {
    const KEY: ApiKey = ApiKey::DeleteAcls;
    const VERSIONS: RangeInclusive<i16> = 1..=3;
    type Request = DeleteAclsRequest;

    fn handle(ctx: &Context, _version: i16, request: Self::Request) -> Reply<ResponseOf<Self>> {
        let ctx = ctx.clone();
        Reply::Later(Box::pin(async move {
            let results = match delete(&ctx, &request.filters).await {
                Ok(results) => results,
                Err(refusal) => vec![Err(refusal); request.filters.len()],
            };
            let results = results.into_iter().map(|result| match result {
                Ok(gone) => DeleteAclsFilterResult::default()
                    .with_matching_acls(gone.iter().map(deleted).collect()),
                Err(refusal) => DeleteAclsFilterResult::default()
                    .with_error_code(refusal.code.0)
                    .with_error_message(refusal.wire_message()),
            });
            DeleteAclsResponse::default().with_filter_results(results.collect())
        }))
    }
}

type Deleted = Result<Vec<Binding>, Refusal>;

/// What each filter has removed, or nothing is.
async fn delete(ctx: &Context, asked: &[DeleteAclsFilter]) -> Result<Vec<Deleted>, Refusal> {
    let acls = acls(ctx, Operation::Alter, "No Authorizer is configured.")?;
    let filters: Vec<_> = asked.iter().map(deleted_filter).collect();
    let valid = filters.iter().filter_map(|it| it.as_ref().ok());
    if valid.filter(|it| it.is_wide()).count() > WIDE_FILTERS_MAX {
        return Err(Refusal::invalid(format!(
            "More than {WIDE_FILTERS_MAX} filters without a resource type, pattern type and name."
        )));
    }
    blocking(move || delete_all(&acls, filters)).await
}

fn delete_all(acls: &Acls, filters: Vec<Result<Filter, Refusal>>) -> Result<Vec<Deleted>, Refusal> {
    let all = acls.all();
    let mut count = 0;
    let found = filters.into_iter().map(|filter| {
        filter.map(|filter| {
            let room = (CHANGES_MAX + 1).saturating_sub(count);
            let found = all.matching(&filter).take(room);
            let found: Vec<_> = found.map(|(binding, _)| binding.clone()).collect();
            count += found.len();
            found
        })
    });
    let found: Vec<Deleted> = found.collect();
    if count > CHANGES_MAX {
        return Err(Refusal::invalid(format!(
            "Cannot remove more than {CHANGES_MAX} acls in a single delete operation."
        )));
    }
    let gone: BTreeSet<_> = found.iter().flatten().flatten().collect();
    let changes: Vec<_> = gone.into_iter().cloned().map(Change::Remove).collect();
    acls.apply(&changes)?;
    Ok(found)
}
