//! The configs of a link: Kafka's and Confluent's names, defaults, validation.
//!
//! Invariants: a [`LinkConfig`] holds checked values only; what isn't built yet is refused by name, not accepted
//! silently; a sensitive value shows in no message, listing or `Debug`, only in [`LinkConfig::values`], for storing.

mod acl_filters;
mod client_only;
mod filters;
pub mod oauth;
mod reader;
pub mod security;
mod synced;
mod table;
mod value;

use std::collections::BTreeMap;
use std::fmt;

use serde::Serialize;

pub use acl_filters::AclFilters;
pub use client_only::is_client_only;
pub use filters::NameFilters;
pub use reader::ConfigError;
use reader::Reader;
use security::Security;
pub(crate) use synced::TOPIC_CONFIGS_ALWAYS_SYNCED;
use table::{Definition, TABLE};
pub use value::StartOffset;

const GROUP_PREFIX: &str = "consumer.group.prefix.enable";
/// Switches the sync of ACLs on.
pub(crate) const ACL_SYNC: &str = "acl.sync.enable";

/// A link's configs, checked and typed.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct LinkConfig {
    /// `bootstrap.servers`, in the order given: host, port.
    pub bootstrap_servers: Vec<(String, u16)>,
    /// `client.id`; empty if not set (the manager then names it after the link).
    pub client_id: String,
    /// `client.rack`; empty if not set.
    pub client_rack: String,
    /// `request.timeout.ms`
    pub request_timeout_ms: u64,
    /// `socket.connection.setup.timeout.ms`
    pub connection_setup_timeout_ms: u64,
    /// `socket.connection.setup.timeout.max.ms`
    pub connection_setup_timeout_max_ms: u64,
    /// `send.buffer.bytes`; `None` for the operating system's own.
    pub send_buffer_bytes: Option<u32>,
    /// `receive.buffer.bytes`; `None` for the operating system's own.
    pub receive_buffer_bytes: Option<u32>,
    /// `connections.max.idle.ms`; `None` for never.
    pub connections_max_idle_ms: Option<u64>,
    /// `metadata.max.age.ms`
    pub metadata_max_age_ms: u64,
    /// `reconnect.backoff.ms`
    pub reconnect_backoff_ms: u64,
    /// `reconnect.backoff.max.ms`
    pub reconnect_backoff_max_ms: u64,
    /// `retry.backoff.ms`
    pub retry_backoff_ms: u64,
    /// `retry.backoff.max.ms`
    pub retry_backoff_max_ms: u64,
    /// `cluster.link.paused`
    pub paused: bool,
    /// `cluster.link.prefix`; empty for none.
    pub prefix: String,
    /// `cluster.link.retry.timeout.ms`
    pub retry_timeout_ms: u64,
    /// `availability.check.ms`
    pub availability_check_ms: u64,
    /// `availability.check.consecutive.failure.threshold`
    pub availability_check_failures: u32,
    /// `num.cluster.link.fetchers`
    pub fetchers_per_broker: u32,
    /// `replica.fetch.max.bytes`
    pub fetch_max_bytes: u32,
    /// `replica.fetch.response.max.bytes`
    pub fetch_response_max_bytes: u32,
    /// `replica.fetch.min.bytes`
    pub fetch_min_bytes: u32,
    /// `replica.fetch.wait.max.ms`
    pub fetch_wait_max_ms: u32,
    /// `cluster.link.throttle.bytes.per.second`; `None` for no limit.
    pub throttle_bytes_per_second: Option<u64>,
    /// `mirror.start.offset.spec`
    pub start_offset: StartOffset,
    /// `topic.config.sync.ms`
    pub topic_config_sync_ms: u64,
    /// `topic.config.sync.include`: names synced in addition to those that always are.
    pub topic_config_sync_include: Vec<String>,
    /// `auto.create.mirror.topics.enable`
    pub auto_create: bool,
    /// `auto.create.mirror.topics.filters`: of names at the source.
    pub auto_create_filters: NameFilters,
    /// `security.protocol`, `ssl.*`, `sasl.*`
    pub security: Security,
    /// `consumer.offset.sync.enable`
    pub consumer_offset_sync_enable: bool,
    /// `consumer.offset.sync.ms`
    pub consumer_offset_sync_ms: u64,
    /// `consumer.offset.group.filters`: of ids at the source.
    pub consumer_offset_group_filters: NameFilters,
    /// `consumer.group.prefix.enable`: then `prefix` is not empty.
    pub consumer_group_prefix_enable: bool,
    /// `acl.sync.enable`
    pub acl_sync_enable: bool,
    /// `acl.sync.ms`
    pub acl_sync_ms: u64,
    /// `acl.filters`: of ACLs at the source.
    pub acl_filters: AclFilters,
    values: BTreeMap<String, String>,
    unreadable: BTreeMap<String, String>,
}

/// One config as shown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ConfigEntry {
    pub name: String,
    /// Its value; `None` for sensitive ones and for those without a value.
    pub value: Option<String>,
    /// Where the value comes from.
    pub source: ConfigSource,
    /// Never shown, never logged.
    pub is_sensitive: bool,
    /// Can't be changed once the link exists.
    pub is_read_only: bool,
    pub doc: &'static str,
}

/// Where a config's value comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum ConfigSource {
    /// Not set on the link.
    Default,
    /// Set on the link.
    Dynamic,
}

impl LinkConfig {
    /// Checks a link's configs.
    ///
    /// # Errors
    /// The first unknown name, wrong value, or name of something that isn't built yet.
    pub fn parse(values: &BTreeMap<String, String>) -> Result<Self, ConfigError> {
        Self::stored(values, &BTreeMap::new())
    }

    /// Like [`LinkConfig::parse`], but some stored secrets could not be read: the reason, by name.
    /// With one of those, the link can't connect to the source ([`Security::fault`]).
    ///
    /// # Errors
    /// As [`LinkConfig::parse`].
    pub fn stored(
        values: &BTreeMap<String, String>,
        unreadable: &BTreeMap<String, String>,
    ) -> Result<Self, ConfigError> {
        let mut checked = BTreeMap::new();
        for (name, value) in values {
            checked.insert(name.clone(), check(name, value.trim())?);
        }
        for row in TABLE.iter().filter(|row| row.is_required()) {
            if !checked.contains_key(row.name) {
                return Err(ConfigError::new(row.name, "is missing, a link needs it"));
            }
        }
        Self::typed(checked, unreadable.clone())
    }

    /// As much as this version understands of configs that another one may have stored, and the
    /// first of what it doesn't. [`LinkConfig::values`] keeps all of them. Without a source that can
    /// be understood it names one that there is not.
    ///
    /// # Errors
    /// That first one, if nothing can be made of them at all.
    pub(crate) fn understood(
        values: &BTreeMap<String, String>,
        unreadable: &BTreeMap<String, String>,
    ) -> Result<(Self, Option<ConfigError>), ConfigError> {
        let mut known = values.clone();
        let mut first = None;
        for _ in 0..values.len() + 2 {
            let error = match Self::stored(&known, unreadable) {
                Ok(config) => {
                    let values = values.clone();
                    return Ok((Self { values, ..config }, first));
                }
                Err(error) => error,
            };
            known.remove(&error.name);
            if error.name == "bootstrap.servers" {
                known.insert(error.name.clone(), "unknown.invalid:9092".to_owned());
            }
            first.get_or_insert(error);
        }
        Err(first.unwrap_or_else(|| ConfigError::new("bootstrap.servers", "can't be read")))
    }

    /// This config with some names set (`Some`) or put back to their default (`None`).
    ///
    /// # Errors
    /// As [`LinkConfig::parse`], for unknown names that are put back, and for another value of what
    /// is fixed at creation.
    pub fn altered(&self, changes: &[(String, Option<String>)]) -> Result<Self, ConfigError> {
        let (mut values, mut unreadable) = (self.values.clone(), self.unreadable.clone());
        for (name, value) in changes {
            unreadable.remove(name);
            match value {
                Some(value) => values.insert(name.clone(), value.clone()),
                None if table::find(name).is_none() && !values.contains_key(name) => {
                    return Err(unknown(name));
                }
                None => values.remove(name),
            };
        }
        let altered = Self::stored(&values, &unreadable)?;
        for row in TABLE.iter().filter(|row| row.is_fixed()) {
            let value = |values: &BTreeMap<String, String>| {
                let set = values.get(row.name).map(String::as_str);
                set.or(row.default).unwrap_or_default().to_owned()
            };
            if value(&self.values) != value(&altered.values) {
                let reason = "is fixed when the link is created; create another link";
                return Err(ConfigError::new(row.name, reason));
            }
        }
        Ok(altered)
    }

    /// Whether the source is reached in the same way with both: at the same addresses, as the same user, trusted for the
    /// same reasons, and given the same time.
    pub(crate) fn connects_as(&self, other: &Self) -> bool {
        let way = |config: &Self| {
            (
                config.request_timeout_ms,
                config.connection_setup_timeout_ms,
                config.connection_setup_timeout_max_ms,
                config.send_buffer_bytes,
                config.receive_buffer_bytes,
            )
        };
        way(self) == way(other)
            && self.bootstrap_servers == other.bootstrap_servers
            && self.security == other.security
    }

    /// Secrets that are stored and could not be read: by name, why.
    pub fn unreadable(&self) -> &BTreeMap<String, String> {
        &self.unreadable
    }

    /// The set values, as stored (including sensitive ones).
    pub fn values(&self) -> &BTreeMap<String, String> {
        &self.values
    }

    /// Every config in order of name, for showing.
    pub fn entries(&self) -> Vec<ConfigEntry> {
        TABLE.iter().map(|row| self.entry(row)).collect()
    }

    fn entry(&self, row: &Definition) -> ConfigEntry {
        let set = self.values.get(row.name);
        let is_set = set.is_some() || self.unreadable.contains_key(row.name);
        let value = set.map(String::as_str).or(row.default);
        ConfigEntry {
            name: row.name.to_owned(),
            value: value.filter(|_| !row.is_sensitive()).map(str::to_owned),
            source: if is_set {
                ConfigSource::Dynamic
            } else {
                ConfigSource::Default
            },
            is_sensitive: row.is_sensitive(),
            is_read_only: !row.is_built() || row.is_fixed(),
            doc: row.doc,
        }
    }

    fn typed(
        values: BTreeMap<String, String>,
        unreadable: BTreeMap<String, String>,
    ) -> Result<Self, ConfigError> {
        let of = Reader::new(&values);
        let config = Self {
            bootstrap_servers: of.read("bootstrap.servers", value::host_ports)?,
            client_id: of.read("client.id", |text| Ok(text.to_owned()))?,
            client_rack: of.read("client.rack", |text| Ok(text.to_owned()))?,
            request_timeout_ms: of.number("request.timeout.ms")?,
            connection_setup_timeout_ms: of.number("socket.connection.setup.timeout.ms")?,
            connection_setup_timeout_max_ms: of.number("socket.connection.setup.timeout.max.ms")?,
            send_buffer_bytes: of.number_or_none("send.buffer.bytes")?,
            receive_buffer_bytes: of.number_or_none("receive.buffer.bytes")?,
            connections_max_idle_ms: of.number_or_none("connections.max.idle.ms")?,
            metadata_max_age_ms: of.number("metadata.max.age.ms")?,
            reconnect_backoff_ms: of.number("reconnect.backoff.ms")?,
            reconnect_backoff_max_ms: of.number("reconnect.backoff.max.ms")?,
            retry_backoff_ms: of.number("retry.backoff.ms")?,
            retry_backoff_max_ms: of.number("retry.backoff.max.ms")?,
            paused: of.read("cluster.link.paused", value::boolean)?,
            prefix: of.read("cluster.link.prefix", value::prefix)?,
            retry_timeout_ms: of.number("cluster.link.retry.timeout.ms")?,
            availability_check_ms: of.number("availability.check.ms")?,
            availability_check_failures: of
                .number("availability.check.consecutive.failure.threshold")?,
            fetchers_per_broker: of.number("num.cluster.link.fetchers")?,
            fetch_max_bytes: of.number("replica.fetch.max.bytes")?,
            fetch_response_max_bytes: of.number("replica.fetch.response.max.bytes")?,
            fetch_min_bytes: of.number("replica.fetch.min.bytes")?,
            fetch_wait_max_ms: of.number("replica.fetch.wait.max.ms")?,
            throttle_bytes_per_second: of
                .number_or_none("cluster.link.throttle.bytes.per.second")?,
            start_offset: of.read("mirror.start.offset.spec", value::start_offset)?,
            topic_config_sync_ms: of.number("topic.config.sync.ms")?,
            topic_config_sync_include: of
                .read("topic.config.sync.include", value::synced_topic_configs)?,
            auto_create: of.read("auto.create.mirror.topics.enable", value::boolean)?,
            auto_create_filters: of.read("auto.create.mirror.topics.filters", |text| {
                NameFilters::parse(text, "topicFilters")
            })?,
            security: match unreadable.first_key_value() {
                Some((name, reason)) => Security::unreadable(name, reason),
                None => Security::read(&of)?,
            },
            consumer_offset_sync_enable: of.read("consumer.offset.sync.enable", value::boolean)?,
            consumer_offset_sync_ms: of.number("consumer.offset.sync.ms")?,
            consumer_offset_group_filters: of.read("consumer.offset.group.filters", |text| {
                NameFilters::parse(text, "groupFilters")
            })?,
            consumer_group_prefix_enable: of.read(GROUP_PREFIX, value::boolean)?,
            acl_sync_enable: of.read(ACL_SYNC, value::boolean)?,
            acl_sync_ms: of.number("acl.sync.ms")?,
            acl_filters: of.read("acl.filters", AclFilters::parse)?,
            values: BTreeMap::new(),
            unreadable: BTreeMap::new(),
        };
        if config.consumer_group_prefix_enable && config.prefix.is_empty() {
            let reason = "needs a cluster.link.prefix, which it puts in front of group names";
            return Err(ConfigError::new(GROUP_PREFIX, reason));
        }
        Ok(Self {
            values,
            unreadable,
            ..config
        })
    }
}

impl fmt::Debug for LinkConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = |entry: ConfigEntry| (entry.name, entry.value.unwrap_or("[hidden]".into()));
        let set = self
            .entries()
            .into_iter()
            .filter(|entry| entry.source == ConfigSource::Dynamic);
        f.debug_map().entries(set.map(shown)).finish()
    }
}

/// Whether a config's value is a secret: never shown, encrypted where it is stored, not for command
/// lines. For an unknown name the answer is no.
pub fn is_sensitive(name: &str) -> bool {
    table::find(name).is_some_and(Definition::is_sensitive)
}

/// The value to keep, if `name` may have it.
fn check(name: &str, value: &str) -> Result<String, ConfigError> {
    let Some(row) = table::find(name) else {
        return Err(unknown(name));
    };
    row.kind
        .check(value)
        .map_err(|reason| ConfigError::new(name, reason))?;
    if !row.is_built() && row.default != Some(value) {
        let reason = match row.default {
            Some("") | None => "is not supported yet; leave it out".to_owned(),
            Some(default) => format!("is not supported yet with a value other than {default}"),
        };
        return Err(ConfigError::new(name, reason));
    }
    Ok(value.to_owned())
}

fn unknown(name: &str) -> ConfigError {
    let near = match table::nearest(name) {
        Some(known) => format!("did you mean {known}?"),
        None => "see the list of link configs for the names".to_owned(),
    };
    ConfigError::new(name, format!("is not a link config; {near}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(pairs: &[(&str, &str)]) -> Result<LinkConfig, ConfigError> {
        let mut values = BTreeMap::from([("bootstrap.servers".to_owned(), "a:9092".to_owned())]);
        values.extend(
            pairs
                .iter()
                .map(|(name, value)| ((*name).to_owned(), (*value).to_owned())),
        );
        LinkConfig::parse(&values)
    }

    #[test]
    fn defaults_are_those_of_the_manual() {
        let config = parse(&[]).unwrap();
        assert_eq!(config.bootstrap_servers, [("a".to_owned(), 9092)]);
        assert_eq!(config.request_timeout_ms, 30_000);
        assert_eq!(config.connections_max_idle_ms, Some(540_000));
        assert_eq!(
            (
                config.availability_check_ms,
                config.availability_check_failures
            ),
            (1000, 5)
        );
        assert_eq!(config.fetch_max_bytes, 1 << 20);
        assert_eq!(config.receive_buffer_bytes, None);
        assert_eq!(config.start_offset, StartOffset::Earliest);
        assert!(
            config
                .topic_config_sync_include
                .contains(&"retention.ms".to_owned())
        );
        assert!(!config.paused);
    }

    #[test]
    fn every_built_name_of_the_table_is_read() {
        // A row whose value reaches no field would be a config that is accepted silently.
        let prefix = ("cluster.link.prefix", "eu-");
        let base = parse(&[prefix]).unwrap();
        let is_security = |name: &str| {
            ["sasl.", "security.", "ssl."]
                .iter()
                .any(|of| name.starts_with(of))
        };
        for row in TABLE.iter().filter(|row| {
            row.is_built() && row.name != "client.dns.lookup" && !is_security(row.name)
        }) {
            let other = match row.kind {
                value::Kind::Boolean => "true".to_owned(),
                value::Kind::Integer { min, .. } if row.default == Some(&min.to_string()) => {
                    (min + 1).to_string()
                }
                value::Kind::Integer { min, .. } => min.to_string(),
                value::Kind::PositiveOrOff => "1".to_owned(),
                value::Kind::HostPorts => "b:7".to_owned(),
                value::Kind::SyncedTopicConfigs => "retention.ms".to_owned(),
                value::Kind::NameFilters { list } => format!(
                    r#"{{"{list}":[{{"name":"a","patternType":"LITERAL","filterType":"INCLUDE"}}]}}"#
                ),
                value::Kind::AclFilters => {
                    r#"{"aclFilters":[{"resourceFilter":{},"accessFilter":{}}]}"#.to_owned()
                }
                _ => "latest".to_owned(),
            };
            let mut changed = parse(&[prefix, (row.name, &other)]).unwrap();
            changed.values.clone_from(&base.values);
            assert!(changed != base, "{}", row.name);
        }
    }

    #[test]
    fn an_unknown_name_is_refused_with_the_nearest_known_one() {
        for (wrong, near) in [
            ("bootstrap.server", "did you mean bootstrap.servers?"),
            (
                "consumer.ofset.sync.enable",
                "did you mean consumer.offset.sync.enable?",
            ),
            ("something.else.entirely", "see the list of link configs"),
        ] {
            let reason = unknown(wrong).to_string();
            assert!(reason.contains(near), "{reason}");
        }
    }

    #[test]
    fn unknown_names_and_wrong_values_are_refused_by_name() {
        for (name, value) in [
            ("bootstrap.server", "a:1"),
            ("bootstrap.servers", "a"),
            ("request.timeout.ms", "0"),
            ("num.cluster.link.fetchers", "17"),
            ("cluster.link.throttle.bytes.per.second", "0"),
            ("cluster.link.paused", "yes"),
            (
                "topic.config.sync.include",
                "retention.ms,confluent.placement",
            ),
            ("mirror.start.offset.spec", "soon"),
            ("cluster.link.prefix", "thirteen.char"),
            ("cluster.link.prefix", "a/b"),
            ("auto.create.mirror.topics.filters", "orders"),
            ("consumer.offset.group.filters", r#"{"topicFilters":[]}"#),
            ("consumer.offset.sync.ms", "999"),
            // Without a prefix there is nothing to put in front.
            ("consumer.group.prefix.enable", "true"),
            (
                "client.dns.lookup",
                "resolve_canonical_bootstrap_servers_only",
            ),
        ] {
            assert_eq!(parse(&[(name, value)]).unwrap_err().name, name);
        }
        let missing = LinkConfig::parse(&BTreeMap::new()).unwrap_err();
        assert_eq!(missing.name, "bootstrap.servers");
    }

    #[test]
    fn what_is_not_built_is_refused_unless_it_is_the_default() {
        for (name, value) in [
            ("ssl.engine.factory.class", "x.Y"),
            ("link.mode", "BIDIRECTIONAL"),
            ("sasl.login.class", "X"),
        ] {
            let error = parse(&[(name, value)]).unwrap_err();
            assert!(error.to_string().starts_with(name), "{error}");
            assert!(error.reason.contains("not supported yet"), "{error}");
        }
        let defaults = [("ssl.provider", ""), ("link.mode", "DESTINATION")];
        assert!(parse(&defaults).is_ok());
    }

    #[test]
    fn secrets_show_nowhere() {
        let secret = "user=\"u\" password=\"hunter2\";";
        let config = parse(&[("sasl.jaas.config", secret)]).unwrap();
        assert!(!format!("{config:?}").contains("hunter2"));
        let entries = config.entries();
        let entry = entries
            .iter()
            .find(|entry| entry.name == "sasl.jaas.config")
            .unwrap();
        assert!(entry.is_sensitive && entry.value.is_none());
        assert_eq!(entry.source, ConfigSource::Dynamic);
    }

    #[test]
    fn altering_sets_and_puts_back() {
        let config = parse(&[("client.id", "x")]).unwrap();
        let change = |name: &str, value: Option<&str>| {
            config.altered(&[(name.to_owned(), value.map(str::to_owned))])
        };
        assert_eq!(change("client.id", None).unwrap().client_id, "");
        assert!(change("cluster.link.paused", Some("true")).unwrap().paused);
        assert_eq!(
            change("bootstrap.servers", None).unwrap_err().name,
            "bootstrap.servers"
        );
        assert_eq!(change("no.such", None).unwrap_err().name, "no.such");
        assert_eq!(
            change("link.mode", Some("SOURCE")).unwrap_err().name,
            "link.mode"
        );
    }

    #[test]
    fn what_is_fixed_at_creation_can_be_named_again_but_not_changed() {
        let config = parse(&[("cluster.link.prefix", "eu-")]).unwrap();
        assert_eq!(config.prefix, "eu-");
        let change = |value: Option<&str>| {
            let change = ("cluster.link.prefix".to_owned(), value.map(str::to_owned));
            config.altered(&[change])
        };
        assert!(change(Some("eu-")).is_ok());
        for other in [Some("us-"), Some(""), None] {
            assert_eq!(change(other).unwrap_err().name, "cluster.link.prefix");
        }
        let entries = config.entries();
        let mut entries = entries.iter();
        assert!(entries.any(|entry| entry.name == "cluster.link.prefix" && entry.is_read_only));
    }

    #[test]
    fn the_listing_tells_set_values_from_defaults() {
        let entries = parse(&[("client.id", " x ")]).unwrap().entries();
        let entry = |name: &str| entries.iter().find(|entry| entry.name == name).unwrap();
        assert_eq!(entry("client.id").value.as_deref(), Some("x"));
        assert_eq!(entry("client.id").source, ConfigSource::Dynamic);
        assert_eq!(entry("request.timeout.ms").value.as_deref(), Some("30000"));
        assert_eq!(entry("request.timeout.ms").source, ConfigSource::Default);
        assert!(entries.is_sorted_by(|a, b| a.name < b.name));
    }
}
