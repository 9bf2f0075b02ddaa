//! All quotas that are set, and which of them applies to a client (`ClientQuotaManager`'s default
//! callback and `ClientQuotaCache` in Kafka).

use std::collections::BTreeMap;

use super::QuotaError;
use super::entity::{Entity, Part, PartKind};

/// What is limited.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// Bytes produced per second.
    Produce,
    /// Bytes fetched per second.
    Fetch,
    /// Percent of one thread's time that requests may take.
    Request,
    /// Partitions created and deleted per second.
    ControllerMutation,
    /// Connections opened per second from one address.
    Connection,
}

impl Kind {
    const ALL: [Kind; 5] = [
        Kind::Produce,
        Kind::Fetch,
        Kind::Request,
        Kind::ControllerMutation,
        Kind::Connection,
    ];

    /// The name of the quota on the wire.
    pub const fn key(self) -> &'static str {
        match self {
            Kind::Produce => "producer_byte_rate",
            Kind::Fetch => "consumer_byte_rate",
            Kind::Request => "request_percentage",
            Kind::ControllerMutation => "controller_mutation_rate",
            Kind::Connection => "connection_creation_rate",
        }
    }

    fn named(key: &str) -> Option<Self> {
        Kind::ALL.into_iter().find(|kind| kind.key() == key)
    }

    /// Largest value, and the name of its type in Kafka; fractions have none.
    const fn whole(self) -> Option<(f64, &'static str)> {
        match self {
            Kind::Produce | Kind::Fetch => Some((i64::MAX as f64, "a LONG")),
            Kind::Connection => Some((i32::MAX as f64, "an INT")),
            Kind::Request | Kind::ControllerMutation => None,
        }
    }
}

/// Whose traffic is counted together.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Payer {
    /// The user, unless the quota is one of client ids.
    pub user: Option<String>,
    /// The client id, unless the quota is one of users.
    pub client: Option<String>,
}

/// A quota that applies to a client.
#[derive(Debug, Clone, PartialEq)]
pub struct InForce {
    /// Whose traffic counts.
    pub payer: Payer,
    /// The limit, per second.
    pub limit: f64,
}

/// How a filter of DescribeClientQuotas wants one part.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Match {
    /// This name.
    Exactly(String),
    Default,
    /// Any, the default included.
    Any,
}

impl Match {
    fn fits(&self, part: &Part) -> bool {
        match self {
            Match::Exactly(name) => part.name() == Some(name),
            Match::Default => *part == Part::Default,
            Match::Any => true,
        }
    }
}

/// The quotas of one entity, by name.
pub type Values = BTreeMap<String, f64>;

/// All quotas that are set.
#[derive(Debug, Clone, Default)]
pub struct Table {
    by_entity: BTreeMap<Entity, Values>,
}

impl Table {
    /// A table of these; entities without values are left out.
    pub fn new(all: impl IntoIterator<Item = (Entity, Values)>) -> Self {
        let by_entity = all.into_iter().filter(|(_, values)| !values.is_empty());
        Self {
            by_entity: by_entity.collect(),
        }
    }

    /// Replaces the quotas of an entity.
    pub fn set(&mut self, entity: Entity, values: Values) {
        match values.is_empty() {
            true => self.by_entity.remove(&entity),
            false => self.by_entity.insert(entity, values),
        };
    }

    /// How many entities have quotas.
    pub fn len(&self) -> usize {
        self.by_entity.len()
    }

    /// Whether any entity has a quota of this kind.
    pub fn has(&self, kind: Kind) -> bool {
        self.by_entity
            .values()
            .any(|values| values.contains_key(kind.key()))
    }

    fn limit(&self, kind: Kind, entity: &Entity) -> Option<f64> {
        self.by_entity.get(entity)?.get(kind.key()).copied()
    }

    /// The quota that applies to a client: the most specific one, users before client ids. A client
    /// without a client id has only those of its user.
    pub fn in_force(&self, kind: Kind, user: &str, client: &str) -> Option<InForce> {
        let user_part = || Part::Named(user.to_owned());
        let client_part = || Part::Named(client.to_owned());
        let both = |user, client| (Entity::UserClient(user, client), true, true);
        let by_user = |user| (Entity::User(user), true, false);
        let by_client = |client| (Entity::Client(client), false, true);
        let order = [
            both(user_part(), client_part()),
            both(user_part(), Part::Default),
            by_user(user_part()),
            both(Part::Default, client_part()),
            both(Part::Default, Part::Default),
            by_user(Part::Default),
            by_client(client_part()),
            by_client(Part::Default),
        ];
        let found = order
            .into_iter()
            .filter(|(.., counts_client)| !counts_client || !client.is_empty());
        found
            .filter_map(|(entity, counts_user, counts_client)| {
                let payer = Payer {
                    user: counts_user.then(|| user.to_owned()),
                    client: counts_client.then(|| client.to_owned()),
                };
                let limit = self.limit(kind, &entity)?;
                Some(InForce { payer, limit })
            })
            .next()
    }

    /// The most connections per second from an address.
    pub fn connection_rate(&self, ip: &str) -> Option<f64> {
        let own = Entity::Ip(Part::Named(ip.to_owned()));
        let default = Entity::Ip(Part::Default);
        let limit = |entity| self.limit(Kind::Connection, entity);
        limit(&own).or_else(|| limit(&default))
    }

    /// The entities that a filter wants, each with its quotas. With `strict` an entity has no part
    /// that the filter does not name; no filter at all wants everything, or strictly nothing.
    ///
    /// # Errors
    /// A type twice, or address together with another.
    pub fn describe(
        &self,
        filter: &[(PartKind, Match)],
        strict: bool,
    ) -> Result<Vec<(&Entity, &Values)>, QuotaError> {
        for (i, (kind, _)) in filter.iter().enumerate() {
            if filter[..i].iter().any(|(before, _)| before == kind) {
                return Err(QuotaError::RepeatedFilter(kind.name()));
            }
        }
        if filter.len() > 1 && filter.iter().any(|(kind, _)| *kind == PartKind::Ip) {
            return Err(QuotaError::IpFilterWithOthers);
        }
        let wanted = |entity: &Entity| {
            let parts = entity.parts();
            let fits = filter.iter().all(|(kind, wanted)| {
                let part = parts.iter().find(|(has, _)| has == kind);
                part.is_some_and(|(_, part)| wanted.fits(part))
            });
            fits && (!strict || parts.len() == filter.len())
        };
        Ok(self.by_entity.iter().filter(|(e, _)| wanted(e)).collect())
    }
}

/// Checks one quota of an entity (`ClientQuotaControlManager.validateQuotaKeyValue`).
///
/// # Errors
/// `UnknownKey`, or what is wrong with the value.
pub fn check(entity: &Entity, key: &str, value: f64) -> Result<(), QuotaError> {
    let is_ip = matches!(entity, Entity::Ip(_));
    let kind = Kind::named(key)
        .filter(|kind| (*kind == Kind::Connection) == is_ip)
        .ok_or_else(|| QuotaError::UnknownKey(key.to_owned()))?;
    if value.is_nan() || value <= 0.0 {
        return Err(QuotaError::NotPositive(key.to_owned()));
    }
    match kind.whole() {
        Some((most, type_name)) if value > most => {
            let key = key.to_owned();
            Err(QuotaError::TooLarge { key, type_name })
        }
        Some(_) if value.fract() > 1e-6 && value.fract() < 1.0 - 1e-6 => {
            Err(QuotaError::Fraction(key.to_owned()))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(name: &str) -> Part {
        Part::Named(name.to_owned())
    }

    fn table(all: &[(Entity, f64)]) -> Table {
        let key = Kind::Produce.key().to_owned();
        let all = all.iter();
        Table::new(all.map(|(entity, rate)| (entity.clone(), Values::from([(key.clone(), *rate)]))))
    }

    // Follows ClientQuotaManagerTest.testGetMaxValueInQuotaWindow... and testQuotaConfigPrecedence.
    #[test]
    fn the_most_specific_quota_wins_and_users_come_before_client_ids() {
        let order = [
            Entity::UserClient(named("u"), named("c")),
            Entity::UserClient(named("u"), Part::Default),
            Entity::User(named("u")),
            Entity::UserClient(Part::Default, named("c")),
            Entity::UserClient(Part::Default, Part::Default),
            Entity::User(Part::Default),
            Entity::Client(named("c")),
            Entity::Client(Part::Default),
        ];
        for first in 0..order.len() {
            let all: Vec<_> = order
                .iter()
                .enumerate()
                .skip(first)
                .map(|(rank, entity)| (entity.clone(), rank as f64 + 1.0))
                .collect();
            let in_force = table(&all).in_force(Kind::Produce, "u", "c").unwrap();
            assert_eq!(in_force.limit, first as f64 + 1.0);
        }
        assert_eq!(Table::default().in_force(Kind::Produce, "u", "c"), None);
    }

    #[test]
    fn a_quota_of_a_user_counts_all_of_its_clients_together_and_one_of_a_client_id_all_users() {
        let by_user = table(&[(Entity::User(Part::Default), 1.0)]);
        let payer = |table: &Table, user, client| {
            let in_force = table.in_force(Kind::Produce, user, client).unwrap();
            (in_force.payer.user, in_force.payer.client)
        };
        assert_eq!(payer(&by_user, "u", "c1"), payer(&by_user, "u", "c2"));
        assert_ne!(payer(&by_user, "u", "c"), payer(&by_user, "v", "c"));
        let by_client = table(&[(Entity::Client(Part::Default), 1.0)]);
        assert_eq!(payer(&by_client, "u", "c"), payer(&by_client, "v", "c"));
        assert_ne!(payer(&by_client, "u", "c1"), payer(&by_client, "u", "c2"));
        // A quota of another kind is ignored.
        assert_eq!(by_user.in_force(Kind::Fetch, "u", "c"), None);
        assert_eq!(by_client.in_force(Kind::Produce, "u", ""), None);
    }

    // Follows ClientQuotaControlManagerTest.testInvalidQuotaKeys and isValid.
    #[test]
    fn names_and_values_are_held_to_the_kind_of_entity() {
        let (user, ip) = (Entity::User(Part::Default), Entity::Ip(Part::Default));
        let refused =
            |entity: &Entity, key, value| check(entity, key, value).unwrap_err().to_string();
        assert!(check(&user, "producer_byte_rate", 1024.0).is_ok());
        assert!(check(&user, "request_percentage", 0.5).is_ok());
        assert!(check(&ip, "connection_creation_rate", 5.0).is_ok());
        for (entity, key) in [
            (&user, "connection_creation_rate"),
            (&ip, "producer_byte_rate"),
            (&user, "not.a.quota"),
        ] {
            let expected = format!("Invalid configuration key {key}");
            assert_eq!(refused(entity, key, 1.0), expected);
        }
        for value in [0.0, -1.0, f64::NAN] {
            let expected = "Quota producer_byte_rate must be greater than 0";
            assert_eq!(refused(&user, "producer_byte_rate", value), expected);
        }
        assert!(refused(&user, "producer_byte_rate", 1.5).contains("fractional"));
        assert!(refused(&ip, "connection_creation_rate", 3e9).contains("too large for an INT"));
    }

    // Follows ClientQuotaCacheTest / ClientQuotasRequestTest.testDescribeClientQuotasMatch*.
    #[test]
    fn filters_match_by_name_by_default_and_by_type() {
        let all = [
            Entity::User(named("a")),
            Entity::User(Part::Default),
            Entity::UserClient(named("a"), named("c")),
            Entity::UserClient(named("a"), Part::Default),
            Entity::Client(named("c")),
            Entity::Ip(named("1.2.3.4")),
        ];
        let with_rates: Vec<_> = all.iter().map(|entity| (entity.clone(), 1.0)).collect();
        let table = table(&with_rates);
        let count = |filter: &[(PartKind, Match)], strict| {
            table.describe(filter, strict).map(|found| found.len())
        };
        let a = (PartKind::User, Match::Exactly("a".to_owned()));
        let any_client = (PartKind::Client, Match::Any);
        assert_eq!(count(&[], false).unwrap(), all.len());
        assert_eq!(count(&[], true).unwrap(), 0);
        assert_eq!(count(std::slice::from_ref(&a), false).unwrap(), 3);
        assert_eq!(count(std::slice::from_ref(&a), true).unwrap(), 1);
        assert_eq!(count(&[(PartKind::User, Match::Default)], true).unwrap(), 1);
        assert_eq!(count(&[a.clone(), any_client.clone()], true).unwrap(), 2);
        assert_eq!(count(std::slice::from_ref(&any_client), false).unwrap(), 3);
        assert_eq!(count(&[(PartKind::Ip, Match::Any)], true).unwrap(), 1);
        assert!(count(&[a.clone(), a.clone()], false).is_err());
        assert!(count(&[(PartKind::Ip, Match::Any), a], false).is_err());
    }
}
