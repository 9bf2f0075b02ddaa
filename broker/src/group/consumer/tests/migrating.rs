//! From the classic protocol and back: after `GroupMetadataManagerTest`
//! (`testConsumerGroupHeartbeat…ClassicGroup…`, `testJoiningConsumerGroup…`,
//! `testClassicGroupSyncToConsumerGroup…`, `testLastConsumerProtocolMember…`).

use bytes::Bytes;

use super::*;
use crate::group::classic::{
    self, GroupState, JoinRequest, Leaving, MemberInfo, Protocol, SyncRequest,
};
use crate::group::config::MigrationPolicy;
use crate::group::consumer::embedded::{self, tests::subscription};
use crate::group::error::Obstacle;

fn info(topics: &[&str]) -> MemberInfo {
    MemberInfo {
        instance_id: None,
        client_id: "client".into(),
        client_host: "/127.0.0.1".into(),
        session_timeout_ms: 10_000,
        rebalance_timeout_ms: 20_000,
        protocols: vec![Protocol {
            name: "range".into(),
            metadata: subscription(topics),
        }],
    }
}

fn classic_join(id: &str, topics: &[&str]) -> JoinRequest {
    JoinRequest {
        member_id: id.into(),
        fresh_member_id: "fresh".into(),
        protocol_type: "consumer".into(),
        info: info(topics),
        member_id_required: true,
        may_skip_assignment: true,
    }
}

fn classic_beat(id: &str, generation: i32) -> classic::HeartbeatRequest {
    classic::HeartbeatRequest {
        member_id: id.into(),
        instance_id: None,
        generation,
    }
}

fn sync(id: &str, generation: i32) -> SyncRequest {
    SyncRequest {
        member_id: id.into(),
        instance_id: None,
        generation,
        protocol_type: Some("consumer".into()),
        protocol_name: Some("range".into()),
        assignments: Vec::new(),
    }
}

fn leaving(id: &str) -> Leaving {
    Leaving {
        member_id: id.into(),
        instance_id: None,
    }
}

/// A stable classic group of generation 7 whose members have these partitions of `foo`.
fn classic_group(world: &World, members: &[(&str, &[i32])]) -> ClassicGroup {
    let infos = members.iter().map(|(id, _)| ((*id).into(), info(&["foo"])));
    let assignment = |id: &MemberId, metadata: &[u8]| {
        let (_, owned) = members
            .iter()
            .find(|(name, _)| id.as_str() == *name)
            .unwrap();
        embedded::write(&partitions(&[("foo", owned)]), metadata, &world.image)
    };
    let now = Now {
        tick_ms: world.now_ms,
        wall_ms: world.now_ms,
    };
    let config = world.group.config.clone();
    ClassicGroup::of_consumers(config, 7, infos.collect(), assignment, now)
}

/// A consumer group that was the classic one of `c1` and `c2` until `new` joined.
fn upgraded() -> World {
    let mut world = World::new(&[("foo", 6)]);
    let classic = classic_group(&world, &[("c1", &[0, 1, 2]), ("c2", &[3, 4, 5])]);
    world.with_env(|group, env| {
        *group = ConsumerGroup::upgraded(&classic, group.config.clone(), env).unwrap();
    });
    let joined = world.join("new", &["foo"]);
    assert_eq!(
        (joined.member_epoch, joined.assignment),
        (8, Some(Partitions::new()))
    );
    world
}

/// A classic member goes through a rebalance: hears of it, joins, syncs. Returns what it gets.
fn rejoin(world: &mut World, id: &str, epoch: i32) -> (i32, Partitions) {
    let beat = world.with_env(|group, env| group.classic_heartbeat(&classic_beat(id, epoch), env));
    assert_eq!(beat, Err(GroupError::RebalanceInProgress));
    let join = classic_join(id, &["foo"]);
    let joined = world
        .with_env(|group, env| group.classic_join(join, env))
        .unwrap();
    assert_eq!((joined.error, joined.leader.as_str()), (None, ""));
    let request = sync(id, joined.generation);
    let synced = world
        .with_env(|group, env| group.classic_sync(&request, env))
        .unwrap();
    let assignment = embedded::Assignment::read(&synced.assignment).unwrap();
    (
        joined.generation,
        embedded::by_id(&assignment.partitions, &world.image),
    )
}

#[test]
fn a_classic_group_is_taken_over_with_what_its_members_have() {
    let mut world = upgraded();
    assert_eq!(world.assigned("c1"), partitions(&[("foo", &[0, 1, 2])]));
    assert_eq!(world.member("c1").member_epoch, 7);
    // Both classic members join again, release partitions, and the new one gets what is free.
    let (epoch, kept) = rejoin(&mut world, "c1", 7);
    assert_eq!((epoch, kept), (8, partitions(&[("foo", &[0, 1])])));
    rejoin(&mut world, "c2", 7);
    let got = world.beat("new", 8).unwrap().assignment;
    assert_eq!(got, Some(partitions(&[("foo", &[2, 5])])));
    let calm = world.with_env(|group, env| group.classic_heartbeat(&classic_beat("c1", 8), env));
    assert_eq!((calm, world.state()), (Ok(()), ConsumerGroupState::Stable));
}

#[test]
fn migrated_members_are_there_after_a_restart() {
    let mut world = upgraded();
    world.restart();
    assert_eq!(rejoin(&mut world, "c1", 7).0, 8);
    assert!(world.member("c2").classic.is_some());
}

#[test]
fn classic_members_are_fenced_as_in_a_classic_group() {
    let mut world = upgraded();
    let mut beat = |id: &str, generation| {
        world.with_env(|group, env| group.classic_heartbeat(&classic_beat(id, generation), env))
    };
    assert_eq!(beat("nobody", 7), Err(GroupError::UnknownMember));
    assert_eq!(beat("new", 8), Err(GroupError::UnknownMember));
    assert_eq!(beat("c1", 6), Err(GroupError::IllegalGeneration));
    let early = world.with_env(|group, env| group.classic_sync(&sync("c1", 7), env));
    assert_eq!(early.err(), Some(GroupError::RebalanceInProgress));
    let other = SyncRequest {
        protocol_name: Some("sticky".into()),
        ..sync("c1", 7)
    };
    let other = world.with_env(|group, env| group.classic_sync(&other, env));
    assert_eq!(other.err(), Some(GroupError::InconsistentProtocol));
}

#[test]
fn a_classic_member_that_does_not_join_again_in_time_is_out() {
    let mut world = upgraded();
    for _ in 0..2 {
        let beat =
            world.with_env(|group, env| group.classic_heartbeat(&classic_beat("c1", 7), env));
        assert_eq!(beat, Err(GroupError::RebalanceInProgress));
        world.advance(9_999);
    }
    world.advance(2);
    assert!(!world.group.members.contains_key("c1"));
}

#[test]
fn a_classic_member_may_join_a_consumer_group() {
    let mut world = World::new(&[("foo", 2)]);
    world.join("a", &["foo"]);
    let first = classic_join("", &["foo"]);
    let told = world
        .with_env(|group, env| group.classic_join(first, env))
        .unwrap();
    assert_eq!(told.error, Some(GroupError::MemberIdRequired));
    let join = classic_join("fresh", &["foo"]);
    let joined = world
        .with_env(|group, env| group.classic_join(join, env))
        .unwrap();
    assert_eq!((joined.error, joined.generation), (None, 3));
    let mut other = classic_join("x", &["foo"]);
    other.info.protocols[0].name = "sticky".into();
    let other = world.with_env(|group, env| group.classic_join(other, env));
    assert_eq!(other.err(), Some(GroupError::InconsistentProtocol));
}

#[test]
fn the_last_one_to_leave_turns_the_group_classic() {
    let mut world = upgraded();
    rejoin(&mut world, "c1", 7);
    let env_leave = beat("new", LEAVE_EPOCH);
    let left = world.with_env(|group, env| {
        let answer = group.heartbeat(env_leave, env);
        (answer, group.take_successor())
    });
    let successor = left.1.expect("a classic group comes after it");
    assert!(left.0.is_ok() && successor.rebalance);
    assert_eq!(successor.group.state(), GroupState::Stable);
    assert_eq!(successor.group.generation(), 8);
    let consumers = successor.group.consumers().unwrap();
    let of = |id: &str| {
        let consumer = consumers
            .iter()
            .find(|one| one.member_id.as_str() == id)
            .unwrap();
        let read = embedded::Assignment::read(&consumer.assignment).unwrap();
        embedded::by_id(&read.partitions, &world.image)
    };
    assert_eq!(of("c1"), partitions(&[("foo", &[0, 1])]));
    assert_eq!(of("c2"), partitions(&[("foo", &[3, 4])]));
}

#[test]
fn classic_members_leave_like_others() {
    let mut world = upgraded();
    let results =
        world.with_env(|group, env| group.classic_leave(&[leaving("c1"), leaving("nobody")], env));
    assert_eq!(results, [Ok(()), Err(GroupError::UnknownMember)]);
    assert_eq!(world.group.member_count(), 2);
}

#[test]
fn the_policy_decides() {
    let mut config = config();
    config.consumer.migration_policy = MigrationPolicy::Disabled;
    let mut world = World::with(config, &[("foo", 2)]);
    let classic = classic_group(&world, &[("c1", &[0, 1])]);
    let upgraded = world
        .with_env(|group, env| ConsumerGroup::upgraded(&classic, group.config.clone(), env).err());
    assert_eq!(
        upgraded,
        Some(GroupError::NotUpgradable(Obstacle::Disabled))
    );
    world.join("a", &["foo"]);
    let join = classic_join("c", &["foo"]);
    let refused = world.with_env(|group, env| group.classic_join(join, env));
    assert_eq!(refused.err(), Some(GroupError::InconsistentProtocol));
}

#[test]
fn an_assignor_that_keeps_data_of_its_own_cannot_be_taken_over() {
    let mut world = World::new(&[("foo", 2)]);
    let with_data = |_: &MemberId, _: &[u8]| Bytes::from_static(b"\0\0\0\0\0\0\0\0\0\x01x");
    let now = Now {
        tick_ms: 0,
        wall_ms: 0,
    };
    let members = vec![("c1".into(), info(&["foo"]))];
    let config = world.group.config.clone();
    let classic = ClassicGroup::of_consumers(config, 7, members, with_data, now);
    let refused = world
        .with_env(|group, env| ConsumerGroup::upgraded(&classic, group.config.clone(), env).err());
    assert_eq!(
        refused,
        Some(GroupError::NotUpgradable(Obstacle::CustomAssignor))
    );
}

#[test]
fn a_member_without_an_id_gets_one_before_its_metadata_is_read() {
    let mut world = World::new(&[("foo", 2)]);
    world.join("a", &["foo"]);
    let empty = || {
        let mut join = classic_join("", &["foo"]);
        join.info.protocols[0].metadata = Bytes::new();
        join
    };
    let told = world
        .with_env(|group, env| group.classic_join(empty(), env))
        .unwrap();
    assert_eq!(told.error, Some(GroupError::MemberIdRequired));
    assert_eq!(told.member_id, "fresh".into());
    let again = JoinRequest {
        member_id: told.member_id,
        ..empty()
    };
    let refused = world.with_env(|group, env| group.classic_join(again, env));
    assert_eq!(refused.err(), Some(GroupError::InconsistentProtocol));
}
