//! The fake source's groups.

use std::collections::{BTreeMap, VecDeque};

use carrick_protocol::error_code::ErrorCode;
use carrick_protocol::ids::{GroupId, LeaderEpoch, Offset, TopicName, TopicPartition};

use super::{FakeSource, State};
use crate::source::{GroupCommits, GroupListing, SourceCommit, SourceGroup};

/// One group.
#[derive(Debug)]
pub(super) struct Group {
    group_type: String,
    has_members: bool,
    commits: BTreeMap<TopicPartition, SourceCommit>,
    /// Answered one after the other before the commits are reported.
    errors: VecDeque<ErrorCode>,
    /// How often it was asked for.
    asked: u64,
}

impl FakeSource {
    /// A group commits an offset, in leader epoch 0.
    pub fn commit(&self, group: &str, topic: &str, partition: i32, offset: i64) {
        self.commit_with(group, topic, partition, offset, 0, "");
    }

    /// A group commits an offset with a leader epoch and a text.
    pub fn commit_with(
        &self,
        group: &str,
        topic: &str,
        partition: i32,
        offset: i64,
        leader_epoch: i32,
        metadata: &str,
    ) {
        let partition = TopicPartition::new(TopicName::new(topic).unwrap(), partition);
        self.on_group(group, |group| {
            let commit = SourceCommit {
                partition: partition.clone(),
                offset: Offset(offset),
                leader_epoch: LeaderEpoch(leader_epoch),
                metadata: metadata.to_owned(),
            };
            group.commits.insert(partition, commit);
        });
    }

    /// The kind of a group: `classic` unless told otherwise.
    pub fn set_group_type(&self, group: &str, group_type: &str) {
        self.on_group(group, |group| group.group_type = group_type.to_owned());
    }

    /// The group has members at the source from now on, or none any more.
    pub fn set_source_members(&self, group: &str, has_members: bool) {
        self.on_group(group, |group| group.has_members = has_members);
    }

    /// The group's next answers are these errors, one after the other.
    pub fn fail_group(&self, group: &str, errors: &[ErrorCode]) {
        self.on_group(group, |group| group.errors.extend(errors));
    }

    /// The group is gone.
    pub fn delete_group(&self, group: &str) {
        self.change(|state| state.groups.remove(&GroupId::new(group)));
    }

    /// How often a group's offsets were asked for.
    pub fn group_asked(&self, group: &str) -> u64 {
        let state = self.state.lock();
        state
            .groups
            .get(&GroupId::new(group))
            .map_or(0, |group| group.asked)
    }

    fn on_group(&self, group: &str, act: impl FnOnce(&mut Group)) {
        self.change(|state| {
            let group = state.groups.entry(GroupId::new(group));
            act(group.or_insert_with(|| Group {
                group_type: "classic".to_owned(),
                has_members: false,
                commits: BTreeMap::new(),
                errors: VecDeque::new(),
                asked: 0,
            }));
        });
    }
}

pub(super) fn listed(state: &State) -> GroupListing {
    let group = |(id, group): (&GroupId, &Group)| SourceGroup {
        id: id.clone(),
        protocol_type: "consumer".to_owned(),
        group_type: group.group_type.clone(),
        state: match group.has_members {
            true => "Stable".to_owned(),
            false => "Empty".to_owned(),
        },
    };
    GroupListing {
        cluster_id: state.cluster_id.clone(),
        groups: state.groups.iter().map(group).collect(),
        silent: Vec::new(),
    }
}

pub(super) fn all_committed(state: &mut State, ids: &[GroupId]) -> Vec<GroupCommits> {
    ids.iter().map(|id| committed(state, id)).collect()
}

fn committed(state: &mut State, id: &GroupId) -> GroupCommits {
    let mut answer = GroupCommits {
        group: id.clone(),
        error: ErrorCode::NONE,
        commits: Vec::new(),
        untold: Vec::new(),
    };
    if let Some(group) = state.groups.get_mut(id) {
        group.asked += 1;
        match group.errors.pop_front() {
            Some(error) => answer.error = error,
            None => answer.commits = group.commits.values().cloned().collect(),
        }
    }
    answer
}
