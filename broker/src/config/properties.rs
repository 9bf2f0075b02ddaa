//! The broker's current properties: what was read at the start, and what was set since (KIP-226).
//!
//! Invariants: the store first, memory second; one change at a time. Stored values that no longer
//! fit (from another release, or with another file) are left out at the start, with a warning, as
//! in Kafka. `min.insync.replicas` always has a value among the defaults of all brokers, and none
//! for a single one; until it is set, it is the file's and not stored.

use std::collections::BTreeMap;
use std::error::Error;
use std::sync::Arc;

use arc_swap::ArcSwap;
use parking_lot::Mutex;

use super::change::{Change, ChangeError};
use super::def::Kind;
use super::dynamic::{Dynamic, DynamicError, MIN_IN_SYNC_REPLICAS};
use super::known::definition;
use super::sensitive::all_shown;
use super::values::{CheckTogether, Values};

/// Whose properties are set at run time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// The default of all brokers.
    Default,
    /// Those of the broker with this id.
    Broker(i32),
}

/// Keeps what is set at run time, by name, over restarts.
pub trait PropertyStore: Send + Sync {
    /// What is set; empty if nothing is.
    ///
    /// # Errors
    /// The store cannot be read.
    fn load(&self, scope: Scope) -> Result<BTreeMap<String, String>, StoreError>;

    /// Replaces what is set; durable on return.
    ///
    /// # Errors
    /// Nothing was changed.
    fn save(&self, scope: Scope, set: &BTreeMap<String, String>) -> Result<(), StoreError>;
}

/// The store of properties failed.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub struct StoreError(Box<dyn Error + Send + Sync>);

impl StoreError {
    /// With the store's own error, whose text it has.
    pub fn new(error: impl Error + Send + Sync + 'static) -> Self {
        Self(Box::new(error))
    }
}

/// The current properties.
pub struct Properties {
    store: Arc<dyn PropertyStore>,
    node_id: i32,
    check: CheckTogether,
    values: ArcSwap<Values>,
    /// One change at a time.
    changes: Mutex<()>,
}

/// Why properties were not changed.
#[derive(Debug, thiserror::Error)]
pub enum PropertiesError {
    /// The change cannot be applied.
    #[error(transparent)]
    Change(#[from] ChangeError),
    /// The result would not be valid.
    #[error(transparent)]
    Dynamic(#[from] DynamicError),
    /// It could not be stored.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Properties {
    /// What was read at start, under what is stored. `check` refuses properties that are right one
    /// by one and wrong together.
    ///
    /// # Errors
    /// The store cannot be read.
    pub fn open(
        store: Arc<dyn PropertyStore>,
        read: &Values,
        node_id: i32,
        check: CheckTogether,
    ) -> Result<Self, StoreError> {
        let mut dynamic = Dynamic::default();
        for scope in [Scope::Default, Scope::Broker(node_id)] {
            for (name, value) in store.load(scope)? {
                if name == MIN_IN_SYNC_REPLICAS && scope != Scope::Default {
                    continue;
                }
                let mut with = dynamic.clone();
                layer(&mut with, scope).insert(name.clone(), value);
                match read.reconfigured(with.clone(), check) {
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
            store,
            node_id,
            check,
            values,
            changes: Mutex::default(),
        })
    }

    /// The current properties, as one immutable snapshot.
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
    ) -> Result<bool, PropertiesError> {
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
        let after = before.reconfigured(dynamic, self.check)?;
        if validate_only || after.dynamic() == before.dynamic() {
            return Ok(false);
        }
        self.store.save(scope, &set)?;
        tracing::info!(?scope, set = ?all_shown(&set), "broker configs changed");
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
