//! [`GroupOffsets`] on the group coordinator; what links keep of their syncs, in RocksDB.

use std::sync::Arc;

use carrick_link::groups::{GroupCommit, GroupCommitted, GroupOffset, GroupSync};
use carrick_link::ports::{GroupOffsets, GroupRefusal, StoreError};
use carrick_link::record::LinkName;
use carrick_protocol::ids::{LeaderEpoch, TopicPartition};
use carrick_storage::meta::{MetaError, MetaStore};

use crate::group::coordinator::{NewOffset, SyncedCommit};
use crate::group::{Coordinator, GroupError};
use crate::records::group_sync::GroupSyncKeyspace;
use crate::topic::Catalog;

/// The groups of this broker as links see them.
pub struct Groups {
    meta: Arc<MetaStore>,
    topics: Arc<Catalog>,
    coordinator: Arc<Coordinator>,
}

impl Groups {
    /// On the groups of `coordinator` and the mirrors among `topics`.
    pub fn new(meta: Arc<MetaStore>, topics: Arc<Catalog>, coordinator: Arc<Coordinator>) -> Self {
        Groups {
            meta,
            topics,
            coordinator,
        }
    }

    /// Hands one group's offsets to the coordinator.
    fn begin(&self, commit: &GroupCommit) -> Result<(SyncedCommit, GroupCommitted), GroupError> {
        let mut committed = GroupCommitted::default();
        // A group is not made for nothing.
        if self.of_mirrors(commit, &mut committed.left_out).is_empty() {
            let nothing = SyncedCommit {
                written: 0,
                stored: None,
            };
            return Ok((nothing, committed));
        }
        let left_out = &mut committed.left_out;
        let offsets = || self.of_mirrors(commit, left_out);
        let begun = self
            .coordinator
            .begin_synced_commit(&commit.group, offsets)?;
        committed.written = begun.written;
        Ok((begun, committed))
    }

    /// The offsets whose topics are mirrors at this moment.
    fn of_mirrors(
        &self,
        commit: &GroupCommit,
        left_out: &mut Vec<TopicPartition>,
    ) -> Vec<NewOffset> {
        left_out.clear();
        let offsets = commit.offsets.iter().filter_map(|new| {
            let taken = self.of_mirror(new);
            if taken.is_none() {
                left_out.push(new.partition.clone());
            }
            taken
        });
        offsets.collect()
    }

    fn of_mirror(&self, new: &GroupOffset) -> Option<NewOffset> {
        let TopicPartition { topic, partition } = &new.partition;
        let found = self.topics.topic(topic).filter(|topic| topic.is_mirror())?;
        let told = found.partition(*partition)?.leader_epoch();
        Some(NewOffset {
            topic: topic.clone(),
            topic_id: found.id(),
            partition: *partition,
            offset: new.offset,
            leader_epoch: match new.leader_epoch > told {
                true => LeaderEpoch::NONE,
                false => new.leader_epoch,
            },
            metadata: new.metadata.clone(),
        })
    }
}

impl GroupOffsets for Groups {
    fn commit(&self, commits: &[GroupCommit]) -> Vec<Result<GroupCommitted, GroupRefusal>> {
        // All are on their way before the first is waited for: the disk is waited for once.
        let begun: Vec<_> = commits.iter().map(|commit| self.begin(commit)).collect();
        let ended = begun.into_iter().map(|begun| {
            let (commit, committed) = begun?;
            if let Some(stored) = commit.stored {
                stored
                    .blocking_recv()
                    .unwrap_or(Err(GroupError::ShuttingDown))?;
            }
            Ok(committed)
        });
        ended.map(|ended| ended.map_err(refused)).collect()
    }

    fn load_syncs(&self, link: &LinkName) -> Result<Vec<GroupSync>, StoreError> {
        let prefix = GroupSyncKeyspace::link_prefix(link);
        let syncs = self.meta.scan_prefix::<GroupSyncKeyspace>(&prefix);
        let syncs = syncs.map_err(failed)?.into_iter();
        Ok(syncs.map(|(_, sync)| sync).collect())
    }

    fn save_syncs(
        &self,
        link: &LinkName,
        syncs: &[GroupSync],
        gone: &[String],
    ) -> Result<(), StoreError> {
        let mut batch = self.meta.batch();
        for group in gone {
            batch.delete::<GroupSyncKeyspace>(&(link.clone(), group.clone()));
        }
        for sync in syncs {
            let key = (link.clone(), sync.source_group.clone());
            batch.put::<GroupSyncKeyspace>(&key, sync);
        }
        self.meta.commit(batch).map_err(failed)
    }
}

fn failed(error: MetaError) -> StoreError {
    StoreError(error.to_string())
}

/// The coordinator's refusal in the link's words.
fn refused(error: GroupError) -> GroupRefusal {
    let words = error.to_string();
    match error {
        GroupError::NonEmptyGroup => GroupRefusal::InUse(
            "it has members, or a transaction is about to commit offsets of it".to_owned(),
        ),
        GroupError::InvalidGroupId
        | GroupError::GroupFull
        | GroupError::MetadataTooLarge
        | GroupError::CommitTooLarge => GroupRefusal::Limit(words),
        _ => GroupRefusal::Storage(words),
    }
}
