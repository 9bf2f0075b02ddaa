//! CreatePartitions (key 37), versions 0–3 (KIP-195).
//!
//! A topic grows to the requested count; it never shrinks. A mirror is refused with
//! INVALID_REQUEST: it grows when its source does. `validate_only` checks everything except the
//! disk.
//!
//! - A manual assignment must name this broker, once, for each new partition. Other brokers in it
//!   are ignored with `replication.factor.clamp`, otherwise refused.
//! - v2 is flexible. v3 (KIP-599): over `controller_mutation_rate`, a topic is
//!   THROTTLING_QUOTA_EXCEEDED; older clients are only told to wait.
//!
//! The timeout is ignored: the partitions exist when the answer is sent.

use std::collections::BTreeSet;
use std::ops::RangeInclusive;
use std::sync::Arc;

use carrick_protocol::error_code::ErrorCode;
use kafka_protocol::messages::create_partitions_request::CreatePartitionsTopic;
use kafka_protocol::messages::create_partitions_response::CreatePartitionsTopicResult;
use kafka_protocol::messages::{ApiKey, CreatePartitionsRequest, CreatePartitionsResponse};

use super::admin::{Refusal, blocking, outcome, repeated};
use super::placement::check_new_replicas;
use super::throttle::Mutations;
use super::{Api, Context, Reply, ResponseOf};
use crate::access::Operation;
use crate::topic::TopicError;

pub struct CreatePartitions;

impl Api for CreatePartitions {
    const KEY: ApiKey = ApiKey::CreatePartitions;
    const VERSIONS: RangeInclusive<i16> = 0..=3;
    type Request = CreatePartitionsRequest;

    fn handle(ctx: &Context, version: i16, request: Self::Request) -> Reply<ResponseOf<Self>> {
        let ctx = ctx.clone();
        let mut mutations = ctx.mutations(version >= 3);
        Reply::Later(Box::pin(async move {
            let doubles = repeated(request.topics.iter().map(|topic| topic.name.clone()));
            let mut answered = BTreeSet::new();
            let mut response = CreatePartitionsResponse::default();
            for topic in request.topics {
                if !answered.insert(topic.name.clone()) {
                    continue;
                }
                let result = CreatePartitionsTopicResult::default().with_name(topic.name.clone());
                let grown = match doubles.contains(&topic.name) {
                    true => Err(Refusal::invalid("Duplicate topic name.")),
                    false => grow(&ctx, topic, request.validate_only, &mut mutations).await,
                };
                let (code, message) = outcome(&grown);
                let result = result.with_error_code(code).with_error_message(message);
                response.results.push(result);
            }
            response.with_throttle_time_ms(mutations.wait_ms())
        }))
    }
}

async fn grow(
    ctx: &Context,
    topic: CreatePartitionsTopic,
    validate_only: bool,
    mutations: &mut Mutations,
) -> Result<(), Refusal> {
    let (name, count) = (topic.name.to_string(), topic.count);
    // Before the assignment: how many partitions it must have follows from the count.
    let topics = ctx.changing(&name, Operation::Alter)?;
    topics.check_add_partitions(&name, count)?;
    check_assignments(ctx, &topic)?;
    let before = ctx
        .topic(&*name, Operation::Alter)
        .map_or(0, |topic| topic.partition_count());
    let added = count.saturating_sub(before);
    mutations.take(usize::try_from(added).unwrap_or_default())?;
    if validate_only {
        return Ok(());
    }
    let topics = Arc::clone(topics);
    let grown = blocking(move || topics.add_partitions(&name, count, false, Default::default()));
    grown.await.map(drop)
}

fn check_assignments(ctx: &Context, topic: &CreatePartitionsTopic) -> Result<(), Refusal> {
    let Some(assignments) = &topic.assignments else {
        return Ok(());
    };
    let known = ctx
        .topic(&topic.name, Operation::Alter)
        .map_err(|error| error.or(TopicError::Unknown(topic.name.to_string())))?;
    let additional = topic.count.saturating_sub(known.partition_count());
    if usize::try_from(additional).is_ok_and(|additional| additional != assignments.len()) {
        let message = format!(
            "Attempted to add {additional} additional partition(s), but only {} assignment(s) \
             were specified.",
            assignments.len()
        );
        return Err(Refusal::new(ErrorCode::INVALID_REPLICA_ASSIGNMENT, message));
    }
    assignments
        .iter()
        .try_for_each(|assignment| check_new_replicas(&ctx.broker, &assignment.broker_ids))
}
