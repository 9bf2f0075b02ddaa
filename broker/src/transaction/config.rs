//! What the transaction coordinator reads from the broker's properties.

use crate::config::Values;

/// The coordinator's configuration. Times in ms.
#[derive(Debug, Clone)]
pub struct TransactionConfig {
    /// `transaction.max.timeout.ms`
    pub max_timeout_ms: i32,
    /// `transactional.id.expiration.ms`
    pub id_expiration_ms: i64,
    /// `transaction.abort.timed.out.transaction.cleanup.interval.ms`
    pub abort_interval_ms: u64,
    /// `transaction.remove.expired.transaction.cleanup.interval.ms`
    pub forget_interval_ms: u64,
    /// `transaction.coordinator.max.ids`, Carrick's own.
    pub max_ids: usize,
    /// `transaction.coordinator.max.bytes`, Carrick's own.
    pub max_bytes: usize,
}

impl TransactionConfig {
    /// As the broker's properties say.
    pub fn of(values: &Values) -> Self {
        Self {
            max_timeout_ms: values.int("transaction.max.timeout.ms"),
            id_expiration_ms: values.long("transactional.id.expiration.ms"),
            abort_interval_ms: values
                .millis("transaction.abort.timed.out.transaction.cleanup.interval.ms"),
            forget_interval_ms: values
                .millis("transaction.remove.expired.transaction.cleanup.interval.ms"),
            max_ids: values.size("transaction.coordinator.max.ids"),
            max_bytes: values.size("transaction.coordinator.max.bytes"),
        }
    }
}
