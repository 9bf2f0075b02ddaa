//! Elections, reassignments and folders of one broker. Cases follow LeaderElectionCommandTest,
//! PlaintextAdminIntegrationTest (testElect*, testAlterReplicaLogDirs*) and
//! ReplicationControlManagerTest (testReassignPartitions, testCancelReassignPartitions).

use carrick_protocol::error_code::ErrorCode;
use kafka_protocol::messages::alter_partition_reassignments_request::{
    ReassignablePartition, ReassignableTopic,
};
use kafka_protocol::messages::alter_replica_log_dirs_request::{
    AlterReplicaLogDir, AlterReplicaLogDirTopic,
};
use kafka_protocol::messages::elect_leaders_request::TopicPartitions;
use kafka_protocol::messages::{
    AlterPartitionReassignmentsRequest, AlterReplicaLogDirsRequest, BrokerId,
    DescribeLogDirsRequest, ElectLeadersRequest, ListPartitionReassignmentsRequest,
};

use crate::testing::{TestBroker, wire};

#[tokio::test(flavor = "multi_thread")]
async fn no_election_is_needed_where_there_is_a_leader() {
    let it = TestBroker::start(&[]).await;
    it.create("t", 2);
    let mut client = it.client().await;
    let of = |name: &str, partitions: &[i32]| {
        TopicPartitions::default()
            .with_topic(wire(name))
            .with_partitions(partitions.to_vec())
    };
    let asked = vec![of("t", &[1, 0, 5, 1]), of("gone", &[0])];
    for version in 0..=2 {
        let request = ElectLeadersRequest::default().with_topic_partitions(Some(asked.clone()));
        let request = match version {
            0 => request,
            _ => request.with_election_type(1),
        };
        let answer = client.call(version, &request).await;
        let codes: Vec<_> = answer.replica_election_results[0]
            .partition_result
            .iter()
            .map(|result| (result.partition_id, ErrorCode(result.error_code)))
            .collect();
        let not_needed = ErrorCode::ELECTION_NOT_NEEDED;
        let unknown = ErrorCode::UNKNOWN_TOPIC_OR_PARTITION;
        assert_eq!(codes, [(0, not_needed), (1, not_needed), (5, unknown)]);
        let gone = &answer.replica_election_results[1].partition_result[0];
        assert_eq!(gone.error_code, unknown.0);
        assert_eq!(gone.error_message.as_deref(), Some("No such topic as gone"));
    }
    let all = ElectLeadersRequest::default().with_topic_partitions(None);
    assert!(
        client
            .call(2, &all)
            .await
            .replica_election_results
            .is_empty()
    );
    let strange = all.with_election_type(7);
    let code = client.call(2, &strange).await.error_code;
    assert_eq!(ErrorCode(code), ErrorCode::INVALID_REQUEST);
}

#[tokio::test(flavor = "multi_thread")]
async fn partitions_can_be_reassigned_to_where_they_are_only() {
    let it = TestBroker::start(&[]).await;
    it.create("t", 1);
    let mut client = it.client().await;
    let mut reassign = async |version, name: &str, number, replicas: Option<&[i32]>| {
        let replicas = replicas.map(|ids| ids.iter().map(|id| BrokerId(*id)).collect());
        let partition = ReassignablePartition::default()
            .with_partition_index(number)
            .with_replicas(replicas);
        let topic = ReassignableTopic::default()
            .with_name(wire(name))
            .with_partitions(vec![partition]);
        let request = AlterPartitionReassignmentsRequest::default().with_topics(vec![topic]);
        let answer = client.call(version, &request).await;
        assert_eq!(answer.error_code, 0);
        ErrorCode(answer.responses[0].partitions[0].error_code)
    };
    for version in 0..=1 {
        assert_eq!(reassign(version, "t", 0, Some(&[1])).await, ErrorCode::NONE);
        let invalid = ErrorCode::INVALID_REPLICA_ASSIGNMENT;
        for replicas in [&[2][..], &[1, 2], &[1, 1], &[]] {
            assert_eq!(reassign(version, "t", 0, Some(replicas)).await, invalid);
        }
        let nothing = ErrorCode::NO_REASSIGNMENT_IN_PROGRESS;
        assert_eq!(reassign(version, "t", 0, None).await, nothing);
        let unknown = ErrorCode::UNKNOWN_TOPIC_OR_PARTITION;
        assert_eq!(reassign(version, "t", 1, Some(&[1])).await, unknown);
        assert_eq!(reassign(version, "gone", 0, Some(&[1])).await, unknown);
    }
    let list = ListPartitionReassignmentsRequest::default().with_topics(None);
    let listed = client.call(0, &list).await;
    assert!(listed.error_code == 0 && listed.topics.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn partitions_can_be_moved_to_the_folder_they_are_in_only() {
    let it = TestBroker::start(&[]).await;
    it.create("t", 1);
    let mut client = it.client().await;
    let described = DescribeLogDirsRequest::default().with_topics(None);
    let here = client.call(4, &described).await.results[0].log_dir.clone();
    let there = kafka_protocol::protocol::StrBytes::from_static_str("/elsewhere");
    for version in 1..=2 {
        let mut moved = async |dir: &_, name: &str, number| {
            let topic = AlterReplicaLogDirTopic::default()
                .with_name(wire(name))
                .with_partitions(vec![number]);
            let dir = AlterReplicaLogDir::default()
                .with_path(Clone::clone(dir))
                .with_topics(vec![topic]);
            let request = AlterReplicaLogDirsRequest::default().with_dirs(vec![dir]);
            let answer = client.call(version, &request).await;
            ErrorCode(answer.results[0].partitions[0].error_code)
        };
        assert_eq!(moved(&here, "t", 0).await, ErrorCode::NONE);
        assert_eq!(moved(&here, "t", 1).await, ErrorCode::REPLICA_NOT_AVAILABLE);
        assert_eq!(moved(&there, "t", 0).await, ErrorCode::LOG_DIR_NOT_FOUND);
    }
}
