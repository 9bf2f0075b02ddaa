//! Who may commit and fetch: after `ConsumerGroupTest` (`testValidateOffsetCommit`,
//! `testValidateOffsetFetch`, `testValidateDeleteGroup`, `testIsSubscribedToTopic`).

use super::*;
use crate::group::classic::CommitFence;

fn fence(id: &str, epoch: i32) -> CommitFence {
    CommitFence {
        member_id: id.into(),
        instance_id: None,
        generation: epoch,
        knows_epochs: true,
    }
}

#[test]
fn an_empty_group_takes_commits_of_nobody() {
    let mut world = World::new(&[("foo", 2)]);
    assert_eq!(world.group.fence_commit(&fence("", -1)), Ok(()));
    assert_eq!(world.group.check_delete(), Ok(()));
    world.join("a", &["foo"]);
    assert_eq!(
        world.group.fence_commit(&fence("", -1)),
        Err(GroupError::UnknownMember)
    );
    assert_eq!(world.group.check_delete(), Err(GroupError::NonEmptyGroup));
}

#[test]
fn a_member_commits_in_its_epoch() {
    let mut world = World::new(&[("foo", 2)]);
    world.join("a", &["foo"]);
    assert_eq!(world.group.fence_commit(&fence("a", 2)), Ok(()));
    assert_eq!(
        world.group.fence_partition(&fence("a", 2), id_of("foo"), 9),
        Ok(())
    );
    assert_eq!(
        world.group.fence_commit(&fence("a", 3)),
        Err(GroupError::StaleMemberEpoch)
    );
    assert_eq!(
        world.group.fence_commit(&fence("b", 2)),
        Err(GroupError::UnknownMember)
    );
    let old = CommitFence {
        knows_epochs: false,
        ..fence("a", 2)
    };
    assert_eq!(
        world.group.fence_commit(&old),
        Err(GroupError::UnsupportedVersion)
    );
}

#[test]
fn a_commit_that_was_overtaken_counts_for_partitions_held_since() {
    let mut world = World::new(&[("foo", 4)]);
    world.join("a", &["foo"]);
    world.join("b", &["foo"]);
    world.beat("a", 2).unwrap();
    world.owns("a", 2, &[("foo", &[0, 1])]).unwrap();
    assert_eq!(world.member("a").member_epoch, 3);
    let late = fence("a", 2);
    assert_eq!(world.group.fence_commit(&late), Ok(()));
    assert_eq!(world.group.fence_partition(&late, id_of("foo"), 0), Ok(()));
    let gone = world.group.fence_partition(&late, id_of("foo"), 2);
    assert_eq!(gone, Err(GroupError::StaleMemberEpoch));
    world.beat("b", 3).unwrap();
    let before = world.group.fence_partition(&fence("b", 2), id_of("foo"), 2);
    assert_eq!(before, Err(GroupError::StaleMemberEpoch));
}

#[test]
fn who_names_a_member_must_be_it_to_see_offsets() {
    let mut world = World::new(&[("foo", 1)]);
    world.join("a", &["foo"]);
    let a = MemberId::from("a");
    assert_eq!(world.group.fence_fetch(None, -1), Ok(()));
    assert_eq!(world.group.fence_fetch(Some(&a), 2), Ok(()));
    assert_eq!(
        world.group.fence_fetch(Some(&a), 0),
        Err(GroupError::StaleMemberEpoch)
    );
    let b = MemberId::from("b");
    assert_eq!(
        world.group.fence_fetch(Some(&b), 2),
        Err(GroupError::UnknownMember)
    );
}
