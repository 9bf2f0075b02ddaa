//! Links over long paths: they are filled, and nothing is lost or out of order for that.

use super::*;
use crate::testing::batches::batch_of;

const MIB: usize = 1 << 20;
const RATE: u64 = 25_000_000;

/// A topic whose partitions lie at one broker, `bytes` in all, in batches of `batch_bytes`.
fn fill(world: &World, partitions: i32, bytes: usize, batch_bytes: usize) -> usize {
    world.source.add_topic("wide", partitions);
    let each = bytes / usize::try_from(partitions).unwrap();
    let mut filled = 0;
    for partition in 0..partitions {
        world.source.lead("wide", partition, Some(1));
        let epoch = world.source.epoch("wide", partition);
        let (mut at, mut of_this) = (0, 0);
        while of_this < each {
            let run = batch_of(at, 10, epoch, batch_bytes / 10);
            at += 10;
            of_this += run.len();
            world.source.append("wide", partition, &run);
        }
        filled += of_this;
    }
    filled
}

async fn caught_up(world: &World, partitions: i32) {
    let ends: Vec<_> = (0..partitions)
        .map(|p| world.source.end("wide", p))
        .collect();
    let began = tokio::time::Instant::now();
    until("the mirror to be caught up", || {
        assert!(
            began.elapsed() < Duration::from_secs(300),
            "{:?}",
            world.manager.mirror("wide").unwrap().lags
        );
        (0..partitions).all(|p| {
            let name = TopicName::new("wide").unwrap();
            world.here.partitions(&name).is_some_and(|count| count > p)
                && world.here.offsets("wide", p).1 == ends[usize::try_from(p).unwrap()]
        })
    })
    .await;
    world.identical("wide", partitions).await;
}

#[tokio::test(start_paused = true)]
async fn a_long_path_is_filled_from_one_partition_and_from_many() {
    for round_trip_ms in [10, 50, 100, 200] {
        for partitions in [1, 8, 100] {
            let world = World::new().await;
            let round_trip = Duration::from_millis(round_trip_ms);
            // A longer path takes longer to be known.
            let size = 120 * MIB + usize::try_from(round_trip_ms).unwrap() * MIB;
            let bytes = fill(&world, partitions, size, 60_000);
            world.source.set_path(round_trip, RATE);
            world.source.cut_connections();
            let began = tokio::time::Instant::now();
            world.mirror("wide").await.unwrap();
            caught_up(&world, partitions).await;
            let took = began.elapsed().as_secs_f64();
            let share = bytes as f64 / RATE as f64 / took;
            let spare = world.source.served_bytes(1) as f64 / bytes as f64 - 1.0;
            println!(
                "{round_trip_ms} ms, {partitions} partitions: {took:.2} s, {share:.3} of the path; \
                 {spare:.3} fetched twice; {} fetches",
                world.source.fetches()
            );
            // The first seconds, until the path is known, are in it.
            assert!(share >= 0.85, "{round_trip_ms} ms, {partitions}: {share}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn records_of_changing_size_cost_time_at_most() {
    let world = World::new().await;
    world.source.add_topic("wide", 1);
    let mut at = 0;
    for round in 0..3_000_u64 {
        // Long stretches of small records, then of large ones, and gaps.
        let size = [20, 9_000, 200, 4_000][usize::try_from(round / 250 % 4).unwrap()];
        let run = batch_of(at, 5, 0, size);
        at += 5 + i64::from(round % 7 == 0) * 3;
        world.source.append("wide", 0, &run);
    }
    world.source.set_path(Duration::from_millis(100), RATE);
    world.source.cut_connections();
    world.mirror("wide").await.unwrap();
    caught_up(&world, 1).await;
}

#[tokio::test(start_paused = true)]
async fn a_mirror_goes_on_while_its_source_is_written_cut_and_led_by_others() {
    let world = World::new().await;
    fill(&world, 3, 30 * MIB, 30_000);
    world.source.set_path(Duration::from_millis(50), RATE);
    world.source.cut_connections();
    world.mirror("wide").await.unwrap();
    for round in 0..40 {
        tokio::time::sleep(Duration::from_millis(40)).await;
        for partition in 0..3 {
            let end = world.source.end("wide", partition);
            let epoch = world.source.epoch("wide", partition);
            let run = batch_of(end, 10, epoch, 3_000);
            world.source.append("wide", partition, &run);
        }
        match round % 10 {
            3 => world.source.cut_connections(),
            5 => world.source.lead("wide", 0, Some(2)),
            7 => world
                .source
                .inject("wide", 1, crate::testing::source::Fault::Damaged),
            8 => world
                .source
                .inject("wide", 2, crate::testing::source::Fault::Short(500)),
            9 => world.source.lead("wide", 0, Some(1)),
            _ => {}
        }
    }
    caught_up(&world, 3).await;
    until("the figures", || {
        let lags = world.manager.mirror("wide").unwrap().lags;
        lags.iter()
            .all(|lag| lag.lag_records == Some(0) && lag.is_current)
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn once_caught_up_requests_are_small_again_and_further_connections_are_closed() {
    let world = World::new().await;
    fill(&world, 2, 40 * MIB, 30_000);
    world.source.set_path(Duration::from_millis(100), RATE);
    world.source.cut_connections();
    world.mirror("wide").await.unwrap();
    caught_up(&world, 2).await;
    let open = || world.source.open_connections(1);
    assert!(open() > 2, "{} connections", open());
    until("the further connections to be closed", || open() == 1).await;
    world.source.take_asked();
    for round in 0..50 {
        let end = world.source.end("wide", 0);
        let epoch = world.source.epoch("wide", 0);
        world
            .source
            .append("wide", 0, &batch(end, 1 + round, epoch));
        tokio::time::sleep(Duration::from_millis(130)).await;
    }
    let asked = world.source.take_asked();
    assert_eq!(asked.lanes.len(), 0, "nothing is opened for a few records");
    let (limits, partition) = asked.limits.unwrap();
    assert_eq!((limits.max_bytes, partition), (10_485_760, Some(1_048_576)));
    assert!(limits.max_wait_ms > 100, "a long poll again");
}

#[tokio::test(start_paused = true)]
async fn the_limit_on_bytes_per_second_holds_over_a_long_path() {
    let world = World::new().await;
    let bytes = fill(&world, 4, 40 * MIB, 30_000);
    let rate = bytes / 20;
    let changes = vec![(
        "cluster.link.throttle.bytes.per.second".to_owned(),
        Some(rate.to_string()),
    )];
    let changed = world
        .manager
        .alter_link_configs("dr", changes, AlterLink::default());
    changed.await.unwrap();
    world.source.set_path(Duration::from_millis(100), RATE);
    world.source.cut_connections();
    let began = tokio::time::Instant::now();
    world.mirror("wide").await.unwrap();
    caught_up(&world, 4).await;
    let took = began.elapsed().as_secs_f64();
    assert!((17.0..=23.0).contains(&took), "{took}");
}

#[tokio::test(start_paused = true)]
async fn a_source_that_lets_no_further_connection_in_is_mirrored_all_the_same() {
    let world = World::new().await;
    fill(&world, 2, 30 * MIB, 30_000);
    world.source.set_path(Duration::from_millis(100), RATE);
    world.source.set_lanes_max(1);
    world.source.cut_connections();
    world.mirror("wide").await.unwrap();
    caught_up(&world, 2).await;
    assert_eq!(world.manager.link("dr").unwrap().state, LinkState::Active);
}

#[tokio::test(start_paused = true)]
async fn what_is_in_flight_stays_within_the_links_budget() {
    let world = World::new().await;
    fill(&world, 1, 200 * MIB, 60_000);
    // Twice its round trip's worth is 180 MB.
    world
        .source
        .set_path(Duration::from_millis(900), 100_000_000);
    world.source.cut_connections();
    world.mirror("wide").await.unwrap();
    let end = world.source.end("wide", 0);
    until("the mirror to be caught up", || {
        let (asked, limit) = (world.source.asked_bytes(), 64 * MIB + 11 * MIB);
        assert!(asked <= limit, "{asked} bytes are asked for at once");
        world.here.offsets("wide", 0).1 == end
    })
    .await;
    world.identical("wide", 1).await;
}
