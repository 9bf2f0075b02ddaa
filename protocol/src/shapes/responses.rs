//! Fields of the responses a link reads, by version: see the notation in `parse`.
//! `shapes::tests` proves each of them against the codec.

use super::parse::Description;

/// By API key.
pub(super) const RESPONSES: &[Description] = &[
    // Fetch
    Description {
        api_key: 1,
        versions: 4..=18,
        flexible_from: Some(12),
        fields: "\
            throttle_time_ms:i32 7.. error_code:i16 7.. session_id:i32
            responses:[
                ..12 topic:str 13.. topic_id:uuid
                partitions:[
                    partition_index:i32 error_code:i16 high_watermark:i64
                    last_stable_offset:i64 5.. log_start_offset:i64
                    12.. diverging_epoch@0:{ epoch:i32 end_offset:i64 }
                    12.. current_leader@1:{ leader_id:i32 leader_epoch:i32 }
                    12.. snapshot_id@2:{ end_offset:i64 epoch:i32 }
                    aborted_transactions:n[ producer_id:i64 first_offset:i64 ]
                    11.. preferred_read_replica:i32 records:nbytes
                ]
            ]
            16.. node_endpoints@0:[ node_id:i32 host:str port:i32 rack:nstr ]",
    },
    // ListOffsets
    Description {
        api_key: 2,
        versions: 1..=10,
        flexible_from: Some(6),
        fields: "\
            2.. throttle_time_ms:i32
            topics:[
                name:str
                partitions:[
                    partition_index:i32 error_code:i16 timestamp:i64 offset:i64
                    4.. leader_epoch:i32
                ]
            ]",
    },
    // Metadata
    Description {
        api_key: 3,
        versions: 0..=13,
        flexible_from: Some(9),
        fields: "\
            3.. throttle_time_ms:i32
            brokers:[ node_id:i32 host:str port:i32 1.. rack:nstr ]
            2.. cluster_id:nstr 1.. controller_id:i32
            topics:[
                error_code:i16 name:n12str 10.. topic_id:uuid 1.. is_internal:bool
                partitions:[
                    error_code:i16 partition_index:i32 leader_id:i32 7.. leader_epoch:i32
                    replica_nodes:[i32] isr_nodes:[i32] 5.. offline_replicas:[i32]
                ]
                8.. topic_authorized_operations:i32
            ]
            8..10 cluster_authorized_operations:i32 13.. error_code:i16",
    },
    // OffsetFetch
    Description {
        api_key: 9,
        versions: 1..=10,
        flexible_from: Some(6),
        fields: "\
            3.. throttle_time_ms:i32
            ..7 topics:[
                name:str
                partitions:[
                    partition_index:i32 committed_offset:i64 5.. committed_leader_epoch:i32
                    metadata:nstr error_code:i16
                ]
            ]
            2..7 error_code:i16
            8.. groups:[
                group_id:str
                topics:[
                    ..9 name:str 10.. topic_id:uuid
                    partitions:[
                        partition_index:i32 committed_offset:i64 committed_leader_epoch:i32
                        metadata:nstr error_code:i16
                    ]
                ]
                error_code:i16
            ]",
    },
    // FindCoordinator
    Description {
        api_key: 10,
        versions: 0..=6,
        flexible_from: Some(3),
        fields: "\
            1.. throttle_time_ms:i32 ..3 error_code:i16 1..3 error_message:nstr
            ..3 node_id:i32 ..3 host:str ..3 port:i32
            4.. coordinators:[
                key:str node_id:i32 host:str port:i32 error_code:i16 error_message:nstr
            ]",
    },
    // ListGroups
    Description {
        api_key: 16,
        versions: 0..=5,
        flexible_from: Some(3),
        fields: "\
            1.. throttle_time_ms:i32 error_code:i16
            groups:[ group_id:str protocol_type:str 4.. group_state:str 5.. group_type:str ]",
    },
    // SaslHandshake
    Description {
        api_key: 17,
        versions: 0..=1,
        flexible_from: None,
        fields: "error_code:i16 mechanisms:[str]",
    },
    // ApiVersions
    Description {
        api_key: 18,
        versions: 0..=4,
        flexible_from: Some(3),
        fields: "\
            error_code:i16
            api_keys:[ api_key:i16 min_version:i16 max_version:i16 ]
            1.. throttle_time_ms:i32
            3.. supported_features@0:[ name:str min_version:i16 max_version:i16 ]
            3.. finalized_features_epoch@1:i64
            3.. finalized_features@2:[
                name:str max_version_level:i16 min_version_level:i16
            ]
            3.. zk_migration_ready@3:bool",
    },
    // OffsetForLeaderEpoch
    Description {
        api_key: 23,
        versions: 2..=4,
        flexible_from: Some(4),
        fields: "\
            throttle_time_ms:i32
            topics:[
                topic:str
                partitions:[ error_code:i16 partition:i32 leader_epoch:i32 end_offset:i64 ]
            ]",
    },
    // DescribeAcls
    Description {
        api_key: 29,
        versions: 1..=3,
        flexible_from: Some(2),
        fields: "\
            throttle_time_ms:i32 error_code:i16 error_message:nstr
            resources:[
                resource_type:i8 resource_name:str pattern_type:i8
                acls:[ principal:str host:str operation:i8 permission_type:i8 ]
            ]",
    },
    // DescribeConfigs
    Description {
        api_key: 32,
        versions: 1..=4,
        flexible_from: Some(4),
        fields: "\
            throttle_time_ms:i32
            results:[
                error_code:i16 error_message:nstr resource_type:i8 resource_name:str
                configs:[
                    name:str value:nstr read_only:bool config_source:i8 is_sensitive:bool
                    synonyms:[ name:str value:nstr source:i8 ]
                    3.. config_type:i8 3.. documentation:nstr
                ]
            ]",
    },
    // SaslAuthenticate
    Description {
        api_key: 36,
        versions: 0..=2,
        flexible_from: Some(2),
        fields: "\
            error_code:i16 error_message:nstr auth_bytes:bytes 1.. session_lifetime_ms:i64",
    },
    // DescribeCluster
    Description {
        api_key: 60,
        versions: 0..=2,
        flexible_from: Some(0),
        fields: "\
            throttle_time_ms:i32 error_code:i16 error_message:nstr 1.. endpoint_type:i8
            cluster_id:str controller_id:i32
            brokers:[ broker_id:i32 host:str port:i32 rack:nstr 2.. is_fenced:bool ]
            cluster_authorized_operations:i32",
    },
];
