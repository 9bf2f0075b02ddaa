//! Who waits for promotions and failovers, and how long.

use super::*;
use crate::ports::{CatalogError, TargetError};

async fn within(world: &World, action: Verb, wait: Duration) -> MirrorOutcome {
    let all = Selection::All;
    let outcomes = world
        .manager
        .alter_mirrors_within("dr", action, all, false, wait);
    outcomes.await.unwrap().into_iter().next().unwrap()
}

/// A mirror that lacks ten records and can't store them.
async fn behind() -> World {
    let world = World::mirroring("orders", 1).await;
    world
        .here
        .fail_appends(Some(TargetError::Storage("full".into())));
    world.source.append("orders", 0, &batch(10, 10, 0));
    let lag = || world.manager.mirror("orders").unwrap().lags[0].lag_records;
    until("the lag to show", || lag() == Some(10)).await;
    world
}

#[tokio::test(start_paused = true)]
async fn a_promotion_is_answered_after_the_wait_with_its_lags_and_goes_on() {
    let world = behind().await;
    for seconds in [0, 30] {
        let asked = tokio::time::Instant::now();
        let wait = Duration::from_secs(seconds);
        let outcome = within(&world, Verb::Promote, wait).await;
        let took = asked.elapsed();
        assert!(
            took >= wait && took < wait + Duration::from_secs(1),
            "{took:?}"
        );
        let mirror = outcome.result.unwrap();
        assert_eq!(mirror.status, MirrorStatus::PendingStopped);
        assert_eq!(mirror.lags[0].lag_records, Some(10));
        assert!(outcome.report.is_none());
    }
    world.here.fail_appends(None);
    let mirror = world.status("orders", MirrorStatus::Stopped).await;
    assert_eq!(mirror.stop_error, None);
    let report = world.manager.report("orders").unwrap().unwrap();
    assert_eq!(report.partitions[0].last_mirrored_offset, Some(19));
}

#[tokio::test(start_paused = true)]
async fn a_promotion_that_is_over_before_the_wait_is_answered_with_its_report() {
    let world = World::mirroring("orders", 1).await;
    let outcome = within(&world, Verb::Promote, Duration::from_secs(60)).await;
    assert_eq!(outcome.result.unwrap().status, MirrorStatus::Stopped);
    assert!(outcome.report.is_some());
}

#[tokio::test(start_paused = true)]
async fn a_mirror_tells_why_its_promotion_ended_until_it_is_promoted_again() {
    let world = behind().await;
    within(&world, Verb::Promote, Duration::ZERO).await;
    let stop_error = || world.manager.mirror("orders").unwrap().stop_error;
    assert_eq!(stop_error(), None);
    world.alter(Verb::CancelPromotion, "orders").await.unwrap();
    until("the reason", || stop_error().is_some()).await;
    assert!(stop_error().unwrap().contains("cancelled"));
    within(&world, Verb::Promote, Duration::ZERO).await;
    assert_eq!(stop_error(), None, "it is under way again");

    world.here.fail_appends(None);
    let full = CatalogError::Storage("no room for the end".into());
    world.here.refuse_cut("orders", Some(full));
    until("the refusal", || stop_error().is_some()).await;
    assert!(stop_error().unwrap().contains("no room for the end"));
    world.here.refuse_cut("orders", None);
    let outcome = within(&world, Verb::Promote, Duration::from_secs(60)).await;
    assert_eq!(outcome.result.unwrap().status, MirrorStatus::Stopped);
}

#[tokio::test(start_paused = true)]
async fn asking_for_a_promotion_again_and_again_asks_the_source_no_more_often() {
    let world = behind().await;
    for _ in 0..50 {
        within(&world, Verb::Promote, Duration::ZERO).await;
    }
    world.source.set_down(true);
    world.source.take_asked();
    tokio::time::sleep(Duration::from_secs(10)).await;
    let asked = world.source.take_asked().describes;
    assert!((10..=400).contains(&asked), "{asked} times in 10 s");
    // All of them end with it.
    let waiting = within(&world, Verb::CancelPromotion, Duration::ZERO);
    waiting.await.result.unwrap();
    let stop_error = || world.manager.mirror("orders").unwrap().stop_error;
    until("the reason", || stop_error().is_some()).await;
}

#[tokio::test(start_paused = true)]
async fn a_failover_that_hangs_is_answered_and_goes_on() {
    let world = World::mirroring("orders", 1).await;
    let shared = world.manager.shared("dr").unwrap();
    let held = shared.change.lock().await;
    let outcome = within(&world, Verb::Failover, Duration::from_secs(1)).await;
    let refused = outcome.result.unwrap_err();
    assert!(matches!(refused, LinkError::UnderWay { .. }), "{refused}");
    drop(held);
    world.status("orders", MirrorStatus::Stopped).await;
    assert!(world.manager.report("orders").unwrap().is_some());
}
