//! The leader's assignment and how members get it.

use super::*;

fn completing(ids: &[&str]) -> World {
    let mut world = World::new();
    for id in ids {
        world.join(first_join(id));
    }
    world.finish_joining();
    assert_eq!(world.state(), GroupState::CompletingRebalance);
    world
}

#[test]
fn followers_wait_for_the_leader_and_all_wait_for_the_disk() {
    let mut world = completing(&["a", "b"]);
    world.disk_is_quick = false;
    let b = world.sync(sync_of(&world, "b"));
    let a = world.sync(sync_of(&world, "a"));
    assert!(world.is_waiting(a) && world.is_waiting(b));
    assert_eq!(world.state(), GroupState::CompletingRebalance);
    world.store(Ok(()));
    assert_eq!(world.state(), GroupState::Stable);
    assert_eq!(world.synced(a).as_ref().unwrap().assignment, "a");
    assert_eq!(world.synced(b).as_ref().unwrap().assignment, "b");
    let record = world.stored.last().unwrap();
    assert_eq!(
        (record.generation, record.members[1].assignment.as_ref()),
        (1, &b"b"[..])
    );
}

#[test]
fn a_sync_in_a_stable_group_is_answered_at_once() {
    let mut world = World::stable(&["a", "b"]);
    let b = world.sync(sync_of(&world, "b"));
    assert_eq!(world.synced(b).as_ref().unwrap().assignment, "b");
}

#[test]
fn a_member_that_the_leader_leaves_out_gets_an_empty_assignment() {
    let mut world = completing(&["a", "b"]);
    let mut request = sync_of(&world, "a");
    request.assignments = vec![("a".into(), "x".into()), ("nobody".into(), "y".into())];
    let b = world.sync(sync_of(&world, "b"));
    world.sync(request);
    assert_eq!(world.synced(b).as_ref().unwrap().assignment, "");
    assert_eq!(world.stored.last().unwrap().members.len(), 2);
}

#[test]
fn a_sync_of_another_generation_or_protocol_is_refused() {
    let mut world = World::stable(&["a"]);
    let good = sync_of(&world, "a");
    let old = SyncRequest {
        generation: 0,
        ..good.clone()
    };
    let stranger = SyncRequest {
        member_id: "x".into(),
        ..good.clone()
    };
    let protocol = SyncRequest {
        protocol_name: Some("robin".into()),
        ..good.clone()
    };
    let kind = SyncRequest {
        protocol_type: Some("connect".into()),
        ..good.clone()
    };
    let silent = SyncRequest {
        protocol_type: None,
        protocol_name: None,
        ..good
    };
    for (request, expected) in [
        (old, Some(GroupError::IllegalGeneration)),
        (stranger, Some(GroupError::UnknownMember)),
        (protocol, Some(GroupError::InconsistentProtocol)),
        (kind, Some(GroupError::InconsistentProtocol)),
        (silent, None),
    ] {
        let ticket = world.sync(request);
        assert_eq!(world.synced(ticket).as_ref().err(), expected.as_ref());
    }
}

#[test]
fn a_sync_while_members_join_says_that_the_group_rebalances() {
    let mut world = World::stable(&["a", "b"]);
    world.join(first_join("c"));
    let a = world.sync(sync_of(&world, "a"));
    assert_eq!(*world.synced(a), Err(GroupError::RebalanceInProgress));
}

#[test]
fn a_member_that_joins_meanwhile_sends_those_who_wait_back_to_join() {
    let mut world = completing(&["a", "b"]);
    let b = world.sync(sync_of(&world, "b"));
    world.join(first_join("c"));
    assert_eq!(*world.synced(b), Err(GroupError::RebalanceInProgress));
    assert_eq!(world.state(), GroupState::PreparingRebalance);
}

#[test]
fn an_assignment_that_reaches_the_disk_after_its_generation_is_void() {
    let mut world = completing(&["a", "b"]);
    world.disk_is_quick = false;
    let a = world.sync(sync_of(&world, "a"));
    world.leave("b").unwrap();
    assert_eq!(*world.synced(a), Err(GroupError::RebalanceInProgress));
    world.join(rejoin("a"));
    assert_eq!(
        (world.state(), world.group.generation()),
        (GroupState::CompletingRebalance, 2)
    );
    world.store(Ok(()));
    assert_eq!(world.state(), GroupState::CompletingRebalance);
}

#[test]
fn an_assignment_that_cannot_be_stored_is_given_to_nobody() {
    let mut world = completing(&["a", "b"]);
    world.disk_is_quick = false;
    let (b, a) = (
        world.sync(sync_of(&world, "b")),
        world.sync(sync_of(&world, "a")),
    );
    world.store(Err(GroupError::NotStored));
    assert_eq!(*world.synced(a), Err(GroupError::NotStored));
    assert_eq!(*world.synced(b), Err(GroupError::NotStored));
    assert_eq!(world.state(), GroupState::PreparingRebalance);
}

#[test]
fn an_assignment_larger_than_a_record_may_be_is_refused() {
    let mut world = completing(&["a"]);
    let mut request = sync_of(&world, "a");
    request.assignments[0].1 = Bytes::from(vec![0; config().max_metadata_bytes]);
    let a = world.sync(request);
    assert_eq!(*world.synced(a), Err(GroupError::RecordTooLarge));
    assert!(world.stored.is_empty());
}

#[test]
fn who_has_joined_and_never_syncs_is_out_when_the_rebalance_timeout_is_over() {
    let mut world = completing(&["a", "b"]);
    let a = world.sync(sync_of(&world, "a"));
    assert_eq!(world.state(), GroupState::Stable);
    world.pass_alive(REBALANCE_MS, &["a", "b"]);
    assert!(world.synced(a).is_ok());
    assert_eq!(world.state(), GroupState::PreparingRebalance);
    assert_eq!(world.heartbeat("b", 1), Err(GroupError::UnknownMember));
    let a = world.join(rejoin("a"));
    assert_eq!(world.joined(a).members.len(), 1);
}

#[test]
fn a_leader_that_never_syncs_is_out_and_the_others_join_again() {
    let mut world = completing(&["a", "b"]);
    let b = world.sync(sync_of(&world, "b"));
    world.pass_alive(REBALANCE_MS, &["a"]);
    assert_eq!(*world.synced(b), Err(GroupError::RebalanceInProgress));
    let b = world.join(rejoin("b"));
    assert_eq!(world.joined(b).leader, "b".into());
}

#[test]
fn a_sync_sent_anew_takes_the_place_of_the_one_before() {
    let mut world = completing(&["a", "b"]);
    let first = world.sync(sync_of(&world, "b"));
    let second = world.sync(sync_of(&world, "b"));
    assert_eq!(*world.synced(first), Err(GroupError::RebalanceInProgress));
    world.sync(sync_of(&world, "a"));
    assert!(world.synced(second).is_ok());
}
