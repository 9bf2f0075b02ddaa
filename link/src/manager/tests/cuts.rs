//! Promote and failover.

use super::*;
use crate::ports::CatalogError;
use crate::verb::CutKind;

async fn act(
    world: &World,
    action: Verb,
    selection: Selection,
    dry_run: bool,
) -> Vec<MirrorOutcome> {
    world
        .manager
        .alter_mirrors("dr", action, selection, dry_run, None)
        .await
        .unwrap()
}

/// A promotion of all that can't reach lag 0: appends fail here.
pub(super) async fn promotion_that_waits(
    world: &World,
) -> tokio::task::JoinHandle<Result<Vec<MirrorOutcome>, LinkError>> {
    let full = crate::ports::TargetError::Storage("full".into());
    world.here.fail_appends(Some(full));
    world.source.append("orders", 0, &batch(10, 10, 0));
    let manager = Arc::clone(&world.manager);
    let promoting = tokio::spawn(async move {
        let all = Selection::All;
        manager
            .alter_mirrors("dr", Verb::Promote, all, false, None)
            .await
    });
    world.status("orders", MirrorStatus::PendingStopped).await;
    promoting
}

#[tokio::test(start_paused = true)]
async fn promote_waits_for_lag_zero_and_loses_nothing() {
    let world = World::mirroring("orders", 2).await;
    world.source.set_config("orders", "retention.ms", "77");
    for at in 1..50 {
        world.source.append("orders", 1, &batch(at * 10, 10, 0));
    }
    let outcomes = act(&world, Verb::Promote, Selection::All, false).await;
    let outcome = &outcomes[0];
    assert_eq!(
        outcome.result.as_ref().unwrap().status,
        MirrorStatus::Stopped
    );
    assert_eq!(
        world.here.bytes("orders", 1),
        world.source.bytes("orders", 1)
    );
    assert_eq!(world.here.configs_of("orders")["retention.ms"], "77");
    assert!(world.here.cut_epoch("orders", 1).is_some());
    let report = outcome.report.as_ref().unwrap();
    assert_eq!(report.kind, CutKind::Promote);
    let rpo = &report.partitions[1];
    assert_eq!(
        (rpo.missing_records, rpo.missing_ms, rpo.exact),
        (Some(0), Some(0), true)
    );
    assert_eq!(rpo.last_mirrored_offset, Some(499));
    assert_eq!(
        world.manager.report("orders").unwrap().as_ref(),
        Some(report)
    );
    assert_eq!(
        world.here.stored_mirror("orders").unwrap().status,
        MirrorStatus::Stopped
    );
}

#[tokio::test(start_paused = true)]
async fn promote_is_refused_without_the_source_and_nothing_changes() {
    let world = World::mirroring("orders", 1).await;
    world.source.set_down(true);
    let refused = world.alter(Verb::Promote, "orders").await;
    assert!(
        matches!(refused, Err(LinkError::SourceUnavailable { .. })),
        "{refused:?}"
    );
    assert_eq!(
        world.here.stored_mirror("orders").unwrap().status,
        MirrorStatus::Active
    );
    assert!(world.here.cut_epoch("orders", 0).is_none());
}

#[tokio::test(start_paused = true)]
async fn a_promotion_that_waits_can_be_cancelled() {
    let world = World::mirroring("orders", 1).await;
    let full = crate::ports::TargetError::Storage("full".into());
    world.here.fail_appends(Some(full));
    world.source.append("orders", 0, &batch(10, 10, 0));
    let (cancel, signal) = tokio::sync::watch::channel(false);
    let manager = Arc::clone(&world.manager);
    let promoting = tokio::spawn(async move {
        let all = Selection::All;
        manager
            .alter_mirrors("dr", Verb::Promote, all, false, Some(signal))
            .await
    });
    world.status("orders", MirrorStatus::PendingStopped).await;
    cancel.send(true).unwrap();
    let outcomes = promoting.await.unwrap().unwrap();
    assert!(matches!(
        outcomes[0].result,
        Err(LinkError::PromotionAborted { .. })
    ));
    world.here.fail_appends(None);
    world.identical("orders", 1).await;
    assert_eq!(
        world.manager.mirror("orders").unwrap().status,
        MirrorStatus::Active
    );
}

#[tokio::test(start_paused = true)]
async fn failover_cuts_at_once_and_names_what_is_missing_as_a_lower_bound() {
    let world = World::mirroring("orders", 1).await;
    world
        .here
        .fail_appends(Some(crate::ports::TargetError::Storage("full".into())));
    world.source.append("orders", 0, &batch(10, 7, 0));
    let lag = || world.manager.mirror("orders").unwrap().lags[0].lag_records;
    until("the lag to show", || lag() == Some(7)).await;
    world.source.set_down(true);
    world.link_state(LinkState::Unavailable).await;
    let outcomes = act(&world, Verb::Failover, Selection::All, false).await;
    assert_eq!(
        outcomes[0].result.as_ref().unwrap().status,
        MirrorStatus::Stopped
    );
    let rpo = &outcomes[0].report.as_ref().unwrap().partitions[0];
    assert_eq!(
        (rpo.last_mirrored_offset, rpo.missing_records),
        (Some(9), Some(7))
    );
    assert!(!rpo.exact && rpo.missing_ms.unwrap() > 0 && rpo.source_seen_at_ms.is_some());
    assert!(world.here.cut_epoch("orders", 0).is_some());
}

#[tokio::test(start_paused = true)]
async fn a_source_that_died_a_moment_ago_leaves_no_certainty() {
    let world = World::mirroring("orders", 1).await;
    world.source.set_down(true);
    let outcomes = act(&world, Verb::Failover, Selection::All, false).await;
    let report = outcomes[0].report.as_ref().unwrap();
    let rpo = &report.partitions[0];
    assert_eq!((rpo.mirror_end, rpo.missing_records), (10, Some(0)));
    assert!(!rpo.exact && rpo.source_seen_at_ms.is_some());
    let kept = world.manager.report("orders").unwrap();
    assert_eq!(kept.as_ref(), Some(report));
}

#[tokio::test(start_paused = true)]
async fn a_source_that_still_answers_makes_the_report_of_a_failover_exact() {
    let world = World::mirroring("orders", 2).await;
    world
        .here
        .fail_appends(Some(crate::ports::TargetError::Storage("full".into())));
    world.source.append("orders", 0, &batch(10, 7, 0));
    let outcomes = act(&world, Verb::Failover, Selection::All, false).await;
    let report = outcomes[0].report.as_ref().unwrap();
    let found = report
        .partitions
        .iter()
        .map(|rpo| (rpo.exact, rpo.missing_records));
    assert!(found.eq([(true, Some(7)), (true, Some(0))]), "{report:?}");
    let kept = world.manager.report("orders").unwrap();
    assert_eq!(kept.as_ref(), Some(report));
}

#[tokio::test(start_paused = true)]
async fn an_idle_link_has_seen_its_source_a_moment_ago() {
    let world = World::mirroring("orders", 2).await;
    world.source.add_topic("busy", 1);
    world.mirror("busy").await.unwrap();
    for at in 0..60 {
        world.source.append("busy", 0, &batch(at * 10, 10, 0));
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    let now_ms = world.manager.ports.clock.now_ms();
    for lag in world.manager.mirror("orders").unwrap().lags {
        let age_ms = now_ms - lag.seen_at_ms.unwrap();
        assert!(lag.is_current && age_ms <= 1_000, "seen {age_ms} ms ago");
    }
}

#[tokio::test(start_paused = true)]
async fn a_promotion_never_takes_the_word_of_another_cluster() {
    let mut world = World::mirroring("orders", 1).await;
    drop(promotion_that_waits(&world).await);
    world.manager.shutdown().await;
    world.source.set_cluster_id("another");
    world.source.truncate("orders", 0, 10);
    world.restart().await;
    world.status("orders", MirrorStatus::LinkFailed).await;
    assert!(world.here.cut_epoch("orders", 0).is_none());
}

#[tokio::test(start_paused = true)]
async fn a_promotion_whose_source_dies_is_given_up_when_the_link_fails() {
    let world = World::mirroring("orders", 1).await;
    let promoting = promotion_that_waits(&world).await;
    world.source.set_down(true);
    let outcomes = promoting.await.unwrap().unwrap();
    assert!(
        matches!(outcomes[0].result, Err(LinkError::PromotionAborted { .. })),
        "{outcomes:?}"
    );
    let mirror = world.manager.mirror("orders").unwrap();
    assert_eq!(mirror.status, MirrorStatus::LinkFailed);
    assert!(world.here.cut_epoch("orders", 0).is_none());
}

#[tokio::test(start_paused = true)]
async fn a_failover_does_not_wait_for_a_promotion_whose_source_is_gone() {
    let world = World::mirroring("orders", 1).await;
    let promoting = promotion_that_waits(&world).await;
    world.source.set_down(true);
    let before = tokio::time::Instant::now();
    let stopped = world.alter(Verb::Failover, "orders").await.unwrap();
    assert_eq!(stopped.status, MirrorStatus::Stopped);
    assert!(before.elapsed() < Duration::from_secs(1));
    // It has what it wanted, one way or the other.
    let outcomes = promoting.await.unwrap().unwrap();
    let report = outcomes[0].report.as_ref().unwrap();
    assert_eq!(report.kind, CutKind::Failover);
    world.manager.delete_link("dr", true).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_link_that_is_deleted_by_force_ends_its_promotions_and_fetches_no_more() {
    let world = World::mirroring("orders", 1).await;
    let promoting = promotion_that_waits(&world).await;
    world.manager.delete_link("dr", true).await.unwrap();
    assert!(world.here.cut_epoch("orders", 0).is_some());
    let _ = promoting.await.unwrap();
    let fetches = world.source.fetches();
    world.source.append("orders", 0, &batch(20, 10, 0));
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(world.source.fetches(), fetches);
}

#[tokio::test(start_paused = true)]
async fn a_start_does_not_wait_for_a_source_that_is_down() {
    let mut world = World::mirroring("orders", 1).await;
    world.source.set_down(true);
    let before = tokio::time::Instant::now();
    world.restart().await;
    assert!(before.elapsed() < Duration::from_secs(1));
    let outcomes = act(&world, Verb::Failover, Selection::All, false).await;
    let rpo = &outcomes[0].report.as_ref().unwrap().partitions[0];
    assert_eq!((rpo.exact, rpo.missing_records), (false, Some(0)));
    assert_eq!(rpo.mirror_end, 10);
}

#[tokio::test(start_paused = true)]
async fn failover_works_from_every_state() {
    let paused = World::mirroring("orders", 1).await;
    paused.alter(Verb::Pause, "orders").await.unwrap();
    let failed = World::mirroring("orders", 1).await;
    failed.source.delete_topic("orders");
    failed.status("orders", MirrorStatus::Failed).await;
    let link_failed = World::mirroring("orders", 1).await;
    link_failed.source.set_down(true);
    link_failed.link_state(LinkState::Failed).await;
    for world in [paused, failed, link_failed] {
        let stopped = world.alter(Verb::Failover, "orders").await.unwrap();
        assert_eq!(
            (stopped.status, stopped.error),
            (MirrorStatus::Stopped, MirrorError::NoError)
        );
        let again = world.alter(Verb::Failover, "orders").await;
        assert!(matches!(again, Err(LinkError::IllegalState { .. })));
    }
}

#[tokio::test(start_paused = true)]
async fn a_dry_run_reports_and_changes_nothing() {
    let world = World::mirroring("orders", 1).await;
    for action in [Verb::Promote, Verb::Failover] {
        let outcomes = act(&world, action, Selection::All, true).await;
        let report = outcomes[0].report.as_ref().unwrap();
        // A failover would not ask the source first.
        let is_exact = action == Verb::Promote;
        assert!(report.dry_run && report.partitions[0].exact == is_exact);
        assert_eq!(report.partitions[0].missing_records, Some(0));
    }
    assert_eq!(
        world.here.stored_mirror("orders").unwrap().status,
        MirrorStatus::Active
    );
    assert_eq!(world.manager.report("orders").unwrap(), None);
    world.source.append("orders", 0, &batch(10, 1, 0));
    world.identical("orders", 1).await;
}

#[tokio::test(start_paused = true)]
async fn topics_are_chosen_by_name_pattern_or_all_together() {
    let world = World::mirroring("eu.orders", 1).await;
    for topic in ["eu.users", "us.orders"] {
        world.source.add_topic(topic, 1);
        world.mirror(topic).await.unwrap();
    }
    let pattern = Selection::Pattern(r"eu\..*".into());
    let outcomes = act(&world, Verb::Failover, pattern, false).await;
    let topics: Vec<&str> = outcomes
        .iter()
        .map(|outcome| outcome.topic.as_str())
        .collect();
    assert_eq!(topics, ["eu.orders", "eu.users"]);
    for pattern in ["nothing", "eu", "(", "eu.orders"] {
        let refused = world
            .manager
            .alter_mirrors(
                "dr",
                Verb::Failover,
                Selection::Pattern(pattern.into()),
                false,
                None,
            )
            .await;
        assert!(
            matches!(refused, Err(LinkError::InvalidName(_))),
            "{pattern}"
        );
    }
    let names = ["us.orders", "nowhere"].map(|name| TopicName::new(name).unwrap());
    let outcomes = act(
        &world,
        Verb::Failover,
        Selection::Names(names.into()),
        false,
    )
    .await;
    assert!(matches!(outcomes[0].result, Err(LinkError::NotAMirror(_))));
    assert!(outcomes[1].result.is_ok());
    assert!(
        act(&world, Verb::Failover, Selection::All, false)
            .await
            .is_empty()
    );
}

#[tokio::test(start_paused = true)]
async fn a_cut_that_fails_can_be_asked_for_again() {
    let world = World::mirroring("orders", 1).await;
    world
        .here
        .fail_cuts(Some(CatalogError::Storage("full".into())));
    let failed = world.alter(Verb::Failover, "orders").await;
    assert!(matches!(failed, Err(LinkError::Catalog(_))), "{failed:?}");
    world.here.fail_cuts(None);
    let done = world.alter(Verb::Failover, "orders").await.unwrap();
    assert_eq!(done.status, MirrorStatus::Stopped);
}

#[tokio::test(start_paused = true)]
async fn a_topic_that_can_not_be_cut_is_refused_by_name_and_the_others_go_on() {
    for action in [Verb::Failover, Verb::Promote] {
        let world = World::mirroring("orders", 1).await;
        world.source.add_topic("users", 1);
        world.mirror("users").await.unwrap();
        let broken = CatalogError::Storage("orders-0 is offline".into());
        world.here.refuse_cut("orders", Some(broken.clone()));
        let outcomes = act(&world, action, Selection::All, false).await;
        assert_eq!(
            outcomes[0].result.as_ref().err(),
            Some(&LinkError::Catalog(broken))
        );
        let users = outcomes[1].result.as_ref().unwrap();
        assert_eq!(users.status, MirrorStatus::Stopped);
        assert!(outcomes[1].report.is_some());
        world.here.refuse_cut("orders", None);
        let done = world.alter(action, "orders").await.unwrap();
        assert_eq!(done.status, MirrorStatus::Stopped);
    }
}

#[tokio::test(start_paused = true)]
async fn a_promotion_whose_cut_broke_off_is_never_mirrored_into_again() {
    let mut world = World::mirroring("orders", 1).await;
    world
        .here
        .fail_cuts(Some(CatalogError::Storage("full".into())));
    assert!(world.alter(Verb::Promote, "orders").await.is_err());
    world.source.append("orders", 0, &batch(10, 10, 0));
    tokio::time::sleep(Duration::from_secs(30)).await;
    let waiting = world.manager.mirror("orders").unwrap();
    assert_eq!(waiting.status, MirrorStatus::PendingStopped);
    assert_eq!(waiting.next_steps, ["failover (finishes the cut)"]);
    assert_eq!(world.here.offsets("orders", 0).1, 10);
    let resumed = world.alter(Verb::Resume, "orders").await;
    assert!(
        matches!(resumed, Err(LinkError::IllegalState { .. })),
        "{resumed:?}"
    );
    let paused = vec![("cluster.link.paused".to_owned(), Some("true".to_owned()))];
    let altered = world
        .manager
        .alter_link_configs("dr", paused, AlterLink::default())
        .await;
    altered.unwrap();
    world.here.fail_cuts(None);
    world.restart().await;
    world.status("orders", MirrorStatus::Stopped).await;
    let report = world.manager.report("orders").unwrap().unwrap();
    assert_eq!(report.kind, CutKind::Promote);
}

#[tokio::test(start_paused = true)]
async fn a_crash_before_the_cut_comes_to_the_same_end() {
    let mut failing_over = World::mirroring("orders", 1).await;
    failing_over
        .here
        .fail_cuts(Some(CatalogError::Storage("full".into())));
    assert!(failing_over.alter(Verb::Failover, "orders").await.is_err());
    failing_over.here.fail_cuts(None);
    failing_over.source.set_down(true);
    failing_over.restart().await;
    failing_over.status("orders", MirrorStatus::Stopped).await;

    let mut promoting = World::mirroring("orders", 1).await;
    promoting
        .here
        .fail_appends(Some(crate::ports::TargetError::Storage("full".into())));
    promoting.source.append("orders", 0, &batch(10, 10, 0));
    let manager = Arc::clone(&promoting.manager);
    tokio::spawn(async move {
        let all = Selection::All;
        manager
            .alter_mirrors("dr", Verb::Promote, all, false, None)
            .await
    });
    promoting
        .status("orders", MirrorStatus::PendingStopped)
        .await;
    promoting.restart().await;
    assert_eq!(
        promoting.manager.mirror("orders").unwrap().status,
        MirrorStatus::PendingStopped
    );
    promoting.here.fail_appends(None);
    promoting.status("orders", MirrorStatus::Stopped).await;
    assert_eq!(
        promoting.here.bytes("orders", 0),
        promoting.source.bytes("orders", 0)
    );
    let report = promoting.manager.report("orders").unwrap().unwrap();
    assert_eq!(
        (report.kind, report.partitions[0].missing_records),
        (CutKind::Promote, Some(0))
    );
}

#[tokio::test(start_paused = true)]
async fn a_promotion_is_cancelled_by_name_of_its_own_and_nothing_else_is_touched() {
    let world = World::mirroring("orders", 1).await;
    let promoting = promotion_that_waits(&world).await;
    world.source.add_topic("idle", 1);
    world
        .manager
        .create_mirror("dr", new_mirror("idle"))
        .await
        .unwrap();
    let cancel = Verb::CancelPromotion;
    let refused = world.alter(cancel, "idle").await;
    assert!(
        matches!(refused, Err(LinkError::IllegalState { .. })),
        "{refused:?}"
    );
    let dry = act(&world, cancel, Selection::All, true).await;
    assert_eq!(dry.len(), 1, "only what is being promoted is meant by all");
    let done = act(&world, cancel, Selection::All, false).await;
    assert_eq!(
        done[0].result.as_ref().unwrap().status,
        MirrorStatus::Active
    );
    let outcomes = promoting.await.unwrap().unwrap();
    assert!(
        matches!(outcomes[0].result, Err(LinkError::PromotionAborted { .. })),
        "{outcomes:?}"
    );
    world.here.fail_appends(None);
    world.identical("orders", 1).await;
    assert!(
        act(&world, cancel, Selection::All, false).await.is_empty(),
        "nothing is left to cancel"
    );
}

#[tokio::test(start_paused = true)]
async fn what_is_no_mirror_is_not_promoted() {
    let world = World::mirroring("orders", 1).await;
    world.here.add_topic("local", 1);
    let refused = world.alter(Verb::Promote, "local").await;
    assert!(matches!(refused, Err(LinkError::NotAMirror(_))));
    world
        .manager
        .create_link(new_link("other", &[]))
        .await
        .unwrap();
    let names = Selection::Names(vec![TopicName::new("orders").unwrap()]);
    let outcomes = world
        .manager
        .alter_mirrors("other", Verb::Promote, names, false, None)
        .await
        .unwrap();
    assert!(matches!(
        outcomes[0].result,
        Err(LinkError::OtherLink { .. })
    ));
}
