//! DescribeUserScramCredentials (key 50), version 0 (KIP-554).
//!
//! No user has credentials: there is no SASL. Kafka's tools send this request together with the one
//! for users' quotas, and would show none of them without an answer. A user that is named is
//! RESOURCE_NOT_FOUND, one that is named twice DUPLICATE_RESOURCE, as in `ScramImage`.

use std::ops::RangeInclusive;

use carrick_protocol::error_code::ErrorCode;
use kafka_protocol::messages::describe_user_scram_credentials_response::DescribeUserScramCredentialsResult;
use kafka_protocol::messages::{
    ApiKey, DescribeUserScramCredentialsRequest, DescribeUserScramCredentialsResponse,
};

use super::admin::{Refusal, repeated};
use super::{Api, Context, Reply, ResponseOf};
use crate::access::Operation;

pub struct DescribeUserScramCredentials;

impl Api for DescribeUserScramCredentials {
    const KEY: ApiKey = ApiKey::DescribeUserScramCredentials;
    const VERSIONS: RangeInclusive<i16> = 0..=0;
    type Request = DescribeUserScramCredentialsRequest;

    fn handle(ctx: &Context, _version: i16, request: Self::Request) -> Reply<ResponseOf<Self>> {
        let response = DescribeUserScramCredentialsResponse::default();
        if let Err(error) = ctx.cluster(Operation::Describe) {
            let refusal = Refusal::from(error);
            let response = response.with_error_code(refusal.code.0);
            return Reply::Now(response.with_error_message(refusal.wire_message()));
        }
        let asked = request.users.unwrap_or_default();
        let mut twice = repeated(asked.iter().map(|user| user.name.clone()));
        let mut once: Vec<_> = asked.into_iter().map(|user| user.name).collect();
        once.sort();
        once.dedup();
        let results = once.into_iter().map(|name| {
            let refusal = match twice.take(&name) {
                Some(_) => Refusal::new(
                    ErrorCode::DUPLICATE_RESOURCE,
                    format!("Cannot describe SCRAM credentials for the same user twice: {name}"),
                ),
                None => Refusal::new(
                    ErrorCode::RESOURCE_NOT_FOUND,
                    format!("Attempt to describe a user credential that does not exist: {name}"),
                ),
            };
            DescribeUserScramCredentialsResult::default()
                .with_user(name)
                .with_error_code(refusal.code.0)
                .with_error_message(refusal.wire_message())
        });
        Reply::Now(
            response
                .with_error_message(None)
                .with_results(results.collect()),
        )
    }
}
