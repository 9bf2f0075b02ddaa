//! Work that takes too long for a thread that serves connections, and for a group's lock: matching
//! expressions with topics, and computing the targets of large groups.
//!
//! A group asks for the work ([`ConsumerGroup::begin_resolving`],
//! [`ConsumerGroup::begin_assigning`]). It is done on a snapshot of the group and of the topics, and
//! the result comes back to the group as an event, which is stored like any other. Members get it
//! with their next heartbeats.

use std::future::Future;
use std::sync::{Arc, Weak};

use super::{Inner, World};
use crate::group::cell::Cell;
use crate::group::consumer::{ConsumerGroup, Env};
use crate::group::error::GroupError;

impl Inner {
    /// Begins what the group wants done after an event of a client of this host. To be called under
    /// the group's lock.
    pub fn offload(
        &self,
        cell: &Arc<Cell>,
        group: &mut ConsumerGroup,
        world: &World,
        host: &Arc<str>,
    ) {
        if let Some(texts) = group.begin_resolving(&world.env()) {
            let (patterns, topics) = (Arc::clone(&self.patterns), world.topics());
            let (heavy, host) = (self.heavy.clone(), Arc::clone(host));
            let work = async move {
                let resolve = move |budget| patterns.resolve(&texts, &topics, budget);
                // If too much waits, the next heartbeat tries again.
                heavy.run(&host, resolve).await.unwrap_or_default()
            };
            self.deliver(cell, work, |group, found, env| group.resolved(found, env));
        }
        if let Some(job) = group.begin_assigning(&world.env()) {
            let (heavy, topics) = (self.heavy.clone(), world.topics());
            let host = Arc::clone(host);
            let work = async move { heavy.run(&host, move |_| job.run(&topics)).await.ok() };
            self.deliver(cell, work, |group, target, env| group.assigned(target, env));
        }
    }

    /// Gives the group the result of `work`.
    fn deliver<T: Send + 'static>(
        &self,
        cell: &Arc<Cell>,
        work: impl Future<Output = T> + Send + 'static,
        event: impl FnOnce(&mut ConsumerGroup, T, &Env<'_>) + Send + 'static,
    ) {
        let (inner, cell): (Weak<Self>, _) = (self.me.clone(), Arc::downgrade(cell));
        self.runtime.spawn(async move {
            let done = work.await;
            let (Some(inner), Some(cell)) = (inner.upgrade(), cell.upgrade()) else {
                return;
            };
            let world = inner.world(&cell.id);
            let mut state = cell.state.lock();
            if state.is_dead() {
                return;
            }
            if let Some(group) = state.kind.consumer_mut() {
                event(group, done, &world.env());
            }
            // Nobody waits: what cannot be stored now is stored with the next change.
            state.store_changes(&inner, &cell, Box::new(drop));
        });
    }

    /// Checks an expression that a member on this host brings.
    ///
    /// # Errors
    /// `InvalidRegex`, `Busy`.
    pub async fn check_pattern(&self, host: &Arc<str>, text: Arc<str>) -> Result<(), GroupError> {
        let patterns = Arc::clone(&self.patterns);
        let checked = self.heavy.run(host, move |_| patterns.check(&text));
        checked.await.map_err(|_| GroupError::Busy)?
    }
}
