//! [`AclStore`] on this cluster's ACLs, which know who has set each.

use std::collections::BTreeSet;
use std::sync::Arc;

use carrick_link::acls::{Acl, AclOperation, AclPattern, AclPermission, AclResource, AclsSynced};
use carrick_link::ports::{AclRefusal, AclStore, StoreError};
use carrick_link::record::LinkName;

use crate::access::{
    AclError, Acls, Binding, Change, Filter, Operation, Origin, Pattern, PatternFilter, Permission,
    ResourceKind,
};

/// Conflicts that are named.
const CONFLICTS_NAMED: usize = 5;

/// The ACLs of this cluster as links see them.
pub struct LinkAcls {
    acls: Arc<Acls>,
    /// Whether there is an authorizer.
    is_enforced: bool,
}

impl LinkAcls {
    pub fn new(acls: Arc<Acls>, is_enforced: bool) -> Self {
        Self { acls, is_enforced }
    }

    /// What clients here have set, and says the opposite.
    fn conflict(&self, binding: &Binding) -> Option<Binding> {
        let opposite = match binding.permission {
            Permission::Allow => Permission::Deny,
            Permission::Deny => Permission::Allow,
        };
        let filter = Filter {
            kind: Some(binding.kind),
            pattern: PatternFilter::Only(binding.pattern),
            name: Some(binding.name.clone()),
            principal: Some(binding.principal.clone()),
            host: Some(binding.host.clone()),
            operation: Some(binding.operation),
            permission: Some(opposite),
        };
        let all = self.acls.all();
        let mut found = all.matching(&filter);
        found
            .find(|(_, origins)| origins.is_local)
            .map(|(binding, _)| binding.clone())
    }
}

impl AclStore for LinkAcls {
    fn is_enforced(&self) -> bool {
        self.is_enforced
    }

    fn sync(&self, link: &LinkName, wanted: &[Acl]) -> Result<AclsSynced, AclRefusal> {
        let wanted: Result<BTreeSet<Binding>, _> = wanted.iter().map(to_binding).collect();
        let wanted = wanted.map_err(AclRefusal::Refused)?;
        let origin = || Origin::Link(link.as_str().to_owned());
        let all = self.acls.all();
        let every = Filter::default();
        let brought = all.matching(&every);
        let brought = brought.filter(|(_, origins)| origins.links.contains(link.as_str()));
        let brought: BTreeSet<&Binding> = brought.map(|(binding, _)| binding).collect();
        let added = wanted.iter().filter(|it| !brought.contains(it));
        let mut changes: Vec<Change> = added
            .map(|binding| Change::Add(binding.clone(), origin()))
            .collect();
        let added = changes.len();
        let released = brought.iter().filter(|it| !wanted.contains(it));
        changes.extend(released.map(|binding| Change::Release((*binding).clone(), origin())));
        self.acls.apply(&changes).map_err(of_error)?;
        let mut synced = AclsSynced {
            added,
            released: changes.len() - added,
            ..AclsSynced::default()
        };
        for conflict in wanted.iter().filter_map(|binding| self.conflict(binding)) {
            synced.conflict_count += 1;
            if synced.conflicts.len() < CONFLICTS_NAMED {
                synced.conflicts.extend(to_acl(&conflict));
            }
        }
        Ok(synced)
    }

    fn adopt_all_but(&self, links: &[LinkName]) -> Result<(), StoreError> {
        let is_there = |name: &String| links.iter().any(|link| link.as_str() == name);
        let all = self.acls.all();
        let every = Filter::default();
        let mut changes = Vec::new();
        for (binding, origins) in all.matching(&every) {
            for link in origins.links.iter().filter(|link| !is_there(link)) {
                changes.push(Change::Add(binding.clone(), Origin::Local));
                changes.push(Change::Release(binding.clone(), Origin::Link(link.clone())));
            }
        }
        let applied = self.acls.apply(&changes);
        applied.map_err(|error| StoreError(error.to_string()))
    }
}

fn of_error(error: AclError) -> AclRefusal {
    match error {
        AclError::NotStored(detail) => AclRefusal::Storage(detail),
        refused => AclRefusal::Refused(refused.to_string()),
    }
}

/// The same ACL in this broker's words.
fn to_binding(acl: &Acl) -> Result<Binding, String> {
    let binding = || {
        Some(Binding {
            kind: ResourceKind::from_code(acl.resource.code())?,
            pattern: Pattern::from_code(acl.pattern.code())?,
            name: acl.name.clone(),
            principal: acl.principal.clone(),
            host: acl.host.clone(),
            operation: Operation::from_code(acl.operation.code())?,
            permission: Permission::from_code(acl.permission.code())?,
        })
    };
    binding().ok_or_else(|| format!("this cluster can't have the ACL {acl}"))
}

fn to_acl(binding: &Binding) -> Option<Acl> {
    Some(Acl {
        resource: AclResource::from_code(binding.kind.code())?,
        pattern: AclPattern::from_code(binding.pattern.code())?,
        name: binding.name.clone(),
        principal: binding.principal.clone(),
        host: binding.host.clone(),
        operation: AclOperation::from_code(binding.operation.code())?,
        permission: AclPermission::from_code(binding.permission.code())?,
    })
}

#[cfg(test)]
mod tests {
    use carrick_link::testing::contract::acls;

    use super::*;
    use crate::metadata::memory::MemoryMetadata;

    struct Rig(LinkAcls);

    impl acls::Harness for Rig {
        fn store(&self) -> &dyn AclStore {
            &self.0
        }

        fn add(&self, acl: &Acl) {
            let change = Change::Add(to_binding(acl).unwrap(), Origin::Local);
            self.0.acls.apply(&[change]).unwrap();
        }

        fn remove(&self, acl: &Acl) {
            let change = Change::Remove(to_binding(acl).unwrap());
            self.0.acls.apply(&[change]).unwrap();
        }

        fn all(&self) -> Vec<Acl> {
            let all = self.0.acls.all();
            let every = Filter::default();
            let mut all: Vec<Acl> = all
                .matching(&every)
                .filter_map(|(it, _)| to_acl(it))
                .collect();
            all.sort();
            all
        }
    }

    fn rig() -> (Arc<MemoryMetadata>, Rig) {
        let store = MemoryMetadata::new();
        let acls = Arc::new(Acls::open(store.metadata()).unwrap());
        (store, Rig(LinkAcls::new(acls, true)))
    }

    #[test]
    fn acls_of_links_are_kept_as_the_port_says() {
        acls::all(&rig().1);
    }

    #[test]
    fn both_vocabularies_have_the_same_words() {
        let names = |all: Vec<(i8, &'static str)>| all;
        let of_link = AclOperation::ALL.iter().map(|it| (it.code(), it.name()));
        let here = Operation::ALL.iter().map(|it| (it.code(), it.name()));
        assert_eq!(names(of_link.collect()), names(here.collect()));
        let of_link = AclResource::ALL.iter().map(|it| (it.code(), it.name()));
        let here = ResourceKind::ALL.iter().map(|it| (it.code(), it.name()));
        assert_eq!(names(of_link.collect()), names(here.collect()));
    }

    #[test]
    fn an_acl_that_can_not_be_here_refuses_the_sync_and_nothing_changes() {
        let (store, rig) = rig();
        let link = LinkName::new("west").unwrap();
        let acl = |name: &str| Acl {
            resource: AclResource::Topic,
            pattern: AclPattern::Literal,
            name: name.to_owned(),
            principal: "User:app".to_owned(),
            host: "*".to_owned(),
            operation: AclOperation::Read,
            permission: AclPermission::Allow,
        };
        let refused = rig.0.sync(&link, &[acl("a"), acl(&"x".repeat(5000))]);
        assert!(
            matches!(refused, Err(AclRefusal::Refused(_))),
            "{refused:?}"
        );
        store.fail_next();
        let failed = rig.0.sync(&link, &[acl("a")]);
        assert!(matches!(failed, Err(AclRefusal::Storage(_))), "{failed:?}");
        assert_eq!(acls::Harness::all(&rig), []);
        rig.0.sync(&link, &[acl("a")]).unwrap();
        // What is stored is in force after a restart, and is the link's.
        let again = Acls::open(store.metadata()).unwrap();
        let again = LinkAcls::new(Arc::new(again), true);
        assert_eq!(again.sync(&link, &[]).unwrap().released, 1);
    }
}
