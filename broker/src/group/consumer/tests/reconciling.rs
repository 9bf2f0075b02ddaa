//! On the way to the target: after `CurrentAssignmentBuilderTest` and `GroupMetadataManagerTest`
//! (`testReconciliationProcess`, `testRebalanceTimeoutLifecycle`, `testRebalanceTimeoutExpiration`).

use super::*;

/// Two members of which the first must release half.
fn half_way() -> World {
    let mut world = World::new(&[("foo", 4)]);
    world.join("a", &["foo"]);
    world.join("b", &["foo"]);
    world.beat("a", 2).unwrap();
    assert_eq!(world.member("a").state, MemberState::Unrevoked);
    assert_eq!(world.member("b").state, MemberState::Unreleased);
    world
}

#[test]
fn silence_about_partitions_is_not_giving_them_up() {
    let mut world = half_way();
    assert_eq!(world.beat("a", 2).unwrap().member_epoch, 2);
    let some = world.owns("a", 2, &[("foo", &[0, 1, 3])]).unwrap();
    assert_eq!(some.member_epoch, 2);
    assert_eq!(world.beat("b", 3).unwrap().assignment, None);
    assert_eq!(
        world
            .owns("a", 2, &[("foo", &[0, 1])])
            .unwrap()
            .member_epoch,
        3
    );
    assert_eq!(world.member("a").state, MemberState::Stable);
}

#[test]
fn who_does_not_give_up_in_time_is_out() {
    let mut world = half_way();
    world.advance(9_999);
    world.beat("a", 2).unwrap();
    world.beat("b", 3).unwrap();
    world.advance(1);
    assert!(!world.group.members.contains_key("a"));
    let got = world.beat("b", 3).unwrap();
    assert_eq!(got.assignment, Some(partitions(&[("foo", &[0, 1, 2, 3])])));
}

#[test]
fn who_gives_up_in_time_stays() {
    let mut world = half_way();
    world.owns("a", 2, &[("foo", &[0, 1])]).unwrap();
    world.advance(10_000);
    assert!(world.group.members.contains_key("a"));
}

#[test]
fn the_time_to_give_up_goes_on_after_a_restart() {
    let mut world = half_way();
    world.restart();
    world.advance(10_000);
    assert!(!world.group.members.contains_key("a"));
}

#[test]
fn a_newer_target_overtakes_one_that_is_not_reached() {
    let mut world = half_way();
    world.join("c", &["foo"]);
    // Still in epoch 2: it first releases what it was asked to.
    assert_eq!(world.beat("a", 2).unwrap().assignment, None);
    let done = world.owns("a", 2, &[("foo", &[0, 1])]).unwrap();
    assert_eq!(done.member_epoch, 4);
    let mut free = world.assigned("a");
    for id in ["b", "c"] {
        let epoch = world.member(id).member_epoch;
        world.beat(id, epoch).unwrap();
        for (topic, partitions) in world.assigned(id) {
            free.entry(topic).or_default().extend(partitions);
        }
    }
    assert_eq!(free, partitions(&[("foo", &[0, 1, 2, 3])]));
    assert_eq!(world.state(), ConsumerGroupState::Stable);
}

#[test]
fn partitions_that_come_back_before_they_were_given_up_are_not_lost() {
    let mut world = half_way();
    world.leave("b").unwrap();
    let still = world.beat("a", 2).unwrap();
    assert_eq!(still.member_epoch, 2);
    let back = world.owns("a", 2, &[("foo", &[0, 1])]).unwrap();
    assert_eq!(back.member_epoch, 4);
    assert_eq!(back.assignment, Some(partitions(&[("foo", &[0, 1, 2, 3])])));
}

#[test]
fn a_member_that_joins_anew_has_given_up_everything() {
    let mut world = half_way();
    let again = world.join("a", &["foo"]);
    assert_eq!(
        (again.member_epoch, world.member("a").state),
        (3, MemberState::Stable)
    );
    assert_eq!(again.assignment, Some(partitions(&[("foo", &[0, 1])])));
}

#[test]
fn topics_given_up_by_subscription_are_given_up_before_the_rest_comes() {
    let mut world = World::new(&[("foo", 2), ("bar", 2)]);
    world.settings.assignment_interval_ms = 60_000;
    world.join("a", &["foo", "bar"]);
    // The target is not computed yet, and what it unsubscribes from goes all the same.
    let told = world.send(subscribe("a", 2, &["bar"])).unwrap();
    assert_eq!(told.assignment, Some(partitions(&[("bar", &[0, 1])])));
    assert_eq!(world.member("a").state, MemberState::Unrevoked);
    let done = world.owns("a", 2, &[("bar", &[0, 1])]).unwrap();
    assert_eq!(
        (done.member_epoch, world.member("a").state),
        (2, MemberState::Stable)
    );
}
