//! Configuration: the only reader of files and flags.
//!
//! Kafka's names in Java's properties format, then `--override name=value`. A name nobody knows is
//! refused with the nearest known one; a Kafka name that does nothing here is named in one warning,
//! unless it asks for security: then nothing starts ([`security`]).

pub mod change;
pub mod def;
pub mod describe;
pub mod dynamic;
pub mod error;
mod families;
mod groups;
pub mod ignored;
pub mod listener;
pub mod notes;
pub mod properties;
pub mod security;
pub mod unlisted;
pub mod used;
pub mod values;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use crate::cleaner::CleanerConfig;
use crate::topic::replicas::Replication;

pub use def::{Check, ConfigDef, Kind};
pub use error::ConfigError;
pub use groups::{Bound, ConsumerGroupConfig, GroupConfig, MigrationPolicy};
pub use listener::Listener;
pub use properties::{Properties, PropertiesError, PropertyStore, Scope};
pub use values::Values;

/// What is kept in memory for requests when `queued.max.request.bytes` sets no limit.
const DEFAULT_QUEUED_MAX_REQUEST_BYTES: usize = 512 << 20;

/// What the transaction coordinator wants to know. Times in ms.
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

/// The broker's configuration, checked. Defaults are Kafka's unless a field says otherwise.
#[derive(Debug, Clone)]
pub struct BrokerConfig {
    /// Every name that was set, and the defaults.
    pub values: Values,
    /// `node.id` (or `broker.id`).
    pub node_id: i32,
    /// `broker.rack`
    pub rack: Option<String>,
    /// `listeners`; default `PLAINTEXT://127.0.0.1:9092`.
    pub listeners: Vec<Listener>,
    /// Names of listeners that are set for controllers, and not opened: nobody would use them.
    pub unopened_listeners: Vec<String>,
    /// `rest.listeners`; default `http://127.0.0.1:8090`.
    pub rest_listeners: Vec<SocketAddr>,
    /// `log.dirs`, which must be one folder; default `./carrick-data`.
    pub log_dir: PathBuf,
    /// `num.partitions`
    pub num_partitions: i32,
    /// `replication.factor.clamp` (Carrick's own) and `default.replication.factor`
    pub replication: Replication,
    /// `auto.create.topics.enable`
    pub auto_create_topics: bool,
    /// `delete.topic.enable`
    pub delete_topics: bool,
    /// `socket.request.max.bytes`
    pub request_max_bytes: usize,
    /// `queued.max.request.bytes`: bytes of requests being read or handled, over all connections.
    pub queued_max_request_bytes: usize,
    /// `connections.max.idle.ms`
    pub connections_max_idle_ms: u64,
    /// `fetch.max.bytes`
    pub fetch_max_bytes: usize,
    /// `max.incremental.fetch.session.cache.slots`
    pub fetch_session_slots: usize,
    /// `max.incremental.fetch.session.cache.partitions`, Carrick's own.
    pub fetch_session_partitions: usize,
    /// `max.request.partition.size.limit`
    pub max_request_partitions: usize,
    /// `log.retention.check.interval.ms`
    pub retention_check_interval_ms: u64,
    /// `num.recovery.threads.per.data.dir`
    pub recovery_threads: usize,
    /// `producer.id.expiration.ms`
    pub producer_id_expiration_ms: i64,
    /// `producer.id.expiration.check.interval.ms`
    pub producer_id_expiration_check_interval_ms: u64,
    /// `log.cleaner.*`
    pub cleaner: CleanerConfig,
    /// For the group coordinator.
    pub groups: GroupConfig,
    /// For the transaction coordinator.
    pub transactions: TransactionConfig,
}

impl BrokerConfig {
    /// Reads `file`, if given, then applies `overrides` (`name=value`).
    ///
    /// # Errors
    /// The first thing that is wrong.
    pub fn load(file: Option<&Path>, overrides: &[String]) -> Result<Self, ConfigError> {
        let mut set = match file {
            Some(path) => read_file(path)?,
            None => BTreeMap::new(),
        };
        for item in overrides {
            let (name, value) = item
                .split_once('=')
                .ok_or_else(|| ConfigError::Override { item: item.clone() })?;
            set.insert(name.trim().to_owned(), value.trim().to_owned());
        }
        Self::from_values(set)
    }

    /// Checks names and values and fills in defaults.
    ///
    /// # Errors
    /// The first thing that is wrong.
    pub fn from_values(set: BTreeMap<String, String>) -> Result<Self, ConfigError> {
        let values = Values::new(set)?;
        security::refuse(&values)?;
        let queued = values.long("queued.max.request.bytes");
        let config = Self {
            node_id: node_id(&values),
            rack: values.text("broker.rack"),
            listeners: listener::listeners(&values)?,
            unopened_listeners: listener::unopened(&values)?,
            rest_listeners: listener::rest_listeners(&values)?,
            log_dir: log_dir(&values)?,
            num_partitions: values.int("num.partitions"),
            replication: Replication::of(&values),
            auto_create_topics: values.boolean("auto.create.topics.enable"),
            delete_topics: values.boolean("delete.topic.enable"),
            request_max_bytes: values.size("socket.request.max.bytes"),
            queued_max_request_bytes: usize::try_from(queued)
                .ok()
                .filter(|bytes| *bytes > 0)
                .unwrap_or(DEFAULT_QUEUED_MAX_REQUEST_BYTES),
            connections_max_idle_ms: values.millis("connections.max.idle.ms"),
            fetch_max_bytes: values.size("fetch.max.bytes"),
            fetch_session_slots: values.size("max.incremental.fetch.session.cache.slots"),
            fetch_session_partitions: values.size("max.incremental.fetch.session.cache.partitions"),
            max_request_partitions: values.size("max.request.partition.size.limit"),
            retention_check_interval_ms: values.millis("log.retention.check.interval.ms"),
            recovery_threads: values.size("num.recovery.threads.per.data.dir"),
            producer_id_expiration_ms: values.long("producer.id.expiration.ms"),
            producer_id_expiration_check_interval_ms: values
                .millis("producer.id.expiration.check.interval.ms"),
            cleaner: CleanerConfig::of(&values),
            groups: GroupConfig::read(&values)?,
            transactions: transaction_config(&values),
            values,
        };
        crate::topic::TopicConfig::defaults(&config.values)?;
        Ok(config)
    }

    /// The data folder's path from the root, for messages.
    pub fn log_dir_absolute(&self) -> PathBuf {
        std::path::absolute(&self.log_dir).unwrap_or_else(|_| self.log_dir.clone())
    }
}

fn read_file(path: &Path) -> Result<BTreeMap<String, String>, ConfigError> {
    let text = std::fs::read_to_string(path).map_err(|source| ConfigError::Unreadable {
        path: path.to_owned(),
        source,
    })?;
    carrick_link::properties::parse(&text).map_err(|error| ConfigError::Malformed {
        path: path.to_owned(),
        reason: error.to_string(),
    })
}

fn node_id(values: &Values) -> i32 {
    match values.int("broker.id") {
        id if id >= 0 && !values.is_set("node.id") => id,
        _ => values.int("node.id"),
    }
}

fn log_dir(values: &Values) -> Result<PathBuf, ConfigError> {
    let name = if values.is_set("log.dirs") {
        "log.dirs"
    } else {
        "log.dir"
    };
    let value = values.text(name).unwrap_or_default();
    let mut dirs = def::list(&value);
    match (dirs.next(), dirs.next()) {
        (Some(dir), None) => Ok(PathBuf::from(dir)),
        (Some(_), Some(_)) => Err(ConfigError::value(
            name,
            &value,
            "only one folder is supported",
        )),
        (None, _) => Err(ConfigError::value(name, &value, "must name a folder")),
    }
}

fn transaction_config(values: &Values) -> TransactionConfig {
    TransactionConfig {
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

#[cfg(test)]
mod tests;
