//! Topic configs: Kafka's `LogConfig` names, checked, over defaults from the broker's properties.

use std::collections::BTreeMap;

use carrick_protocol::batch::{Codec, Compression};
use carrick_storage::log::{CleanRules, LogConfig};

use super::defs::{TOPIC_CONFIGS, TopicConfigDef};
use crate::config::def::list;
use crate::config::{ConfigError, Kind, Values};

/// When produced records reach the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FlushPolicy {
    /// acks=all is answered, and the high watermark moves, after fsync.
    BeforeAck,
    /// acks=all is answered after the append; flushed later.
    Background {
        /// `flush.messages`: after this many records at the latest.
        messages: Option<i64>,
        /// `flush.ms`: at the latest after so long.
        ms: Option<i64>,
    },
}

/// A topic's current configs: its overrides over the broker's defaults.
#[derive(Debug, Clone)]
pub struct TopicConfig {
    /// `max.message.bytes`
    pub max_message_bytes: usize,
    /// `cleanup.policy` contains `compact`
    pub compact: bool,
    /// `cleanup.policy` contains `delete`
    pub delete: bool,
    /// `message.timestamp.type` is `LogAppendTime`
    pub log_append_time: bool,
    /// `message.timestamp.before.max.ms`
    pub timestamp_before_max_ms: i64,
    /// `message.timestamp.after.max.ms`
    pub timestamp_after_max_ms: i64,
    /// When and how to compact, if `compact`.
    pub clean: CleanRules,
    /// `compression.type` and its level; `None` keeps the producer's codec.
    pub compression: Option<Codec>,
    /// `flush.messages` and `flush.ms`
    pub flush: FlushPolicy,
    /// What the log wants to know. Its retention is `None` unless `cleanup.policy` has `delete`.
    pub log: LogConfig,
}

/// The definition of a topic config.
pub fn definition(name: &str) -> Option<&'static TopicConfigDef> {
    TOPIC_CONFIGS.iter().find(|known| known.def.name == name)
}

/// Checks one override.
///
/// # Errors
/// The name is unknown, or the value doesn't fit.
pub fn check(name: &str, value: &str) -> Result<(), String> {
    let known = definition(name).ok_or_else(|| format!("Unknown topic config name: {name}"))?;
    known
        .def
        .check(value)
        .map_err(|reason| format!("Invalid value {value} for configuration {name}: {reason}"))
}

/// The value that a topic without an override has.
pub fn default_value(known: &TopicConfigDef, broker: &Values) -> Option<String> {
    for synonym in known.synonyms {
        if broker.is_set(synonym.name) {
            let value = broker.text(synonym.name)?;
            return Some(match synonym.factor {
                1 => value,
                factor => in_topic_units(&value, factor),
            });
        }
    }
    known.def.default.map(str::to_owned)
}

/// The words of a list config that a topic without an override has; `None` for what is no list.
pub fn words_of(name: &str, broker: &Values) -> Option<String> {
    let known = definition(name).filter(|known| known.def.kind == Kind::List)?;
    Some(default_value(known, broker).unwrap_or_default())
}

/// Hours or minutes as ms; "no limit" stays so.
fn in_topic_units(value: &str, factor: i64) -> String {
    match value.parse::<i64>() {
        Ok(number) if number >= 0 => number.saturating_mul(factor).to_string(),
        _ => "-1".to_owned(),
    }
}

impl TopicConfig {
    /// The configs of a topic without overrides.
    ///
    /// # Errors
    /// A broker property makes an impossible default.
    pub fn defaults(broker: &Values) -> Result<Self, ConfigError> {
        for known in TOPIC_CONFIGS {
            if let Some(value) = default_value(known, broker) {
                known.def.check(&value).map_err(|reason| {
                    let name = known
                        .synonyms
                        .iter()
                        .find(|synonym| broker.is_set(synonym.name));
                    ConfigError::value(name.map_or(known.def.name, |s| s.name), &value, reason)
                })?;
            }
        }
        Ok(Self::resolve(&BTreeMap::new(), broker))
    }

    /// The configs of a topic with these overrides, which have been checked.
    pub fn resolve(overrides: &BTreeMap<String, String>, broker: &Values) -> Self {
        let view = View { overrides, broker };
        let policy = view.text("cleanup.policy");
        let delete = list(&policy).any(|word| word == "delete");
        Self {
            max_message_bytes: view.size("max.message.bytes"),
            compact: list(&policy).any(|word| word == "compact"),
            delete,
            log_append_time: view.text("message.timestamp.type") == "LogAppendTime",
            timestamp_before_max_ms: view.long("message.timestamp.before.max.ms"),
            timestamp_after_max_ms: view.long("message.timestamp.after.max.ms"),
            clean: view.clean(),
            compression: view.compression(),
            flush: view.flush(),
            log: view.log(delete),
        }
    }
}

struct View<'a> {
    overrides: &'a BTreeMap<String, String>,
    broker: &'a Values,
}

impl View<'_> {
    fn text(&self, name: &str) -> String {
        match self.overrides.get(name) {
            Some(value) => value.trim().to_owned(),
            None => definition(name)
                .and_then(|known| default_value(known, self.broker))
                .unwrap_or_default(),
        }
    }

    fn long(&self, name: &str) -> i64 {
        self.text(name).parse().unwrap_or_default()
    }

    fn size(&self, name: &str) -> usize {
        usize::try_from(self.long(name)).unwrap_or(usize::MAX)
    }

    fn u32(&self, name: &str) -> u32 {
        u32::try_from(self.long(name)).unwrap_or(u32::MAX)
    }

    /// The value of a name that the topic or the broker has set; `None` when it is the default.
    fn if_set(&self, name: &str) -> Option<i64> {
        let by_broker = definition(name)
            .is_some_and(|known| known.synonyms.iter().any(|s| self.broker.is_set(s.name)));
        (self.overrides.contains_key(name) || by_broker).then(|| self.long(name))
    }

    fn clean(&self) -> CleanRules {
        CleanRules {
            delete_retention_ms: self.long("delete.retention.ms"),
            min_lag_ms: self.long("min.compaction.lag.ms"),
            max_lag_ms: self.long("max.compaction.lag.ms"),
            min_dirty_ratio: self
                .text("min.cleanable.dirty.ratio")
                .parse()
                .unwrap_or_default(),
        }
    }

    fn compression(&self) -> Option<Codec> {
        let name = self.text("compression.type");
        let compression = match name.as_str() {
            "uncompressed" => Compression::None,
            name => Compression::from_name(name)?,
        };
        let level = |name| i32::try_from(self.long(name)).ok();
        let level = match compression {
            Compression::Gzip => level("compression.gzip.level"),
            Compression::Zstd => level("compression.zstd.level"),
            Compression::None | Compression::Snappy | Compression::Lz4 => None,
        };
        Some(Codec { compression, level })
    }

    fn flush(&self) -> FlushPolicy {
        match (self.if_set("flush.messages"), self.if_set("flush.ms")) {
            (None, None) | (Some(1), _) | (_, Some(0)) => FlushPolicy::BeforeAck,
            (messages, ms) => FlushPolicy::Background { messages, ms },
        }
    }

    /// `segment.ms`, or sooner where records must be compacted before (`LogConfig.maxSegmentMs`).
    fn segment_ms(&self) -> i64 {
        let segment_ms = self.long("segment.ms");
        let is_compacted = list(&self.text("cleanup.policy")).any(|word| word == "compact");
        match self.long("max.compaction.lag.ms") {
            lag_ms if is_compacted && lag_ms > 0 => segment_ms.min(lag_ms),
            _ => segment_ms,
        }
    }

    fn log(&self, delete: bool) -> LogConfig {
        let segment = match self.overrides.get("internal.segment.bytes") {
            Some(_) => self.u32("internal.segment.bytes"),
            None => self.u32("segment.bytes"),
        };
        let limit = |name| delete.then(|| self.long(name)).filter(|limit| *limit >= 0);
        LogConfig {
            segment_max_bytes: segment,
            segment_max_age_ms: self.segment_ms(),
            segment_jitter_ms: self.long("segment.jitter.ms"),
            index_interval_bytes: self.u32("index.interval.bytes"),
            index_max_bytes: self.u32("segment.index.bytes"),
            retention_ms: limit("retention.ms"),
            retention_bytes: limit("retention.bytes"),
            file_delete_delay_ms: self.long("file.delete.delay.ms"),
            producer_expiration_ms: self.broker.long("producer.id.expiration.ms"),
            producers_max: self.broker.size("producer.id.max.per.partition"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::map;

    fn values(set: &[(&str, &str)]) -> Values {
        Values::new(map(set)).unwrap()
    }

    #[test]
    fn every_default_passes_its_own_check_and_every_synonym_is_a_property() {
        for known in TOPIC_CONFIGS {
            if let Some(default) = known.def.default {
                assert_eq!(known.def.check(default), Ok(()), "{}", known.def.name);
            }
            for synonym in known.synonyms {
                assert!(
                    crate::config::used::USED
                        .iter()
                        .any(|def| def.name == synonym.name)
                );
            }
        }
    }

    #[test]
    fn broker_properties_are_defaults_and_the_finest_unit_wins() {
        let broker = values(&[("log.retention.hours", "2"), ("message.max.bytes", "500")]);
        let config = TopicConfig::resolve(&BTreeMap::new(), &broker);
        assert_eq!(config.log.retention_ms, Some(7_200_000));
        assert_eq!(config.max_message_bytes, 500);
        let broker = values(&[
            ("log.retention.hours", "2"),
            ("log.retention.minutes", "-1"),
        ]);
        assert_eq!(
            TopicConfig::resolve(&BTreeMap::new(), &broker)
                .log
                .retention_ms,
            None
        );
        let own = map(&[("retention.ms", "9")]);
        assert_eq!(
            TopicConfig::resolve(&own, &broker).log.retention_ms,
            Some(9)
        );
    }

    #[test]
    fn a_compacted_topic_is_not_deleted_from() {
        let own = map(&[("cleanup.policy", "compact")]);
        let config = TopicConfig::resolve(&own, &values(&[]));
        assert!(config.compact && config.log.retention_ms.is_none());
    }

    #[test]
    fn records_are_flushed_before_the_answer_unless_background_flushing_is_asked_for() {
        let flush = |own: &[(&str, &str)], broker: &[(&str, &str)]| {
            TopicConfig::resolve(&map(own), &values(broker)).flush
        };
        assert_eq!(flush(&[], &[]), FlushPolicy::BeforeAck);
        assert_eq!(
            flush(&[("flush.messages", "1")], &[]),
            FlushPolicy::BeforeAck
        );
        assert_eq!(
            flush(&[], &[("log.flush.interval.ms", "200")]),
            FlushPolicy::Background {
                messages: None,
                ms: Some(200)
            }
        );
        assert_eq!(
            flush(&[("flush.messages", "50")], &[]),
            FlushPolicy::Background {
                messages: Some(50),
                ms: None
            }
        );
    }

    #[test]
    fn a_codec_comes_with_its_own_level() {
        let of = |own: &[(&str, &str)]| {
            TopicConfig::resolve(&map(own), &values(&[("compression.zstd.level", "7")])).compression
        };
        assert_eq!(of(&[]), None);
        let codec = |compression, level| Some(Codec { compression, level });
        assert_eq!(
            of(&[("compression.type", "zstd")]),
            codec(Compression::Zstd, Some(7))
        );
        assert_eq!(
            of(&[("compression.type", "gzip")]),
            codec(Compression::Gzip, Some(-1))
        );
        assert_eq!(
            of(&[("compression.type", "uncompressed")]),
            codec(Compression::None, None)
        );
    }

    #[test]
    fn unknown_names_and_values_without_support_are_refused() {
        assert!(
            check("retention.mss", "1")
                .unwrap_err()
                .contains("retention.mss")
        );
        assert!(check("compression.type", "none").is_err());
        assert!(check("compression.type", "producer").is_ok());
        assert!(check("remote.storage.enable", "true").is_err());
        assert!(check("segment.bytes", "10").is_err());
    }
}
