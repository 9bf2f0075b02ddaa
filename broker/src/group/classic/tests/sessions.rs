//! Heartbeats, leaving, dying, and going on after a restart.

use super::*;

#[test]
fn heartbeats_keep_a_member_and_silence_ends_it() {
    let mut world = World::stable(&["a", "b"]);
    world.pass_alive(10 * SESSION_MS, &["a", "b"]);
    assert_eq!(world.state(), GroupState::Stable);
    world.pass_alive(SESSION_MS, &["a"]);
    assert_eq!(world.state(), GroupState::PreparingRebalance);
    assert_eq!(world.heartbeat("b", 1), Err(GroupError::UnknownMember));
    let a = world.join(rejoin("a"));
    assert_eq!(world.joined(a).generation, 2);
}

#[test]
fn a_heartbeat_of_another_generation_is_refused() {
    let mut world = World::stable(&["a"]);
    assert_eq!(world.heartbeat("a", 1), Ok(()));
    assert_eq!(world.heartbeat("a", 0), Err(GroupError::IllegalGeneration));
    assert_eq!(world.heartbeat("x", 1), Err(GroupError::UnknownMember));
}

#[test]
fn a_heartbeat_during_a_rebalance_says_so_and_is_a_sign_of_life() {
    let mut world = World::stable(&["a", "b"]);
    world.join(first_join("c"));
    world.pass(SESSION_MS - 1);
    assert_eq!(
        world.heartbeat("a", 1),
        Err(GroupError::RebalanceInProgress)
    );
    world.pass(SESSION_MS - 1);
    assert_eq!(
        world.heartbeat("a", 1),
        Err(GroupError::RebalanceInProgress)
    );
    assert_eq!(world.heartbeat("b", 1), Err(GroupError::UnknownMember));
}

#[test]
fn who_waits_in_a_join_is_alive() {
    let mut world = World::stable(&["a", "b"]);
    let a = world.join(rejoin("a"));
    world.pass_alive(3 * SESSION_MS, &["b"]);
    assert!(world.is_waiting(a));
    world.join(rejoin("b"));
    assert_eq!(world.joined(a).members.len(), 2);
}

#[test]
fn who_waits_in_a_sync_is_alive_and_has_a_whole_session_after_it() {
    let mut world = World::new();
    for id in ["a", "b"] {
        world.join(first_join(id));
    }
    world.finish_joining();
    let b = world.sync(sync_of(&world, "b"));
    world.pass_alive(2 * SESSION_MS, &["a"]);
    world.sync(sync_of(&world, "a"));
    assert!(world.synced(b).is_ok());
    world.pass(SESSION_MS - 1);
    assert_eq!(world.heartbeat("b", 1), Ok(()));
}

#[test]
fn a_member_that_leaves_begins_a_rebalance_and_the_last_one_empties_the_group() {
    let mut world = World::stable(&["a", "b"]);
    assert_eq!(world.leave("b"), Ok(()));
    assert_eq!(world.state(), GroupState::PreparingRebalance);
    assert_eq!(world.leave("b"), Err(GroupError::UnknownMember));
    assert_eq!(world.leave("a"), Ok(()));
    assert_eq!(
        (world.state(), world.group.generation()),
        (GroupState::Empty, 2)
    );
    let record = world.stored.last().unwrap();
    assert_eq!((record.generation, record.members.len()), (2, 0));
    assert_eq!(record.protocol_type.as_deref(), Some("consumer"));
    assert_eq!((&record.protocol_name, &record.leader), (&None, &None));
    assert_eq!(world.group.next_deadline_ms(), None);
}

#[test]
fn who_leaves_while_it_waits_is_told_that_it_is_out() {
    let mut world = World::stable(&["a", "b"]);
    let a = world.join(rejoin("a"));
    world.leave("a").unwrap();
    assert_eq!(world.joined(a).error, Some(GroupError::UnknownMember));
}

#[test]
fn members_go_on_after_a_restart_in_their_generation() {
    let before = World::stable(&["a", "b"]);
    let record = before.stored.last().unwrap().clone();
    let mut world = World::new();
    world.group = ClassicGroup::restore(Arc::new(config()), record.clone(), world.now);
    assert_eq!(world.state(), GroupState::Stable);
    assert_eq!(world.group.record(None), record);
    assert_eq!(world.heartbeat("b", 1), Ok(()));
    let b = world.sync(sync_of(&world, "b"));
    assert_eq!(world.synced(b).as_ref().unwrap().assignment, "b");
    let b = world.join(rejoin("b"));
    assert_eq!(world.joined(b).generation, 1);
    world.pass(SESSION_MS);
    assert_eq!(
        world.state(),
        GroupState::Empty,
        "nobody was heard of after the restart"
    );
}

#[test]
fn a_restart_with_a_lower_limit_shrinks_the_group() {
    let before = World::stable(&["a", "b"]);
    let record = before.stored.last().unwrap().clone();
    let config = GroupConfig {
        max_size: 1,
        ..config()
    };
    let mut world = World::with(config.clone());
    world.group = ClassicGroup::restore(Arc::new(config), record, world.now);
    assert_eq!(world.state(), GroupState::PreparingRebalance);
    let b = world.join(rejoin("b"));
    let a = world.join(rejoin("a"));
    assert_eq!(world.joined(a).error, Some(GroupError::GroupFull));
    world.pass(REBALANCE_MS);
    assert_eq!(world.joined(b).members.len(), 1);
}

#[test]
fn a_group_that_is_closed_answers_all_who_wait() {
    let mut world = World::stable(&["a", "b"]);
    let a = world.join(rejoin("a"));
    let effects = world.group.close(world.now);
    world.take(effects);
    assert_eq!(world.joined(a).error, Some(GroupError::ShuttingDown));
    assert_eq!(
        (world.state(), world.group.next_deadline_ms()),
        (GroupState::Dead, None)
    );
    assert_eq!(world.heartbeat("a", 1), Err(GroupError::Gone));
    let late = world.join(first_join("c"));
    assert_eq!(world.joined(late).error, Some(GroupError::Gone));
}

#[test]
fn metadata_and_protocol_are_described_while_the_group_is_stable() {
    let mut world = World::stable(&["a"]);
    let members = world.group.describe_members();
    assert_eq!(
        (members[0].metadata.as_ref(), members[0].assignment.as_ref()),
        (&b"topics"[..], &b"a"[..])
    );
    assert_eq!(world.group.described_protocol(), Some("range"));
    world.join(first_join("b"));
    assert!(world.group.describe_members()[0].metadata.is_empty());
    assert_eq!(world.group.described_protocol(), None);
}
