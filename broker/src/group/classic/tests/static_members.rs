//! Static members (KIP-345): the instance stays, member ids come and go.

use super::*;

fn stable(instances: &[&str]) -> World {
    let joins = instances
        .iter()
        .map(|instance| static_join(instance, &format!("{instance}-1")));
    World::stable_of(config(), joins.collect())
}

#[test]
fn a_static_member_is_let_in_without_being_sent_away() {
    let mut world = World::new();
    let ticket = world.join(JoinRequest {
        member_id_required: true,
        ..static_join("i", "i-1")
    });
    world.pass(3_000);
    assert_eq!(world.joined(ticket).member_id, "i-1".into());
}

#[test]
fn a_returning_static_member_takes_its_place_over_without_a_rebalance() {
    let mut world = stable(&["i", "j"]);
    world.disk_is_quick = false;
    let back = world.join(static_join("j", "j-2"));
    assert!(world.is_waiting(back), "the new id must be on disk first");
    world.store(Ok(()));
    let answer = world.joined(back);
    assert_eq!((answer.error, answer.generation), (None, 1));
    assert_eq!(
        (answer.member_id.as_str(), answer.leader.as_str()),
        ("j-2", "i-1")
    );
    assert!(!answer.skip_assignment && answer.members.is_empty());
    assert_eq!(world.state(), GroupState::Stable);
    assert_eq!(world.stored.last().unwrap().members[1].member_id, "j-2");
    let sync = world.sync(SyncRequest {
        instance_id: Some("j".into()),
        ..sync_of(&world, "j-2")
    });
    assert_eq!(
        world.synced(sync).as_ref().unwrap().assignment,
        "j-1",
        "what it had before"
    );
}

#[test]
fn the_id_that_was_replaced_is_fenced() {
    let mut world = stable(&["i"]);
    world.join(static_join("i", "i-2"));
    let old = HeartbeatRequest {
        member_id: "i-1".into(),
        instance_id: Some("i".into()),
        generation: 1,
    };
    assert_eq!(
        world.group.heartbeat(&old, world.now),
        Err(GroupError::FencedInstance)
    );
    let mut rejoined = rejoin("i-1");
    rejoined.info.instance_id = Some("i".into());
    let ticket = world.join(rejoined);
    assert_eq!(world.joined(ticket).error, Some(GroupError::FencedInstance));
}

#[test]
fn who_waits_under_the_replaced_id_is_fenced() {
    let mut world = stable(&["i", "j"]);
    let waiting = world.join(JoinRequest {
        member_id: "i-1".into(),
        ..static_join("i", "unused")
    });
    assert!(world.is_waiting(waiting));
    let twin = world.join(static_join("i", "i-2"));
    assert_eq!(
        world.joined(waiting).error,
        Some(GroupError::FencedInstance)
    );
    assert!(world.is_waiting(twin), "the rebalance goes on");
}

#[test]
fn a_returning_leader_is_told_to_skip_the_assignment_if_it_knows_how() {
    let mut world = stable(&["i", "j"]);
    let back = world.join(static_join("i", "i-2"));
    let answer = world.joined(back);
    assert!(answer.skip_assignment);
    assert_eq!((answer.leader.as_str(), answer.members.len()), ("i-2", 2));

    let mut world = stable(&["i", "j"]);
    let old_client = JoinRequest {
        may_skip_assignment: false,
        ..static_join("i", "i-2")
    };
    let back = world.join(old_client);
    let answer = world.joined(back);
    assert!(!answer.skip_assignment && answer.members.is_empty());
    assert_eq!(
        answer.leader.as_str(),
        "i-1",
        "so that it does not compute an assignment"
    );
}

#[test]
fn a_return_that_changes_the_protocol_begins_a_rebalance() {
    let mut world = stable(&["i", "j"]);
    for instance in ["i", "j"] {
        let mut request = static_join(instance, &format!("{instance}-2"));
        request.info.protocols = protocols(&["robin", "range"], "x");
        world.join(request);
    }
    assert_eq!(world.state(), GroupState::PreparingRebalance);
}

#[test]
fn a_return_while_the_leader_assigns_begins_the_rebalance_anew() {
    let mut world = World::new();
    world.join(static_join("i", "i-1"));
    world.join(static_join("j", "j-1"));
    world.finish_joining();
    let parked = world.sync(sync_of(&world, "j-1"));
    world.join(static_join("j", "j-2"));
    assert_eq!(*world.synced(parked), Err(GroupError::FencedInstance));
    assert_eq!(world.state(), GroupState::PreparingRebalance);
}

#[test]
fn a_return_that_cannot_be_stored_is_undone() {
    let mut world = stable(&["i", "j"]);
    world.disk_is_quick = false;
    let back = world.join(static_join("j", "j-2"));
    world.store(Err(GroupError::NotStored));
    assert_eq!(world.joined(back).error, Some(GroupError::NotStored));
    assert_eq!(world.heartbeat("j-1", 1), Ok(()));
    assert_eq!(world.heartbeat("j-2", 1), Err(GroupError::UnknownMember));
}

#[test]
fn a_static_member_that_is_late_keeps_its_place() {
    let mut world = World::stable_of(config(), vec![first_join("a"), static_join("i", "i-1")]);
    let a = world.join(rejoin("a"));
    world.pass_alive(REBALANCE_MS, &["i-1"]);
    let members = &world.joined(a).members;
    assert_eq!(members.len(), 2);
    assert_eq!(world.heartbeat("i-1", 2), Ok(()));
}

#[test]
fn if_only_late_static_members_are_left_their_sessions_decide() {
    let mut world = World::stable_of(config(), vec![first_join("a"), static_join("i", "i-1")]);
    world.leave("a").unwrap();
    world.pass_alive(REBALANCE_MS, &["i-1"]);
    assert_eq!(world.state(), GroupState::PreparingRebalance);
    world.pass(SESSION_MS);
    assert_eq!(world.state(), GroupState::Empty);
}

#[test]
fn an_administrator_removes_an_instance_by_its_name() {
    let mut world = stable(&["i", "j"]);
    let by_name = |name: &str| Leaving {
        member_id: "".into(),
        instance_id: Some(name.into()),
    };
    let wrong = Leaving {
        member_id: "i-1".into(),
        instance_id: Some("j".into()),
    };
    let (results, effects) = world
        .group
        .leave(&[by_name("j"), by_name("x"), wrong], world.now);
    world.take(effects);
    let expected = vec![
        Ok(()),
        Err(GroupError::UnknownMember),
        Err(GroupError::UnknownMember),
    ];
    assert_eq!(results, expected);
    assert_eq!(world.state(), GroupState::PreparingRebalance);
}

/// `testStaticMemberRejoinWithKnownLeaderIdToTriggerRebalanceAndFollowerWithChangeOfProtocol`
#[test]
fn a_static_member_that_knows_its_id_joins_again_like_any_other() {
    let mut world = stable(&["i", "j"]);
    let again = |instance: &str, names: &[&str]| {
        let mut request = static_join(instance, "unused");
        request.member_id = format!("{instance}-1").as_str().into();
        request.info.protocols = protocols(names, "topics");
        request
    };
    let follower = world.join(again("j", &["range"]));
    assert_eq!(world.joined(follower).generation, 1, "nothing new");
    let leader = world.join(again("i", &["range"]));
    assert!(
        world.is_waiting(leader),
        "a leader begins the next generation"
    );
    let follower = world.join(again("j", &["range"]));
    assert_eq!(world.joined(leader).generation, 2);
    assert_eq!(world.joined(follower).leader, "i-1".into());
    let other = world.join(again("j", &["range", "robin"]));
    assert!(
        world.is_waiting(other),
        "new protocols begin the next generation"
    );
    world.pass(SESSION_MS);
    assert_eq!(world.joined(other).leader, "j-1".into());
    assert_eq!(world.joined(other).generation, 3);
}

/// `testReplaceStaticMemberInStableStateSucceeds`, of one that has not synced yet: it may take its
/// time, and is out when the rebalance timeout ends.
#[test]
fn a_replaced_member_still_owes_its_sync() {
    let mut world = World::new();
    world.join(static_join("i", "i-1"));
    world.join(static_join("j", "j-1"));
    world.finish_joining();
    world.sync(sync_of(&world, "i-1"));
    assert_eq!(world.state(), GroupState::Stable);
    let back = world.join(static_join("j", "j-2"));
    assert_eq!(world.joined(back).generation, 1);
    let synced = world.sync(sync_of(&world, "j-2"));
    assert!(world.synced(synced).is_ok());
    world.pass_alive(2 * REBALANCE_MS, &["i-1", "j-2"]);
    assert_eq!(world.state(), GroupState::Stable);
    assert_eq!(world.group.member_count(), 2);
}
