//! DescribeUserScramCredentials (key 50), version 0 (KIP-554).
//!
//! For each user the mechanisms and their iterations, never salts or keys. A user that is named and
//! does not exist is RESOURCE_NOT_FOUND, one that is named twice DUPLICATE_RESOURCE, as in
//! `ScramImage`; no names, or none at all, asks for all users.

use std::ops::RangeInclusive;

use carrick_protocol::credentials::Mechanism;
use carrick_protocol::error_code::ErrorCode;
use kafka_protocol::messages::describe_user_scram_credentials_response::{
    CredentialInfo, DescribeUserScramCredentialsResult,
};
use kafka_protocol::messages::{
    ApiKey, DescribeUserScramCredentialsRequest, DescribeUserScramCredentialsResponse,
};
use kafka_protocol::protocol::StrBytes;

use super::admin::{Refusal, repeated};
use super::groups::text;
use super::{Api, Context, Reply, ResponseOf};
use crate::access::Operation;

pub struct DescribeUserScramCredentials;

impl Api for DescribeUserScramCredentials {
    const KEY: ApiKey = ApiKey::DescribeUserScramCredentials;
    const VERSIONS: RangeInclusive<i16> = 0..=0;
    const LISTS: bool = true;
    type Request = DescribeUserScramCredentialsRequest;

    fn handle(ctx: &Context, version: i16, request: Self::Request) -> Reply<ResponseOf<Self>> {
        let response = DescribeUserScramCredentialsResponse::default();
        Reply::Now(match described(ctx, version, request) {
            Ok(results) => response.with_error_message(None).with_results(results),
            Err(refusal) => response
                .with_error_code(refusal.code.0)
                .with_error_message(refusal.wire_message()),
        })
    }
}

fn described(
    ctx: &Context,
    version: i16,
    request: DescribeUserScramCredentialsRequest,
) -> Result<Vec<DescribeUserScramCredentialsResult>, Refusal> {
    ctx.cluster(Operation::Describe)?;
    let asked = request.users.unwrap_or_default();
    let mut names: Vec<_> = match asked.is_empty() {
        true => ctx.broker.users.names().iter().map(|it| text(it)).collect(),
        false => asked.iter().map(|user| user.name.clone()).collect(),
    };
    let twice = repeated(asked.into_iter().map(|user| user.name));
    names.sort();
    names.dedup();
    let results = names.into_iter().map(|name| {
        let found = match twice.contains(&name) {
            true => Err(Refusal::new(
                ErrorCode::DUPLICATE_RESOURCE,
                format!(
                    "Cannot describe SCRAM credentials for the same user twice in a single \
                     request: {name}"
                ),
            )),
            false => credentials(ctx, &name),
        };
        let result = result(name, found);
        ctx.room.take_item(version, &result).map(|()| result)
    });
    results.collect()
}

fn credentials(ctx: &Context, name: &StrBytes) -> Result<Vec<CredentialInfo>, Refusal> {
    let found = ctx.broker.users.mechanisms(name);
    if found.is_empty() {
        return Err(Refusal::new(
            ErrorCode::RESOURCE_NOT_FOUND,
            format!("Attempt to describe a user credential that does not exist: {name}"),
        ));
    }
    let infos = found.into_iter().map(|(mechanism, iterations)| {
        CredentialInfo::default()
            .with_mechanism(code(mechanism))
            .with_iterations(i32::try_from(iterations).unwrap_or(i32::MAX))
    });
    Ok(infos.collect())
}

fn result(
    name: StrBytes,
    found: Result<Vec<CredentialInfo>, Refusal>,
) -> DescribeUserScramCredentialsResult {
    let result = DescribeUserScramCredentialsResult::default().with_user(name);
    match found {
        Ok(infos) => result.with_error_message(None).with_credential_infos(infos),
        Err(refusal) => result
            .with_error_code(refusal.code.0)
            .with_error_message(refusal.wire_message()),
    }
}

/// A mechanism's code on the wire (`ScramMechanism`); 0 is unknown.
fn code(mechanism: Mechanism) -> i8 {
    match mechanism {
        Mechanism::ScramSha256 => 1,
        Mechanism::ScramSha512 => 2,
        _ => 0,
    }
}

/// The SCRAM mechanism with this code.
pub(super) fn mechanism(number: i8) -> Option<Mechanism> {
    let known = Mechanism::ALL.into_iter();
    known
        .filter(|known| code(*known) != 0)
        .find(|known| code(*known) == number)
}
