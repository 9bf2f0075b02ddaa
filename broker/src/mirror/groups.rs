//! [`GroupOffsets`] on the group coordinator; what links store about their syncs, in RocksDB.

use std::sync::Arc;

use carrick_link::groups::{AfterCut, GroupCommit, GroupCommitted, GroupOffset, GroupSync};
use carrick_link::ports::{GroupOffsets, GroupRefusal, StoreError};
use carrick_link::record::LinkName;
use carrick_protocol::ids::{LeaderEpoch, TopicPartition};

use crate::group::{Coordinator, GroupError, NewOffset, Present, SyncedCommit};
use crate::metadata::{Metadata, MetadataError, Transaction};
use crate::partition::Hosted;
use crate::records::group_sync::GroupSyncKeyspace;
use crate::topic::{Topic, Topics};

/// The groups of this broker as links see them.
pub struct Groups {
    metadata: Metadata,
    topics: Arc<Topics>,
    hosted: Arc<Hosted>,
    coordinator: Arc<Coordinator>,
}

impl Groups {
    /// On the groups of `coordinator` and the mirrors among `topics`.
    pub fn new(
        metadata: Metadata,
        topics: Arc<Topics>,
        hosted: Arc<Hosted>,
        coordinator: Arc<Coordinator>,
    ) -> Self {
        Groups {
            metadata,
            topics,
            hosted,
            coordinator,
        }
    }

    /// Hands one group's offsets to the coordinator.
    fn begin(&self, commit: &GroupCommit) -> Result<(SyncedCommit, GroupCommitted), GroupError> {
        let mut committed = GroupCommitted::default();
        // A group is not made for nothing.
        let is_about_mirrors = !self.of_mirrors(commit, &mut committed.left_out).is_empty();
        if !is_about_mirrors && !self.may_be_taken(commit)? {
            let cut = commit
                .after_cut
                .iter()
                .map(|it| it.offset.partition.clone());
            committed.left_out.extend(cut);
            let nothing = SyncedCommit {
                written: 0,
                stored: None,
            };
            return Ok((nothing, committed));
        }
        let left_out = &mut committed.left_out;
        let offsets = |present: &Present<'_>| {
            let mut offsets = self.of_mirrors(commit, left_out);
            for AfterCut { offset, instead_of } in &commit.after_cut {
                let topic = self.topics.topic(&offset.partition.topic);
                let number = offset.partition.partition;
                let is_meant = |topic: &Arc<Topic>| present.is(topic, number, *instead_of);
                match topic
                    .filter(is_meant)
                    .and_then(|topic| self.taken(&topic, offset))
                {
                    Some(new) => offsets.push(new),
                    None => left_out.push(offset.partition.clone()),
                }
            }
            offsets
        };
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
        let topic = self.topics.topic(&new.partition.topic);
        self.taken(&*topic.filter(|topic| topic.is_mirror())?, new)
    }

    /// The offset as this broker stores it; `None` if there is no such partition.
    fn taken(&self, topic: &Topic, new: &GroupOffset) -> Option<NewOffset> {
        let partition = new.partition.partition;
        let told = self.hosted.get(topic.id(), partition)?.leader_epoch();
        Some(NewOffset {
            topic: topic.name().clone(),
            topic_id: topic.id(),
            partition,
            offset: new.offset,
            leader_epoch: match new.leader_epoch > told {
                true => LeaderEpoch::NONE,
                false => new.leader_epoch,
            },
            metadata: new.metadata.clone(),
        })
    }

    /// Whether the group has what some offset after a cut should replace. This is checked without
    /// the group's lock, so it may have changed once the lock is held.
    fn may_be_taken(&self, commit: &GroupCommit) -> Result<bool, GroupError> {
        for AfterCut { offset, instead_of } in &commit.after_cut {
            let TopicPartition { topic, partition } = &offset.partition;
            let wanted = [(topic.as_str(), &[*partition][..])];
            let fetched = self.coordinator.fetch_some(&commit.group, &wanted, false)?;
            let known = fetched.first().and_then(|topic| topic.first());
            let known = known.and_then(|known| known.committed());
            if known.map(|known| known.offset) == *instead_of {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

impl GroupOffsets for Groups {
    fn commit(&self, commits: &[GroupCommit]) -> Vec<Result<GroupCommitted, GroupRefusal>> {
        // All are submitted before the first is waited for: the disk is waited for once.
        let begun: Vec<_> = commits.iter().map(|commit| self.begin(commit)).collect();
        let ended = begun.into_iter().map(|begun| {
            let (commit, committed) = begun?;
            if let Some(stored) = commit.stored {
                stored.blocking_result()?;
            }
            Ok(committed)
        });
        ended.map(|ended| ended.map_err(refused)).collect()
    }

    fn load_syncs(&self, link: &LinkName) -> Result<Vec<GroupSync>, StoreError> {
        let prefix = GroupSyncKeyspace::link_prefix(link);
        let syncs = self.metadata.scan_prefix::<GroupSyncKeyspace>(&prefix);
        let syncs = syncs.map_err(failed)?.into_iter();
        Ok(syncs.map(|(_, sync)| sync).collect())
    }

    fn save_syncs(
        &self,
        link: &LinkName,
        syncs: &[GroupSync],
        gone: &[String],
    ) -> Result<(), StoreError> {
        let mut batch = Transaction::new();
        for group in gone {
            batch.delete::<GroupSyncKeyspace>(&(link.clone(), group.clone()));
        }
        for sync in syncs {
            let key = (link.clone(), sync.source_group.clone());
            batch.put::<GroupSyncKeyspace>(&key, sync);
        }
        self.metadata.commit(batch).map(drop).map_err(failed)
    }
}

fn failed(error: MetadataError) -> StoreError {
    StoreError(error.to_string())
}

/// The coordinator's refusal in the link's words.
fn refused(error: GroupError) -> GroupRefusal {
    let words = error.to_string();
    match error {
        GroupError::NonEmptyGroup => GroupRefusal::InUse(
            "it has members, or a transaction is about to commit its offsets".to_owned(),
        ),
        GroupError::InvalidGroupId
        | GroupError::GroupFull
        | GroupError::MetadataTooLarge
        | GroupError::CommitTooLarge => GroupRefusal::Limit(words),
        _ => GroupRefusal::Storage(words),
    }
}
