//! TxnOffsetCommit (key 28), versions 0–6.
//!
//! Commits a group's offsets in a producer's transaction (KIP-98): they are on disk when this is
//! answered, and become the group's when the transaction is committed. Unknown topics and
//! partitions are UNKNOWN_TOPIC_OR_PARTITION individually.
//!
//! - v2 (KIP-320): leader epochs. v3 (KIP-447): member and generation, which must be the group's;
//!   ILLEGAL_GENERATION otherwise, also in groups of the consumer protocol.
//! - v4: a group that was not added is TRANSACTION_ABORTABLE; before that INVALID_TXN_STATE.
//! - v5 (KIP-890): the group is added by this.
//! - v6 (KIP-1319): topics by id; one that doesn't exist is UNKNOWN_TOPIC_ID. GROUP_ID_NOT_FOUND
//!   and STALE_MEMBER_EPOCH keep their own codes.

use std::ops::RangeInclusive;

use carrick_protocol::error_code::ErrorCode;
use carrick_protocol::ids::TopicId;
use carrick_protocol::newer;
use kafka_protocol::messages::txn_offset_commit_request::TxnOffsetCommitRequestTopic;
use kafka_protocol::messages::txn_offset_commit_response::{
    TxnOffsetCommitResponsePartition, TxnOffsetCommitResponseTopic,
};
use kafka_protocol::messages::{ApiKey, TxnOffsetCommitRequest, TxnOffsetCommitResponse};

use super::error::{door_code, group_code, txn_offsets_code};
use super::groups::{group_id, instance_id, new_offset};
use super::transactions::producer;
use super::{Api, Context, Reply, ResponseOf};
use crate::access::Operation;
use crate::group::classic::CommitFence;
use crate::group::{CommitRequest, NewOffset, TakenCommit};
use crate::transaction::Version;

pub struct TxnOffsetCommit;

impl Api for TxnOffsetCommit {
    const KEY: ApiKey = ApiKey::TxnOffsetCommit;
    const VERSIONS: RangeInclusive<i16> = 0..=6;
    type Request = TxnOffsetCommitRequest;

    fn handle(ctx: &Context, version: i16, request: Self::Request) -> Reply<ResponseOf<Self>> {
        let group = group_id(&request.group_id);
        let id = &request.transactional_id;
        let transactions = ctx
            .transactional_id(id, Operation::Write)
            .and_then(|transactions| ctx.group(&group, Operation::Read).map(|_| transactions));
        let transactions = match transactions {
            Ok(transactions) => transactions,
            Err(error) => {
                let topics = request.topics.into_iter();
                let refused = topics.map(|topic| refused(version, topic, door_code(error)));
                let refused = refused.collect();
                return Reply::Now(TxnOffsetCommitResponse::default().with_topics(refused));
            }
        };
        let (mut answered, offsets) = resolve(ctx, version, request.topics);
        if offsets.is_empty() {
            return Reply::Now(TxnOffsetCommitResponse::default().with_topics(answered));
        }
        let commit = CommitRequest {
            fence: CommitFence {
                member_id: request.member_id.as_str().into(),
                instance_id: instance_id(request.group_instance_id.as_ref()),
                generation: request.generation_id,
                knows_epochs: true,
            },
            retention_ms: None,
            knows_group_not_found: version >= 6,
            offsets,
        };
        let begun = transactions.commit_offsets(
            id,
            producer(request.producer_id, request.producer_epoch),
            if version >= 5 {
                Version::V2
            } else {
                Version::V1
            },
            &group,
            commit,
        );
        Reply::Later(Box::pin(async move {
            match begun {
                Ok(commit) => fill_in(&mut answered, finished(commit).await.into_iter()),
                Err(error) => {
                    let code = txn_offsets_code(version, error);
                    fill_in(&mut answered, std::iter::repeat(code));
                }
            }
            TxnOffsetCommitResponse::default().with_topics(answered)
        }))
    }
}

/// The codes, in order, once they hold.
async fn finished(commit: TakenCommit) -> Vec<ErrorCode> {
    let stored = match commit.stored {
        Some(stored) => stored.result().await,
        None => Ok(()),
    };
    let results = commit.results.into_iter();
    let codes = results.map(|result| match result.and(stored) {
        Ok(()) => ErrorCode::NONE,
        Err(error) => group_code(error),
    });
    codes.collect()
}

/// The same code for all partitions of a topic.
fn refused(
    version: i16,
    topic: TxnOffsetCommitRequestTopic,
    code: ErrorCode,
) -> TxnOffsetCommitResponseTopic {
    let partitions = topic.partitions.iter().map(|asked| {
        TxnOffsetCommitResponsePartition::default()
            .with_partition_index(asked.partition_index)
            .with_error_code(code.0)
    });
    let partitions = partitions.collect();
    let id = newer::topic_id(&topic);
    let mut refused = TxnOffsetCommitResponseTopic::default().with_name(topic.name);
    if version >= 6 {
        refused = newer::with_topic_id(refused, id);
    }
    refused.with_partitions(partitions)
}

/// The answer as far as it is known, without errors where offsets can be committed; and those
/// offsets, in the same order.
fn resolve(
    ctx: &Context,
    version: i16,
    topics: Vec<TxnOffsetCommitRequestTopic>,
) -> (Vec<TxnOffsetCommitResponseTopic>, Vec<NewOffset>) {
    let (mut answered, mut offsets) = (Vec::with_capacity(topics.len()), Vec::new());
    for topic in topics {
        let id = newer::topic_id(&topic);
        let found = match version {
            6.. => ctx.topic(TopicId(id), Operation::Read),
            _ => ctx.topic(&topic.name, Operation::Read),
        };
        let mut partitions = Vec::with_capacity(topic.partitions.len());
        for asked in topic.partitions {
            let at = asked.partition_index;
            let code = match ctx.has(&found, at) {
                Ok(found) => {
                    let place = (asked.committed_offset, asked.committed_leader_epoch);
                    offsets.push(new_offset(found, at, place, asked.committed_metadata));
                    ErrorCode::NONE
                }
                Err(error) => door_code(error),
            };
            let partition = TxnOffsetCommitResponsePartition::default()
                .with_partition_index(at)
                .with_error_code(code.0);
            partitions.push(partition);
        }
        let mut topic = TxnOffsetCommitResponseTopic::default().with_name(topic.name);
        if version >= 6 {
            topic = newer::with_topic_id(topic, id);
        }
        answered.push(topic.with_partitions(partitions));
    }
    (answered, offsets)
}

/// Puts codes where no error stands yet.
fn fill_in(
    answered: &mut [TxnOffsetCommitResponseTopic],
    mut codes: impl Iterator<Item = ErrorCode>,
) {
    let partitions = answered.iter_mut().flat_map(|topic| &mut topic.partitions);
    for partition in partitions.filter(|partition| partition.error_code == 0) {
        partition.error_code = codes.next().map_or(0, |code| code.0);
    }
}
