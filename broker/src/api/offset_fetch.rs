//! OffsetFetch (key 9), versions 1–10.
//!
//! Committed offsets of one group (up to v7) or several (v8, KIP-709). For missing offsets, and for
//! groups that don't exist, the answer is offset −1 without an error. What is requested twice is
//! answered once: a short request must not get an unbounded answer.
//!
//! - v2: null topics request all; an error for the group as a whole. v5: leader epochs.
//! - v7 (KIP-447): `require_stable`: UNSTABLE_OFFSET_COMMIT if an open transaction is about to
//!   commit an offset.
//! - v9 (KIP-848): member id and epoch, which must be right in a consumer group and are ignored in
//!   classic ones.
//! - v10 (KIP-848): topics by id; one that does not exist is UNKNOWN_TOPIC_ID, after all others.

use std::collections::HashSet;
use std::ops::RangeInclusive;

use carrick_protocol::error_code::ErrorCode;
use carrick_protocol::ids::{GroupId, TopicId};
use kafka_protocol::messages::offset_fetch_request::OffsetFetchRequestTopics;
use kafka_protocol::messages::offset_fetch_response::{
    OffsetFetchResponseGroup, OffsetFetchResponsePartition, OffsetFetchResponsePartitions,
    OffsetFetchResponseTopic, OffsetFetchResponseTopics,
};
use kafka_protocol::messages::{self, ApiKey, OffsetFetchRequest, OffsetFetchResponse, TopicName};
use uuid::Uuid;

use super::error::{door_code, group_code};
use super::groups::{group_id, text, wire_group_id};
use super::{Api, Context, Reply, ResponseOf};
use crate::access::Operation;
use crate::group::Coordinator;
use crate::group::GroupError;
use crate::group::offsets::FetchedOffset;
use crate::records::member_ids::MemberId;

pub struct OffsetFetch;

/// Partitions whose offsets are looked up together: enough for a usual request, so that offsets
/// committed together are answered together.
const BATCH_PARTITIONS: usize = 1_000;

impl Api for OffsetFetch {
    const KEY: ApiKey = ApiKey::OffsetFetch;
    const VERSIONS: RangeInclusive<i16> = 1..=10;
    const LISTS: bool = true;
    type Request = OffsetFetchRequest;

    fn handle(ctx: &Context, version: i16, request: Self::Request) -> Reply<ResponseOf<Self>> {
        let fetching = Fetching {
            ctx,
            version,
            stable: request.require_stable,
        };
        let mut told = Told::default();
        if version >= 8 {
            let groups = request.groups.into_iter();
            let fetched = groups.filter_map(|asked| {
                let topics = told.first_asked(&asked.group_id, asked.topics)?;
                let group = group_id(&asked.group_id);
                let member = asked.member_id.as_ref();
                let member = member.map(|id| MemberId::from(id.as_str()));
                // Before version 9 requests don't name the member: no member and epoch −1.
                let (member, epoch) = (member.as_ref(), asked.member_epoch);
                Some(match version {
                    10.. => fetching.by_id(&group, topics, member, epoch),
                    _ => fetching.group(&group, topics, member, epoch),
                })
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
        let asked = told.first_asked(&request.group_id, asked);
        let asked = asked.unwrap_or_else(|| Some(Vec::new()));
        let group = group_id(&request.group_id);
        Reply::Now(single(fetching.group(&group, asked, None, -1)))
    }
}

/// Requested topics and partitions; `None`: all.
type Asked = Option<Vec<OffsetFetchRequestTopics>>;

/// The part of a request that was seen already: it is answered once.
#[derive(Default)]
struct Told {
    all: HashSet<messages::GroupId>,
    /// By group, name, id (one of both) and number.
    some: HashSet<(messages::GroupId, TopicName, Uuid, i32)>,
}

impl Told {
    /// What is requested for the first time; nothing, if all of it was requested before.
    fn first_asked(&mut self, group: &messages::GroupId, asked: Asked) -> Option<Asked> {
        let Some(mut topics) = asked else {
            return self.all.insert(group.clone()).then_some(None);
        };
        let asked_for_none = topics.is_empty();
        topics.retain_mut(|topic| {
            let asked_for_none = topic.partition_indexes.is_empty();
            let (name, id) = (&topic.name, topic.topic_id);
            let is_first = |at: &i32| self.some.insert((group.clone(), name.clone(), id, *at));
            topic.partition_indexes.retain(is_first);
            asked_for_none || !topic.partition_indexes.is_empty()
        });
        (asked_for_none || !topics.is_empty()).then_some(Some(topics))
    }
}

/// One request in progress.
struct Fetching<'a> {
    ctx: &'a Context,
    version: i16,
    stable: bool,
}

impl Fetching<'_> {
    fn group(
        &self,
        group: &GroupId,
        asked: Asked,
        member: Option<&MemberId>,
        epoch: i32,
    ) -> OffsetFetchResponseGroup {
        let response = OffsetFetchResponseGroup::default().with_group_id(wire_group_id(group));
        let topics = self.ctx.group(group, Operation::Describe);
        let topics = topics.map_err(door_code).and_then(|groups| {
            let allowed = groups.fence_fetch(group, member, epoch);
            let topics = allowed.and_then(|()| match &asked {
                Some(asked) => self.offsets(groups, group, asked, true),
                None => self.all(groups, group),
            });
            topics.map_err(group_code)
        });
        match topics {
            Ok(topics) => response.with_topics(topics),
            Err(code) => refused_group(group, asked.unwrap_or_default(), code),
        }
    }

    /// As [`group`](Self::group), with topics by id in question and answer.
    fn by_id(
        &self,
        group: &GroupId,
        asked: Asked,
        member: Option<&MemberId>,
        epoch: i32,
    ) -> OffsetFetchResponseGroup {
        let Some(asked) = asked else {
            let mut fetched = self.group(group, None, member, epoch);
            // A topic that is deleted meanwhile has no id to be named with.
            fetched.topics.retain_mut(|topic| {
                let name = std::mem::take(&mut topic.name);
                let found = self.ctx.topic(&name, Operation::Describe);
                topic.topic_id = found.as_ref().map_or(Uuid::nil(), |found| found.id().0);
                found.is_ok()
            });
            return fetched;
        };
        if let Err(error) = self.ctx.group(group, Operation::Describe) {
            return refused_group(group, asked, door_code(error));
        }
        let (mut found, mut ids, mut missing) = (Vec::new(), Vec::new(), Vec::new());
        for topic in asked {
            match self.ctx.topic(TopicId(topic.topic_id), Operation::Describe) {
                Ok(there) => {
                    ids.push(topic.topic_id);
                    found.push(topic.with_name(TopicName(text(there.name().as_str()))));
                }
                Err(error) => missing.push((topic, door_code(error))),
            }
        }
        let mut fetched = self.group(group, Some(found), member, epoch);
        for (topic, id) in fetched.topics.iter_mut().zip(ids) {
            topic.name = TopicName::default();
            topic.topic_id = id;
        }
        let whole = ErrorCode(fetched.error_code);
        let missing = missing.into_iter().map(|(topic, missing)| {
            let code = if whole.is_err() { whole } else { missing };
            refused(topic, code)
        });
        fetched.topics.extend(missing);
        fetched
    }

    fn all(
        &self,
        groups: &Coordinator,
        group: &GroupId,
    ) -> Result<Vec<OffsetFetchResponseTopics>, GroupError> {
        let mut committed = groups.committed(group)?;
        committed.retain(|(topic, _)| self.ctx.shows_topic(topic));
        let committed = committed.into_iter();
        let asked = committed.map(|(topic, partitions)| {
            OffsetFetchRequestTopics::default()
                .with_name(TopicName(text(topic.as_str())))
                .with_partition_indexes(partitions)
        });
        let asked: Vec<_> = asked.collect();
        let mut topics = self.offsets(groups, group, &asked, false)?;
        topics.retain(|topic| !topic.partitions.is_empty());
        Ok(topics)
    }

    /// The offsets of some partitions. They are looked up by batches, as long as there is room for
    /// them in the answer.
    fn offsets(
        &self,
        groups: &Coordinator,
        group: &GroupId,
        asked: &[OffsetFetchRequestTopics],
        tells_nothing: bool,
    ) -> Result<Vec<OffsetFetchResponseTopics>, GroupError> {
        let named = |topic: &OffsetFetchRequestTopics| {
            OffsetFetchResponseTopics::default().with_name(topic.name.clone())
        };
        let mut answered: Vec<_> = asked.iter().map(named).collect();
        let hidden = asked.iter().map(|topic| self.ctx.hides_topic(&topic.name));
        let hidden: Vec<Option<ErrorCode>> = hidden.map(|error| error.map(door_code)).collect();
        let topics = asked.iter().enumerate();
        let places: Vec<(usize, i32)> = topics
            .flat_map(|(at, topic)| topic.partition_indexes.iter().map(move |p| (at, *p)))
            .collect();
        for batch in places.chunks(BATCH_PARTITIONS) {
            let offsets = match self.ctx.room.is_over() {
                true => vec![FetchedOffset::Nothing; batch.len()],
                false => self.batch(groups, group, asked, batch)?,
            };
            for ((at, number), offset) in batch.iter().zip(offsets) {
                if tells_nothing || self.ctx.room.is_over() || offset != FetchedOffset::Nothing {
                    let told = self.ctx.room.item(
                        // The form of older answers is made of this one.
                        self.version.max(8),
                        || match hidden[*at] {
                            Some(code) => failed(*number, code),
                            None => partition(*number, offset),
                        },
                        |refusal| failed(*number, refusal.code),
                    );
                    answered[*at].partitions.push(told);
                }
            }
        }
        Ok(answered)
    }

    fn batch(
        &self,
        groups: &Coordinator,
        group: &GroupId,
        asked: &[OffsetFetchRequestTopics],
        batch: &[(usize, i32)],
    ) -> Result<Vec<FetchedOffset>, GroupError> {
        let of_topics = batch.chunk_by(|a, b| a.0 == b.0);
        let wanted: Vec<(&str, Vec<i32>)> = of_topics
            .map(|places| {
                let name = asked[places[0].0].name.as_str();
                (name, places.iter().map(|(_, number)| *number).collect())
            })
            .collect();
        let wanted: Vec<(&str, &[i32])> = wanted
            .iter()
            .map(|(name, numbers)| (*name, numbers.as_slice()))
            .collect();
        let fetched = groups.fetch_some(group, &wanted, self.stable)?;
        Ok(fetched.into_iter().flatten().collect())
    }
}

/// A group with the same error for all that is requested of it.
fn refused_group(
    group: &GroupId,
    asked: Vec<OffsetFetchRequestTopics>,
    code: ErrorCode,
) -> OffsetFetchResponseGroup {
    let topics = asked.into_iter().map(|topic| refused(topic, code));
    OffsetFetchResponseGroup::default()
        .with_group_id(wire_group_id(group))
        .with_error_code(code.0)
        .with_topics(topics.collect())
}

/// A topic, by name or by id, with the same error for all that is requested of it.
fn refused(topic: OffsetFetchRequestTopics, code: ErrorCode) -> OffsetFetchResponseTopics {
    let partitions = topic.partition_indexes.iter();
    OffsetFetchResponseTopics::default()
        .with_name(topic.name)
        .with_topic_id(topic.topic_id)
        .with_partitions(partitions.map(|at| failed(*at, code)).collect())
}

fn failed(at: i32, code: ErrorCode) -> OffsetFetchResponsePartitions {
    partition(at, FetchedOffset::Nothing).with_error_code(code.0)
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
