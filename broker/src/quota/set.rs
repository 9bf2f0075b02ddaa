//! Changes of quotas: checked, stored, then in force.

use std::collections::BTreeSet;

use carrick_storage::meta::MetaBatch;

use super::entity::Entity;
use super::meters::Quotas;
use super::table::{Table, check};
use super::{Match, PartKind, QuotaError};
use crate::quota::table::Values;
use crate::records::client_quota::ClientQuotaKeyspace;

/// Entities with quotas, at most.
const ENTITIES_MAX: usize = 100_000;

/// One quota that is set, or (`None`) removed.
#[derive(Debug, Clone, PartialEq)]
pub struct QuotaOp {
    /// Its name.
    pub key: String,
    /// Its new value.
    pub value: Option<f64>,
}

/// What is asked for one entity.
#[derive(Debug, Clone, PartialEq)]
pub struct Alteration {
    /// The entity.
    pub entity: Entity,
    /// Its changes.
    pub ops: Vec<QuotaOp>,
}

impl Quotas {
    /// Changes quotas, all that are valid in one write; they are in force at once. One outcome per
    /// alteration. Blocks on disk.
    pub fn alter(
        &self,
        alterations: &[Alteration],
        validate_only: bool,
    ) -> Vec<Result<(), QuotaError>> {
        let _one_at_a_time = self.changes.lock();
        let mut table = Table::clone(&self.table());
        let mut batch = MetaBatch::new();
        let mut seen = BTreeSet::new();
        let mut outcomes = Vec::with_capacity(alterations.len());
        for alteration in alterations {
            let altered = match seen.insert(&alteration.entity) {
                true => altered(&table, alteration),
                false => Err(QuotaError::RepeatedEntity(alteration.entity.clone())),
            };
            outcomes.push(altered.map(|values| {
                let entity = &alteration.entity;
                match values.is_empty() {
                    true => batch.delete::<ClientQuotaKeyspace>(entity),
                    false => batch.put::<ClientQuotaKeyspace>(entity, &values),
                }
                table.set(entity.clone(), values);
            }));
        }
        if validate_only || outcomes.iter().all(Result::is_err) {
            return outcomes;
        }
        match self.meta.commit(batch) {
            Ok(()) => self.install(table),
            Err(error) => {
                let reason = error.to_string();
                tracing::error!(reason, "client quotas were not stored");
                for outcome in outcomes.iter_mut().filter(|outcome| outcome.is_ok()) {
                    *outcome = Err(QuotaError::NotStored(reason.clone()));
                }
            }
        }
        outcomes
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
fn altered(table: &Table, alteration: &Alteration) -> Result<Values, QuotaError> {
    let entity = &alteration.entity;
    let mut values = table.of(entity);
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
    if table.of(entity).is_empty() && !values.is_empty() && table.len() >= ENTITIES_MAX {
        return Err(QuotaError::TooMany(ENTITIES_MAX));
    }
    Ok(values)
}
