//! A broker's configuration: the parts that each room reads from the properties.

use std::path::{Path, PathBuf};

use crate::access::AuthorizerConfig;
use crate::audit::AuditConfig;
use crate::broker::RequestLimits;
use crate::cleaner::CleanerConfig;
use crate::config::def::list;
use crate::config::{ConfigError, Values, read};
use crate::group::GroupConfig;
use crate::http::config::RestConfig;
use crate::partition::PartitionConfig;
use crate::secrets::SecretsConfig;
use crate::server::{ServerConfig, security};
use crate::topic::{TopicConfig, TopicRules};
use crate::transaction::TransactionConfig;

/// The broker's configuration, checked. Defaults are Kafka's unless a field says otherwise.
#[derive(Debug, Clone)]
pub struct Config {
    /// Every name that was set, and the defaults.
    pub values: Values,
    /// `node.id` (or `broker.id`).
    pub node_id: i32,
    /// `broker.rack`
    pub rack: Option<String>,
    /// `log.dirs`, which must be one folder; default `./carrick-data`.
    pub log_dir: PathBuf,
    /// Where Kafka clients connect.
    pub server: ServerConfig,
    /// `rest.*`
    pub rest: RestConfig,
    /// What protects stored secrets.
    pub secrets: SecretsConfig,
    /// `audit.log.file`
    pub audit: AuditConfig,
    /// How large requests and their answers may become.
    pub requests: RequestLimits,
    /// How topics are created, and whether they may go.
    pub topics: TopicRules,
    /// How logs are opened and looked after.
    pub partitions: PartitionConfig,
    /// `log.cleaner.*`
    pub cleaner: CleanerConfig,
    /// `group.*` and `offsets.*`
    pub groups: GroupConfig,
    /// `transaction.*` and `transactional.id.*`
    pub transactions: TransactionConfig,
    /// `authorizer.class.name`; none: everyone may do everything.
    pub authorizer: Option<AuthorizerConfig>,
}

impl Config {
    /// Reads `file`, if given, then applies `overrides` (`name=value`).
    ///
    /// # Errors
    /// The first thing that is wrong.
    pub fn load(file: Option<&Path>, overrides: &[String]) -> Result<Self, ConfigError> {
        read(file, overrides).and_then(Self::of)
    }

    /// Lets every room read its part.
    ///
    /// # Errors
    /// The first thing that is wrong.
    pub fn of(values: Values) -> Result<Self, ConfigError> {
        security::refuse(&values)?;
        let config = Self {
            node_id: node_id(&values),
            rack: values.text("broker.rack"),
            server: ServerConfig::of(&values)?,
            rest: RestConfig::of(&values)?,
            audit: AuditConfig::of(&values),
            log_dir: log_dir(&values)?,
            secrets: SecretsConfig::of(&values)?,
            requests: RequestLimits::of(&values),
            topics: TopicRules::of(&values),
            partitions: PartitionConfig::of(&values),
            cleaner: CleanerConfig::of(&values),
            groups: GroupConfig::of(&values)?,
            transactions: TransactionConfig::of(&values),
            authorizer: AuthorizerConfig::of(&values)?,
            values,
        };
        TopicConfig::defaults(&config.values)?;
        Ok(config)
    }

    /// The data folder's path from the root, for messages.
    pub fn log_dir_absolute(&self) -> PathBuf {
        std::path::absolute(&self.log_dir).unwrap_or_else(|_| self.log_dir.clone())
    }
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
    let mut dirs = list(&value);
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
