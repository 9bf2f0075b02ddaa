//! What a restart must not forget, and what must not keep a broker from starting.

use super::cuts::promotion_that_waits;
use super::*;
use crate::ports::{CatalogError, LinkStore};

#[tokio::test(start_paused = true)]
async fn a_restart_with_the_source_away_still_knows_what_is_missing_at_least() {
    let mut world = World::mirroring("orders", 2).await;
    let full = crate::ports::TargetError::Storage("full".into());
    world.here.fail_appends(Some(full));
    world.source.append("orders", 1, &batch(10, 7, 0));
    let lag = |world: &World| world.manager.mirror("orders").unwrap().lags[1].clone();
    until("the lag to show", || lag(&world).lag_records == Some(7)).await;
    world.source.set_down(true);
    world.link_state(LinkState::Unavailable).await;
    let before = lag(&world);
    let seen_at_ms = world.manager.link("dr").unwrap().source_seen_at_ms;
    tokio::time::sleep(Duration::from_secs(1)).await;

    world.restart().await;

    let after = lag(&world);
    assert_eq!((after.lag_records, after.is_current), (Some(7), false));
    assert_eq!(after.seen_at_ms, before.seen_at_ms);
    assert!(world.manager.link("dr").unwrap().source_seen_at_ms <= seen_at_ms);
    let failed_over = world.alter(Verb::Failover, "orders").await;
    assert_eq!(failed_over.unwrap().status, MirrorStatus::Stopped);
    let rpo = world.manager.report("orders").unwrap().unwrap();
    let known = rpo
        .partitions
        .iter()
        .map(|rpo| (rpo.exact, rpo.missing_records));
    assert!(known.eq([(false, Some(0)), (false, Some(7))]), "{rpo:?}");
    assert_eq!(rpo.partitions[1].source_seen_at_ms, before.seen_at_ms);
    assert!(world.here.load_sights().unwrap().is_empty());
}

#[tokio::test(start_paused = true)]
async fn what_was_seen_is_stored_within_seconds_for_a_kill_that_says_nothing() {
    let world = World::mirroring("orders", 1).await;
    world.source.append("orders", 0, &batch(10, 10, 0));
    until("it to be stored", || {
        let sights = world.here.load_sights().unwrap();
        let sight = sights.first().and_then(|sight| sight.partitions.first());
        sight.is_some_and(|sight| sight.high_watermark.0 == 20)
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn configs_of_another_version_fail_their_link_and_no_start() {
    let mut world = World::mirroring("orders", 1).await;
    let mut record = world.here.load_links().unwrap().remove(0);
    record.configs.insert("from.the.future".into(), "1".into());
    world.here.save_link(&record).unwrap();
    world
        .manager
        .create_link(new_link("other", &[]))
        .await
        .unwrap();
    world.restart_with(&record).await;
    let link = world.link_state(LinkState::Failed).await;
    assert!(link.error_detail.contains("from.the.future"), "{link:?}");
    let status = || world.manager.mirror("orders").unwrap().status;
    assert_eq!(status(), MirrorStatus::LinkFailed);
    assert_eq!(world.manager.links().len(), 2);

    let set = |name: &str, value: Option<&str>| vec![(name.to_owned(), value.map(str::to_owned))];
    let resume = set("cluster.link.paused", Some("false"));
    let refused = world
        .manager
        .alter_link_configs("dr", resume, AlterLink::default())
        .await;
    assert!(
        matches!(&refused, Err(LinkError::InvalidConfig { name, .. }) if name == "from.the.future"),
        "{refused:?}"
    );
    let reset = set("from.the.future", None);
    let altered = world
        .manager
        .alter_link_configs("dr", reset, AlterLink::default())
        .await;
    altered.unwrap();
    world.source.append("orders", 0, &batch(10, 10, 0));
    world.identical("orders", 1).await;
    let links = world.here.load_links().unwrap();
    assert!(!links[0].configs.contains_key("from.the.future"));
}

#[tokio::test(start_paused = true)]
async fn a_link_whose_source_is_not_understood_can_be_failed_over_and_deleted() {
    let mut world = World::mirroring("orders", 1).await;
    let mut record = world.here.load_links().unwrap().remove(0);
    let servers = ("bootstrap.servers".into(), "srv+kafka://".into());
    record.configs.extend([servers]);
    world.here.save_link(&record).unwrap();
    world.restart_with(&record).await;
    world.link_state(LinkState::Failed).await;
    world.manager.delete_link("dr", true).await.unwrap();
    assert!(world.here.cut_epoch("orders", 0).is_some());
}

#[tokio::test(start_paused = true)]
async fn a_faulted_partition_does_not_keep_its_link_from_being_deleted_by_force() {
    let world = World::mirroring("orders", 1).await;
    world.source.add_topic("users", 1);
    world.mirror("users").await.unwrap();
    let broken = CatalogError::Storage("orders-0 is offline".into());
    world.here.refuse_cut("orders", Some(broken));
    let refused = world.alter(Verb::Failover, "orders").await;
    assert!(matches!(refused, Err(LinkError::Catalog(_))), "{refused:?}");
    world.manager.delete_link("dr", true).await.unwrap();
    for topic in ["orders", "users"] {
        assert!(world.here.cut_epoch(topic, 0).is_some(), "{topic}");
    }
    assert!(world.here.load_mirrors().unwrap().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_promotion_whose_source_dies_says_so_and_can_be_given_up() {
    let world = World::mirroring("orders", 1).await;
    let promoting = promotion_that_waits(&world).await;
    let before = tokio::time::Instant::now();
    world.source.set_down(true);
    let detail = || world.manager.mirror("orders").unwrap().error_detail;
    until("it to be told", || {
        detail().contains("the promotion waits for the source")
    })
    .await;
    assert!(before.elapsed() < Duration::from_secs(7), "within seconds");
    let mirror = world.manager.mirror("orders").unwrap();
    assert_eq!(mirror.next_steps, ["cancel the promotion", "failover"]);
    let resumed = world.alter(Verb::Resume, "orders").await.unwrap();
    assert_eq!(resumed.status, MirrorStatus::SourceUnavailable);
    let outcomes = promoting.await.unwrap().unwrap();
    assert!(matches!(
        outcomes[0].result,
        Err(LinkError::PromotionAborted { .. })
    ));
}

#[tokio::test(start_paused = true)]
async fn consumers_are_told_the_source_s_epochs_over_a_restart_and_larger_ones_after_the_cut() {
    let mut world = World::mirroring("orders", 1).await;
    for leader in [2, 3, 1] {
        world.source.lead("orders", 0, Some(leader));
    }
    let told = |world: &World| world.here.leader_epoch("orders", 0).0;
    until("the epochs to be told", || told(&world) == 3).await;
    world.source.set_down(true);
    world.restart().await;
    assert_eq!(told(&world), 3, "no batch of that epoch was mirrored");
    world.alter(Verb::Failover, "orders").await.unwrap();
    let after = world.here.cut_epoch("orders", 0).unwrap();
    assert!(after.0 > 3, "{after:?}");
}
