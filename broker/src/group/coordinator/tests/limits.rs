//! What limits the memory of groups, and how long each part of it is kept.

use carrick_protocol::ids::ProducerId;
use tokio::sync::oneshot;

use super::*;
use crate::journal::Entry;

fn with(change: impl FnOnce(&mut GroupConfig)) -> World {
    let mut config = config();
    change(&mut config);
    World::with(config)
}

fn noted(world: &World, partition: i32, bytes: usize) -> CommitRequest {
    let mut offset = world.new_offset("orders", partition, 1);
    offset.metadata = "x".repeat(bytes);
    unfenced(vec![offset])
}

#[tokio::test]
async fn a_group_too_many_is_refused_and_the_end_of_one_makes_room() {
    let world = with(|config| config.max_groups = 2);
    world.commit("one", "orders", 0, 5).await;
    world.join("two", "").await;
    let third = GroupId::new("three");
    let refused = world.groups().commit(&third, noted(&world, 0, 1)).await;
    assert_eq!(refused, Err(GroupError::GroupFull));
    let refused = world.groups().join(&third, join_request("")).await;
    assert_eq!(refused.error, Some(GroupError::GroupFull));
    world.commit("one", "orders", 1, 5).await;
    world.groups().delete(&GroupId::new("one")).await.unwrap();
    world.commit("three", "orders", 0, 5).await;
}

#[tokio::test]
async fn offsets_past_the_memory_of_all_groups_are_refused_and_those_there_may_be_renewed() {
    let world = with(|config| {
        config.max_bytes = 100_000;
        config.offset_metadata_max_bytes = 60_000;
    });
    let group = GroupId::new("readers");
    let commit = |partition, bytes| {
        let request = noted(&world, partition, bytes);
        world.groups().commit(&group, request)
    };
    assert_eq!(commit(0, 60_000).await, Ok(vec![Ok(())]));
    let refused = Ok(vec![Err(GroupError::CommitTooLarge)]);
    assert_eq!(commit(1, 60_000).await, refused);
    assert_eq!(
        commit(0, 60_000).await,
        Ok(vec![Ok(())]),
        "it takes no more"
    );
    assert_eq!(commit(0, 10).await, Ok(vec![Ok(())]));
    assert_eq!(
        commit(1, 60_000).await,
        Ok(vec![Ok(())]),
        "there is room now"
    );
}

#[tokio::test]
async fn offsets_of_open_transactions_count_and_their_end_makes_room() {
    let mut world = with(|config| {
        config.max_bytes = 100_000;
        config.offset_metadata_max_bytes = 60_000;
    });
    let group = GroupId::new("readers");
    world.commit("readers", "orders", 0, 1).await;
    let at_rest = world.groups().services().budget.used_bytes();
    let pend = |world: &World, producer, bytes| {
        let request = noted(world, 0, bytes);
        let begun = world.groups().begin_pending_commit(
            &group,
            ProducerId(producer),
            request,
            Entry::new(),
            || {},
        );
        async move {
            let taken = begun.unwrap();
            if let Some(stored) = taken.stored {
                stored.result().await.unwrap();
            }
            taken.results
        }
    };
    let refused = vec![Err(GroupError::CommitTooLarge)];
    assert_eq!(pend(&world, 1, 60_000).await, [Ok(())]);
    assert_eq!(pend(&world, 2, 60_000).await, refused, "another producer");
    assert_eq!(pend(&world, 1, 60_000).await, [Ok(())], "it takes no more");
    world.restart().await;
    assert_eq!(
        pend(&world, 2, 60_000).await,
        refused,
        "after a restart, too"
    );
    let (done, ended) = oneshot::channel();
    let groups = [group.clone()].into();
    let end = |result| {
        let _ = done.send(result);
    };
    world
        .groups()
        .complete_transaction(&groups, ProducerId(1), false, Entry::new(), end)
        .unwrap();
    ended.await.unwrap().unwrap();
    assert_eq!(world.groups().services().budget.used_bytes(), at_rest);
    assert_eq!(pend(&world, 2, 60_000).await, [Ok(())]);
}

#[tokio::test]
async fn members_past_the_memory_of_all_groups_are_refused_and_those_there_go_on() {
    let world = with(|config| config.max_bytes = 50_000);
    let large = |member_id: &str| {
        let mut request = join_request(member_id);
        request.info.protocols[0].metadata = Bytes::from(vec![0; 40_000]);
        request
    };
    let group = GroupId::new("readers");
    let first = world.groups().join(&group, large("")).await;
    assert_eq!(first.error, None);
    let other = GroupId::new("others");
    let second = world.groups().join(&other, large("")).await;
    assert_eq!(second.error, Some(GroupError::GroupFull));
    let again = world.groups().join(&group, large("fresh")).await;
    assert_eq!(again.error, None);
    let sync = |bytes: usize| SyncRequest {
        member_id: "fresh".into(),
        instance_id: None,
        generation: again.generation,
        protocol_type: None,
        protocol_name: None,
        assignments: vec![("fresh".into(), Bytes::from(vec![0; bytes]))],
    };
    let refused = world.groups().sync(&group, sync(40_000)).await;
    assert_eq!(refused, Err(GroupError::RecordTooLarge));
    let synced = world.groups().sync(&group, sync(1_000)).await.unwrap();
    assert_eq!(synced.assignment.len(), 1_000);
}

#[tokio::test]
async fn the_memory_that_groups_take_is_counted_alike_before_and_after_a_restart() {
    let mut world = World::new();
    let empty = world.groups().services().budget.used_bytes();
    world.join("readers", "").await;
    for partition in 0..10 {
        world.commit("simple", "orders", partition, 5).await;
    }
    let before = world.groups().services().budget.used_bytes();
    world.restart().await;
    assert_eq!(world.groups().services().budget.used_bytes(), before);
    let leaving = Leaving {
        member_id: "fresh".into(),
        instance_id: None,
    };
    let left = world.groups().leave(&GroupId::new("readers"), &[leaving]);
    assert_eq!(left.await, Ok(vec![Ok(())]));
    for group in ["readers", "simple"] {
        world.groups().delete(&GroupId::new(group)).await.unwrap();
    }
    assert_eq!(world.groups().services().budget.used_bytes(), empty);
}

/// `OffsetMetadataManagerTest.testGenericGroupOffsetCommitWithRetentionTime`
#[tokio::test]
async fn a_retention_asked_for_with_a_commit_is_kept_over_a_restart() {
    let mut world = World::new();
    let group = GroupId::new("simple");
    let request = CommitRequest {
        retention_ms: Some(3_600_000),
        ..noted(&world, 0, 1)
    };
    assert_eq!(
        world.groups().commit(&group, request).await,
        Ok(vec![Ok(())])
    );
    world.commit("simple", "orders", 1, 5).await;
    world.restart().await;
    let now_ms = world.now_ms();
    world.sweep(now_ms + 120_000);
    world.restart().await;
    assert_eq!(world.offset("simple", "orders", 0), Some(1));
    assert_eq!(world.offset("simple", "orders", 1), None);
    world.sweep(now_ms + 3_700_000);
    world.restart().await;
    assert_eq!(world.offset("simple", "orders", 0), None);
}

/// `ClassicGroupTest.testOffsetExpirationCondition`: Connect and Schema Registry, whose offsets
/// the coordinator can't tell to be unused while they are at work.
#[tokio::test]
async fn offsets_of_a_group_of_another_protocol_stay_while_it_has_members() {
    let mut world = World::new();
    let group = GroupId::new("workers");
    world.commit("workers", "orders", 0, 5).await;
    let request = JoinRequest {
        protocol_type: "connect".into(),
        ..join_request("")
    };
    let joined = world.groups().join(&group, request).await;
    assert_eq!(joined.error, None);
    world.sweep(world.now_ms() + 120_000);
    let deleted = world
        .groups()
        .delete_offsets(&group, vec![(TopicName::new("orders").unwrap(), vec![0])])
        .await;
    assert_eq!(deleted, Err(GroupError::NonEmptyGroup));
    let deleted = world.groups().delete(&group).await;
    assert_eq!(deleted, Err(GroupError::NonEmptyGroup));
    assert_eq!(world.offset("workers", "orders", 0), Some(5));
    let leaving = Leaving {
        member_id: joined.member_id,
        instance_id: None,
    };
    assert_eq!(
        world.groups().leave(&group, &[leaving]).await,
        Ok(vec![Ok(())])
    );
    world.sweep(world.now_ms() + 30_000);
    world.restart().await;
    assert_eq!(
        world.offset("workers", "orders", 0),
        Some(5),
        "just emptied"
    );
    world.sweep(world.now_ms() + 120_000);
    world.restart().await;
    assert!(world.listed().is_empty());
}

/// `GroupMetadataManagerTest.testClassicGroupMaybeDelete`
#[tokio::test]
async fn an_id_given_out_keeps_its_group_until_it_is_void() {
    let world = World::new();
    let group = GroupId::new("readers");
    let mut request = join_request("");
    request.member_id_required = true;
    request.info.session_timeout_ms = 1_000;
    let begun = std::time::Instant::now();
    let sent_away = world.groups().join(&group, request).await;
    assert_eq!(sent_away.error, Some(GroupError::MemberIdRequired));
    world.sweep(world.now_ms() + 120_000);
    let listed = world.listed();
    // Its session is a second of real time; a machine that was busy for longer shows nothing here.
    if begun.elapsed() < std::time::Duration::from_secs(1) {
        assert_eq!(listed, ["readers"]);
    }
    let swept = async {
        while !world.listed().is_empty() {
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
            world.sweep(world.now_ms());
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(120), swept)
        .await
        .unwrap();
}

/// How many producers are going to commit each partition, as memory has it.
fn pending(world: &World, group: &GroupId, partitions: i32) -> Vec<usize> {
    let count = |partition| -> Result<usize, GroupError> {
        world.groups().groups.with(group, |group| {
            Ok(group.pending.producers("orders", partition).count())
        })
    };
    (0..partitions)
        .map(|partition| count(partition).unwrap())
        .collect()
}

#[tokio::test]
async fn offsets_that_are_deleted_while_a_transaction_stores_them_are_the_same_after_a_restart() {
    const PARTITIONS: i32 = 100;
    let mut world = World::new();
    let group = GroupId::new("readers");
    world.commit("readers", "orders", PARTITIONS, 1).await;
    for partition in 0..PARTITIONS {
        let offsets = unfenced(vec![world.new_offset("orders", partition, 7)]);
        let groups = world.groups();
        let begun =
            groups.begin_pending_commit(&group, ProducerId(1), offsets, Entry::new(), || {});
        let topics = vec![(TopicName::new("orders").unwrap(), vec![partition])];
        let deleted = groups.delete_offsets(&group, topics);
        if let Some(stored) = begun.unwrap().stored {
            stored.result().await.unwrap();
        }
        assert_eq!(deleted.await, Ok(vec![Ok(())]));
    }
    let before = pending(&world, &group, PARTITIONS);
    world.restart().await;
    assert_eq!(pending(&world, &group, PARTITIONS), before);
}
