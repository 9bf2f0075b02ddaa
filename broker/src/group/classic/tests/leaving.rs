//! LeaveGroup of several members at once, and who leaves in the middle of a rebalance
//! (`GroupMetadataManagerTest`).

use super::*;

fn leaving(id: &str, instance: Option<&str>) -> Leaving {
    Leaving {
        member_id: id.into(),
        instance_id: instance.map(InstanceId::from),
    }
}

fn leave(world: &mut World, who: &[Leaving]) -> Vec<Result<(), GroupError>> {
    let (results, effects) = world.group.leave(who, world.now);
    world.take(effects);
    results
}

/// `testJoinedMemberPendingMemberBatchLeaveGroupWithUnknownMember`
#[test]
fn members_ids_given_out_and_strangers_leave_with_a_result_each() {
    let mut world = World::stable(&["a", "b"]);
    world.join(JoinRequest {
        member_id_required: true,
        ..first_join("given")
    });
    let who = ["a", "b", "given", "stranger"].map(|id| leaving(id, None));
    let results = leave(&mut world, &who);
    let unknown = Err(GroupError::UnknownMember);
    assert_eq!(results, [Ok(()), Ok(()), Ok(()), unknown]);
    assert_eq!(world.state(), GroupState::Empty);
    assert_eq!(world.stored.last().unwrap().members, vec![]);
}

/// `testStaticMembersFencedInstanceBatchLeaveGroup`,
/// `testStaticMembersUnknownInstanceBatchLeaveGroup`
#[test]
fn an_instance_leaves_under_its_own_id_only() {
    let joins = [static_join("i", "i-1"), static_join("j", "j-1")];
    let mut world = World::stable_of(config(), joins.to_vec());
    let who = [
        leaving("i-1", Some("j")),
        leaving("i-1", Some("nobody")),
        leaving("", None),
    ];
    let results = leave(&mut world, &who);
    let unknown = Err(GroupError::UnknownMember);
    assert_eq!(results, [Err(GroupError::FencedInstance), unknown, unknown]);
    assert_eq!(world.state(), GroupState::Stable, "nobody has left");
    let results = leave(
        &mut world,
        &[leaving("i-1", Some("i")), leaving("", Some("j"))],
    );
    assert_eq!(results, [Ok(()), Ok(())]);
    assert_eq!(world.state(), GroupState::Empty);
}

/// `testPendingMembersLeaveGroup`
#[test]
fn the_rebalance_ends_when_the_id_it_waits_for_is_given_back() {
    let mut world = World::stable(&["a"]);
    world.join(JoinRequest {
        member_id_required: true,
        ..first_join("b")
    });
    let a = world.join(rejoin("a"));
    assert!(world.is_waiting(a));
    world.leave("b").unwrap();
    assert_eq!(world.joined(a).generation, 2);
}

/// `testGroupStuckInRebalanceTimeoutDueToNonjoinedStaticMember`
#[test]
fn a_silent_static_member_alone_holds_the_rebalance_until_its_session_ends() {
    let mut long = static_join("i", "i-1");
    long.info.session_timeout_ms = 10 * REBALANCE_MS as i32;
    let mut other = static_join("j", "j-1");
    other.info.session_timeout_ms = 10 * REBALANCE_MS as i32;
    let mut world = World::stable_of(config(), vec![long, other]);
    let dynamic = world.join(first_join("d"));
    world.pass(REBALANCE_MS);
    assert_eq!(world.joined(dynamic).leader, "d".into());
    assert_eq!(world.joined(dynamic).members.len(), 3);
    leave(&mut world, &[leaving("j-1", Some("j"))]);
    world.pass_alive(REBALANCE_MS, &["d"]);
    assert_eq!(world.state(), GroupState::PreparingRebalance);
    assert_eq!(
        world.group.member_count(),
        1,
        "only the static member is left"
    );
    assert_eq!(world.group.generation(), 2);
    let back = world.join(static_join("i", "i-2"));
    assert_eq!(world.joined(back).generation, 3);
}
