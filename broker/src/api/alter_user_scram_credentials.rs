//! AlterUserScramCredentials (key 51), version 0 (KIP-554).
//!
//! Sets and removes SCRAM credentials of users, so that `kafka-configs --entity-type users` works.
//! Clients send the salted password, never the password. Checks and codes are those of
//! `ScramControlManager`; a user's changes are all made or none. They are stored before the answer,
//! and take effect with the next authentication.

use std::ops::RangeInclusive;
use std::sync::Arc;

use carrick_protocol::credentials::Mechanism;
use carrick_protocol::credentials::scram::{Credential, ITERATIONS_MIN};
use kafka_protocol::messages::alter_user_scram_credentials_request::{
    ScramCredentialDeletion, ScramCredentialUpsertion,
};
use kafka_protocol::messages::alter_user_scram_credentials_response::AlterUserScramCredentialsResult;
use kafka_protocol::messages::{
    AlterUserScramCredentialsRequest, AlterUserScramCredentialsResponse, ApiKey,
};
use kafka_protocol::protocol::StrBytes;

use super::admin::{Refusal, blocking, outcome};
use super::describe_user_scram_credentials::mechanism;
use super::groups::text;
use super::{Api, Context, Reply, ResponseOf};
use crate::access::Operation;
use crate::auth::{Change, UserError};

/// Kafka's `ScramControlManager.MAX_ITERATIONS`.
const ITERATIONS_MAX: i32 = 16_384;

pub struct AlterUserScramCredentials;

impl Api for AlterUserScramCredentials {
    const KEY: ApiKey = ApiKey::AlterUserScramCredentials;
    const VERSIONS: RangeInclusive<i16> = 0..=0;
    type Request = AlterUserScramCredentialsRequest;

    fn handle(ctx: &Context, _version: i16, request: Self::Request) -> Reply<ResponseOf<Self>> {
        let ctx = ctx.clone();
        Reply::Later(Box::pin(async move {
            let results = altered(&ctx, request).await.into_iter();
            let results = results.map(|(user, altered)| {
                let (code, message) = outcome(&altered);
                AlterUserScramCredentialsResult::default()
                    .with_user(user)
                    .with_error_code(code)
                    .with_error_message(message)
            });
            AlterUserScramCredentialsResponse::default().with_results(results.collect())
        }))
    }
}

/// One outcome per user.
async fn altered(
    ctx: &Context,
    request: AlterUserScramCredentialsRequest,
) -> Vec<(StrBytes, Result<(), Refusal>)> {
    let refused = |refusal: Refusal| {
        let deleted = request.deletions.iter().map(|it| it.name.clone());
        let set = request.upsertions.iter().map(|it| it.name.clone());
        let mut users: Vec<_> = deleted.chain(set).collect();
        users.sort();
        users.dedup();
        let refused = users.into_iter().map(|user| (user, Err(refusal.clone())));
        refused.collect()
    };
    if let Err(error) = ctx.cluster(Operation::Alter) {
        return refused(error.into());
    }
    let deleted = request.deletions.iter();
    let deleted = deleted.map(|it| (it.name.to_string(), deletion(it)));
    let set = request.upsertions.iter();
    let set = set.map(|it| (it.name.to_string(), upsertion(it)));
    let changes: Vec<_> = deleted.chain(set).collect();
    let users = Arc::clone(&ctx.broker.users);
    let altered = blocking(move || -> Result<_, Refusal> { Ok(users.alter(&changes)) }).await;
    match altered {
        Ok(outcomes) => {
            for user in request.deletions.iter().map(|it| it.name.as_str()) {
                if outcomes.get(user).is_some_and(Result::is_ok) {
                    ctx.broker.access.note_removed(user);
                }
            }
            let each = outcomes.into_iter();
            each.map(|(user, outcome)| (text(&user), outcome.map_err(Refusal::from)))
                .collect()
        }
        Err(refusal) => refused(refusal),
    }
}

fn deletion(asked: &ScramCredentialDeletion) -> Result<Change, UserError> {
    Ok(Change::Remove(checked(&asked.name, asked.mechanism)?))
}

fn upsertion(asked: &ScramCredentialUpsertion) -> Result<Change, UserError> {
    let mechanism = checked(&asked.name, asked.mechanism)?;
    if i64::from(asked.iterations) < i64::from(ITERATIONS_MIN) {
        return Err(UserError::TooFewIterations);
    }
    if asked.iterations > ITERATIONS_MAX {
        return Err(UserError::TooManyIterations);
    }
    let work = (&asked.salt[..], i64::from(asked.iterations));
    let credential = Credential::of_salted(mechanism, work, &asked.salted_password)?;
    Ok(Change::Set(mechanism, Arc::new(credential)))
}

fn checked(name: &str, code: i8) -> Result<Mechanism, UserError> {
    if name.is_empty() {
        return Err(UserError::NoName);
    }
    mechanism(code).ok_or(UserError::UnknownMechanism)
}
