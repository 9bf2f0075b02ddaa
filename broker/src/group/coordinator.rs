//! All groups of this broker (`GroupCoordinatorService` in Kafka 4.3): finds or makes the group of
//! a request, lets its state machine decide under its lock, answers.
//!
//! Every method does its ordered part before it returns; a future that it returns only waits for
//! the answer. The exception is a heartbeat with a regular expression that nobody knows yet: that is
//! checked first, elsewhere.
//!
//! Members are in this file, offsets in [`offsets`], what administrators do in [`admin`].

mod admin;
mod consumer;
mod offload;
mod offsets;
mod synced;
mod transactional;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};

use carrick_protocol::ids::GroupId;
use parking_lot::RwLock;
use tokio::runtime::Handle;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

pub(super) use self::admin::removal;
pub use self::admin::{DescribedGroup, ListedGroup};
pub(super) use self::consumer::World;
use self::consumer::{once_stored, reply_to};
pub use self::offsets::{CommitRequest, NewOffset};
pub use self::synced::{Present, SyncedCommit};
pub use self::transactional::PendingCommit;
use super::cell::{CELL_BYTES, Cell, CellState, Reply};
use super::classic::{
    ClassicGroup, Event, HeartbeatRequest, JoinAnswer, JoinRequest, Leaving, SyncAnswer,
    SyncRequest,
};
use super::clock::Clock;
use super::error::GroupError;
use super::ids::MemberId;
use super::kind::Kind;
use super::overrides::GroupConfigs;
use super::topic_patterns::TopicPatterns;
use super::topics::TopicIds;
use super::wake::{self, Wakeups};
use super::{load, sweep};
use crate::budget::Budget;
use crate::group::config::GroupConfig;
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
    inner: Arc<Inner>,
    tasks: Vec<JoinHandle<()>>,
}

/// What the coordinator's tasks and the journal's thread share.
pub(super) struct Inner {
    pub config: Arc<GroupConfig>,
    pub clock: Clock,
    pub journal: Journal,
    /// Itself, for what goes on when a change is durable.
    pub me: Weak<Inner>,
    pub wakeups: Arc<Wakeups>,
    pub topics: Arc<dyn TopicIds>,
    pub budget: Budget,
    pub configs: GroupConfigs,
    /// Regular expressions that groups subscribe with.
    pub patterns: Arc<TopicPatterns>,
    /// Where what takes long is done.
    pub heavy: Heavy,
    pub runtime: Handle,
    groups: RwLock<BTreeMap<GroupId, Arc<Cell>>>,
    stopped: AtomicBool,
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
        let inner = Arc::new_cyclic(|me| Inner {
            budget: Budget::new(config.max_bytes),
            config,
            configs,
            clock: Clock::start(),
            journal,
            me: me.clone(),
            wakeups: Arc::default(),
            topics,
            patterns: Arc::default(),
            heavy,
            runtime: Handle::current(),
            groups: RwLock::default(),
            stopped: AtomicBool::new(false),
        });
        *inner.groups.write() = load::load(&inner)?;
        let weak = Arc::downgrade(&inner);
        let tasks = vec![
            tokio::spawn(wake::run(weak.clone(), inner.wakeups.clone())),
            tokio::spawn(sweep::run(weak)),
        ];
        Ok(Arc::new(Self { inner, tasks }))
    }

    /// Answers all that waits with `ShuttingDown`, and returns when all accepted changes are on
    /// disk. Requests that come later are refused.
    pub async fn shutdown(&self) {
        self.inner.stopped.store(true, Ordering::Release);
        for task in &self.tasks {
            task.abort();
        }
        for cell in self.inner.cells() {
            let mut state = cell.state.lock();
            let effects = state.kind.close(self.inner.clock.now());
            state.perform(&self.inner, &cell, effects);
        }
        self.inner.journal.barrier().await;
    }

    /// A member joins; answered when the rebalance has come to its generation.
    pub fn join(
        &self,
        group: &GroupId,
        request: JoinRequest,
    ) -> impl Future<Output = JoinAnswer> + Send + 'static + use<> {
        let (answer, answered) = oneshot::channel();
        let member_id = request.member_id.clone();
        let refused = self.begin_join(group, request, answer).err();
        async move {
            let error = match refused {
                Some(error) => error,
                None => match answered.await {
                    Ok(answer) => return answer,
                    Err(_) => GroupError::ShuttingDown,
                },
            };
            JoinAnswer::refused(member_id, error)
        }
    }

    fn begin_join(
        &self,
        group: &GroupId,
        request: JoinRequest,
        answer: oneshot::Sender<JoinAnswer>,
    ) -> Result<(), GroupError> {
        check_id(group)?;
        let config = &self.inner.config;
        let allowed = config.min_session_timeout_ms..=config.max_session_timeout_ms;
        if !allowed.contains(&request.info.session_timeout_ms) {
            return Err(GroupError::InvalidSessionTimeout);
        }
        let is_new = request.member_id.is_empty();
        let host = Arc::clone(&request.info.client_host);
        let world = self.inner.world(group);
        let begin = |cell: &Arc<Cell>, state: &mut CellState| {
            state.make_room_for_classic(&self.inner);
            let growth_bytes = state.kind.join_growth_bytes(&request);
            if !self.inner.budget.has_room(growth_bytes) {
                return Err(GroupError::GroupFull);
            }
            if let Some(consumer) = state.kind.consumer_mut() {
                let joined = consumer.classic_join(request, &world.env());
                state.store_changes(&self.inner, cell, reply_to_join(joined, answer));
                if let Some(consumer) = state.kind.consumer_mut() {
                    self.inner.offload(cell, consumer, &world, &host);
                }
            } else {
                let ticket = state.park_join(answer);
                state.apply(&self.inner, cell, Event::Join(request, ticket));
            }
            Ok(())
        };
        if is_new {
            self.inner.with_new(group, begin)?
        } else {
            self.inner.with(group, begin).map_err(unknown_member)?
        }
    }

    /// A member asks for its assignment; answered when the leader has given one.
    pub fn sync(
        &self,
        group: &GroupId,
        request: SyncRequest,
    ) -> impl Future<Output = SyncAnswer> + Send + 'static + use<> {
        let (answer, answered) = oneshot::channel();
        let begun = check_id(group).and_then(|()| {
            let world = self.inner.world(group);
            let begin = |cell: &Arc<Cell>, state: &mut CellState| {
                if let Some(consumer) = state.kind.consumer_mut() {
                    let synced = consumer.classic_sync(&request, &world.env());
                    let reply = move |stored: Result<(), GroupError>| {
                        let _ = answer.send(stored.and(synced));
                    };
                    state.store_changes(&self.inner, cell, Box::new(reply));
                    return Ok(());
                }
                let classic = state.kind.classic();
                let growth_bytes =
                    classic.map_or(0, |classic| classic.sync_growth_bytes(&request.assignments));
                if !self.inner.budget.has_room(growth_bytes) {
                    return Err(GroupError::RecordTooLarge);
                }
                let ticket = state.park_sync(answer);
                state.apply(&self.inner, cell, Event::Sync(request, ticket));
                Ok(())
            };
            self.inner.with(group, begin).map_err(unknown_member)?
        });
        async move {
            begun?;
            answered.await.unwrap_or(Err(GroupError::ShuttingDown))
        }
    }

    /// A sign of life.
    ///
    /// # Errors
    /// What the member has to know: `RebalanceInProgress`, `UnknownMember`, `IllegalGeneration`, …
    pub fn heartbeat(&self, group: &GroupId, request: &HeartbeatRequest) -> Result<(), GroupError> {
        check_id(group)?;
        let beat = |cell: &Arc<Cell>, state: &mut CellState| {
            let result = match &mut state.kind {
                Kind::Classic(classic) => classic.heartbeat(request, self.inner.clock.now()),
                Kind::Consumer(consumer) => {
                    let world = self.inner.world(group);
                    consumer.classic_heartbeat(request, &world.env())
                }
            };
            state.queue_wakeup(&self.inner, cell);
            result
        };
        self.inner.with(group, beat).map_err(unknown_member)?
    }

    /// Members leave. One result for each, in order.
    ///
    /// Fails when none of them could be looked at.
    pub fn leave(
        &self,
        group: &GroupId,
        leaving: &[Leaving],
    ) -> impl Future<Output = Result<Vec<Result<(), GroupError>>, GroupError>> + Send + 'static + use<>
    {
        let (outcome, stored) = oneshot::channel();
        let leave = |cell: &Arc<Cell>, state: &mut CellState| match &mut state.kind {
            Kind::Classic(classic) => {
                let (results, effects) = classic.leave(leaving, self.inner.clock.now());
                state.perform(&self.inner, cell, effects);
                reply_to(outcome)(Ok(()));
                results
            }
            Kind::Consumer(consumer) => {
                let world = self.inner.world(group);
                let results = consumer.classic_leave(leaving, &world.env());
                state.store_changes(&self.inner, cell, reply_to(outcome));
                results
            }
        };
        let begun = check_id(group).and_then(|()| self.inner.with(group, leave));
        let nobody = vec![Err(GroupError::UnknownMember); leaving.len()];
        async move {
            match once_stored(begun, stored).await {
                Err(GroupError::GroupNotFound) => Ok(nobody),
                other => other,
            }
        }
    }
}

/// A refusal by a consumer group names no member, as Kafka's does.
fn reply_to_join(
    joined: Result<JoinAnswer, GroupError>,
    answer: oneshot::Sender<JoinAnswer>,
) -> Reply {
    Box::new(move |stored| {
        let joined = stored.and(joined);
        let nobody = MemberId::default();
        let told = joined.unwrap_or_else(|error| JoinAnswer::refused(nobody, error));
        // Who no longer waits has closed its connection.
        drop(answer.send(told));
    })
}

/// Without [`Coordinator::shutdown`] accepted changes are still stored, and the store's thread is
/// gone when this returns: nothing uses the metadata any more.
impl Drop for Coordinator {
    fn drop(&mut self) {
        for task in &self.tasks {
            task.abort();
        }
        self.inner.journal.stop();
    }
}

impl Inner {
    /// Lets `f` at the group.
    ///
    /// # Errors
    /// `GroupNotFound`, `ShuttingDown`.
    pub fn with<R>(
        &self,
        group: &GroupId,
        f: impl FnOnce(&Arc<Cell>, &mut CellState) -> R,
    ) -> Result<R, GroupError> {
        loop {
            let found = self.groups.read().get(group).cloned();
            let cell = found.ok_or(GroupError::GroupNotFound)?;
            let mut state = cell.state.lock();
            if !state.is_dead() {
                return Ok(f(&cell, &mut state));
            }
            // Removed from the index between the two locks: what is there now?
            self.check_running()?;
        }
    }

    /// Lets `f` at the group, which is made if it isn't there.
    ///
    /// # Errors
    /// `GroupFull` if there are too many groups, `ShuttingDown`.
    pub fn with_new<R>(
        &self,
        group: &GroupId,
        f: impl FnOnce(&Arc<Cell>, &mut CellState) -> R,
    ) -> Result<R, GroupError> {
        loop {
            self.check_running()?;
            let found = self.groups.read().get(group).cloned();
            let cell = match found {
                Some(cell) => cell,
                None => self.make(group)?,
            };
            let mut state = cell.state.lock();
            if !state.is_dead() {
                return Ok(f(&cell, &mut state));
            }
        }
    }

    fn make(&self, group: &GroupId) -> Result<Arc<Cell>, GroupError> {
        let mut groups = self.groups.write();
        if let Some(cell) = groups.get(group) {
            return Ok(cell.clone());
        }
        let bytes = CELL_BYTES + group.as_str().len();
        if groups.len() >= self.config.max_groups || !self.budget.has_room(bytes) {
            return Err(GroupError::GroupFull);
        }
        let classic = ClassicGroup::new(self.config.clone(), self.clock.now());
        let cell = Cell::new(group.clone(), classic);
        cell.state.lock().settle(self, &cell);
        groups.insert(group.clone(), cell.clone());
        Ok(cell)
    }

    /// Takes the group out of the index and turns it dead if `change` hands its removal to the
    /// store. Both locks are held, so that nobody sees one without the other.
    ///
    /// # Errors
    /// What `change` says, or `GroupNotFound`.
    pub fn remove(
        &self,
        group: &GroupId,
        change: impl FnOnce(&Arc<Cell>, &mut CellState) -> Result<(), GroupError>,
    ) -> Result<(), GroupError> {
        self.check_running()?;
        let mut groups = self.groups.write();
        let cell = groups
            .get(group)
            .cloned()
            .ok_or(GroupError::GroupNotFound)?;
        let mut state = cell.state.lock();
        change(&cell, &mut state)?;
        let effects = state.kind.close(self.clock.now());
        state.perform(self, &cell, effects);
        groups.remove(group);
        Ok(())
    }

    /// All groups, by id.
    pub fn cells(&self) -> Vec<Arc<Cell>> {
        self.groups.read().values().cloned().collect()
    }

    /// Wakes a group whose deadline has come.
    pub fn wake(&self, cell: &Arc<Cell>) {
        cell.state.lock().wake(self, cell);
    }

    fn check_running(&self) -> Result<(), GroupError> {
        if self.stopped.load(Ordering::Acquire) {
            return Err(GroupError::ShuttingDown);
        }
        Ok(())
    }
}

fn check_id(group: &GroupId) -> Result<(), GroupError> {
    if group.as_str().is_empty() {
        return Err(GroupError::InvalidGroupId);
    }
    Ok(())
}

/// A group that isn't there has no members: what a member's request is told.
fn unknown_member(error: GroupError) -> GroupError {
    match error {
        GroupError::GroupNotFound => GroupError::UnknownMember,
        other => other,
    }
}
