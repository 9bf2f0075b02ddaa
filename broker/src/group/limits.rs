//! Limits of the coordinator that have no name in Kafka's configuration.

use std::time::Duration;

/// Members of one group that were given an id and have not joined with it yet.
pub const MAX_PENDING_MEMBERS: usize = 10_000;

/// How long a member that does not know its id yet may wait for the answer to its first join
/// (`CLASSIC_GROUP_NEW_MEMBER_JOIN_TIMEOUT_MS`).
pub const NEW_MEMBER_JOIN_TIMEOUT_MS: i64 = 5 * 60 * 1_000;

/// Topics that a group's members may subscribe to with the coordinator knowing which. Of a group
/// with more, all topics count as read.
pub const MAX_SUBSCRIBED_TOPICS: usize = 100_000;

/// What loading may spend on the regular expressions that groups subscribe with, all together. What is
/// not known by then is found out later.
pub const LOAD_PATTERNS_TIME: Duration = Duration::from_secs(10);

/// Groups with configs of their own.
pub const MAX_GROUP_CONFIGS: usize = 100_000;
