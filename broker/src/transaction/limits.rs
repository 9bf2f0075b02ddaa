//! Limits of the coordinator that have no name in Kafka's configuration.

use std::time::Duration;

/// Longest transactional id.
pub const MAX_ID_BYTES: usize = 32_767;

/// Groups in one transaction.
pub const MAX_GROUPS_PER_TRANSACTION: usize = 1_000;

/// Epoch of the coordinator in markers. There is one coordinator, for good.
pub const COORDINATOR_EPOCH: i32 = 0;

/// The end of a transaction is answered when its outcome is durable; before that its markers get
/// this long to be written, so that what the client does next does not meet them.
pub const COMPLETION_WAIT: Duration = Duration::from_millis(100);

/// Pause before markers that could not be written are tried again.
pub const MARKER_RETRY: Duration = Duration::from_millis(500);
