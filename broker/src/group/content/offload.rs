//! Work that takes too long for a thread that serves connections, and for a group's lock: matching
//! expressions with topics, and computing the target assignments of large groups.
//!
//! A group asks for the work ([`ConsumerGroup::begin_resolving`],
//! [`ConsumerGroup::begin_assigning`]). It runs on a snapshot of the group and of the topics, and
//! the result comes back to the group as an event, which is stored like any other. Members get it
//! with their next heartbeats.

use std::future::Future;
use std::sync::Arc;

use super::{GroupContent, LockedGroup};
use crate::coordination::Cell;
use crate::group::consumer::{ConsumerGroup, Env};
use crate::group::services::World;
use crate::group::topic_patterns::MaySee;

impl LockedGroup<'_> {
    /// Begins what a consumer group wants done after an event of a client of this host. Expressions
    /// get the topics that the client may see; without one, they are not matched now.
    pub(super) fn offload(&mut self, world: &World, host: &Arc<str>, may_see: Option<MaySee>) {
        let (services, cell) = (self.services(), self.cell());
        let Some(group) = self.kind.consumer_mut() else {
            return;
        };
        let resolving = may_see.and_then(|it| Some((group.begin_resolving(&world.env())?, it)));
        if let Some((texts, may_see)) = resolving {
            let (patterns, topics) = (Arc::clone(&services.patterns), world.topics());
            let (heavy, host) = (services.heavy.clone(), Arc::clone(host));
            let work = async move {
                let resolve =
                    move |budget| may_see.filter(patterns.resolve(&texts, &topics, budget));
                // If too much waits, the next heartbeat tries again.
                heavy.run(&host, resolve).await.unwrap_or_default()
            };
            deliver(cell, work, |group, found, env| group.resolved(found, env));
        }
        if let Some(job) = group.begin_assigning(&world.env()) {
            let (heavy, topics) = (services.heavy.clone(), world.topics());
            let host = Arc::clone(host);
            let work = async move { heavy.run(&host, move |_| job.run(&topics)).await.ok() };
            deliver(cell, work, |group, target, env| group.assigned(target, env));
        }
    }
}

/// Gives the group the result of `work`.
fn deliver<T: Send + 'static>(
    cell: &Arc<Cell<GroupContent>>,
    work: impl Future<Output = T> + Send + 'static,
    event: impl FnOnce(&mut ConsumerGroup, T, &Env<'_>) + Send + 'static,
) {
    let weak = Arc::downgrade(cell);
    cell.services().runtime.spawn(async move {
        let done = work.await;
        let Some(cell) = weak.upgrade() else {
            return;
        };
        let world = cell.services().world(cell.id());
        let Some(mut group) = cell.lock() else {
            return;
        };
        if let Some(consumer) = group.kind.consumer_mut() {
            event(consumer, done, &world.env());
        }
        // Nothing waits: a change that cannot be stored now is stored with the next one.
        group.store_changes(Box::new(drop));
    });
}
