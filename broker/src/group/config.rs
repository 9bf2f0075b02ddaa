//! What the group coordinator reads from the broker's properties (`GroupCoordinatorConfig` in
//! Kafka).

use crate::config::{ConfigError, Values, def};

/// What the group coordinator wants to know. Times in ms unless named otherwise.
#[derive(Debug, Clone)]
pub struct GroupConfig {
    /// `group.initial.rebalance.delay.ms`
    pub initial_rebalance_delay_ms: i32,
    /// `group.min.session.timeout.ms`
    pub min_session_timeout_ms: i32,
    /// `group.max.session.timeout.ms`
    pub max_session_timeout_ms: i32,
    /// `group.max.size`
    pub max_size: i32,
    /// `offsets.retention.minutes`, in ms
    pub offsets_retention_ms: i64,
    /// `offsets.retention.check.interval.ms`
    pub offsets_retention_check_interval_ms: i64,
    /// `offset.metadata.max.bytes`
    pub offset_metadata_max_bytes: i32,
    /// `group.max.metadata.bytes`, Carrick's own.
    pub max_metadata_bytes: usize,
    /// `group.coordinator.max.groups`, Carrick's own.
    pub max_groups: usize,
    /// `group.coordinator.max.bytes`, Carrick's own.
    pub max_bytes: usize,
    /// For the consumer protocol.
    pub consumer: ConsumerGroupConfig,
    /// The values that a group may set, by the properties that bound them.
    pub bounds: Vec<Bound>,
}

/// A bound on a config that a group sets for itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bound {
    /// The group's config.
    pub config: &'static str,
    /// The broker's property that bounds it.
    pub property: &'static str,
    /// The value of that property.
    pub limit: i32,
    /// Whether it is the largest value and not the least.
    pub is_max: bool,
}

/// Configs of groups with the properties that give their least and their largest value, in the
/// order in which Kafka checks them.
#[rustfmt::skip]
const BOUNDED: &[(&str, Option<&str>, Option<&str>)] = &[
    ("consumer.heartbeat.interval.ms",
        Some("group.consumer.min.heartbeat.interval.ms"),
        Some("group.consumer.max.heartbeat.interval.ms")),
    ("consumer.session.timeout.ms",
        Some("group.consumer.min.session.timeout.ms"),
        Some("group.consumer.max.session.timeout.ms")),
    ("consumer.assignment.interval.ms",
        Some("group.consumer.min.assignment.interval.ms"),
        Some("group.consumer.max.assignment.interval.ms")),
    ("share.heartbeat.interval.ms",
        Some("group.share.min.heartbeat.interval.ms"),
        Some("group.share.max.heartbeat.interval.ms")),
    ("share.session.timeout.ms",
        Some("group.share.min.session.timeout.ms"),
        Some("group.share.max.session.timeout.ms")),
    ("share.record.lock.duration.ms",
        Some("group.share.min.record.lock.duration.ms"),
        Some("group.share.max.record.lock.duration.ms")),
    ("share.delivery.count.limit",
        Some("group.share.min.delivery.count.limit"),
        Some("group.share.max.delivery.count.limit")),
    ("share.partition.max.record.locks",
        Some("group.share.min.partition.max.record.locks"),
        Some("group.share.max.partition.max.record.locks")),
    ("share.assignment.interval.ms",
        Some("group.share.min.assignment.interval.ms"),
        Some("group.share.max.assignment.interval.ms")),
    ("streams.heartbeat.interval.ms",
        Some("group.streams.min.heartbeat.interval.ms"),
        Some("group.streams.max.heartbeat.interval.ms")),
    ("streams.session.timeout.ms",
        Some("group.streams.min.session.timeout.ms"),
        Some("group.streams.max.session.timeout.ms")),
    ("streams.num.standby.replicas",
        None,
        Some("group.streams.max.standby.replicas")),
    ("streams.assignment.interval.ms",
        Some("group.streams.min.assignment.interval.ms"),
        Some("group.streams.max.assignment.interval.ms")),
];

impl Bound {
    /// All bounds, with the broker's values.
    pub fn all(broker: &Values) -> Vec<Self> {
        let bounds = BOUNDED.iter().flat_map(|(config, min, max)| {
            [(min, false), (max, true)]
                .into_iter()
                .filter_map(move |(property, is_max)| Some((*config, (*property)?, is_max)))
        });
        let read = bounds.map(|(config, property, is_max)| Self {
            config,
            property,
            limit: broker.int(property),
            is_max,
        });
        read.collect()
    }

    /// Fails with Kafka's words if the value is beyond the bound.
    ///
    /// # Errors
    /// What is wrong.
    pub fn check(&self, value: i32) -> Result<(), String> {
        let (config, property) = (self.config, self.property);
        match self.is_max {
            false if value < self.limit => Err(format!(
                "{config} must be greater than or equal to {property}"
            )),
            true if value > self.limit => {
                Err(format!("{config} must be less than or equal to {property}"))
            }
            _ => Ok(()),
        }
    }
}

/// What the coordinator wants to know of the consumer protocol (KIP-848). Times in ms.
#[derive(Debug, Clone)]
pub struct ConsumerGroupConfig {
    /// Whether `group.coordinator.rebalance.protocols` has it.
    pub enabled: bool,
    /// What a group may have its own values of.
    pub settings: Settings,
    /// `group.consumer.min.session.timeout.ms`, `….max.…`
    pub session_timeout_range_ms: (i32, i32),
    /// `group.consumer.min.heartbeat.interval.ms`, `….max.…`
    pub heartbeat_interval_range_ms: (i32, i32),
    /// `group.consumer.min.assignment.interval.ms`, `….max.…`
    pub assignment_interval_range_ms: (i32, i32),
    /// `group.consumer.max.size`
    pub max_size: i32,
    /// `group.consumer.assignors`, the default first; never empty.
    pub assignors: Vec<Assignor>,
    /// `group.consumer.regex.refresh.interval.ms`
    pub regex_refresh_ms: i64,
    /// `group.consumer.migration.policy`
    pub migration_policy: MigrationPolicy,
}

/// The part of the configuration that may differ from group to group (`GroupConfig` in Kafka).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// `consumer.session.timeout.ms`
    pub session_timeout_ms: i32,
    /// `consumer.heartbeat.interval.ms`
    pub heartbeat_interval_ms: i32,
    /// `consumer.assignment.interval.ms`
    pub assignment_interval_ms: i32,
}

/// An assignor that runs at the broker.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Assignor {
    /// Even numbers of partitions, few of them moved.
    #[default]
    Uniform,
    /// Of each topic a range, the same one for topics with equally many partitions.
    Range,
}

/// Which groups may change their protocol while members are active.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MigrationPolicy {
    /// None; and classic members may not join consumer groups.
    Disabled,
    /// Classic groups become consumer groups.
    Upgrade,
    /// Consumer groups become classic groups.
    Downgrade,
    /// Both.
    Bidirectional,
}

impl Assignor {
    /// The assignor of that name.
    pub fn of(name: &str) -> Option<Self> {
        [Self::Uniform, Self::Range]
            .into_iter()
            .find(|assignor| assignor.name() == name)
    }

    /// Its name in `group.remote.assignor`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Uniform => "uniform",
            Self::Range => "range",
        }
    }
}

impl GroupConfig {
    /// Reads the group's properties.
    ///
    /// # Errors
    /// The first that does not fit the others.
    pub fn of(values: &Values) -> Result<Self, ConfigError> {
        Ok(Self {
            initial_rebalance_delay_ms: values.int("group.initial.rebalance.delay.ms"),
            min_session_timeout_ms: values.int("group.min.session.timeout.ms"),
            max_session_timeout_ms: values.int("group.max.session.timeout.ms"),
            max_size: values.int("group.max.size"),
            offsets_retention_ms: values
                .long("offsets.retention.minutes")
                .saturating_mul(60_000),
            offsets_retention_check_interval_ms: values.long("offsets.retention.check.interval.ms"),
            offset_metadata_max_bytes: values.int("offset.metadata.max.bytes"),
            max_metadata_bytes: values.size("group.max.metadata.bytes"),
            max_groups: values.size("group.coordinator.max.groups"),
            max_bytes: values.size("group.coordinator.max.bytes"),
            consumer: ConsumerGroupConfig::of(values)?,
            bounds: Bound::all(values),
        })
    }
}

impl ConsumerGroupConfig {
    /// Kafka's defaults, except that every change gets an assignment immediately.
    #[cfg(test)]
    pub(crate) fn for_tests() -> Self {
        Self {
            enabled: true,
            settings: Settings {
                session_timeout_ms: 45_000,
                heartbeat_interval_ms: 5_000,
                assignment_interval_ms: 0,
            },
            session_timeout_range_ms: (45_000, 60_000),
            heartbeat_interval_range_ms: (5_000, 15_000),
            assignment_interval_range_ms: (0, 15_000),
            max_size: i32::MAX,
            assignors: vec![Assignor::Uniform, Assignor::Range],
            regex_refresh_ms: 600_000,
            migration_policy: MigrationPolicy::Bidirectional,
        }
    }

    fn of(values: &Values) -> Result<Self, ConfigError> {
        let protocols = values.text("group.coordinator.rebalance.protocols");
        let assignors = values.text("group.consumer.assignors").unwrap_or_default();
        let assignors: Vec<Assignor> = def::list(&assignors).filter_map(Assignor::of).collect();
        if assignors.is_empty() {
            let reason = "must name an assignor";
            return Err(ConfigError::value("group.consumer.assignors", "", reason));
        }
        let policy = values.text("group.consumer.migration.policy");
        let (session, session_range) = in_range(values, "session.timeout")?;
        let (heartbeat, heartbeat_range) = in_range(values, "heartbeat.interval")?;
        let (assignment, assignment_range) = in_range(values, "assignment.interval")?;
        if heartbeat >= session {
            return Err(ConfigError::value(
                "group.consumer.heartbeat.interval.ms",
                &heartbeat.to_string(),
                "must be less than group.consumer.session.timeout.ms",
            ));
        }
        Ok(Self {
            enabled: protocols.is_some_and(|all| def::list(&all).any(|name| name == "consumer")),
            settings: Settings {
                session_timeout_ms: session,
                heartbeat_interval_ms: heartbeat,
                assignment_interval_ms: assignment,
            },
            session_timeout_range_ms: session_range,
            heartbeat_interval_range_ms: heartbeat_range,
            assignment_interval_range_ms: assignment_range,
            max_size: values.int("group.consumer.max.size"),
            assignors,
            regex_refresh_ms: values
                .int("group.consumer.regex.refresh.interval.ms")
                .into(),
            migration_policy: match policy.unwrap_or_default().to_ascii_lowercase().as_str() {
                "disabled" => MigrationPolicy::Disabled,
                "upgrade" => MigrationPolicy::Upgrade,
                "downgrade" => MigrationPolicy::Downgrade,
                _ => MigrationPolicy::Bidirectional,
            },
        })
    }
}

/// The value of `group.consumer.<what>.ms`, which must be in the range that two other properties
/// set.
fn in_range(values: &Values, what: &str) -> Result<(i32, (i32, i32)), ConfigError> {
    let name = format!("group.consumer.{what}.ms");
    let (min, max) = (
        format!("group.consumer.min.{what}.ms"),
        format!("group.consumer.max.{what}.ms"),
    );
    let range = (values.int(&min), values.int(&max));
    let value = values.int(&name);
    if range.0 > range.1 {
        let reason = format!("must be greater than or equal to {min}");
        return Err(ConfigError::value(&max, &range.1.to_string(), reason));
    }
    let wrong = if value < range.0 {
        format!("must be greater than or equal to {min}")
    } else if value > range.1 {
        format!("must be less than or equal to {max}")
    } else {
        return Ok((value, range));
    };
    Err(ConfigError::value(&name, &value.to_string(), wrong))
}
