//! OffsetDelete (key 47), version 0 (KIP-496).
//!
//! Deletes committed offsets; answered when that is on disk. Topics that members subscribe to are
//! GROUP_SUBSCRIBED_TO_TOPIC, unknown ones UNKNOWN_TOPIC_OR_PARTITION.

use std::ops::RangeInclusive;

use carrick_protocol::error_code::ErrorCode;
use carrick_protocol::ids::TopicName;
use kafka_protocol::messages::offset_delete_request::OffsetDeleteRequestTopic;
use kafka_protocol::messages::offset_delete_response::{
    OffsetDeleteResponsePartition, OffsetDeleteResponseTopic,
};
use kafka_protocol::messages::{ApiKey, OffsetDeleteRequest, OffsetDeleteResponse};

use super::error::{door_code, group_code};
use super::groups::group_id;
use super::{Api, Context, Reply, ResponseOf};
use crate::access::Operation;

pub struct OffsetDelete;

/// One topic: the answer as far as it is known, and what may be deleted of it.
struct Resolved {
    answer: OffsetDeleteResponseTopic,
    found: Option<(TopicName, Vec<i32>)>,
}

impl Api for OffsetDelete {
    const KEY: ApiKey = ApiKey::OffsetDelete;
    const VERSIONS: RangeInclusive<i16> = 0..=0;
    type Request = OffsetDeleteRequest;

    fn handle(ctx: &Context, _version: i16, request: Self::Request) -> Reply<ResponseOf<Self>> {
        let group = group_id(&request.group_id);
        let groups = match ctx.group(&group, Operation::Delete) {
            Ok(groups) => groups,
            Err(error) => {
                let code = door_code(error).0;
                return Reply::Now(OffsetDeleteResponse::default().with_error_code(code));
            }
        };
        let mut topics: Vec<Resolved> = request
            .topics
            .into_iter()
            .map(|topic| resolve(ctx, topic))
            .collect();
        let found = topics
            .iter()
            .filter_map(|topic| topic.found.clone())
            .collect();
        let deleted = groups.delete_offsets(&group, found);
        Reply::Later(Box::pin(async move {
            let results = match deleted.await {
                Ok(results) => results,
                Err(error) => {
                    let code = group_code(error).0;
                    return OffsetDeleteResponse::default().with_error_code(code);
                }
            };
            let found = topics.iter_mut().filter(|topic| topic.found.is_some());
            for (topic, result) in found.zip(results) {
                let code = result.map_or_else(|error| group_code(error).0, |()| 0);
                let open = topic
                    .answer
                    .partitions
                    .iter_mut()
                    .filter(|at| at.error_code == 0);
                open.for_each(|partition| partition.error_code = code);
            }
            let answers = topics.into_iter().map(|topic| topic.answer).collect();
            OffsetDeleteResponse::default().with_topics(answers)
        }))
    }
}

fn resolve(ctx: &Context, asked: OffsetDeleteRequestTopic) -> Resolved {
    let topic = ctx.topic(&asked.name, Operation::Read);
    let (mut known, mut partitions) = (Vec::new(), Vec::with_capacity(asked.partitions.len()));
    for partition in asked.partitions {
        let at = partition.partition_index;
        let code = match ctx.has(&topic, at) {
            Ok(_) => {
                known.push(at);
                ErrorCode::NONE
            }
            Err(error) => door_code(error),
        };
        let answer = OffsetDeleteResponsePartition::default().with_partition_index(at);
        partitions.push(answer.with_error_code(code.0));
    }
    let found = topic
        .ok()
        .filter(|_| !known.is_empty())
        .map(|topic| (topic.name().clone(), known));
    let answer = OffsetDeleteResponseTopic::default().with_name(asked.name);
    Resolved {
        answer: answer.with_partitions(partitions),
        found,
    }
}
