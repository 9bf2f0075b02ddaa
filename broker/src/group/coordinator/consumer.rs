//! The consumer protocol (KIP-848): ConsumerGroupHeartbeat, ConsumerGroupDescribe, and the configs
//! of groups.

use std::future::Future;
use std::sync::Arc;

use carrick_protocol::ids::GroupId;
use tokio::sync::oneshot;

use super::{Coordinator, once_stored, with_new};
use crate::coordination::answer;
use crate::group::consumer::{DescribedGroup, HeartbeatAnswer, HeartbeatRequest, JOIN_EPOCH};
use crate::group::content::{Groups, LockedGroup};
use crate::group::error::GroupError;
use crate::group::overrides::{GroupConfigError, Overrides};
use crate::group::services::Services;
use crate::journal::Entry;
use crate::records::group_config::GroupConfigKeyspace;
use crate::topic::TopicImage;

impl Coordinator {
    /// Whether the consumer protocol is on offer (`group.coordinator.rebalance.protocols`).
    pub fn offers_consumer_protocol(&self) -> bool {
        self.services().config.consumer.enabled
    }

    /// The names of the assignors on offer.
    pub fn assignors(&self) -> Vec<&'static str> {
        let assignors = self.services().config.consumer.assignors.iter();
        assignors.map(|assignor| assignor.name()).collect()
    }

    /// A member joins, continues or leaves; answered when the resulting changes are durable. A new
    /// expression is checked before anything else happens.
    pub fn consumer_heartbeat(
        &self,
        group: &GroupId,
        request: HeartbeatRequest,
    ) -> impl Future<Output = Result<HeartbeatAnswer, GroupError>> + Send + 'static + use<> {
        let (groups, group) = (Arc::clone(&self.groups), group.clone());
        let patterns = &self.services().patterns;
        let unknown = request.regex.as_deref();
        let unknown: Option<Arc<str>> = unknown.filter(|text| !patterns.knows(text)).map(Arc::from);
        let begun = match unknown {
            None => Ok(begin_heartbeat(&groups, &group, request)),
            Some(text) => Err((request, text)),
        };
        async move {
            match begun {
                Ok(begun) => begun.await,
                Err((request, text)) => {
                    groups
                        .services()
                        .check_pattern(&request.client_host, text)
                        .await?;
                    begin_heartbeat(&groups, &group, request).await
                }
            }
        }
    }

    /// One consumer group.
    ///
    /// # Errors
    /// `GroupNotFound`, `NotConsumerGroup`, `ShuttingDown`.
    pub fn describe_consumer(&self, group: &GroupId) -> Result<DescribedGroup, GroupError> {
        self.groups
            .with(group, |group| match group.kind.consumer_mut() {
                Some(group) => Ok(group.describe()),
                None => Err(GroupError::NotConsumerGroup),
            })
    }

    /// All topics as they are now, for names in descriptions.
    pub fn topics(&self) -> Arc<TopicImage> {
        self.services().topics.image()
    }

    /// What is set for a group.
    pub fn group_configs(&self, group: &GroupId) -> Overrides {
        self.services().configs.get(group)
    }

    /// The groups that have configs of their own, by id.
    pub fn groups_with_configs(&self) -> Vec<GroupId> {
        self.services().configs.groups()
    }

    /// Changes a group's own configs; answered when that is durable. `change` gets the current
    /// configs and leaves the wanted ones; with `validate_only` they are not changed.
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
            store_configs(self.services(), group, after, before, outcome)
        };
        let configs = &self.services().configs;
        let begun = match validate_only {
            true => configs.validate(group, change).map(|()| false),
            false => configs.change(group, change, store).map(|()| true),
        };
        async move {
            match begun? {
                true => stored.await.unwrap_or(Err(GroupConfigError::NotStored)),
                false => Ok(()),
            }
        }
    }
}

fn begin_heartbeat(
    groups: &Groups,
    group: &GroupId,
    request: HeartbeatRequest,
) -> impl Future<Output = Result<HeartbeatAnswer, GroupError>> + Send + 'static + use<> {
    let (answer, stored) = answer();
    let joins = request.member_epoch == JOIN_EPOCH;
    let world = groups.services().world(group);
    let beat = |group: &mut LockedGroup<'_>| {
        group.consumer_heartbeat(request, &world, Box::new(|stored| answer.give(stored)))
    };
    let begun = match joins {
        true => with_new(groups, group, beat),
        false => groups.with(group, beat),
    };
    once_stored(begun, stored)
}

fn store_configs(
    services: &Arc<Services>,
    group: &GroupId,
    after: &Overrides,
    before: Overrides,
    outcome: oneshot::Sender<Result<(), GroupConfigError>>,
) -> Result<(), GroupConfigError> {
    let room = services.journal.room().ok_or(GroupConfigError::NotStored)?;
    let mut batch = Entry::new();
    match after.is_empty() {
        true => batch.delete::<GroupConfigKeyspace>(group),
        false => batch.put::<GroupConfigKeyspace>(group, after),
    }
    let (owner, group, after) = (Arc::clone(services), group.clone(), after.clone());
    room.append(batch, move |result| {
        if result.is_err() {
            owner.configs.take_back(&group, &after, before);
        }
        // Who no longer waits has closed its connection.
        let _ = outcome.send(result.map_err(|_| GroupConfigError::NotStored));
    });
    Ok(())
}
