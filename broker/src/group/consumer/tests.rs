//! The state machine, driven directly. Cases follow Kafka's `GroupMetadataManagerTest`,
//! `ConsumerGroupTest` and `CurrentAssignmentBuilderTest`, which each file names.

mod commits;
mod heartbeats;
mod migrating;
mod model;
mod reconciling;
mod regexes;
mod statics;
mod topics;

use std::collections::BTreeMap;

use carrick_protocol::ids::TopicName;
use uuid::Uuid;

use super::*;
use crate::group::config::{Assignor, ConsumerGroupConfig};
use crate::group::error::GroupError;
use crate::group::topic_patterns::{MaySee, TopicPatterns};
use crate::heavy::TimeBudget;
use crate::records::consumer_group::EpochsRecord;

type Beat = Result<HeartbeatAnswer, GroupError>;

pub(super) fn id_of(topic: &str) -> TopicId {
    let bytes = topic
        .bytes()
        .fold(1_u128, |id, byte| id << 8 | u128::from(byte));
    TopicId(Uuid::from_u128(bytes))
}

/// Partitions by the names of their topics.
pub(super) fn partitions(named: &[(&str, &[i32])]) -> Partitions {
    let topics = named.iter();
    topics
        .map(|(topic, partitions)| (id_of(topic), partitions.iter().copied().collect()))
        .collect()
}

pub(super) fn config() -> GroupConfig {
    let values = crate::config::Values::new(BTreeMap::new()).unwrap();
    let mut config = GroupConfig::of(&values).unwrap();
    config.consumer = ConsumerGroupConfig::for_tests();
    config
}

/// What is on disk of a group.
#[derive(Clone, Debug, Default)]
pub(super) struct Disk {
    epochs: EpochsRecord,
    members: BTreeMap<MemberId, Member>,
    targets: BTreeMap<MemberId, Partitions>,
}

/// A group with its topics, its clock and its disk.
pub(super) struct World {
    pub group: ConsumerGroup,
    pub topics: BTreeMap<String, i32>,
    pub image: TopicImage,
    pub now_ms: i64,
    pub settings: Settings,
    pub disk: Disk,
    patterns: TopicPatterns,
}

/// Time enough for anything.
fn ample() -> TimeBudget {
    TimeBudget::of(std::time::Duration::from_secs(600))
}

impl World {
    pub fn new(topics: &[(&str, i32)]) -> Self {
        Self::with(config(), topics)
    }

    pub fn with(config: GroupConfig, topics: &[(&str, i32)]) -> Self {
        let settings = config.consumer.settings;
        let mut world = Self {
            group: ConsumerGroup::new(Arc::new(config)),
            topics: BTreeMap::new(),
            image: TopicImage::default(),
            now_ms: 1_000_000,
            settings,
            patterns: TopicPatterns::default(),
            disk: Disk {
                epochs: EpochsRecord {
                    group_epoch: NEW_GROUP_EPOCH,
                    ..EpochsRecord::default()
                },
                ..Disk::default()
            },
        };
        for (topic, partitions) in topics {
            world.set_topic(topic, *partitions);
        }
        world
    }

    /// Creates a topic, or grows it.
    pub fn set_topic(&mut self, topic: &str, partitions: i32) {
        self.topics.insert(topic.to_owned(), partitions);
        self.take_image();
    }

    pub fn delete_topic(&mut self, topic: &str) {
        self.topics.remove(topic);
        self.take_image();
    }

    fn take_image(&mut self) {
        let topics = self.topics.iter();
        let topics =
            topics.map(|(name, count)| (TopicName::new(name).unwrap(), id_of(name), *count));
        self.image = TopicImage::new(self.image.version() + 1, topics);
    }

    /// Lets something happen to the group, and stores what has changed.
    pub fn with_env<R>(&mut self, event: impl FnOnce(&mut ConsumerGroup, &Env<'_>) -> R) -> R {
        let env = Env {
            now: Now {
                tick_ms: self.now_ms,
                wall_ms: self.now_ms,
            },
            topics: &self.image,
            settings: self.settings,
        };
        let result = event(&mut self.group, &env);
        self.store();
        self.check();
        result
    }

    fn store(&mut self) {
        let Some(changes) = self.group.take_changes() else {
            return;
        };
        if let Some(epochs) = changes.epochs {
            self.disk.epochs = epochs;
        }
        for (id, member) in changes.members {
            match member {
                Some(mut member) => {
                    member.rebalance_epoch = None;
                    self.disk.members.insert(id, member);
                }
                None => drop(self.disk.members.remove(&id)),
            }
        }
        for (id, target) in changes.targets {
            match target {
                Some(target) => drop(self.disk.targets.insert(id, target)),
                None => drop(self.disk.targets.remove(&id)),
            }
        }
    }

    /// The invariants of the module's doc, and that the disk knows what memory does.
    fn check(&self) {
        let group = &self.group;
        let mut owners = HashMap::new();
        for (id, member) in &group.members {
            assert!(member.member_epoch <= group.assignment_epoch.max(0));
            for partition in member.owned() {
                assert_eq!(owners.insert(partition, id.clone()), None, "{partition:?}");
            }
        }
        assert_eq!(owners, group.owners);
        assert!(group.assignment_epoch <= group.group_epoch);
        let bytes = group
            .members
            .values()
            .map(weight::member_bytes)
            .sum::<usize>();
        assert_eq!(group.members_bytes, bytes);
        let mut subscribers: BTreeMap<String, usize> = BTreeMap::new();
        let mut stable: BTreeMap<i32, usize> = BTreeMap::new();
        for member in group.members.values() {
            for topic in &member.topics {
                *subscribers.entry(topic.clone()).or_default() += 1;
            }
            if member.state == MemberState::Stable {
                *stable.entry(member.member_epoch).or_default() += 1;
            }
        }
        assert_eq!((&group.subscribers, &group.stable), (&subscribers, &stable));
        let texts = group.members.values().map(|member| member.regex.clone());
        let texts: BTreeSet<_> = texts.filter(|text| !text.is_empty()).collect();
        let known: BTreeSet<_> = group.patterns().into_iter().collect();
        assert_eq!(known, texts);
        let bytes = known.iter().map(|text| {
            let topics = group
                .regexes
                .get(text)
                .map_or(0, |known| known.topics.len());
            weight::subscription_bytes(text, topics)
        });
        assert_eq!(group.regexes.held_bytes(), bytes.sum::<usize>());
        for (instance, id) in &group.static_members {
            assert_eq!(group.members[id].instance_id.as_ref(), Some(instance));
        }
        let stored = |(id, member): (&MemberId, &Member)| {
            let mut member = member.clone();
            member.rebalance_epoch = None;
            (id.clone(), member)
        };
        let members: BTreeMap<_, _> = group.members.iter().map(stored).collect();
        assert_eq!(members, self.disk.members);
        assert_eq!(group.targets, self.disk.targets);
        assert_eq!(group.group_epoch, self.disk.epochs.group_epoch);
        assert_eq!(group.assignment_epoch, self.disk.epochs.assignment_epoch);
    }

    /// The broker dies and starts again.
    pub fn restart(&mut self) {
        let stored = Stored {
            epochs: self.disk.epochs,
            members: self.disk.members.clone().into_iter().collect(),
            targets: self.disk.targets.clone().into_iter().collect(),
        };
        let config = self.group.config.clone();
        let env = Env {
            now: Now {
                tick_ms: self.now_ms,
                wall_ms: self.now_ms,
            },
            topics: &self.image,
            settings: self.settings,
        };
        let resolve = |texts: &[Arc<str>]| self.patterns.resolve(texts, &self.image, ample());
        self.group = ConsumerGroup::restore(config, stored, &env, resolve);
        self.check();
    }

    pub fn advance(&mut self, ms: i64) {
        self.now_ms += ms;
        self.with_env(|group, env| group.tick(env));
    }

    pub fn send(&mut self, request: HeartbeatRequest) -> Beat {
        self.with_env(|group, env| group.heartbeat(request, env))
    }

    /// Matches the expressions that the group wants matched; whether there are any.
    pub fn resolve(&mut self) -> bool {
        self.resolve_for(&MaySee::default())
    }

    /// The same for a member that may not see all topics.
    pub fn resolve_for(&mut self, may_see: &MaySee) -> bool {
        let Some(texts) = self.with_env(ConsumerGroup::begin_resolving) else {
            return false;
        };
        let resolved = self.patterns.resolve(&texts, &self.image, ample());
        let resolved = may_see.filter(resolved);
        self.with_env(|group, env| group.resolved(resolved, env));
        true
    }

    /// A member joins that subscribes by name.
    pub fn join(&mut self, id: &str, topics: &[&str]) -> HeartbeatAnswer {
        self.send(join(id, topics)).unwrap()
    }

    /// A heartbeat that says nothing new.
    pub fn beat(&mut self, id: &str, epoch: i32) -> Beat {
        self.send(beat(id, epoch))
    }

    /// A heartbeat that says what the member reads.
    pub fn owns(&mut self, id: &str, epoch: i32, owned: &[(&str, &[i32])]) -> Beat {
        self.send(HeartbeatRequest {
            owned: Some(owned_of(&partitions(owned))),
            ..beat(id, epoch)
        })
    }

    pub fn leave(&mut self, id: &str) -> Beat {
        self.beat(id, LEAVE_EPOCH)
    }

    pub fn member(&self, id: &str) -> &Member {
        &self.group.members[id]
    }

    pub fn state(&self) -> ConsumerGroupState {
        self.group.state()
    }

    /// All that is assigned, by member.
    pub fn assigned(&self, id: &str) -> Partitions {
        member::without_epochs(&self.member(id).assigned)
    }
}

pub(super) fn owned_of(partitions: &Partitions) -> Vec<(TopicId, Vec<i32>)> {
    let topics = partitions.iter();
    topics
        .map(|(topic, partitions)| (*topic, partitions.iter().copied().collect()))
        .collect()
}

pub(super) fn beat(id: &str, epoch: i32) -> HeartbeatRequest {
    HeartbeatRequest {
        member_id: id.into(),
        member_epoch: epoch,
        rebalance_timeout_ms: -1,
        client_id: "client".into(),
        client_host: "/127.0.0.1".into(),
        ..HeartbeatRequest::default()
    }
}

pub(super) fn join(id: &str, topics: &[&str]) -> HeartbeatRequest {
    HeartbeatRequest {
        rebalance_timeout_ms: 10_000,
        topics: Some(topics.iter().map(|topic| (*topic).to_owned()).collect()),
        owned: Some(Vec::new()),
        ..beat(id, JOIN_EPOCH)
    }
}

/// The change of a member's subscription.
pub(super) fn subscribe(id: &str, epoch: i32, topics: &[&str]) -> HeartbeatRequest {
    HeartbeatRequest {
        topics: Some(topics.iter().map(|topic| (*topic).to_owned()).collect()),
        ..beat(id, epoch)
    }
}
