//! The broker's properties as they are in force: what was read at start, and what was set since
//! (KIP-226).
//!
//! Invariants: RocksDB first, memory second; one change at a time. What is stored and does not fit
//! any more (by another release, another file) is left out at start, with a warning, as in Kafka.
//! `min.insync.replicas` always has a value among the defaults of all brokers, and none of a single
//! one; while nobody sets it, it is the file's and not stored.

use std::collections::BTreeMap;
use std::sync::Arc;

use arc_swap::ArcSwap;
use carrick_storage::meta::{MetaBatch, MetaError, MetaStore};
use parking_lot::Mutex;

use crate::config::Values;
use crate::config::change::{Change, ChangeError};
use crate::config::def::Kind;
use crate::config::dynamic::{Dynamic, DynamicError, MIN_IN_SYNC_REPLICAS};
use crate::config::values::definition;
use crate::records::broker_config::{BrokerConfigKeyspace, Scope};

/// The properties in force.
pub struct BrokerConfigs {
    meta: Arc<MetaStore>,
    node_id: i32,
    values: ArcSwap<Values>,
    /// One change at a time.
    changes: Mutex<()>,
}

/// Why properties were not changed.
#[derive(Debug, thiserror::Error)]
pub enum BrokerConfigError {
    /// The change cannot be applied.
    #[error(transparent)]
    Change(#[from] ChangeError),
    /// Its result cannot be in force.
    #[error(transparent)]
    Dynamic(#[from] DynamicError),
    /// RocksDB failed.
    #[error(transparent)]
    Meta(#[from] MetaError),
}

impl BrokerConfigs {
    /// What was read at start, under what is stored.
    ///
    /// # Errors
    /// RocksDB cannot be read.
    pub fn open(meta: Arc<MetaStore>, read: &Values, node_id: i32) -> Result<Self, MetaError> {
        let stored = |scope| meta.get::<BrokerConfigKeyspace>(&scope);
        let mut dynamic = Dynamic::default();
        let layers = [
            (Scope::Default, stored(Scope::Default)?),
            (Scope::Broker(node_id), stored(Scope::Broker(node_id))?),
        ];
        for (scope, set) in layers {
            for (name, value) in set.unwrap_or_default() {
                if name == MIN_IN_SYNC_REPLICAS && scope != Scope::Default {
                    continue;
                }
                let mut with = dynamic.clone();
                layer(&mut with, scope).insert(name.clone(), value);
                match read.reconfigured(with.clone()) {
                    Ok(_) => dynamic = with,
                    Err(error) => {
                        tracing::warn!(name, %error, "a stored broker config is left out");
                    }
                }
            }
        }
        let always = dynamic.default.entry(MIN_IN_SYNC_REPLICAS.to_owned());
        always.or_insert_with(|| file_min_in_sync(read));
        let values = ArcSwap::from_pointee(read.with_dynamic(dynamic));
        Ok(Self {
            meta,
            node_id,
            values,
            changes: Mutex::default(),
        })
    }

    /// The properties in force.
    pub fn values(&self) -> Arc<Values> {
        self.values.load_full()
    }

    /// Changes the properties of this broker (`own`), or the default of all; whether anything is
    /// different now. Blocks on disk.
    ///
    /// # Errors
    /// Nothing was changed.
    pub fn alter(
        &self,
        own: bool,
        change: Change,
        validate_only: bool,
    ) -> Result<bool, BrokerConfigError> {
        let _one_at_a_time = self.changes.lock();
        let before = self.values();
        let mut dynamic = before.dynamic().clone();
        let scope = match own {
            true => Scope::Broker(self.node_id),
            false => Scope::Default,
        };
        let set = layer(&mut dynamic, scope);
        change.apply(set, words_of)?;
        let mut set = set.clone();
        check_min_in_sync(own, before.dynamic(), &dynamic)?;
        if set.get(MIN_IN_SYNC_REPLICAS) == Some(&file_min_in_sync(&before)) {
            set.remove(MIN_IN_SYNC_REPLICAS);
        }
        let after = before.reconfigured(dynamic)?;
        if validate_only || after.dynamic() == before.dynamic() {
            return Ok(false);
        }
        let mut batch = MetaBatch::new();
        match set.is_empty() {
            true => batch.delete::<BrokerConfigKeyspace>(&scope),
            false => batch.put::<BrokerConfigKeyspace>(&scope, &set),
        }
        self.meta.commit(batch)?;
        tracing::info!(?scope, ?set, "broker configs changed");
        self.values.store(Arc::new(after));
        Ok(true)
    }
}

/// What the properties file says, or else the default.
fn file_min_in_sync(values: &Values) -> String {
    let file = values.with_dynamic(Dynamic::default());
    file.text(MIN_IN_SYNC_REPLICAS).unwrap_or_default()
}

fn check_min_in_sync(own: bool, before: &Dynamic, after: &Dynamic) -> Result<(), DynamicError> {
    let name = MIN_IN_SYNC_REPLICAS;
    if own && before.own.get(name) != after.own.get(name) {
        return Err(DynamicError::ClusterWide);
    }
    match after.default.contains_key(name) {
        true => Ok(()),
        false => Err(DynamicError::NotRemovable),
    }
}

fn layer(dynamic: &mut Dynamic, scope: Scope) -> &mut BTreeMap<String, String> {
    match scope {
        Scope::Default => &mut dynamic.default,
        Scope::Broker(_) => &mut dynamic.own,
    }
}

/// The default of a property that is a list.
fn words_of(name: &str) -> Option<String> {
    let def = definition(name).filter(|def| def.kind == Kind::List)?;
    Some(def.default.unwrap_or_default().to_owned())
}
