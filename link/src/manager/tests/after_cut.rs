//! Writers that are still active at the source when mirrors of it end; and reports, which outlive their
//! link.

use super::*;
use crate::report::{AfterCut, SourceWrites};

async fn end(world: &World, action: Verb, dry_run: bool) -> RpoReport {
    let all = Selection::All;
    let outcomes = world
        .manager
        .alter_mirrors("dr", action, all, dry_run, None)
        .await;
    let outcome = outcomes.unwrap().remove(0);
    assert!(outcome.result.is_ok(), "{outcome:?}");
    outcome.report.unwrap()
}

fn beyond(world: &World) -> Option<AfterCut> {
    world.manager.report("orders").unwrap().unwrap().after_cut
}

async fn beyond_is(world: &World, expected: &[(i32, i64)]) {
    let is_so = || {
        beyond(world).is_some_and(|seen| {
            let found = seen.partitions.iter().map(|it| (it.partition, it.records));
            found.eq(expected.iter().copied())
        })
    };
    until(&format!("{expected:?} to be seen beyond the cut"), is_so).await;
}

#[tokio::test(start_paused = true)]
async fn recent_writes_at_the_source_are_reported_before_the_cut_and_with_it() {
    let world = World::mirroring("orders", 1).await;
    tokio::time::sleep(Duration::from_secs(60)).await;
    let idle = end(&world, Verb::Promote, true).await;
    let nothing = SourceWrites {
        records: 0,
        over_ms: 10_000,
    };
    assert_eq!(idle.writes, Some(nothing));
    for at in 1..=5 {
        world.source.append("orders", 0, &batch(at * 10, 10, 0));
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    world.identical("orders", 1).await;
    for is_dry in [true, false] {
        let report = end(&world, Verb::Promote, is_dry).await;
        let writes = report.writes.unwrap();
        assert_eq!((writes.records, writes.over_ms), (50, 10_000), "{is_dry}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_source_that_was_not_seen_lately_says_nothing_of_its_writers() {
    let world = World::mirroring("orders", 1).await;
    world.source.set_down(true);
    tokio::time::sleep(Duration::from_secs(60)).await;
    let report = end(&world, Verb::Failover, false).await;
    assert_eq!(report.writes, None);
}

#[tokio::test(start_paused = true)]
async fn writes_at_the_source_after_the_cut_are_reported_as_long_as_the_link_exists() {
    let mut world = World::mirroring("orders", 2).await;
    end(&world, Verb::Promote, false).await;
    beyond_is(&world, &[]).await;
    world.source.append("orders", 1, &batch(10, 7, 0));
    beyond_is(&world, &[(1, 7)]).await;
    world.source.append("orders", 1, &batch(17, 3, 0));
    world.source.grow_topic("orders", 3);
    world.source.append("orders", 2, &batch(0, 4, 0));
    beyond_is(&world, &[(1, 10), (2, 4)]).await;
    let link = world.manager.link("dr").unwrap();
    let of_link = &link.beyond_cuts[0];
    assert_eq!((of_link.topic.as_str(), of_link.records), ("orders", 14));
    let mirror = world.manager.mirror("orders").unwrap();
    assert_eq!(mirror.records_beyond_cut, Some(14));
    let report = world.manager.report("orders").unwrap().unwrap();
    assert!(report.partitions.iter().all(|part| part.exact));

    // It is known after a restart, with the source away, and as of when.
    let seen_at_ms = beyond(&world).unwrap().seen_at_ms;
    world.source.set_down(true);
    world.restart().await;
    tokio::time::sleep(Duration::from_secs(60)).await;
    let then = beyond(&world).unwrap();
    assert_eq!(then.records(), 14);
    assert!((seen_at_ms - 60_000..=seen_at_ms + 10_000).contains(&then.seen_at_ms));
    let mirror = world.manager.mirror("orders").unwrap();
    assert_eq!(mirror.records_beyond_cut, Some(14));
}

#[tokio::test(start_paused = true)]
async fn another_topic_of_that_name_is_not_counted_and_that_is_said() {
    let world = World::mirroring("orders", 1).await;
    end(&world, Verb::Promote, false).await;
    world.source.append("orders", 0, &batch(10, 7, 0));
    beyond_is(&world, &[(0, 7)]).await;
    world.source.delete_topic("orders");
    world.source.add_topic("orders", 1);
    world.source.append("orders", 0, &batch(0, 90, 0));
    until("the problem to be seen", || {
        beyond(&world).unwrap().problem.is_some()
    })
    .await;
    assert_eq!(beyond(&world).unwrap().records(), 7);
}

#[tokio::test(start_paused = true)]
async fn reports_outlive_their_link_and_a_deletion_by_force_answers_those_it_makes() {
    let world = World::mirroring("orders", 1).await;
    end(&world, Verb::Promote, false).await;
    world.source.add_topic("users", 1);
    world.mirror("users").await.unwrap();
    assert_eq!(world.manager.reports(None).unwrap().len(), 1);
    let made = world.manager.delete_link("dr", true).await.unwrap();
    let topics: Vec<&str> = made.iter().map(|it| it.topic.as_str()).collect();
    assert_eq!(topics, ["users"]);
    let kept = world.manager.reports(Some("dr")).unwrap();
    let topics: Vec<&str> = kept.iter().map(|it| it.topic.as_str()).collect();
    assert_eq!(topics, ["orders", "users"]);
    assert!(world.manager.reports(Some("other")).unwrap().is_empty());
    let report = world.manager.report("users").unwrap().unwrap();
    assert_eq!(report.kind, CutKind::Failover);
    world.here.delete_topic("users");
    assert_eq!(world.manager.reports(None).unwrap().len(), 1);
}
