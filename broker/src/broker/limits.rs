//! Size limits for requests and their answers.

use crate::config::Values;

/// What is kept in memory for requests when `queued.max.request.bytes` sets no limit.
const DEFAULT_QUEUED_MAX_BYTES: usize = 512 << 20;

/// The limits, as they were at start.
#[derive(Debug, Clone, Copy)]
pub struct RequestLimits {
    /// `socket.request.max.bytes`; answers that list or describe must not exceed it either.
    pub request_max_bytes: usize,
    /// `queued.max.request.bytes`: bytes of requests being read or handled, over all connections.
    pub queued_max_bytes: usize,
    /// `fetch.max.bytes`
    pub fetch_max_bytes: usize,
    /// Partitions that one request may ask to see: `max.request.partition.size.limit`.
    pub partitions_max: usize,
}

impl RequestLimits {
    /// As the broker's properties say.
    pub fn of(values: &Values) -> Self {
        let queued = usize::try_from(values.long("queued.max.request.bytes")).ok();
        Self {
            request_max_bytes: values.size("socket.request.max.bytes"),
            queued_max_bytes: queued
                .filter(|bytes| *bytes > 0)
                .unwrap_or(DEFAULT_QUEUED_MAX_BYTES),
            fetch_max_bytes: values.size("fetch.max.bytes"),
            partitions_max: values.size("max.request.partition.size.limit"),
        }
    }
}
