//! Domain errors to Kafka's codes: the only place.

use carrick_protocol::error_code::ErrorCode;

use crate::group::GroupError;
use crate::partition::PartitionError;
use crate::topic::TopicError;

/// The code for a partition's refusal.
pub fn partition_code(error: &PartitionError) -> ErrorCode {
    unimplemented!("{error}")
}

/// The code for a refused topic change.
pub fn topic_code(error: &TopicError) -> ErrorCode {
    unimplemented!("{error}")
}

/// The code for a group's refusal (`GroupCoordinatorService` and
/// `appendGroupMetadataErrorToResponseError` in Kafka).
pub fn group_code(error: GroupError) -> ErrorCode {
    match error {
        GroupError::InvalidGroupId => ErrorCode::INVALID_GROUP_ID,
        GroupError::GroupNotFound => ErrorCode::GROUP_ID_NOT_FOUND,
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
        GroupError::RecordTooLarge => ErrorCode::UNKNOWN_SERVER_ERROR,
        GroupError::NotStored | GroupError::Gone => ErrorCode::COORDINATOR_NOT_AVAILABLE,
        GroupError::ShuttingDown => ErrorCode::NOT_COORDINATOR,
    }
}
