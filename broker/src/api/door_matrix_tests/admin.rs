//! Topics, configs and the cluster.

use carrick_protocol::error_code::ErrorCode;
use kafka_protocol::messages::alter_client_quotas_request::{EntityData, EntryData, OpData};
use kafka_protocol::messages::alter_replica_log_dirs_request::{
    AlterReplicaLogDir, AlterReplicaLogDirTopic,
};
use kafka_protocol::messages::alter_user_scram_credentials_request::ScramCredentialUpsertion;
use kafka_protocol::messages::create_acls_request::AclCreation;
use kafka_protocol::messages::create_partitions_request::CreatePartitionsTopic;
use kafka_protocol::messages::create_topics_request::CreatableTopic;
use kafka_protocol::messages::delete_acls_request::DeleteAclsFilter;
use kafka_protocol::messages::delete_records_request::{
    DeleteRecordsPartition, DeleteRecordsTopic,
};
use kafka_protocol::messages::delete_topics_request::DeleteTopicState;
use kafka_protocol::messages::describe_configs_request::DescribeConfigsResource;
use kafka_protocol::messages::describe_topic_partitions_request::TopicRequest;
use kafka_protocol::messages::*;

use super::{
    CLUSTER, G, NEW, NO_CLUSTER, NO_GROUP, NO_TOPIC, Outcome, Row, T, U, code, row, shown,
};
use crate::access::{Operation::*, Permission, Resource, ResourceKind};
use crate::api::alter_client_quotas::AlterClientQuotas;
use crate::api::alter_configs::AlterConfigs as LegacyAlterConfigs;
use crate::api::alter_partition_reassignments::AlterPartitionReassignments;
use crate::api::alter_replica_log_dirs::AlterReplicaLogDirs;
use crate::api::alter_user_scram_credentials::AlterUserScramCredentials;
use crate::api::create_acls::CreateAcls;
use crate::api::create_partitions::CreatePartitions;
use crate::api::create_topics::CreateTopics;
use crate::api::delete_acls::DeleteAcls;
use crate::api::delete_records::DeleteRecords;
use crate::api::delete_topics::DeleteTopics;
use crate::api::describe_acls::DescribeAcls;
use crate::api::describe_client_quotas::DescribeClientQuotas;
use crate::api::describe_cluster::DescribeCluster;
use crate::api::describe_configs::DescribeConfigs as DescribeConfigsApi;
use crate::api::describe_log_dirs::DescribeLogDirs;
use crate::api::describe_quorum::DescribeQuorum;
use crate::api::describe_topic_partitions::DescribeTopicPartitions;
use crate::api::describe_user_scram_credentials::DescribeUserScramCredentials;
use crate::api::elect_leaders::ElectLeaders;
use crate::api::incremental_alter_configs::IncrementalAlterConfigs;
use crate::api::list_config_resources::ListConfigResources;
use crate::api::list_partition_reassignments::ListPartitionReassignments;
use crate::testing::wire;

pub(super) fn topics_and_configs() -> Vec<Row> {
    let mut rows = created_and_deleted();
    rows.extend(changed());
    rows.extend(configs());
    rows.extend(altered_configs());
    rows
}

pub(super) fn cluster() -> Vec<Row> {
    let mut rows = described();
    rows.extend(administered());
    rows.extend(secured());
    rows
}

fn created_and_deleted() -> Vec<Row> {
    let state = DeleteTopicState::default;
    let deleted = |it: &DeleteTopicsResponse| code(it.responses[0].error_code);
    vec![
        row::<CreateTopics>(
            "one",
            7,
            |_| {
                let topic = CreatableTopic::default()
                    .with_name(wire("new"))
                    .with_num_partitions(1)
                    .with_replication_factor(1);
                CreateTopicsRequest::default().with_topics(vec![topic])
            },
            |it| code(it.topics[0].error_code),
        )
        .needs_one_of(vec![(Create, CLUSTER), (Create, NEW)], NO_TOPIC)
        .also(DescribeConfigs, NEW)
        .changes(),
        row::<CreateTopics>(
            "of Kafka's metadata",
            7,
            |_| {
                let topic = CreatableTopic::default()
                    .with_name(wire("__cluster_metadata"))
                    .with_num_partitions(1)
                    .with_replication_factor(1);
                CreateTopicsRequest::default().with_topics(vec![topic])
            },
            |it| code(it.topics[0].error_code),
        )
        .answers(ErrorCode::INVALID_REQUEST),
        row::<DeleteTopics>(
            "by name",
            6,
            move |_| {
                let topic = state().with_name(Some(wire("u")));
                DeleteTopicsRequest::default().with_topics(vec![topic])
            },
            deleted,
        )
        .needs_one_of(vec![(Delete, CLUSTER), (Describe, U)], NO_TOPIC)
        .needs_one_of(vec![(Delete, CLUSTER), (Delete, U)], NO_TOPIC)
        .changes(),
        row::<DeleteTopics>(
            "by id",
            6,
            move |broker| {
                let topic = state().with_topic_id(broker.topic("u").unwrap().id().0);
                DeleteTopicsRequest::default().with_topics(vec![topic.with_name(None)])
            },
            deleted,
        )
        .needs_one_of(vec![(Delete, CLUSTER), (Delete, U)], NO_TOPIC)
        .changes(),
    ]
}

fn changed() -> Vec<Row> {
    vec![
        row::<CreatePartitions>(
            "one more",
            2,
            |_| {
                let topic = CreatePartitionsTopic::default()
                    .with_name(wire("u"))
                    .with_count(2)
                    .with_assignments(None);
                CreatePartitionsRequest::default().with_topics(vec![topic])
            },
            |it| code(it.results[0].error_code),
        )
        .needs(Alter, U, NO_TOPIC)
        .changes(),
        row::<DeleteRecords>(
            "all",
            2,
            |_| {
                let partition = DeleteRecordsPartition::default().with_offset(-1);
                let topic = DeleteRecordsTopic::default()
                    .with_name(wire("t"))
                    .with_partitions(vec![partition]);
                DeleteRecordsRequest::default().with_topics(vec![topic])
            },
            |it| code(it.topics[0].partitions[0].error_code),
        )
        .needs(Delete, T, NO_TOPIC)
        .changes(),
        row::<DescribeTopicPartitions>(
            "by name",
            0,
            |_| {
                let topic = TopicRequest::default().with_name(wire("t"));
                DescribeTopicPartitionsRequest::default()
                    .with_topics(vec![topic])
                    .with_response_partition_limit(10)
            },
            |it| code(it.topics[0].error_code),
        )
        .needs(Describe, T, NO_TOPIC)
        .tells_operations(T),
        row::<DescribeTopicPartitions>(
            "all",
            0,
            |_| DescribeTopicPartitionsRequest::default().with_response_partition_limit(10),
            |it| shown(it.topics.len() == 2),
        )
        .needs(Describe, T, Outcome::LeftOut)
        .needs(Describe, U, Outcome::LeftOut)
        .tells_operations(T)
        .tells_operations(U),
    ]
}

/// Kinds of resources with configs: code, name, what the operation is asked for on, what a refusal
/// is, and whether configs of it can be altered.
const KINDS: [(&str, i8, &str, Resource<'static>, Outcome, bool); 6] = [
    ("of a topic", 2, "t", T, NO_TOPIC, true),
    ("of this broker", 4, "1", CLUSTER, NO_CLUSTER, true),
    ("of all brokers", 4, "", CLUSTER, NO_CLUSTER, true),
    ("of loggers", 8, "1", CLUSTER, NO_CLUSTER, false),
    ("of client metrics", 16, "m", CLUSTER, NO_CLUSTER, false),
    ("of a group", 32, "g", G, NO_GROUP, true),
];

fn configs() -> Vec<Row> {
    let rows = KINDS
        .into_iter()
        .map(|(what, kind, name, resource, refused, _)| {
            row::<DescribeConfigsApi>(
                what,
                4,
                move |_| {
                    let asked = DescribeConfigsResource::default()
                        .with_resource_type(kind)
                        .with_resource_name(name.into());
                    DescribeConfigsRequest::default().with_resources(vec![asked])
                },
                |it| code(it.results[0].error_code),
            )
            .needs(DescribeConfigs, resource, refused)
        });
    let listed = row::<ListConfigResources>(
        "all",
        1,
        |_| ListConfigResourcesRequest::default(),
        |it| code(it.error_code),
    );
    let listed = listed.needs(DescribeConfigs, CLUSTER, NO_CLUSTER);
    let unknown = row::<ListConfigResources>(
        "of an unknown type",
        1,
        |_| ListConfigResourcesRequest::default().with_resource_types(vec![77]),
        |it| code(it.error_code),
    )
    .needs(DescribeConfigs, CLUSTER, NO_CLUSTER)
    .answers(ErrorCode::UNSUPPORTED_VERSION);
    rows.chain([listed, unknown]).collect()
}

/// A config of a kind, and a value that it may have.
fn config(kind: i8) -> (&'static str, &'static str) {
    match kind {
        2 => ("retention.ms", "77"),
        32 => ("consumer.session.timeout.ms", "46000"),
        _ => ("log.retention.ms", "77"),
    }
}

fn altered_configs() -> Vec<Row> {
    let incremental = KINDS
        .into_iter()
        .map(|(what, kind, name, resource, refused, alters)| {
            let row = row::<IncrementalAlterConfigs>(
                what,
                1,
                move |_| {
                    use incremental_alter_configs_request::{
                        AlterConfigsResource, AlterableConfig,
                    };
                    let (config, value) = config(kind);
                    let config = AlterableConfig::default()
                        .with_name(config.into())
                        .with_value(Some(value.into()));
                    let resource = AlterConfigsResource::default()
                        .with_resource_type(kind)
                        .with_resource_name(name.into())
                        .with_configs(vec![config]);
                    IncrementalAlterConfigsRequest::default().with_resources(vec![resource])
                },
                |it| code(it.responses[0].error_code),
            )
            .needs(AlterConfigs, resource, refused);
            match alters {
                true => row.changes(),
                false => row.answers(ErrorCode::INVALID_REQUEST),
            }
        });
    // The configs of all brokers are set as a whole, and some of them must have a value.
    let alterable = KINDS.into_iter();
    let alterable = alterable.filter(|(_, _, name, .., alters)| *alters && !name.is_empty());
    let legacy = alterable.map(|(what, kind, name, resource, refused, _)| {
        row::<LegacyAlterConfigs>(
            what,
            2,
            move |_| {
                use alter_configs_request::{AlterConfigsResource, AlterableConfig};
                let (config, value) = config(kind);
                let config = AlterableConfig::default()
                    .with_name(config.into())
                    .with_value(Some(value.into()));
                let resource = AlterConfigsResource::default()
                    .with_resource_type(kind)
                    .with_resource_name(name.into())
                    .with_configs(vec![config]);
                AlterConfigsRequest::default().with_resources(vec![resource])
            },
            |it| code(it.responses[0].error_code),
        )
        .needs(AlterConfigs, resource, refused)
        .changes()
    });
    incremental.chain(legacy).collect()
}

fn described() -> Vec<Row> {
    vec![
        row::<DescribeCluster>(
            "without operations",
            1,
            |_| DescribeClusterRequest::default(),
            |it| code(it.error_code),
        ),
        row::<DescribeCluster>(
            "with operations",
            1,
            |_| DescribeClusterRequest::default().with_include_cluster_authorized_operations(true),
            |it| shown(it.cluster_authorized_operations != 0),
        )
        .needs(Describe, CLUSTER, Outcome::LeftOut)
        .tells_operations(CLUSTER),
        row::<DescribeQuorum>(
            "of the metadata",
            2,
            |_| {
                use describe_quorum_request::{PartitionData, TopicData};
                let topic = TopicData::default()
                    .with_topic_name(wire("__cluster_metadata"))
                    .with_partitions(vec![PartitionData::default()]);
                DescribeQuorumRequest::default().with_topics(vec![topic])
            },
            |it| code(it.error_code),
        )
        .needs(Describe, CLUSTER, NO_CLUSTER),
        row::<DescribeLogDirs>(
            "all",
            4,
            |_| DescribeLogDirsRequest::default().with_topics(None),
            |it| code(it.error_code),
        )
        .needs(Describe, CLUSTER, NO_CLUSTER),
        row::<ListPartitionReassignments>(
            "all",
            0,
            |_| ListPartitionReassignmentsRequest::default().with_topics(None),
            |it| code(it.error_code),
        )
        .needs(Describe, CLUSTER, NO_CLUSTER),
        row::<AlterUserScramCredentials>(
            "of a user",
            0,
            |_| {
                let credential = ScramCredentialUpsertion::default()
                    .with_name("ann".into())
                    .with_mechanism(1)
                    .with_iterations(4096)
                    .with_salt(b"salt".as_slice().into())
                    .with_salted_password(b"salted".as_slice().into());
                AlterUserScramCredentialsRequest::default().with_upsertions(vec![credential])
            },
            |it| code(it.results[0].error_code),
        )
        .needs(Alter, CLUSTER, NO_CLUSTER)
        .changes(),
    ]
}

fn move_logs() -> AlterReplicaLogDirsRequest {
    let topic = AlterReplicaLogDirTopic::default()
        .with_name(wire("t"))
        .with_partitions(vec![0]);
    let dir = AlterReplicaLogDir::default()
        .with_path("/nowhere".into())
        .with_topics(vec![topic]);
    AlterReplicaLogDirsRequest::default().with_dirs(vec![dir])
}

fn administered() -> Vec<Row> {
    vec![
        row::<ElectLeaders>(
            "of all partitions",
            2,
            |_| ElectLeadersRequest::default().with_topic_partitions(None),
            |it| code(it.error_code),
        )
        .needs(Alter, CLUSTER, NO_CLUSTER),
        row::<ElectLeaders>(
            "of an unknown type",
            2,
            |_| {
                ElectLeadersRequest::default()
                    .with_election_type(7)
                    .with_topic_partitions(None)
            },
            |it| code(it.error_code),
        )
        .needs(Alter, CLUSTER, NO_CLUSTER)
        .answers(ErrorCode::INVALID_REQUEST),
        row::<AlterPartitionReassignments>(
            "none",
            1,
            |_| AlterPartitionReassignmentsRequest::default(),
            |it| code(it.error_code),
        )
        .needs(Alter, CLUSTER, NO_CLUSTER),
        row::<AlterReplicaLogDirs>(
            "to nowhere",
            2,
            |_| move_logs(),
            |it| code(it.results[0].partitions[0].error_code),
        )
        .needs(Alter, CLUSTER, NO_CLUSTER)
        .answers(ErrorCode::LOG_DIR_NOT_FOUND),
        row::<DescribeClientQuotas>(
            "all",
            1,
            |_| DescribeClientQuotasRequest::default(),
            |it| code(it.error_code),
        )
        .needs(DescribeConfigs, CLUSTER, NO_CLUSTER),
        row::<AlterClientQuotas>(
            "of a user",
            1,
            |_| {
                let user = EntityData::default()
                    .with_entity_type("user".into())
                    .with_entity_name(Some("ann".into()));
                let rate = OpData::default()
                    .with_key("producer_byte_rate".into())
                    .with_value(1e6);
                let entry = EntryData::default()
                    .with_entity(vec![user])
                    .with_ops(vec![rate]);
                AlterClientQuotasRequest::default().with_entries(vec![entry])
            },
            |it| code(it.entries[0].error_code),
        )
        .needs(AlterConfigs, CLUSTER, NO_CLUSTER)
        .changes(),
    ]
}

/// The code of filters for every one.
const EVERY: i8 = 1;

fn secured() -> Vec<Row> {
    vec![
        row::<DescribeAcls>(
            "all",
            2,
            |_| {
                DescribeAclsRequest::default()
                    .with_resource_type_filter(EVERY)
                    .with_pattern_type_filter(EVERY)
                    .with_operation(EVERY)
                    .with_permission_type(EVERY)
            },
            |it| code(it.error_code),
        )
        .needs(Describe, CLUSTER, NO_CLUSTER),
        row::<CreateAcls>(
            "one",
            2,
            |_| {
                let creation = AclCreation::default()
                    .with_resource_type(ResourceKind::Topic.code())
                    .with_resource_name("other".into())
                    .with_principal("User:ann".into())
                    .with_host("*".into())
                    .with_operation(Read.code())
                    .with_permission_type(Permission::Allow.code());
                CreateAclsRequest::default().with_creations(vec![creation])
            },
            |it| code(it.results[0].error_code),
        )
        .needs(Alter, CLUSTER, NO_CLUSTER)
        .changes(),
        row::<DeleteAcls>(
            "some that are not there",
            2,
            |_| {
                let filter = DeleteAclsFilter::default()
                    .with_resource_type_filter(EVERY)
                    .with_pattern_type_filter(EVERY)
                    .with_principal_filter(Some("User:nobody".into()))
                    .with_operation(EVERY)
                    .with_permission_type(EVERY);
                DeleteAclsRequest::default().with_filters(vec![filter])
            },
            |it| code(it.filter_results[0].error_code),
        )
        .needs(Alter, CLUSTER, NO_CLUSTER),
        row::<DescribeUserScramCredentials>(
            "all",
            0,
            |_| DescribeUserScramCredentialsRequest::default().with_users(None),
            |it| code(it.error_code),
        )
        .needs(Describe, CLUSTER, NO_CLUSTER),
    ]
}
