//! Problems that keep mirrors from being written here: they are shown, and do not affect other mirrors.

use super::*;
use crate::ports::{Obstacle, TargetError};

/// Two mirrored topics, of one partition each.
async fn two() -> World {
    let world = World::mirroring("orders", 1).await;
    world.source.add_topic("users", 1);
    world.mirror("users").await.unwrap();
    world.identical("users", 1).await;
    world
}

fn obstacle(world: &World, is_lasting: bool) -> Obstacle {
    Obstacle {
        detail: "the disk is full".into(),
        since_ms: world.manager.ports.clock.now_ms(),
        is_lasting,
    }
}

async fn promote_all(world: &World) -> Vec<MirrorOutcome> {
    let all = Selection::All;
    let promoting = world
        .manager
        .alter_mirrors("dr", Verb::Promote, all, false, None);
    promoting.await.unwrap()
}

fn assert_orders_was_left_out(world: &World, outcomes: &[MirrorOutcome]) {
    let refused = outcomes[0].result.as_ref().unwrap_err();
    assert!(matches!(refused, LinkError::Blocked { .. }), "{refused}");
    let words = refused.to_string();
    assert!(
        words.contains("orders") && words.contains("the disk is full"),
        "{words}"
    );
    let users = outcomes[1].result.as_ref().unwrap();
    assert_eq!(users.status, MirrorStatus::Stopped);
    let orders = world.manager.mirror("orders").unwrap();
    assert_eq!(orders.status, MirrorStatus::Active);
    assert!(world.here.cut_epoch("orders", 0).is_none());
}

#[tokio::test(start_paused = true)]
async fn a_promotion_leaves_out_what_can_not_be_written_here_and_the_others_proceed() {
    let world = two().await;
    world.here.block("orders", 0, Some(obstacle(&world, true)));
    let asked = tokio::time::Instant::now();
    let outcomes = promote_all(&world).await;
    assert!(asked.elapsed() < Duration::from_secs(2), "at once");
    assert_orders_was_left_out(&world, &outcomes);
    let stored = world.here.stored_statuses("orders");
    assert!(
        !stored.contains(&MirrorStatus::PendingStopped),
        "{stored:?}"
    );
    world.here.block("orders", 0, None);
    world.alter(Verb::Promote, "orders").await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_promotion_that_waits_leaves_out_what_becomes_unwritable_unless_that_passes() {
    let world = two().await;
    let full = TargetError::Storage("full".into());
    world.here.fail_appends(Some(full));
    world.source.append("orders", 0, &batch(10, 10, 0));
    let manager = Arc::clone(&world.manager);
    let promoting = tokio::spawn(async move {
        let all = Selection::All;
        let promoting = manager.alter_mirrors("dr", Verb::Promote, all, false, None);
        promoting.await.unwrap()
    });
    world.status("orders", MirrorStatus::PendingStopped).await;
    world.here.block("orders", 0, Some(obstacle(&world, false)));
    tokio::time::sleep(Duration::from_secs(1)).await;
    world.here.block("orders", 0, None);
    tokio::time::sleep(Duration::from_secs(10)).await;
    assert!(!promoting.is_finished(), "it has passed");
    world.here.block("orders", 0, Some(obstacle(&world, false)));
    let outcomes = promoting.await.unwrap();
    assert_orders_was_left_out(&world, &outcomes);
    let stop_error = world.manager.mirror("orders").unwrap().stop_error.unwrap();
    assert!(stop_error.contains("the disk is full"), "{stop_error}");
}

#[tokio::test(start_paused = true)]
async fn a_dry_run_says_what_would_be_left_out() {
    let world = two().await;
    world.here.block("orders", 0, Some(obstacle(&world, true)));
    let all = Selection::All;
    let dry = world
        .manager
        .alter_mirrors("dr", Verb::Promote, all, true, None);
    let outcomes = dry.await.unwrap();
    assert!(matches!(outcomes[0].result, Err(LinkError::Blocked { .. })));
    assert!(outcomes[1].report.is_some());
}

#[tokio::test(start_paused = true)]
async fn partitions_that_can_not_be_written_show_in_any_link_state() {
    let world = two().await;
    world.source.set_down(true);
    world.link_state(LinkState::Unavailable).await;
    world.here.block("orders", 0, Some(obstacle(&world, true)));
    let mirror = || world.manager.mirror("orders").unwrap();
    until("it to show", || mirror().lags[0].is_blocked).await;
    let mirror = mirror();
    assert_eq!(mirror.error, MirrorError::Unknown);
    assert_eq!(
        mirror.error_detail,
        "1 partition can't be written here: orders-0: the disk is full"
    );
    assert_eq!(
        world.manager.mirror("users").unwrap().error,
        MirrorError::NoError
    );
    let problem = world.manager.link("dr").unwrap().problem.unwrap();
    assert!(problem.contains("orders-0: the disk is full"), "{problem}");
    world.here.block("orders", 0, None);
    let problem = || world.manager.link("dr").unwrap().problem;
    until("it to be over", || problem().is_none()).await;
    let orders = world.manager.mirror("orders").unwrap();
    assert_eq!(orders.error, MirrorError::NoError);
}
