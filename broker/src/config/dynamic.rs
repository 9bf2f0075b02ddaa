//! Broker properties that may be changed while the broker runs (KIP-226; `DynamicBrokerConfig` in
//! Kafka): the ones of Kafka's that do not concern security, listeners or Java classes.
//!
//! Most give topics their defaults and take effect on all that do not override them. A property
//! that has no effect in the properties file has no effect here either.

use std::collections::BTreeMap;

use super::known::definition;
use super::sensitive::shown;

/// Always set as a default of all brokers, as at a Kafka whose eligible leader replicas are switched
/// on (KIP-966), which they are by default.
pub const MIN_IN_SYNC_REPLICAS: &str = "min.insync.replicas";

/// What was set while the broker runs, by name.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Dynamic {
    /// On this broker.
    pub own: BTreeMap<String, String>,
    /// As the default of all brokers.
    pub default: BTreeMap<String, String>,
}

/// Why properties cannot be changed while the broker runs.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DynamicError {
    /// They are read at start only.
    #[error("Cannot update these configs dynamically: [{}]", .0.join(", "))]
    ReadOnly(Vec<String>),
    /// The name is unknown.
    #[error("Unknown config name: {0}")]
    UnknownName(String),
    /// The value does not fit.
    #[error("Invalid value {value} for configuration {name}: {reason}")]
    InvalidValue {
        name: String,
        value: String,
        /// What is wrong with it.
        reason: String,
    },
    /// It is one value for the whole cluster.
    #[error("Broker-level {MIN_IN_SYNC_REPLICAS} cannot be altered while ELR is enabled.")]
    ClusterWide,
    /// It always has a value.
    #[error("Cluster-level {MIN_IN_SYNC_REPLICAS} cannot be removed while ELR is enabled.")]
    NotRemovable,
    /// Together with the rest of the properties, they make no sense.
    #[error("Invalid dynamic configuration: {0}")]
    Impossible(String),
}

/// By area, as Kafka lists them.
const DYNAMIC: &[&str] = &[
    // Defaults of topics: the first name of each.
    "compression.gzip.level",
    "compression.lz4.level",
    "compression.type",
    "compression.zstd.level",
    "log.cleaner.delete.retention.ms",
    "log.cleaner.max.compaction.lag.ms",
    "log.cleaner.min.cleanable.ratio",
    "log.cleaner.min.compaction.lag.ms",
    "log.cleanup.policy",
    "log.flush.interval.messages",
    "log.flush.interval.ms",
    "log.index.interval.bytes",
    "log.index.size.max.bytes",
    "log.local.retention.bytes",
    "log.local.retention.ms",
    "log.message.timestamp.after.max.ms",
    "log.message.timestamp.before.max.ms",
    "log.message.timestamp.type",
    "log.preallocate",
    "log.retention.bytes",
    "log.retention.ms",
    "log.roll.jitter.ms",
    "log.roll.ms",
    "log.segment.bytes",
    "log.segment.delete.delay.ms",
    "message.max.bytes",
    "min.insync.replicas",
    "unclean.leader.election.enable",
    // The cleaner.
    "log.cleaner.backoff.ms",
    "log.cleaner.dedupe.buffer.size",
    "log.cleaner.io.buffer.load.factor",
    "log.cleaner.io.buffer.size",
    "log.cleaner.io.max.bytes.per.second",
    "log.cleaner.threads",
    // Threads.
    "background.threads",
    "num.io.threads",
    "num.network.threads",
    "num.recovery.threads.per.data.dir",
    "num.replica.fetchers",
    // Connections.
    "max.connection.creation.rate",
    "max.connections",
    "max.connections.per.ip",
    "max.connections.per.ip.overrides",
    // Producers.
    "producer.id.expiration.ms",
    "transaction.partition.verification.enable",
    // Replication and tiered storage.
    "follower.fetch.last.tiered.offset.enable",
    "follower.replication.throttled.rate",
    "leader.replication.throttled.rate",
    "remote.fetch.max.wait.ms",
    "remote.list.offsets.request.timeout.ms",
    "remote.log.index.file.cache.total.size.bytes",
    "remote.log.manager.copier.thread.pool.size",
    "remote.log.manager.copy.max.bytes.per.second",
    "remote.log.manager.expiration.thread.pool.size",
    "remote.log.manager.fetch.max.bytes.per.second",
    "remote.log.manager.follower.thread.pool.size",
    "remote.log.reader.threads",
    "replica.alter.log.dirs.io.max.bytes.per.second",
    // Coordinators.
    "group.consumer.assignment.interval.ms",
    "group.coordinator.cached.buffer.max.bytes",
    "group.share.assignment.interval.ms",
    "group.streams.assignment.interval.ms",
    "share.coordinator.cached.buffer.max.bytes",
];

/// Known only while a broker runs; shown where they are set.
const HIDDEN: &[&str] = &[
    "follower.replication.throttled.rate",
    "leader.replication.throttled.rate",
    "replica.alter.log.dirs.io.max.bytes.per.second",
];

/// Whether a property may be changed while the broker runs.
pub fn is_dynamic(name: &str) -> bool {
    DYNAMIC.contains(&name)
}

/// Whether a property shows only where it is set.
pub fn is_hidden(name: &str) -> bool {
    HIDDEN.contains(&name)
}

/// Checks names, then values.
///
/// # Errors
/// What is wrong with the names, then with the values.
pub fn check(set: &BTreeMap<String, String>) -> Result<(), DynamicError> {
    let read_only = set
        .keys()
        .filter(|name| definition(name).is_some() && !is_dynamic(name));
    let read_only: Vec<_> = read_only.cloned().collect();
    if !read_only.is_empty() {
        return Err(DynamicError::ReadOnly(read_only));
    }
    for (name, value) in set {
        let def = definition(name).ok_or_else(|| DynamicError::UnknownName(name.clone()))?;
        def.check(value)
            .map_err(|reason| DynamicError::InvalidValue {
                name: name.clone(),
                value: shown(name, value).to_owned(),
                reason,
            })?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::is_sensitive;
    use super::*;

    #[test]
    fn every_dynamic_name_is_a_property_that_is_no_secret() {
        for name in DYNAMIC {
            assert!(definition(name).is_some(), "{name}");
            // They are stored as they are.
            assert!(!is_sensitive(name), "{name}");
        }
    }
}
