//! DeleteTopics (key 20), versions 1–6.
//!
//! Topics are deleted with their records, configs and committed offsets. A mirror may be deleted,
//! too: its link forgets it. Unless `delete.topic.enable`, nothing is deleted.
//!
//! - v5: the answer has messages. v6 (KIP-516): by name or by id, never both.
//! - A topic that is named twice is not deleted: INVALID_REQUEST, as in Kafka.
//!
//! - v5 (KIP-599): over `controller_mutation_rate`, a topic is THROTTLING_QUOTA_EXCEEDED; older
//!   clients are only told to wait.
//!
//! The timeout is ignored: the topic no longer exists when the answer is sent.

use std::collections::BTreeSet;
use std::ops::RangeInclusive;
use std::sync::Arc;

use carrick_protocol::error_code::ErrorCode;
use carrick_protocol::ids::TopicId;
use kafka_protocol::messages::delete_topics_request::DeleteTopicState;
use kafka_protocol::messages::delete_topics_response::DeletableTopicResult;
use kafka_protocol::messages::{ApiKey, DeleteTopicsRequest, DeleteTopicsResponse};

use super::admin::{Refusal, blocking, outcome, repeated};
use super::groups::text;
use super::{Api, Context, Reply, ResponseOf};
use crate::access::Operation;
use crate::broker::Broker;
use crate::topic::Topic;

pub struct DeleteTopics;

/// A topic by the name or the id of the request.
type Asked = (Option<kafka_protocol::messages::TopicName>, TopicId);

impl Api for DeleteTopics {
    const KEY: ApiKey = ApiKey::DeleteTopics;
    const VERSIONS: RangeInclusive<i16> = 1..=6;
    type Request = DeleteTopicsRequest;

    fn handle(ctx: &Context, version: i16, request: Self::Request) -> Reply<ResponseOf<Self>> {
        let ctx = ctx.clone();
        let mut mutations = ctx.mutations(version >= 5);
        Reply::Later(Box::pin(async move {
            let mut response = DeleteTopicsResponse::default();
            for (asked, found) in resolve(&ctx, version, request) {
                let deleted = match &found {
                    Ok(topic) => {
                        match mutations.take(topic.partition_count().unsigned_abs() as usize) {
                            Ok(()) => delete(&ctx, topic).await,
                            Err(refusal) => Err(refusal),
                        }
                    }
                    Err(refusal) => Err(refusal.clone()),
                };
                let shown = found.ok().or_else(|| refused_topic(&ctx, &asked, &deleted));
                let result = result(asked, shown.as_deref(), &deleted);
                response.responses.push(result);
            }
            response.with_throttle_time_ms(mutations.wait_ms())
        }))
    }
}

/// Each requested topic, once, and whether it may be deleted.
fn resolve(
    ctx: &Context,
    version: i16,
    request: DeleteTopicsRequest,
) -> Vec<(Asked, Result<Arc<Topic>, Refusal>)> {
    let by_name = request
        .topic_names
        .into_iter()
        .map(|name| (Some(name), TopicId::ZERO));
    let by_state = |state: DeleteTopicState| (state.name, TopicId(state.topic_id));
    let asked: Vec<Asked> = by_name
        .chain(request.topics.into_iter().map(by_state))
        .collect();
    let doubles = repeated(asked.iter().cloned());
    let mut found: Vec<_> = BTreeSet::from_iter(asked)
        .into_iter()
        .map(|asked| {
            let topic = match doubles.contains(&asked) {
                true => Err(double(&asked)),
                false => allowed(&ctx.broker, version).and_then(|()| find(ctx, &asked)),
            };
            (asked, topic)
        })
        .collect();
    let named_twice = repeated(
        found
            .iter()
            .filter_map(|(_, topic)| Some(topic.as_ref().ok()?.id())),
    );
    for (_, topic) in &mut found {
        if topic
            .as_ref()
            .is_ok_and(|topic| named_twice.contains(&topic.id()))
        {
            *topic = Err(Refusal::invalid(
                "The provided topic name maps to an ID that was already supplied.",
            ));
        }
    }
    found
}

fn allowed(broker: &Broker, version: i16) -> Result<(), Refusal> {
    if broker.topic_rules.may_delete {
        return Ok(());
    }
    let code = match version {
        ..3 => ErrorCode::INVALID_REQUEST,
        _ => ErrorCode::TOPIC_DELETION_DISABLED,
    };
    Err(Refusal::new(
        code,
        "Topic deletion is disabled: delete.topic.enable is false.",
    ))
}

fn double(asked: &Asked) -> Refusal {
    Refusal::invalid(match asked {
        (Some(_), _) => "Duplicate topic name.",
        (None, TopicId::ZERO) => "Neither topic name nor id were specified.",
        (None, _) => "Duplicate topic id.",
    })
}

fn find(ctx: &Context, asked: &Asked) -> Result<Arc<Topic>, Refusal> {
    let unknown =
        |code, what: &str| Refusal::new(code, format!("This server has no topic {what}."));
    match asked {
        (Some(name), TopicId::ZERO) => ctx.deletable(name).map_err(|error| {
            let code = ErrorCode::UNKNOWN_TOPIC_OR_PARTITION;
            error.or(unknown(code, &format!("'{}'", name.as_str())))
        }),
        (Some(_), _) => Err(Refusal::invalid(
            "You may not specify both topic name and topic id.",
        )),
        (None, TopicId::ZERO) => Err(Refusal::invalid(
            "Neither topic name nor id were specified.",
        )),
        (None, id) => ctx.deletable(*id).map_err(|error| {
            error.or(unknown(ErrorCode::UNKNOWN_TOPIC_ID, &format!("of id {id}")))
        }),
    }
}

async fn delete(ctx: &Context, topic: &Arc<Topic>) -> Result<(), Refusal> {
    let (ctx, topic) = (ctx.clone(), Arc::clone(topic));
    let forgotten = blocking(move || ctx.delete(&topic));
    forgotten.await?.await;
    Ok(())
}

/// The topic that may not be deleted, asked for by its id, for who may see its name.
fn refused_topic(
    ctx: &Context,
    (name, id): &Asked,
    deleted: &Result<(), Refusal>,
) -> Option<Arc<Topic>> {
    let code = deleted.as_ref().err()?.code;
    let by_id = name.is_none() && code == ErrorCode::TOPIC_AUTHORIZATION_FAILED;
    by_id.then(|| ctx.topic(*id, Operation::Describe).ok())?
}

fn result(
    asked: Asked,
    topic: Option<&Topic>,
    deleted: &Result<(), Refusal>,
) -> DeletableTopicResult {
    let (code, message) = outcome(deleted);
    let (name, id) = asked;
    let known = topic.map(|topic| (Some(text(topic.name()).into()), topic.id()));
    let (name, id) = known.unwrap_or((name, id));
    DeletableTopicResult::default()
        .with_name(name)
        .with_topic_id(id.0)
        .with_error_code(code)
        .with_error_message(message)
}
