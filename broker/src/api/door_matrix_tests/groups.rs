//! Groups and what they have committed.

use carrick_protocol::error_code::ErrorCode;
use kafka_protocol::messages::join_group_request::JoinGroupRequestProtocol;
use kafka_protocol::messages::offset_commit_request::OffsetCommitRequestTopic;
use kafka_protocol::messages::offset_delete_request::{
    OffsetDeleteRequestPartition, OffsetDeleteRequestTopic,
};
use kafka_protocol::messages::offset_fetch_request::{
    OffsetFetchRequestGroup, OffsetFetchRequestTopic, OffsetFetchRequestTopics,
};
use kafka_protocol::messages::*;

use super::{
    C, CLUSTER, G, N, NO_GROUP, NO_ID, NO_TOPIC, Outcome, Row, T, X, code, commit, group, handled,
    row, shown, subscribe,
};
use crate::access::Operation::*;
use crate::api::consumer_group_describe::ConsumerGroupDescribe;
use crate::api::consumer_group_heartbeat::ConsumerGroupHeartbeat;
use crate::api::delete_groups::DeleteGroups;
use crate::api::describe_groups::DescribeGroups;
use crate::api::find_coordinator::FindCoordinator;
use crate::api::heartbeat::Heartbeat;
use crate::api::join_group::JoinGroup;
use crate::api::leave_group::LeaveGroup;
use crate::api::list_groups::ListGroups;
use crate::api::offset_commit::OffsetCommit;
use crate::api::offset_delete::OffsetDelete;
use crate::api::offset_fetch::OffsetFetch;
use crate::api::sync_group::SyncGroup;
use crate::testing::wire;

pub(super) fn rows() -> Vec<Row> {
    let mut rows = members();
    rows.extend(descriptions());
    rows.extend(commits());
    rows.extend(fetches());
    rows
}

fn members() -> Vec<Row> {
    let nobody = ErrorCode::UNKNOWN_MEMBER_ID;
    vec![
        row::<JoinGroup>(
            "as a new member",
            3,
            |_| {
                let protocol = JoinGroupRequestProtocol::default().with_name("range".into());
                JoinGroupRequest::default()
                    .with_group_id(group("g"))
                    .with_session_timeout_ms(10_000)
                    .with_rebalance_timeout_ms(10_000)
                    .with_protocol_type("consumer".into())
                    .with_protocols(vec![protocol])
            },
            |it| code(it.error_code),
        )
        .needs(Read, G, NO_GROUP)
        .changes(),
        row::<SyncGroup>(
            "of nobody",
            3,
            |_| {
                SyncGroupRequest::default()
                    .with_group_id(group("g"))
                    .with_member_id("nobody".into())
            },
            |it| code(it.error_code),
        )
        .needs(Read, G, NO_GROUP)
        .answers(nobody),
        row::<Heartbeat>(
            "of nobody",
            3,
            |_| {
                HeartbeatRequest::default()
                    .with_group_id(group("g"))
                    .with_member_id("nobody".into())
            },
            |it| code(it.error_code),
        )
        .needs(Read, G, NO_GROUP)
        .answers(nobody),
        row::<LeaveGroup>(
            "of nobody",
            2,
            |_| {
                LeaveGroupRequest::default()
                    .with_group_id(group("g"))
                    .with_member_id("nobody".into())
            },
            |it| code(it.error_code),
        )
        .needs(Read, G, NO_GROUP)
        .answers(nobody),
        row::<ConsumerGroupHeartbeat>(
            "as a new member",
            1,
            |_| subscribe("n"),
            |it| code(it.error_code),
        )
        .needs(Read, N, NO_GROUP)
        .needs(Describe, T, NO_TOPIC)
        .changes(),
    ]
}

fn find(key_type: i8, key: &'static str) -> FindCoordinatorRequest {
    FindCoordinatorRequest::default()
        .with_key_type(key_type)
        .with_coordinator_keys(vec![key.into()])
}

fn descriptions() -> Vec<Row> {
    vec![
        row::<FindCoordinator>(
            "of a group",
            4,
            |_| find(0, "g"),
            |it| code(it.coordinators[0].error_code),
        )
        .needs(Describe, G, NO_GROUP),
        row::<FindCoordinator>(
            "of a transactional id",
            4,
            |_| find(1, "x"),
            |it| code(it.coordinators[0].error_code),
        )
        .needs(Describe, X, NO_ID),
        row::<FindCoordinator>(
            "of a group, before lists",
            3,
            |_| FindCoordinatorRequest::default().with_key("g".into()),
            |it| code(it.error_code),
        )
        .needs(Describe, G, NO_GROUP),
        row::<ListGroups>(
            "all",
            4,
            |_| ListGroupsRequest::default(),
            |it| shown(it.groups.len() == 2),
        )
        .needs_one_of(vec![(Describe, CLUSTER), (Describe, G)], Outcome::LeftOut)
        .needs_one_of(vec![(Describe, CLUSTER), (Describe, C)], Outcome::LeftOut),
        row::<DescribeGroups>(
            "with operations",
            5,
            |_| {
                DescribeGroupsRequest::default()
                    .with_groups(vec![group("g")])
                    .with_include_authorized_operations(true)
            },
            |it| code(it.groups[0].error_code),
        )
        .needs(Describe, G, NO_GROUP)
        .tells_operations(G),
        row::<ConsumerGroupDescribe>(
            "with operations",
            1,
            |_| {
                ConsumerGroupDescribeRequest::default()
                    .with_group_ids(vec![group("c")])
                    .with_include_authorized_operations(true)
            },
            |it| code(it.groups[0].error_code),
        )
        .needs(Describe, C, NO_GROUP)
        .needs(Describe, T, NO_TOPIC)
        .tells_operations(C),
        row::<DeleteGroups>(
            "one",
            2,
            |_| DeleteGroupsRequest::default().with_groups_names(vec![group("g")]),
            |it| code(it.results[0].error_code),
        )
        .needs(Delete, G, NO_GROUP)
        .changes(),
    ]
}

fn commits() -> Vec<Row> {
    vec![
        row::<OffsetCommit>(
            "by name",
            8,
            |_| {
                let mut request = commit(OffsetCommitRequestTopic::default().with_name(wire("t")));
                request.group_id = group("n");
                request
            },
            |it| code(it.topics[0].partitions[0].error_code),
        )
        .needs(Read, N, NO_GROUP)
        .needs(Read, T, NO_TOPIC)
        .changes(),
        handled::<OffsetCommit>(
            "by id",
            10,
            |broker| {
                let topic_id = broker.topic("t").unwrap().id().0;
                let topic = OffsetCommitRequestTopic::default().with_topic_id(topic_id);
                commit(topic).with_group_id(group("n"))
            },
            |it| code(it.topics[0].partitions[0].error_code),
        )
        .needs(Read, N, NO_GROUP)
        .needs(Read, T, NO_TOPIC)
        .changes(),
        row::<OffsetDelete>(
            "one",
            0,
            |_| {
                let topic = OffsetDeleteRequestTopic::default()
                    .with_name(wire("t"))
                    .with_partitions(vec![OffsetDeleteRequestPartition::default()]);
                OffsetDeleteRequest::default()
                    .with_group_id(group("g"))
                    .with_topics(vec![topic])
            },
            |it| match it.topics.first() {
                Some(topic) => code(topic.partitions[0].error_code),
                None => code(it.error_code),
            },
        )
        .needs(Delete, G, NO_GROUP)
        .needs(Read, T, NO_TOPIC)
        .changes(),
    ]
}

fn first_offset(answer: &OffsetFetchResponse) -> Outcome {
    let group = &answer.groups[0];
    match (group.error_code, group.topics.first()) {
        (0, Some(topic)) => code(topic.partitions[0].error_code),
        (0, None) => Outcome::LeftOut,
        (error, _) => code(error),
    }
}

fn fetch(topics: Option<Vec<OffsetFetchRequestTopics>>) -> OffsetFetchRequest {
    let group = OffsetFetchRequestGroup::default()
        .with_group_id(group("g"))
        .with_member_id(None)
        .with_member_epoch(-1)
        .with_topics(topics);
    OffsetFetchRequest::default().with_groups(vec![group])
}

fn fetches() -> Vec<Row> {
    let first = || OffsetFetchRequestTopics::default().with_partition_indexes(vec![0]);
    vec![
        row::<OffsetFetch>(
            "of one group",
            7,
            |_| {
                let topic = OffsetFetchRequestTopic::default()
                    .with_name(wire("t"))
                    .with_partition_indexes(vec![0]);
                OffsetFetchRequest::default()
                    .with_group_id(group("g"))
                    .with_topics(Some(vec![topic]))
            },
            |it| match it.error_code {
                0 => code(it.topics[0].partitions[0].error_code),
                error => code(error),
            },
        )
        .needs(Describe, G, NO_GROUP)
        .needs(Describe, T, NO_TOPIC),
        row::<OffsetFetch>(
            "by name",
            8,
            move |_| fetch(Some(vec![first().with_name(wire("t"))])),
            first_offset,
        )
        .needs(Describe, G, NO_GROUP)
        .needs(Describe, T, NO_TOPIC),
        handled::<OffsetFetch>(
            "by id",
            10,
            move |broker| {
                let topic_id = broker.topic("t").unwrap().id().0;
                fetch(Some(vec![first().with_topic_id(topic_id)]))
            },
            first_offset,
        )
        .needs(Describe, G, NO_GROUP)
        .needs(Describe, T, NO_TOPIC),
        row::<OffsetFetch>("of all topics", 8, |_| fetch(None), first_offset)
            .needs(Describe, G, NO_GROUP)
            .needs(Describe, T, Outcome::LeftOut),
        handled::<OffsetFetch>("of all topics, by id", 10, |_| fetch(None), first_offset)
            .needs(Describe, G, NO_GROUP)
            .needs(Describe, T, Outcome::LeftOut),
    ]
}
