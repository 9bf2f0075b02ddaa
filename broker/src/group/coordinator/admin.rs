//! What administrators ask for: ListGroups, DescribeGroups, DeleteGroups, OffsetDelete, and what
//! the deletion of a topic means for groups.

use std::collections::BTreeSet;
use std::future::Future;
use std::sync::Arc;

use carrick_protocol::ids::{GroupId, TopicId, TopicName};
use tokio::sync::oneshot;

use super::{Coordinator, check_id};
use crate::group::cell::{Cell, CellState, Outcome, Then, delete_consumer};
use crate::group::classic::{DescribedMember, GroupState};
use crate::group::error::GroupError;
use crate::journal::Entry;
use crate::records::group::Groups;
use crate::records::group_offset::{GroupOffsetKey, GroupOffsets};
use crate::records::pending_offset::{PendingOffsetKey, PendingOffsets};

/// A group in a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListedGroup {
    /// Its id.
    pub group_id: GroupId,
    /// Its protocol type, empty for a group of offsets alone.
    pub protocol_type: String,
    /// Kafka's name of its state.
    pub state: &'static str,
    /// Kafka's name of its kind.
    pub group_type: &'static str,
}

/// A group and its members.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DescribedGroup {
    /// Its state.
    pub state: GroupState,
    /// Its protocol type, empty for a group of offsets alone.
    pub protocol_type: String,
    /// The generation's protocol, while the group is stable; else empty.
    pub protocol: String,
    /// Who is in it.
    pub members: Vec<DescribedMember>,
}

impl Coordinator {
    /// All groups.
    pub fn list(&self) -> Vec<ListedGroup> {
        let cells = self.inner.cells().into_iter();
        let listed = cells.filter_map(|cell| {
            let state = cell.state.lock();
            let group = ListedGroup {
                group_id: cell.id.clone(),
                protocol_type: state.kind.protocol_type().to_owned(),
                state: state.kind.state_name(),
                group_type: state.kind.type_name(),
            };
            (!state.is_dead()).then_some(group)
        });
        listed.collect()
    }

    /// Whether there is a group of that id.
    pub fn exists(&self, group: &GroupId) -> bool {
        self.inner.groups.read().contains_key(group)
    }

    /// One group of the classic protocol.
    ///
    /// # Errors
    /// `GroupNotFound`, `NotClassicGroup`, `ShuttingDown`.
    pub fn describe(&self, group: &GroupId) -> Result<DescribedGroup, GroupError> {
        self.inner.with(group, |_, state| {
            let classic = state.kind.classic().ok_or(GroupError::NotClassicGroup)?;
            Ok(DescribedGroup {
                state: classic.state(),
                protocol_type: state.kind.protocol_type().to_owned(),
                protocol: classic.described_protocol().unwrap_or_default().to_owned(),
                members: classic.describe_members(),
            })
        })?
    }

    /// Deletes a group without members, with its offsets; answered when that is durable.
    pub fn delete(
        &self,
        group: &GroupId,
    ) -> impl Future<Output = Result<(), GroupError>> + Send + 'static + use<> {
        let (outcome, stored) = oneshot::channel();
        let begun = self.inner.remove(group, |cell, state| {
            state.kind.check_delete()?;
            let then = Then::Deleted(Some(outcome));
            let change = removal(&cell.id);
            state
                .submit(&self.inner, change, then)
                .map_err(|_| GroupError::NotStored)
        });
        async move {
            begun?;
            stored.await.unwrap_or(Err(GroupError::ShuttingDown))
        }
    }

    /// Deletes committed offsets; answered when that is durable. One result for each topic, in
    /// order: `SubscribedToTopic` where members read it.
    ///
    /// Fails as a whole with `GroupNotFound`, and with `NonEmptyGroup` where members of a protocol
    /// other than `consumer` are at work.
    pub fn delete_offsets(
        &self,
        group: &GroupId,
        topics: Vec<(TopicName, Vec<i32>)>,
    ) -> impl Future<Output = Result<Vec<Result<(), GroupError>>, GroupError>> + Send + 'static + use<>
    {
        let (outcome, stored) = oneshot::channel();
        let begun = check_id(group).and_then(|()| {
            let begin = |cell: &Arc<Cell>, state: &mut CellState| {
                state.kind.check_offset_delete()?;
                let (mut results, mut forgotten) = (Vec::new(), Vec::new());
                for (topic, partitions) in topics {
                    if state.kind.is_subscribed(topic.as_str()) {
                        results.push(Err(GroupError::SubscribedToTopic));
                        continue;
                    }
                    results.push(Ok(()));
                    let with_topic = |partition| (topic.clone(), partition);
                    forgotten.extend(partitions.into_iter().map(with_topic));
                }
                self.inner.forget(cell, state, forgotten, Some(outcome))?;
                Ok(results)
            };
            self.inner.with(group, begin)?
        });
        async move {
            let results = begun?;
            stored.await.unwrap_or(Err(GroupError::ShuttingDown))?;
            Ok(results)
        }
    }

    /// The topic with that id is deleted: its offsets go. To be called after the topic is out of
    /// the catalog; answered when the offsets are gone. Should the broker die in between, they go
    /// when it starts again.
    pub fn topic_deleted(
        &self,
        topic: &TopicName,
        topic_id: TopicId,
    ) -> impl Future<Output = Result<(), GroupError>> + Send + 'static + use<> {
        let (inner, topic) = (Arc::clone(&self.inner), topic.clone());
        let mut begun = Vec::new();
        for cell in inner.cells() {
            match inner.forget_topic(&cell, &topic, topic_id) {
                Ok(Forgetting::Done) => {}
                step => begun.push((cell, step)),
            }
        }
        async move {
            for (cell, mut step) in begun {
                for _ in 0..FORGET_TRIES {
                    let (is_last, outcome) = match step? {
                        Forgetting::Done => break,
                        Forgetting::UnderWay(outcome) => (true, outcome),
                        Forgetting::Behind(outcome) => (false, outcome),
                    };
                    outcome.await.unwrap_or(Err(GroupError::ShuttingDown))?;
                    step = match is_last {
                        true => Ok(Forgetting::Done),
                        false => inner.forget_topic(&cell, &topic, topic_id),
                    };
                }
            }
            Ok(())
        }
    }
}

/// How often a group that commits all the time is checked when a topic is deleted; after that its
/// offsets are left to the sweep. Clients do not see them meanwhile.
const FORGET_TRIES: usize = 20;

/// How far a group is with forgetting a topic.
enum Forgetting {
    /// It has no offset of it.
    Done,
    /// The removal is on its way.
    UnderWay(oneshot::Receiver<Result<(), GroupError>>),
    /// Other changes are on their way, maybe offsets of a topic that was made under that name since:
    /// to be tried again after them.
    Behind(oneshot::Receiver<Result<(), GroupError>>),
}

impl super::Inner {
    /// Begins to forget what a group has committed of the topic with that id.
    ///
    /// # Errors
    /// `NotStored`: nothing happens.
    fn forget_topic(
        &self,
        cell: &Arc<Cell>,
        topic: &TopicName,
        topic_id: TopicId,
    ) -> Result<Forgetting, GroupError> {
        let mut state = cell.state.lock();
        if state.is_dead() {
            return Ok(Forgetting::Done);
        }
        let (outcome, outcome_of_cell) = oneshot::channel();
        if state.changes_in_flight > 0 {
            self.forget(cell, &mut state, Vec::new(), Some(outcome))?;
            return Ok(Forgetting::Behind(outcome_of_cell));
        }
        let of_topic = state
            .offsets
            .topic(topic)
            .chain(state.pending.topic(topic))
            .filter(|(_, offset)| offset.is_of(topic_id));
        let partitions: BTreeSet<i32> = of_topic.map(|(partition, _)| partition).collect();
        if partitions.is_empty() {
            return Ok(Forgetting::Done);
        }
        let with_topic = |partition| (topic.clone(), partition);
        let forgotten = partitions.into_iter().map(with_topic).collect();
        self.forget(cell, &mut state, forgotten, Some(outcome))?;
        Ok(Forgetting::UnderWay(outcome_of_cell))
    }

    /// Hands the removal of offsets to the store.
    ///
    /// # Errors
    /// `NotStored`: nothing happens.
    pub fn forget(
        &self,
        cell: &Arc<Cell>,
        state: &mut CellState,
        forgotten: Vec<(TopicName, i32)>,
        outcome: Option<Outcome>,
    ) -> Result<(), GroupError> {
        let mut batch = Entry::new();
        for (topic, partition) in &forgotten {
            batch.delete::<GroupOffsets>(&GroupOffsetKey {
                group: cell.id.clone(),
                topic: topic.clone(),
                partition: *partition,
            });
            for producer_id in state.pending.producers(topic.as_str(), *partition) {
                batch.delete::<PendingOffsets>(&PendingOffsetKey {
                    group: cell.id.clone(),
                    producer_id,
                    topic: topic.clone(),
                    partition: *partition,
                });
            }
        }
        let then = Then::Forgotten(cell.clone(), forgotten, outcome);
        state
            .submit(self, batch, then)
            .map_err(|_| GroupError::NotStored)
    }
}

/// The change that removes all that is stored of a group.
pub(in crate::group) fn removal(group: &GroupId) -> Entry {
    let mut batch = Entry::new();
    batch.delete::<Groups>(group);
    delete_consumer(&mut batch, group);
    batch.delete_prefix::<GroupOffsets>(&GroupOffsets::group_prefix(group));
    batch.delete_prefix::<PendingOffsets>(&PendingOffsets::group_prefix(group));
    batch
}
