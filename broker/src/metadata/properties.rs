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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metadata::memory::MemoryMetadata;
    use crate::testing::map;

    #[test]
    fn properties_are_stored_for_each_scope_and_removed_with_the_last_one() {
        let store = MemoryMetadata::new();
        let (one, set) = (Scope::Broker(1), map(&[("message.max.bytes", "7")]));
        store.metadata().save(one, &set).unwrap();
        assert_eq!(store.metadata().load(one).unwrap(), set);
        assert!(store.metadata().load(Scope::Default).unwrap().is_empty());
        store.metadata().save(one, &BTreeMap::new()).unwrap();
        assert!(store.metadata().load(one).unwrap().is_empty());
        let left = store.metadata().scan::<BrokerConfigKeyspace>().unwrap();
        assert!(left.is_empty());
    }
}
