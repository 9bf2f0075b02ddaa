//! OffsetFetch (key 9), versions 1–10.
//!
//! Committed offsets of one group (up to v7) or several (v8, KIP-709). Where there is none, and of
//! groups that don't exist, the answer is offset −1 without an error.
//!
//! - v2: null topics ask for all; an error of the group as a whole. v5: leader epochs.
//! - v7 (KIP-447): `require_stable`: UNSTABLE_OFFSET_COMMIT where an open transaction is about to
//!   commit an offset.
//! - v9 (KIP-848): member id and epoch, which must be right in a consumer group and mean nothing
//!   in classic ones.
//! - v10 (KIP-848): topics by id; one that is not there is UNKNOWN_TOPIC_ID, behind all others.

use std::collections::HashSet;
use std::ops::RangeInclusive;

use carrick_protocol::error_code::ErrorCode;
use carrick_protocol::ids::{GroupId, TopicId};
use kafka_protocol::messages::offset_fetch_request::OffsetFetchRequestTopics;
use kafka_protocol::messages::offset_fetch_response::{
    OffsetFetchResponseGroup, OffsetFetchResponsePartition, OffsetFetchResponsePartitions,
    OffsetFetchResponseTopic, OffsetFetchResponseTopics,
};
use kafka_protocol::messages::{ApiKey, OffsetFetchRequest, OffsetFetchResponse, TopicName};
use uuid::Uuid;

use super::error::group_code;
use super::groups::{group_id, text, wire_group_id};
use super::{Api, Context, Reply, ResponseOf};
use crate::group::ids::MemberId;
use crate::group::offsets::FetchedOffset;
use crate::group::{Coordinator, GroupError};

/// OffsetFetch.
pub struct OffsetFetch;

impl Api for OffsetFetch {
    const KEY: ApiKey = ApiKey::OffsetFetch;
    const VERSIONS: RangeInclusive<i16> = 1..=10;
    type Request = OffsetFetchRequest;

    fn handle(ctx: &Context, version: i16, request: Self::Request) -> Reply<ResponseOf<Self>> {
        let (groups, stable) = (&ctx.broker.groups, request.require_stable);
        if version >= 8 {
            // All offsets of a group are told once, however often they are asked for.
            let mut told = HashSet::new();
            let asked = request
                .groups
                .into_iter()
                .filter(|asked| asked.topics.is_some() || told.insert(asked.group_id.clone()));
            let fetched = asked.map(|asked| {
                let group = group_id(&asked.group_id);
                let member = asked
                    .member_id
                    .as_ref()
                    .map(|id| MemberId::from(id.as_str()));
                // Before version 9 nobody says who asks: no member and epoch −1.
                let allowed = groups.fence_fetch(&group, member.as_ref(), asked.member_epoch);
                match version {
                    10.. => by_id(ctx, &group, asked.topics, stable, allowed),
                    _ => fetch(groups, &group, asked.topics, stable, allowed),
                }
            });
            let response = OffsetFetchResponse::default().with_groups(fetched.collect());
            return Reply::Now(response);
        }
        let asked = request.topics.map(|topics| {
            let topics = topics.into_iter().map(|topic| {
                OffsetFetchRequestTopics::default()
                    .with_name(topic.name)
                    .with_partition_indexes(topic.partition_indexes)
            });
            topics.collect()
        });
        let group = group_id(&request.group_id);
        let allowed = groups.fence_fetch(&group, None, -1);
        Reply::Now(single(fetch(groups, &group, asked, stable, allowed)))
    }
}

fn fetch(
    groups: &Coordinator,
    group: &GroupId,
    asked: Option<Vec<OffsetFetchRequestTopics>>,
    stable: bool,
    allowed: Result<(), GroupError>,
) -> OffsetFetchResponseGroup {
    let response = OffsetFetchResponseGroup::default().with_group_id(wire_group_id(group));
    let topics = allowed.and_then(|()| match &asked {
        Some(asked) => fetch_some(groups, group, asked, stable),
        None => fetch_all(groups, group, stable),
    });
    match topics {
        Ok(topics) => response.with_topics(topics),
        Err(error) => {
            let code = group_code(error);
            let topics = asked.iter().flatten().map(|topic| {
                let failed =
                    |at: &i32| partition(*at, FetchedOffset::Nothing).with_error_code(code.0);
                OffsetFetchResponseTopics::default()
                    .with_name(topic.name.clone())
                    .with_partitions(topic.partition_indexes.iter().map(failed).collect())
            });
            response
                .with_error_code(code.0)
                .with_topics(topics.collect())
        }
    }
}

/// The same with topics by id, in question and answer.
fn by_id(
    ctx: &Context,
    group: &GroupId,
    asked: Option<Vec<OffsetFetchRequestTopics>>,
    stable: bool,
    allowed: Result<(), GroupError>,
) -> OffsetFetchResponseGroup {
    let (groups, catalog) = (&ctx.broker.groups, &ctx.broker.catalog);
    let Some(asked) = asked else {
        let mut fetched = fetch(groups, group, None, stable, allowed);
        // A topic that is deleted meanwhile has no id to be named with.
        fetched.topics.retain_mut(|topic| {
            let found = catalog.topic(std::mem::take(&mut topic.name).as_str());
            topic.topic_id = found.as_ref().map_or(Uuid::nil(), |found| found.id().0);
            found.is_some()
        });
        return fetched;
    };
    let (mut found, mut ids, mut missing) = (Vec::new(), Vec::new(), Vec::new());
    for topic in asked {
        match catalog.by_id(TopicId(topic.topic_id)) {
            Some(there) => {
                ids.push(topic.topic_id);
                found.push(topic.with_name(TopicName(text(there.name().as_str()))));
            }
            None => missing.push(topic),
        }
    }
    let mut fetched = fetch(groups, group, Some(found), stable, allowed);
    for (topic, id) in fetched.topics.iter_mut().zip(ids) {
        topic.name = TopicName::default();
        topic.topic_id = id;
    }
    let code = match fetched.error_code {
        0 => ErrorCode::UNKNOWN_TOPIC_ID.0,
        refused => refused,
    };
    fetched.topics.extend(missing.into_iter().map(|topic| {
        let failed = |at: &i32| partition(*at, FetchedOffset::Nothing).with_error_code(code);
        OffsetFetchResponseTopics::default()
            .with_topic_id(topic.topic_id)
            .with_partitions(topic.partition_indexes.iter().map(failed).collect())
    }));
    fetched
}

fn fetch_some(
    groups: &Coordinator,
    group: &GroupId,
    asked: &[OffsetFetchRequestTopics],
    stable: bool,
) -> Result<Vec<OffsetFetchResponseTopics>, GroupError> {
    let wanted: Vec<(&str, &[i32])> = asked
        .iter()
        .map(|topic| (topic.name.as_str(), topic.partition_indexes.as_slice()))
        .collect();
    let fetched = groups.fetch_some(group, &wanted, stable)?;
    let topics = asked.iter().zip(fetched).map(|(topic, offsets)| {
        let partitions = topic.partition_indexes.iter().zip(offsets);
        OffsetFetchResponseTopics::default()
            .with_name(topic.name.clone())
            .with_partitions(
                partitions
                    .map(|(at, offset)| partition(*at, offset))
                    .collect(),
            )
    });
    Ok(topics.collect())
}

fn fetch_all(
    groups: &Coordinator,
    group: &GroupId,
    stable: bool,
) -> Result<Vec<OffsetFetchResponseTopics>, GroupError> {
    let fetched = groups.fetch_all(group, stable)?.into_iter();
    let topics = fetched.map(|(topic, offsets)| {
        let partitions = offsets
            .into_iter()
            .map(|(at, offset)| partition(at, offset));
        OffsetFetchResponseTopics::default()
            .with_name(TopicName(text(topic.as_str())))
            .with_partitions(partitions.collect())
    });
    Ok(topics.collect())
}

fn partition(at: i32, offset: FetchedOffset) -> OffsetFetchResponsePartitions {
    let partition = OffsetFetchResponsePartitions::default().with_partition_index(at);
    let nothing = |code: ErrorCode| {
        OffsetFetchResponsePartitions::default()
            .with_partition_index(at)
            .with_committed_offset(-1)
            .with_committed_leader_epoch(-1)
            .with_metadata(Some(text("")))
            .with_error_code(code.0)
    };
    match offset {
        FetchedOffset::Committed(offset) => partition
            .with_committed_offset(offset.offset.0)
            .with_committed_leader_epoch(offset.leader_epoch.0)
            .with_metadata(Some(text(&offset.metadata))),
        FetchedOffset::Nothing => nothing(ErrorCode::NONE),
        FetchedOffset::Unstable => nothing(ErrorCode::UNSTABLE_OFFSET_COMMIT),
    }
}

/// The form of the answer up to v7.
fn single(group: OffsetFetchResponseGroup) -> OffsetFetchResponse {
    let topics = group.topics.into_iter().map(|topic| {
        let partitions = topic.partitions.into_iter().map(|partition| {
            OffsetFetchResponsePartition::default()
                .with_partition_index(partition.partition_index)
                .with_committed_offset(partition.committed_offset)
                .with_committed_leader_epoch(partition.committed_leader_epoch)
                .with_metadata(partition.metadata)
                .with_error_code(partition.error_code)
        });
        OffsetFetchResponseTopic::default()
            .with_name(topic.name)
            .with_partitions(partitions.collect())
    });
    OffsetFetchResponse::default()
        .with_error_code(group.error_code)
        .with_topics(topics.collect())
}

#[cfg(test)]
mod tests {
    use carrick_protocol::ids::{LeaderEpoch, Offset};

    use super::super::groups::assert_encodes;
    use super::*;
    use crate::group::offsets::CommittedOffset;

    #[test]
    fn every_version_can_be_answered() {
        let offset = CommittedOffset {
            offset: Offset(5),
            leader_epoch: LeaderEpoch(2),
            metadata: "note".into(),
            commit_ms: 0,
            expire_ms: None,
            topic_id: TopicId::ZERO,
        };
        let partitions = vec![
            partition(0, FetchedOffset::Nothing),
            partition(1, FetchedOffset::Committed(offset)),
            partition(2, FetchedOffset::Unstable),
        ];
        let topic = OffsetFetchResponseTopics::default()
            .with_name(TopicName("t".into()))
            .with_partitions(partitions);
        let group = OffsetFetchResponseGroup::default()
            .with_group_id(wire_group_id(&GroupId::new("g")))
            .with_topics(vec![topic]);
        assert_encodes::<OffsetFetch>(8..=10, |_| {
            OffsetFetchResponse::default().with_groups(vec![group.clone()])
        });
        assert_encodes::<OffsetFetch>(1..=7, |_| single(group.clone()));
    }
}
