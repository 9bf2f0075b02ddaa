//! For tests of those who ask: denies single operations by ACLs, and notes what is asked for.

use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::Mutex;

use super::filter::WILDCARD;
use super::vocabulary::{Operation, Resource, ResourceKind};
use super::{ANY_NAME, Access, Binding, Change, Filter, Origin, Pattern, Permission};

/// An operation on a resource, which has a kind and a name.
pub type Asked = (Operation, ResourceKind, String);

#[derive(Default)]
pub(super) struct Hooks {
    /// What was asked for since [`Access::watch`].
    seen: Mutex<Option<Vec<Asked>>>,
    /// Decisions that were not remembered.
    judged: AtomicUsize,
}

impl Hooks {
    pub fn note(&self, operation: Operation, resource: Resource<'_>) {
        if let Some(seen) = &mut *self.seen.lock() {
            seen.push((operation, resource.kind(), resource.name().to_owned()));
        }
    }

    pub fn judged(&self) {
        self.judged.fetch_add(1, Ordering::Relaxed);
    }
}

impl Access {
    /// From now on this is denied to everyone, and everything else on the resource is allowed. What
    /// stands for any resource, and what no ACL can name, is denied for all of the kind.
    pub fn refuse(&self, operation: Operation, resource: Resource<'_>) {
        assert!(self.has_authorizer());
        let name = match resource.name() {
            "" | ANY_NAME => WILDCARD,
            name => name,
        };
        let add = |name: &str, operation, permission| {
            let binding = Binding {
                kind: resource.kind(),
                pattern: Pattern::Literal,
                name: name.to_owned(),
                principal: "User:*".to_owned(),
                host: WILDCARD.to_owned(),
                operation,
                permission,
            };
            Change::Add(binding, Origin::Local)
        };
        let deny = add(name, operation, Permission::Deny);
        let every = match resource.kind() {
            ResourceKind::Cluster => name,
            _ => WILDCARD,
        };
        let allow = add(every, Operation::All, Permission::Allow);
        self.acls.apply(&[deny, allow]).unwrap();
    }

    /// From now on every operation is allowed again.
    pub fn refuse_nothing(&self) {
        let all = self.acls.list(&Filter::default()).into_iter();
        let all: Vec<_> = all.map(|(binding, _)| Change::Remove(binding)).collect();
        self.acls.apply(&all).unwrap();
    }

    /// From now on it is noted what is asked for.
    pub fn watch(&self) {
        *self.hooks.seen.lock() = Some(Vec::new());
    }

    /// How many decisions had to be made: the others were remembered.
    pub fn decisions_made(&self) -> usize {
        self.hooks.judged.load(Ordering::Relaxed)
    }

    /// What was asked for since [`Self::watch`], in order.
    pub fn seen(&self) -> Vec<Asked> {
        self.hooks.seen.lock().clone().unwrap_or_default()
    }
}
