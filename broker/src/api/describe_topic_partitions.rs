//! DescribeTopicPartitions (key 75), version 0 (KIP-966).
//!
//! Topics and their partitions by name, a page at a time: at most `response_partition_limit`
//! partitions, and never more than `max.request.partition.size.limit`; the cursor says where the
//! next page begins. No names: all topics.
//!
//! There is one replica, so no other one is eligible to lead. A partition whose log could not be
//! opened at start is offline here and has no leader.

use std::collections::BTreeSet;
use std::ops::RangeInclusive;

use carrick_protocol::error_code::ErrorCode;
use carrick_protocol::ids::TopicName;
use kafka_protocol::messages::describe_topic_partitions_response::{
    Cursor, DescribeTopicPartitionsResponsePartition, DescribeTopicPartitionsResponseTopic,
};
use kafka_protocol::messages::{
    ApiKey, DescribeTopicPartitionsRequest, DescribeTopicPartitionsResponse,
};

use super::door::DoorError;
use super::error::door_code;
use super::groups::text;
use super::metadata::{NO_OPERATIONS, leader_code, leader_id, nodes};
use super::{Api, Context, Reply, ResponseOf};
use crate::access::{Operation, Resource};
use crate::topic::Topic;

pub struct DescribeTopicPartitions;

impl Api for DescribeTopicPartitions {
    const KEY: ApiKey = ApiKey::DescribeTopicPartitions;
    const VERSIONS: RangeInclusive<i16> = 0..=0;
    type Request = DescribeTopicPartitionsRequest;

    fn handle(ctx: &Context, _version: i16, request: Self::Request) -> Reply<ResponseOf<Self>> {
        let all_topics = request.topics.is_empty();
        let cursor = request.cursor.as_ref();
        let (from, start) = cursor.map_or(("", 0), |cursor| {
            (cursor.topic_name.as_str(), cursor.partition_index)
        });
        let names: BTreeSet<String> = match all_topics {
            true => ctx
                .topics(Operation::Describe)
                .iter()
                .map(|topic| topic.name().to_string())
                .collect(),
            false => request
                .topics
                .iter()
                .map(|topic| topic.name.to_string())
                .collect(),
        };
        let misses_cursor = !all_topics && cursor.is_some() && !names.contains(from);
        let Some(start) = usize::try_from(start).ok().filter(|_| !misses_cursor) else {
            return Reply::Now(refused(&request));
        };
        let limit = usize::try_from(request.response_partition_limit).unwrap_or_default();
        let mut page = Page {
            ctx,
            room: limit.min(ctx.broker.limits.partitions_max).max(1),
            response: DescribeTopicPartitionsResponse::default(),
        };
        for name in names.iter().filter(|name| name.as_str() >= from) {
            let start = if name == from { start } else { 0 };
            if !page.add(name, start, all_topics) {
                break;
            }
        }
        Reply::Now(page.response)
    }
}

/// The answer to a cursor that doesn't fit the topics: INVALID_REQUEST for each of them.
fn refused(request: &DescribeTopicPartitionsRequest) -> DescribeTopicPartitionsResponse {
    let topics = request
        .topics
        .iter()
        .map(|topic| failed(topic.name.as_str(), ErrorCode::INVALID_REQUEST))
        .collect();
    DescribeTopicPartitionsResponse::default().with_topics(topics)
}

fn failed(name: &str, code: ErrorCode) -> DescribeTopicPartitionsResponseTopic {
    DescribeTopicPartitionsResponseTopic::default()
        .with_error_code(code.0)
        .with_name(Some(text(name).into()))
        .with_topic_authorized_operations(NO_OPERATIONS)
}

/// The page as it fills.
struct Page<'a> {
    ctx: &'a Context,
    /// Partitions that still fit.
    room: usize,
    response: DescribeTopicPartitionsResponse,
}

impl Page<'_> {
    /// Adds a topic from partition `start` on; false when the page is full and has its cursor.
    fn add(&mut self, name: &str, start: usize, skip_unknown: bool) -> bool {
        if self.room == 0 {
            self.end_before(name, 0);
            return false;
        }
        let found = self.ctx.topic(name, Operation::Describe);
        let added = found.and_then(|topic| {
            let added = self.add_topic(&topic, start);
            added.ok_or(DoorError::NoSuchTopic)
        });
        match added {
            Ok(has_room) => return has_room,
            Err(_) if skip_unknown => {}
            Err(error) => {
                let code = match TopicName::new(name) {
                    Err(_) if error.is_not_there() => ErrorCode::INVALID_TOPIC_EXCEPTION,
                    _ => door_code(error),
                };
                self.response.topics.push(failed(name, code));
            }
        }
        true
    }

    /// As [`add`](Self::add); `None` if the topic was deleted since it was found.
    fn add_topic(&mut self, topic: &Topic, start: usize) -> Option<bool> {
        let count = usize::try_from(topic.partition_count()).unwrap_or_default();
        let end = count.min(start.saturating_add(self.room)).max(start);
        let numbers = (start..end).filter_map(|number| i32::try_from(number).ok());
        let partitions = numbers.map(|number| self.shown(topic, number));
        let partitions: Option<Vec<_>> = partitions.collect();
        let partitions = partitions?;
        self.room -= end - start;
        let operations = self.ctx.operations(Resource::Topic(topic.name()));
        self.response.topics.push(
            DescribeTopicPartitionsResponseTopic::default()
                .with_name(Some(text(topic.name()).into()))
                .with_topic_id(topic.id().0)
                .with_is_internal(topic.is_internal())
                .with_topic_authorized_operations(operations)
                .with_partitions(partitions),
        );
        if end >= count {
            return Some(true);
        }
        self.end_before(topic.name(), end);
        Some(false)
    }

    fn end_before(&mut self, topic: &str, partition: usize) {
        let cursor = Cursor::default()
            .with_topic_name(text(topic).into())
            .with_partition_index(i32::try_from(partition).unwrap_or(i32::MAX));
        self.response.next_cursor = Some(cursor);
    }

    fn shown(
        &self,
        topic: &Topic,
        number: i32,
    ) -> Option<DescribeTopicPartitionsResponsePartition> {
        let placement = self.ctx.view().placement(topic, number)?;
        let shown = DescribeTopicPartitionsResponsePartition::default()
            .with_partition_index(number)
            .with_error_code(leader_code(&placement).0)
            .with_leader_id(leader_id(placement.leader))
            .with_leader_epoch(placement.leader.epoch.0)
            .with_replica_nodes(nodes(&placement.replicas))
            .with_isr_nodes(nodes(&placement.in_sync))
            .with_offline_replicas(nodes(&placement.offline));
        let shown = shown
            .with_eligible_leader_replicas(Some(Vec::new()))
            .with_last_known_elr(Some(Vec::new()));
        Some(shown)
    }
}
