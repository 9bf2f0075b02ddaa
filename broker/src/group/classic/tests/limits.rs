//! How large a group gets: `group.max.size` as in `GroupMetadataManagerTest`, and the bytes that its
//! members may bring.

use super::*;

fn of_size(max_size: i32) -> GroupConfig {
    GroupConfig {
        max_size,
        ..config()
    }
}

fn with_metadata(request: JoinRequest, bytes: usize) -> JoinRequest {
    let metadata = Bytes::from(vec![b'x'; bytes]);
    let name = "range".into();
    JoinRequest {
        info: MemberInfo {
            protocols: vec![Protocol { name, metadata }],
            ..request.info
        },
        ..request
    }
}

/// `testDynamicMembersJoinGroupWithMaxSizeAndRequiredKnownMember`
#[test]
fn ids_are_given_out_by_an_empty_group_and_the_last_to_use_theirs_is_refused() {
    let mut world = World::with(of_size(2));
    for id in ["a", "b", "c"] {
        let sent_away = world.join(JoinRequest {
            member_id_required: true,
            ..first_join(id)
        });
        let error = world.joined(sent_away).error;
        assert_eq!(error, Some(GroupError::MemberIdRequired));
    }
    let (a, b) = (world.join(rejoin("a")), world.join(rejoin("b")));
    let c = world.join(rejoin("c"));
    assert_eq!(world.joined(c).error, Some(GroupError::GroupFull));
    assert!(!world.group.has_pending_members(), "its id is void");
    world.finish_joining();
    assert_eq!(world.joined(a).members.len(), 2);
    assert_eq!(world.joined(b).error, None);
    let again = world.join(rejoin("b"));
    assert_eq!(world.joined(again).error, None, "who is in may join again");
    let again = world.join(rejoin("c"));
    assert_eq!(world.joined(again).error, Some(GroupError::GroupFull));
}

/// `testStaticMembersJoinGroupWithMaxSize`
#[test]
fn static_members_count_like_others() {
    let joins = [static_join("i", "i-1"), static_join("j", "j-1")];
    let mut world = World::stable_of(of_size(2), joins.to_vec());
    let third = world.join(static_join("k", "k-1"));
    assert_eq!(world.joined(third).error, Some(GroupError::GroupFull));
    assert_eq!(world.group.member_count(), 2);
}

/// `testDynamicMembersCanRejoinGroupWithMaxSizeWhileRebalancing`
#[test]
fn a_full_group_that_rebalances_waits_for_its_own_members() {
    let joins = ["a", "b"].map(first_join).to_vec();
    let mut world = World::stable_of(of_size(2), joins);
    let a = world.join(rejoin("a"));
    let b = world.join(rejoin("b"));
    assert_eq!(world.joined(a).error.or(world.joined(b).error), None);
    assert_eq!(world.group.generation(), 2);
}

/// `testOnLoadedExceedGroupMaxSizeTriggersRebalance`,
/// `testLastJoiningMembersAreKickedOutWhenRejoiningGroupWithMaxSize`: but here the others do not
/// wait for the rebalance timeout once the last one was sent away.
#[test]
fn a_group_over_a_lowered_limit_keeps_the_first_to_join_again() {
    let ids = ["a", "b", "c", "d"];
    let large = World::stable(&ids);
    let record = large.stored.last().unwrap().clone();
    let mut world = World::with(of_size(2));
    world.group = ClassicGroup::restore(Arc::new(of_size(2)), record, world.now);
    assert_eq!(
        world.heartbeat("a", 1),
        Err(GroupError::RebalanceInProgress)
    );
    let tickets = ["d", "b", "a", "c"].map(|id| world.join(rejoin(id)));
    let errors = tickets.map(|ticket| world.joined(ticket).error);
    let full = Some(GroupError::GroupFull);
    assert_eq!(errors, [None, None, full, full]);
    assert_eq!(world.state(), GroupState::CompletingRebalance);
    assert_eq!(world.heartbeat("a", 2), Err(GroupError::UnknownMember));
}

#[test]
fn what_members_say_of_themselves_is_limited_in_sum() {
    let config = GroupConfig {
        max_metadata_bytes: 100_000,
        ..config()
    };
    let mut world = World::stable_of(config, vec![first_join("a")]);
    let large = world.join(with_metadata(first_join("b"), 100_000));
    assert_eq!(world.joined(large).error, Some(GroupError::RecordTooLarge));
    assert_eq!(
        world.state(),
        GroupState::Stable,
        "nobody else is disturbed"
    );
    let fits = world.join(with_metadata(first_join("b"), 90_000));
    assert!(world.is_waiting(fits));
    let grows = world.join(with_metadata(rejoin("a"), 20_000));
    assert_eq!(world.joined(grows).error, Some(GroupError::RecordTooLarge));
    let a = world.join(rejoin("a"));
    assert_eq!(world.joined(a).members.len(), 2, "it may go on as it was");
    world.leave("b").unwrap();
    let grows = world.join(with_metadata(rejoin("a"), 90_000));
    assert_eq!(
        world.joined(grows).error,
        None,
        "what a member leaves is free"
    );
}

#[test]
fn of_too_many_subscribed_topics_all_count_as_read() {
    let topics = crate::group::limits::MAX_SUBSCRIBED_TOPICS + 1;
    let mut metadata = b"\0\0".to_vec();
    metadata.extend(u32::try_from(topics).unwrap().to_be_bytes());
    for topic in 0..topics {
        let name = format!("{topic:06}");
        metadata.extend(b"\0\x06");
        metadata.extend(name.as_bytes());
    }
    let mut request = first_join("a");
    request.info.protocols[0].metadata = metadata.into();
    let world = World::stable_of(config(), vec![request]);
    assert!(world.group.is_subscribed("000001") && world.group.is_subscribed("other"));
    assert_eq!(world.group.expire_from(), None);
}
