//! Settings for all partitions of this broker, read from its properties. Settings of one topic are
//! in [`TopicConfig`](crate::topic::TopicConfig).

use crate::config::Values;

/// How partitions are opened and looked after.
#[derive(Debug, Clone, Copy)]
pub struct PartitionConfig {
    /// Threads that open logs at start: `num.recovery.threads.per.data.dir`.
    pub recovery_threads: usize,
    /// `log.retention.check.interval.ms`
    pub retention_check_interval_ms: u64,
    /// `producer.id.expiration.check.interval.ms`
    pub producer_expiry_check_interval_ms: u64,
}

impl PartitionConfig {
    /// As the broker's properties say.
    pub fn of(values: &Values) -> Self {
        Self {
            recovery_threads: values.size("num.recovery.threads.per.data.dir"),
            retention_check_interval_ms: values.millis("log.retention.check.interval.ms"),
            producer_expiry_check_interval_ms: values
                .millis("producer.id.expiration.check.interval.ms"),
        }
    }
}
