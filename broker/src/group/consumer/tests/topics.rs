//! Topics that change: after `GroupMetadataManagerTest` (`testPartitionMetadata…`,
//! `testSubscriptionMetadataRefreshedAgain…`, `testOnNewMetadataImage`).

use super::*;

#[test]
fn added_partitions_are_assigned_on_the_next_heartbeat() {
    let mut world = World::new(&[("foo", 1)]);
    world.join("a", &["foo"]);
    world.set_topic("foo", 3);
    let more = world.beat("a", 2).unwrap();
    assert_eq!(more.member_epoch, 3);
    assert_eq!(more.assignment, Some(partitions(&[("foo", &[0, 1, 2])])));
}

#[test]
fn a_topic_may_come_after_its_subscribers() {
    let mut world = World::new(&[]);
    let joined = world.join("a", &["foo"]);
    assert_eq!(
        (joined.member_epoch, joined.assignment),
        (2, Some(Partitions::new()))
    );
    world.set_topic("foo", 1);
    assert_eq!(
        world.beat("a", 2).unwrap().assignment,
        Some(partitions(&[("foo", &[0])]))
    );
}

#[test]
fn a_deleted_topic_is_taken_away() {
    let mut world = World::new(&[("foo", 1), ("bar", 1)]);
    world.join("a", &["foo", "bar"]);
    world.delete_topic("foo");
    let told = world.beat("a", 2).unwrap();
    assert_eq!(told.assignment, Some(partitions(&[("bar", &[0])])));
    assert_eq!(
        world.owns("a", 2, &[("bar", &[0])]).unwrap().member_epoch,
        3
    );
    assert_eq!(world.state(), ConsumerGroupState::Stable);
}

#[test]
fn other_topics_are_none_of_its_business() {
    let mut world = World::new(&[("foo", 1)]);
    world.join("a", &["foo"]);
    world.set_topic("bar", 1);
    world.beat("a", 2).unwrap();
    assert_eq!(world.group.group_epoch, 2);
}

#[test]
fn a_member_that_subscribes_to_nothing_is_a_member() {
    let mut world = World::new(&[("foo", 1)]);
    let joined = world.join("a", &[]);
    assert_eq!(
        (joined.member_epoch, joined.assignment),
        (1, Some(Partitions::new()))
    );
    assert_eq!(world.state(), ConsumerGroupState::Stable);
}
