//! What the administrative APIs share: refusals with their message, and work that blocks on a disk.

use std::collections::BTreeSet;

use carrick_protocol::error_code::ErrorCode;
use kafka_protocol::protocol::StrBytes;

use super::door::DoorError;
use super::error::{
    acl_code, door_code, partition_code, properties_code, quota_code, topic_code, user_code,
};
use super::groups::text;
use crate::access::AclError;
use crate::auth::UserError;
use crate::config::PropertiesError;
use crate::partition::PartitionError;
use crate::quota::QuotaError;
use crate::topic::TopicError;

/// Longest name of a topic.
const TOPIC_NAME_MAX_CHARS: usize = 249;

/// Why one item of a request is refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Refusal {
    /// Kafka's code.
    pub code: ErrorCode,
    /// The message for the client's user.
    pub message: String,
}

impl Refusal {
    pub fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
        }
    }

    /// INVALID_REQUEST.
    pub fn invalid(message: impl Into<String>) -> Self {
        Self::new(ErrorCode::INVALID_REQUEST, message)
    }

    /// The message as responses hold it.
    pub fn wire_message(&self) -> Option<StrBytes> {
        Some(text(&self.message))
    }
}

impl From<DoorError> for Refusal {
    fn from(error: DoorError) -> Self {
        Self::new(door_code(error), error.to_string())
    }
}

impl DoorError {
    /// The refusal; with its own words, if what was asked for is not there.
    pub(super) fn or(self, not_there: impl Into<Refusal>) -> Refusal {
        match self.is_not_there() {
            true => not_there.into(),
            false => self.into(),
        }
    }
}

impl From<TopicError> for Refusal {
    fn from(error: TopicError) -> Self {
        Self::new(topic_code(&error), error.to_string())
    }
}

impl From<PropertiesError> for Refusal {
    fn from(error: PropertiesError) -> Self {
        Self::new(properties_code(&error), error.to_string())
    }
}

impl From<QuotaError> for Refusal {
    fn from(error: QuotaError) -> Self {
        Self::new(quota_code(&error), error.to_string())
    }
}

impl From<UserError> for Refusal {
    fn from(error: UserError) -> Self {
        Self::new(user_code(&error), error.to_string())
    }
}

impl From<AclError> for Refusal {
    fn from(error: AclError) -> Self {
        Self::new(acl_code(&error), error.to_string())
    }
}

impl From<PartitionError> for Refusal {
    fn from(error: PartitionError) -> Self {
        Self::new(partition_code(&error), error.to_string())
    }
}

/// Code and message of an outcome, as responses hold them.
pub(super) fn outcome<T>(result: &Result<T, Refusal>) -> (i16, Option<StrBytes>) {
    match result {
        Ok(_) => (ErrorCode::NONE.0, None),
        Err(refusal) => (refusal.code.0, refusal.wire_message()),
    }
}

/// Runs what blocks on a disk where it may.
pub(super) async fn blocking<T, E>(
    work: impl FnOnce() -> Result<T, E> + Send + 'static,
) -> Result<T, Refusal>
where
    T: Send + 'static,
    E: Into<Refusal> + Send + 'static,
{
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result.map_err(Into::into),
        Err(error) => {
            tracing::error!(%error, "an administrative operation failed");
            Err(Refusal::new(
                ErrorCode::UNKNOWN_SERVER_ERROR,
                "The operation was interrupted.",
            ))
        }
    }
}

/// A name shortened for a message that an answer may hold many times: no topic's name is longer.
pub(super) fn short(name: &str) -> &str {
    match name.char_indices().nth(TOPIC_NAME_MAX_CHARS) {
        Some((end, _)) => &name[..end],
        None => name,
    }
}

/// The items that occur more than once in `items`.
pub(super) fn repeated<T: Ord>(items: impl IntoIterator<Item = T>) -> BTreeSet<T> {
    let (mut once, mut repeated) = (BTreeSet::new(), BTreeSet::new());
    for item in items {
        match once.take(&item) {
            None if !repeated.contains(&item) => {
                once.insert(item);
            }
            None => {}
            Some(_) => {
                repeated.insert(item);
            }
        }
    }
    repeated
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_stands_there_twice_or_more_is_found_once() {
        assert_eq!(
            repeated(["a", "b", "a", "c", "a", "b"]),
            BTreeSet::from(["a", "b"])
        );
        assert!(repeated::<&str>([]).is_empty());
    }
}
