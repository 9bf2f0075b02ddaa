//! Limits of the coordinator that have no name in Kafka's configuration.

/// Groups held in memory; past it a new group is refused.
pub const MAX_GROUPS: usize = 100_000;

/// Members of one group that were given an id and have not joined with it yet.
pub const MAX_PENDING_MEMBERS: usize = 10_000;

/// How long a member that has not heard its id yet may wait for its first join to be answered
/// (`CLASSIC_GROUP_NEW_MEMBER_JOIN_TIMEOUT_MS`).
pub const NEW_MEMBER_JOIN_TIMEOUT_MS: i64 = 5 * 60 * 1_000;

/// Bytes of one group's record: members, their subscriptions and assignments.
pub const MAX_RECORD_BYTES: usize = 16 << 20;
