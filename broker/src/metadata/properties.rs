//! Properties that are set at run time are stored in cluster metadata.

use std::collections::BTreeMap;

use super::{Metadata, Transaction};
use crate::config::properties::{PropertyStore, Scope, StoreError};
use crate::records::broker_config::BrokerConfigKeyspace;

impl PropertyStore for Metadata {
    fn load(&self, scope: Scope) -> Result<BTreeMap<String, String>, StoreError> {
        let stored = self.get::<BrokerConfigKeyspace>(&scope);
        Ok(stored.map_err(StoreError::new)?.unwrap_or_default())
    }

    fn save(&self, scope: Scope, set: &BTreeMap<String, String>) -> Result<(), StoreError> {
        let mut change = Transaction::new();
        match set.is_empty() {
            true => change.delete::<BrokerConfigKeyspace>(&scope),
            false => change.put::<BrokerConfigKeyspace>(&scope, set),
        }
        self.commit(change).map(drop).map_err(StoreError::new)
    }
}
