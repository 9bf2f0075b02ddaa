//! All groups of this broker (`GroupCoordinatorService` in Kafka 4.3): finds or creates the group
//! of a request, lets the group decide under its lock, answers.
//!
//! Every method does its ordered part before it returns; a future that it returns only waits for
//! the answer. The exception is a heartbeat with an unknown regular expression: that is checked
//! first, elsewhere.
//!
//! Members are in this file, offsets in [`offsets`], administrators' requests in [`admin`].

mod admin;
mod consumer;
mod offsets;
mod transactional;

#[cfg(test)]
mod tests;

use std::future::Future;
use std::sync::{Arc, Weak};
use std::time::Duration;

use carrick_protocol::ids::GroupId;
use tokio::runtime::Handle;
use tokio::task::JoinHandle;

pub use self::admin::{DescribedGroup, ListedGroup};
pub use self::transactional::PendingCommit;
use super::classic::{HeartbeatRequest, JoinAnswer, JoinRequest, Leaving, SyncAnswer, SyncRequest};
use super::clock::Clock;
use super::config::GroupConfig;
use super::content::{GroupContent, Groups, LockedGroup, Stored};
use super::error::GroupError;
use super::overrides::GroupConfigs;
use super::services::Services;
use super::topics::TopicIds;
use super::wake::Wakeups;
use super::{load, sweep};
use crate::budget::Budget;
use crate::coordination::{Awaited, Registry, answer, every};
use crate::heavy::Heavy;
use crate::journal::{Journal, JournalError, Table};
use crate::records::group_config::GroupConfigKeyspace;

/// Why the coordinator can't start.
#[derive(Debug, thiserror::Error)]
pub enum GroupStartError {
    /// The stored groups can't be read.
    #[error("groups cannot be loaded: {0}")]
    Load(#[from] JournalError),
}

/// The group coordinator.
pub struct Coordinator {
    groups: Arc<Groups>,
    tasks: Vec<JoinHandle<()>>,
}

impl Coordinator {
    /// Loads all groups and starts to serve them. Blocks on disk while it loads; must be called
    /// inside a tokio runtime.
    ///
    /// # Errors
    /// Stored groups that can't be read.
    pub fn start(
        config: GroupConfig,
        journal: Journal,
        topics: Arc<dyn TopicIds>,
        heavy: Heavy,
    ) -> Result<Arc<Self>, GroupStartError> {
        let config = Arc::new(config);
        let mut configs = Table::<GroupConfigKeyspace>::default();
        journal.replay(&mut [&mut configs])?;
        let configs = configs.into_records().map_err(JournalError::from)?;
        let configs = GroupConfigs::new(config.clone(), configs);
        let services = Arc::new(Services {
            budget: Budget::new(config.max_bytes),
            config,
            configs,
            clock: Clock::start(),
            journal,
            wakeups: Arc::default(),
            topics,
            patterns: Arc::default(),
            heavy,
            runtime: Handle::current(),
        });
        let loaded = load::load(&services)?;
        let groups = Registry::new(Arc::clone(&services), services.config.max_groups, loaded);
        for cell in groups.cells() {
            let _ = cell.lock().map(|mut group| group.queue_wakeup());
        }
        let weak = Arc::downgrade(&groups);
        let tasks = vec![
            tokio::spawn(wake(
                weak.clone(),
                Arc::clone(&services.wakeups),
                services.clock,
            )),
            tokio::spawn(every(
                sweep_interval(&services.config),
                weak,
                |groups| async move {
                    sweep::sweep(&groups, groups.services().clock.now().wall_ms);
                },
            )),
        ];
        Ok(Arc::new(Self { groups, tasks }))
    }

    /// Answers all that waits with `ShuttingDown`, and returns when all accepted changes are on
    /// disk. Requests that come later are refused.
    pub async fn shutdown(&self) {
        self.stop_tasks();
        self.groups.close(|group| group.close());
        self.groups.services().journal.barrier().await;
    }

    fn stop_tasks(&self) {
        for task in &self.tasks {
            task.abort();
        }
    }

    fn services(&self) -> &Arc<Services> {
        self.groups.services()
    }

    /// A member joins; answered when the rebalance has reached its generation.
    pub fn join(
        &self,
        group: &GroupId,
        request: JoinRequest,
    ) -> impl Future<Output = JoinAnswer> + Send + 'static + use<> {
        let (answer, answered) = answer();
        let member_id = request.member_id.clone();
        let begun = self.check_join(group, &request).and_then(|()| {
            let is_new = request.member_id.is_empty();
            let world = self.services().world(group);
            let join = |group: &mut LockedGroup<'_>| group.join(request, answer, &world);
            match is_new {
                true => with_new(&self.groups, group, join),
                false => self.groups.with(group, join).map_err(unknown_member),
            }
        });
        async move {
            let error = match begun {
                Err(error) => error,
                Ok(()) => match answered.received().await {
                    Some(answer) => return answer,
                    None => GroupError::ShuttingDown,
                },
            };
            JoinAnswer::refused(member_id, error)
        }
    }

    fn check_join(&self, group: &GroupId, request: &JoinRequest) -> Result<(), GroupError> {
        check_id(group)?;
        let config = &self.services().config;
        let allowed = config.min_session_timeout_ms..=config.max_session_timeout_ms;
        match allowed.contains(&request.info.session_timeout_ms) {
            true => Ok(()),
            false => Err(GroupError::InvalidSessionTimeout),
        }
    }

    /// A member asks for its assignment; answered when the leader has given one.
    pub fn sync(
        &self,
        group: &GroupId,
        request: SyncRequest,
    ) -> impl Future<Output = SyncAnswer> + Send + 'static + use<> {
        let (answer, answered) = answer();
        let begun = check_id(group).and_then(|()| {
            let world = self.services().world(group);
            let sync = |group: &mut LockedGroup<'_>| group.sync(request, answer, &world);
            self.groups.with(group, sync).map_err(unknown_member)
        });
        async move {
            begun?;
            answered.result().await
        }
    }

    /// A sign of life.
    ///
    /// # Errors
    /// What the member has to know: `RebalanceInProgress`, `UnknownMember`, `IllegalGeneration`, …
    pub fn heartbeat(&self, group: &GroupId, request: &HeartbeatRequest) -> Result<(), GroupError> {
        check_id(group)?;
        let beat = |group: &mut LockedGroup<'_>| group.heartbeat(request);
        self.groups.with(group, beat).map_err(unknown_member)
    }

    /// Members leave. One result for each, in order.
    ///
    /// Fails when none of them could be checked.
    pub fn leave(
        &self,
        group: &GroupId,
        leaving: &[Leaving],
    ) -> impl Future<Output = Result<Vec<Result<(), GroupError>>, GroupError>> + Send + 'static + use<>
    {
        let (answer, stored) = answer();
        let leave = |group: &mut LockedGroup<'_>| Ok(group.leave(leaving, answer));
        let begun = check_id(group).and_then(|()| self.groups.with(group, leave));
        let nobody = vec![Err(GroupError::UnknownMember); leaving.len()];
        async move {
            match once_stored(begun, stored).await {
                Err(GroupError::GroupNotFound) => Ok(nobody),
                other => other,
            }
        }
    }
}

/// Without [`Coordinator::shutdown`] accepted changes are still stored, and the journal's thread is
/// gone when this returns: nothing uses the metadata any more.
impl Drop for Coordinator {
    fn drop(&mut self) {
        self.stop_tasks();
        self.groups.services().journal.stop();
    }
}

/// Calls `f` with the group locked, which is made if it isn't there.
///
/// # Errors
/// `GroupFull` if there are too many groups, `ShuttingDown`; those of `f`.
fn with_new<R>(
    groups: &Groups,
    group: &GroupId,
    f: impl FnOnce(&mut LockedGroup<'_>) -> Result<R, GroupError>,
) -> Result<R, GroupError> {
    let new = || Ok(GroupContent::new(groups.services().empty_group()));
    groups.with_new(group, new, f)
}

/// Wakes groups whose deadline has passed, until the coordinator has ended.
async fn wake(groups: Weak<Groups>, wakeups: Arc<Wakeups>, clock: Clock) {
    loop {
        for group in wakeups.due(clock).await {
            let Some(groups) = groups.upgrade() else {
                return;
            };
            // One that is gone has no deadline.
            let _: Stored = groups.with(&group, |group| {
                group.wake();
                Ok(())
            });
        }
    }
}

fn sweep_interval(config: &GroupConfig) -> Duration {
    let interval_ms = config.offsets_retention_check_interval_ms;
    Duration::from_millis(u64::try_from(interval_ms).unwrap_or(0))
}

/// The value, once it holds.
async fn once_stored<T>(
    begun: Result<T, GroupError>,
    stored: Awaited<Stored>,
) -> Result<T, GroupError> {
    let value = begun?;
    stored.result().await?;
    Ok(value)
}

fn check_id(group: &GroupId) -> Result<(), GroupError> {
    if group.as_str().is_empty() {
        return Err(GroupError::InvalidGroupId);
    }
    Ok(())
}

/// The answer to a member of a group that doesn't exist: it has no members.
fn unknown_member(error: GroupError) -> GroupError {
    match error {
        GroupError::GroupNotFound => GroupError::UnknownMember,
        other => other,
    }
}
