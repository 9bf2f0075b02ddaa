//! Administrators' requests: ListGroups, DescribeGroups, DeleteGroups, OffsetDelete, and the effect
//! of a topic's deletion on groups.

use std::future::Future;
use std::sync::Arc;

use carrick_protocol::ids::{GroupId, TopicId, TopicName};

use super::{Coordinator, check_id, once_stored};
use crate::coordination::{Cell, answer};
use crate::group::classic::{DescribedMember, GroupState};
use crate::group::content::{Forgetting, GroupContent};
use crate::group::error::GroupError;

/// A group in a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListedGroup {
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
    pub state: GroupState,
    /// Its protocol type, empty for a group of offsets alone.
    pub protocol_type: String,
    /// The generation's protocol, while the group is stable; else empty.
    pub protocol: String,
    /// Who is in it.
    pub members: Vec<DescribedMember>,
}

impl Coordinator {
    pub fn list(&self) -> Vec<ListedGroup> {
        let cells = self.groups.cells();
        let listed = cells.iter().filter_map(|cell| {
            let group = cell.lock()?;
            Some(ListedGroup {
                group_id: cell.id().clone(),
                protocol_type: group.kind.protocol_type().to_owned(),
                state: group.kind.state_name(),
                group_type: group.kind.type_name(),
            })
        });
        listed.collect()
    }

    /// Whether there is a group of that id.
    pub fn exists(&self, group: &GroupId) -> bool {
        self.groups.has(group)
    }

    /// One group of the classic protocol.
    ///
    /// # Errors
    /// `GroupNotFound`, `NotClassicGroup`, `ShuttingDown`.
    pub fn describe(&self, group: &GroupId) -> Result<DescribedGroup, GroupError> {
        self.groups.with(group, |group| {
            let classic = group.kind.classic().ok_or(GroupError::NotClassicGroup)?;
            Ok(DescribedGroup {
                state: classic.state(),
                protocol_type: group.kind.protocol_type().to_owned(),
                protocol: classic.described_protocol().unwrap_or_default().to_owned(),
                members: classic.describe_members(),
            })
        })
    }

    /// Deletes a group without members, with its offsets; answered when that is durable.
    pub fn delete(
        &self,
        group: &GroupId,
    ) -> impl Future<Output = Result<(), GroupError>> + Send + 'static + use<> {
        let (answer, stored) = answer();
        let begun = self.groups.remove(group, |group| {
            group.kind.check_delete()?;
            group.delete(Some(answer)).map(|()| true)
        });
        async move { once_stored(begun, stored).await.map(drop) }
    }

    /// Deletes committed offsets; answered when that is durable. One result for each topic, in
    /// order: `SubscribedToTopic` where members read it.
    ///
    /// Fails as a whole with `GroupNotFound`, and with `NonEmptyGroup` if members of a protocol
    /// other than `consumer` are active.
    pub fn delete_offsets(
        &self,
        group: &GroupId,
        topics: Vec<(TopicName, Vec<i32>)>,
    ) -> impl Future<Output = Result<Vec<Result<(), GroupError>>, GroupError>> + Send + 'static + use<>
    {
        let (answer, stored) = answer();
        let begun = check_id(group).and_then(|()| {
            self.groups.with(group, |group| {
                group.kind.check_offset_delete()?;
                let (mut results, mut forgotten) = (Vec::new(), Vec::new());
                for (topic, partitions) in topics {
                    if group.kind.is_subscribed(topic.as_str()) {
                        results.push(Err(GroupError::SubscribedToTopic));
                        continue;
                    }
                    results.push(Ok(()));
                    let with_topic = |partition| (topic.clone(), partition);
                    forgotten.extend(partitions.into_iter().map(with_topic));
                }
                group.forget(forgotten, Some(answer))?;
                Ok(results)
            })
        });
        once_stored(begun, stored)
    }

    /// The topic with that id is deleted: its offsets are removed. Must be called after the topic
    /// has left the catalog; answered when the offsets are removed. If the broker dies in between,
    /// they are removed when it starts again.
    pub fn topic_deleted(
        &self,
        topic: &TopicName,
        topic_id: TopicId,
    ) -> impl Future<Output = Result<(), GroupError>> + Send + 'static + use<> {
        let topic = topic.clone();
        let mut begun = Vec::new();
        for cell in self.groups.cells() {
            match forget_topic(&cell, &topic, topic_id) {
                Ok(Forgetting::Done) => {}
                step => begun.push((cell, step)),
            }
        }
        async move {
            for (cell, mut step) in begun {
                for _ in 0..FORGET_TRIES {
                    step = match step? {
                        Forgetting::Done => break,
                        Forgetting::UnderWay(stored) => {
                            stored.result().await?;
                            break;
                        }
                        Forgetting::Behind(stored) => {
                            stored.result().await?;
                            forget_topic(&cell, &topic, topic_id)
                        }
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

/// Begins to forget what a group has committed of the topic with that id. A group that is gone has
/// committed nothing.
///
/// # Errors
/// `NotStored`: nothing happens.
fn forget_topic(
    cell: &Arc<Cell<GroupContent>>,
    topic: &TopicName,
    topic_id: TopicId,
) -> Result<Forgetting, GroupError> {
    match cell.lock() {
        Some(mut group) => group.forget_topic(topic, topic_id),
        None => Ok(Forgetting::Done),
    }
}
