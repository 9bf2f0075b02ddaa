//! The consumer protocol (KIP-848): ConsumerGroupHeartbeat, ConsumerGroupDescribe, and the configs
//! of groups.

use std::future::Future;
use std::sync::Arc;

use carrick_protocol::ids::GroupId;
use tokio::sync::oneshot;

use super::{Coordinator, Inner};
use crate::group::cell::{Cell, CellState, Reply};
use crate::group::classic::Now;
use crate::group::consumer::{
    DescribedGroup, Env, HeartbeatAnswer, HeartbeatRequest, JOIN_EPOCH, Settings,
};
use crate::group::error::GroupError;
use crate::group::overrides::{GroupConfigError, Overrides};
use crate::journal::Entry;
use crate::records::group_config::GroupConfigKeyspace;
use crate::topic::TopicImage;

/// What one event of a consumer group may know of the world.
pub(in crate::group) struct World {
    now: Now,
    topics: Arc<TopicImage>,
    settings: Settings,
}

impl World {
    pub fn env(&self) -> Env<'_> {
        Env {
            now: self.now,
            topics: &self.topics,
            settings: self.settings,
        }
    }

    /// All topics.
    pub fn topics(&self) -> Arc<TopicImage> {
        Arc::clone(&self.topics)
    }
}

impl Inner {
    fn begin_heartbeat(
        &self,
        group: &GroupId,
        request: HeartbeatRequest,
        reply: Reply,
    ) -> Result<HeartbeatAnswer, GroupError> {
        let joins = request.member_epoch == JOIN_EPOCH;
        let host = Arc::clone(&request.client_host);
        let world = self.world(group);
        let beat = |cell: &Arc<Cell>, state: &mut CellState| {
            let answer = state.consumer_heartbeat(self, cell, request, &world)?;
            state.store_changes(self, cell, reply);
            if let Some(group) = state.kind.consumer_mut() {
                self.offload(cell, group, &world, &host);
            }
            Ok(answer)
        };
        match joins {
            true => self.with_new(group, beat)?,
            false => self.with(group, beat)?,
        }
    }

    /// The world as it is for a group. To be asked for before the group's lock is taken, or under
    /// it: no other group's lock is needed.
    pub fn world(&self, group: &GroupId) -> World {
        World {
            now: self.clock.now(),
            topics: self.topics.image(),
            settings: self.configs.settings(group),
        }
    }
}

impl Coordinator {
    /// Whether the consumer protocol is on offer (`group.coordinator.rebalance.protocols`).
    pub fn offers_consumer_protocol(&self) -> bool {
        self.inner.config.consumer.enabled
    }

    /// The names of the assignors on offer.
    pub fn assignors(&self) -> Vec<&'static str> {
        let assignors = self.inner.config.consumer.assignors.iter();
        assignors.map(|assignor| assignor.name()).collect()
    }

    /// A member joins, continues or leaves; answered when the resulting changes are durable. A new
    /// expression is checked before anything else happens.
    pub fn consumer_heartbeat(
        &self,
        group: &GroupId,
        request: HeartbeatRequest,
    ) -> impl Future<Output = Result<HeartbeatAnswer, GroupError>> + Send + 'static + use<> {
        let inner = Arc::clone(&self.inner);
        let unknown = request.regex.as_deref();
        let unknown: Option<Arc<str>> = unknown
            .filter(|text| !inner.patterns.knows(text))
            .map(Arc::from);
        let group = group.clone();
        let begin = move |inner: &Inner, request| {
            let (outcome, stored) = oneshot::channel();
            let begun = inner.begin_heartbeat(&group, request, reply_to(outcome));
            once_stored(begun, stored)
        };
        let begun = match unknown {
            None => Ok(begin(&inner, request)),
            Some(text) => Err((begin, request, text)),
        };
        async move {
            match begun {
                Ok(begun) => begun.await,
                Err((begin, request, text)) => {
                    inner.check_pattern(&request.client_host, text).await?;
                    begin(&inner, request).await
                }
            }
        }
    }

    /// One consumer group.
    ///
    /// # Errors
    /// `GroupNotFound`, `NotConsumerGroup`, `ShuttingDown`.
    pub fn describe_consumer(&self, group: &GroupId) -> Result<DescribedGroup, GroupError> {
        self.inner
            .with(group, |_, state| match state.kind.consumer_mut() {
                Some(group) => Ok(group.describe()),
                None => Err(GroupError::NotConsumerGroup),
            })?
    }

    /// All topics as they are now, for names in descriptions.
    pub fn topics(&self) -> Arc<TopicImage> {
        self.inner.topics.image()
    }

    /// What is set for a group.
    pub fn group_configs(&self, group: &GroupId) -> Overrides {
        self.inner.configs.get(group)
    }

    /// The groups that have configs of their own, by id.
    pub fn groups_with_configs(&self) -> Vec<GroupId> {
        self.inner.configs.groups()
    }

    /// Changes what is set for a group; answered when that is durable. `change` gets the configs
    /// as they are and leaves them as they shall be; with `validate_only` they stay as they were.
    pub fn alter_group_configs<F>(
        &self,
        group: &GroupId,
        validate_only: bool,
        change: F,
    ) -> impl Future<Output = Result<(), GroupConfigError>> + Send + 'static + use<F>
    where
        F: FnOnce(&mut Overrides) -> Result<(), GroupConfigError> + 'static,
    {
        let (outcome, stored) = oneshot::channel();
        let store = |after: &Overrides, before: Overrides| {
            self.inner.store_configs(group, after, before, outcome)
        };
        let begun = match validate_only {
            true => self.inner.configs.validate(group, change).map(|()| false),
            false => self
                .inner
                .configs
                .change(group, change, store)
                .map(|()| true),
        };
        async move {
            match begun? {
                true => stored.await.unwrap_or(Err(GroupConfigError::NotStored)),
                false => Ok(()),
            }
        }
    }
}

impl Inner {
    fn store_configs(
        &self,
        group: &GroupId,
        after: &Overrides,
        before: Overrides,
        outcome: oneshot::Sender<Result<(), GroupConfigError>>,
    ) -> Result<(), GroupConfigError> {
        let room = self.journal.room().ok_or(GroupConfigError::NotStored)?;
        let mut batch = Entry::new();
        match after.is_empty() {
            true => batch.delete::<GroupConfigKeyspace>(group),
            false => batch.put::<GroupConfigKeyspace>(group, after),
        }
        let (inner, group, after) = (self.me.clone(), group.clone(), after.clone());
        room.append(batch, move |result| {
            if let (Err(_), Some(inner)) = (result, inner.upgrade()) {
                inner.configs.take_back(&group, &after, before);
            }
            // Who no longer waits has closed its connection.
            let _ = outcome.send(result.map_err(|_| GroupConfigError::NotStored));
        });
        Ok(())
    }
}

/// The value, once it holds.
pub(super) async fn once_stored<T>(
    begun: Result<T, GroupError>,
    stored: oneshot::Receiver<Result<(), GroupError>>,
) -> Result<T, GroupError> {
    let value = begun?;
    stored.await.unwrap_or(Err(GroupError::ShuttingDown))?;
    Ok(value)
}

pub(super) fn reply_to(outcome: oneshot::Sender<Result<(), GroupError>>) -> Reply {
    // Who no longer waits has closed its connection.
    Box::new(move |result| {
        let _ = outcome.send(result);
    })
}
