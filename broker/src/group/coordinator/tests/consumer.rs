//! Groups of the consumer protocol on a real metadata store: durability, changes of the protocol,
//! what administrators see.

use std::time::Instant;

use carrick_protocol::ids::ProducerId;

use super::*;
use crate::group::consumer::{
    HeartbeatAnswer, HeartbeatRequest as ConsumerHeartbeat, LEAVE_EPOCH, Partitions,
};
use crate::group::error::Obstacle;
use crate::journal::Entry;
use crate::testing::LIMIT;

/// A heartbeat of a member that subscribes to `orders`.
fn beat(member: &str, epoch: i32) -> ConsumerHeartbeat {
    ConsumerHeartbeat {
        member_id: member.into(),
        member_epoch: epoch,
        rebalance_timeout_ms: 30_000,
        topics: Some(vec!["orders".to_owned()]),
        owned: Some(Vec::new()),
        ..ConsumerHeartbeat::default()
    }
}

impl World {
    async fn beat(&self, request: ConsumerHeartbeat) -> Result<HeartbeatAnswer, GroupError> {
        let group = GroupId::new("readers");
        self.groups().consumer_heartbeat(&group, request).await
    }

    fn orders(&self) -> Partitions {
        let id = self.topics.topic_id("orders").unwrap();
        Partitions::from([(id, [0, 1].into())])
    }

    /// Kind and state of the only group.
    fn only(&self) -> (&'static str, &'static str) {
        let listed = self.groups().list();
        assert_eq!(listed.len(), 1, "{listed:?}");
        (listed[0].group_type, listed[0].state)
    }

    /// A classic member alone in its group, with an assignment that can be read.
    async fn classic(&self) -> (MemberId, i32) {
        let group = GroupId::new("readers");
        let joined = self.groups().join(&group, join_request("")).await;
        assert_eq!(joined.error, None);
        let sync = SyncRequest {
            member_id: joined.member_id.clone(),
            instance_id: None,
            generation: joined.generation,
            protocol_type: None,
            protocol_name: None,
            assignments: vec![(joined.member_id.clone(), Bytes::from_static(&[0; 10]))],
        };
        self.groups().sync(&group, sync).await.unwrap();
        (joined.member_id, joined.generation)
    }
}

#[tokio::test]
async fn members_keep_their_ids_and_epochs_over_a_restart() {
    let mut world = World::new();
    let joined = world.beat(beat("m", 0)).await.unwrap();
    assert_eq!(
        (joined.member_epoch, joined.assignment),
        (2, Some(world.orders()))
    );
    world.restart().await;
    assert_eq!(world.only(), ("consumer", "Stable"));
    assert_eq!(world.beat(beat("m", 2)).await.unwrap().member_epoch, 2);
    let group = GroupId::new("readers");
    let described = world.groups().describe_consumer(&group).unwrap();
    assert_eq!(described.members[0].assigned, world.orders());
    let classic = world.groups().describe(&group);
    assert_eq!(classic.err(), Some(GroupError::NotClassicGroup));
}

#[tokio::test]
async fn a_join_that_fails_leaves_no_group_behind() {
    let world = World::new();
    let wrong = ConsumerHeartbeat {
        regex: Some("[".to_owned()),
        ..beat("m", 0)
    };
    assert_eq!(world.beat(wrong).await, Err(GroupError::InvalidRegex));
    assert_eq!(
        world.beat(beat("m", 2)).await,
        Err(GroupError::GroupNotFound)
    );
    assert!(world.listed().is_empty());
}

/// A program of the largest size, matched with long names, takes seconds of CPU.
const SLOW: &str = "(?:a|a?b?a?|[a-c]{0,40}){200}x?[0-9a]*";

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_slow_expression_holds_up_nobody_else() {
    let world = Arc::new(World::new());
    for number in 0..300 {
        let name = format!("{}{number:06}", "a".repeat(200));
        world.topics.0.lock().insert(name, TopicId::random());
    }
    let slow = |member: &str| ConsumerHeartbeat {
        topics: Some(Vec::new()),
        regex: Some(SLOW.to_owned()),
        ..beat(member, 0)
    };
    let mut overtakes = false;
    // Again if the machine was so busy that the work was over before the commit.
    for round in 0..20 {
        let group = GroupId::new(format!("slow-{round}"));
        let joined = world.groups().consumer_heartbeat(&group, slow("m"));
        let joined = tokio::spawn(joined).await.unwrap().unwrap();
        assert_eq!(
            (joined.member_epoch, joined.assignment),
            (1, Some(Partitions::new())),
            "nobody has waited for the topics that match"
        );
        // The only thread that serves connections is free, and so is the lock of every group.
        let client = Arc::clone(&world);
        let committed = tokio::spawn(async move {
            client.commit("readers", "orders", 0, 5).await;
            client.heavy.is_busy()
        });
        overtakes = committed.await.unwrap();
        let left = ConsumerHeartbeat {
            member_epoch: LEAVE_EPOCH,
            ..slow("m")
        };
        let left = world.groups().consumer_heartbeat(&group, left).await;
        assert_eq!(left.unwrap().member_epoch, LEAVE_EPOCH);
        if overtakes {
            break;
        }
    }
    assert!(overtakes, "each commit has waited for an expression");
}

#[tokio::test]
async fn topics_that_match_reach_the_member_and_are_there_after_a_restart() {
    let mut world = World::new();
    let matching = ConsumerHeartbeat {
        topics: Some(Vec::new()),
        regex: Some("ord.*".to_owned()),
        ..beat("m", 0)
    };
    let joined = world.beat(matching).await.unwrap();
    assert_eq!(joined.member_epoch, 1);
    let next = |epoch| ConsumerHeartbeat {
        topics: None,
        owned: None,
        rebalance_timeout_ms: -1,
        ..beat("m", epoch)
    };
    let begun = Instant::now();
    let told = loop {
        let told = world.beat(next(1)).await.unwrap();
        if told.member_epoch > 1 {
            break told;
        }
        assert!(begun.elapsed() < LIMIT, "no topic matches");
        tokio::task::yield_now().await;
    };
    assert_eq!(told.assignment, Some(world.orders()));
    world.restart().await;
    let again = world.beat(next(2)).await.unwrap();
    assert_eq!((again.member_epoch, again.assignment), (2, None));
}

#[tokio::test]
async fn a_group_is_deleted_once_its_members_have_left() {
    let mut world = World::new();
    world.beat(beat("m", 0)).await.unwrap();
    let group = GroupId::new("readers");
    let early = world.groups().delete(&group).await;
    assert_eq!(early, Err(GroupError::NonEmptyGroup));
    world.beat(beat("m", LEAVE_EPOCH)).await.unwrap();
    assert_eq!(world.only(), ("consumer", "Empty"));
    world.groups().delete(&group).await.unwrap();
    world.restart().await;
    assert!(world.listed().is_empty());
}

#[tokio::test]
async fn an_empty_group_without_offsets_is_swept_away() {
    let world = World::new();
    world.beat(beat("m", 0)).await.unwrap();
    world.sweep(world.now_ms());
    assert_eq!(world.only(), ("consumer", "Stable"));
    world.beat(beat("m", LEAVE_EPOCH)).await.unwrap();
    world.sweep(world.now_ms());
    assert!(world.listed().is_empty());
}

#[tokio::test]
async fn offsets_are_fenced_by_epoch() {
    let world = World::new();
    world.beat(beat("m", 0)).await.unwrap();
    let group = GroupId::new("readers");
    let mut commit = unfenced(vec![world.new_offset("orders", 0, 7)]);
    commit.fence.member_id = "m".into();
    for (epoch, expected) in [
        (0, Err(GroupError::StaleMemberEpoch)),
        (3, Err(GroupError::StaleMemberEpoch)),
        (2, Ok(vec![Ok(())])),
    ] {
        commit.fence.generation = epoch;
        let committed = world.groups().commit(&group, commit.clone()).await;
        assert_eq!(committed, expected, "epoch {epoch}");
    }
    let (m, fetch) = (MemberId::from("m"), |member, epoch| {
        world.groups().fence_fetch(&group, member, epoch)
    });
    assert_eq!(fetch(Some(&m), 2), Ok(()));
    assert_eq!(fetch(Some(&m), 0), Err(GroupError::StaleMemberEpoch));
    assert_eq!(fetch(None, -1), Ok(()));
    let topics = vec![(TopicName::new("orders").unwrap(), vec![0])];
    let deleted = world.groups().delete_offsets(&group, topics).await;
    assert_eq!(deleted, Ok(vec![Err(GroupError::SubscribedToTopic)]));
}

#[tokio::test]
async fn a_group_changes_its_protocol_and_back_and_keeps_its_offsets() {
    let mut world = World::new();
    world.commit("readers", "bills", 0, 5).await;
    let classic = world.classic().await;
    let joined = world.beat(beat("m", 0)).await.unwrap();
    assert_eq!(joined.member_epoch, classic.1 + 1);
    assert_eq!(world.only(), ("consumer", "Reconciling"));
    world.restart().await;
    assert_eq!(world.only(), ("consumer", "Reconciling"));
    let told = world.heartbeat("readers", &classic);
    assert_eq!(told, Err(GroupError::RebalanceInProgress));
    world.beat(beat("m", LEAVE_EPOCH)).await.unwrap();
    assert_eq!(world.only(), ("classic", "PreparingRebalance"));
    world.restart().await;
    assert_eq!(world.only(), ("classic", "Stable"));
    let again = world.groups().describe(&GroupId::new("readers")).unwrap();
    assert_eq!(again.members[0].member_id, classic.0);
    assert_eq!(world.offset("readers", "bills", 0), Some(5));
}

#[tokio::test]
async fn a_join_that_waits_hears_of_the_change() {
    let world = World::new();
    let first = world.classic().await;
    let group = GroupId::new("readers");
    let mut second = join_request("");
    second.fresh_member_id = "second".into();
    // It waits for the first member to join again, who does not.
    let waiting = world.groups().join(&group, second);
    world.beat(beat("m", 0)).await.unwrap();
    let told = waiting.await;
    assert_eq!(told.error, Some(GroupError::RebalanceInProgress));
    let described = world.groups().describe_consumer(&group).unwrap();
    let ids: Vec<&str> = described
        .members
        .iter()
        .map(|one| one.member_id.as_str())
        .collect();
    assert_eq!(ids, [first.0.as_str(), "m", "second"]);
}

#[tokio::test]
async fn an_empty_group_takes_the_protocol_of_whoever_comes() {
    let mut world = World::new();
    world.commit("readers", "bills", 0, 5).await;
    world.beat(beat("m", 0)).await.unwrap();
    world.beat(beat("m", LEAVE_EPOCH)).await.unwrap();
    world.classic().await;
    assert_eq!(world.only(), ("classic", "Stable"));
    world.restart().await;
    assert_eq!(world.only(), ("classic", "Stable"));
    assert_eq!(world.offset("readers", "bills", 0), Some(5));
}

#[tokio::test]
async fn a_group_whose_members_are_no_consumers_stays_classic() {
    let world = World::new();
    // Its assignment is not what a consumer's leader gives.
    world.join("readers", "").await;
    assert_eq!(
        world.beat(beat("m", 0)).await,
        Err(GroupError::NotUpgradable(Obstacle::Malformed))
    );
    assert_eq!(world.only(), ("classic", "Stable"));
    assert_eq!(
        world.beat(beat("m", 1)).await,
        Err(GroupError::NotConsumerGroup)
    );
}

/// `ClassicGroupJoinToConsumerGroup` in `GroupMetadataManagerTest`: refusals come without an id.
#[tokio::test]
async fn a_classic_member_that_is_refused_by_a_consumer_group_gets_no_id() {
    let world = World::new();
    world.beat(beat("m", 0)).await.unwrap();
    let group = GroupId::new("readers");
    let mut other = join_request("c");
    other.protocol_type = "connect".into();
    let told = world.groups().join(&group, other).await;
    assert_eq!(told.error, Some(GroupError::InconsistentProtocol));
    assert_eq!(told.member_id, MemberId::default());
}

#[tokio::test]
async fn a_transaction_with_an_old_epoch_hears_illegal_generation_until_version_6() {
    let world = World::new();
    world.beat(beat("m", 0)).await.unwrap();
    let commit_as = |knows_all, member: &str, epoch| {
        let mut commit = unfenced(vec![world.new_offset("orders", 0, 7)]);
        commit.knows_group_not_found = knows_all;
        commit.fence.member_id = member.into();
        commit.fence.generation = epoch;
        let group = GroupId::new("readers");
        let begun =
            world
                .groups()
                .begin_pending_commit(&group, ProducerId(1), commit, Entry::new(), || {});
        begun.map(|taken| taken.results)
    };
    let commit = |member: &str, epoch| commit_as(false, member, epoch);
    // The member is in epoch 2, and has its partitions since then.
    for epoch in [0, 1, 3] {
        let newer = commit_as(true, "m", epoch);
        assert_eq!(newer, Err(GroupError::StaleMemberEpoch), "epoch {epoch}");
        assert_eq!(
            commit("m", epoch),
            Err(GroupError::IllegalGeneration),
            "epoch {epoch}"
        );
    }
    assert_eq!(commit("n", 2), Err(GroupError::UnknownMember));
    assert_eq!(commit("m", 2), Ok(vec![Ok(())]));
    assert_eq!(commit("", -1), Ok(vec![Ok(())]));
}

#[tokio::test]
async fn configs_of_a_group_survive_a_restart() {
    let mut world = World::new();
    let group = GroupId::new("readers");
    let set = |own: &mut crate::group::overrides::Overrides| {
        own.insert("consumer.heartbeat.interval.ms".into(), "7000".into());
        Ok(())
    };
    world
        .groups()
        .alter_group_configs(&group, true, set)
        .await
        .unwrap();
    assert!(world.groups().groups_with_configs().is_empty());
    world
        .groups()
        .alter_group_configs(&group, false, set)
        .await
        .unwrap();
    world.restart().await;
    assert_eq!(world.groups().groups_with_configs(), [group]);
    let joined = world.beat(beat("m", 0)).await.unwrap();
    assert_eq!(joined.heartbeat_interval_ms, 7_000);
}
