//! What goes wrong at the source, and what becomes of the mirror.

use carrick_protocol::error_code::ErrorCode;

use super::*;
use crate::ports::TargetError;
use crate::testing::source::Fault;

#[tokio::test(start_paused = true)]
async fn leaders_that_move_and_connections_that_break_leave_no_trace() {
    let world = World::mirroring("orders", 3).await;
    for round in 1..30_i64 {
        let partition = i32::try_from(round % 3).unwrap();
        let broker = i32::try_from(1 + round % 2).unwrap();
        world.source.lead("orders", partition, Some(broker));
        if round % 5 == 0 {
            world.source.cut_connections();
        }
        if round % 7 == 0 {
            world.source.lead("orders", partition, None);
            tokio::time::sleep(Duration::from_millis(700)).await;
            world.source.lead("orders", partition, Some(3));
        }
        for partition in 0..3 {
            world
                .source
                .append("orders", partition, &batch(round * 10, 10, 0));
        }
        tokio::time::sleep(Duration::from_millis(u64::try_from(round).unwrap() * 17)).await;
    }
    world.identical("orders", 3).await;
    assert_eq!(
        world.manager.mirror("orders").unwrap().status,
        MirrorStatus::Active
    );
}

#[tokio::test(start_paused = true)]
async fn old_sources_without_divergence_in_fetch_are_mirrored_too() {
    for version in [4, 6, 11] {
        let world = World::new().await;
        world.source.set_fetch_version(version);
        world.source.add_topic("orders", 2);
        world
            .source
            .append("orders", 0, &joined(&[batch(0, 10, 0), batch(10, 10, 2)]));
        world.mirror("orders").await.unwrap();
        world.identical("orders", 2).await;
        world.source.cut_connections();
        world.source.append("orders", 0, &batch(20, 10, 2));
        world.identical("orders", 2).await;
        world.source.truncate("orders", 0, 10);
        let mirror = world.status("orders", MirrorStatus::Failed).await;
        assert_eq!(
            mirror.error,
            MirrorError::UnexpectedTruncation,
            "Fetch v{version}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn the_source_is_unavailable_within_seconds_and_the_lag_is_a_lower_bound() {
    let world = World::mirroring("orders", 1).await;
    let before = tokio::time::Instant::now();
    world.source.set_down(true);
    let link = world.link_state(LinkState::Unavailable).await;
    assert!(
        before.elapsed() < Duration::from_secs(7),
        "took {:?}",
        before.elapsed()
    );
    assert_eq!(link.error, LinkErrorCode::BootstrapTcpConnectionFailedError);
    let mirror = world.manager.mirror("orders").unwrap();
    assert_eq!(mirror.status, MirrorStatus::SourceUnavailable);
    let lag = &mirror.lags[0];
    assert!(!lag.is_current && lag.lag_ms.unwrap() >= 4_000, "{lag:?}");
    world.source.set_down(false);
    world.source.append("orders", 0, &batch(10, 10, 0));
    world.link_state(LinkState::Active).await;
    world.identical("orders", 1).await;
    assert_eq!(
        world.manager.mirror("orders").unwrap().status,
        MirrorStatus::Active
    );
}

#[tokio::test(start_paused = true)]
async fn a_link_that_failed_goes_on_by_itself_once_its_source_is_back() {
    let mut world = World::mirroring("orders", 1).await;
    world.source.set_down(true);
    let link = world.link_state(LinkState::Failed).await;
    assert!(
        link.error_detail.contains("recovers automatically"),
        "{}",
        link.error_detail
    );
    assert_eq!(
        world.manager.mirror("orders").unwrap().status,
        MirrorStatus::LinkFailed
    );
    world.restart().await;
    tokio::time::sleep(Duration::from_secs(30)).await;
    assert_eq!(
        world.manager.link("dr").unwrap().state,
        LinkState::Failed,
        "over a restart too, while the source is away"
    );
    world.source.set_down(false);
    world.source.append("orders", 0, &batch(10, 10, 0));
    world.link_state(LinkState::Active).await;
    world.identical("orders", 1).await;
    world.restart().await;
    assert_eq!(
        world.manager.link("dr").unwrap().state,
        LinkState::Active,
        "nothing of the failure is kept"
    );
}

#[tokio::test(start_paused = true)]
async fn a_link_that_failed_is_resumed_by_hand_as_well() {
    let world = World::mirroring("orders", 1).await;
    world.source.set_down(true);
    world.link_state(LinkState::Failed).await;
    let resume = vec![("cluster.link.paused".to_owned(), Some("false".to_owned()))];
    world
        .manager
        .alter_link_configs("dr", resume, AlterLink::default())
        .await
        .unwrap();
    assert_ne!(world.manager.link("dr").unwrap().state, LinkState::Failed);
    world.source.set_down(false);
    world.source.append("orders", 0, &batch(10, 10, 0));
    world.identical("orders", 1).await;
}

#[tokio::test(start_paused = true)]
async fn another_cluster_behind_the_same_address_is_never_mirrored() {
    let mut world = World::mirroring("orders", 1).await;
    let stored = world.here.bytes("orders", 0);
    world.manager.shutdown().await;
    world.source.set_cluster_id("another");
    world.source.append("orders", 0, &batch(10, 10, 0));
    world.restart().await;
    let link = world.link_state(LinkState::Failed).await;
    assert!(
        link.error_detail.contains("another"),
        "{}",
        link.error_detail
    );
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(world.here.bytes("orders", 0), stored);
    assert_eq!(
        world.manager.link("dr").unwrap().state,
        LinkState::Failed,
        "it answers, and is another"
    );
}

#[tokio::test(start_paused = true)]
async fn damage_on_the_way_is_fetched_again_and_never_stored() {
    let world = World::mirroring("orders", 1).await;
    for fault in [
        Fault::Damaged,
        Fault::Short(3),
        Fault::Error(ErrorCode::UNKNOWN_SERVER_ERROR),
        Fault::Error(ErrorCode::CORRUPT_MESSAGE),
        Fault::Instead(batch(10, 5, 9)),
        Fault::Instead(joined(&[batch(10, 5, 0), batch(12, 5, 0)])),
        Fault::Instead(vec![0_u8; 200].into()),
        Fault::Damaged,
    ] {
        world.source.inject("orders", 0, fault);
    }
    world
        .source
        .append("orders", 0, &joined(&[batch(10, 10, 0), batch(20, 10, 0)]));
    world.identical("orders", 1).await;
    assert_eq!(
        world.manager.mirror("orders").unwrap().status,
        MirrorStatus::Active
    );
}

#[tokio::test(start_paused = true)]
async fn a_batch_that_is_damaged_at_the_source_fails_the_mirror_with_all_before_it_kept() {
    let world = World::mirroring("orders", 1).await;
    world.source.damage("orders", 0, 20);
    world.source.append(
        "orders",
        0,
        &joined(&[batch(10, 10, 0), batch(20, 10, 0), batch(30, 1, 0)]),
    );
    let mirror = world.status("orders", MirrorStatus::Failed).await;
    assert_eq!(mirror.error, MirrorError::Unknown);
    assert!(
        mirror.error_detail.contains("offset 20"),
        "{}",
        mirror.error_detail
    );
    assert_eq!(world.here.offsets("orders", 0).1, 20);
    assert!(mirror.next_steps.iter().any(|step| step == "failover"));
}

#[tokio::test(start_paused = true)]
async fn message_format_v1_is_refused_by_name() {
    let world = World::mirroring("orders", 1).await;
    let mut old = batch(10, 1, 0).to_vec();
    old[16] = 1;
    for _ in 0..20 {
        world
            .source
            .inject("orders", 0, Fault::Instead(old.clone().into()));
    }
    world.source.append("orders", 0, &batch(10, 1, 0));
    let mirror = world.status("orders", MirrorStatus::Failed).await;
    assert_eq!(mirror.error, MirrorError::UnsupportedMessageFormat);
    assert_eq!(world.here.offsets("orders", 0).1, 10);
}

#[tokio::test(start_paused = true)]
async fn records_that_the_source_has_lost_are_removed_here_only_with_consent() {
    let world = World::mirroring("orders", 1).await;
    world
        .source
        .append("orders", 0, &joined(&[batch(10, 10, 0), batch(20, 10, 0)]));
    world.identical("orders", 1).await;
    let before = world.here.bytes("orders", 0);
    world.source.truncate("orders", 0, 10);
    world.source.append("orders", 0, &batch(10, 30, 1));
    let mirror = world.status("orders", MirrorStatus::Failed).await;
    assert_eq!(mirror.error, MirrorError::UnexpectedTruncation);
    assert_eq!(
        world.here.bytes("orders", 0),
        before,
        "nothing is removed without consent"
    );
    world.alter(Verb::Resume, "orders").await.unwrap();
    world.identical("orders", 1).await;
    assert_eq!(world.here.offsets("orders", 0), (0, 40, 40));
}

#[tokio::test(start_paused = true)]
async fn a_truncated_source_that_has_not_grown_is_noticed_as_well() {
    let world = World::mirroring("orders", 1).await;
    world.source.truncate("orders", 0, 0);
    let mirror = world.status("orders", MirrorStatus::Failed).await;
    assert_eq!(mirror.error, MirrorError::UnexpectedTruncation);
    world.alter(Verb::Resume, "orders").await.unwrap();
    until("the empty log", || {
        world.here.offsets("orders", 0) == (0, 0, 0)
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_topic_made_anew_is_never_mixed_into_the_old_mirror() {
    let world = World::mirroring("orders", 1).await;
    let before = world.here.bytes("orders", 0);
    world.source.delete_topic("orders");
    tokio::time::sleep(Duration::from_secs(2)).await;
    world.source.add_topic("orders", 1);
    world
        .source
        .append("orders", 0, &joined(&[batch(0, 10, 0), batch(10, 10, 0)]));
    let mirror = world.status("orders", MirrorStatus::Failed).await;
    assert_eq!(mirror.error, MirrorError::SourceTopicIdChanged);
    assert_eq!(world.here.bytes("orders", 0), before);
    world.alter(Verb::Resume, "orders").await.unwrap();
    let mirror = world.status("orders", MirrorStatus::Failed).await;
    assert_eq!(
        mirror.error,
        MirrorError::SourceTopicIdChanged,
        "resume doesn't help"
    );
    assert_eq!(world.here.bytes("orders", 0), before);
}

#[tokio::test(start_paused = true)]
async fn a_topic_made_anew_is_mirrored_anew_though_its_epochs_begin_at_zero_again() {
    let world = World::mirroring("orders", 1).await;
    for leader in [2, 3, 1] {
        world.source.lead("orders", 0, Some(leader));
    }
    world.source.append("orders", 0, &batch(10, 10, 3));
    world.identical("orders", 1).await;
    // Even before the link has looked again: it is deleted and mirrored again at once.
    world.source.delete_topic("orders");
    world.source.add_topic("orders", 1);
    world.source.append("orders", 0, &batch(0, 5, 0));
    let name = TopicName::new("orders").unwrap();
    world.here.delete_topic("orders");
    world.manager.topic_deleted(&name);
    world.mirror("orders").await.unwrap();
    world.identical("orders", 1).await;
    let mirror = world.manager.mirror("orders").unwrap();
    assert_eq!(mirror.status, MirrorStatus::Active);
}

#[tokio::test(start_paused = true)]
async fn a_deleted_topic_fails_the_mirror_by_name() {
    let world = World::mirroring("orders", 1).await;
    world.source.delete_topic("orders");
    let mirror = world.status("orders", MirrorStatus::Failed).await;
    assert_eq!(mirror.error, MirrorError::SourceTopicMayBeDeleted);
    assert!(
        mirror.error_detail.contains("resume"),
        "{}",
        mirror.error_detail
    );
    assert_eq!(
        world.here.offsets("orders", 0).1,
        10,
        "what was mirrored is kept"
    );
}

#[tokio::test(start_paused = true)]
async fn a_full_disk_here_holds_the_mirror_up_and_nothing_is_lost() {
    let world = World::mirroring("orders", 1).await;
    world
        .here
        .fail_appends(Some(TargetError::Storage("no space left on device".into())));
    world.source.append("orders", 0, &batch(10, 10, 0));
    let problem = || {
        world.manager.mirror("orders").unwrap().lags[0]
            .problem
            .clone()
    };
    until("the problem to show", || {
        problem().is_some_and(|it| it.contains("no space"))
    })
    .await;
    world.here.fail_appends(None);
    world.identical("orders", 1).await;
    until("the problem to be over", || problem().is_none()).await;
}

#[tokio::test(start_paused = true)]
async fn one_partition_that_can_not_be_written_stalls_no_other_link() {
    let world = World::mirroring("orders", 2).await;
    world
        .source
        .inject("orders", 0, Fault::Error(ErrorCode::KAFKA_STORAGE_ERROR));
    world.source.append("orders", 1, &batch(10, 10, 0));
    world.identical("orders", 2).await;
}
