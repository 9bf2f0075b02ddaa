//! Who may commit, and what becomes of offsets.

use super::*;

fn fence(id: &str, generation: i32) -> CommitFence {
    CommitFence {
        member_id: id.into(),
        instance_id: None,
        generation,
        knows_epochs: true,
    }
}

#[test]
fn a_member_commits_in_its_generation_only() {
    let mut world = World::stable(&["a"]);
    let now = world.now;
    assert_eq!(world.group.fence_commit(&fence("a", 1), now), Ok(()));
    let refused = [
        (fence("a", 0), GroupError::IllegalGeneration),
        (fence("a", 2), GroupError::IllegalGeneration),
        (fence("a", -1), GroupError::IllegalGeneration),
        (fence("x", 1), GroupError::UnknownMember),
        (fence("", -1), GroupError::UnknownMember),
    ];
    for (fence, error) in refused {
        assert_eq!(
            world.group.fence_commit(&fence, now),
            Err(error),
            "{fence:?}"
        );
    }
}

#[test]
fn a_consumer_that_assigns_itself_commits_while_the_group_is_empty() {
    let mut world = World::new();
    let now = world.now;
    assert_eq!(world.group.fence_commit(&fence("", -1), now), Ok(()));
    assert_eq!(
        world.group.fence_commit(&fence("", 3), now),
        Err(GroupError::UnknownMember)
    );
}

#[test]
fn members_commit_before_they_join_again_but_not_before_the_assignment() {
    let mut world = World::stable(&["a", "b"]);
    world.join(first_join("c"));
    assert_eq!(world.state(), GroupState::PreparingRebalance);
    assert_eq!(world.group.fence_commit(&fence("a", 1), world.now), Ok(()));
    world.join(rejoin("a"));
    world.join(rejoin("b"));
    assert_eq!(world.state(), GroupState::CompletingRebalance);
    let commit = world.group.fence_commit(&fence("a", 2), world.now);
    assert_eq!(commit, Err(GroupError::RebalanceInProgress));
}

#[test]
fn a_static_member_that_was_replaced_commits_no_more() {
    let mut world = World::stable_of(config(), vec![static_join("i", "i-1")]);
    world.join(static_join("i", "i-2"));
    let mut old = fence("i-1", 1);
    old.instance_id = Some("i".into());
    assert_eq!(
        world.group.fence_commit(&old, world.now),
        Err(GroupError::FencedInstance)
    );
}

#[test]
fn a_commit_is_a_sign_of_life() {
    let mut world = World::stable(&["a"]);
    for _ in 0..5 {
        world.pass(SESSION_MS - 1);
        assert_eq!(world.group.fence_commit(&fence("a", 1), world.now), Ok(()));
    }
    assert_eq!(world.state(), GroupState::Stable);
}

#[test]
fn offsets_age_from_when_the_group_became_empty() {
    let mut world = World::stable(&["a"]);
    assert_eq!(
        world.group.expire_from(),
        None,
        "its subscription can't be read"
    );
    world.pass_alive(5_000, &["a"]);
    world.leave("a").unwrap();
    let emptied_ms = world.now.wall_ms;
    world.pass(5_000);
    assert_eq!(
        world.group.expire_from(),
        Some(ExpireFrom::Fixed(emptied_ms))
    );
    assert_eq!(World::new().group.expire_from(), Some(ExpireFrom::Commit));
}

#[test]
fn a_group_reads_the_topics_its_members_subscribe_to() {
    let mut request = first_join("a");
    request.info.protocols = vec![Protocol {
        name: "range".into(),
        metadata: Bytes::from_static(b"\0\x01\0\0\0\x01\0\x04read\0\0\0\0"),
    }];
    let mut world = World::stable_of(config(), vec![request]);
    assert!(world.group.is_subscribed("read") && !world.group.is_subscribed("other"));
    assert_eq!(world.group.expire_from(), Some(ExpireFrom::Commit));
    assert_eq!(world.group.check_offset_delete(), Ok(()));
    assert_eq!(world.group.check_delete(), Err(GroupError::NonEmptyGroup));
    world.leave("a").unwrap();
    assert!(!world.group.is_subscribed("read"));
    assert_eq!(world.group.check_delete(), Ok(()));
}

#[test]
fn a_group_whose_subscriptions_cannot_be_read_may_read_anything() {
    let world = World::stable(&["a"]);
    assert!(world.group.is_subscribed("anything"));
    let connect = JoinRequest {
        protocol_type: "connect".into(),
        ..first_join("a")
    };
    let world = World::stable_of(config(), vec![connect]);
    assert!(!world.group.is_subscribed("anything"));
    assert_eq!(
        world.group.check_offset_delete(),
        Err(GroupError::NonEmptyGroup)
    );
}
