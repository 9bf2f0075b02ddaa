//! CreateAcls (key 30), versions 1–3 (KIP-140, KIP-290).
//!
//! Valid ACLs of a request are stored together before the answer, and are in force then; others are
//! refused one by one. What exists already is no error. v2 is flexible, v3 adds users as resources.

use std::ops::RangeInclusive;

use carrick_protocol::error_code::ErrorCode;
use kafka_protocol::messages::create_acls_request::AclCreation;
use kafka_protocol::messages::create_acls_response::AclCreationResult;
use kafka_protocol::messages::{ApiKey, CreateAclsRequest, CreateAclsResponse};

use super::acls::{acls, binding};
use super::admin::{Refusal, blocking, outcome};
use super::{Api, Context, Reply, ResponseOf};
use crate::access::{CHANGES_MAX, Change, Operation, Origin};

pub struct CreateAcls;

impl Api for CreateAcls {
    const KEY: ApiKey = ApiKey::CreateAcls;
    const VERSIONS: RangeInclusive<i16> = 1..=3;
    type Request = CreateAclsRequest;

    fn handle(ctx: &Context, _version: i16, request: Self::Request) -> Reply<ResponseOf<Self>> {
        let ctx = ctx.clone();
        Reply::Later(Box::pin(async move {
            let results = match create(&ctx, &request.creations).await {
                Ok(results) => results,
                Err(refusal) => vec![Err(refusal); request.creations.len()],
            };
            let results = results.iter().map(|result| {
                let (code, message) = outcome(result);
                AclCreationResult::default()
                    .with_error_code(code)
                    .with_error_message(message)
            });
            CreateAclsResponse::default().with_results(results.collect())
        }))
    }
}

/// One result for each, or none is created.
async fn create(ctx: &Context, asked: &[AclCreation]) -> Result<Vec<Result<(), Refusal>>, Refusal> {
    let acls = acls(ctx, Operation::Alter, "No Authorizer is configured.")?;
    if asked.len() > CHANGES_MAX {
        return Err(Refusal::new(
            ErrorCode::POLICY_VIOLATION,
            format!("Cannot create more than {CHANGES_MAX} acls in a single operation."),
        ));
    }
    let asked: Vec<_> = asked.iter().map(binding).collect();
    let valid = asked.iter().filter_map(|asked| asked.as_ref().ok());
    let valid = valid.map(|it| Change::Add(it.clone(), Origin::Local));
    let valid: Vec<_> = valid.collect();
    blocking(move || acls.apply(&valid)).await?;
    Ok(asked.into_iter().map(|asked| asked.map(drop)).collect())
}
