//! What every [`AclStore`] must do.

use crate::acls::{Acl, AclOperation, AclPattern, AclPermission, AclResource};
use crate::ports::AclStore;
use crate::record::LinkName;

/// What the suite needs of an implementation that enforces ACLs and has none yet.
pub trait Harness {
    fn store(&self) -> &dyn AclStore;
    /// A client sets an ACL.
    fn add(&self, acl: &Acl);
    /// A client removes an ACL.
    fn remove(&self, acl: &Acl);
    /// Those in force, in order.
    fn all(&self) -> Vec<Acl>;
}

fn acl(name: &str, permission: AclPermission) -> Acl {
    Acl {
        resource: AclResource::Topic,
        pattern: AclPattern::Literal,
        name: name.to_owned(),
        principal: "User:app".to_owned(),
        host: "*".to_owned(),
        operation: AclOperation::Read,
        permission,
    }
}

fn allow(name: &str) -> Acl {
    acl(name, AclPermission::Allow)
}

fn link(name: &str) -> LinkName {
    LinkName::new(name).unwrap()
}

/// The whole suite.
pub fn all(harness: &dyn Harness) {
    let (store, west, east) = (harness.store(), link("west"), link("east"));
    assert!(store.is_enforced());
    let (a, b, c) = (allow("a"), allow("b"), allow("c"));

    // What is set and removed at the source is set and removed here.
    let synced = store.sync(&west, &[a.clone(), b.clone()]).unwrap();
    assert_eq!((synced.added, synced.released), (2, 0));
    assert_eq!(harness.all(), [a.clone(), b.clone()]);
    let synced = store.sync(&west, &[b.clone(), c.clone()]).unwrap();
    assert_eq!((synced.added, synced.released), (1, 1));
    assert_eq!(harness.all(), [b.clone(), c.clone()]);
    let synced = store.sync(&west, &[b.clone(), c.clone()]).unwrap();
    assert_eq!((synced.added, synced.released), (0, 0));

    // What a client has set stays when the source drops it, and what another link brings, too.
    harness.add(&b);
    store.sync(&east, std::slice::from_ref(&c)).unwrap();
    store.sync(&west, &[]).unwrap();
    assert_eq!(harness.all(), [b.clone(), c.clone()]);
    store.sync(&east, &[]).unwrap();
    assert_eq!(harness.all(), std::slice::from_ref(&b));

    // A client's ACL that says the opposite is named and stays.
    let denied = acl("a", AclPermission::Deny);
    harness.add(&denied);
    let synced = store.sync(&west, std::slice::from_ref(&a)).unwrap();
    assert_eq!(synced.conflict_count, 1);
    assert_eq!(synced.conflicts, std::slice::from_ref(&denied));
    assert_eq!(harness.all(), [denied.clone(), a.clone(), b.clone()]);

    // A client removes what a link has brought: the next sync brings it again.
    harness.remove(&a);
    assert_eq!(harness.all(), [denied.clone(), b.clone()]);
    let synced = store.sync(&west, std::slice::from_ref(&a)).unwrap();
    assert_eq!(synced.added, 1);

    // The ACLs of a link that is gone stay, whatever another one of its name brings.
    store.adopt_all_but(&[east]).unwrap();
    store.sync(&west, &[]).unwrap();
    assert_eq!(harness.all(), [denied, a, b]);
}
