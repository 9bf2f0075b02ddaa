//! Domain errors to Kafka's codes: the only place.

use carrick_protocol::batch::{BatchError, ProducedBatchError};
use carrick_protocol::error_code::ErrorCode;
use carrick_storage::log::{LogError, SequenceError};

use super::door::DoorError;
use crate::access::{AclError, ResourceKind};
use crate::auth::UserError;
use crate::config::PropertiesError;
use crate::config::dynamic::DynamicError;
use crate::fetch_session::SessionError;
use crate::group::GroupError;
use crate::group::overrides::GroupConfigError;
use crate::partition::PartitionError;
use crate::quota::QuotaError;
use crate::topic::TopicError;
use crate::transaction::{OffsetsError, TxnError};

/// The code for what the door does not let through.
pub fn door_code(error: DoorError) -> ErrorCode {
    match error {
        DoorError::NoSuchTopic | DoorError::NoSuchPartition => {
            ErrorCode::UNKNOWN_TOPIC_OR_PARTITION
        }
        DoorError::NoSuchTopicId => ErrorCode::UNKNOWN_TOPIC_ID,
        DoorError::Elsewhere(_) => ErrorCode::NOT_LEADER_OR_FOLLOWER,
        DoorError::OtherCoordinator => ErrorCode::NOT_COORDINATOR,
        DoorError::NotAllowed(ResourceKind::Cluster) => ErrorCode::CLUSTER_AUTHORIZATION_FAILED,
        DoorError::NotAllowed(ResourceKind::Topic) => ErrorCode::TOPIC_AUTHORIZATION_FAILED,
        DoorError::NotAllowed(ResourceKind::Group) => ErrorCode::GROUP_AUTHORIZATION_FAILED,
        DoorError::NotAllowed(ResourceKind::DelegationToken) => {
            ErrorCode::DELEGATION_TOKEN_AUTHORIZATION_FAILED
        }
        // No request asks for a user only. Kafka has no code of its own for it.
        DoorError::NotAllowed(ResourceKind::User) => ErrorCode::CLUSTER_AUTHORIZATION_FAILED,
        DoorError::NotAllowed(ResourceKind::TransactionalId) => {
            ErrorCode::TRANSACTIONAL_ID_AUTHORIZATION_FAILED
        }
    }
}

/// The code for a fetch session that can't continue.
pub(super) fn session_code(error: SessionError) -> ErrorCode {
    match error {
        SessionError::NotFound => ErrorCode::FETCH_SESSION_ID_NOT_FOUND,
        SessionError::Epoch => ErrorCode::INVALID_FETCH_SESSION_EPOCH,
        SessionError::OtherNaming => ErrorCode::FETCH_SESSION_TOPIC_ID_ERROR,
    }
}

/// The code for a partition's refusal.
pub fn partition_code(error: &PartitionError) -> ErrorCode {
    match error {
        PartitionError::ReadOnlyMirror { .. } => ErrorCode::INVALID_REQUEST,
        PartitionError::LeaseFenced | PartitionError::NotAMirror => ErrorCode::INVALID_REQUEST,
        PartitionError::Faulted => ErrorCode::KAFKA_STORAGE_ERROR,
        PartitionError::Closed => ErrorCode::NOT_LEADER_OR_FOLLOWER,
        PartitionError::TooLarge { .. } => ErrorCode::MESSAGE_TOO_LARGE,
        PartitionError::LargerThanSegment { .. } => ErrorCode::RECORD_LIST_TOO_LARGE,
        PartitionError::NoBatch | PartitionError::TrailingBytes { .. } => ErrorCode::INVALID_RECORD,
        PartitionError::Transactional => ErrorCode::INVALID_TXN_STATE,
        PartitionError::EpochWentBack { .. } => ErrorCode::INVALID_REQUEST,
        PartitionError::FencedEpoch { .. } => ErrorCode::FENCED_LEADER_EPOCH,
        PartitionError::UnknownEpoch { .. } => ErrorCode::UNKNOWN_LEADER_EPOCH,
        PartitionError::Batch(error) => produced_code(error),
        PartitionError::Produced(ProducedBatchError::Batch(error)) => produced_code(error),
        PartitionError::Produced(ProducedBatchError::Records(records))
            if records.iter().any(|record| record.problem.is_timestamp()) =>
        {
            ErrorCode::INVALID_TIMESTAMP
        }
        PartitionError::Produced(_) => ErrorCode::INVALID_RECORD,
        PartitionError::Sequence(error) => sequence_code(error),
        PartitionError::CompactedOnly { .. } => ErrorCode::POLICY_VIOLATION,
        PartitionError::OutOfRange { .. } => ErrorCode::OFFSET_OUT_OF_RANGE,
        PartitionError::Log(error) => log_code(error),
    }
}

/// The code for bytes that a client produced: what is malformed stays so, only a checksum may be
/// right the next time.
fn produced_code(error: &BatchError) -> ErrorCode {
    match error {
        BatchError::Crc { .. } | BatchError::Length(_) => ErrorCode::CORRUPT_MESSAGE,
        BatchError::Codec(_) => ErrorCode::UNSUPPORTED_COMPRESSION_TYPE,
        BatchError::TooLarge { .. } => ErrorCode::MESSAGE_TOO_LARGE,
        BatchError::Compress { .. } => ErrorCode::UNKNOWN_SERVER_ERROR,
        _ => ErrorCode::INVALID_RECORD,
    }
}

fn sequence_code(error: &SequenceError) -> ErrorCode {
    match error {
        SequenceError::OutOfOrder { .. } => ErrorCode::OUT_OF_ORDER_SEQUENCE_NUMBER,
        SequenceError::Fenced { .. } => ErrorCode::INVALID_PRODUCER_EPOCH,
        SequenceError::CoordinatorFenced { .. } => ErrorCode::TRANSACTION_COORDINATOR_FENCED,
        SequenceError::DuplicateOutsideWindow { .. } => ErrorCode::DUPLICATE_SEQUENCE_NUMBER,
        SequenceError::TransactionOpen { .. } => ErrorCode::INVALID_TXN_STATE,
    }
}

/// The code for a log's failure.
pub fn log_code(error: &LogError) -> ErrorCode {
    match error {
        LogError::OutOfRange { .. } => ErrorCode::OFFSET_OUT_OF_RANGE,
        LogError::BatchTooLarge { .. } => ErrorCode::MESSAGE_TOO_LARGE,
        _ => ErrorCode::KAFKA_STORAGE_ERROR,
    }
}

/// The code for a refused topic change.
pub fn topic_code(error: &TopicError) -> ErrorCode {
    match error {
        TopicError::Exists(_) => ErrorCode::TOPIC_ALREADY_EXISTS,
        TopicError::Collides { .. } => ErrorCode::INVALID_TOPIC_EXCEPTION,
        TopicError::Internal(_) => ErrorCode::INVALID_REQUEST,
        TopicError::Unknown(_) => ErrorCode::UNKNOWN_TOPIC_OR_PARTITION,
        TopicError::InvalidPartitions(_) => ErrorCode::INVALID_PARTITIONS,
        TopicError::ReplicationFactor(_) => ErrorCode::INVALID_REPLICATION_FACTOR,
        TopicError::InvalidConfig(_) => ErrorCode::INVALID_CONFIG,
        TopicError::Mirror(_) | TopicError::MirrorConfig { .. } | TopicError::NotAMirror(_) => {
            ErrorCode::INVALID_REQUEST
        }
        TopicError::Disk(_) | TopicError::Log(_) | TopicError::Meta(_) => {
            ErrorCode::KAFKA_STORAGE_ERROR
        }
    }
}

/// The code for a refused change of properties (`ConfigAdminManager` in Kafka).
pub fn properties_code(error: &PropertiesError) -> ErrorCode {
    match error {
        PropertiesError::Change(_) => ErrorCode::INVALID_CONFIG,
        PropertiesError::Dynamic(DynamicError::ClusterWide | DynamicError::NotRemovable) => {
            ErrorCode::INVALID_CONFIG
        }
        PropertiesError::Dynamic(_) => ErrorCode::INVALID_REQUEST,
        PropertiesError::Store(_) => ErrorCode::KAFKA_STORAGE_ERROR,
    }
}

/// The code for a refused change of a user (`ScramControlManager` in Kafka).
pub fn user_code(error: &UserError) -> ErrorCode {
    match error {
        UserError::Repeated => ErrorCode::DUPLICATE_RESOURCE,
        UserError::Unknown => ErrorCode::RESOURCE_NOT_FOUND,
        UserError::UnknownMechanism => ErrorCode::UNSUPPORTED_SASL_MECHANISM,
        UserError::NoName
        | UserError::LongName
        | UserError::TooFewIterations
        | UserError::TooManyIterations
        | UserError::Unacceptable(_) => ErrorCode::UNACCEPTABLE_CREDENTIAL,
        UserError::TooMany(_) => ErrorCode::POLICY_VIOLATION,
        UserError::NotStored(_) => ErrorCode::KAFKA_STORAGE_ERROR,
    }
}

/// The code for a refused quota (`ClientQuotaControlManager` in Kafka).
pub fn quota_code(error: &QuotaError) -> ErrorCode {
    match error {
        QuotaError::NotStored(_) => ErrorCode::KAFKA_STORAGE_ERROR,
        QuotaError::TooMany(_) => ErrorCode::POLICY_VIOLATION,
        _ => ErrorCode::INVALID_REQUEST,
    }
}

/// The code for a refused change of ACLs.
pub fn acl_code(error: &AclError) -> ErrorCode {
    match error {
        AclError::Invalid(_) => ErrorCode::INVALID_REQUEST,
        AclError::TooMany(_) | AclError::TooLarge(_) => ErrorCode::POLICY_VIOLATION,
        AclError::NotStored(_) => ErrorCode::KAFKA_STORAGE_ERROR,
    }
}

/// The code for refused configs of a group.
pub fn group_config_code(error: &GroupConfigError) -> ErrorCode {
    match error {
        GroupConfigError::NoName => ErrorCode::INVALID_REQUEST,
        GroupConfigError::UnknownName(_)
        | GroupConfigError::InvalidValue(_)
        | GroupConfigError::Change(_) => ErrorCode::INVALID_CONFIG,
        GroupConfigError::TooMany => ErrorCode::POLICY_VIOLATION,
        GroupConfigError::NotStored => ErrorCode::KAFKA_STORAGE_ERROR,
    }
}

/// The code for a group's refusal (`GroupCoordinatorService` and
/// `appendGroupMetadataErrorToResponseError` in Kafka).
pub fn group_code(error: GroupError) -> ErrorCode {
    match error {
        GroupError::InvalidGroupId => ErrorCode::INVALID_GROUP_ID,
        GroupError::GroupNotFound
        | GroupError::NotClassicGroup
        | GroupError::NotConsumerGroup
        | GroupError::NotUpgradable(_) => ErrorCode::GROUP_ID_NOT_FOUND,
        GroupError::UnknownMember => ErrorCode::UNKNOWN_MEMBER_ID,
        GroupError::FencedInstance => ErrorCode::FENCED_INSTANCE_ID,
        GroupError::IllegalGeneration => ErrorCode::ILLEGAL_GENERATION,
        GroupError::RebalanceInProgress => ErrorCode::REBALANCE_IN_PROGRESS,
        GroupError::InconsistentProtocol => ErrorCode::INCONSISTENT_GROUP_PROTOCOL,
        GroupError::MemberIdRequired => ErrorCode::MEMBER_ID_REQUIRED,
        GroupError::GroupFull => ErrorCode::GROUP_MAX_SIZE_REACHED,
        GroupError::InvalidSessionTimeout => ErrorCode::INVALID_SESSION_TIMEOUT,
        GroupError::NonEmptyGroup => ErrorCode::NON_EMPTY_GROUP,
        GroupError::SubscribedToTopic => ErrorCode::GROUP_SUBSCRIBED_TO_TOPIC,
        GroupError::MetadataTooLarge => ErrorCode::OFFSET_METADATA_TOO_LARGE,
        GroupError::CommitTooLarge => ErrorCode::INVALID_COMMIT_OFFSET_SIZE,
        GroupError::RecordTooLarge => ErrorCode::UNKNOWN_SERVER_ERROR,
        GroupError::FencedMemberEpoch => ErrorCode::FENCED_MEMBER_EPOCH,
        GroupError::StaleMemberEpoch => ErrorCode::STALE_MEMBER_EPOCH,
        GroupError::UnreleasedInstance => ErrorCode::UNRELEASED_INSTANCE_ID,
        GroupError::InvalidRegex => ErrorCode::INVALID_REGULAR_EXPRESSION,
        GroupError::UnsupportedVersion => ErrorCode::UNSUPPORTED_VERSION,
        GroupError::NotStored | GroupError::Gone | GroupError::Busy => {
            ErrorCode::COORDINATOR_NOT_AVAILABLE
        }
        GroupError::ShuttingDown => ErrorCode::NOT_COORDINATOR,
    }
}

/// The code for a refusal by the transaction coordinator.
pub fn txn_code(error: TxnError) -> ErrorCode {
    match error {
        TxnError::InvalidId => ErrorCode::INVALID_REQUEST,
        TxnError::NotFound => ErrorCode::TRANSACTIONAL_ID_NOT_FOUND,
        TxnError::NotMapped => ErrorCode::INVALID_PRODUCER_ID_MAPPING,
        TxnError::Fenced => ErrorCode::PRODUCER_FENCED,
        TxnError::Concurrent => ErrorCode::CONCURRENT_TRANSACTIONS,
        TxnError::InvalidState => ErrorCode::INVALID_TXN_STATE,
        TxnError::NotInTransaction => ErrorCode::TRANSACTION_ABORTABLE,
        TxnError::InvalidTimeout => ErrorCode::INVALID_TRANSACTION_TIMEOUT,
        TxnError::TooMany => ErrorCode::POLICY_VIOLATION,
        TxnError::NoProducerId => ErrorCode::COORDINATOR_LOAD_IN_PROGRESS,
        TxnError::NotStored => ErrorCode::COORDINATOR_NOT_AVAILABLE,
        TxnError::ShuttingDown => ErrorCode::NOT_COORDINATOR,
    }
}

/// The code for a batch that the transaction coordinator refuses, in words that producers know
/// (`AddPartitionsToTxnManager`, `ReplicaManager.handleProduceAppend` in Kafka): retriable ones of
/// the coordinator are unknown to Produce, and newer codes to older clients.
pub fn produce_txn_code(version: i16, error: TxnError) -> ErrorCode {
    match error {
        TxnError::Fenced => ErrorCode::INVALID_PRODUCER_EPOCH,
        TxnError::NotInTransaction if version < 11 => ErrorCode::INVALID_TXN_STATE,
        TxnError::Concurrent if version < 12 => ErrorCode::NOT_ENOUGH_REPLICAS,
        TxnError::NotStored | TxnError::NoProducerId | TxnError::ShuttingDown => {
            ErrorCode::NOT_ENOUGH_REPLICAS
        }
        error => txn_code(error),
    }
}

/// The code for offsets that a transaction may not commit, in words that producers know.
pub fn txn_offsets_code(version: i16, error: OffsetsError) -> ErrorCode {
    match error {
        OffsetsError::Transaction(TxnError::Fenced) => ErrorCode::INVALID_PRODUCER_EPOCH,
        OffsetsError::Transaction(TxnError::NotInTransaction) if version < 4 => {
            ErrorCode::INVALID_TXN_STATE
        }
        OffsetsError::Transaction(error) => txn_code(error),
        OffsetsError::Group(error) => group_code(error),
    }
}
