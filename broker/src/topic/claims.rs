//! Claims on names: only one operation at a time creates, grows or deletes the topic with a name.
//!
//! Slow work on the disk is done under a claim, not under [`Topics::changes`]: only operations on
//! the same name wait for it.
//!
//! Lock order: claim → `changes`. A holder of a claim never takes another one.
//!
//! [`Topics::changes`]: super::Topics

use std::collections::{BTreeSet, HashSet};

use carrick_protocol::ids::TopicName;
use parking_lot::{Condvar, Mutex};

use super::index::folded;

/// The names that are claimed, as [`folded`] makes them: names that collide exclude each other.
#[derive(Default)]
pub(super) struct Claims {
    taken: Mutex<HashSet<String>>,
    freed: Condvar,
}

/// Names that belong to one operation until this is dropped.
pub(super) struct Claim<'a> {
    claims: &'a Claims,
    names: BTreeSet<String>,
}

impl Claims {
    /// Waits until all of these names are free, and takes them. Blocks.
    pub(super) fn of<'n>(&self, names: impl IntoIterator<Item = &'n TopicName>) -> Claim<'_> {
        let names: BTreeSet<String> = names.into_iter().map(folded).collect();
        let mut taken = self.taken.lock();
        while names.iter().any(|name| taken.contains(name)) {
            self.freed.wait(&mut taken);
        }
        taken.extend(names.iter().cloned());
        Claim {
            claims: self,
            names,
        }
    }
}

impl Drop for Claim<'_> {
    fn drop(&mut self) {
        let mut taken = self.claims.taken.lock();
        for name in &self.names {
            taken.remove(name);
        }
        self.claims.freed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[test]
    fn names_that_collide_are_claimed_by_one_at_a_time_and_others_do_not_wait() {
        let claims = Claims::default();
        let name = |name: &str| TopicName::new(name).unwrap();
        let (inside, most) = (AtomicUsize::new(0), AtomicUsize::new(0));
        let held = claims.of([&name("held")]);
        std::thread::scope(|scope| {
            for pair in [["a.b", "c"], ["d", "a_b"], ["a.b", "d"], ["c", "a.b"]] {
                let (claims, inside, most) = (&claims, &inside, &most);
                scope.spawn(move || {
                    let names = pair.map(|it| TopicName::new(it).unwrap());
                    for _ in 0..200 {
                        let claim = claims.of(&names);
                        let now = inside.fetch_add(1, Ordering::SeqCst) + 1;
                        most.fetch_max(now, Ordering::SeqCst);
                        std::thread::yield_now();
                        inside.fetch_sub(1, Ordering::SeqCst);
                        drop(claim);
                    }
                });
            }
        });
        assert_eq!(most.into_inner(), 1, "all of them want a.b or a_b");
        drop(held);
        assert!(claims.taken.lock().is_empty());
    }
}
