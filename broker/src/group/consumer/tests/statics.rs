//! Static members: after `GroupMetadataManagerTest` (`testStaticMember…`, `testShouldThrow…Instance…`).

use super::*;

fn of(instance: &str, request: HeartbeatRequest) -> HeartbeatRequest {
    HeartbeatRequest {
        instance_id: Some(instance.into()),
        ..request
    }
}

/// A static and a dynamic member, with half of the partitions each.
fn two() -> World {
    let mut world = World::new(&[("foo", 4)]);
    world.send(of("i", join("a", &["foo"]))).unwrap();
    world.join("b", &["foo"]);
    world.send(of("i", beat("a", 2))).unwrap();
    world.owns("a", 2, &[("foo", &[0, 1])]).unwrap();
    world.beat("b", 3).unwrap();
    assert_eq!(world.state(), ConsumerGroupState::Stable);
    world
}

#[test]
fn who_leaves_for_a_while_keeps_its_partitions_under_its_next_id() {
    let mut world = two();
    let left = world.send(of("i", beat("a", STATIC_LEAVE_EPOCH))).unwrap();
    assert_eq!(left.member_epoch, STATIC_LEAVE_EPOCH);
    // Nothing moves meanwhile.
    assert_eq!(world.beat("b", 3).unwrap().assignment, None);
    let back = world.send(of("i", join("a2", &["foo"]))).unwrap();
    assert_eq!(back.member_epoch, 3, "no rebalance");
    assert_eq!(back.assignment, Some(partitions(&[("foo", &[0, 1])])));
    assert!(!world.group.members.contains_key("a"));
    assert_eq!(world.state(), ConsumerGroupState::Stable);
    let old = world.send(of("i", beat("a", 3)));
    assert_eq!(old, Err(GroupError::FencedInstance));
}

#[test]
fn it_may_come_back_under_the_same_id() {
    let mut world = two();
    world.send(of("i", beat("a", STATIC_LEAVE_EPOCH))).unwrap();
    world.restart();
    let back = world.send(of("i", join("a", &["foo"]))).unwrap();
    assert_eq!((back.member_epoch, world.group.group_epoch), (3, 3));
}

#[test]
fn an_instance_in_use_is_not_given_to_another() {
    let mut world = two();
    let taken = world.send(of("i", join("c", &["foo"])));
    assert_eq!(taken, Err(GroupError::UnreleasedInstance));
    let fenced = world.send(of("i", beat("c", 3)));
    assert_eq!(fenced, Err(GroupError::FencedInstance));
    let unknown = world.send(of("j", beat("c", 3)));
    assert_eq!(unknown, Err(GroupError::UnknownMember));
}

#[test]
fn while_it_is_away_only_a_join_is_taken() {
    let mut world = two();
    world.send(of("i", beat("a", STATIC_LEAVE_EPOCH))).unwrap();
    let beat = world.send(of("i", beat("a", 3)));
    assert_eq!(beat, Err(GroupError::FencedMemberEpoch));
}

#[test]
fn who_does_not_come_back_in_its_session_is_out() {
    let mut world = two();
    world.send(of("i", beat("a", STATIC_LEAVE_EPOCH))).unwrap();
    world.advance(44_000);
    world.beat("b", 3).unwrap();
    world.advance(1_000);
    let got = world.beat("b", 3).unwrap().assignment;
    assert_eq!(got, Some(partitions(&[("foo", &[0, 1, 2, 3])])));
}

#[test]
fn a_static_member_that_leaves_for_good_is_gone() {
    let mut world = two();
    world.send(of("i", beat("a", LEAVE_EPOCH))).unwrap();
    let new = world.send(of("i", join("c", &["foo"]))).unwrap();
    assert_eq!(new.assignment, Some(partitions(&[("foo", &[0, 1])])));
}

#[test]
fn a_new_subscription_under_the_next_id_is_a_new_epoch() {
    let mut world = two();
    world.set_topic("bar", 2);
    world.send(of("i", beat("a", STATIC_LEAVE_EPOCH))).unwrap();
    world.send(of("i", join("a2", &["foo", "bar"]))).unwrap();
    assert_eq!(world.group.group_epoch, 4);
    assert!(world.assigned("a2").contains_key(&id_of("bar")));
}

#[test]
fn what_it_was_to_give_up_is_free_when_it_leaves_for_a_while() {
    let mut world = World::new(&[("foo", 4)]);
    world.send(of("i", join("a", &["foo"]))).unwrap();
    world.join("b", &["foo"]);
    world.send(of("i", beat("a", 2))).unwrap();
    world.send(of("i", beat("a", STATIC_LEAVE_EPOCH))).unwrap();
    let got = world.beat("b", 3).unwrap().assignment;
    assert_eq!(got, Some(partitions(&[("foo", &[2, 3])])));
}
