//! Changes of quotas: checked, stored, then applied.

use std::collections::BTreeSet;

use super::entity::Entity;
use super::meters::Quotas;
use super::table::{Table, check};
use super::{Match, PartKind, QuotaError};
use crate::metadata::{MetadataError, News, Transaction, Version};
use crate::quota::table::Values;
use crate::records::client_quota::ClientQuotaKeyspace;

/// Entities with quotas, at most.
const ENTITIES_MAX: usize = 100_000;

/// One quota that is set, or (`None`) removed.
#[derive(Debug, Clone, PartialEq)]
pub struct QuotaOp {
    pub key: String,
    /// Its new value.
    pub value: Option<f64>,
}

/// The change that is requested for one entity.
#[derive(Debug, Clone, PartialEq)]
pub struct Alteration {
    pub entity: Entity,
    pub ops: Vec<QuotaOp>,
}

/// The outcome of several alterations.
struct Plan {
    outcomes: Vec<Result<(), QuotaError>>,
    change: Transaction,
}

impl Quotas {
    /// Changes quotas, all valid ones in one write; they take effect immediately. One outcome per
    /// alteration. Blocks on disk.
    pub fn alter(
        &self,
        alterations: &[Alteration],
        validate_only: bool,
    ) -> Vec<Result<(), QuotaError>> {
        let mut seen = self.seen.lock();
        loop {
            let Plan { outcomes, change } = self.plan(alterations);
            if validate_only || outcomes.iter().all(Result::is_err) {
                return outcomes;
            }
            let stored = match self.metadata.commit(change) {
                // Another request has changed one of them: the requested change may mean something
                // else now.
                Err(MetadataError::Conflict(_)) => continue,
                stored => stored.and_then(|_| self.follow(&mut seen)),
            };
            let Err(error) = stored else {
                return outcomes;
            };
            let reason = error.to_string();
            tracing::error!(reason, "client quotas were not stored");
            let not_stored = |outcome: Result<(), QuotaError>| {
                outcome.and(Err(QuotaError::NotStored(reason.clone())))
            };
            return outcomes.into_iter().map(not_stored).collect();
        }
    }

    /// What the alterations come to, as quotas are stored now.
    fn plan(&self, alterations: &[Alteration]) -> Plan {
        let mut count = self.table().len();
        let mut change = Transaction::new();
        let mut altered = BTreeSet::new();
        let mut alter = |alteration: &Alteration| {
            let entity = &alteration.entity;
            if !altered.insert(entity.clone()) {
                return Err(QuotaError::RepeatedEntity(entity.clone()));
            }
            let stored = self.metadata.get_versioned::<ClientQuotaKeyspace>(entity);
            let stored = stored.map_err(|error| QuotaError::NotStored(error.to_string()))?;
            let version = stored.as_ref().map_or(Version::ABSENT, |it| it.version);
            let before = stored.map(|it| it.value).unwrap_or_default();
            let after = after(&before, alteration)?;
            match (before.is_empty(), after.is_empty()) {
                (true, false) if count >= ENTITIES_MAX => {
                    return Err(QuotaError::TooMany(ENTITIES_MAX));
                }
                (true, false) => count += 1,
                (false, true) => count -= 1,
                _ => {}
            }
            change.expect::<ClientQuotaKeyspace>(entity, version);
            match after.is_empty() {
                true => change.delete::<ClientQuotaKeyspace>(entity),
                false => change.put::<ClientQuotaKeyspace>(entity, &after),
            }
            Ok(())
        };
        let outcomes = alterations.iter().map(&mut alter).collect();
        Plan { outcomes, change }
    }

    /// Applies the stored quotas, up to now.
    ///
    /// # Errors
    /// A stored quota cannot be read: the current one stays.
    pub(super) fn follow(&self, seen: &mut Version) -> Result<(), MetadataError> {
        let table = match self.metadata.news::<ClientQuotaKeyspace>(seen)? {
            News::All(all) => Table::new(all),
            News::Changes(changes) if changes.is_empty() => return Ok(()),
            News::Changes(changes) => {
                let mut table = Table::clone(&self.table());
                for (entity, values) in changes {
                    table.set(entity, values.unwrap_or_default());
                }
                table
            }
        };
        self.install(table);
        Ok(())
    }

    /// Applies what others have stored.
    pub fn catch_up(&self) {
        if let Err(error) = self.follow(&mut self.seen.lock()) {
            tracing::error!(%error, "changed client quotas cannot be read");
        }
    }

    /// The entities that a filter wants, each with its quotas.
    ///
    /// # Errors
    /// As [`Table::describe`].
    pub fn describe(
        &self,
        filter: &[(PartKind, Match)],
        strict: bool,
    ) -> Result<Vec<(Entity, Values)>, QuotaError> {
        let table = self.table();
        let found = table.describe(filter, strict)?.into_iter();
        Ok(found
            .map(|(e, values)| (e.clone(), values.clone()))
            .collect())
    }
}

/// The quotas that an entity has after an alteration.
fn after(before: &Values, alteration: &Alteration) -> Result<Values, QuotaError> {
    let entity = &alteration.entity;
    let mut values = before.clone();
    let mut seen = BTreeSet::new();
    for QuotaOp { key, value } in &alteration.ops {
        if !seen.insert(key) {
            let (key, entity) = (key.clone(), entity.clone());
            return Err(QuotaError::RepeatedKey { key, entity });
        }
        match value {
            None => drop(values.remove(key)),
            Some(value) => {
                check(entity, key, *value)?;
                values.insert(key.clone(), *value);
            }
        }
    }
    Ok(values)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::metadata::memory::MemoryMetadata;
    use crate::quota::Part;

    const RATE: &str = "consumer_byte_rate";

    fn user(name: &str) -> Entity {
        Entity::User(Part::Named(name.to_owned()))
    }

    fn set(quotas: &Quotas, name: &str, key: &str, value: Option<f64>) -> Result<(), QuotaError> {
        let op = QuotaOp {
            key: key.to_owned(),
            value,
        };
        let alteration = Alteration {
            entity: user(name),
            ops: vec![op],
        };
        quotas.alter(&[alteration], false).remove(0)
    }

    fn open(store: &Arc<MemoryMetadata>) -> Arc<Quotas> {
        let values = crate::testing::values(&[]);
        Arc::new(Quotas::open(store.metadata(), &values).unwrap())
    }

    fn all(quotas: &Quotas) -> Vec<(Entity, Values)> {
        quotas.describe(&[], false).unwrap()
    }

    #[test]
    fn what_another_broker_has_set_is_in_force_after_catching_up() {
        let store = MemoryMetadata::new();
        let (here, there) = (open(&store), open(&store));
        set(&there, "ann", RATE, Some(7.0)).unwrap();
        set(&there, "bob", RATE, Some(8.0)).unwrap();
        assert_eq!(all(&here), []);
        here.catch_up();
        assert_eq!(all(&here), all(&there));
        set(&there, "bob", RATE, None).unwrap();
        here.catch_up();
        assert_eq!(all(&here).len(), 1);
        assert_eq!(all(&open(&store)), all(&here), "and after a start");
    }

    #[test]
    fn a_change_that_comes_in_between_is_not_lost() {
        let store = MemoryMetadata::new();
        let (here, there) = (open(&store), open(&store));
        store.before_next_commit(move || {
            set(&there, "ann", "producer_byte_rate", Some(7.0)).unwrap();
        });
        set(&here, "ann", RATE, Some(8.0)).unwrap();
        let both = [
            ("producer_byte_rate".to_owned(), 7.0),
            (RATE.to_owned(), 8.0),
        ];
        assert_eq!(all(&here), [(user("ann"), both.into())]);
    }

    #[test]
    fn what_is_not_stored_is_not_in_force() {
        let store = MemoryMetadata::new();
        let quotas = open(&store);
        store.fail_next();
        let refused = set(&quotas, "ann", RATE, Some(7.0));
        assert!(matches!(refused, Err(QuotaError::NotStored(_))));
        assert_eq!(all(&quotas), []);
    }
}
