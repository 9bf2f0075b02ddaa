//! The group's epoch and the target assignment: `updateSubscriptionMetadata`,
//! `maybeUpdateTargetAssignment`.

use std::collections::{BTreeMap, BTreeSet};

use super::assignor::{Assignor, Candidate};
use super::{ConsumerGroup, Env, Partitions};
use crate::group::ids::MemberId;
use crate::group::topics::TopicImage;

impl ConsumerGroup {
    /// Raises the group's epoch if its members have `changed`, or the topics that they subscribe
    /// to. Topics are only looked at when some topic is not as it was.
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

    /// Computes a new target if the present one is older than the group, and old enough.
    pub(super) fn refresh_target(&mut self, env: &Env<'_>) {
        if self.assignment_epoch >= self.group_epoch || !self.may_assign(env) {
            return;
        }
        let candidates = self.candidates(env.topics);
        let assignor = self.assignor();
        let targets = assignor.assign(&candidates, &|topic| env.topics.partitions(topic));
        let members: Vec<MemberId> = self.members.keys().cloned().collect();
        for (id, target) in members.into_iter().zip(targets) {
            if self.targets.get(&id) != Some(&target) {
                self.unstored.targets.insert(id.clone());
                self.targets.insert(id, target);
            }
        }
        self.assignment_epoch = self.group_epoch;
        self.assigned_ms = env.now.wall_ms;
        self.unstored.group = true;
    }

    /// `group.consumer.assignment.interval.ms`: many changes at once are one new target.
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

    /// The assignor that most members want; the first that is offered if nobody cares.
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
        let by_name = self.members.values().flat_map(|member| &member.topics);
        let matching = self.regexes.values().flat_map(|regex| &regex.topics);
        let matching = matching.map(|name| name.as_str());
        by_name.map(String::as_str).chain(matching).collect()
    }

    /// A hash of the subscribed topics that exist. It is stored, so it must stay what it is:
    /// FNV-1a of name, 0, id and number of partitions of each, in order.
    pub(super) fn hash_topics(&self, topics: &TopicImage) -> u64 {
        const BASIS: u64 = 0xcbf2_9ce4_8422_2325;
        const PRIME: u64 = 0x0100_0000_01b3;
        let mut hash = BASIS;
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
