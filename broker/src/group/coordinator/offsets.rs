//! Offsets: OffsetCommit, OffsetFetch (`OffsetMetadataManager`), and what a link copies from
//! another cluster.

use std::future::Future;

use carrick_protocol::ids::{GroupId, TopicId, TopicName};

use super::{Coordinator, check_id, with_new};
use crate::group::commit::{CommitRequest, NewOffset, SyncedCommit};
use crate::group::content::{LockedGroup, Present};
use crate::group::error::GroupError;
use crate::group::offsets::{CommittedOffset, FetchedOffset};
use crate::records::member_ids::MemberId;

impl Coordinator {
    /// Commits offsets; answered when they are durable. One result for each offset, in order.
    ///
    /// Fails as a whole with `UnknownMember`, `IllegalGeneration`, … when the group does not take
    /// the commit, and with `NotStored` when the disk doesn't.
    pub fn commit(
        &self,
        group: &GroupId,
        request: CommitRequest,
    ) -> impl Future<Output = Result<Vec<Result<(), GroupError>>, GroupError>> + Send + 'static + use<>
    {
        let knows_not_found = request.knows_group_not_found;
        let has_generation = request.fence.generation >= 0;
        let commit = |group: &mut LockedGroup<'_>| group.commit(request);
        // A consumer that assigns itself makes a group of offsets alone with its first commit.
        let taken = match has_generation {
            true => self.groups.with(group, commit),
            false => with_new(&self.groups, group, commit),
        };
        let taken = taken.map_err(|error| match error {
            GroupError::GroupNotFound if !knows_not_found => GroupError::IllegalGeneration,
            other => other,
        });
        async move { taken?.durable().await }
    }

    /// Gives the group offsets of another cluster, all or none. A group with members, or with a
    /// transaction that is about to commit, owns its offsets: it is refused. `offsets` is called
    /// under the lock under which members join and commit.
    ///
    /// # Errors
    /// `NonEmptyGroup` while it is in use; `InvalidGroupId`, `GroupFull`, `MetadataTooLarge`,
    /// `CommitTooLarge`, `NotStored`, `ShuttingDown`.
    pub fn begin_synced_commit(
        &self,
        group: &GroupId,
        offsets: impl FnOnce(&Present<'_>) -> Vec<NewOffset>,
    ) -> Result<SyncedCommit, GroupError> {
        check_id(group)?;
        with_new(&self.groups, group, |group| group.commit_synced(offsets))
    }

    /// The committed offsets of some partitions, in the requested order: per topic, per partition,
    /// `Nothing` if there is no offset, no such group, or no such topic any more. With
    /// `require_stable`, `Unstable` if a transaction is about to commit one.
    ///
    /// # Errors
    /// `ShuttingDown`.
    pub fn fetch_some(
        &self,
        group: &GroupId,
        wanted: &[(&str, &[i32])],
        require_stable: bool,
    ) -> Result<Vec<Vec<FetchedOffset>>, GroupError> {
        let fetch = |group: &mut LockedGroup<'_>| {
            let topics = wanted.iter().map(|(topic, partitions)| {
                let offset = |partition: &i32| group.fetch(topic, *partition, require_stable);
                partitions.iter().map(offset).collect()
            });
            Ok(topics.collect())
        };
        let mut fetched: Vec<Vec<FetchedOffset>> = match self.groups.with(group, fetch) {
            Ok(fetched) => fetched,
            Err(GroupError::GroupNotFound) => wanted
                .iter()
                .map(|(_, partitions)| vec![FetchedOffset::Nothing; partitions.len()])
                .collect(),
            Err(error) => return Err(error),
        };
        for ((topic, _), offsets) in wanted.iter().zip(&mut fetched) {
            let id = self.services().topics.topic_id(topic);
            for offset in offsets {
                if is_of_another(offset, id) {
                    *offset = FetchedOffset::Nothing;
                }
            }
        }
        Ok(fetched)
    }

    /// Whether a member may see the group's offsets; a request that names no member always may.
    ///
    /// # Errors
    /// `UnknownMember`, `StaleMemberEpoch`, `IllegalGeneration`, `ShuttingDown`.
    pub fn fence_fetch(
        &self,
        group: &GroupId,
        member: Option<&MemberId>,
        epoch: i32,
    ) -> Result<(), GroupError> {
        let fence = |group: &mut LockedGroup<'_>| group.kind.fence_fetch(member, epoch);
        match self.groups.with(group, fence) {
            Err(GroupError::GroupNotFound) => Ok(()),
            other => other,
        }
    }

    /// The partitions with committed offsets, by topic; none if there is no such group. Some may
    /// belong to deleted topics: [`Self::fetch_some`] shows that.
    ///
    /// # Errors
    /// `ShuttingDown`.
    pub fn committed(&self, group: &GroupId) -> Result<Vec<(TopicName, Vec<i32>)>, GroupError> {
        let list = |group: &mut LockedGroup<'_>| {
            let topics = group.offsets.topics();
            let numbers = topics.map(|(topic, partitions)| {
                let numbers = partitions.keys().copied().collect();
                (topic.clone(), numbers)
            });
            Ok(numbers.collect())
        };
        match self.groups.with(group, list) {
            Err(GroupError::GroupNotFound) => Ok(Vec::new()),
            other => other,
        }
    }
}

/// Whether it was committed for a topic that is not the one with that id.
fn is_of_another(offset: &FetchedOffset, topic_id: Option<TopicId>) -> bool {
    let is_of = |offset: &CommittedOffset| topic_id.is_some_and(|id| offset.is_of(id));
    offset.committed().is_some_and(|offset| !is_of(offset))
}
