//! The ACLs of this cluster.

use std::collections::{BTreeMap, BTreeSet};

use super::FakeHere;
use crate::acls::{Acl, AclPermission, AclsSynced};
use crate::ports::{AclRefusal, AclStore, StoreError};
use crate::record::LinkName;

/// Who brought each.
#[derive(Debug, Default)]
pub(super) struct Acls {
    all: BTreeMap<Acl, Origins>,
    is_not_enforced: bool,
}

#[derive(Debug, Default)]
struct Origins {
    is_local: bool,
    links: BTreeSet<LinkName>,
}

impl Origins {
    fn is_none(&self) -> bool {
        !self.is_local && self.links.is_empty()
    }
}

impl FakeHere {
    /// Whether ACLs have an effect; by default they have.
    pub fn enforce_acls(&self, is_enforced: bool) {
        self.state.lock().acls.is_not_enforced = !is_enforced;
    }

    /// A client sets an ACL.
    pub fn add_acl(&self, acl: &Acl) {
        let mut state = self.state.lock();
        state.acls.all.entry(acl.clone()).or_default().is_local = true;
    }

    /// A client removes an ACL.
    pub fn remove_acl(&self, acl: &Acl) {
        self.state.lock().acls.all.remove(acl);
    }

    /// Those in force.
    pub fn acls(&self) -> Vec<Acl> {
        self.state.lock().acls.all.keys().cloned().collect()
    }
}

fn opposite(acl: &Acl) -> Acl {
    let permission = match acl.permission {
        AclPermission::Allow => AclPermission::Deny,
        AclPermission::Deny => AclPermission::Allow,
    };
    Acl {
        permission,
        ..acl.clone()
    }
}

impl AclStore for FakeHere {
    fn is_enforced(&self) -> bool {
        !self.state.lock().acls.is_not_enforced
    }

    fn sync(&self, link: &LinkName, wanted: &[Acl]) -> Result<AclsSynced, AclRefusal> {
        let mut state = self.state.lock();
        if let Some(StoreError(error)) = &state.store_error {
            return Err(AclRefusal::Storage(error.clone()));
        }
        let all = &mut state.acls.all;
        let mut synced = AclsSynced::default();
        for (acl, origins) in all.iter_mut() {
            if !wanted.contains(acl) && origins.links.remove(link) {
                synced.released += 1;
            }
        }
        all.retain(|_, origins| !origins.is_none());
        for acl in wanted {
            let origins = all.entry(acl.clone()).or_default();
            synced.added += usize::from(origins.links.insert(link.clone()));
            let opposite = opposite(acl);
            if all.get(&opposite).is_some_and(|origins| origins.is_local) {
                synced.conflict_count += 1;
                synced.conflicts.push(opposite);
            }
        }
        Ok(synced)
    }

    fn adopt_all_but(&self, links: &[LinkName]) -> Result<(), StoreError> {
        for origins in self.state.lock().acls.all.values_mut() {
            let before = origins.links.len();
            origins.links.retain(|link| links.contains(link));
            origins.is_local |= origins.links.len() < before;
        }
        Ok(())
    }
}
