//! What clients see that may not do what they ask for, API by API, as in Kafka's `AuthorizerIntegrationTest`.

use std::sync::Arc;

use carrick_protocol::error_code::ErrorCode;
use carrick_protocol::ids::{LeaderEpoch, NodeId};
use kafka_protocol::messages;
use kafka_protocol::messages::create_partitions_request::CreatePartitionsTopic;
use kafka_protocol::messages::create_topics_request::CreatableTopic;
use kafka_protocol::messages::delete_records_request::{
    DeleteRecordsPartition, DeleteRecordsTopic,
};
use kafka_protocol::messages::delete_topics_request::DeleteTopicState;
use kafka_protocol::messages::describe_configs_request::DescribeConfigsResource;
use kafka_protocol::messages::fetch_request::{FetchPartition, FetchTopic};
use kafka_protocol::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use kafka_protocol::messages::metadata_request::MetadataRequestTopic;
use kafka_protocol::messages::offset_commit_request::{
    OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use kafka_protocol::messages::*;

use super::describe_cluster::DescribeCluster;
use super::describe_topic_partitions::DescribeTopicPartitions;
use super::end_txn::EndTxn;
use super::fetch::Fetch;
use super::find_coordinator::FindCoordinator;
use super::heartbeat::Heartbeat;
use super::metadata::Metadata;
use super::produce::Produce;
use super::{Api, Reply};
use crate::access::Operation::{
    Alter, AlterConfigs, ClusterAction, Create, Delete, Describe, DescribeConfigs, IdempotentWrite,
    Read, Write,
};
use crate::access::{Operation, Resource};
use crate::cluster::{Coordinated, Leader, Member, Placement, View};
use crate::testing::{TestBroker, TestClient, batch, wire};
use crate::topic::{Hosting, Topic};

const TOPIC: Resource<'_> = Resource::Topic("t");
const GROUP: Resource<'_> = Resource::Group("g");
const ID: Resource<'_> = Resource::TransactionalId("x");

fn group(name: &'static str) -> messages::GroupId {
    messages::GroupId(name.into())
}

fn id(name: &'static str) -> TransactionalId {
    TransactionalId(name.into())
}

/// A broker with the topic `t`, where nobody may do one thing.
struct Refusing {
    it: TestBroker,
    client: TestClient,
}

impl Refusing {
    async fn start() -> Self {
        let it = TestBroker::start(&["auto.create.topics.enable=true"]).await;
        it.create("t", 1);
        let client = it.client().await;
        Self { it, client }
    }

    fn refuse(&self, operation: Operation, resource: Resource<'_>) {
        let access = &self.it.broker().access;
        access.refuse_nothing();
        access.refuse(operation, resource);
    }

    /// Asks twice: as everybody may, and where nobody may do that.
    async fn codes<R: kafka_protocol::protocol::Request>(
        &mut self,
        (operation, resource): (Operation, Resource<'_>),
        version: i16,
        request: &R,
        code: impl Fn(&R::Response) -> i16,
    ) -> (ErrorCode, ErrorCode) {
        self.it.broker().access.refuse_nothing();
        let allowed = ErrorCode(code(&self.client.call(version, request).await));
        self.refuse(operation, resource);
        let refused = ErrorCode(code(&self.client.call(version, request).await));
        (allowed, refused)
    }
}

fn fetch() -> FetchRequest {
    let partition = FetchPartition::default().with_partition_max_bytes(1 << 20);
    let topic = FetchTopic::default()
        .with_topic(wire("t"))
        .with_partitions(vec![partition]);
    FetchRequest::default()
        .with_max_bytes(1 << 20)
        .with_session_epoch(-1)
        .with_topics(vec![topic])
}

#[tokio::test(flavor = "multi_thread")]
async fn records_are_written_and_read_by_those_alone_who_may() {
    let mut it = Refusing::start().await;
    let produce = crate::testing::produce("t", 0, -1, batch(&["a"]));
    let codes = it.codes((Write, TOPIC), 9, &produce, |answer| {
        answer.responses[0].partition_responses[0].error_code
    });
    let refused = ErrorCode::TOPIC_AUTHORIZATION_FAILED;
    assert_eq!(codes.await, (ErrorCode::NONE, refused));
    let fetch = fetch();
    let codes = it.codes((Read, TOPIC), 12, &fetch, |answer| {
        answer.responses[0].partitions[0].error_code
    });
    assert_eq!(codes.await, (ErrorCode::NONE, refused));
    let partition = ListOffsetsPartition::default().with_timestamp(-1);
    let topic = ListOffsetsTopic::default()
        .with_name(wire("t"))
        .with_partitions(vec![partition]);
    let offsets = ListOffsetsRequest::default().with_topics(vec![topic]);
    let codes = it.codes((Describe, TOPIC), 7, &offsets, |answer| {
        answer.topics[0].partitions[0].error_code
    });
    assert_eq!(codes.await, (ErrorCode::NONE, refused));
    let partition = DeleteRecordsPartition::default().with_offset(-1);
    let topic = DeleteRecordsTopic::default()
        .with_name(wire("t"))
        .with_partitions(vec![partition]);
    let records = DeleteRecordsRequest::default().with_topics(vec![topic]);
    let codes = it.codes((Delete, TOPIC), 2, &records, |answer| {
        answer.topics[0].partitions[0].error_code
    });
    assert_eq!(codes.await, (ErrorCode::NONE, refused));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_that_may_not_be_described_is_refused_by_name_and_left_out_of_lists() {
    let mut it = Refusing::start().await;
    it.it.create("seen", 1);
    let asked = MetadataRequestTopic::default().with_name(Some(wire("t")));
    let named = MetadataRequest::default().with_topics(Some(vec![asked]));
    let code = |answer: &MetadataResponse| answer.topics[0].error_code;
    let refused = ErrorCode::TOPIC_AUTHORIZATION_FAILED;
    let codes = it.codes((Describe, TOPIC), 12, &named, code).await;
    assert_eq!(codes, (ErrorCode::NONE, refused));
    let all = MetadataRequest::default().with_topics(None);
    let all = it.client.call(12, &all).await;
    let names: Vec<_> = all.topics.iter().map(|t| t.name.clone()).collect();
    assert_eq!(names, [Some(wire("seen"))]);
    // One that is not there is refused alike, and not created.
    let asked = MetadataRequestTopic::default().with_name(Some(wire("new")));
    let new = MetadataRequest::default()
        .with_topics(Some(vec![asked]))
        .with_allow_auto_topic_creation(true);
    it.refuse(Describe, Resource::Topic("new"));
    assert_eq!(
        it.client.call(12, &new).await.topics[0].error_code,
        refused.0
    );
    assert!(it.it.broker().topic("new").is_none());
    // Who may create nothing in the cluster may still create this one.
    it.refuse(Create, Resource::Cluster);
    assert_eq!(it.client.call(12, &new).await.topics[0].error_code, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn authorized_operations_are_those_that_are_allowed() {
    let mut it = Refusing::start().await;
    it.refuse(Delete, TOPIC);
    let asked = MetadataRequestTopic::default().with_name(Some(wire("t")));
    let named = MetadataRequest::default()
        .with_topics(Some(vec![asked]))
        .with_include_topic_authorized_operations(true)
        .with_include_cluster_authorized_operations(true);
    let answer = it.client.call(8, &named).await;
    assert_eq!(
        answer.topics[0].topic_authorized_operations,
        0b1101_1011_1000
    );
    assert_eq!(answer.cluster_authorized_operations, 0b1_1111_1010_0000);
    it.refuse(Describe, Resource::Cluster);
    assert_eq!(
        it.client
            .call(8, &named)
            .await
            .cluster_authorized_operations,
        0
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn topics_are_created_changed_and_deleted_by_those_alone_who_may() {
    let mut it = Refusing::start().await;
    let refused = ErrorCode::TOPIC_AUTHORIZATION_FAILED;
    let topic = CreatableTopic::default()
        .with_name(wire("new"))
        .with_num_partitions(1)
        .with_replication_factor(1);
    let create = CreateTopicsRequest::default().with_topics(vec![topic]);
    let access = it.it.broker().access.clone();
    access.refuse(Create, Resource::Cluster);
    access.refuse(Create, Resource::Topic("new"));
    let answer = it.client.call(7, &create).await;
    assert_eq!(answer.topics[0].error_code, refused.0);
    it.refuse(DescribeConfigs, Resource::Topic("new"));
    let answer = it.client.call(7, &create).await;
    assert_eq!(answer.topics[0].error_code, 0);
    assert_eq!(answer.topics[0].topic_config_error_code, refused.0);
    let topic = CreatePartitionsTopic::default()
        .with_name(wire("t"))
        .with_count(2)
        .with_assignments(None);
    let grow = CreatePartitionsRequest::default()
        .with_topics(vec![topic])
        .with_validate_only(true);
    let code = |answer: &CreatePartitionsResponse| answer.results[0].error_code;
    let codes = it.codes((Alter, TOPIC), 2, &grow, code).await;
    assert_eq!(codes, (ErrorCode::NONE, refused));
    let configs = DescribeConfigsResource::default()
        .with_resource_type(2)
        .with_resource_name("t".into());
    let describe = DescribeConfigsRequest::default().with_resources(vec![configs]);
    let code = |answer: &DescribeConfigsResponse| answer.results[0].error_code;
    let codes = it.codes((DescribeConfigs, TOPIC), 4, &describe, code).await;
    assert_eq!(codes, (ErrorCode::NONE, refused));
    let configs = alter_configs_request::AlterConfigsResource::default()
        .with_resource_type(2)
        .with_resource_name("t".into());
    let alter = AlterConfigsRequest::default().with_resources(vec![configs]);
    let code = |answer: &AlterConfigsResponse| answer.responses[0].error_code;
    let codes = it.codes((AlterConfigs, TOPIC), 2, &alter, code).await;
    assert_eq!(codes, (ErrorCode::NONE, refused));
    it.refuse(Delete, TOPIC);
    access.refuse(Delete, Resource::Cluster);
    let state = DeleteTopicState::default().with_name(Some(wire("t")));
    let delete = DeleteTopicsRequest::default().with_topics(vec![state]);
    let answer = it.client.call(6, &delete).await;
    assert_eq!(answer.responses[0].error_code, refused.0);
    // By its id, who may see the topic is answered its name.
    let id = it.it.broker().topic("t").unwrap().id().0;
    let state = DeleteTopicState::default()
        .with_name(None)
        .with_topic_id(id);
    let delete = DeleteTopicsRequest::default().with_topics(vec![state]);
    for name in [Some(wire("t")), None] {
        let answer = it.client.call(6, &delete).await;
        assert_eq!(answer.responses[0].error_code, refused.0);
        assert_eq!(answer.responses[0].name, name);
        assert_eq!(answer.responses[0].topic_id, id);
        access.refuse(Describe, TOPIC);
    }
    assert!(it.it.broker().topic("t").is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn groups_are_used_and_seen_by_those_alone_who_may() {
    let mut it = Refusing::start().await;
    let refused = ErrorCode::GROUP_AUTHORIZATION_FAILED;
    let partition = OffsetCommitRequestPartition::default().with_committed_offset(0);
    let topic = OffsetCommitRequestTopic::default()
        .with_name(wire("t"))
        .with_partitions(vec![partition]);
    let commit = OffsetCommitRequest::default()
        .with_group_id(group("g"))
        .with_generation_id_or_member_epoch(-1)
        .with_topics(vec![topic]);
    let code = |answer: &OffsetCommitResponse| answer.topics[0].partitions[0].error_code;
    let codes = it.codes((Read, GROUP), 8, &commit, code).await;
    assert_eq!(codes, (ErrorCode::NONE, refused));
    let codes = it.codes((Read, TOPIC), 8, &commit, code).await;
    let no_topic = ErrorCode::TOPIC_AUTHORIZATION_FAILED;
    assert_eq!(codes, (ErrorCode::NONE, no_topic));
    let topic = offset_fetch_request::OffsetFetchRequestTopic::default()
        .with_name(wire("t"))
        .with_partition_indexes(vec![0]);
    let fetch = OffsetFetchRequest::default()
        .with_group_id(group("g"))
        .with_topics(Some(vec![topic]));
    let codes = it.codes((Describe, GROUP), 7, &fetch, |a| a.error_code);
    assert_eq!(codes.await, (ErrorCode::NONE, refused));
    let code = |answer: &OffsetFetchResponse| answer.topics[0].partitions[0].error_code;
    let codes = it.codes((Describe, TOPIC), 7, &fetch, code).await;
    assert_eq!(codes, (ErrorCode::NONE, no_topic));
    let all = OffsetFetchRequest::default()
        .with_group_id(group("g"))
        .with_topics(None);
    assert!(it.client.call(7, &all).await.topics.is_empty());
    let join = JoinGroupRequest::default()
        .with_group_id(group("g"))
        .with_session_timeout_ms(10_000)
        .with_protocol_type("consumer".into());
    it.refuse(Read, GROUP);
    for version in [5, 9] {
        let answer = it.client.call(version, &join).await;
        assert_eq!(answer.error_code, refused.0);
    }
    let beat = HeartbeatRequest::default().with_group_id(group("g"));
    assert_eq!(it.client.call(4, &beat).await.error_code, refused.0);
    let describe = DescribeGroupsRequest::default().with_groups(vec![group("g")]);
    let code = |answer: &DescribeGroupsResponse| answer.groups[0].error_code;
    let codes = it.codes((Describe, GROUP), 6, &describe, code).await;
    assert_eq!(codes, (ErrorCode::NONE, refused));
    // Who may see the cluster sees all groups; else those that it may see.
    let list = ListGroupsRequest::default();
    assert_eq!(it.client.call(4, &list).await.groups.len(), 1);
    it.it.broker().access.refuse(Describe, Resource::Cluster);
    assert!(it.client.call(4, &list).await.groups.is_empty());
    it.refuse(Delete, GROUP);
    let delete = DeleteGroupsRequest::default().with_groups_names(vec![group("g")]);
    let answer = it.client.call(2, &delete).await;
    assert_eq!(answer.results[0].error_code, refused.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn transactional_ids_are_used_and_seen_by_those_alone_who_may() {
    let mut it = Refusing::start().await;
    let refused = ErrorCode::TRANSACTIONAL_ID_AUTHORIZATION_FAILED;
    let init = InitProducerIdRequest::default()
        .with_transactional_id(Some(id("x")))
        .with_producer_id(ProducerId(-1))
        .with_producer_epoch(-1)
        .with_transaction_timeout_ms(10_000);
    let codes = it.codes((Write, ID), 4, &init, |a| a.error_code).await;
    assert_eq!(codes, (ErrorCode::NONE, refused));
    let end = EndTxnRequest::default().with_transactional_id(id("x"));
    assert_eq!(it.client.call(3, &end).await.error_code, refused.0);
    let describe = DescribeTransactionsRequest::default().with_transactional_ids(vec![id("x")]);
    let code = |answer: &DescribeTransactionsResponse| answer.transaction_states[0].error_code;
    let codes = it.codes((Describe, ID), 0, &describe, code).await;
    assert_eq!(codes, (ErrorCode::NONE, refused));
    let list = ListTransactionsRequest::default().with_duration_filter(-1);
    assert!(it.client.call(1, &list).await.transaction_states.is_empty());
    it.it.broker().access.refuse_nothing();
    assert_eq!(it.client.call(1, &list).await.transaction_states.len(), 1);
    let find = FindCoordinatorRequest::default()
        .with_key_type(1)
        .with_coordinator_keys(vec!["x".into()]);
    let code = |answer: &FindCoordinatorResponse| answer.coordinators[0].error_code;
    let codes = it.codes((Describe, ID), 4, &find, code).await;
    assert_eq!(codes, (ErrorCode::NONE, refused));
    // Without a transactional id, who may write to a topic may have a producer id.
    let plain = InitProducerIdRequest::default()
        .with_transactional_id(None)
        .with_producer_id(ProducerId(-1))
        .with_producer_epoch(-1);
    it.refuse(IdempotentWrite, Resource::Cluster);
    assert_eq!(it.client.call(4, &plain).await.error_code, 0);
    let any = Resource::Topic("hardcode");
    it.it.broker().access.refuse(Write, any);
    let no_cluster = ErrorCode::CLUSTER_AUTHORIZATION_FAILED;
    assert_eq!(it.client.call(4, &plain).await.error_code, no_cluster.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_cluster_is_administered_by_those_alone_who_may() {
    let mut it = Refusing::start().await;
    let refused = ErrorCode::CLUSTER_AUTHORIZATION_FAILED;
    let cluster = Resource::Cluster;
    let elect = ElectLeadersRequest::default().with_topic_partitions(None);
    let codes = it.codes((Alter, cluster), 2, &elect, |a| a.error_code);
    assert_eq!(codes.await, (ErrorCode::NONE, refused));
    let moves = AlterPartitionReassignmentsRequest::default();
    let codes = it.codes((Alter, cluster), 1, &moves, |a| a.error_code);
    assert_eq!(codes.await, (ErrorCode::NONE, refused));
    let dirs = DescribeLogDirsRequest::default().with_topics(None);
    let codes = it.codes((Describe, cluster), 4, &dirs, |a| a.error_code);
    let codes = codes.await;
    assert_eq!(codes, (ErrorCode::NONE, refused));
    let listed = ListConfigResourcesRequest::default();
    let codes = it.codes((DescribeConfigs, cluster), 1, &listed, |a| a.error_code);
    assert_eq!(codes.await, (ErrorCode::NONE, refused));
    let quotas = DescribeClientQuotasRequest::default();
    let codes = it.codes((DescribeConfigs, cluster), 1, &quotas, |a| a.error_code);
    assert_eq!(codes.await, (ErrorCode::NONE, refused));
    let acls = DescribeAclsRequest::default()
        .with_resource_type_filter(1)
        .with_operation(1)
        .with_permission_type(1);
    let codes = it.codes((Describe, cluster), 2, &acls, |a| a.error_code);
    assert_eq!(codes.await, (ErrorCode::NONE, refused));
    let topic = write_txn_markers_request::WritableTxnMarkerTopic::default()
        .with_name(wire("t"))
        .with_partition_indexes(vec![0]);
    let marker = write_txn_markers_request::WritableTxnMarker::default().with_topics(vec![topic]);
    let markers = WriteTxnMarkersRequest::default().with_markers(vec![marker]);
    let access = it.it.broker().access.clone();
    access.refuse_nothing();
    access.refuse(Alter, cluster);
    access.refuse(ClusterAction, cluster);
    let answer = it.client.call(1, &markers).await;
    let code = answer.markers[0].topics[0].partitions[0].error_code;
    assert_eq!(code, refused.0);
}

/// A view in which broker 7 leads and coordinates everything.
struct OfSeven;

impl View for OfSeven {
    fn here(&self) -> NodeId {
        NodeId(1)
    }

    fn brokers(&self, _listener: usize) -> Vec<Member> {
        let member = |id, host: &str| Member {
            id: NodeId(id),
            host: host.to_owned(),
            port: 9092,
            rack: None,
        };
        vec![member(1, "one"), member(7, "seven")]
    }

    fn controller(&self) -> NodeId {
        NodeId(7)
    }

    fn placement(&self, topic: &Topic, number: i32) -> Option<Placement> {
        topic.has_partition(number).then(|| Placement {
            leader: Leader {
                broker: Some(NodeId(7)),
                epoch: LeaderEpoch(5),
            },
            replicas: vec![NodeId(7), NodeId(1)],
            in_sync: vec![NodeId(7)],
            offline: Vec::new(),
        })
    }

    fn coordinator(&self, _of: Coordinated<'_>) -> Option<NodeId> {
        Some(NodeId(7))
    }
}

/// What a handler answers at once.
fn now<R>(reply: Reply<R>) -> R {
    match reply {
        Reply::Now(answer) => answer,
        _ => panic!("it waits"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_are_sent_to_the_broker_that_leads_or_coordinates() {
    let it = TestBroker::start(&[]).await;
    let topic = it.create("t", 1);
    // The topic stays, its partition is not here any more.
    it.broker().hosted.hide(topic.id())();
    let mut ctx = it.context();
    ctx.door = Arc::new(ctx.door.with_view(Arc::new(OfSeven)));
    let not_here = ErrorCode::NOT_LEADER_OR_FOLLOWER.0;

    let request = crate::testing::produce("t", 0, 1, batch(&["a"]));
    let answer = now(Produce::handle(&ctx, 10, request));
    let partition = &answer.responses[0].partition_responses[0];
    assert_eq!(partition.error_code, not_here);
    let leader = &partition.current_leader;
    assert_eq!((leader.leader_id.0, leader.leader_epoch), (7, 5));
    assert_eq!(answer.node_endpoints.len(), 1);
    assert_eq!(answer.node_endpoints[0].host.as_str(), "seven");

    let mut request = fetch();
    request.topics[0].topic_id = topic.id().0;
    let answer = now(Fetch::handle(&ctx, 16, request));
    let partition = &answer.responses[0].partitions[0];
    assert_eq!(partition.error_code, not_here);
    assert_eq!(partition.current_leader.leader_id.0, 7);
    assert_eq!(answer.node_endpoints[0].host.as_str(), "seven");

    let answer = now(Metadata::handle(
        &ctx,
        12,
        MetadataRequest::default().with_topics(None),
    ));
    assert_eq!((answer.brokers.len(), answer.controller_id.0), (2, 7));
    let partition = &answer.topics[0].partitions[0];
    assert_eq!((partition.leader_id.0, partition.leader_epoch), (7, 5));
    assert_eq!(
        (partition.replica_nodes.len(), partition.isr_nodes.len()),
        (2, 1)
    );

    let answer = now(DescribeTopicPartitions::handle(
        &ctx,
        0,
        DescribeTopicPartitionsRequest::default().with_response_partition_limit(10),
    ));
    assert_eq!(answer.topics[0].partitions[0].leader_id.0, 7);

    let answer = now(DescribeCluster::handle(
        &ctx,
        1,
        DescribeClusterRequest::default(),
    ));
    assert_eq!((answer.brokers.len(), answer.controller_id.0), (2, 7));

    let request = FindCoordinatorRequest::default().with_coordinator_keys(vec!["g".into()]);
    let answer = now(FindCoordinator::handle(&ctx, 4, request));
    assert_eq!(answer.coordinators[0].host.as_str(), "seven");
    let beat = HeartbeatRequest::default().with_group_id(group("g"));
    let answer = now(Heartbeat::handle(&ctx, 4, beat));
    assert_eq!(answer.error_code, ErrorCode::NOT_COORDINATOR.0);
    let end = EndTxnRequest::default().with_transactional_id(id("x"));
    let answer = now(EndTxn::handle(&ctx, 3, end));
    assert_eq!(answer.error_code, ErrorCode::NOT_COORDINATOR.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_that_is_being_deleted_is_never_shown_without_its_partitions() {
    let it = TestBroker::start(&[]).await;
    let topic = it.create("t", 3);
    it.create("u", 1);
    // As a handler sees it that has found the topic and then looks for its partitions.
    it.broker().hosted.hide(topic.id())();
    let ctx = it.context();
    let shown = |topics| {
        let request = MetadataRequest::default().with_topics(topics);
        let answer = now(Metadata::handle(&ctx, 12, request));
        let topics = answer.topics.into_iter();
        let topics = topics.map(|it| (ErrorCode(it.error_code), it.partitions.len()));
        topics.collect::<Vec<_>>()
    };
    let by_name = MetadataRequestTopic::default().with_name(Some(wire("t")));
    let by_id = MetadataRequestTopic::default().with_topic_id(topic.id().0);
    let unknown = ErrorCode::UNKNOWN_TOPIC_OR_PARTITION;
    assert_eq!(shown(Some(vec![by_name])), [(unknown, 0)]);
    let unknown_id = ErrorCode::UNKNOWN_TOPIC_ID;
    assert_eq!(shown(Some(vec![by_id])), [(unknown_id, 0)]);
    assert_eq!(shown(None), [(ErrorCode::NONE, 1)]);

    let described = |name: Option<&str>| {
        let topic =
            |name| describe_topic_partitions_request::TopicRequest::default().with_name(name);
        let request = DescribeTopicPartitionsRequest::default()
            .with_topics(name.map(wire).map(topic).into_iter().collect())
            .with_response_partition_limit(10);
        let answer = now(DescribeTopicPartitions::handle(&ctx, 0, request));
        let topics = answer.topics.into_iter();
        let topics = topics.map(|it| (ErrorCode(it.error_code), it.partitions.len()));
        topics.collect::<Vec<_>>()
    };
    assert_eq!(described(Some("t")), [(unknown, 0)]);
    assert_eq!(described(None), [(ErrorCode::NONE, 1)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_group_shows_its_members_to_those_alone_who_may_see_their_topics() {
    let mut it = Refusing::start().await;
    let join = ConsumerGroupHeartbeatRequest::default()
        .with_group_id(group("g"))
        .with_member_id("m".into())
        .with_rebalance_timeout_ms(60_000)
        .with_subscribed_topic_names(Some(vec![wire("t")]))
        .with_topic_partitions(Some(Vec::new()));
    let joined = it.client.call(1, &join).await;
    assert_eq!(joined.error_code, 0);
    assert!(joined.assignment.is_some());
    let describe = ConsumerGroupDescribeRequest::default().with_group_ids(vec![group("g")]);
    let codes = it.codes((Describe, TOPIC), 1, &describe, |answer| {
        answer.groups[0].error_code
    });
    let refused = ErrorCode::TOPIC_AUTHORIZATION_FAILED;
    assert_eq!(codes.await, (ErrorCode::NONE, refused));
    let answer = it.client.call(1, &describe).await;
    assert!(answer.groups[0].members.is_empty());
}
