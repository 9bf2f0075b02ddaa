//! Joining, and how long a rebalance waits for whom.

use super::*;

#[test]
fn a_new_dynamic_member_gets_an_id_first_and_joins_with_it() {
    let mut world = World::new();
    let request = JoinRequest {
        member_id_required: true,
        ..first_join("a")
    };
    let sent_away = world.join(request);
    let answer = world.joined(sent_away);
    assert_eq!(answer.error, Some(GroupError::MemberIdRequired));
    assert_eq!(answer.member_id, "a".into());
    assert_eq!(world.state(), GroupState::Empty);

    let joined = world.join(rejoin("a"));
    assert_eq!(world.state(), GroupState::PreparingRebalance);
    world.pass(3_000);
    assert_eq!(world.joined(joined).generation, 1);
    assert_eq!(world.joined(joined).member_id, "a".into());
}

#[test]
fn an_id_that_is_not_used_within_the_session_timeout_is_void() {
    let mut world = World::new();
    world.join(JoinRequest {
        member_id_required: true,
        ..first_join("a")
    });
    world.pass(SESSION_MS);
    let late = world.join(rejoin("a"));
    assert_eq!(world.joined(late).error, Some(GroupError::UnknownMember));
}

#[test]
fn a_member_id_nobody_gave_out_is_refused() {
    let mut world = World::stable(&["a"]);
    let ticket = world.join(rejoin("stranger"));
    assert_eq!(world.joined(ticket).error, Some(GroupError::UnknownMember));
}

#[test]
fn the_first_rebalance_waits_for_the_delay_even_if_nobody_else_comes() {
    let mut world = World::new();
    let a = world.join(first_join("a"));
    world.pass(2_999);
    assert!(world.is_waiting(a));
    world.pass(1);
    assert_eq!(world.joined(a).generation, 1);
}

#[test]
fn each_arrival_extends_the_first_rebalance_up_to_the_rebalance_timeout() {
    let mut world = World::new();
    let first = world.join(first_join("m0"));
    let mut last = first;
    for n in 1..=25 {
        world.pass(2_900);
        if !world.is_waiting(first) {
            break;
        }
        last = world.join(first_join(&format!("m{n}")));
    }
    assert_eq!(
        world.now.tick_ms,
        21 * 2_900,
        "ended when {REBALANCE_MS} ms were over"
    );
    assert_eq!(world.joined(first).generation, 1);
    assert_eq!(world.joined(last).generation, 1);
}

#[test]
fn the_leader_is_told_of_all_members_and_the_others_of_none() {
    let mut world = World::new();
    let (a, b) = (world.join(first_join("a")), world.join(first_join("b")));
    world.pass(REBALANCE_MS);
    let (a, b) = (world.joined(a), world.joined(b));
    assert_eq!((&a.leader, &b.leader), (&"a".into(), &"a".into()));
    let ids: Vec<&str> = a
        .members
        .iter()
        .map(|member| member.member_id.as_str())
        .collect();
    assert_eq!(ids, ["a", "b"]);
    assert_eq!(a.members[1].metadata, "topics");
    assert!(b.members.is_empty());
}

#[test]
fn the_protocol_is_what_most_want_of_what_all_support() {
    let mut world = World::new();
    let mut with = |id: &str, names: &[&str]| {
        let mut request = first_join(id);
        request.info.protocols = protocols(names, "x");
        world.join(request)
    };
    with("a", &["sticky", "range", "robin"]);
    with("b", &["robin", "range"]);
    let c = with("c", &["sticky", "robin", "range"]);
    world.pass(REBALANCE_MS);
    assert_eq!(world.joined(c).protocol_name.as_deref(), Some("robin"));
}

#[test]
fn a_protocol_type_or_protocols_that_do_not_fit_are_refused() {
    let mut world = World::stable(&["a"]);
    let other_type = JoinRequest {
        protocol_type: "connect".into(),
        ..first_join("b")
    };
    let mut other_protocol = first_join("c");
    other_protocol.info.protocols = protocols(&["robin"], "x");
    for request in [other_type, other_protocol] {
        let ticket = world.join(request);
        assert_eq!(
            world.joined(ticket).error,
            Some(GroupError::InconsistentProtocol)
        );
    }
    assert_eq!(world.state(), GroupState::Stable);
    let mut empty = World::new();
    let nothing = JoinRequest {
        protocol_type: "".into(),
        ..first_join("a")
    };
    let ticket = empty.join(nothing);
    assert_eq!(
        empty.joined(ticket).error,
        Some(GroupError::InconsistentProtocol)
    );
}

#[test]
fn a_follower_with_nothing_new_stays_in_the_generation_and_a_leader_begins_the_next() {
    let mut world = World::stable(&["a", "b"]);
    let b = world.join(rejoin("b"));
    assert_eq!(world.joined(b).generation, 1);
    assert_eq!(world.state(), GroupState::Stable);
    let a = world.join(rejoin("a"));
    assert_eq!(world.state(), GroupState::PreparingRebalance);
    assert!(world.is_waiting(a));
    let b = world.join(rejoin("b"));
    assert_eq!(
        (world.joined(a).generation, world.joined(b).generation),
        (2, 2)
    );
}

#[test]
fn a_follower_with_new_metadata_begins_a_rebalance() {
    let mut world = World::stable(&["a", "b"]);
    let mut request = rejoin("b");
    request.info.protocols = protocols(&["range"], "other topics");
    let b = world.join(request);
    assert!(world.is_waiting(b));
    assert_eq!(
        world.heartbeat("a", 1),
        Err(GroupError::RebalanceInProgress)
    );
}

#[test]
fn a_member_that_missed_the_answer_to_its_join_gets_it_again() {
    let mut world = World::new();
    world.join(first_join("a"));
    world.pass(3_000);
    let again = world.join(rejoin("a"));
    assert_eq!(
        (
            world.joined(again).generation,
            world.joined(again).members.len()
        ),
        (1, 1)
    );
    assert_eq!(world.state(), GroupState::CompletingRebalance);
}

#[test]
fn a_rebalance_waits_for_all_and_drops_who_has_not_joined_in_time() {
    let mut world = World::stable(&["a", "b"]);
    let a = world.join(rejoin("a"));
    world.pass_alive(REBALANCE_MS - 1, &["b"]);
    assert!(world.is_waiting(a));
    world.pass(1);
    assert_eq!(world.joined(a).members.len(), 1);
    assert_eq!(world.heartbeat("b", 1), Err(GroupError::UnknownMember));
}

#[test]
fn a_leader_that_does_not_come_back_is_replaced() {
    let mut world = World::stable(&["a", "b"]);
    let c = world.join(first_join("c"));
    let b = world.join(rejoin("b"));
    world.pass_alive(REBALANCE_MS, &["a"]);
    assert_eq!(world.joined(c).leader, "b".into());
    assert_eq!(world.joined(b).members.len(), 2);
}

#[test]
fn a_rebalance_waits_for_an_id_that_was_given_out() {
    let mut world = World::stable(&["a"]);
    world.join(JoinRequest {
        member_id_required: true,
        ..first_join("b")
    });
    let a = world.join(rejoin("a"));
    assert!(world.is_waiting(a));
    world.pass(SESSION_MS);
    assert_eq!(world.joined(a).generation, 2);
}

#[test]
fn a_member_left_behind_by_an_abandoned_first_join_is_gone_after_five_minutes() {
    let mut world = World::stable(&["a"]);
    let mut request = first_join("abandoned");
    request.info.rebalance_timeout_ms = 1_000_000;
    let abandoned = world.join(request);
    world.pass_alive(5 * 60_000, &["a"]);
    assert_eq!(
        world.joined(abandoned).error,
        Some(GroupError::UnknownMember)
    );
}

#[test]
fn a_join_sent_anew_takes_the_place_of_the_one_before() {
    let mut world = World::stable(&["a", "b"]);
    let first = world.join(rejoin("a"));
    let second = world.join(rejoin("a"));
    assert_eq!(
        world.joined(first).error,
        Some(GroupError::RebalanceInProgress)
    );
    assert!(world.is_waiting(second));
}

#[test]
fn a_full_group_takes_no_more_members() {
    let mut world = World::stable_of(
        GroupConfig {
            max_size: 2,
            ..config()
        },
        vec![first_join("a"), first_join("b")],
    );
    let c = world.join(first_join("c"));
    assert_eq!(world.joined(c).error, Some(GroupError::GroupFull));
    assert_eq!(world.joined(c).member_id, MemberId::default());
    let b = world.join(rejoin("b"));
    assert_eq!(world.joined(b).error, None);
}

#[test]
fn a_protocol_named_twice_counts_once() {
    let mut world = World::new();
    let mut request = first_join("a");
    request.info.protocols = protocols(&["range", "range"], "x");
    let a = world.join(request);
    let b = world.join(first_join("b"));
    world.pass(REBALANCE_MS);
    assert_eq!(world.joined(a).protocol_name.as_deref(), Some("range"));
    assert_eq!(world.joined(b).error, None);
}

/// `testJoinGroupExistingPendingMemberWithGroupInstanceIdThrowsException`
#[test]
fn an_id_that_was_given_out_is_not_used_by_an_instance() {
    let mut world = World::new();
    world.join(JoinRequest {
        member_id_required: true,
        ..first_join("a")
    });
    let confused = world.join(JoinRequest {
        member_id: "a".into(),
        ..static_join("i", "unused")
    });
    assert_eq!(
        world.joined(confused).error,
        Some(GroupError::UnknownMember)
    );
    let joined = world.join(rejoin("a"));
    assert!(world.is_waiting(joined), "the id is still good");
}

/// `testSecondMemberPartiallyJoinAndTimeout`
#[test]
fn an_id_that_nobody_uses_leaves_a_stable_group_alone() {
    let mut world = World::stable(&["a"]);
    world.join(JoinRequest {
        member_id_required: true,
        ..first_join("b")
    });
    world.pass_alive(2 * SESSION_MS, &["a"]);
    assert_eq!(world.state(), GroupState::Stable);
    assert!(!world.group.has_pending_members());
    assert_eq!(world.heartbeat("a", 1), Ok(()));
}

/// `testNewMemberFailureAfterJoinGroupCompletion`
#[test]
fn a_new_member_has_its_own_session_once_it_has_joined() {
    let mut world = World::stable(&["a"]);
    let b = world.join(first_join("b"));
    world.join(rejoin("a"));
    assert_eq!(world.joined(b).generation, 2);
    world.pass_alive(SESSION_MS, &["a"]);
    assert_eq!(world.heartbeat("b", 2), Err(GroupError::UnknownMember));
}

/// `testClassicGroupMemberSessionTimeoutDuringRebalance`
#[test]
fn a_member_that_dies_in_a_rebalance_is_not_waited_for() {
    let mut world = World::stable(&["a"]);
    let b = world.join(first_join("b"));
    world.pass(SESSION_MS / 2);
    assert_eq!(
        world.heartbeat("a", 1),
        Err(GroupError::RebalanceInProgress)
    );
    world.pass(SESSION_MS);
    assert_eq!(world.joined(b).members.len(), 1);
    assert_eq!(world.heartbeat("a", 1), Err(GroupError::UnknownMember));
}
