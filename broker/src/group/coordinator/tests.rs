//! The coordinator on a journal in memory: durability, restarts, parked requests.

use std::collections::HashMap;

use bytes::Bytes;
use carrick_protocol::ids::{LeaderEpoch, Offset, TopicId, TopicName};
use parking_lot::Mutex;

mod consumer;
mod limits;
mod many;

use super::*;
use crate::group::classic::{CommitFence, GroupState, MemberInfo, Protocol};
use crate::group::commit::{CommitRequest, NewOffset, unfenced};
use crate::group::config::ConsumerGroupConfig;
use crate::journal::memory::Disk;
use crate::records::member_ids::MemberId;
use crate::testing::until;
use crate::topic::TopicImage;

/// Topics by name, and what the next look-up of any is answered instead.
#[derive(Default)]
struct Topics(Mutex<HashMap<String, TopicId>>, Mutex<Option<TopicId>>);

impl TopicIds for Topics {
    fn topic_id(&self, topic: &str) -> Option<TopicId> {
        if let Some(former) = self.1.lock().take() {
            return Some(former);
        }
        self.0.lock().get(topic).copied()
    }

    fn image(&self) -> Arc<TopicImage> {
        let topics = self.0.lock();
        let described = topics
            .iter()
            .map(|(name, id)| (TopicName::new(name).unwrap(), *id, 2));
        Arc::new(TopicImage::new(topics.len() as u64, described))
    }
}

/// A coordinator whose data outlives it.
struct World {
    disk: Arc<Disk>,
    config: GroupConfig,
    topics: Arc<Topics>,
    /// With one thread: it is busy, or it is not.
    heavy: Heavy,
    groups: Option<Arc<Coordinator>>,
}

fn config() -> GroupConfig {
    GroupConfig {
        initial_rebalance_delay_ms: 0,
        min_session_timeout_ms: 1_000,
        max_session_timeout_ms: 60_000,
        max_size: 100,
        offsets_retention_ms: 60_000,
        offsets_retention_check_interval_ms: 3_600_000,
        offset_metadata_max_bytes: 10,
        consumer: ConsumerGroupConfig::for_tests(),
        max_metadata_bytes: 16 << 20,
        max_groups: 1_000,
        max_bytes: 64 << 20,
        bounds: Vec::new(),
    }
}

impl World {
    fn open(&self) -> Arc<Coordinator> {
        let (config, topics) = (self.config.clone(), self.topics.clone());
        Coordinator::start(config, self.disk.journal(), topics, self.heavy.clone()).unwrap()
    }

    fn new() -> Self {
        Self::with(config())
    }

    fn with(config: GroupConfig) -> Self {
        let disk = Arc::<Disk>::default();
        let topics = Arc::new(Topics::default());
        for topic in ["orders", "bills"] {
            topics.0.lock().insert(topic.to_owned(), TopicId::random());
        }
        let mut world = Self {
            disk,
            config,
            topics,
            heavy: Heavy::new(1, 512),
            groups: None,
        };
        world.groups = Some(world.open());
        world
    }

    fn groups(&self) -> &Coordinator {
        self.groups.as_ref().unwrap()
    }

    async fn restart(&mut self) {
        if let Some(groups) = self.groups.take() {
            groups.shutdown().await;
        }
        self.groups = Some(self.open());
    }

    fn new_offset(&self, topic: &str, partition: i32, offset: i64) -> NewOffset {
        NewOffset {
            topic: TopicName::new(topic).unwrap(),
            topic_id: self.topics.topic_id(topic).unwrap(),
            partition,
            offset: Offset(offset),
            leader_epoch: LeaderEpoch(3),
            metadata: "note".into(),
        }
    }

    /// Commits as a consumer that assigns itself.
    async fn commit(&self, group: &str, topic: &str, partition: i32, offset: i64) {
        let request = unfenced(vec![self.new_offset(topic, partition, offset)]);
        let results = self.groups().commit(&GroupId::new(group), request).await;
        assert_eq!(results, Ok(vec![Ok(())]));
    }

    fn offset(&self, group: &str, topic: &str, partition: i32) -> Option<i64> {
        let wanted: &[(&str, &[i32])] = &[(topic, &[partition])];
        let fetched = self
            .groups()
            .fetch_some(&GroupId::new(group), wanted, false)
            .unwrap();
        fetched[0][0].committed().map(|offset| offset.offset.0)
    }

    /// A member joins alone and gets its assignment.
    async fn join(&self, group: &str, member_id: &str) -> (MemberId, i32) {
        let group = GroupId::new(group);
        let joined = self.groups().join(&group, join_request(member_id)).await;
        assert_eq!(joined.error, None);
        let sync = SyncRequest {
            member_id: joined.member_id.clone(),
            instance_id: None,
            generation: joined.generation,
            protocol_type: None,
            protocol_name: None,
            assignments: vec![(joined.member_id.clone(), "work".into())],
        };
        assert_eq!(
            self.groups().sync(&group, sync).await.unwrap().assignment,
            "work"
        );
        (joined.member_id, joined.generation)
    }

    fn heartbeat(&self, group: &str, member: &(MemberId, i32)) -> Result<(), GroupError> {
        let beat = HeartbeatRequest {
            member_id: member.0.clone(),
            instance_id: None,
            generation: member.1,
        };
        self.groups().heartbeat(&GroupId::new(group), &beat)
    }

    fn listed(&self) -> Vec<String> {
        let listed = self.groups().list().into_iter();
        listed
            .map(|group| group.group_id.as_str().to_owned())
            .collect()
    }

    fn sweep(&self, now_ms: i64) {
        sweep::sweep(&self.groups().groups, now_ms);
    }

    fn now_ms(&self) -> i64 {
        self.groups().services().clock.now().wall_ms
    }
}

fn join_request(member_id: &str) -> JoinRequest {
    JoinRequest {
        member_id: member_id.into(),
        fresh_member_id: "fresh".into(),
        protocol_type: "consumer".into(),
        info: MemberInfo {
            instance_id: None,
            client_id: "client".into(),
            client_host: "/127.0.0.1".into(),
            session_timeout_ms: 30_000,
            rebalance_timeout_ms: 30_000,
            protocols: vec![Protocol {
                name: "range".into(),
                metadata: Bytes::from_static(b"\0\0\0\0\0\x01\0\x06orders\0\0\0\0"),
            }],
        },
        member_id_required: false,
        may_skip_assignment: true,
    }
}

#[tokio::test]
async fn a_commit_that_was_answered_survives_a_restart() {
    let mut world = World::new();
    world.commit("readers", "orders", 0, 41).await;
    world.commit("readers", "orders", 0, 42).await;
    world.commit("readers", "bills", 7, 1).await;
    world.restart().await;
    assert_eq!(world.offset("readers", "orders", 0), Some(42));
    let group = GroupId::new("readers");
    let all = world.groups().committed(&group).unwrap();
    let all: Vec<_> = all.iter().map(|(t, at)| (t.as_str(), &at[..])).collect();
    assert_eq!(all, [("bills", &[7][..]), ("orders", &[0])]);
    let fetched = world.groups().fetch_some(&group, &all, false).unwrap();
    let offset = fetched[0][0].committed().unwrap();
    assert_eq!(
        (offset.leader_epoch, offset.metadata.as_str()),
        (LeaderEpoch(3), "note")
    );
}

#[tokio::test]
async fn what_was_never_committed_has_no_offset() {
    let world = World::new();
    assert_eq!(world.offset("nobody", "orders", 0), None);
    assert_eq!(
        world.groups().committed(&GroupId::new("nobody")),
        Ok(vec![])
    );
    world.commit("readers", "orders", 0, 1).await;
    assert_eq!(world.offset("readers", "orders", 1), None);
}

#[tokio::test]
async fn commits_sent_one_after_the_other_take_effect_in_that_order() {
    let mut world = World::new();
    let group = GroupId::new("readers");
    let commits: Vec<_> = (0..5_000)
        .map(|offset| {
            let request = unfenced(vec![world.new_offset("orders", 0, offset)]);
            world.groups().commit(&group, request)
        })
        .collect();
    for commit in commits {
        assert_eq!(commit.await, Ok(vec![Ok(())]));
    }
    assert_eq!(world.offset("readers", "orders", 0), Some(4_999));
    world.restart().await;
    assert_eq!(world.offset("readers", "orders", 0), Some(4_999));
}

#[tokio::test]
async fn text_that_is_too_long_fails_its_own_offset_only() {
    let world = World::new();
    let mut long = world.new_offset("orders", 0, 1);
    long.metadata = "12345678901".into();
    let mut wide = world.new_offset("orders", 1, 1);
    wide.metadata = "ééééé ääää".into();
    let request = unfenced(vec![long, wide]);
    let results = world
        .groups()
        .commit(&GroupId::new("readers"), request)
        .await;
    assert_eq!(results, Ok(vec![Err(GroupError::MetadataTooLarge), Ok(())]));
}

#[tokio::test]
async fn a_commit_of_a_generation_nobody_has_is_refused() {
    let world = World::new();
    let mut request = unfenced(vec![world.new_offset("orders", 0, 1)]);
    request.fence.generation = 4;
    let group = GroupId::new("readers");
    let refused = world.groups().commit(&group, request.clone()).await;
    assert_eq!(refused, Err(GroupError::GroupNotFound));
    request.knows_group_not_found = false;
    let refused = world.groups().commit(&group, request.clone()).await;
    assert_eq!(refused, Err(GroupError::IllegalGeneration));

    let (member_id, generation) = world.join("readers", "").await;
    request.fence = CommitFence {
        member_id,
        instance_id: None,
        generation: generation - 1,
        knows_epochs: true,
    };
    let refused = world.groups().commit(&group, request.clone()).await;
    assert_eq!(refused, Err(GroupError::IllegalGeneration));
    assert_eq!(world.offset("readers", "orders", 0), None);
    request.fence.generation = generation;
    assert_eq!(
        world.groups().commit(&group, request).await,
        Ok(vec![Ok(())])
    );
    assert_eq!(world.offset("readers", "orders", 0), Some(1));
}

#[tokio::test]
async fn members_keep_their_ids_and_generation_over_a_restart() {
    let mut world = World::new();
    let member = world.join("readers", "").await;
    world.restart().await;
    assert_eq!(world.heartbeat("readers", &member), Ok(()));
    let described = world.groups().describe(&GroupId::new("readers")).unwrap();
    assert_eq!(described.state, GroupState::Stable);
    assert_eq!(described.members[0].assignment, "work");
    let (id, generation) = world.join("readers", member.0.as_str()).await;
    assert_eq!((id, generation), (member.0, member.1 + 1));
}

#[tokio::test]
async fn a_rebalance_brings_two_members_into_one_generation() {
    let world = World::new();
    let first = world.join("readers", "").await;
    let group = GroupId::new("readers");
    let request = JoinRequest {
        fresh_member_id: "second".into(),
        ..join_request("")
    };
    let second = tokio::spawn(world.groups().join(&group, request));
    // As its member would.
    let rebalances = || world.heartbeat("readers", &first) == Err(GroupError::RebalanceInProgress);
    until("the second member joins", rebalances).await;
    let again = world
        .groups()
        .join(&group, join_request(first.0.as_str()))
        .await;
    let second = second.await.unwrap();
    assert_eq!((again.generation, second.generation), (2, 2));
    assert_eq!((again.members.len(), second.members.len()), (2, 0));
}

#[tokio::test]
async fn requests_that_make_no_sense_are_refused() {
    let world = World::new();
    let nameless = world
        .groups()
        .join(&GroupId::new(""), join_request(""))
        .await;
    assert_eq!(nameless.error, Some(GroupError::InvalidGroupId));
    let mut hasty = join_request("");
    hasty.info.session_timeout_ms = 999;
    let hasty = world.groups().join(&GroupId::new("readers"), hasty).await;
    assert_eq!(hasty.error, Some(GroupError::InvalidSessionTimeout));
    let stranger = world
        .groups()
        .join(&GroupId::new("readers"), join_request("x"))
        .await;
    assert_eq!(stranger.error, Some(GroupError::UnknownMember));
    let beat = world.heartbeat("readers", &("x".into(), 1));
    assert_eq!(beat, Err(GroupError::UnknownMember));
    let leaving = [Leaving {
        member_id: "x".into(),
        instance_id: None,
    }];
    let left = world
        .groups()
        .leave(&GroupId::new("readers"), &leaving)
        .await;
    assert_eq!(left, Ok(vec![Err(GroupError::UnknownMember)]));
    assert!(world.listed().is_empty());
}

#[tokio::test]
async fn shutting_down_answers_who_waits() {
    let world = World::new();
    world.join("readers", "").await;
    let request = JoinRequest {
        fresh_member_id: "second".into(),
        ..join_request("")
    };
    let waiting = world.groups().join(&GroupId::new("readers"), request);
    world.groups().shutdown().await;
    assert_eq!(waiting.await.error, Some(GroupError::ShuttingDown));
    let late = world
        .groups()
        .join(&GroupId::new("others"), join_request(""))
        .await;
    assert_eq!(late.error, Some(GroupError::ShuttingDown));
    let commit = unfenced(vec![world.new_offset("orders", 0, 1)]);
    let refused = world
        .groups()
        .commit(&GroupId::new("readers"), commit)
        .await;
    assert_eq!(refused, Err(GroupError::ShuttingDown));
}

#[tokio::test]
async fn a_group_is_deleted_for_good_once_it_has_no_members() {
    let mut world = World::new();
    let group = GroupId::new("readers");
    let member = world.join("readers", "").await;
    let refused = world.groups().delete(&group).await;
    assert_eq!(refused, Err(GroupError::NonEmptyGroup));
    let leaving = [Leaving {
        member_id: member.0,
        instance_id: None,
    }];
    world.groups().leave(&group, &leaving).await.unwrap()[0].unwrap();
    world.commit("readers", "orders", 0, 5).await;
    world.commit("readers2", "orders", 0, 6).await;
    assert_eq!(world.groups().delete(&group).await, Ok(()));
    assert_eq!(
        world.groups().delete(&group).await,
        Err(GroupError::GroupNotFound)
    );
    assert_eq!(world.offset("readers", "orders", 0), None);
    world.restart().await;
    assert_eq!(world.listed(), ["readers2"]);
    assert_eq!(world.offset("readers2", "orders", 0), Some(6));
}

#[tokio::test]
async fn offsets_of_topics_that_members_read_are_not_deleted() {
    let mut world = World::new();
    let group = GroupId::new("readers");
    world.commit("readers", "orders", 0, 5).await;
    world.commit("readers", "bills", 0, 6).await;
    world.join("readers", "").await;
    let topic = |name: &str| (TopicName::new(name).unwrap(), vec![0, 1]);
    let results = world
        .groups()
        .delete_offsets(&group, vec![topic("orders"), topic("bills")])
        .await;
    assert_eq!(
        results,
        Ok(vec![Err(GroupError::SubscribedToTopic), Ok(())])
    );
    world.restart().await;
    assert_eq!(world.offset("readers", "orders", 0), Some(5));
    assert_eq!(world.offset("readers", "bills", 0), None);
    let nobody = world
        .groups()
        .delete_offsets(&GroupId::new("x"), vec![])
        .await;
    assert_eq!(nobody, Err(GroupError::GroupNotFound));
}

#[tokio::test]
async fn offsets_go_with_their_topic_and_do_not_come_back_with_its_name() {
    let mut world = World::new();
    world.commit("readers", "orders", 0, 5).await;
    world.commit("readers", "bills", 0, 6).await;
    let old = world
        .topics
        .0
        .lock()
        .insert("orders".into(), TopicId::random())
        .unwrap();
    assert_eq!(
        world.offset("readers", "orders", 0),
        None,
        "it is another topic"
    );
    let topic = TopicName::new("orders").unwrap();
    assert_eq!(world.groups().topic_deleted(&topic, old).await, Ok(()));
    world.topics.0.lock().insert("orders".into(), old);
    assert_eq!(world.offset("readers", "orders", 0), None);
    assert_eq!(world.offset("readers", "bills", 0), Some(6));

    // The broker dies after the topic is gone and before its offsets are.
    world.topics.0.lock().remove("bills");
    assert_eq!(world.offset("readers", "bills", 0), None);
    world.restart().await;
    assert!(world.listed().is_empty());
}

#[tokio::test]
async fn a_sweep_leaves_offsets_of_a_topic_recreated_meanwhile() {
    let mut world = World::new();
    world.commit("readers", "orders", 0, 5).await;
    // The sweep looked the topic up, for another group, before it was recreated.
    *world.topics.1.lock() = Some(TopicId::random());
    world.sweep(world.now_ms());
    world.restart().await;
    assert_eq!(world.offset("readers", "orders", 0), Some(5));
}

#[tokio::test]
async fn a_deletion_leaves_offsets_that_are_being_committed_to_a_recreated_topic() {
    let mut world = World::new();
    let topic = TopicName::new("orders").unwrap();
    for round in 0..50 {
        world.commit("readers", "orders", 0, 5).await;
        let anew = TopicId::random();
        let old = world.topics.0.lock().insert("orders".into(), anew);
        let old = old.unwrap();

        let (_, deleted) = tokio::join!(
            world.commit("readers", "orders", 0, 9 + round),
            world.groups().topic_deleted(&topic, old)
        );
        assert_eq!(deleted, Ok(()));
        assert_eq!(world.offset("readers", "orders", 0), Some(9 + round));
    }
    world.restart().await;
    assert_eq!(world.offset("readers", "orders", 0), Some(58));
}

#[tokio::test]
async fn unused_offsets_expire_and_the_group_with_them() {
    let mut world = World::new();
    world.commit("forgotten", "orders", 0, 5).await;
    world.commit("at-work", "orders", 0, 5).await;
    world.commit("at-work", "bills", 0, 6).await;
    world.join("at-work", "").await;
    world.sweep(world.now_ms() + 30_000);
    world.restart().await;
    assert_eq!(world.listed(), ["at-work", "forgotten"]);
    world.sweep(world.now_ms() + 120_000);
    world.restart().await;
    assert_eq!(world.listed(), ["at-work"]);
    assert_eq!(
        world.offset("at-work", "orders", 0),
        Some(5),
        "members read it"
    );
    assert_eq!(world.offset("at-work", "bills", 0), None);
}

#[tokio::test]
async fn a_member_that_falls_silent_is_out_when_its_session_is_over() {
    let world = World::new();
    let group = GroupId::new("readers");
    let mut request = join_request("");
    request.info.session_timeout_ms = 1_000;
    let joined = world.groups().join(&group, request).await;
    let member = (joined.member_id, joined.generation);
    let is_empty = || world.groups().describe(&group).unwrap().state == GroupState::Empty;
    until("the member is out", is_empty).await;
    assert_eq!(
        world.heartbeat("readers", &member),
        Err(GroupError::UnknownMember)
    );
}
