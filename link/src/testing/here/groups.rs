//! The groups of this cluster.

use std::collections::BTreeMap;

use carrick_protocol::ids::{GroupId, LeaderEpoch, Offset, TopicName, TopicPartition};

use super::{FakeHere, State};
use crate::groups::{AfterCut, GroupCommit, GroupCommitted, GroupOffset, GroupSync};
use crate::ports::{GroupOffsets, GroupRefusal, StoreError};
use crate::record::LinkName;

/// The longest text that is taken with an offset, as Kafka's `offset.metadata.max.bytes`.
const METADATA_MAX: usize = 4096;

/// One group.
#[derive(Debug, Default)]
pub(super) struct Group {
    has_members: bool,
    offsets: BTreeMap<TopicPartition, GroupOffset>,
    writes: u64,
}

impl FakeHere {
    /// The group has members from now on, or none any more.
    pub fn set_members(&self, group: &str, has_members: bool) {
        let mut state = self.state.lock();
        let group = state.groups.entry(GroupId::new(group)).or_default();
        group.has_members = has_members;
    }

    /// A group that has no members commits an offset by itself.
    pub fn commit_here(&self, group: &str, topic: &str, partition: i32, offset: i64) {
        let partition = TopicPartition::new(TopicName::new(topic).unwrap(), partition);
        let mut state = self.state.lock();
        let group = state.groups.entry(GroupId::new(group)).or_default();
        let offset = GroupOffset {
            partition: partition.clone(),
            offset: Offset(offset),
            leader_epoch: LeaderEpoch::NONE,
            metadata: String::new(),
        };
        group.offsets.insert(partition, offset);
    }

    /// What a group has committed for a partition here.
    pub fn committed(&self, group: &str, partition: &TopicPartition) -> Option<GroupOffset> {
        let state = self.state.lock();
        let group = state.groups.get(&GroupId::new(group))?;
        group.offsets.get(partition).cloned()
    }

    /// How often offsets of a group were written over the port.
    pub fn group_writes(&self, group: &str) -> u64 {
        let state = self.state.lock();
        state
            .groups
            .get(&GroupId::new(group))
            .map_or(0, |group| group.writes)
    }
}

impl GroupOffsets for FakeHere {
    fn commit(&self, commits: &[GroupCommit]) -> Vec<Result<GroupCommitted, GroupRefusal>> {
        let mut state = self.state.lock();
        commits.iter().map(|commit| state.commit(commit)).collect()
    }

    fn load_syncs(&self, link: &LinkName) -> Result<Vec<GroupSync>, StoreError> {
        let state = self.state.lock();
        let own = state.syncs.iter().filter(|((owner, _), _)| owner == link);
        Ok(own.map(|(_, sync)| sync.clone()).collect())
    }

    fn save_syncs(
        &self,
        link: &LinkName,
        syncs: &[GroupSync],
        gone: &[String],
    ) -> Result<(), StoreError> {
        let mut state = self.state.lock();
        for group in gone {
            state.syncs.remove(&(link.clone(), group.clone()));
        }
        for sync in syncs {
            let key = (link.clone(), sync.source_group.clone());
            state.syncs.insert(key, sync.clone());
        }
        Ok(())
    }
}

impl State {
    fn commit(&mut self, commit: &GroupCommit) -> Result<GroupCommitted, GroupRefusal> {
        let mut committed = GroupCommitted::default();
        let mut taken = Vec::new();
        for new in &commit.offsets {
            if new.metadata.len() > METADATA_MAX {
                return Err(GroupRefusal::Limit("the text is too long".to_owned()));
            }
            match self.told_epoch(&new.partition) {
                Some(told) => taken.push(GroupOffset {
                    leader_epoch: match new.leader_epoch > told {
                        true => LeaderEpoch::NONE,
                        false => new.leader_epoch,
                    },
                    ..new.clone()
                }),
                None => committed.left_out.push(new.partition.clone()),
            }
        }
        for AfterCut { offset, instead_of } in &commit.after_cut {
            let partition = &offset.partition;
            let known = self.groups.get(&commit.group);
            let has = known.and_then(|group| group.offsets.get(partition));
            let is_there = self.topics.contains_key(&partition.topic);
            match is_there && has.map(|it| it.offset) == *instead_of {
                true => taken.push(offset.clone()),
                false => committed.left_out.push(partition.clone()),
            }
        }
        let known = self.groups.get(&commit.group);
        if known.is_some_and(|group| group.has_members) {
            return Err(GroupRefusal::InUse("it has members".to_owned()));
        }
        let before = known.map(|group| &group.offsets);
        let is_new = |new: &GroupOffset| before.and_then(|it| it.get(&new.partition)) != Some(new);
        taken.retain(is_new);
        committed.written = taken.len();
        if !taken.is_empty() {
            let group = self.groups.entry(commit.group.clone()).or_default();
            group.writes += 1;
            let taken = taken.into_iter().map(|new| (new.partition.clone(), new));
            group.offsets.extend(taken);
        }
        Ok(committed)
    }

    /// The leader epoch that clients see for a mirror partition.
    fn told_epoch(&mut self, partition: &TopicPartition) -> Option<LeaderEpoch> {
        let is_mirror = self.topics.get(&partition.topic)?.is_mirror;
        let log = self.log(partition).ok().filter(|_| is_mirror)?;
        let last = log.batches.last();
        Some(last.map_or(LeaderEpoch(0), |batch| batch.header.leader_epoch))
    }
}
