//! Joining, going on, leaving: after `GroupMetadataManagerTest`
//! (`testConsumerHeartbeat…`, `testMemberJoinsEmptyConsumerGroup`, `testLeavingMemberBumpsGroupEpoch`,
//! `testConsumerGroupMemberEpochValidation`, `testConsumerGroupHeartbeatFullResponse`,
//! `testSessionTimeoutExpiration`, `testConsumerGroupMaxSize…`).

use super::*;

#[test]
fn the_first_member_gets_all_partitions_at_once() {
    let mut world = World::new(&[("foo", 6), ("bar", 3)]);
    let answer = world.join("a", &["foo", "bar", "missing"]);
    assert_eq!(
        (answer.member_epoch, answer.heartbeat_interval_ms),
        (2, 5_000)
    );
    let all = partitions(&[("foo", &[0, 1, 2, 3, 4, 5]), ("bar", &[0, 1, 2])]);
    assert_eq!(answer.assignment, Some(all));
    assert_eq!(world.state(), ConsumerGroupState::Stable);
}

#[test]
fn who_is_not_a_member_is_told_so() {
    let mut world = World::new(&[("foo", 1)]);
    assert_eq!(world.beat("a", 2), Err(GroupError::UnknownMember));
    assert_eq!(world.leave("a"), Err(GroupError::UnknownMember));
    world.join("a", &["foo"]);
    assert_eq!(world.beat("b", 2), Err(GroupError::UnknownMember));
}

#[test]
fn a_new_member_gets_its_part_once_the_others_have_given_it_up() {
    let mut world = World::new(&[("foo", 4)]);
    world.join("a", &["foo"]);
    let joined = world.join("b", &["foo"]);
    assert_eq!(joined.member_epoch, 3);
    assert_eq!(joined.assignment, Some(Partitions::new()));
    assert_eq!(world.state(), ConsumerGroupState::Reconciling);
    // The first member is told to release half, and stays in its epoch until it has.
    let told = world.beat("a", 2).unwrap();
    assert_eq!(told.member_epoch, 2);
    assert_eq!(told.assignment, Some(partitions(&[("foo", &[0, 1])])));
    assert_eq!(world.beat("b", 3).unwrap().assignment, None);
    let done = world.owns("a", 2, &[("foo", &[0, 1])]).unwrap();
    assert_eq!((done.member_epoch, done.assignment), (3, None));
    let got = world.beat("b", 3).unwrap();
    assert_eq!(got.assignment, Some(partitions(&[("foo", &[2, 3])])));
    assert_eq!(world.state(), ConsumerGroupState::Stable);
}

#[test]
fn nothing_is_told_twice_unless_a_full_request_asks() {
    let mut world = World::new(&[("foo", 2)]);
    world.join("a", &["foo"]);
    assert_eq!(world.beat("a", 2).unwrap().assignment, None);
    let full = HeartbeatRequest {
        owned: Some(owned_of(&partitions(&[("foo", &[0, 1])]))),
        member_epoch: 2,
        ..join("a", &["foo"])
    };
    let told = world.send(full).unwrap().assignment;
    assert_eq!(told, Some(partitions(&[("foo", &[0, 1])])));
}

#[test]
fn epochs_other_than_the_own_are_fenced() {
    let mut world = World::new(&[("foo", 2)]);
    world.join("a", &["foo"]);
    world.join("b", &["foo"]);
    world.beat("a", 2).unwrap();
    world.owns("a", 2, &[("foo", &[0])]).unwrap();
    assert_eq!(world.beat("a", 4), Err(GroupError::FencedMemberEpoch));
    assert_eq!(world.beat("a", 2), Err(GroupError::FencedMemberEpoch));
    // The answer was lost: the epoch before is taken with partitions that it may have.
    assert_eq!(
        world.owns("a", 2, &[("foo", &[0])]).unwrap().member_epoch,
        3
    );
    let more = world.owns("a", 2, &[("foo", &[0, 1])]);
    assert_eq!(more, Err(GroupError::FencedMemberEpoch));
    // A fenced member joins again, under its id, with nothing.
    let again = world.join("a", &["foo"]);
    assert_eq!(again.member_epoch, 3);
    assert_eq!(again.assignment, Some(partitions(&[("foo", &[0])])));
}

#[test]
fn a_change_of_subscription_is_a_new_epoch() {
    let mut world = World::new(&[("foo", 2), ("bar", 1)]);
    world.join("a", &["foo"]);
    let told = world.send(subscribe("a", 2, &["foo", "bar"])).unwrap();
    assert_eq!(told.member_epoch, 3);
    assert_eq!(
        told.assignment,
        Some(partitions(&[("foo", &[0, 1]), ("bar", &[0])]))
    );
    // Topics that it no longer subscribes to must be released first.
    let told = world.send(subscribe("a", 3, &["bar"])).unwrap();
    assert_eq!(told.member_epoch, 3);
    assert_eq!(told.assignment, Some(partitions(&[("bar", &[0])])));
    assert_eq!(
        world.owns("a", 3, &[("bar", &[0])]).unwrap().member_epoch,
        4
    );
}

#[test]
fn who_leaves_frees_its_partitions() {
    let mut world = World::new(&[("foo", 2)]);
    world.join("a", &["foo"]);
    world.join("b", &["foo"]);
    world.beat("a", 2).unwrap();
    let left = world.leave("a").unwrap();
    assert_eq!((left.member_epoch, left.assignment), (LEAVE_EPOCH, None));
    assert_eq!(world.state(), ConsumerGroupState::Assigning);
    let got = world.beat("b", 3).unwrap();
    assert_eq!(
        (got.member_epoch, got.assignment),
        (4, Some(partitions(&[("foo", &[0, 1])])))
    );
    world.leave("b").unwrap();
    assert_eq!(
        (world.state(), world.group.is_empty()),
        (ConsumerGroupState::Empty, true)
    );
    assert_eq!(world.group.next_deadline_ms(), None);
}

#[test]
fn a_session_without_heartbeats_ends() {
    let mut world = World::new(&[("foo", 2)]);
    world.join("a", &["foo"]);
    world.join("b", &["foo"]);
    world.advance(44_999);
    world.beat("b", 3).unwrap();
    world.advance(1);
    assert!(!world.group.members.contains_key("a"));
    let got = world.beat("b", 3).unwrap().assignment;
    assert_eq!(got, Some(partitions(&[("foo", &[0, 1])])));
    assert_eq!(world.beat("a", 2), Err(GroupError::UnknownMember));
}

#[test]
fn a_full_group_takes_nobody_new() {
    let mut config = config();
    config.consumer.max_size = 1;
    let mut world = World::with(config, &[("foo", 1)]);
    world.join("a", &["foo"]);
    assert_eq!(world.send(join("b", &["foo"])), Err(GroupError::GroupFull));
    assert_eq!(world.beat("a", 2).unwrap().member_epoch, 2);
}

#[test]
fn members_may_say_so_much_and_no_more() {
    let mut config = config();
    config.max_metadata_bytes = 4_096;
    let mut world = World::with(config, &[("foo", 1)]);
    world.join("a", &["foo"]);
    let long = "x".repeat(4_096);
    let refused = world.send(subscribe("a", 2, &[&long]));
    assert_eq!(refused, Err(GroupError::RecordTooLarge));
    assert_eq!(world.beat("a", 2).unwrap().member_epoch, 2);
}

#[test]
fn many_changes_within_the_interval_are_one_assignment() {
    let mut world = World::new(&[("foo", 6)]);
    world.settings.assignment_interval_ms = 1_000;
    world.join("a", &["foo"]);
    let waits = world.join("b", &["foo"]);
    assert_eq!(
        (waits.member_epoch, waits.assignment),
        (2, Some(Partitions::new()))
    );
    world.join("c", &["foo"]);
    assert_eq!(
        (world.group.group_epoch, world.group.assignment_epoch),
        (4, 2)
    );
    world.advance(1_000);
    assert_eq!(
        world.beat("a", 2).unwrap().assignment,
        Some(partitions(&[("foo", &[0, 1])]))
    );
    assert_eq!(world.group.assignment_epoch, 4);
}

#[test]
fn the_assignor_that_most_want_is_taken() {
    let mut world = World::new(&[("foo", 3), ("bar", 3)]);
    assert_eq!(world.group.assignor(), Assignor::Uniform);
    for (id, assignor) in [("a", "range"), ("b", "range"), ("c", "uniform")] {
        let request = HeartbeatRequest {
            assignor: Some(assignor.to_owned()),
            ..join(id, &["foo", "bar"])
        };
        world.send(request).unwrap();
    }
    assert_eq!(world.group.describe().assignor, "range");
    assert_eq!(
        world.group.target(&"a".into()),
        partitions(&[("foo", &[0]), ("bar", &[0])])
    );
}

#[test]
fn members_go_on_with_their_ids_and_epochs_after_a_restart() {
    let mut world = World::new(&[("foo", 4)]);
    world.join("a", &["foo"]);
    world.join("b", &["foo"]);
    world.beat("a", 2).unwrap();
    world.restart();
    assert_eq!(
        world
            .owns("a", 2, &[("foo", &[0, 1])])
            .unwrap()
            .member_epoch,
        3
    );
    world.restart();
    let got = world.beat("b", 3).unwrap().assignment;
    assert_eq!(got, Some(partitions(&[("foo", &[2, 3])])));
    assert_eq!(
        (world.state(), world.group.group_epoch),
        (ConsumerGroupState::Stable, 3)
    );
    // Sessions start again.
    world.restart();
    world.advance(45_000);
    assert!(world.group.is_empty());
}

#[test]
fn a_large_target_is_computed_elsewhere_for_the_group_as_it_was() {
    let mut world = World::new(&[("foo", 20_000)]);
    let joined = world.join("a", &["foo"]);
    assert_eq!(joined.assignment, Some(Partitions::new()));
    let job = world.with_env(ConsumerGroup::begin_assigning).unwrap();
    assert!(world.with_env(ConsumerGroup::begin_assigning).is_none());
    let second = world.join("b", &["foo"]);
    assert_eq!(second.assignment, Some(Partitions::new()));
    let target = job.run(&world.image);
    world.with_env(|group, env| group.assigned(Some(target), env));
    let told = world.beat("a", joined.member_epoch).unwrap();
    let count = |told: &HeartbeatAnswer| {
        let assigned = told.assignment.as_ref().unwrap();
        assigned.values().map(BTreeSet::len).sum::<usize>()
    };
    assert_eq!((told.member_epoch, count(&told)), (2, 20_000));
    // The second member is part of the next one.
    let job = world.with_env(ConsumerGroup::begin_assigning).unwrap();
    let target = job.run(&world.image);
    world.with_env(|group, env| group.assigned(Some(target), env));
    let less = world.beat("a", 2).unwrap();
    assert_eq!(count(&less), 10_000);
    // A target that cannot be computed now is requested again.
    world.join("c", &["foo"]);
    assert!(world.with_env(ConsumerGroup::begin_assigning).is_some());
    world.with_env(|group, env| group.assigned(None, env));
    world.join("d", &["foo"]);
    assert!(world.with_env(ConsumerGroup::begin_assigning).is_some());
}
