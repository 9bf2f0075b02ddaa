//! Configs that a group sets for itself (`GroupConfig`, `GroupConfigManager` in Kafka): resource
//! type GROUP of the config APIs. They may exist without the group.
//!
//! Memory holds what was last requested. It is on disk when the request is answered, or it is
//! undone.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use carrick_protocol::ids::GroupId;
use parking_lot::RwLock;

use super::config::{GroupConfig, Settings};
use super::limits::MAX_GROUP_CONFIGS;
use crate::config::change::ChangeError;
use crate::config::def::{Check, ConfigDef, Kind, def};
use crate::config::describe::{Described, Origin, Source, origins};
use crate::config::{Values, known};

/// The configs of one group, by name.
pub type Overrides = BTreeMap<String, String>;

/// What is known and does nothing: there are no share groups and no streams groups here.
const NO_EFFECT: &str = "A Kafka config without effect here.";

/// All names. Where the broker has a property `group.<name>`, that gives the default.
#[rustfmt::skip]
pub static GROUP_CONFIGS: &[ConfigDef] = &[
    def("consumer.assignment.interval.ms", Kind::Int, Some("1000"), Check::AtLeast(0),
        "Minimum time between two target assignments of the group."),
    def("consumer.heartbeat.interval.ms", Kind::Int, Some("5000"), Check::AtLeast(1),
        "How often the group's members send heartbeats."),
    def("consumer.session.timeout.ms", Kind::Int, Some("45000"), Check::AtLeast(1),
        "A member is removed after it has been silent for this long."),
    def("share.assignment.interval.ms", Kind::Int, Some("1000"), Check::AtLeast(0), NO_EFFECT),
    def("share.auto.offset.reset", Kind::String, Some("latest"), Check::Any, NO_EFFECT),
    def("share.delivery.count.limit", Kind::Int, Some("5"), Check::AtLeast(2), NO_EFFECT),
    def("share.heartbeat.interval.ms", Kind::Int, Some("5000"), Check::AtLeast(1), NO_EFFECT),
    def("share.isolation.level", Kind::String, Some("read_uncommitted"),
        Check::OneOf(&["read_committed", "read_uncommitted"]), NO_EFFECT),
    def("share.partition.max.record.locks", Kind::Int, Some("2000"), Check::AtLeast(100), NO_EFFECT),
    def("share.record.lock.duration.ms", Kind::Int, Some("30000"), Check::AtLeast(1_000), NO_EFFECT),
    def("share.renew.acknowledge.enable", Kind::Boolean, Some("true"), Check::Any, NO_EFFECT),
    def("share.session.timeout.ms", Kind::Int, Some("45000"), Check::AtLeast(1), NO_EFFECT),
    def("streams.assignment.interval.ms", Kind::Int, Some("1000"), Check::AtLeast(0), NO_EFFECT),
    def("streams.heartbeat.interval.ms", Kind::Int, Some("5000"), Check::AtLeast(1), NO_EFFECT),
    def("streams.initial.rebalance.delay.ms", Kind::Int, Some("3000"), Check::AtLeast(0), NO_EFFECT),
    def("streams.num.standby.replicas", Kind::Int, Some("0"), Check::AtLeast(0), NO_EFFECT),
    def("streams.session.timeout.ms", Kind::Int, Some("45000"), Check::AtLeast(1), NO_EFFECT),
];

/// Why configs of a group are refused; the text is for the client.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum GroupConfigError {
    /// The group has no name.
    #[error("Group name can't be empty.")]
    NoName,
    /// The config is unknown, or has no effect here.
    #[error("Unknown group config name: {0}")]
    UnknownName(String),
    /// The value does not fit.
    #[error("{0}")]
    InvalidValue(String),
    /// The change cannot be applied.
    #[error(transparent)]
    Change(#[from] ChangeError),
    /// Too many groups have configs.
    #[error("too many groups have their own configs")]
    TooMany,
    /// The disk did not take them.
    #[error("the group's configs could not be stored")]
    NotStored,
}

/// The configs of all groups that have some.
pub(super) struct GroupConfigs {
    config: Arc<GroupConfig>,
    by_group: RwLock<HashMap<GroupId, Overrides>>,
}

impl GroupConfigs {
    pub fn new(
        config: Arc<GroupConfig>,
        stored: impl IntoIterator<Item = (GroupId, Overrides)>,
    ) -> Self {
        Self {
            config,
            by_group: RwLock::new(stored.into_iter().collect()),
        }
    }

    /// What is set for a group.
    pub fn get(&self, group: &GroupId) -> Overrides {
        self.by_group.read().get(group).cloned().unwrap_or_default()
    }

    /// The groups that have configs, by id.
    pub fn groups(&self) -> Vec<GroupId> {
        let mut groups: Vec<GroupId> = self.by_group.read().keys().cloned().collect();
        groups.sort();
        groups
    }

    /// What applies to a group: its own values, within the broker's bounds of today.
    pub fn settings(&self, group: &GroupId) -> Settings {
        let consumer = &self.config.consumer;
        let by_group = self.by_group.read();
        let own = by_group.get(group);
        let value = |name: &str, default: i32, range: (i32, i32)| {
            let own = own.and_then(|own| own.get(name)?.trim().parse::<i32>().ok());
            own.map_or(default, |own| own.max(range.0).min(range.1))
        };
        let defaults = consumer.settings;
        Settings {
            session_timeout_ms: value(
                "consumer.session.timeout.ms",
                defaults.session_timeout_ms,
                consumer.session_timeout_range_ms,
            ),
            heartbeat_interval_ms: value(
                "consumer.heartbeat.interval.ms",
                defaults.heartbeat_interval_ms,
                consumer.heartbeat_interval_range_ms,
            ),
            assignment_interval_ms: value(
                "consumer.assignment.interval.ms",
                defaults.assignment_interval_ms,
                consumer.assignment_interval_range_ms,
            ),
        }
    }

    /// Changes what is set for a group, under the lock: `store` gets the new configs, and what
    /// they were.
    pub fn change(
        &self,
        group: &GroupId,
        change: impl FnOnce(&mut Overrides) -> Result<(), GroupConfigError>,
        store: impl FnOnce(&Overrides, Overrides) -> Result<(), GroupConfigError>,
    ) -> Result<(), GroupConfigError> {
        let mut by_group = self.by_group.write();
        let before = by_group.get(group).cloned().unwrap_or_default();
        let after = self.changed(group, &before, change)?;
        if before.is_empty() && !after.is_empty() && by_group.len() >= MAX_GROUP_CONFIGS {
            return Err(GroupConfigError::TooMany);
        }
        store(&after, before)?;
        set(&mut by_group, group, after);
        Ok(())
    }

    /// Checks what [`Self::change`] would check, and changes nothing.
    pub fn validate(
        &self,
        group: &GroupId,
        change: impl FnOnce(&mut Overrides) -> Result<(), GroupConfigError>,
    ) -> Result<(), GroupConfigError> {
        self.changed(group, &self.get(group), change).map(drop)
    }

    fn changed(
        &self,
        group: &GroupId,
        before: &Overrides,
        change: impl FnOnce(&mut Overrides) -> Result<(), GroupConfigError>,
    ) -> Result<Overrides, GroupConfigError> {
        if group.as_str().is_empty() {
            return Err(GroupConfigError::NoName);
        }
        let mut after = before.clone();
        change(&mut after)?;
        check(&after, &self.config)?;
        Ok(after)
    }

    /// Takes a change back that could not be stored, unless another came after it.
    pub fn take_back(&self, group: &GroupId, after: &Overrides, before: Overrides) {
        let mut by_group = self.by_group.write();
        if by_group
            .get(group)
            .map_or(after.is_empty(), |now| now == after)
        {
            set(&mut by_group, group, before);
        }
    }
}

fn set(by_group: &mut HashMap<GroupId, Overrides>, group: &GroupId, configs: Overrides) {
    match configs.is_empty() {
        true => by_group.remove(group),
        false => by_group.insert(group.clone(), configs),
    };
}

/// All configs of a group with these overrides, by name. Without an override, the broker's property
/// applies, if there is one.
pub fn describe(overrides: &Overrides, broker: &Values) -> Vec<Described> {
    let described = GROUP_CONFIGS.iter().map(|def| {
        let own = overrides.get(def.name).map(|value| Origin {
            name: def.name,
            value: Some(value.clone()),
            source: Source::Group,
        });
        let default = || Origin {
            name: def.name,
            value: def.default.map(str::to_owned),
            source: Source::Default,
        };
        let others = match known::definition(&format!("group.{}", def.name)) {
            Some(property) => origins(std::iter::once(property.name), broker),
            None => vec![default()],
        };
        let origins: Vec<Origin> = own.into_iter().chain(others).collect();
        let value = origins.first().and_then(|origin| origin.value.clone());
        Described::new(*def, value, origins, false)
    });
    described.collect()
}

/// The definition of a group config.
fn definition(name: &str) -> Option<&'static ConfigDef> {
    GROUP_CONFIGS.iter().find(|def| def.name == name)
}

/// The default of a group config that is a number.
fn default(name: &str) -> i32 {
    let default = definition(name).and_then(|def| def.default?.parse().ok());
    default.unwrap_or_default()
}

/// Checks names and values, alone and together (`GroupConfig.validate`).
fn check(configs: &Overrides, broker: &GroupConfig) -> Result<(), GroupConfigError> {
    for (name, value) in configs {
        let def = definition(name).ok_or_else(|| GroupConfigError::UnknownName(name.clone()))?;
        def.check(value).map_err(|reason| {
            let text = format!("Invalid value {value} for configuration {name}: {reason}");
            GroupConfigError::InvalidValue(text)
        })?;
    }
    let own = |name: &str| {
        configs
            .get(name)
            .and_then(|value| value.trim().parse::<i32>().ok())
    };
    for bound in &broker.bounds {
        if let Some(value) = own(bound.config) {
            bound.check(value).map_err(GroupConfigError::InvalidValue)?;
        }
    }
    let consumer = broker.consumer.settings;
    let sessions = [
        (
            "consumer",
            consumer.session_timeout_ms,
            consumer.heartbeat_interval_ms,
        ),
        (
            "share",
            default("share.session.timeout.ms"),
            default("share.heartbeat.interval.ms"),
        ),
        (
            "streams",
            default("streams.session.timeout.ms"),
            default("streams.heartbeat.interval.ms"),
        ),
    ];
    for (kind, session, heartbeat) in sessions {
        let names = (
            format!("{kind}.session.timeout.ms"),
            format!("{kind}.heartbeat.interval.ms"),
        );
        if own(&names.0).unwrap_or(session) <= own(&names.1).unwrap_or(heartbeat) {
            return Err(GroupConfigError::InvalidValue(format!(
                "{} must be greater than {}",
                names.0, names.1
            )));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn configs() -> GroupConfigs {
        let values = Values::new(BTreeMap::new()).unwrap();
        GroupConfigs::new(Arc::new(GroupConfig::of(&values).unwrap()), [])
    }

    fn set(configs: &GroupConfigs, name: &str, value: &str) -> Result<(), GroupConfigError> {
        let (name, value) = (name.to_owned(), value.to_owned());
        let change = |own: &mut Overrides| {
            own.insert(name, value);
            Ok(())
        };
        configs.change(&GroupId::new("g"), change, |_, _| Ok(()))
    }

    /// `GroupConfigTest`, `GroupConfigManagerTest`.
    #[test]
    fn values_are_held_to_the_bounds_of_the_broker() {
        let configs = configs();
        for (name, value) in [
            ("consumer.session.timeout.ms", "44999"),
            ("consumer.session.timeout.ms", "60001"),
            ("consumer.heartbeat.interval.ms", "4999"),
            ("consumer.heartbeat.interval.ms", "15001"),
            ("consumer.assignment.interval.ms", "15001"),
            ("consumer.session.timeout.ms", "soon"),
            ("streams.session.timeout.ms", "44999"),
            ("streams.session.timeout.ms", "60001"),
            ("streams.heartbeat.interval.ms", "4999"),
            ("streams.heartbeat.interval.ms", "15001"),
            ("streams.num.standby.replicas", "3"),
            ("streams.assignment.interval.ms", "15001"),
            ("share.session.timeout.ms", "44999"),
            ("share.heartbeat.interval.ms", "15001"),
            ("share.record.lock.duration.ms", "14999"),
            ("share.delivery.count.limit", "11"),
            ("share.partition.max.record.locks", "4001"),
            ("share.assignment.interval.ms", "15001"),
        ] {
            let refused = set(&configs, name, value);
            assert!(
                matches!(refused, Err(GroupConfigError::InvalidValue(_))),
                "{name}={value}"
            );
        }
        let told = set(&configs, "streams.num.standby.replicas", "3").unwrap_err();
        assert_eq!(
            told.to_string(),
            "streams.num.standby.replicas must be less than or equal to \
             group.streams.max.standby.replicas"
        );
        let unknown = set(&configs, "producer.session.timeout.ms", "45000");
        assert!(matches!(unknown, Err(GroupConfigError::UnknownName(_))));
        assert!(configs.groups().is_empty());
    }

    #[test]
    fn a_group_has_its_own_values_and_else_the_brokers() {
        let configs = configs();
        let group = GroupId::new("g");
        set(&configs, "consumer.session.timeout.ms", "50000").unwrap();
        let settings = configs.settings(&group);
        assert_eq!(
            (settings.session_timeout_ms, settings.heartbeat_interval_ms),
            (50_000, 5_000)
        );
        assert_eq!(
            configs.settings(&GroupId::new("h")).session_timeout_ms,
            45_000
        );
        let values = Values::new(BTreeMap::new()).unwrap();
        let described = describe(&configs.get(&group), &values);
        let shown = |name: &str| {
            let config = described.iter().find(|config| config.def.name == name);
            config.map(|config| (config.value.clone().unwrap(), config.source()))
        };
        let session = shown("consumer.session.timeout.ms");
        assert_eq!(session, Some(("50000".to_owned(), Source::Group)));
        let heartbeat = shown("consumer.heartbeat.interval.ms");
        assert_eq!(heartbeat, Some(("5000".to_owned(), Source::Default)));
        let reset = shown("share.auto.offset.reset");
        assert_eq!(reset, Some(("latest".to_owned(), Source::Default)));
    }

    #[test]
    fn defaults_are_those_of_the_brokers_properties() {
        let values = Values::new(BTreeMap::new()).unwrap();
        for config in describe(&Overrides::new(), &values) {
            assert_eq!(
                config.value.as_deref(),
                config.def.default,
                "{}",
                config.def.name
            );
        }
    }

    #[test]
    fn what_could_not_be_stored_is_taken_back() {
        let configs = configs();
        let group = GroupId::new("g");
        set(&configs, "consumer.session.timeout.ms", "50000").unwrap();
        let before = configs.get(&group);
        set(&configs, "consumer.heartbeat.interval.ms", "6000").unwrap();
        configs.take_back(&group, &configs.get(&group), before.clone());
        assert_eq!(configs.get(&group), before);
        configs.take_back(&group, &before, Overrides::new());
        assert!(configs.groups().is_empty());
    }
}
