//! The source's topic grows, is deleted or is recreated while a mirror of it ends.

use std::sync::atomic::{AtomicBool, Ordering};

use super::cuts::promotion_that_waits;
use super::*;
use crate::ports::TargetError;
use crate::report::UnmirroredPartition;
use crate::verb::CutKind;

async fn act(world: &World, action: Verb, dry_run: bool) -> MirrorOutcome {
    let all = Selection::All;
    let outcomes = world
        .manager
        .alter_mirrors("dr", action, all, dry_run, None)
        .await;
    outcomes.unwrap().remove(0)
}

/// The source's topic gets a second partition, with that many records.
fn grow(source: &FakeSource, records: i32) {
    source.grow_topic("orders", 2);
    source.append("orders", 1, &batch(0, records, 0));
}

/// Another topic of that name, as long as the first one was, or shorter.
fn recreate(source: &FakeSource, records: i32) {
    source.delete_topic("orders");
    source.add_topic("orders", 1);
    source.append("orders", 0, &batch(0, records, 7));
}

#[tokio::test(start_paused = true)]
async fn a_partition_that_came_a_moment_before_is_promoted_with_its_records() {
    let world = World::mirroring("orders", 1).await;
    grow(&world.source, 50);
    let done = act(&world, Verb::Promote, false).await;
    let mirror = done.result.unwrap();
    assert_eq!(mirror.status, MirrorStatus::Stopped);
    assert_eq!(mirror.num_partitions, 2);
    world.identical("orders", 2).await;
    let report = done.report.unwrap();
    assert_eq!(report.partitions.len(), 2);
    assert!(report.partitions.iter().all(|part| part.exact));
    assert_eq!(report.unmirrored, []);
}

/// Whatever happens to the topic, before whichever question: a report that says "nothing missing"
/// is true of the topic as it was.
#[tokio::test(start_paused = true)]
async fn no_promotion_says_exact_and_leaves_records_behind() {
    type Change = fn(&FakeSource);
    let changes: [(&str, Change); 5] = [
        ("grown", |source| grow(source, 50)),
        ("recreated, shorter", |source| recreate(source, 5)),
        ("recreated, as long", |source| recreate(source, 10)),
        ("recreated, longer", |source| recreate(source, 15)),
        ("gone", |source| source.delete_topic("orders")),
    ];
    for (what, change) in changes {
        for questions in 0..9 {
            let world = World::mirroring("orders", 1).await;
            let was_in_time = Arc::new(AtomicBool::new(false));
            let (within, here) = (Arc::clone(&was_in_time), world.here.clone());
            world.source.happens_after(questions, move |source| {
                let stored = here.stored_mirror("orders").unwrap().status;
                within.store(stored != MirrorStatus::Stopped, Ordering::Relaxed);
                change(source);
            });
            let done = act(&world, Verb::Promote, false).await;
            let context = format!("{what} after {questions} questions: {done:?}");
            if !was_in_time.load(Ordering::Relaxed) {
                assert!(done.result.is_ok(), "{context}");
            } else if what == "grown" {
                assert_eq!(done.result.unwrap().status, MirrorStatus::Stopped);
                let bytes = world.here.bytes("orders", 1);
                assert_eq!(bytes, world.source.bytes("orders", 1), "{context}");
            } else {
                assert!(done.result.is_err(), "{context}");
                assert!(world.here.cut_epoch("orders", 0).is_none(), "{context}");
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_topic_that_is_another_one_is_refused_by_name_and_the_others_go_on() {
    let world = World::mirroring("orders", 1).await;
    world.source.add_topic("users", 1);
    world.mirror("users").await.unwrap();
    recreate(&world.source, 10);
    let all = Selection::All;
    let outcomes = world
        .manager
        .alter_mirrors("dr", Verb::Promote, all, false, None)
        .await
        .unwrap();
    let refused = outcomes[0].result.as_ref().unwrap_err().to_string();
    assert!(refused.contains("'orders' has the id"), "{refused}");
    let users = outcomes[1].result.as_ref().unwrap();
    assert_eq!(users.status, MirrorStatus::Stopped);
}

#[tokio::test(start_paused = true)]
async fn a_promotion_waits_for_a_partition_that_can_not_be_added_and_says_so() {
    let world = World::mirroring("orders", 1).await;
    let promoting = promotion_that_waits(&world).await;
    world
        .here
        .fail_stores(Some(crate::ports::StoreError("no room".into())));
    grow(&world.source, 5);
    world.here.fail_appends(None);
    let waits = || {
        let detail = world.manager.mirror("orders").unwrap().error_detail;
        detail.contains("new partitions that can't be added here") && detail.contains("no room")
    };
    until("the promotion to say what it waits for", waits).await;
    world.here.fail_stores(None);
    let done = promoting.await.unwrap().unwrap().remove(0);
    assert_eq!(done.report.unwrap().partitions.len(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_dry_run_of_a_promotion_names_what_has_no_mirror_yet_and_refuses_another_topic() {
    let world = World::mirroring("orders", 1).await;
    grow(&world.source, 5);
    let dry = act(&world, Verb::Promote, true).await;
    let unmirrored = UnmirroredPartition {
        partition: 1,
        records: Some(5),
    };
    assert_eq!(dry.report.unwrap().unmirrored, [unmirrored]);
    recreate(&world.source, 10);
    let dry = act(&world, Verb::Promote, true).await;
    let refused = dry.result.unwrap_err().to_string();
    assert!(refused.contains("'orders' has the id"), "{refused}");
}

#[tokio::test(start_paused = true)]
async fn the_report_of_a_failover_names_partitions_that_have_no_mirror() {
    for is_dry in [true, false] {
        let world = World::mirroring("orders", 1).await;
        // So that the link does not follow before the failover.
        world.alter(Verb::Pause, "orders").await.unwrap();
        grow(&world.source, 50);
        world.source.trim("orders", 1, 20);
        let done = act(&world, Verb::Failover, is_dry).await;
        let report = done.report.unwrap();
        assert_eq!(report.kind, CutKind::Failover);
        let expected = UnmirroredPartition {
            partition: 1,
            records: Some(30),
        };
        assert_eq!(report.unmirrored, [expected], "dry run: {is_dry}");
        assert_eq!(report.source_problem, None);
        if !is_dry {
            assert_eq!(world.manager.report("orders").unwrap(), Some(report));
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_failover_takes_no_word_on_another_topic() {
    let changes: [fn(&FakeSource); 2] = [
        |source| recreate(source, 3),
        |source| source.delete_topic("orders"),
    ];
    for change in changes {
        let world = World::mirroring("orders", 1).await;
        world
            .here
            .fail_appends(Some(TargetError::Storage("full".into())));
        world.source.append("orders", 0, &batch(10, 7, 0));
        until("the lag", || {
            world.manager.mirror("orders").unwrap().lags[0].lag_records == Some(7)
        })
        .await;
        change(&world.source);
        let done = act(&world, Verb::Failover, false).await;
        let report = done.report.unwrap();
        let partition = &report.partitions[0];
        assert!(!partition.exact, "{report:?}");
        assert_eq!(partition.missing_records, Some(7), "{report:?}");
        assert!(report.source_problem.is_some(), "{report:?}");
    }
}
