//! The group's epoch and the target assignment: `updateSubscriptionMetadata`,
//! `maybeUpdateTargetAssignment`.

use std::collections::{BTreeMap, BTreeSet};

use super::assignor::Candidate;
use super::{ConsumerGroup, Env, NEW_GROUP_EPOCH, Partitions};
use crate::group::config::Assignor;
use crate::records::member_ids::MemberId;
use crate::topic::TopicImage;

/// A target with no more members, topics and partitions in total than this is computed immediately,
/// within milliseconds.
const LIGHT_ASSIGNMENT: usize = 10_000;

/// The hash of no topics (the basis of FNV-1a).
pub(super) const HASH_OF_NOTHING: u64 = 0xcbf2_9ce4_8422_2325;

/// Where the computation of a target elsewhere stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Assignment {
    /// Nothing must be computed.
    #[default]
    NotWanted,
    /// The computation must begin.
    Wanted,
    /// It has begun.
    UnderWay,
}

/// A target to be computed outside of the group.
#[derive(Debug)]
pub struct AssignmentJob {
    epoch: i32,
    assignor: Assignor,
    members: Vec<MemberId>,
    candidates: Vec<Candidate>,
}

/// What members should have from an epoch on.
#[derive(Debug)]
pub struct NewTarget {
    epoch: i32,
    of_members: Vec<(MemberId, Partitions)>,
}

impl AssignmentJob {
    pub fn run(self, topics: &TopicImage) -> NewTarget {
        let partitions = |topic| topics.partitions(topic);
        let targets = self.assignor.assign(&self.candidates, &partitions);
        NewTarget {
            epoch: self.epoch,
            of_members: self.members.into_iter().zip(targets).collect(),
        }
    }
}

impl ConsumerGroup {
    /// Raises the group's epoch if its members have `changed`, or the topics that they subscribe
    /// to. Topics are checked only when some topic has changed.
    pub(super) fn refresh_epoch(&mut self, changed: bool, env: &Env<'_>) {
        let version = Some(env.topics.version());
        if !changed && self.seen_topics == version {
            return;
        }
        self.seen_topics = version;
        let hash = self.hash_topics(env.topics);
        if changed || hash != self.metadata_hash {
            self.metadata_hash = hash;
            self.group_epoch = self.group_epoch.saturating_add(1);
            self.unstored.group = true;
        }
    }

    /// Computes a new target if the present one is older than the group, and old enough. One that
    /// takes long is left to [`Self::begin_assigning`].
    pub(super) fn refresh_target(&mut self, env: &Env<'_>) {
        if self.assignment_epoch >= self.group_epoch
            || self.assignment == Assignment::UnderWay
            || !self.may_assign(env)
        {
            return;
        }
        if self.assignment_weight(env.topics) > LIGHT_ASSIGNMENT {
            self.assignment = Assignment::Wanted;
            // The first members are members meanwhile, with nothing to read.
            if self.assignment_epoch < NEW_GROUP_EPOCH {
                self.assignment_epoch = NEW_GROUP_EPOCH;
                self.unstored.group = true;
            }
            return;
        }
        let target = self.assignment_job(env.topics).run(env.topics);
        self.take_target(target, env);
    }

    /// A target to be computed elsewhere, if one is wanted; [`Self::assigned`] has to follow.
    pub fn begin_assigning(&mut self, env: &Env<'_>) -> Option<AssignmentJob> {
        if self.assignment != Assignment::Wanted {
            return None;
        }
        self.assignment = Assignment::UnderWay;
        Some(self.assignment_job(env.topics))
    }

    /// The target that was computed elsewhere; `None` if it could not be. It is for the group as it
    /// was then: members that have joined since wait for the next one.
    pub fn assigned(&mut self, target: Option<NewTarget>, env: &Env<'_>) {
        self.assignment = Assignment::NotWanted;
        if let Some(target) = target {
            self.take_target(target, env);
        }
    }

    fn take_target(&mut self, target: NewTarget, env: &Env<'_>) {
        if target.epoch <= self.assignment_epoch || target.epoch > self.group_epoch {
            return;
        }
        for (id, target) in target.of_members {
            if self.members.contains_key(&id) && self.targets.get(&id) != Some(&target) {
                self.unstored.targets.insert(id.clone());
                self.targets.insert(id, target);
            }
        }
        self.assignment_epoch = target.epoch;
        self.assigned_ms = env.now.wall_ms;
        self.unstored.group = true;
    }

    /// Roughly how much work a new target is.
    fn assignment_weight(&self, topics: &TopicImage) -> usize {
        let names = self.subscribed_names();
        let partitions = names.iter().filter_map(|name| topics.topic(name));
        let partitions: usize = partitions
            .map(|(_, partitions)| usize::try_from(partitions).unwrap_or(0))
            .sum();
        self.members.len().saturating_mul(names.len() + 1) + partitions
    }

    fn assignment_job(&self, topics: &TopicImage) -> AssignmentJob {
        AssignmentJob {
            epoch: self.group_epoch,
            assignor: self.assignor(),
            members: self.members.keys().cloned().collect(),
            candidates: self.candidates(topics),
        }
    }

    /// `group.consumer.assignment.interval.ms`: many changes together cause one new target.
    fn may_assign(&self, env: &Env<'_>) -> bool {
        let interval_ms = i64::from(env.settings.assignment_interval_ms);
        self.assigned_ms == 0
            || interval_ms == 0
            || env.now.wall_ms >= self.assigned_ms.saturating_add(interval_ms)
    }

    /// The members, in the order of their ids.
    fn candidates(&self, topics: &TopicImage) -> Vec<Candidate> {
        let candidates = self.members.iter().map(|(id, member)| Candidate {
            instance_id: member.instance_id.clone(),
            topics: self.subscribed_ids(member, topics),
            current: self.targets.get(id).cloned().unwrap_or_default(),
        });
        candidates.collect()
    }

    /// The assignor that most members want; the first one offered if no member names one.
    pub(super) fn assignor(&self) -> Assignor {
        let mut wanted: BTreeMap<&str, usize> = BTreeMap::new();
        for name in self
            .members
            .values()
            .filter_map(|member| member.assignor.as_deref())
        {
            *wanted.entry(name).or_default() += 1;
        }
        let most = wanted.into_iter().max_by_key(|(_, members)| *members);
        let named = most.and_then(|(name, _)| Assignor::of(name));
        let first = || self.config.consumer.assignors.first().copied();
        named.or_else(first).unwrap_or_default()
    }

    /// All topics that members subscribe to, whether they exist or not.
    pub(super) fn subscribed_names(&self) -> BTreeSet<&str> {
        let by_name = self.subscribers.keys().map(String::as_str);
        let matching = self.regexes.topics().map(|name| name.as_str());
        by_name.chain(matching).collect()
    }

    /// A hash of the subscribed topics that exist. It is stored, so it must not change: FNV-1a of
    /// name, 0, id and number of partitions of each, in order.
    pub(super) fn hash_topics(&self, topics: &TopicImage) -> u64 {
        const PRIME: u64 = 0x0100_0000_01b3;
        let mut hash = HASH_OF_NOTHING;
        let mut add = |bytes: &[u8]| {
            for byte in bytes {
                hash = (hash ^ u64::from(*byte)).wrapping_mul(PRIME);
            }
        };
        for name in self.subscribed_names() {
            if let Some((id, partitions)) = topics.topic(name) {
                add(name.as_bytes());
                add(&[0]);
                add(id.0.as_bytes());
                add(&partitions.to_be_bytes());
            }
        }
        hash
    }

    /// What the target gives a member.
    pub(super) fn target(&self, id: &MemberId) -> Partitions {
        self.targets.get(id).cloned().unwrap_or_default()
    }
}
