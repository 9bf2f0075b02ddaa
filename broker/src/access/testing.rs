//! For tests of those who ask: refuses single operations, and notes what is asked for.

use parking_lot::Mutex;

use super::Access;
use super::vocabulary::{Operation, Resource, ResourceKind};

/// An operation on a resource, which has a kind and a name.
pub type Asked = (Operation, ResourceKind, String);

#[derive(Default)]
pub(super) struct Hooks {
    refused: Mutex<Vec<Asked>>,
    /// What was asked for since [`Access::watch`].
    seen: Mutex<Option<Vec<Asked>>>,
}

impl Hooks {
    pub fn refuses(&self, operation: Operation, resource: Resource<'_>) -> bool {
        if let Some(seen) = &mut *self.seen.lock() {
            seen.push(asked(operation, resource));
        }
        let refused = self.refused.lock();
        refused.contains(&asked(operation, resource))
    }
}

impl Access {
    /// From now on this is refused for everyone.
    pub fn refuse(&self, operation: Operation, resource: Resource<'_>) {
        let refused = &self.hooks.refused;
        refused.lock().push(asked(operation, resource));
    }

    /// From now on every operation is allowed again.
    pub fn refuse_nothing(&self) {
        self.hooks.refused.lock().clear();
    }

    /// From now on it is noted what is asked for.
    pub fn watch(&self) {
        *self.hooks.seen.lock() = Some(Vec::new());
    }

    /// What was asked for since [`Self::watch`], in order.
    pub fn seen(&self) -> Vec<Asked> {
        self.hooks.seen.lock().clone().unwrap_or_default()
    }
}

fn asked(operation: Operation, resource: Resource<'_>) -> Asked {
    (operation, resource.kind(), resource.name().to_owned())
}
