//! Domain errors to Kafka's codes: the only place.

use carrick_protocol::error_code::ErrorCode;

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
