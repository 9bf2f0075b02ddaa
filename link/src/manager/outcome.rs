//! The outcome for each of the mirrors that a request names.

use std::collections::BTreeMap;

use carrick_protocol::ids::TopicName;

use crate::error::LinkError;
use crate::report::RpoReport;

/// The outcome of each topic, by name. A verb that cuts has a report.
pub(super) type Outcomes = BTreeMap<TopicName, Result<Option<RpoReport>, LinkError>>;

/// The same error for every topic.
pub(super) fn all_failed(topics: &[TopicName], error: &LinkError) -> Outcomes {
    topics
        .iter()
        .map(|topic| (topic.clone(), Err(error.clone())))
        .collect()
}
