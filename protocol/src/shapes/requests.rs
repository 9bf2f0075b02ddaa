//! Fields of the requests a broker reads, by version: see the notation in `parse`.
//! `shapes::tests` proves each of them against the codec.

use super::parse::Description;

/// By API key.
pub(super) const REQUESTS: &[Description] = &[
    // Produce
    Description {
        api_key: 0,
        versions: 3..=13,
        flexible_from: Some(9),
        fields: "\
            transactional_id:nstr acks:i16 timeout_ms:i32
            topic_data:[
                ..12 name:str 13.. topic_id:uuid
                partition_data:[ index:i32 records:nbytes ]
            ]",
    },
    // Fetch
    Description {
        api_key: 1,
        versions: 4..=18,
        flexible_from: Some(12),
        fields: "\
            12.. cluster_id@0:nstr ..14 replica_id:i32
            15.. replica_state@1:{ replica_id:i32 replica_epoch:i64 }
            max_wait_ms:i32 min_bytes:i32 max_bytes:i32 isolation_level:i8
            7.. session_id:i32 7.. session_epoch:i32
            topics:[
                ..12 topic:str 13.. topic_id:uuid
                partitions:[
                    partition:i32 9.. current_leader_epoch:i32 fetch_offset:i64
                    12.. last_fetched_epoch:i32 5.. log_start_offset:i64
                    partition_max_bytes:i32 17.. replica_directory_id@0:uuid
                    18.. high_watermark@1:i64
                ]
            ]
            7.. forgotten_topics_data:[ ..12 topic:str 13.. topic_id:uuid partitions:[i32] ]
            11.. rack_id:str",
    },
    // ListOffsets
    Description {
        api_key: 2,
        versions: 1..=11,
        flexible_from: Some(6),
        fields: "\
            replica_id:i32 2.. isolation_level:i8
            topics:[
                name:str
                partitions:[
                    partition_index:i32 4.. current_leader_epoch:i32 timestamp:i64
                ]
            ]
            10.. timeout_ms:i32",
    },
    // Metadata
    Description {
        api_key: 3,
        versions: 0..=13,
        flexible_from: Some(9),
        fields: "\
            topics:n1[ 10.. topic_id:uuid name:n10str ]
            4.. allow_auto_topic_creation:bool
            8..10 include_cluster_authorized_operations:bool
            8.. include_topic_authorized_operations:bool",
    },
    // OffsetCommit
    Description {
        api_key: 8,
        versions: 2..=10,
        flexible_from: Some(8),
        fields: "\
            group_id:str generation_id_or_member_epoch:i32 member_id:str
            7.. group_instance_id:nstr ..4 retention_time_ms:i64
            topics:[
                ..9 name:str 10.. topic_id:uuid
                partitions:[
                    partition_index:i32 committed_offset:i64 6.. committed_leader_epoch:i32
                    committed_metadata:nstr
                ]
            ]",
    },
    // OffsetFetch
    Description {
        api_key: 9,
        versions: 1..=10,
        flexible_from: Some(6),
        fields: "\
            ..7 group_id:str
            ..7 topics:n2[ name:str partition_indexes:[i32] ]
            8.. groups:[
                group_id:str 9.. member_id:nstr 9.. member_epoch:i32
                topics:n[ ..9 name:str 10.. topic_id:uuid partition_indexes:[i32] ]
            ]
            7.. require_stable:bool",
    },
    // FindCoordinator
    Description {
        api_key: 10,
        versions: 0..=6,
        flexible_from: Some(3),
        fields: "..3 key:str 1.. key_type:i8 4.. coordinator_keys:[str]",
    },
    // JoinGroup
    Description {
        api_key: 11,
        versions: 0..=9,
        flexible_from: Some(6),
        fields: "\
            group_id:str session_timeout_ms:i32 1.. rebalance_timeout_ms:i32 member_id:str
            5.. group_instance_id:nstr protocol_type:str
            protocols:[ name:str metadata:bytes ]
            8.. reason:nstr",
    },
    // Heartbeat
    Description {
        api_key: 12,
        versions: 0..=4,
        flexible_from: Some(4),
        fields: "\
            group_id:str generation_id:i32 member_id:str 3.. group_instance_id:nstr",
    },
    // LeaveGroup
    Description {
        api_key: 13,
        versions: 0..=5,
        flexible_from: Some(4),
        fields: "\
            group_id:str ..2 member_id:str
            3.. members:[ member_id:str group_instance_id:nstr 5.. reason:nstr ]",
    },
    // SyncGroup
    Description {
        api_key: 14,
        versions: 0..=5,
        flexible_from: Some(4),
        fields: "\
            group_id:str generation_id:i32 member_id:str 3.. group_instance_id:nstr
            5.. protocol_type:nstr 5.. protocol_name:nstr
            assignments:[ member_id:str assignment:bytes ]",
    },
    // DescribeGroups
    Description {
        api_key: 15,
        versions: 0..=6,
        flexible_from: Some(5),
        fields: "groups:[str] 3.. include_authorized_operations:bool",
    },
    // ListGroups
    Description {
        api_key: 16,
        versions: 0..=5,
        flexible_from: Some(3),
        fields: "4.. states_filter:[str] 5.. types_filter:[str]",
    },
    // SaslHandshake
    Description {
        api_key: 17,
        versions: 0..=1,
        flexible_from: None,
        fields: "mechanism:str",
    },
    // ApiVersions
    Description {
        api_key: 18,
        versions: 0..=4,
        flexible_from: Some(3),
        fields: "3.. client_software_name:str 3.. client_software_version:str",
    },
    // CreateTopics
    Description {
        api_key: 19,
        versions: 2..=7,
        flexible_from: Some(5),
        fields: "\
            topics:[
                name:str num_partitions:i32 replication_factor:i16
                assignments:[ partition_index:i32 broker_ids:[i32] ]
                configs:[ name:str value:nstr ]
            ]
            timeout_ms:i32 validate_only:bool",
    },
    // DeleteTopics
    Description {
        api_key: 20,
        versions: 1..=6,
        flexible_from: Some(4),
        fields: "\
            6.. topics:[ name:nstr topic_id:uuid ] ..5 topic_names:[str] timeout_ms:i32",
    },
    // DeleteRecords
    Description {
        api_key: 21,
        versions: 0..=2,
        flexible_from: Some(2),
        fields: "\
            topics:[ name:str partitions:[ partition_index:i32 offset:i64 ] ]
            timeout_ms:i32",
    },
    // InitProducerId
    Description {
        api_key: 22,
        versions: 0..=5,
        flexible_from: Some(2),
        fields: "\
            transactional_id:nstr transaction_timeout_ms:i32 3.. producer_id:i64
            3.. producer_epoch:i16",
    },
    // OffsetForLeaderEpoch
    Description {
        api_key: 23,
        versions: 2..=4,
        flexible_from: Some(4),
        fields: "\
            3.. replica_id:i32
            topics:[
                topic:str
                partitions:[ partition:i32 current_leader_epoch:i32 leader_epoch:i32 ]
            ]",
    },
    // AddPartitionsToTxn
    Description {
        api_key: 24,
        versions: 0..=5,
        flexible_from: Some(3),
        fields: "\
            4.. transactions:[
                transactional_id:str producer_id:i64 producer_epoch:i16 verify_only:bool
                topics:[ name:str partitions:[i32] ]
            ]
            ..3 v3_and_below_transactional_id:str ..3 v3_and_below_producer_id:i64
            ..3 v3_and_below_producer_epoch:i16
            ..3 v3_and_below_topics:[ name:str partitions:[i32] ]",
    },
    // AddOffsetsToTxn
    Description {
        api_key: 25,
        versions: 0..=4,
        flexible_from: Some(3),
        fields: "\
            transactional_id:str producer_id:i64 producer_epoch:i16 group_id:str",
    },
    // EndTxn
    Description {
        api_key: 26,
        versions: 0..=5,
        flexible_from: Some(3),
        fields: "\
            transactional_id:str producer_id:i64 producer_epoch:i16 committed:bool",
    },
    // WriteTxnMarkers
    Description {
        api_key: 27,
        versions: 1..=2,
        flexible_from: Some(1),
        fields: "\
            markers:[
                producer_id:i64 producer_epoch:i16 transaction_result:bool
                topics:[ name:str partition_indexes:[i32] ]
                coordinator_epoch:i32 2.. transaction_version:i8
            ]",
    },
    // TxnOffsetCommit
    Description {
        api_key: 28,
        versions: 0..=6,
        flexible_from: Some(3),
        fields: "\
            transactional_id:str group_id:str producer_id:i64 producer_epoch:i16
            3.. generation_id:i32 3.. member_id:str 3.. group_instance_id:nstr
            topics:[
                ..5 name:str 6.. topic_id:uuid
                partitions:[
                    partition_index:i32 committed_offset:i64 2.. committed_leader_epoch:i32
                    committed_metadata:nstr
                ]
            ]",
    },
    // DescribeAcls
    Description {
        api_key: 29,
        versions: 1..=3,
        flexible_from: Some(2),
        fields: "\
            resource_type_filter:i8 resource_name_filter:nstr pattern_type_filter:i8
            principal_filter:nstr host_filter:nstr operation:i8 permission_type:i8",
    },
    // CreateAcls
    Description {
        api_key: 30,
        versions: 1..=3,
        flexible_from: Some(2),
        fields: "\
            creations:[
                resource_type:i8 resource_name:str resource_pattern_type:i8
                principal:str host:str operation:i8 permission_type:i8
            ]",
    },
    // DeleteAcls
    Description {
        api_key: 31,
        versions: 1..=3,
        flexible_from: Some(2),
        fields: "\
            filters:[
                resource_type_filter:i8 resource_name_filter:nstr pattern_type_filter:i8
                principal_filter:nstr host_filter:nstr operation:i8 permission_type:i8
            ]",
    },
    // DescribeConfigs
    Description {
        api_key: 32,
        versions: 1..=4,
        flexible_from: Some(4),
        fields: "\
            resources:[ resource_type:i8 resource_name:str configuration_keys:n[str] ]
            include_synonyms:bool 3.. include_documentation:bool",
    },
    // AlterConfigs
    Description {
        api_key: 33,
        versions: 0..=2,
        flexible_from: Some(2),
        fields: "\
            resources:[ resource_type:i8 resource_name:str configs:[ name:str value:nstr ] ]
            validate_only:bool",
    },
    // AlterReplicaLogDirs
    Description {
        api_key: 34,
        versions: 1..=2,
        flexible_from: Some(2),
        fields: "\
            dirs:[ path:str topics:[ name:str partitions:[i32] ] ]",
    },
    // DescribeLogDirs
    Description {
        api_key: 35,
        versions: 1..=4,
        flexible_from: Some(2),
        fields: "topics:n[ topic:str partitions:[i32] ]",
    },
    // SaslAuthenticate
    Description {
        api_key: 36,
        versions: 0..=2,
        flexible_from: Some(2),
        fields: "auth_bytes:bytes",
    },
    // CreatePartitions
    Description {
        api_key: 37,
        versions: 0..=3,
        flexible_from: Some(2),
        fields: "\
            topics:[ name:str count:i32 assignments:n[ broker_ids:[i32] ] ]
            timeout_ms:i32 validate_only:bool",
    },
    // DeleteGroups
    Description {
        api_key: 42,
        versions: 0..=3,
        flexible_from: Some(2),
        fields: "groups_names:[str]",
    },
    // ElectLeaders
    Description {
        api_key: 43,
        versions: 0..=2,
        flexible_from: Some(2),
        fields: "\
            1.. election_type:i8 topic_partitions:n[ topic:str partitions:[i32] ]
            timeout_ms:i32",
    },
    // IncrementalAlterConfigs
    Description {
        api_key: 44,
        versions: 0..=1,
        flexible_from: Some(1),
        fields: "\
            resources:[
                resource_type:i8 resource_name:str
                configs:[ name:str config_operation:i8 value:nstr ]
            ]
            validate_only:bool",
    },
    // AlterPartitionReassignments
    Description {
        api_key: 45,
        versions: 0..=1,
        flexible_from: Some(0),
        fields: "\
            timeout_ms:i32 1.. allow_replication_factor_change:bool
            topics:[ name:str partitions:[ partition_index:i32 replicas:n[i32] ] ]",
    },
    // ListPartitionReassignments
    Description {
        api_key: 46,
        versions: 0..=0,
        flexible_from: Some(0),
        fields: "\
            timeout_ms:i32 topics:n[ name:str partition_indexes:[i32] ]",
    },
    // OffsetDelete
    Description {
        api_key: 47,
        versions: 0..=0,
        flexible_from: None,
        fields: "\
            group_id:str
            topics:[ name:str partitions:[ partition_index:i32 ] ]",
    },
    // DescribeClientQuotas
    Description {
        api_key: 48,
        versions: 0..=1,
        flexible_from: Some(1),
        fields: "\
            components:[ entity_type:str match_type:i8 match:nstr ] strict:bool",
    },
    // AlterClientQuotas
    Description {
        api_key: 49,
        versions: 0..=1,
        flexible_from: Some(1),
        fields: "\
            entries:[
                entity:[ entity_type:str entity_name:nstr ]
                ops:[ key:str value:f64 remove:bool ]
            ]
            validate_only:bool",
    },
    // DescribeUserScramCredentials
    Description {
        api_key: 50,
        versions: 0..=0,
        flexible_from: Some(0),
        fields: "users:n[ name:str ]",
    },
    // AlterUserScramCredentials
    Description {
        api_key: 51,
        versions: 0..=0,
        flexible_from: Some(0),
        fields: "\
            deletions:[ name:str mechanism:i8 ]
            upsertions:[
                name:str mechanism:i8 iterations:i32 salt:bytes salted_password:bytes
            ]",
    },
    // DescribeQuorum
    Description {
        api_key: 55,
        versions: 0..=2,
        flexible_from: Some(0),
        fields: "topics:[ topic_name:str partitions:[ partition_index:i32 ] ]",
    },
    // DescribeCluster
    Description {
        api_key: 60,
        versions: 0..=2,
        flexible_from: Some(0),
        fields: "\
            include_cluster_authorized_operations:bool 1.. endpoint_type:i8
            2.. include_fenced_brokers:bool",
    },
    // DescribeProducers
    Description {
        api_key: 61,
        versions: 0..=0,
        flexible_from: Some(0),
        fields: "topics:[ name:str partition_indexes:[i32] ]",
    },
    // DescribeTransactions
    Description {
        api_key: 65,
        versions: 0..=0,
        flexible_from: Some(0),
        fields: "transactional_ids:[str]",
    },
    // ListTransactions
    Description {
        api_key: 66,
        versions: 0..=2,
        flexible_from: Some(0),
        fields: "\
            state_filters:[str] producer_id_filters:[i64] 1.. duration_filter:i64
            2.. transactional_id_pattern:nstr",
    },
    // ConsumerGroupHeartbeat
    Description {
        api_key: 68,
        versions: 0..=1,
        flexible_from: Some(0),
        fields: "\
            group_id:str member_id:str member_epoch:i32 instance_id:nstr rack_id:nstr
            rebalance_timeout_ms:i32 subscribed_topic_names:n[str]
            1.. subscribed_topic_regex:nstr server_assignor:nstr
            topic_partitions:n[ topic_id:uuid partitions:[i32] ]",
    },
    // ConsumerGroupDescribe
    Description {
        api_key: 69,
        versions: 0..=1,
        flexible_from: Some(0),
        fields: "group_ids:[str] include_authorized_operations:bool",
    },
    // ListConfigResources
    Description {
        api_key: 74,
        versions: 0..=1,
        flexible_from: Some(0),
        fields: "\
            1.. resource_types:[i8]",
    },
    // DescribeTopicPartitions
    Description {
        api_key: 75,
        versions: 0..=0,
        flexible_from: Some(0),
        fields: "\
            topics:[ name:str ] response_partition_limit:i32
            cursor:n{ topic_name:str partition_index:i32 }",
    },
];
