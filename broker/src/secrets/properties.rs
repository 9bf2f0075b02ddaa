//! Properties that are set at run time are stored in cluster metadata; those that are secret,
//! encrypted.
//!
//! Invariant: one write per change. A secret that can't be read stays stored until it is set again.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::{Owner, Vault};
use crate::config::is_sensitive;
use crate::config::properties::{PropertyStore, Scope, StoreError};
use crate::metadata::{Metadata, Transaction};
use crate::records::broker_config::BrokerConfigKeyspace;
use crate::records::broker_secret::{BrokerSecretKeyspace, of_scope};
use crate::records::sealed::Sealed;

/// [`PropertyStore`] in cluster metadata.
pub struct StoredProperties {
    metadata: Metadata,
    vault: Arc<Vault>,
}

impl StoredProperties {
    pub fn new(metadata: Metadata, vault: Arc<Vault>) -> Self {
        Self { metadata, vault }
    }

    fn sealed(&self, scope: Scope) -> Result<Vec<(String, Sealed)>, StoreError> {
        let prefix = of_scope(scope);
        let found = self.metadata.scan_prefix::<BrokerSecretKeyspace>(&prefix);
        let found = found.map_err(StoreError::new)?.into_iter();
        let own = found.filter(|((of, _), _)| *of == scope);
        Ok(own.map(|((_, name), sealed)| (name, sealed)).collect())
    }
}

impl PropertyStore for StoredProperties {
    fn load(&self, scope: Scope) -> Result<BTreeMap<String, String>, StoreError> {
        let stored = self.metadata.get::<BrokerConfigKeyspace>(&scope);
        let mut set = stored.map_err(StoreError::new)?.unwrap_or_default();
        for (name, sealed) in self.sealed(scope)? {
            let owner = Owner::Broker { scope, name: &name };
            match self.vault.open_secret(owner, &sealed) {
                Ok(secret) => drop(set.insert(name, secret)),
                Err(error) => {
                    tracing::error!(name, %error, "a stored secret broker config is left out");
                }
            }
        }
        Ok(set)
    }

    fn save(&self, scope: Scope, set: &BTreeMap<String, String>) -> Result<(), StoreError> {
        let (secret, plain): (BTreeMap<_, _>, BTreeMap<_, _>) = set
            .iter()
            .map(|(name, value)| (name.clone(), value.clone()))
            .partition(|(name, _)| is_sensitive(name));
        let mut change = Transaction::new();
        match plain.is_empty() {
            true => change.delete::<BrokerConfigKeyspace>(&scope),
            false => change.put::<BrokerConfigKeyspace>(&scope, &plain),
        }
        for (name, sealed) in self.sealed(scope)? {
            let owner = Owner::Broker { scope, name: &name };
            let is_readable = self.vault.open_secret(owner, &sealed).is_ok();
            if is_readable && !secret.contains_key(&name) {
                change.delete::<BrokerSecretKeyspace>(&(scope, name));
            }
        }
        let sealing = (!secret.is_empty()).then(|| self.vault.sealing());
        let sealing = sealing.transpose().map_err(StoreError::new)?;
        if let Some(sealing) = &sealing {
            for (name, value) in secret {
                let owner = Owner::Broker { scope, name: &name };
                let sealed = sealing.seal(owner, &value).map_err(StoreError::new)?;
                change.put::<BrokerSecretKeyspace>(&(scope, name), &sealed);
            }
        }
        let saved = self.metadata.commit(change);
        saved.map(drop).map_err(StoreError::new)
    }
}
